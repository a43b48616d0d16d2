"""Webhooks: what the gateway (which keeps endpoints) and ``consumers.webhooks`` (which delivers to them) agree on. Pure."""
