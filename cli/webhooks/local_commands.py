"""Arguments of ``scores webhooks run`` and ``listen``: what runs on this machine rather than through a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json


def register(webhooks: typer.Typer) -> None:
    """Add the commands to ``scores webhooks``."""
    webhooks.command()(run)
    webhooks.command()(listen)


def run() -> None:
    """Run the worker that delivers webhooks (settings from the environment, see .env.example)."""
    from consumers.webhooks.__main__ import main

    raise typer.Exit(main())


def listen(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free one.")] = 8090,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            envvar="SCORES_WEBHOOK_SECRET",
            help="whsec_... or whpk_..., as shown when the endpoint was made; several for several.",
        ),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            help="A file that has them, such as what `create` printed; read again at each delivery, it may come later."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The interface to listen on; plain HTTP.")] = "127.0.0.1",
    as_json: Json = False,
) -> None:
    """Receive webhooks here, to try them out: verifies them, answers the confirmation, prints a table. Ctrl-C ends it."""
    from cli.webhooks.listen import listen as run_listen

    raise typer.Exit(
        run_listen(host=host, port=port, secrets=secret or (), secret_file=secret_file, as_json=as_json)
    )
