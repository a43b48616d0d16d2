"""Arguments of ``scores status``; what it does is in the files beside this one."""

from __future__ import annotations

from cli.exit_status import exit_with
from cli.options import GatewayAddress, Json, KafkaAddress, RedisAddress


def status(
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    gateway: GatewayAddress = None,
    as_json: Json = False,
) -> None:
    """Show how the service does: what runs, verdicts, positions, memory, connections, rejections, failing endpoints.

    Exit status: 0 all right, 1 somebody must look, 2 it cannot be told.
    """
    from cli.status.showing import show_status

    exit_with(lambda: show_status(kafka, redis, gateway, as_json=as_json))
