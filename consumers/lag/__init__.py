"""Lag: how far behind every reader of a log is, in seconds; what that means, and what to do about it."""
