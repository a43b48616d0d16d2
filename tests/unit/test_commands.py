"""Commands to streams: who may give them, what travels between nodes, and what is told when nobody listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway import commands as module
from gateway.commands import (
    Answer,
    Command,
    Commands,
    Outcome,
    Result,
    carry_out,
    new_node,
    new_stream_id,
    node_of,
)
from gateway.connections import ConnectionLimits, Connections
from gateway.holders import Holder, holder_of
from gateway.redis_connection import RedisClient
from gateway.sse import CloseReason, id_line
from gateway.subscriptions import Subscription, SubscriptionLimits, SubscriptionRequest
from gateway.tokens import Principal, TokenRefused
from gateway.topics import parse_topics
from schemas.access.permissions import Forbidden, Grant
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE, Roles
from schemas.errors import DependencyUnavailable, InvalidInput, ScoreStreamError
from schemas.identifiers import OrganizationId

SCHOOL, SIBLING, ELSEWHERE = "19990010000101", "19990010000102", "19990020000201"
LATER = datetime(2026, 5, 4, 13, tzinfo=UTC)
LIMITS = SubscriptionLimits()


def holder(*organizations: str, subject: str = "reader@example.test") -> Principal:
    grants = tuple(Grant(READER_ROLE, OrganizationId(organization)) for organization in organizations)
    return Principal(subject, grants, LATER, "a-token", BUILT_IN_ROLES.rights(grants))


class OneStream:
    """A stream that takes note of what it is told."""

    def __init__(self, stream_id: str, refusal: ScoreStreamError | None = None) -> None:
        self.id = stream_id
        self.principal = holder(SCHOOL)
        self.subject = self.principal.subject
        self.subscription = Subscription(parse_topics([f"school/{SCHOOL}"], 1))
        self.renewed: list[Principal] = []
        self._refusal = refusal

    def close(self, reason: CloseReason) -> None:
        raise NotImplementedError

    def reassess(self, principal: Principal) -> None:
        raise NotImplementedError

    def change(self, subscription: Subscription) -> None:
        if self._refusal is not None:
            raise self._refusal
        self.subscription = subscription

    def renew(self, principal: Principal) -> None:
        if not self.subscription.open_to(principal):
            raise Forbidden
        self.renewed.append(principal)


def admitted(asking: Holder) -> Principal:
    """This node's roles give what every role gives; nobody's token is revoked here, but one."""
    if asking.token_id == "revoked":
        raise TokenRefused("revoked", "revoked")
    return asking.principal(BUILT_IN_ROLES)


def node_with(stream: OneStream) -> Connections:
    connections = Connections(ConnectionLimits())
    connections.entered(stream, "")
    return connections


def change_to(*schools: str) -> SubscriptionRequest:
    return SubscriptionRequest(topics=tuple(f"school/{school}" for school in schools))


def told(
    stream: OneStream, principal: Principal, request: SubscriptionRequest | None, stream_id: str | None = None
) -> Result:
    command = Command(1, "b", stream_id or stream.id, holder_of(principal), request)
    return carry_out(node_with(stream), LIMITS, admitted, command)


def test_a_stream_watches_what_its_subject_says() -> None:
    stream = OneStream("a.1")
    assert told(stream, holder(SCHOOL), change_to(SCHOOL, SIBLING)) == Result(Outcome.DONE)
    assert stream.subscription.described() == {"topics": [f"school/{SCHOOL}", f"school/{SIBLING}"]}


def test_a_stream_goes_on_with_a_fresh_token_of_its_subject() -> None:
    stream = OneStream("a.1")
    fresh = holder(SCHOOL, SIBLING)
    assert told(stream, fresh, None) == Result(Outcome.DONE)
    assert stream.renewed == [fresh]


def test_a_fresh_token_that_does_not_open_what_is_watched_is_refused() -> None:
    assert told(OneStream("a.1"), holder(SIBLING), None) == Result(Outcome.FORBIDDEN)


@pytest.mark.parametrize("request_", [None, change_to(SIBLING)])
def test_nobody_tells_another_subjects_stream_anything(request_: SubscriptionRequest | None) -> None:
    stream = OneStream("a.1")
    before = stream.subscription
    outcome = told(stream, holder(SCHOOL, SIBLING, subject="other@example.test"), request_)
    assert outcome == Result(Outcome.FOREIGN)
    assert stream.subscription is before and stream.renewed == []


def test_a_stream_that_has_ended_is_unknown() -> None:
    assert told(OneStream("a.1"), holder(SCHOOL), None, "a.2") == Result(Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("refusal", "result"),
    [
        (Forbidden(), Result(Outcome.FORBIDDEN)),
        (InvalidInput("too large"), Result(Outcome.INVALID, "too large")),
        (DependencyUnavailable("no directory yet"), Result(Outcome.NOT_NOW)),
    ],
)
def test_what_the_stream_cannot_watch_is_told_to_whoever_asked(
    refusal: ScoreStreamError, result: Result
) -> None:
    assert told(OneStream("a.1", refusal), holder(SCHOOL), change_to(ELSEWHERE)) == result


def test_a_request_of_another_version_that_names_no_topic_is_told_to_whoever_asked() -> None:
    result = told(OneStream("a.1"), holder(SCHOOL), SubscriptionRequest(topics=("galaxy/1",)))
    assert result.outcome is Outcome.INVALID and "galaxy/1" in result.detail


def test_a_stream_that_is_told_too_much_says_so() -> None:
    connections = node_with(OneStream("a.1"))
    command = Command(1, "b", "a.1", holder_of(holder(SCHOOL)), change_to(SCHOOL))
    outcomes = {carry_out(connections, LIMITS, admitted, command).outcome for _ in range(30)}
    assert outcomes == {Outcome.DONE, Outcome.TOO_OFTEN}


def test_ids_name_their_node_and_fit_into_an_event_id() -> None:
    node = new_node()
    stream_id = new_stream_id(node)
    assert node_of(stream_id) == node
    assert id_line(stream_id)
    assert new_stream_id(node) != stream_id and new_node() != node


@pytest.mark.parametrize(
    "stream_id",
    ["", ".", "a", "a.", ".b", "a.b.c", "a.b\n", "a*.b", "ä.b", "a" * 33 + ".b", "a/b.c", "a b.c"],
)
def test_what_is_no_stream_id_names_no_node(stream_id: str) -> None:
    assert node_of(stream_id) is None


def test_commands_travel_whole_and_small() -> None:
    command = Command(7, "b", "a.1", holder_of(holder(SCHOOL, SIBLING)), change_to(*[SCHOOL] * 500))
    packed = module._encode(command)
    assert module._decode(packed) == command
    assert len(packed) < 12_000  # 500 topics of 22 characters
    assert len(module._encode(Command(7, "b", "a.1", holder_of(holder(SCHOOL))))) < 200
    answer = Answer(7, Outcome.INVALID, "why")
    assert module._decode(module._encode(answer)) == answer


def test_neither_the_token_nor_the_rights_travel() -> None:
    assert set(Holder.__struct_fields__) == {
        "subject",
        "grants",
        "expires",
        "token_id",
        "issuer",
        "issued",
    }
    came = module._decode(module._encode(Command(7, "b", "a.1", holder_of(holder(SCHOOL)))))
    assert isinstance(came, Command)
    assert came.holder.principal(Roles(permissions={})).rights == Roles(permissions={}).rights(())
    assert came.holder.principal(BUILT_IN_ROLES) == holder(SCHOOL)


def test_a_fresh_token_that_is_revoked_here_renews_nothing() -> None:
    """The node that was asked may not have heard of the revocation yet."""
    stream = OneStream("a.1")
    revoked = replace(holder(SCHOOL), token_id="revoked")
    assert told(stream, revoked, None) == Result(Outcome.FORBIDDEN)
    assert stream.renewed == []


def test_the_same_name_at_another_issuer_is_somebody_else() -> None:
    stream = OneStream("a.1")
    namesake = replace(holder(SCHOOL), issuer="https://elsewhere.example.test/")
    assert told(stream, namesake, None) == Result(Outcome.FOREIGN)
    assert told(stream, namesake, change_to(SCHOOL)) == Result(Outcome.FOREIGN)


class Bus:
    """Redis' pub/sub for several nodes. ``counts`` off is a cluster whose count is of another Redis node."""

    def __init__(self, *, counts: bool = True) -> None:
        self.away = False
        self.listeners: dict[str, list[Listener]] = {}
        self.connected = asyncio.Condition()
        self._counts = counts

    def pubsub(self) -> Listener:
        return Listener(self)

    async def execute_command(self, verb: str, channel: str, data: bytes) -> int:
        assert verb == "PUBLISH"
        if self.away:
            raise RedisConnectionError("away")
        heard = self.listeners.get(channel, [])
        for listener in heard:
            listener.arrived.put_nowait({"type": "message", "data": data})
        return len(heard) if self._counts else 0

    async def go_away(self) -> None:
        self.away = True
        for listeners in self.listeners.values():
            while listeners:
                listeners.pop().arrived.put_nowait(None)

    async def come_back(self) -> None:
        self.away = False

    async def until_listening(self, *nodes: str) -> None:
        async with asyncio.timeout(60), self.connected:
            await self.connected.wait_for(
                lambda: all(self.listeners.get(f"gateway:{node}") for node in nodes)
            )


