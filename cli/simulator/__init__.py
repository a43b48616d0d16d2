"""A fictional county and a season of its test results, with a recount by hand to check the live aggregates against.

Everything is made from a seed: the same seed gives the same organizations, students and events, byte for byte.
"""
