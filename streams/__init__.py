"""Stream processors: score events from Kafka become exact, incremental aggregates in Redis."""
