"""What the worker waits out when Redis fails, what it gives up on at once, and what it sends."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MaxConnectionsError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from schemas.environment import shown_address
from schemas.errors import BatchTooLarge, DependencyUnavailable
from streams.accidents import Accident, Accidents
from streams.connection import (
    LARGEST_SCRIPT_BYTES,
    PackingConnection,
    PackingSSLConnection,
    Patience,
    connect,
    worth_waiting,
)
from streams.metrics import Metrics

WRAPPED = "Error running script (call to f_00ff): @user_script:25: @user_script: 25: "  # as servers before 7.0 say it


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RedisConnectionError("Connection reset by peer"), Accident.REDIS_AWAY),
        (RedisTimeoutError("Timeout reading"), Accident.REDIS_AWAY),
        (BusyLoadingError("Redis is loading the dataset in memory"), Accident.REDIS_AWAY),
        (MaxConnectionsError(), Accident.REDIS_AWAY),
        (ConnectionRefusedError(), Accident.REDIS_AWAY),
        (ResponseError("BUSY Redis is busy running a script."), Accident.REDIS_AWAY),
        (
            ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
            Accident.REDIS_AWAY,
        ),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), Accident.REDIS_AWAY),
        (ClusterDownError("The cluster is down"), Accident.REDIS_AWAY),
        (ClusterError("TTL exhausted."), Accident.REDIS_AWAY),
        (TryAgainError("Multiple keys request during rehashing of slot"), Accident.REDIS_AWAY),
        (SlotNotCoveredError('Slot "7" not covered by the cluster.'), Accident.REDIS_AWAY),
        (RedisClusterException("Redis Cluster cannot be connected. ..."), Accident.REDIS_AWAY),
        (RedisClusterException("All slots are not covered after query all ..."), Accident.REDIS_AWAY),
        (ReadOnlyError("You can't write against a read only replica."), Accident.REDIS_READ_ONLY),
        (
            ResponseError(f"{WRAPPED}-READONLY You can't write against a read only replica."),
            Accident.REDIS_READ_ONLY,
        ),
        (
            OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
            Accident.REDIS_OUT_OF_MEMORY,
        ),
        (ResponseError(f"{WRAPPED}-OOM command not allowed when used memory"), Accident.REDIS_OUT_OF_MEMORY),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.label,
)
def test_failure_that_time_may_mend_is_waited_out_under_its_name(
    error: Exception, expected: Accident
) -> None:
    assert worth_waiting(error) is expected


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("invalid username-password pair"),
        NoScriptError("No matching script."),
        ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        ResponseError(f"{WRAPPED}attempt to index nil; a cell named OOM"),
        RedisClusterException("EVALSHA - all keys must map to the same key slot"),
        RedisClusterException(
            "Redis Cluster cannot be connected. ... Cluster mode is not enabled on this node"
        ),
    ],
    ids=str,
)
def test_failure_that_no_time_mends_is_raised_at_once(error: Exception) -> None:
    assert worth_waiting(error) is None


@pytest.mark.anyio
async def test_outage_is_told_once_by_all_who_wait_and_again_when_there_is_another() -> None:
    metrics = Metrics()
    patience = Patience("redis://somewhere", 10, Accidents(metrics.accidents))

    async def wait_out(failures: int) -> str:
        left = failures

        async def attempt() -> str:
            nonlocal left
            if left:
                left -= 1
                raise RedisConnectionError("away")
            return "answer"

        async def reconnect() -> None:
            raise AssertionError("only a demoted server asks for that")

        return str(await patience.waited_out(attempt, reconnect))

    def told() -> float | None:
        return metrics.registry.get_sample_value("scores_accidents_total", {"kind": "redis_away"})

    assert await wait_out(1) == "answer"
    assert told() == 0  # a connection that broke while idle
    assert await wait_out(3) == "answer"
    assert told() == 1
    assert await wait_out(2) == "answer"
    assert told() == 2


@pytest.mark.anyio
async def test_budget_spent_names_address_budget_and_remedy() -> None:
    patience = Patience("redis://somewhere", 0.0, Accidents(Metrics().accidents))

    async def attempt() -> None:
        raise OutOfMemoryError("command not allowed")

    async def reconnect() -> None: ...

    with pytest.raises(DependencyUnavailable, match=r"redis://somewhere .* within 0 s .*raise its maxmemory"):
        await patience.waited_out(attempt, reconnect)


def test_every_kind_of_accident_is_there_at_zero_before_it_happens() -> None:
    metrics = Metrics()
    Accidents(metrics.accidents)
    for kind in Accident:
        assert metrics.registry.get_sample_value("scores_accidents_total", {"kind": kind.label}) == 0


@pytest.mark.parametrize(
    ("url", "cluster", "expected"),
    [
        ("redis://127.0.0.1:1/0", False, PackingConnection),
        ("rediss://127.0.0.1:1/0", False, PackingSSLConnection),
        ("redis://127.0.0.1:1/0", True, PackingConnection),
        ("rediss://127.0.0.1:1/0", True, PackingSSLConnection),
    ],
)
def test_batches_are_packed_in_c_on_every_kind_of_connection(url: str, cluster: bool, expected: type) -> None:
    client = connect(url, 1, Accidents(Metrics().accidents), cluster=cluster)
    if isinstance(client, Redis):
        kinds = {client.connection_pool.connection_class}
    else:
        found_later = client.connection_kwargs["connection_class"]
        kinds = {found_later, *(node.connection_class for node in client.startup_nodes)}
    assert kinds == {expected}


def test_script_larger_than_its_bound_is_refused_before_it_is_sent() -> None:
    connection = PackingConnection()
    small = connection.pack_command("EVALSHA", "sha", 0, b"x" * 100)
    assert small == [b"*4\r\n$7\r\nEVALSHA\r\n$3\r\nsha\r\n$1\r\n0\r\n$100\r\n" + b"x" * 100 + b"\r\n"]
    with pytest.raises(BatchTooLarge, match=f"one script takes {LARGEST_SCRIPT_BYTES} at most"):
        connection.pack_command("EVALSHA", "sha", 0, b"x" * LARGEST_SCRIPT_BYTES)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://somebody:hidden@tables.test:6380/1", "rediss://tables.test:6380/1"),
        ("redis://:hidden@tables.test", "redis://tables.test"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("somebody:hidden@tables.test", "tables.test"),
        ("nonsense", "nonsense"),
    ],
)
def test_address_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert shown_address(url) == shown
