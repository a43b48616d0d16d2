"""The servers under ``scores up`` and ``scores demo``, and under the tests: Kafka and Redis without Docker or root.

Everything else reaches them through their addresses alone and cannot tell them from a cluster.
"""
