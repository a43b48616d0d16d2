"""``scores canary``: the process that sends invented results through the service, and its local wiring."""
