"""The worker's Redis connection: one server or a cluster, patient within a budget, with the one hot command packed in C.

A batch is one EVALSHA of ten thousand arguments, and redis-py's asyncio connection packs arguments in Python: a
quarter of the worker's time. hiredis, which redis-py uses for its blocking connection, does the same in C.

Every command waits out a Redis that is away, loading, failing over, demoted or out of memory, until the budget is spent.
So a command may be sent again after its answer got lost: whatever is sent here must bear being applied twice, which our
scripts do by their guards.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import hiredis
from redis.asyncio import Connection, Redis, RedisCluster, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from schemas.environment import shown_address
from schemas.errors import BatchTooLarge, DependencyUnavailable, InvalidInput
from schemas.keys import COMPACT_VALUE_BYTES
from schemas.redis_sending import SendsCancellably, use_connections
from streams.accidents import Accident, Accidents

logger = logging.getLogger(__name__)

RedisClient = Redis | RedisCluster

# Scripts take milliseconds; so long without an answer, the server hangs or is unreachable. A third of a small budget, so
# that one silent attempt does not use it up.
_ANSWER_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 3.0

# Redis takes in the whole command before it runs the script, and keeps it beside the tables meanwhile; a usual batch has a
# tenth. (Its own limit for all that a client has sent is 1 GB.)
LARGEST_SCRIPT_BYTES: Final = 16 * 1024 * 1024

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0

# Within scripts, servers before 7.0 wrap the reason: "ERR Error running script ...: -OOM command not allowed ...".
_REASON: Final = re.compile(r"(?:^|-)(OOM|READONLY|BUSY|LOADING|MISCONF|NOREPLICAS|MASTERDOWN)\b")
# How redis-py says that no node can be reached, or that some slots have no master at the moment.
_INCOMPLETE: Final = ("Redis Cluster cannot be connected", "All slots are not covered")
_NO_CLUSTER: Final = "Cluster mode is not enabled"

_REMEDY: Final = {
    Accident.REDIS_AWAY: "is it running, and is SCORES_REDIS_URL right?",
    Accident.REDIS_READ_ONLY: "point SCORES_REDIS_URL to the master, or promote this replica.",
    Accident.REDIS_OUT_OF_MEMORY: "raise its maxmemory, or add masters to the cluster, and start the worker again.",
}


class _Packing(SendsCancellably):
    """Sends the same bytes, sooner, and refuses a script that is too large before anything is sent."""

    def pack_command(self, *args: Any) -> list[bytes]:
        # Only where no argument is a command of two words, which redis-py splits ("SCRIPT LOAD").
        if args[0] != "EVALSHA":
            packed: list[bytes] = super().pack_command(*args)  # type: ignore[misc]  # of the connection class beside us
            return packed
        command = hiredis.pack_command(args)
        if len(command) > LARGEST_SCRIPT_BYTES:
            raise BatchTooLarge(f"{len(command)} bytes; one script takes {LARGEST_SCRIPT_BYTES} at most")
        return [command]


class PackingConnection(_Packing, Connection):
    """A plain connection."""


class PackingSSLConnection(_Packing, SSLConnection):
    """An encrypted one."""


_PACKING: Final[dict[Any, Any]] = {Connection: PackingConnection, SSLConnection: PackingSSLConnection}


class Patience:
    """Decides what is waited out, and for how long; all commands of one client share it, so an outage is told once.

    Args:
        address: what messages call the server; without its password.
    """

    def __init__(self, address: str, budget_seconds: float, accidents: Accidents) -> None:
        self._address = address
        self._budget_seconds = budget_seconds
        self._accidents = accidents
        self._since: dict[Accident, float] = {}

    async def waited_out(
        self, attempt: Callable[[], Awaitable[Any]], reconnect: Callable[[], Awaitable[None]]
    ) -> Any:
        """The answer of ``attempt``, tried again and again.

        Raises:
            DependencyUnavailable: there was none within the budget.
        """
        started = time.monotonic()
        pause_seconds = 0.0
        waiting_for: Accident | None = None
        while True:
            try:
                answer = await attempt()
            except (RedisError, RedisClusterException, OSError) as error:
                kind = worth_waiting(error)
                if kind is None:
                    self._over(waiting_for)  # an answer, such as that it does not know the script yet
                    raise
                waiting_for = kind
                spent = time.monotonic() - started
                if spent >= self._budget_seconds:
                    raise DependencyUnavailable(self._given_up(kind, error)) from error
                # A connection that broke while idle is no outage; a second failure in a row is, and a long silence.
                if pause_seconds or spent > _LONGEST_PAUSE_SECONDS or kind is not Accident.REDIS_AWAY:
                    self._tell(kind, error, started)
                if kind is Accident.REDIS_READ_ONLY:
                    await reconnect()
            else:
                self._over(waiting_for)
                return answer
            await asyncio.sleep(min(pause_seconds, self._budget_seconds - spent))
            pause_seconds = min(max(2 * pause_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)

    def _tell(self, kind: Accident, error: Exception, started: float) -> None:
        if kind not in self._since:
            self._since[kind] = started
            self._accidents.happened(
                kind,
                address=self._address,
                budget_seconds=f"{self._budget_seconds:g}",
                error=f"{type(error).__name__}({error})",
            )

    def _over(self, kind: Accident | None) -> None:
        since = self._since.pop(kind, None) if kind is not None else None
        if since is not None:
            logger.info("redis serves again after_seconds=%.1f", time.monotonic() - since)

    def _given_up(self, kind: Accident, error: Exception) -> str:
        return (
            f"Redis at {self._address} did not serve us within {self._budget_seconds:g} s (SCORES_DEPENDENCY_BUDGET_SECONDS; "
            f"{type(error).__name__}: {error}); {_REMEDY[kind]} Nothing is lost: a worker resumes where the tables stand"
        )


def worth_waiting(error: Exception) -> Accident | None:
    """What an error tells of that time may mend; None when sending the command again cannot help."""
    reason = _REASON.search(str(error)) if isinstance(error, ResponseError) else None
    code = reason[1] if reason else ""
    if isinstance(error, OutOfMemoryError) or code == "OOM":
        return Accident.REDIS_OUT_OF_MEMORY
    if isinstance(error, ReadOnlyError) or code == "READONLY":
        return Accident.REDIS_READ_ONLY
    if isinstance(error, AuthenticationError | AuthorizationError):
        return None
    if code or isinstance(
        error, RedisConnectionError | RedisTimeoutError | ClusterError | TryAgainError | OSError
    ):
        return Accident.REDIS_AWAY
    if isinstance(error, SlotNotCoveredError):
        return Accident.REDIS_AWAY
    if (
        isinstance(error, RedisClusterException)
        and str(error).startswith(_INCOMPLETE)
        and _NO_CLUSTER not in str(error)
    ):
        return Accident.REDIS_AWAY
    return None


class PatientRedis(Redis):
    """One server, patiently."""

    patience: Patience

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """The answer to a command; see ``Patience``."""
        command: Callable[..., Awaitable[Any]] = super().execute_command
        return await self.patience.waited_out(lambda: command(*args, **options), self._reconnect)

    async def _reconnect(self) -> None:
        # The address may lead to another server by now; the connections that we have do not.
        disconnect: Callable[..., Awaitable[None]] = self.connection_pool.disconnect
        await disconnect(inuse_connections=False)


class PatientCluster(RedisCluster):
    """A cluster, patiently: redirections are followed, a failover is waited out."""

    patience: Patience

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """The answer to a command; see ``Patience``."""
        command: Callable[..., Awaitable[Any]] = super().execute_command

        async def attempt() -> Any:
            if self._initialize:
                await self.initialize()  # otherwise the command goes to any node, and is redirected
            return await command(*args, **options)

        return await self.patience.waited_out(attempt, self.aclose)


def connect(
    redis_url: str, budget_seconds: float, accidents: Accidents, *, cluster: bool = False
) -> RedisClient:
    """A client that waits out a Redis that is away, for ``budget_seconds``, before it raises; connects when first used."""
    settings: dict[str, Any] = {
        "socket_timeout": min(_ANSWER_SECONDS, budget_seconds / 3),
        "socket_connect_timeout": min(_CONNECT_SECONDS, budget_seconds / 3),
    }
    patience = Patience(shown_address(redis_url), budget_seconds, accidents)
    if not cluster:
        client: PatientRedis = PatientRedis.from_url(  # type: ignore[assignment]  # declared as the parent's
            redis_url,
            # Once at once, which mends a connection that broke while idle, for pipelines, too: those do not wait.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            **settings,
        )
        client.patience = patience
        use_connections(client, _PACKING)
        return client
    # Twice at once: redis-py then asks another node than the one that failed for who serves which slot.
    nodes: PatientCluster = PatientCluster.from_url(  # type: ignore[assignment]  # declared as the parent's
        redis_url, protocol=2, retry=Retry(NoBackoff(), 2), **settings
    )
    nodes.patience = patience
    use_connections(nodes, _PACKING)
    return nodes


async def check_store(
    redis_url: str, budget_seconds: float, accidents: Accidents, *, cluster: bool = False
) -> None:
    """Refuse a Redis that would lose counts, or that is not what the settings say; waits for one that is away.

    Raises:
        InvalidInput: it evicts keys, or is a cluster when a single server is expected, or the other way round.
        DependencyUnavailable: it did not answer within the budget.
    """
    redis = connect(redis_url, budget_seconds, accidents, cluster=cluster)
    try:
        await _check(redis)
    finally:
        await redis.aclose()


async def _check(redis: RedisClient) -> None:
    try:
        if isinstance(redis, RedisCluster):
            answer = await redis.info(target_nodes=RedisCluster.PRIMARIES)
            found = [answer] if "redis_version" in answer else list(answer.values())
        else:
            found = [await redis.info()]
    except RedisClusterException as error:
        if _NO_CLUSTER not in str(error):
            raise
        raise InvalidInput("this Redis is no Redis Cluster; set SCORES_REDIS_CLUSTER to no") from error
    except ResponseError as error:
        logger.warning("redis does not say how it is set up, and must not evict keys error=%s", error)
        return
    await _look_at_layout(redis)
    for facts in found:
        if facts.get("cluster_enabled") == 1 and not isinstance(redis, RedisCluster):
            raise InvalidInput("this Redis is a node of a Redis Cluster; set SCORES_REDIS_CLUSTER to yes")
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise InvalidInput(
                f"this Redis has maxmemory-policy {policy} and would silently drop cells when memory is short; "
                "set it to noeviction"
            )


async def _look_at_layout(redis: RedisClient) -> None:
    """Say when this Redis does not keep cells compactly; that costs time and memory, and nothing else."""
    name = "hash-max-listpack-value"
    try:
        found: Any = await redis.config_get(name)
    except (ResponseError, RedisClusterException):
        return  # a managed Redis keeps its settings to itself
    if name in found and int(found[name]) < COMPACT_VALUE_BYTES:
        logger.warning(
            "redis keeps cells less compactly than it could; set %s to %d", name, COMPACT_VALUE_BYTES
        )
