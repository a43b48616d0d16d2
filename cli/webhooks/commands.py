"""``scores webhooks``: its commands are declared in the files beside this one."""

from __future__ import annotations

import typer

from cli.webhooks import endpoint_commands, local_commands, message_commands

webhooks = typer.Typer(
    help="Webhooks: tell other systems of changed results, and look after what became of it.",
    no_args_is_help=True,
)
endpoint_commands.register(webhooks)
message_commands.register(webhooks)
local_commands.register(webhooks)
