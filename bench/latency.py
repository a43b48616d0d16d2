"""How long from a score event to the frame that shows it?

    python -m bench.latency [--rate 500] [--seconds 20] [--runs 5] [--kafka real|embedded]

An open-loop driver produces scored exams of 200 schools at a steady rate; a subscriber in a process of its own watches all 200
on one stream. Every exam of a school lies on one partition, so the j-th exam of a school is on the screen exactly when the
school's cell first says "results >= j". Latency runs from the moment the event was *due*, whatever delayed it, to the
moment its frame was read. Worker, gateway, broker and Redis share the machine with both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import httpx
from confluent_kafka import Producer

from cli.load_entities import load_entities
from cli.local_stack import LocalStack
from cli.simulator.county import plan_county
from cli.state import StateFolder
from cli.tokens import issue_token
from schemas.access.roles import READER_ROLE
from schemas.assessments import load_registry
from schemas.events import ClaimScore, ExamResult, encode_event
from schemas.identifiers import STATE, Grade, StudentId, StudentKey
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import EXAM_RESULTS

PARTITIONS = 8
SCHOOLS = 200
WARM_UP_SECONDS = 3.0


def subscriber() -> None:
    """Child process: reads the stream, prints (school, results, time) for each cell of each frame."""
    url, token, *topics = sys.argv[2:]
    params = httpx.QueryParams({"topic": topics})
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.stream("GET", f"{url}/v1/stream", params=params, headers=headers, timeout=None) as response:
        response.raise_for_status()
        event = ""
        for line in response.iter_lines():
            now = time.time()
            if line.startswith("event:"):
                event = line[6:].strip()
            elif line.startswith("data:") and event in {"put", "patch"}:
                for organization in json.loads(line[5:])["organizations"]:
                    for cell in organization["cells"]:
                        print(
                            organization["id"],
                            cell["school_year"],
                            cell["results"],
                            f"{now:.6f}",
                            flush=False,
                        )
                print("frame", 0, 0, 0, flush=True)


def students_on_partition(pseudonyms: Pseudonymizer, wanted: int) -> list[list[tuple[str, StudentKey]]]:
    """Student ids by the partition on which Kafka's murmur2 puts their keys."""
    found: list[list[tuple[str, StudentKey]]] = [[] for _ in range(PARTITIONS)]
    number = 8_000_000_000
    while min(map(len, found)) < wanted:
        number += 1
        key = pseudonyms.student_key(StudentId(str(number)))
        found[murmur2_partition(key.encode())].append((str(number), key))
    return found


def murmur2_partition(key: bytes) -> int:
    """Kafka's default partitioner."""
    from aiokafka.partitioner import murmur2

    return int((murmur2(key) & 0x7FFFFFFF) % PARTITIONS)


