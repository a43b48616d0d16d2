"""Release states over HTTP: who may see and change which, one by one or as CSV.

``wanted`` reads what is asked for, ``changing`` decides by ``gateway.release_rules`` and produces to Kafka, ``routes`` is
the HTTP around it. What is stored, workers have applied; nothing here writes to Redis.
"""
