"""``scores lag``: how far behind every reader is."""
