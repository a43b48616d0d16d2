"""The servers under ``scores up``, for real: embedded and local Kafka, embedded Redis."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from cli.stack.child import Child, ServerFailed
from cli.stack.claimed_folder import ClaimedFolder
from cli.stack.embedded_kafka import EmbeddedKafka, Request
from cli.stack.local_kafka import LocalKafka
from cli.stack.ports import HOST, chosen_port, free_port, is_free
from cli.stack.redis_server import EmbeddedRedis
from schemas.errors import InvalidInput

RESULTS = "exam-results"
SCORES = [f"score {number}".encode() for number in range(50)]

# Outside the tests' temporary folders, so that Kafka is fetched once per checkout and not once per run.
JARS = Path(__file__).parents[2] / ".scores" / "kafka"


def _eventually(what: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (done := what()) and time.monotonic() < deadline:
        pause.wait(0.01)
    return done


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- clients -----------------------------------------------------------------------------------------------------


def _produce(servers: str, values: list[bytes], partition: int = 0) -> None:
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer({"bootstrap.servers": servers, "log_level": 2})
    for value in values:
        producer.produce(RESULTS, value=value, partition=partition, on_delivery=delivered)
    waiting = producer.flush(60)
    producer.close()
    assert (waiting, failures) == (0, [])


def _read(servers: str, count: int, *, start: int = 0, **settings: object) -> list[bytes]:
    """The first ``count`` values of partition 0, or fewer if no more come within a minute."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "readers",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "log_level": 2,
            **settings,
        }
    )
    values: list[bytes] = []
    try:
        consumer.assign([TopicPartition(RESULTS, 0, start)])
        deadline = time.monotonic() + 60
        while len(values) < count and time.monotonic() < deadline:
            for message in consumer.consume(count - len(values), 0.5):
                if error := message.error():
                    raise KafkaException(error)
                values.append(message.value() or b"")
    finally:
        consumer.close()
    return values


# --- embedded Kafka ----------------------------------------------------------------------------------------------


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka({RESULTS: 8, "organizations": 1}) as broker:
        yield broker


def test_scores_go_through_the_embedded_broker_with_librdkafka(kafka: EmbeddedKafka) -> None:
    _produce(kafka.bootstrap_servers, SCORES)
    assert _read(kafka.bootstrap_servers, len(SCORES)) == SCORES


@pytest.mark.anyio
async def test_scores_go_through_the_embedded_broker_with_aiokafka(kafka: EmbeddedKafka) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, enable_idempotence=True
    ) as producer:
        for value in SCORES:
            await producer.send_and_wait(RESULTS, value, key=b"one student")
    consumer = AIOKafkaConsumer(
        RESULTS,
        bootstrap_servers=kafka.bootstrap_servers,
        group_id="readers",
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
    )
    async with consumer:
        values = [(await anext(consumer)).value for _ in SCORES]
    assert values == SCORES


def test_topics_have_their_partitions_before_the_first_client_connects(kafka: EmbeddedKafka) -> None:
    topics = AdminClient({"bootstrap.servers": kafka.bootstrap_servers}).list_topics(timeout=10).topics
    assert {name: len(topic.partitions) for name, topic in topics.items()} == {RESULTS: 8, "organizations": 1}


def test_a_restarted_embedded_broker_is_empty_and_another_cluster() -> None:
    """librdkafka itself gives the same id to every cluster that one process starts after another."""
    broker = EmbeddedKafka({RESULTS: 1})
    seen: set[str | None] = set()
    for _ in range(5):
        with broker:
            admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
            seen.add(admin.list_topics(timeout=10).cluster_id)
            assert broker.cluster_id in seen
            _produce(broker.bootstrap_servers, [b"only score"])
            assert _read(broker.bootstrap_servers, 1) == [b"only score"]
    assert len(seen) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="not run: counts threads and sockets in /proc")
def test_a_stopped_embedded_broker_leaves_no_thread_and_no_socket() -> None:
    def open_things() -> tuple[int, int]:
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

    with EmbeddedKafka({RESULTS: 1}):
        pass  # whatever a library keeps for good, it has now
    before = open_things()
    for _ in range(3):
        with EmbeddedKafka({RESULTS: 8}, brokers=3):
            assert open_things() > before
    assert open_things() == before


