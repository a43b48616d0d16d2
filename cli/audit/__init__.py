"""``scores audit``: who saw what, for whoever asks; and whether the record is whole."""
