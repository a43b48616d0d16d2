"""The audit as a gateway keeps it: noted by the event loop, written by a thread, shipped to Kafka by a task."""