def test_a_broker_that_is_closed_twice_is_closed(kafka: EmbeddedKafka) -> None:
    kafka.close()
    kafka.close()
    assert not kafka.running


def test_a_broker_that_runs_is_not_started_again(kafka: EmbeddedKafka) -> None:
    with pytest.raises(InvalidInput, match="running already"):
        kafka.start()


def test_a_produce_request_fails_when_told_to(kafka: EmbeddedKafka) -> None:
    kafka.push_request_errors(Request.PRODUCE, [KafkaError.POLICY_VIOLATION])
    outcomes: list[int | None] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        outcomes.append(None if error is None else error.code())

    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2})
    for _ in range(2):
        producer.produce(RESULTS, b"score", partition=0, on_delivery=delivered)
        assert producer.flush(10) == 0
    producer.close()
    assert outcomes == [KafkaError.POLICY_VIOLATION, None]


def test_errors_that_no_request_has_met_can_be_taken_back(kafka: EmbeddedKafka) -> None:
    kafka.push_request_errors(Request.PRODUCE, [KafkaError.TOPIC_AUTHORIZATION_FAILED] * 5)
    kafka.clear_request_errors(Request.PRODUCE)
    _produce(kafka.bootstrap_servers, SCORES)
    assert _read(kafka.bootstrap_servers, len(SCORES)) == SCORES


def test_a_broker_that_was_down_returns_on_its_port_with_its_log(kafka: EmbeddedKafka) -> None:
    _produce(kafka.bootstrap_servers, SCORES)
    port = int(kafka.bootstrap_servers.rpartition(":")[2])
    kafka.set_broker_down()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=5)
    kafka.set_broker_up()
    assert _read(kafka.bootstrap_servers, len(SCORES)) == SCORES


def test_a_distant_broker_answers_late(kafka: EmbeddedKafka) -> None:
    kafka.set_rtt_ms(300)
    began = time.monotonic()
    AdminClient({"bootstrap.servers": kafka.bootstrap_servers}).list_topics(timeout=10)
    assert time.monotonic() - began >= 0.3


def test_a_reader_whom_retention_overtook_is_told(kafka: EmbeddedKafka) -> None:
    _produce(kafka.bootstrap_servers, SCORES)
    kafka.delete_records(RESULTS, 0, before=20)
    with pytest.raises(KafkaException) as caught:
        _read(kafka.bootstrap_servers, 1)
    assert caught.value.args[0].code() == KafkaError._AUTO_OFFSET_RESET
    assert _read(kafka.bootstrap_servers, 30, start=20) == SCORES[20:]


def test_a_fault_that_the_broker_refuses_is_an_error(kafka: EmbeddedKafka) -> None:
    with pytest.raises(InvalidInput, match=r"delete_records.*Unknown topic"):
        kafka.delete_records("no-such-topic", 0, before=1)


def test_a_topic_that_is_deleted_and_created_again_starts_empty(kafka: EmbeddedKafka) -> None:
    _produce(kafka.bootstrap_servers, SCORES)
    kafka.delete_topic(RESULTS)
    kafka.create_topic(RESULTS, 1)
    _produce(kafka.bootstrap_servers, [b"new score"])
    assert _read(kafka.bootstrap_servers, 1) == [b"new score"]


def test_a_partition_and_a_group_move_to_another_broker() -> None:
    with EmbeddedKafka({RESULTS: 1}, brokers=2) as cluster:
        cluster.set_leader(RESULTS, 0, 2)
        cluster.set_coordinator("readers", 1)
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
        assert admin.list_topics(timeout=10).topics[RESULTS].partitions[0].leader == 2


# --- child processes, ports, folders -----------------------------------------------------------------------------


def test_a_port_that_is_taken_is_refused_and_never_offered() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(InvalidInput, match=f"Port {port} on 127.0.0.1 cannot be used"):
            chosen_port(port)
    assert chosen_port(port) == port
    assert is_free(free_port())


