"""The relay: publishes what changes in the tables to Kafka, once it is known to be there for good."""
