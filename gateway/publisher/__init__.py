"""The publisher: one process that turns the exact tables into the published ones, which everybody may see who may see no
individual results. Only it decides what is published when, so that all gateways, at all times, show one sequence of states.
"""