def test_a_port_that_was_offered_is_offered_to_nobody_else_before_its_server_has_bound_it() -> None:
    ours = [free_port() for _ in range(200)]
    asking = "from cli.stack.ports import free_port\nfor _ in range(200): print(free_port())"
    answer = subprocess.run([sys.executable, "-c", asking], capture_output=True, text=True, check=True)
    theirs = [int(line) for line in answer.stdout.split()]
    assert len({*ours, *theirs}) == 400


def test_a_port_beyond_the_range_is_refused() -> None:
    with pytest.raises(InvalidInput, match="70000 does not exist"):
        chosen_port(70_000)


def test_a_folder_is_claimed_by_one_at_a_time(tmp_path: Path) -> None:
    claim = ClaimedFolder(tmp_path / "data")
    with pytest.raises(InvalidInput, match=rf"data is in use \(by process {os.getpid()}\)"):
        ClaimedFolder(tmp_path / "data")
    claim.release()
    ClaimedFolder(tmp_path / "data").release()


def test_a_folder_below_a_file_cannot_be_claimed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="choose another"):
        ClaimedFolder(tmp_path / "file" / "data")


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 1; done"
    child = Child("stubborn", ["/bin/sh", "-c", script], cwd=tmp_path, log=tmp_path / "log")
    assert _eventually(lambda: "ready" in child.last_lines())
    child.stop(grace_seconds=0.2)
    assert not child.running
    assert child.exit_status == -signal.SIGKILL


def test_a_child_that_ends_by_itself_is_quoted(tmp_path: Path) -> None:
    child = Child("brief", ["/bin/sh", "-c", "echo last words; exit 3"], cwd=tmp_path, log=tmp_path / "log")
    assert child.wait(10)
    assert "brief stopped (exit status 3)" in str(child.failure("stopped"))
    assert "last words" in str(child.failure("stopped"))


def test_ctrl_c_in_the_terminal_reaches_the_launcher_alone(tmp_path: Path) -> None:
    child = Child("cat", ["/bin/sh", "-c", "sleep 60"], cwd=tmp_path, log=tmp_path / "log")
    try:
        assert os.getsid(child.pid) != os.getsid(0)
    finally:
        child.stop(0)


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """The kernel's leash hangs on the starting thread, not on its process."""
    children: list[Child] = []

    def start() -> None:
        script = "echo ready; exec sleep 60"
        children.append(Child("sleep", ["/bin/sh", "-c", script], cwd=tmp_path, log=tmp_path / "log"))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    child = children[0]
    try:
        assert _eventually(lambda: "ready" in child.last_lines())  # so the leash is on
        assert not child.wait(0.3)
    finally:
        child.stop(0)


