"""``scores status``: how the service is doing, on one screen."""
