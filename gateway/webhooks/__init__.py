"""Webhook endpoints: who may have which, where they are kept, and ``/v1/webhooks``; ``consumers.webhooks`` delivers to them."""
