"""Webhooks: tells districts' systems of changed results, with retries, permissions judged at delivery, and signatures."""
