"""Reads the assessment data, the TOML files in ``assessment_data/``, into definitions of tests.

The vocabulary of the files, beyond what their comments say:

- ``grades``: the grades a test is offered in, as its packages are cut: ``"5"`` or a span, ``"10-12"``; ``spans`` are
  further spans that an id may name; ``spellings`` say which span a word such as HS means.
- ``scores``: tables of cuts and ranges by grade, each for the years ``from`` to ``until``. The first table that fits the
  year and has the grade answers; a span in a table stands for each grade within it.
- ``like``: everything that is not said here is as in that test.
- ``family``: each block of the id is a test of its own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from schemas.assessment_definitions import (
    Block,
    ClaimDefinition,
    Definitions,
    Grades,
    Refusal,
    ScoreTable,
    TestDefinition,
    parse_grades,
)
from schemas.identifiers import TestCode

_FOREVER: Final = 9999
# Without ASCII, [A-Z] would take in the Kelvin sign and \d every script's digits.
_FLAGS: Final = re.IGNORECASE | re.ASCII


def read_definitions() -> Definitions:
    """All definitions of the package's data files."""
    folder = files("schemas") / "assessment_data"
    sources = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda e: e.name
    )
    tests: dict[str, dict[str, Any]] = {}
    rules: dict[str, Any] = {}
    for source in sources:
        content = tomllib.loads(source.read_text(encoding="utf-8"))
        for table in content.pop("test", []):
            tests[table["code"]] = table
        rules |= content
    patterns: dict[str, str] = rules["patterns"]
    return Definitions(
        tuple(_test(_inherit(table, tests), patterns) for table in tests.values()),
        tuple(
            Refusal(entry["name"], re.compile(entry["pattern"], _FLAGS), entry["reason"])
            for entry in rules["refused"]
        ),
    )


def _inherit(table: dict[str, Any], tests: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    model = table.get("like")
    return table if model is None else _inherit(tests[model], tests) | table


def _test(table: dict[str, Any], patterns: Mapping[str, str]) -> TestDefinition:
    offered = tuple(map(parse_grades, table["grades"]))
    spellings = {word: parse_grades(text) for word, text in table.get("spellings", {}).items()}
    spans = {grades for grades in offered if len(grades) > 1} | set(map(parse_grades, table.get("spans", [])))
    claim_levels = tuple(table.get("claim_levels", ()))
    return TestDefinition(
        code=TestCode(table["code"]),
        name=table["name"],
        subject=table["subject"],
        kind=table["kind"],
        first_year=table["first_year"],
        last_year=table.get("last_year"),
        offered=offered,
        spans=frozenset(spans | set(spellings.values())),
        spellings=spellings,
        levels=tuple(table["levels"]),
        claims=tuple(_claim(claim, claim_levels) for claim in table.get("claims", [])),
        scores=_scores(table),
        ids=tuple(
            re.compile(text.replace("{grade}", patterns["grade"]) + patterns["year"], _FLAGS)
            for text in table["ids"]
        ),
        id_template=table["id"],
        blocks=_blocks(table, offered) if table.get("family") else None,
    )


def _claim(table: dict[str, Any], levels: tuple[str, ...]) -> ClaimDefinition:
    return ClaimDefinition(
        table["code"],
        table["name"],
        tuple(table.get("levels", levels)),
        tuple(table.get("aliases", ())),
        _scores(table),
    )


def _scores(table: dict[str, Any]) -> tuple[ScoreTable, ...]:
    return tuple(
        ScoreTable(
            entry.get("from", 0),
            entry.get("until", _FOREVER),
            {parse_grades(grade): tuple(values) for grade, values in entry.get("cuts", {}).items()},
            {parse_grades(grade): tuple(values) for grade, values in entry.get("ranges", {}).items()},
        )
        for entry in table.get("scores", [])
    )


def _blocks(table: dict[str, Any], offered: tuple[Grades, ...]) -> dict[str, Block]:
    return {
        entry["code"]: Block(
            entry["name"],
            tuple(map(parse_grades, entry["grades"])) if "grades" in entry else offered,
        )
        for entry in table["blocks"]
    }
