"""Events in, exact aggregates out: on the embedded broker and on real Apache Kafka.

The reference exams and their expected cells were counted without any code of this project.
"""

from __future__ import annotations

import csv
import io
import random
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from stack import (
    SECRET,
    broker,
    live_cells,
    loader_token,
    positions,
    running_stack_processes,
    running_worker,
    store,
    wait_for,
)

from cli.import_exams import import_exams
from cli.load_entities import load_entities
from cli.simulator.options import SeasonOptions
from cli.simulator.production import run_season
from cli.simulator.recount import CellId, CountedCell
from cli.stack.redis_server import EmbeddedRedis
from cli.verify import compare, contradictions

PARTITIONS = 8
ARCHIVE = "generated-trt/rdw_datagen_demo_district_sum_2017_2019_10109_exams.tar.gz"
TESTS = {"ELA": "ELA-SUM", "Math": "MATH-SUM", "ELPAC": "ELPAC-SUM"}


@pytest.fixture(params=["embedded", "real"])
def kind(request: pytest.FixtureRequest) -> str:
    """Everything embedded, or Apache Kafka with the system's Redis."""
    return str(request.param)


@pytest.fixture
def kafka(kind: str, tmp_path: Path) -> Iterator[str]:
    with broker(kind, PARTITIONS, tmp_path) as servers:
        yield servers


@pytest.fixture
def server(kind: str) -> Iterator[EmbeddedRedis]:
    with store("embedded" if kind == "embedded" else "system") as running:
        yield running


def test_season_of_two_hundred_schools_equals_its_recount(
    kafka: str, server: EmbeddedRedis, tmp_path: Path
) -> None:
    options = SeasonOptions(
        schools=200, results=50_000, rescores=0.1, duplicates=0.03, disorder=0.05, resets=0.02, moves=0.02
    )
    with Redis.from_url(server.url) as client, running_worker(kafka, server.url, tmp_path):
        run = run_season(
            kafka=kafka,
            redis_url=server.url,
            secret=SECRET.encode(),
            options=options,
            rate=0,
            stop=threading.Event(),
        )
        wait_for(lambda: sum(positions(client, PARTITIONS).values()) == run.produced, "all applied", 120)
    found = live_cells(server.url)
    assert run.lost == 0
    assert compare(run.recount.cells(), found) == []
    assert contradictions(found) == []


def test_reference_exams_give_the_expected_cells_imported_once_twice_and_shuffled(
    kafka: str, server: EmbeddedRedis, tmp_path: Path, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = reference / "subject-and-package-defs" / "ca-demo.csv"
    shuffled = shuffled_with_another_ending(reference / ARCHIVE, tmp_path / "shuffled.tar.gz")
    with (
        Redis.from_url(server.url) as client,
        running_stack_processes(kafka, server.url, tmp_path) as gateway,
    ):
        token = loader_token(tmp_path)
        assert load_entities([directory], kafka, server.url, as_json=True) == 0

        assert import_exams([reference / ARCHIVE], gateway, token, batch="first", as_json=True) == 0
        wait_for(lambda: sum(positions(client, PARTITIONS).values()) == 10_109, "all applied", 60)
        first = live_cells(server.url)
        assert expected_cells(reference) == figures(first)

        assert import_exams([reference / ARCHIVE], gateway, token, batch="again", as_json=True) == 0
        assert sum(positions(client, PARTITIONS).values()) == 10_109, "identical bytes reach no topic again"

        # The same exams with other bytes: each is a later import of the same version and content.
        assert import_exams([shuffled], gateway, token, batch="shuffled", as_json=True) == 0
        wait_for(lambda: sum(positions(client, PARTITIONS).values()) == 20_218, "all applied", 60)
        assert live_cells(server.url) == first
    assert contradictions(first) == []


def test_every_sample_report_is_refused_with_a_reason_or_read(
    kafka: str, server: EmbeddedRedis, tmp_path: Path, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_stack_processes(kafka, server.url, tmp_path) as gateway:
        status = import_exams(
            [reference / "trt-samples"], gateway, loader_token(tmp_path), batch=None, as_json=True
        )
    assert status == 1, "no sample names a school by its CDS code"
    summary = capsys.readouterr().out
    assert '"received":26' in summary.replace(" ", "")
    for expected in ("BAD_DATA", "BAD_FORMAT", "INVALID", "UNKNOWN_ASMT"):
        assert expected in summary


def expected_cells(reference: Path) -> dict[CellId, tuple[int, int, list[int]]]:
    """The reference's own recount, at the school and at the district: exams, sum of scores, exams a level."""
    cells: dict[CellId, tuple[int, int, list[int]]] = {}
    with (reference / "generated-trt" / "cells_expected.csv").open() as file:
        for row in csv.DictReader(file):
            grade = row["grade"]
            cell = f"{row['school_year']}:{TESTS[row['subject']]}:{grade}"
            counted = (
                int(row["exams"]),
                int(row["scale_score_sum"]),
                [int(row[f"level_{n}"]) for n in (1, 2, 3, 4)],
            )
            # Each grade belongs to one school, so the district's figures are the school's.
            cells[CellId(row["school_id"], cell)] = cells[CellId(row["district_id"], cell)] = counted
    return cells


def figures(found: dict[CellId, CountedCell]) -> dict[CellId, tuple[int, int, list[int]]]:
    """What the reference counts, of the live cells of schools and districts."""
    return {
        name: (cell.with_scores, cell.score_sum, cell.levels)
        for name, cell in found.items()
        if not name.cds.endswith("0" * 12)
    }


def shuffled_with_another_ending(archive: Path, target: Path) -> Path:
    """The same reports in another order, each one byte longer, so that none is byte-identical."""
    with tarfile.open(archive) as source, tarfile.open(target, "w:gz", compresslevel=1) as out:
        members = [member for member in source.getmembers() if member.name.endswith(".xml")]
        contents = {member.name: source.extractfile(member) for member in members}
        documents = [(name, file.read() + b"\n") for name, file in contents.items() if file is not None]
        random.Random(1).shuffle(documents)
        for name, document in documents:
            entry = tarfile.TarInfo(name)
            entry.size = len(document)
            out.addfile(entry, io.BytesIO(document))
    return target
