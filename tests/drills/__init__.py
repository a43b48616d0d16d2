"""Faults induced on the real stack: which verdict the monitor gives, which alert fires, and how fast; and what must not alarm."""
