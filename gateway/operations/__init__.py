"""How the service is doing, as operators see it: the monitor's judgement and its history over HTTP, and this gateway's own part."""
