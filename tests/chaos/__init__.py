"""Chaos on real processes: a season is produced while workers, Redis and Kafka are killed, stopped, cut and restarted.

``python -m tests.chaos`` (``make chaos``). Whatever happens, every partition's tables must equal, at any moment, the
recount of exactly that prefix of its log which the stored position says is applied.
"""
