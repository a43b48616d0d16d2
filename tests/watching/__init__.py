"""Independent clients watch one district while gateways, Redis and connections are killed, restarted and cut.

``python -m tests.watching`` (``make watch-chaos``). A browser's EventSource, npm's eventsource, httpx-sse and curl follow the
same streams and share no code. Every frame that they get is kept and held against what ``docs/wire-format.md`` says a
client does: in the end each has what the tables have, and on the way none sees a version go backwards.
"""