@pytest.mark.skipif(sys.platform != "linux", reason="not run: only Linux ties a child's life to its parent's")
def test_the_server_dies_with_a_launcher_that_is_killed() -> None:
    script = (
        "import sys; from cli.stack.redis_server import EmbeddedRedis\n"
        "server = EmbeddedRedis().start(); print(server.pid, server.port, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        pid, port = map(int, launcher.stdout.readline().split())
        assert not is_free(port)
        launcher.kill()
    assert _eventually(lambda: is_free(port) and not _alive(pid))


# --- Redis -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["embedded", "redis-server"])
def binary(request: pytest.FixtureRequest) -> str | None:
    if request.param == "embedded":
        return None
    if shutil.which("redis-server") is None:
        pytest.skip("not run: redis-server is not installed")
    return "redis-server"


def _set_and_get(url: str, name: str, value: bytes | None = None) -> bytes | None:
    with redis.Redis.from_url(url) as client:
        if value is not None:
            client.set(name, value)
        found = client.get(name)
    assert found is None or isinstance(found, bytes)
    return found


def test_cells_survive_a_stop_and_a_start(binary: str | None, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, binary=binary) as server:
        _set_and_get(server.url, "cell", b"42")
    with EmbeddedRedis(tmp_path, binary=binary) as server:
        assert _set_and_get(server.url, "cell") == b"42"


def test_a_killed_server_returns_on_its_port_with_its_cells(binary: str | None, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, binary=binary) as server:
        url, pid = server.url, server.pid
        _set_and_get(url, "cell", b"42")
        server.kill()
        assert not _alive(pid)
        server.start()
        assert server.url == url
        assert _set_and_get(url, "cell") == b"42"


def test_a_server_with_a_folder_syncs_its_append_only_file_each_second(
    binary: str | None, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path, binary=binary) as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("append*")["appendonly"] == "yes"
        assert client.config_get("append*")["appendfsync"] == "everysec"
        assert client.config_get("save") == {"save": ""}


def test_a_server_without_a_folder_removes_all_that_it_wrote(binary: str | None) -> None:
    with EmbeddedRedis(binary=binary) as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.config_get("appendonly") == {"appendonly": "no"}
            place = Path(client.config_get("dir")["dir"])
        assert place.is_dir()
    assert not place.exists()


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        with pytest.raises(InvalidInput, match=rf"in use \(by process {server.pid}\)"):
            EmbeddedRedis(tmp_path).start()
        assert _set_and_get(server.url, "cell", b"1") == b"1"


def test_a_given_port_is_used_and_a_taken_one_refused() -> None:
    port = free_port()
    with EmbeddedRedis(port=port) as server:
        assert server.url == f"redis://127.0.0.1:{port}/0"
        with pytest.raises(InvalidInput, match=f"Port {port}"):
            EmbeddedRedis(port=port).start()


def test_a_server_that_refuses_its_settings_is_quoted() -> None:
    with pytest.raises(ServerFailed, match=r"ended while starting(.|\n)*no-such-directive"):
        EmbeddedRedis(settings={"no-such-directive": "1"}).start()


# --- local Kafka -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def java_and_maven() -> None:
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"not run: {program} is not installed")


@pytest.mark.usefixtures("java_and_maven")
def test_a_local_kafka_keeps_its_topics_and_scores_between_starts(tmp_path: Path) -> None:
    topics = {RESULTS: (8, {"retention.ms": "-1"}), "organizations": (4, {"cleanup.policy": "compact"})}
    said: list[str] = []
    with LocalKafka(tmp_path, jars=JARS, topics=topics, report=said.append) as kafka:
        first = (kafka.cluster_id, _topic_id(kafka))
        _produce(kafka.bootstrap_servers, SCORES)
        pid = kafka.pid
    assert not _alive(pid)
    with LocalKafka(tmp_path, jars=JARS, topics=topics, port=free_port(), report=said.append) as kafka:
        assert (kafka.cluster_id, _topic_id(kafka)) == first
        assert _read(kafka.bootstrap_servers, len(SCORES)) == SCORES
        with pytest.raises(InvalidInput, match=r"'exam-results' .* has 8 partitions, and 16 are wanted"):
            kafka.create_topics({RESULTS: (16, {})})
        with pytest.raises(InvalidInput, match=r"'rosters' was refused"):
            kafka.create_topics({"rosters": (1, {"no.such.setting": "1"})})
        with pytest.raises(InvalidInput, match=rf"in use \(by process {kafka.pid}\)"):
            LocalKafka(tmp_path, jars=JARS).start()
    assert len([line for line in said if line.startswith("formatting")]) == 1
    assert len([line for line in said if line.startswith("Kafka answers at")]) == 2


@pytest.mark.usefixtures("java_and_maven")
def test_a_local_kafka_that_was_killed_starts_again_with_its_scores(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path, jars=JARS, topics={RESULTS: (1, {})})
    with kafka:
        _produce(kafka.bootstrap_servers, SCORES)
        kafka.kill()
    with kafka:
        assert _read(kafka.bootstrap_servers, len(SCORES)) == SCORES


@pytest.mark.usefixtures("java_and_maven")
def test_a_local_kafka_that_refuses_its_settings_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"could not format(.|\n)*process\.roles"):
        LocalKafka(tmp_path, jars=JARS, properties={"process.roles": "conductor"}).start()


def _topic_id(kafka: LocalKafka) -> str:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    described = admin.describe_topics(TopicCollection([RESULTS]))[RESULTS].result(10)
    assert len(described.partitions) == 8
    return str(described.topic_id)
