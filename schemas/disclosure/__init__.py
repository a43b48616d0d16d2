"""Disclosure control: what of exact totals may be shown to viewers without individual access, and when it may move.

The rules, the statement and the proof idea are in ``docs/disclosure.md``.
"""
