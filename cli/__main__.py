"""The ``scores`` command. Each subcommand is a file of its own; this one declares arguments and reports errors.

Exit status: 0 done, 1 done with findings (differences, rejected documents, a process that failed), 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cli.audit.commands import audit
from cli.canary.commands import canary
from cli.lag.commands import lag
from cli.options import GatewayAddress, Json, KafkaAddress, RedisAddress
from cli.rebuild.commands import rebuild
from cli.rejected.commands import rejected
from cli.releases.commands import releases
from cli.state import StateFolder
from cli.token_commands import register as register_token_commands
from cli.webhooks.commands import webhooks
from schemas.errors import DependencyUnavailable, InvalidInput, ScoreStreamError

app = typer.Typer(
    help="Live, exact, preliminary assessment results.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
entities = typer.Typer(help="The organization directory.", no_args_is_help=True)
topics = typer.Typer(help="Kafka topics.", no_args_is_help=True)
tokens = typer.Typer()
app.add_typer(entities, name="entities")
app.add_typer(topics, name="topics")
app.add_typer(tokens, name="token")
register_token_commands(tokens)
app.add_typer(audit, name="audit")
app.add_typer(rejected, name="rejected")
app.add_typer(releases, name="releases")
app.add_typer(rebuild, name="rebuild")
app.add_typer(webhooks, name="webhooks")
app.add_typer(lag, name="lag")
app.add_typer(canary, name="canary")

KafkaChoice = Annotated[
    str, typer.Option("--kafka", help="embedded, local (real Kafka from Maven) or HOST:PORT.")
]
RedisChoice = Annotated[str, typer.Option("--redis", help="embedded or a Redis URL.")]
Port = Annotated[
    int | None,
    typer.Option("--port", help="The gateway's port; default: 8080, or a free one."),
]
Partitions = Annotated[
    int, typer.Option(min=1, max=1024, help="Partitions of the results topic, when it is created.")
]
RolesFile = Annotated[
    Path | None,
    typer.Option("--roles-file", envvar="SCORES_ROLES_FILE", help="Roles and groups beside the known ones."),
]

Workers = Annotated[
    int,
    typer.Option(
        min=1, max=64, help="Worker processes, which share the partitions; restarted when they end."
    ),
]


@app.command()
def up(
    kafka: KafkaChoice = "embedded",
    redis: RedisChoice = "embedded",
    port: Port = None,
    partitions: Partitions = 8,
    workers: Workers = 1,
) -> None:
    """Run the stack on this machine: broker, store, and every process. Ctrl-C stops it."""
    from cli.up import run_up

    _run(lambda: run_up(kafka=kafka, redis=redis, port=port, partitions=partitions, workers=workers))


@app.command()
def demo(
    kafka: KafkaChoice = "embedded",
    redis: RedisChoice = "embedded",
    port: Port = None,
    schools: Annotated[int, typer.Option(help="Up to 2,000.")] = 40,
    rate: Annotated[float, typer.Option(min=0.1, help="Events a second.")] = 25.0,
    seed: int = 1,
    for_: Annotated[
        str | None, typer.Option("--for", help="End after this long, e.g. 30s or 2m, and verify.")
    ] = None,
) -> None:
    """A small fictional county, live: the stack, the simulator and a page to watch."""
    from cli.demo import run_demo

    _run(
        lambda: run_demo(
            kafka=kafka, redis=redis, port=port, schools=schools, rate=rate, seed=seed, for_=for_
        )
    )


@app.command()
def streams(workers: Workers = 1) -> None:
    """Run a stream worker, or several (settings from the environment, see .env.example)."""
    if workers > 1:
        from cli.workers import run_workers

        _run(lambda: run_workers(workers, os.environ))
        return
    from streams.__main__ import main as run

    raise typer.Exit(run())


@app.command()
def gateway() -> None:
    """Run a gateway (settings from the environment, see .env.example)."""
    from gateway.__main__ import main as run

    raise typer.Exit(run())


@app.command()
def publisher() -> None:
    """Run the publisher, of which there is one (settings from the environment, see .env.example)."""
    from gateway.publisher.__main__ import main as run

    raise typer.Exit(run())


@app.command()
def relay() -> None:
    """Run a relay, of which one works at a time (settings from the environment, see .env.example)."""
    from streams.relay.__main__ import main as run

    raise typer.Exit(run())


@tokens.callback(invoke_without_command=True)
def token(
    context: typer.Context,
    org: Annotated[
        list[str] | None, typer.Option("--org", help="CDS code; give several for several.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option("--role", help="Role; default PII.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", help="A group of the roles file.")] = None,
    roles_file: RolesFile = None,
    subject: str = "developer",
    minutes: Annotated[int, typer.Option(help="Lifetime.")] = 480,
) -> None:
    """Print a token of the local stack's development issuer; or revoke tokens."""
    from cli.tokens import issue_token, roles_from
    from schemas.access.roles import READER_ROLE

    if context.invoked_subcommand is not None:
        return

    def run() -> int:
        print(
            issue_token(
                StateFolder(),
                subject=subject,
                roles=role or [READER_ROLE],
                organizations=org or [],
                groups=group or [],
                minutes=minutes,
                known=roles_from(roles_file),
            )
        )
        return 0

    _run(run)


