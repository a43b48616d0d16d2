"""The closing table of the drills, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.drills.run import Options, Outcome


def closing_table(options: Options, outcomes: Sequence[Outcome]) -> str:
    """What was done, what was said of it, how fast, and what was wrong."""
    lines = [
        "",
        f"A sample each {options.every_seconds:g} s; Prometheus asks each second. Seconds since the fault, or since its end.",
        "",
        "| fault | verdict | s to verdict | alert | s to pending | s to firing | s to well again |",
        "|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        drill = outcome.drill
        cells = [
            drill.name,
            f"{drill.subject}: {drill.verdict}" if drill.subject else "none, as it should be",
            _seconds(outcome.verdict_seconds),
            drill.alert.removeprefix("Scores") or "none",
            _seconds(outcome.pending_seconds),
            _firing(outcome),
            _seconds(outcome.recovered_seconds),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    failed = [
        f"FAILED: {outcome.drill.name}: {failure}" for outcome in outcomes for failure in outcome.failures
    ]
    lines += ["", f"{len(outcomes)} drills, {len(failed)} failures", *failed]
    return "\n".join(lines)


def _firing(outcome: Outcome) -> str:
    if outcome.firing_seconds is None and outcome.pending_seconds is not None:
        return f"+ {outcome.patience_seconds:g}, not waited for"
    return _seconds(outcome.firing_seconds)


def _seconds(found: float | None) -> str:
    return "-" if found is None else f"{found:.1f}"