def one_run(stack: LocalStack, folder: Path, rate: float, seconds: float, number: int) -> list[float]:
    """Latencies in milliseconds of one run, warm-up left out."""
    county = plan_county(SCHOOLS, seed=1)
    schools = [school.cds for school in county.schools]
    pseudonyms = Pseudonymizer(stack.environment["SCORES_STUDENT_KEY_SECRET"].encode())
    year = 2021 + number  # a school year of its own for each run: cells start empty
    assessment = load_registry().natural_id("ELA-SUM", Grade("05"), year)
    events = int(rate * seconds)
    students = students_on_partition(pseudonyms, events // PARTITIONS + SCHOOLS)
    token = issue_token(stack.state, subject="bench", roles=[READER_ROLE], organizations=[STATE], minutes=60)
    # Into a file: a pipe that nobody reads while we produce would stop the subscriber.
    log = folder / f"frames-{number}.txt"
    command = [sys.executable, "-m", "bench.latency", "--subscriber", stack.gateway_url, token]
    with log.open("w") as out:
        watcher = subprocess.Popen([*command, *(f"school/{school}" for school in schools)], stdout=out)
    frames = log.open()
    while not next_line(frames, watcher).startswith("frame"):
        pass
    producer = Producer(
        {
            "bootstrap.servers": stack.kafka,
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": 1,
        }
    )
    due: dict[str, list[float]] = defaultdict(list)
    start = time.time() + 0.2
    for index in range(events):
        school_index = index % SCHOOLS
        student, key = students[school_index % PARTITIONS].pop()
        now = datetime.now(UTC)
        event = ExamResult(
            assessment_id=assessment,
            opportunity_id=f"{number}-{index}",
            school_year=year,
            status="scored",
            status_date=now,
            sequence=index,
            student_id=student,
            school=schools[school_index],
            grade="05",
            completed=now,
            scale_score=2400 + index % 200,
            level=2,
            claims=(
                ClaimScore("SOCK_R", 2),
                ClaimScore("2-W", 1),
                ClaimScore("SOCK_LS", 3),
                ClaimScore("4-CR", 2),
            ),
        )
        moment = start + index / rate
        if (wait := moment - time.time()) > 0:
            producer.poll(0)
            time.sleep(wait)
        producer.produce(EXAM_RESULTS, key=key.encode(), value=encode_event(event))
        due[schools[school_index]].append(moment)
    producer.flush()
    latencies: list[float] = []
    shown: dict[str, int] = defaultdict(int)
    left = events
    while left:
        organization, cell_year, results, moment_text = next_line(frames, watcher).split()
        if int(cell_year) != year:
            continue
        for index in range(shown[organization], int(results)):
            moment = due[organization][index]
            left -= 1
            if moment - start > WARM_UP_SECONDS:
                latencies.append((float(moment_text) - moment) * 1000)
        shown[organization] = max(shown[organization], int(results))
    watcher.kill()
    watcher.wait()
    return latencies


def next_line(file: TextIO, writer: subprocess.Popen[bytes]) -> str:
    """The next whole line of a file that is still written."""
    line = ""
    while not line.endswith("\n"):
        more = file.readline()
        if not more:
            if writer.poll() is not None:
                raise SystemExit("the subscriber has ended; see its message above")
            time.sleep(0.005)
        line += more
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kafka", choices=("real", "embedded"), default="real")
    options = parser.parse_args()
    os.environ["SCORES_UNLISTED_RELEASE_STATE"] = "released"  # what is measured is not what is withheld
    folder = Path(tempfile.mkdtemp(prefix="scores-bench-"))
    kafka = "local" if options.kafka == "real" else "embedded"
    entries = folder / "county.csv"
    entries.write_text(
        "cds,name,kind\n"
        + "".join(f"{e.cds},{e.name},{e.kind}\n" for e in plan_county(SCHOOLS, seed=1).entries)
    )
    runs: list[list[float]] = []
    with LocalStack(
        kafka=kafka, redis="embedded", state=StateFolder(folder / "state"), partitions=PARTITIONS
    ) as stack:
        load_entities([entries], stack.kafka, stack.redis_url, as_json=True)
        time.sleep(2.0)  # the gateway looks for a new directory each second
        for number in range(options.runs):
            latencies = sorted(one_run(stack, folder, options.rate, options.seconds, number))
            runs.append(latencies)
            print(
                f"run {number + 1}: " + ", ".join(f"p{p} {at(latencies, p):.1f} ms" for p in (50, 95, 99)),
                flush=True,
            )
    print(f"\n| {options.kafka} Kafka, {options.rate:g} events/s | median of {len(runs)} runs (min-max) |")
    print("|---|---|")
    for percent in (50, 95, 99, 100):
        values = [at(latencies, percent) for latencies in runs]
        name = f"p{percent}" if percent < 100 else "max"
        print(f"| {name} | {statistics.median(values):.1f} ms ({min(values):.1f}-{max(values):.1f}) |")


def at(ascending: list[float], percent: float) -> float:
    """The percentile of sorted values, nearest rank."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * percent / 100))]


if __name__ == "__main__":
    subscriber() if sys.argv[1:2] == ["--subscriber"] else main()
