"""``scores demo``: a small fictional county with the whole stack, live, and a check at the end.

The check compares every cell with the simulator's own recount, which shares no code with the stream worker.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator

import httpx
from rich.console import Console

from cli.demo_releases import DemoReleases
from cli.demo_webhooks import DemoWebhooks
from cli.local_stack import LocalStack
from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.production import Progress, SeasonRun, run_season
from cli.stop_signals import stop_signals
from cli.stored_cells import stored_cells
from cli.supervisor import wait_until
from cli.tokens import issue_token
from cli.up import places_table, start_stack
from cli.verify import print_comparison, wait_until_equal
from schemas.access.roles import READER_ROLE
from schemas.assessments import load_registry
from schemas.errors import DependencyUnavailable, InvalidInput, ScoreStreamError
from schemas.identifiers import OrganizationId, district_of

_CATCH_UP_SECONDS = 20.0
_TOKEN_MINUTES = 480
_GATEWAY_SECONDS = 15.0  # it looks for new schools each second


def run_demo(
    *, kafka: str, redis: str, port: int | None, schools: int, rate: float, seed: int, for_: str | None
) -> int:
    """Run until Ctrl-C, or for ``for_`` and then verify; then 0 only if the live tables equal the recount."""
    for_seconds = duration_seconds(for_) if for_ else None
    options = SeasonOptions(
        schools=schools, seed=seed, rescores=0.15, duplicates=0.05, resets=0.03, moves=0.05
    )
    console = Console(stderr=True)
    with (
        stop_signals() as stop,
        start_stack(console, kafka=kafka, redis=redis, port=port, partitions=8) as stack,
        DemoWebhooks(stack) as webhooks,
    ):
        season = _Season(stack, options, rate, stop, for_seconds)
        season.start()
        if season.wait_for_results():
            releases = DemoReleases(stack, options.school_year)
            shown = _introduce(console, stack, options, releases, webhooks)
            _watch(console, stack, season, stop, releases.story(shown), webhooks)
            console.print(webhooks.summary(), highlight=False)
        if stop.is_set() and for_seconds is None:
            return 0
        return _verify(console, stack, season.result())


def duration_seconds(text: str) -> float:
    """Seconds of ``30s``, ``2m``, ``1h`` or a plain number of seconds.

    Raises:
        InvalidInput: it is none of them.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if seconds <= 0:
        raise InvalidInput(f"--for is '{text}'; expected a duration such as 30s, 2m or 1h")
    return seconds


class _Season(threading.Thread):
    """The simulator in a thread of its own; Kafka and Redis see it like any other producer."""

    def __init__(
        self,
        stack: LocalStack,
        options: SeasonOptions,
        rate: float,
        stop: threading.Event,
        for_seconds: float | None,
    ) -> None:
        super().__init__(name="simulator", daemon=True)
        self.error: ScoreStreamError | None = None
        self.progress: Progress | None = None
        self._run: SeasonRun | None = None
        self._stop_asked = stop
        self._produce: Callable[[], SeasonRun] = lambda: run_season(
            kafka=stack.kafka,
            redis_url=stack.redis_url,
            secret=stack.environment["SCORES_STUDENT_KEY_SECRET"].encode(),
            options=options,
            rate=rate,
            stop=stop,
            for_seconds=for_seconds,
            on_progress=self._on_progress,
        )

    def run(self) -> None:
        try:
            self._run = self._produce()
        except ScoreStreamError as error:
            self.error = error

    def wait_for_results(self) -> bool:
        """Wait until results are produced, so that there is something to look at; False when it ends before."""
        while self.is_alive() and not self._stop_asked.wait(0.05):
            if self.progress is not None and self.progress.phase == "results":
                return True
        return False

    def result(self) -> SeasonRun:
        """What was produced, once the thread has ended.

        Raises:
            ScoreStreamError: it ended by a fault.
        """
        self.join()
        if self._run is None:
            raise self.error or ScoreStreamError("the simulator ended without a result")
        return self._run

    def _on_progress(self, progress: Progress) -> None:
        self.progress = progress


def _introduce(
    console: Console,
    stack: LocalStack,
    options: SeasonOptions,
    releases: DemoReleases,
    webhooks: DemoWebhooks,
) -> OrganizationId:
    """Release the county's results, have webhooks sent, and say how to watch; returns the district that is shown."""
    schools = [school.cds for school in plan_county(options.schools, options.seed).schools]
    school, district = schools[0], district_of(schools[0])
    token = issue_token(
        stack.state, subject="demo", roles=[READER_ROLE], organizations=[district], minutes=_TOKEN_MINUTES
    )
    headers = {"Authorization": f"Bearer {token}"}
    known = wait_until(
        lambda: httpx.get(f"{stack.gateway_url}/v1/aggregates/{school}", headers=headers).is_success,
        _GATEWAY_SECONDS,
        stack.processes,
    )
    if not known:
        raise DependencyUnavailable(
            f"the gateway does not know school {school}; see its log in {stack.state.path}"
        )
    releases.release(map(district_of, schools))
    console.print(places_table(stack))
    console.print(
        "\n[bold]Watch one school and its district in a terminal[/bold] (the token opens this district only):\n"
    )
    topics = f"topic=school/{school}&topic=district/{district}"
    # Not through rich's wrapping: the line is to be copied whole.
    console.print(
        f"curl -N -H 'Authorization: Bearer {token}' '{stack.gateway_url}/v1/stream?{topics}'",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    console.print("\n[bold]or in a browser:[/bold]\n")
    console.print(
        f"{stack.gateway_url}/?school={school}#token={token}", soft_wrap=True, markup=False, highlight=False
    )
    webhooks.follow([school, district], token)
    console.print(
        f"\n[bold]Webhooks[/bold] of both go to a receiver of the demo at {webhooks.url}; whatever it has verified is shown "
        "below. Another one: `scores webhooks listen --help`.",
        highlight=False,
        soft_wrap=True,
    )
    console.print("\nEverything shown is [bold]preliminary[/bold] and fictional. Ctrl-C stops all.\n")
    return district


def _watch(
    console: Console,
    stack: LocalStack,
    season: _Season,
    stop: threading.Event,
    story: Iterator[str],
    webhooks: DemoWebhooks,
) -> None:
    with console.status("Simulating") as status:
        while season.is_alive() and not stop.wait(0.25):
            for line in stack.watch():
                console.print(line, style="yellow")
            if line := next(story, ""):
                console.print(line, soft_wrap=True, highlight=False)
            for line in webhooks.told():
                console.print(line, soft_wrap=True, markup=False, highlight=False)
            if season.progress is not None:
                status.update(f"{season.progress.produced:,} score events sent")


def _verify(console: Console, stack: LocalStack, run: SeasonRun) -> int:
    if run.lost:
        console.print(
            f"Kafka did not acknowledge {run.lost:,} events; nothing can be said of the tables.", style="red"
        )
        return 1
    if not run.acknowledged:
        console.print(
            "No score event was sent in that time, so nothing was verified; give a longer --for.", style="red"
        )
        return 1
    expected = run.recount.cells()
    with stored_cells(stack.redis_url) as stored, console.status("Comparing every cell with the recount"):
        comparison = wait_until_equal(stored, expected, load_registry(), wait_seconds=_CATCH_UP_SECONDS)
        directory = stored.directory()
    console.print(f"{run.acknowledged:,} events were sent: {_kinds(run)}.")
    print_comparison(console, comparison, directory)
    return 0 if comparison.equal else 1


def _kinds(run: SeasonRun) -> str:
    return ", ".join(f"{number:,} {kind.value}" for kind, number in run.kinds.most_common())
