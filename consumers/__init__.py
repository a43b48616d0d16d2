"""Other readers: live results for Python programs, webhooks to district systems, lag for operators."""
