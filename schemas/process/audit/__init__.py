"""Keeping an audit: what a process notes is chained, written to files that outlive it, and shipped to Kafka.

Every process that discloses something keeps one alike: the gateway, and the worker that delivers webhooks. What they note is
theirs; how entries and chains look is in ``schemas.audit``. The clients of Kafka and Redis are theirs, too, and passed in.
"""
