"""Options that several commands have, worded once."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program, and nothing else.")]
KafkaAddress = Annotated[
    str | None,
    typer.Option("--kafka", envvar="SCORES_KAFKA", help="HOST:PORT; default: the running local stack."),
]
RedisAddress = Annotated[
    str | None,
    typer.Option("--redis", envvar="SCORES_REDIS_URL", help="Redis URL; default: the running local stack."),
]
GatewayAddress = Annotated[
    str | None,
    typer.Option("--gateway", envvar="SCORES_GATEWAY_URL", help="Default: the running local stack."),
]
Partitions = Annotated[
    int, typer.Option(min=1, max=1024, help="Partitions of the results topic, when it is created.")
]
