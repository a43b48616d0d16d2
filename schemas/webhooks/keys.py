"""Redis keys of the webhooks; all in one slot, so that one script changes whatever belongs together.

{webhooks}:endpoints           hash    <endpoint> -> Endpoint (JSON); the gateway writes it
{webhooks}:version             string  grows with every change of it
{webhooks}:orders              stream  what the gateway asks of the worker; field "order" -> Order (JSON)
{webhooks}:lease               string  who delivers; expires

and written by the worker that holds the lease, nobody else:

{webhooks}:worker              hash    epoch, sequence of the last write, next offset of each topic's partition, last order
{webhooks}:states              hash    <endpoint> -> EndpointState (JSON)
{webhooks}:pending:<endpoint>  hash    <organization>/<event type> -> what changed and was not told yet
{webhooks}:told:<endpoint>     hash    <cds>/<cell> -> version, and share at the two highest levels, as told last
{webhooks}:messages            hash    <message> -> Message (JSON)
{webhooks}:due                 zset    messages that wait, by the time of their next attempt
{webhooks}:log:<endpoint>      zset    all messages of an endpoint that are kept, by the time they were made
{webhooks}:dead:<endpoint>     zset    those that were given up
"""

from __future__ import annotations

from typing import Final

ENDPOINTS: Final = "{webhooks}:endpoints"
VERSION: Final = "{webhooks}:version"
ORDERS: Final = "{webhooks}:orders"
ORDER_FIELD: Final = b"order"
LEASE: Final = "{webhooks}:lease"
WORKER: Final = "{webhooks}:worker"
STATES: Final = "{webhooks}:states"
MESSAGES: Final = "{webhooks}:messages"
DUE: Final = "{webhooks}:due"


def pending(endpoint: str) -> str:
    """What changed and was not told yet."""
    return f"{{webhooks}}:pending:{endpoint}"


def told(endpoint: str) -> str:
    """What an endpoint was told last."""
    return f"{{webhooks}}:told:{endpoint}"


def log(endpoint: str) -> str:
    """An endpoint's messages."""
    return f"{{webhooks}}:log:{endpoint}"


def dead(endpoint: str) -> str:
    """An endpoint's messages that were given up."""
    return f"{{webhooks}}:dead:{endpoint}"
