"""Who may see what: permissions, roles and visibility classes; what the gateway and the webhooks decide alike."""
