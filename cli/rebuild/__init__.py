"""``scores rebuild``: new tables from the log, beside those that serve; compared with them; then in their place."""
