"""Runs a rebuild and says what it came to."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import timedelta
from typing import Final

import msgspec
import uvloop
from rich.console import Console
from rich.text import Text

from cli.rebuild.context import Addresses, Orders, Outcome
from cli.rebuild.progress import Display
from cli.rebuild.running import run_rebuild
from cli.stored_cells import stored_cells
from cli.verify import differences_table

_NAMED: Final = 10


def rebuild_and_report(addresses: Addresses, orders: Orders, *, as_json: bool) -> int:
    """Begin or go on, up to the end; 0 when the new tables serve, 1 when they differ.

    Raises:
        ScoreStreamError: as ``run_rebuild``.
    """
    display = Display(quiet=as_json)
    with display.shown():
        outcome = uvloop.run(run_rebuild(addresses, orders, display))
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(_summary(outcome)) + b"\n")
        sys.stdout.flush()
    else:
        _tell(Console(), outcome, addresses.redis_url)
    return 0 if outcome.flipped else 1


def _tell(console: Console, outcome: Outcome, redis_url: str) -> None:
    findings, rebuild = outcome.findings, outcome.plan.rebuild
    lines = []
    if outcome.seconds:
        took = timedelta(seconds=round(outcome.seconds))
        lines.append(
            f"{outcome.events:,} events read in {took}; {findings.results:,} results count in the new tables."
        )
        if findings.results != findings.results_before and findings.results_before:
            lines.append(f"In the serving tables: {findings.results_before:,}.")
    if outcome.rejected:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in outcome.rejected.most_common())
        lines.append(
            f"Rejected: {reasons}; {outcome.newly_rejected:,} of them were not before, and are now in the topic."
        )
    if outcome.newly_taken:
        lines.append(f"{outcome.newly_taken:,} events that were rejected before count now.")
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    _tell_differences(console, outcome, redis_url)
    if not outcome.flipped:
        last = (
            "The new tables do not serve; what serves is untouched. If the serving ones are wrong: `scores rebuild resume "
            "--flip-anyway`. `scores rebuild clean` removes the new ones."
        )
    elif outcome.taken_over == outcome.partitions:
        last = f"{rebuild.generation} serves, and workers write all {outcome.partitions} partitions of it."
    else:
        last = (
            f"{rebuild.generation} serves. Workers have claimed {outcome.taken_over} of {outcome.partitions} partitions so far; "
            "is one running?"
        )
    console.print(Text(last), soft_wrap=True)


def _tell_differences(console: Console, outcome: Outcome, redis_url: str) -> None:
    findings = outcome.findings
    if findings.equal and outcome.seconds:
        counted = f"; {findings.rows:,} exam rows counted again" if findings.rows else ""
        console.print(
            Text(f"Equal: {findings.cells:,} shares of cells ({outcome.plan.comparison.value}){counted}."),
            soft_wrap=True,
        )
    if findings.equal:
        return
    with stored_cells(redis_url) as stored:
        directory = stored.directory()
    if findings.differences:
        title = f"{len(findings.differences):,} figures differ"
        console.print(differences_table(title, "serving", "rebuilt", list(findings.differences), directory))
    if findings.contradictions:
        title = (
            f"{len(findings.contradictions):,} figures of the new tables are not the sum of their exam rows"
        )
        console.print(differences_table(title, "rows", "rebuilt", list(findings.contradictions), directory))
    elif findings.rows:
        console.print(
            Text(
                f"The new tables agree with their own {findings.rows:,} exam rows; so the serving ones are wrong."
            ),
            soft_wrap=True,
        )
    if findings.strangers:
        console.print(Text(f"{findings.strangers:,} exam rows count in no cell."), soft_wrap=True)


def _summary(outcome: Outcome) -> dict[str, object]:
    findings, rebuild = outcome.findings, outcome.plan.rebuild
    return {
        "generation": rebuild.generation,
        "beside": rebuild.beside,
        "attribution": outcome.plan.attribution,
        "comparison": outcome.plan.comparison.name.lower(),
        "serves": outcome.flipped,
        "equal": findings.equal,
        "events": outcome.events,
        "seconds": round(outcome.seconds, 3),
        "cells": findings.cells,
        "rows_counted_again": findings.rows,
        "results": findings.results,
        "results_before": findings.results_before,
        "differences": len(findings.differences),
        "contradictions": len(findings.contradictions),
        "rows_without_a_cell": findings.strangers,
        "first_differences": [asdict(difference) for difference in findings.differences[:_NAMED]],
        "first_contradictions": [asdict(difference) for difference in findings.contradictions[:_NAMED]],
        "rejected": {reason.value: number for reason, number in outcome.rejected.items()},
        "newly_rejected": outcome.newly_rejected,
        "newly_taken": outcome.newly_taken,
        "partitions": outcome.partitions,
        "taken_over": outcome.taken_over,
        "removed_keys": outcome.removed_keys,
    }
