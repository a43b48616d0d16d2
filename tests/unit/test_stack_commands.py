"""Command lines and configuration of the servers under ``scores up``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cli.stack.kafka_configuration import QUICK_START, java_command, server_properties
from cli.stack.kafka_jars import bundled_text, downloaded, fetch_command, jar_folder, kafka_version
from cli.stack.leash import leashed
from cli.stack.redis_server import EmbeddedRedis, bundled_binary, server_command
from schemas.errors import InvalidInput


def _settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_kafka_is_one_node_that_listens_on_this_machine_only() -> None:
    settings = _settings(server_properties(20_001, 20_002, {}))
    assert settings["process.roles"] == "broker,controller"
    assert settings["listeners"] == "BROKER://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert settings["advertised.listeners"] == "BROKER://127.0.0.1:20001"
    assert settings["controller.quorum.bootstrap.servers"] == "127.0.0.1:20002"
    assert settings["auto.create.topics.enable"] == "false"


def test_every_internal_topic_of_kafka_gets_one_copy_because_there_is_one_node() -> None:
    settings = _settings(server_properties(1, 2, {}))
    copies = {
        name: value for name, value in settings.items() if name.endswith(("replication.factor", "min.isr"))
    }
    assert len(copies) == 5
    assert set(copies.values()) == {"1"}


def test_a_given_server_setting_wins_over_ours() -> None:
    settings = _settings(
        server_properties(1, 2, {"offsets.topic.num.partitions": "9", "num.io.threads": "3"})
    )
    assert settings["offsets.topic.num.partitions"] == "9"
    assert settings["num.io.threads"] == "3"


def test_kafka_starts_with_a_modest_heap_and_our_logging() -> None:
    command = java_command(Path("/java"), Path("/jars"), 512, QUICK_START, "kafka.Kafka", "server.properties")
    assert command[0] == "/java"
    assert command[-2:] == ["kafka.Kafka", "server.properties"]
    assert "-Xmx512m" in command
    assert "-Dlog4j2.configurationFile=log4j2.properties" in command
    assert command[command.index("-cp") + 1] == "/jars/*"


def test_jars_in_a_folder_that_no_class_path_can_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"/a:b/jars.*move them"):
        java_command(Path("/java"), Path("/a:b/jars"), 512, (), "kafka.Kafka")


def test_another_kafka_version_is_fetched_into_another_folder() -> None:
    pom = bundled_text("pom.xml")
    newer = pom.replace(f">{kafka_version(pom)}<", ">99.0.0<")
    assert jar_folder(Path("/cache"), newer).name.startswith("jars-99.0.0-")
    assert jar_folder(Path("/cache"), newer) != jar_folder(Path("/cache"), pom)


def test_another_logging_backend_is_fetched_into_another_folder() -> None:
    pom = bundled_text("pom.xml")
    assert jar_folder(Path("/cache"), pom) != jar_folder(
        Path("/cache"), pom.replace("log4j-core", "log4j-other")
    )


def test_the_pom_leaves_the_choice_of_a_registry_to_the_machine() -> None:
    pom = bundled_text("pom.xml")
    assert "repositor" not in pom.lower()
    assert pom.count("://") == 1  # the XML namespace of Maven's POMs


def test_maven_checks_what_it_downloads() -> None:
    command = fetch_command(Path("/mvn"), Path("/x/pom.xml"), Path("/x/jars"))
    assert "--strict-checksums" in command
    assert "--file=/x/pom.xml" in command
    assert "-DoutputDirectory=/x/jars" in command


@pytest.mark.parametrize(
    ("line", "news"),
    [
        (
            "Downloaded from central: scheme://host/a/b/kafka-clients-4.3.1.jar (10 MB at 24 MB/s)",
            "fetched kafka-clients-4.3.1.jar (10 MB)",
        ),
        ("Downloaded from mirror-1: scheme://host/b.jar (12 kB)", "fetched b.jar (12 kB)"),
        ("Downloaded from central: scheme://host/a/b/kafka-clients-4.3.1.pom (2 kB at 1 kB/s)", None),
        ("[INFO] Copying kafka-clients-4.3.1.jar to /somewhere", None),
    ],
    ids=["jar", "jar without a rate", "pom", "copy"],
)
def test_progress_names_each_jar_and_its_size(line: str, news: str | None) -> None:
    assert downloaded(line) == news


def test_redis_listens_on_this_machine_only_and_never_evicts_a_cell() -> None:
    command = server_command(Path("/redis"), 20_003, Path("/data"), {})
    assert command[0] == "/redis"
    assert command[command.index("--bind") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "20003"
    assert command[command.index("--dir") + 1] == "/data"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_a_redis_without_a_folder_says_that_it_keeps_nothing() -> None:
    assert EmbeddedRedis().limits == "keeps nothing on disk"
    assert "/data" in EmbeddedRedis(Path("/data")).limits


def test_the_wheel_of_the_embedded_redis_has_a_server_for_this_machine() -> None:
    assert bundled_binary().is_file()


def test_a_redis_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidInput, match="'/no/such/redis-server'"):
        EmbeddedRedis(binary="/no/such/redis-server").start()


def test_the_address_of_a_redis_that_was_never_started_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="start it first"):
        _ = EmbeddedRedis().url


def test_servers_run_on_a_leash_on_linux_and_plainly_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert leashed(["/server", "--port", "1"])[-3:] == ["/server", "--port", "1"]
    assert leashed(["/server"])[0] == sys.executable
    monkeypatch.setattr(sys, "platform", "darwin")
    assert leashed(["/server", "--port", "1"]) == ["/server", "--port", "1"]
