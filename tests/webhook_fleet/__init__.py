"""A thousand webhook endpoints, some of them dead, slow or flapping, while workers and Redis are killed and restarted.

``python -m tests.webhook_fleet`` (``make webhook-chaos``). Cells change as streams change them; real workers deliver; one
process of receivers verifies every signature and keeps what came. In the end every endpoint that is alive has the latest
version of everything it follows, and on the way none sees a version go back, or one id with two contents.
"""
