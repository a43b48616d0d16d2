"""The expectation file: what the aggregates must be once every event of a season is applied.

JSON lines, UTF-8, gzipped when the name ends in ``.gz``. The first line says what was produced:

    {"format": "scores-expectation-1", "seed": 1, "school_year": 2026, "schools": 200, "events": 61327,
     "kinds": {"scored": 49772, ...}, "outcomes": {"applied": 59026, "stale": 554, "duplicate": 1747}, "cells": 2810}

``kinds`` says why the simulator sent the events, ``outcomes`` what becomes of them, once each, in the order they were
sent. Then one line a cell, in order of code and cell; counts of nothing are left out:

    {"cds": "71700016000001", "cell": "2026:ELA-SUM:03", "results": 31, "with_scores": 30, "under_appeal": 1,
     "score_sum": 72905, "score_sum_sq": 177212345, "levels": [9, 8, 7, 6], "claims": {"SOCK_R": [9, 12, 9], ...},
     "histogram": {"2401": 1, "2417": 2, ...}}
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from cli.simulator.recount import CellId, CountedCell
from schemas.errors import InvalidInput

_FORMAT: Final = "scores-expectation-1"


class Expectation(Struct, kw_only=True):
    """The first line of the file: where the cells come from."""

    format: str = _FORMAT
    seed: int
    school_year: int
    schools: int
    events: int  # produced and acknowledged
    kinds: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    cells: int = 0  # how many lines follow


class _Line(CountedCell, kw_only=True, omit_defaults=True):
    cds: str
    cell: str


def write_expectation(path: Path, cells: Mapping[CellId, CountedCell], meta: Expectation) -> None:
    """Write the file anew; a reader sees the old one or the whole new one."""
    lines = [msgspec.structs.replace(meta, cells=len(cells))]
    encoder = msgspec.json.Encoder()
    text = bytearray(encoder.encode(lines[0]) + b"\n")
    for name in sorted(cells):
        line = _Line(cds=name.cds, cell=name.cell, **msgspec.structs.asdict(cells[name]))
        text += encoder.encode(line) + b"\n"
    content = gzip.compress(bytes(text), mtime=0) if path.suffix == ".gz" else bytes(text)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        raise InvalidInput(f"'{path}' cannot be written: {error.strerror}") from error


def read_expectation(path: Path) -> tuple[Expectation, dict[CellId, CountedCell]]:
    """What ``write_expectation`` wrote.

    Raises:
        InvalidInput: no such file, or not an expectation, or one cut short.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise InvalidInput(
            f"'{path}' cannot be read ({error}); write one with: scores simulate --expect {path}"
        ) from error
    first, _, rest = content.partition(b"\n")
    try:
        meta = msgspec.json.decode(first, type=Expectation)
        if meta.format != _FORMAT:
            raise msgspec.ValidationError(f"its format is '{meta.format[:40]}'")
        lines = msgspec.json.Decoder(_Line).decode_lines(rest)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"'{path}' is not an expectation of format {_FORMAT}: {error}") from error
    if len(lines) != meta.cells:
        raise InvalidInput(f"'{path}' has {len(lines)} of {meta.cells} cells; it was cut short")
    cells = {CellId(line.cds, line.cell): _counted(line) for line in lines}
    return meta, cells


def _counted(line: _Line) -> CountedCell:
    return CountedCell(**{name: getattr(line, name) for name in CountedCell.__struct_fields__})
