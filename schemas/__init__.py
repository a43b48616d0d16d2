"""What two processes must agree on: identifiers, events, aggregates, keys and topics.

Everything here is pure: values in, values out. Nothing connects, reads the environment or looks at the clock.
"""