class Listener:
    """One subscription."""

    def __init__(self, bus: Bus) -> None:
        self.arrived: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._bus = bus
        self._channel = ""

    async def subscribe(self, channel: str) -> None:
        if self._bus.away:
            raise RedisConnectionError("away")
        self._channel = channel
        self._bus.listeners.setdefault(channel, []).append(self)
        self.arrived.put_nowait({"type": "subscribe"})
        async with self._bus.connected:
            self._bus.connected.notify_all()

    async def get_message(self, **_: float) -> dict[str, Any]:
        message = await self.arrived.get()
        if message is None:
            raise RedisConnectionError("lost")
        return message

    async def aclose(self) -> None:
        listeners = self._bus.listeners.get(self._channel, [])
        if self in listeners:
            listeners.remove(self)


@contextlib.asynccontextmanager
async def nodes(bus: Bus, **streams: OneStream) -> AsyncIterator[list[Commands]]:
    """Running nodes of these names, each with one stream."""
    running = [
        Commands(
            cast(RedisClient, bus),
            node,
            partial(carry_out, node_with(stream), LIMITS, admitted),
            answer_seconds=2.0,
            unheard_seconds=0.5,
        )
        for node, stream in streams.items()
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one.run()) for one in running]
        await bus.until_listening(*streams)
        yield running
        for task in tasks:
            task.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("counts", [True, False], ids=["one Redis", "a cluster that counts elsewhere"])
