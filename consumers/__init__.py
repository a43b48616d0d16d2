"""Other readers of the log: webhooks to district systems, lag for operators."""
