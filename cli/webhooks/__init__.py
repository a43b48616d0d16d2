"""``scores webhooks``: endpoints and their messages through a gateway; the delivering worker; a local receiver."""
