"""The ``scores`` command: all that it can do, in the order of its help. What takes which arguments is in the files named here.

Exit status: 0 done, 1 done with findings (differences, rejected documents, a process that failed), 2 wrong usage.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from cli.access_commands import permissions, tokens
from cli.audit.commands import audit
from cli.canary.commands import canary
from cli.exit_status import errors_as_sentences
from cli.input_commands import entities, import_, simulate, topics
from cli.lag.commands import lag
from cli.plan.commands import plan
from cli.process_commands import demo, gateway, publisher, relay, streams, up
from cli.rebuild.commands import rebuild
from cli.rejected.commands import rejected
from cli.releases.commands import releases
from cli.result_commands import show, verify, watch
from cli.status.commands import status
from cli.tables.commands import tables
from cli.webhooks.commands import webhooks

app = typer.Typer(
    help="Live, exact, preliminary assessment results.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(entities, name="entities")
app.add_typer(topics, name="topics")
app.add_typer(tokens, name="token")
app.add_typer(audit, name="audit")
app.add_typer(rejected, name="rejected")
app.add_typer(releases, name="releases")
app.add_typer(rebuild, name="rebuild")
app.add_typer(webhooks, name="webhooks")
app.add_typer(lag, name="lag")
app.add_typer(canary, name="canary")
app.command()(up)
app.command()(demo)
app.command()(streams)
app.command()(gateway)
app.command()(publisher)
app.command()(relay)
app.command()(permissions)
app.command("import")(import_)
app.command()(simulate)
app.command()(show)
app.command()(watch)
app.command()(plan)
app.command()(status)
app.command()(tables)
app.command()(verify)


def main() -> NoReturn:
    """Entry point of the ``scores`` command."""
    with errors_as_sentences():
        app(prog_name="scores")
    sys.exit(0)


if __name__ == "__main__":
    main()
