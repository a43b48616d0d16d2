"""Measurements, side by side; each file answers one question and prints medians and ratios."""
