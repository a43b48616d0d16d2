"""``scores tables``: which tables Redis holds, how far they are, and how many bytes a result and a cell take."""
