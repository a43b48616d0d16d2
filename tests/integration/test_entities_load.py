"""``scores entities load``: from the files through Kafka into the directory that workers, gateway and imports use."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from stack import running_worker

from cli.load_entities import load_entities
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.redis_server import EmbeddedRedis
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.events import decode_organization
from schemas.keys import ORGANIZATIONS
from schemas.topics import topics

COUNTY = """cds,name,kind,charter
00000000000000,State,state,
99000000000000,Nonesuch,county,
99123450000000,Cañada Unified,district,
99123450000011,Lincoln Elementary,school,
99123450000022,Free Charter,school,direct
99555550000033,Far Elementary,school,
"""


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka({topic.name: topic.partitions for topic in topics(2)}) as broker:
        yield broker


@pytest.fixture
def redis_server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def county(tmp_path: Path) -> Path:
    file = tmp_path / "county.csv"
    file.write_text(COUNTY, encoding="utf-8")
    return file


def directory(server: EmbeddedRedis) -> dict[str, str]:
    """Names by code, as the directory in Redis has them."""
    with Redis.from_url(server.url) as redis:
        entries = [decode_organization(entry) for entry in redis.hvals(ORGANIZATIONS)]
    return {entry.cds: entry.name for entry in entries}


def test_organizations_are_in_the_directory_when_the_command_ends_and_a_new_name_replaces_the_old(
    kafka: EmbeddedKafka,
    redis_server: EmbeddedRedis,
    county: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with running_worker(kafka.bootstrap_servers, redis_server.url, tmp_path):
        assert load_entities([county], kafka.bootstrap_servers, redis_server.url, as_json=True) == 0
        loaded = json.loads(capfd.readouterr().out)
        assert loaded == {
            "organizations": {"school": 3, "district": 1, "county": 1, "state": 1},
            "charters": 1,
            "waiting": 0,
            "missing_districts": ["99555550000000"],
        }
        assert directory(redis_server)["99123450000000"] == "Cañada Unified"
        assert len(directory(redis_server)) == 6

        county.write_text(COUNTY.replace("Lincoln", "Washington"), encoding="utf-8")
        assert load_entities([county], kafka.bootstrap_servers, redis_server.url) == 0
        assert directory(redis_server)["99123450000011"] == "Washington Elementary"

    told = capfd.readouterr()
    assert "District 99555550000000 of one school is not in the files" in told.err
    assert "Organizations loaded" in told.out


def test_without_a_worker_the_command_says_what_to_do_and_the_entries_are_taken_up_later(
    kafka: EmbeddedKafka,
    redis_server: EmbeddedRedis,
    county: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address = kafka.bootstrap_servers

    assert load_entities([county], address, redis_server.url, wait_seconds=0.1) == 1
    assert "no stream worker has put them into the directory yet" in capfd.readouterr().out.replace("\n", " ")

    with running_worker(address, redis_server.url, tmp_path):
        assert load_entities([county], address, redis_server.url) == 0


def test_all_faults_of_all_files_are_told_and_nothing_is_published(
    kafka: EmbeddedKafka, redis_server: EmbeddedRedis, county: Path, tmp_path: Path
) -> None:
    faulty = tmp_path / "faulty.csv"
    faulty.write_text("cds,name,kind\n123,Lincoln,school\n")

    with pytest.raises(InvalidInput) as refusal:
        load_entities([county, faulty, tmp_path / "nowhere.csv"], kafka.bootstrap_servers, redis_server.url)

    assert "faulty.csv has one fault" in str(refusal.value)
    assert "nowhere.csv' is not a file" in str(refusal.value)
    assert not directory(redis_server)


def test_school_in_the_canarys_county_is_refused_with_its_line_and_nothing_is_published(
    kafka: EmbeddedKafka, redis_server: EmbeddedRedis, county: Path, tmp_path: Path
) -> None:
    reserved = tmp_path / "reserved.csv"
    reserved.write_text(COUNTY + "97123450000044,Canary Hill Elementary,school,\n", encoding="utf-8")

    with running_worker(kafka.bootstrap_servers, redis_server.url, tmp_path):
        with pytest.raises(
            InvalidInput, match="line 8: 97123450000044 is in county 97, which is kept for the canary"
        ):
            load_entities([county, reserved], kafka.bootstrap_servers, redis_server.url)
        assert load_entities([county], kafka.bootstrap_servers, redis_server.url) == 0

    assert "97123450000044" not in directory(redis_server)
    assert len(directory(redis_server)) == 6


def test_an_absent_redis_or_broker_is_named(
    kafka: EmbeddedKafka, redis_server: EmbeddedRedis, county: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DependencyUnavailable, match=f"Redis at redis://127.0.0.1:{port}/0 does not answer"):
        load_entities([county], kafka.bootstrap_servers, f"redis://127.0.0.1:{port}/0")
    with pytest.raises(InvalidInput, match="'nonsense' is not the address of a Redis"):
        load_entities([county], kafka.bootstrap_servers, "nonsense")

    kafka.set_broker_down()
    with pytest.raises(DependencyUnavailable, match=f"Kafka at {kafka.bootstrap_servers}"):
        load_entities([county], kafka.bootstrap_servers, redis_server.url)
