"""``scores canary``: declared here, done in ``running``."""

from __future__ import annotations

import typer

canary = typer.Typer(
    help="Invented results, sent all the time to see how long a change takes to a screen.",
    no_args_is_help=True,
)


@canary.callback()
def _group() -> None:
    """With a single command Typer would leave its name out."""


@canary.command()
def run() -> None:
    """Run a canary (settings from the environment, see .env.example)."""
    from cli.canary.running import main

    raise typer.Exit(main())
