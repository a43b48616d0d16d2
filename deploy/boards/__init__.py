"""One dashboard in each file."""
