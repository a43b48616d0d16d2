"""``scores rejected``: what could not be applied, what it waits for, and how it comes back."""