async def test_any_node_takes_a_command_and_tells_what_came_of_it(counts: bool) -> None:
    stream = OneStream("a.1")
    async with nodes(Bus(counts=counts), a=stream, b=OneStream("b.1")) as (_, b):
        assert await b.ask("a.1", holder(SCHOOL), change_to(SIBLING)) == Result(Outcome.DONE)
        assert stream.subscription.described() == {"topics": [f"school/{SIBLING}"]}
        assert await b.ask("a.1", holder(SCHOOL, SIBLING), None) == Result(Outcome.DONE)
        foreign = holder(SCHOOL, subject="other@example.test")
        assert await b.ask("a.1", foreign, None) == Result(Outcome.FOREIGN)
        assert await b.ask("a.2", holder(SCHOOL), None) == Result(Outcome.UNKNOWN)


@pytest.mark.anyio
async def test_a_stream_of_a_node_that_is_gone_is_unknown() -> None:
    async with nodes(Bus(), b=OneStream("b.1")) as (b,):
        assert await b.ask("gone.1", holder(SCHOOL), None) == Result(Outcome.UNKNOWN)
        assert await b.ask("no id at all", holder(SCHOOL), None) == Result(Outcome.UNKNOWN)


@pytest.mark.anyio
async def test_a_stream_of_this_node_needs_no_redis() -> None:
    bus = Bus()
    async with nodes(bus, a=OneStream("a.1")) as (a,):
        await bus.go_away()
        assert await a.ask("a.1", holder(SCHOOL), None) == Result(Outcome.DONE)


@pytest.mark.anyio
async def test_nodes_hear_each_other_again_when_redis_is_back() -> None:
    bus = Bus()
    async with nodes(bus, a=OneStream("a.1"), b=OneStream("b.1")) as (_, b):
        await bus.go_away()
        assert (await b.ask("a.1", holder(SCHOOL), None)).outcome is Outcome.NOT_NOW
        await bus.come_back()
        await bus.until_listening("a", "b")
        assert await b.ask("a.1", holder(SCHOOL), None) == Result(Outcome.DONE)


@pytest.mark.anyio
async def test_a_command_that_cannot_be_read_or_fails_is_not_the_last_that_is_heard() -> None:
    bus = Bus()
    async with nodes(bus, a=OneStream("a.1", Unforeseen()), b=OneStream("b.1")) as (_, b):
        await bus.execute_command("PUBLISH", "gateway:a", b"\xc1 of another version")
        assert await b.ask("a.1", holder(SCHOOL), change_to(SIBLING)) == Result(Outcome.NOT_NOW)
        assert await b.ask("a.1", holder(SCHOOL), None) == Result(Outcome.DONE)


class Unforeseen(ScoreStreamError):
    """A fault that nobody foresaw."""


@pytest.mark.anyio
async def test_an_answer_that_does_not_come_is_not_waited_for_without_end() -> None:
    bus = Bus()
    silent = Listener(bus)
    await silent.subscribe("gateway:a")
    async with nodes(bus, b=OneStream("b.1")) as (b,):
        assert await b.ask("a.1", holder(SCHOOL), None) == Result(Outcome.NOT_NOW)