@app.command()
def permissions(
    role: Annotated[list[str] | None, typer.Option("--role", help="Role; several for several.")] = None,
    org: Annotated[list[str] | None, typer.Option("--org", help="CDS code that it is granted for.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", help="A group of the roles file.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="CDS code; what is held there, and what is missing.")
    ] = None,
    roles_file: RolesFile = None,
    as_json: Json = False,
) -> None:
    """Show what roles come to: which permissions, where. Alone: all roles. Checks a roles file, too."""
    from cli.permissions import show_permissions
    from cli.tokens import roles_from

    _run(
        lambda: show_permissions(
            roles_from(roles_file),
            role or [],
            organizations=org or [],
            groups=group or [],
            at=at,
            as_json=as_json,
        )
    )


@app.command("import")
def import_(
    paths: Annotated[
        list[Path], typer.Argument(help="TRT XML or JSON files, folders, tar.gz or zip archives.")
    ],
    gateway: GatewayAddress = None,
    token: Annotated[
        str | None, typer.Option(envvar="SCORES_TOKEN", help="Default: a development token.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="A name under which to reconcile this import.")] = None,
    as_json: Json = False,
) -> None:
    """Import exam reports through the gateway."""
    from cli.import_exams import import_exams
    from cli.tokens import issue_token
    from schemas.access.roles import IMPORT_ROLE
    from schemas.identifiers import STATE

    def run() -> int:
        state = StateFolder()
        url = state.address(gateway, "gateway_url", "--gateway URL")
        bearer = token or issue_token(
            state, subject="import", roles=[IMPORT_ROLE], organizations=[STATE], minutes=480
        )
        return import_exams(paths, url, bearer, batch=batch, as_json=as_json)

    _run(run)


@app.command()
def simulate(
    schools: Annotated[int, typer.Option(help="Up to 2,000.")] = 40,
    students: Annotated[int | None, typer.Option(help="Default: about 400 a school.")] = None,
    results: Annotated[
        int | None, typer.Option(help="Exams taken; default: all students take all their tests.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Events a second; 0 is as fast as Kafka takes them.")] = 0.0,
    seed: int = 1,
    rescores: Annotated[float, typer.Option(help="Share of exams.")] = 0.10,
    duplicates: Annotated[float, typer.Option(help="Share of events sent again.")] = 0.03,
    disorder: Annotated[float, typer.Option(help="Share of events delivered late.")] = 0.05,
    resets: Annotated[float, typer.Option(help="Share of exams.")] = 0.02,
    moves: Annotated[float, typer.Option(help="Share of exams whose student changes school.")] = 0.02,
    for_: Annotated[str | None, typer.Option("--for", help="End after this long, e.g. 30s.")] = None,
    expect: Annotated[Path | None, typer.Option(help="Write what the aggregates must be.")] = None,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Produce a season of events of a fictional county into Kafka."""
    from cli.demo import duration_seconds
    from cli.simulate import simulate as run_simulate
    from cli.simulator.options import SeasonOptions

    def run() -> int:
        state = StateFolder()
        options = SeasonOptions(
            schools=schools,
            students=students,
            results=results,
            seed=seed,
            rescores=rescores,
            duplicates=duplicates,
            disorder=disorder,
            resets=resets,
            moves=moves,
        )
        return run_simulate(
            options,
            kafka=state.address(kafka, "kafka", "--kafka HOST:PORT"),
            redis_url=state.address(redis, "redis_url", "--redis URL"),
            secret=state.student_key_secret_from(os.environ).encode(),
            rate=rate,
            for_seconds=duration_seconds(for_) if for_ else None,
            expect=expect,
            as_json=as_json,
        )

    _run(run)


@entities.command("load")
def entities_load(
    files: Annotated[list[Path], typer.Argument(help="CDE entity files, or CSV with cds,name,kind.")],
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Load organizations into the directory."""
    from cli.load_entities import load_entities

    def run() -> int:
        state = StateFolder()
        return load_entities(
            files,
            state.address(kafka, "kafka", "--kafka HOST:PORT"),
            state.address(redis, "redis_url", "--redis URL"),
            as_json=as_json,
        )

    _run(run)


@topics.command("create")
def topics_create(kafka: KafkaAddress = None, partitions: Partitions = 8) -> None:
    """Create the topics that are missing."""
    from cli.create_topics import create_topics

    _run(lambda: create_topics(StateFolder().address(kafka, "kafka", "--kafka HOST:PORT"), partitions))


@app.command()
def show(
    org: Annotated[str, typer.Argument(help="CDS code, or a part of the name.")],
    year: Annotated[int | None, typer.Option(help="School year, e.g. 2026.")] = None,
    test: Annotated[str | None, typer.Option(help="Test, e.g. ELA-SUM.")] = None,
    grade: Annotated[str | None, typer.Option(help="KG, 1 ... 12.")] = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Show an organization's preliminary aggregates as a table."""
    from cli.show import show as run_show

    _run(
        lambda: run_show(
            org,
            StateFolder().address(redis, "redis_url", "--redis URL"),
            year=year,
            test=test,
            grade=grade,
            as_json=as_json,
        )
    )


@app.command()
def watch(
    url: Annotated[str, typer.Argument(help="The gateway's address, e.g. http://127.0.0.1:8080.")],
    topic: Annotated[
        list[str],
        typer.Option("--topic", help="district/CDS, district/CDS/schools, ...; several for several."),
    ],
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token, read again when a fresh one is due.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="SCORES_TOKEN", help="The token itself, when there is no file.")
    ] = None,
    test: Annotated[list[str] | None, typer.Option(help="Only these tests, e.g. ELA-SUM.")] = None,
    grade: Annotated[list[str] | None, typer.Option(help="Only these grades: KG, 1 ... 12.")] = None,
    year: Annotated[list[int] | None, typer.Option(help="Only these school years, e.g. 2026.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print what there is now, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Watch preliminary aggregates change, over reconnections (--json: a line a change)."""
    from cli.watch import watch as run_watch

    _run(
        lambda: run_watch(
            url,
            topic,
            token=token,
            token_file=token_file,
            tests=test or (),
            grades=grade or (),
            years=year or (),
            once=once,
            as_json=as_json,
        )
    )


@app.command()
def plan(
    students: Annotated[int, typer.Option(min=1, max=100_000_000, help="Tested in a school year.")],
    viewers: Annotated[int, typer.Option(min=0, max=10_000_000, help="Open streams at the busiest moment.")],
    events_per_second: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=10_000_000,
            help="At the busiest moment; default: the state's, by the number of students.",
        ),
    ] = None,
    years: Annotated[int, typer.Option(min=1, max=50, help="School years that are kept.")] = 1,
    copies: Annotated[int, typer.Option(min=1, max=9, help="Of each record in Kafka.")] = 3,
    as_json: Json = False,
) -> None:
    """Calculate partitions, processes, memory and disk of a deployment, from what was measured."""
    from cli.plan.calculating import Demand
    from cli.plan.showing import show_plan

    demand = Demand(students, viewers, events_per_second, years, copies)
    _run(lambda: show_plan(demand, as_json=as_json))


@app.command()
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

    _run(lambda: show_status(kafka, redis, gateway, as_json=as_json))


@app.command()
def tables(
    partitions: Annotated[
        bool, typer.Option("--partitions", help="Also each partition, with its owner.")
    ] = False,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Show the tables in Redis: how far they are, and how many bytes a result and a cell take."""
    from cli.tables import show_tables

    def run() -> int:
        state = StateFolder()
        running = state.running()
        return show_tables(
            state.address(redis, "redis_url", "--redis URL"),
            kafka or (running.kafka if running is not None else None),
            partitions=partitions,
            as_json=as_json,
        )

    _run(run)


@app.command()
def verify(
    expect: Annotated[Path, typer.Option(help="What `scores simulate --expect` wrote.")],
    redis: RedisAddress = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the tables to catch up.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Compare every cell with an expectation, to the integer."""
    from cli.verify import verify as run_verify

    _run(
        lambda: run_verify(
            expect,
            StateFolder().address(redis, "redis_url", "--redis URL"),
            wait_seconds=wait,
            as_json=as_json,
        )
    )


def main() -> NoReturn:
    """Entry point of the ``scores`` command."""
    with _errors_as_sentences():
        app(prog_name="scores")
    sys.exit(0)


def _run(command: Callable[[], int]) -> None:
    with _errors_as_sentences():
        raise typer.Exit(command())


@contextmanager
def _errors_as_sentences() -> Iterator[None]:
    try:
        yield
    except (InvalidInput, DependencyUnavailable) as error:
        print(f"scores: {error}", file=sys.stderr)
        sys.exit(2)
    except ScoreStreamError as error:
        print(f"scores: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
