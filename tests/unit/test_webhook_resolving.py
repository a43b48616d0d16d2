"""Names of receivers, and a name server that changes its mind."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from ipaddress import IPv4Network

import pytest

from consumers.webhooks.resolving import AddressRefused, NameUnknown, Resolver, SystemLookup
from schemas.webhooks.addresses import check_url

pytestmark = pytest.mark.anyio

HOOKS = check_url("https://hooks.example/", False)
FIRST, SECOND = "1.1.1.1", "8.8.8.8"


class ScriptedNames:
    """Answers each question with the next of its answers, the last one again and again."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        self.was_asked.set()
        await self.open.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_name_is_asked_for_once_and_again_when_its_time_is_over() -> None:
    names, clock = ScriptedNames([FIRST], [SECOND]), Clock()
    resolver = Resolver(names, clock=clock, keep_seconds=30)

    assert await resolver.addresses(HOOKS, private=False) == (FIRST,)
    clock.now += 29.9
    assert await resolver.addresses(HOOKS, private=False) == (FIRST,)
    clock.now += 0.2
    assert await resolver.addresses(HOOKS, private=False) == (SECOND,)
    assert len(names.asked) == 2


async def test_a_name_that_turns_to_the_inner_network_is_refused_from_then_on() -> None:
    names, clock = ScriptedNames([FIRST], ["169.254.169.254"]), Clock()
    resolver = Resolver(names, clock=clock)

    assert await resolver.addresses(HOOKS, private=False) == (FIRST,)
    clock.now += 60
    with pytest.raises(AddressRefused):
        await resolver.addresses(HOOKS, private=False)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.5", "127.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::a00:5", "2002:a00:5::", "fe80::1%2"],
)
async def test_one_inner_address_among_public_ones_refuses_the_name(address: str) -> None:
    resolver = Resolver(ScriptedNames([FIRST, SECOND, address]))

    with pytest.raises(AddressRefused) as refused:
        await resolver.addresses(HOOKS, private=False)

    assert address not in str(refused.value)  # somebody outside would learn what names mean inside


async def test_what_a_private_endpoint_may_have_is_judged_anew_for_a_public_one() -> None:
    resolver = Resolver(ScriptedNames(["10.0.0.5"]))

    assert await resolver.addresses(HOOKS, private=True) == ("10.0.0.5",)
    with pytest.raises(AddressRefused):
        await resolver.addresses(HOOKS, private=False)


async def test_the_deployments_own_networks_are_refused_though_they_are_public() -> None:
    resolver = Resolver(ScriptedNames([FIRST]), also_refused=[IPv4Network("1.1.1.0/24")])

    for private in (False, True):
        with pytest.raises(AddressRefused):
            await resolver.addresses(HOOKS, private=private)
    with pytest.raises(AddressRefused):
        await resolver.addresses(check_url("https://1.1.1.9/", False), private=False)


async def test_an_address_in_the_url_is_judged_and_nobody_asked() -> None:
    names = ScriptedNames([FIRST])
    resolver = Resolver(names)

    assert await resolver.addresses(check_url("https://8.8.8.8/", False), private=False) == ("8.8.8.8",)
    with pytest.raises(AddressRefused):  # its endpoint was private once, and is not any more
        await resolver.addresses(check_url("https://10.0.0.5/", True), private=False)
    assert names.asked == []


async def test_a_public_name_is_asked_for_without_search_domains() -> None:
    names = ScriptedNames([FIRST])
    resolver = Resolver(names)

    await resolver.addresses(HOOKS, private=False)
    await resolver.addresses(HOOKS, private=True)

    assert names.asked == ["hooks.example.", "hooks.example"]


async def test_a_thousand_messages_to_one_name_ask_once() -> None:
    names = ScriptedNames([FIRST])
    resolver = Resolver(names)

    found = await asyncio.gather(*(resolver.addresses(HOOKS, private=False) for _ in range(1000)))

    assert set(found) == {(FIRST,)}
    assert len(names.asked) == 1


async def test_a_failure_is_remembered_shortly() -> None:
    names, clock = ScriptedNames(OSError("no such name"), [], [FIRST]), Clock()
    resolver = Resolver(names, clock=clock)

    for _ in range(2):
        for _ in range(3):
            with pytest.raises(NameUnknown):
                await resolver.addresses(HOOKS, private=False)
        clock.now += 5.1
    assert await resolver.addresses(HOOKS, private=False) == (FIRST,)
    assert len(names.asked) == 3


async def test_a_name_server_that_says_nothing_holds_nobody_for_long_and_one_question_at_most() -> None:
    names, clock = ScriptedNames([FIRST]), Clock()
    names.open.clear()
    resolver = Resolver(names, clock=clock, seconds=0.01)

    for _ in range(3):
        with pytest.raises(NameUnknown):
            await resolver.addresses(HOOKS, private=False)
        clock.now += 60
    assert len(names.asked) == 1

    names.open.set()  # it answers after all, and the answer is used
    assert await resolver.addresses(HOOKS, private=False) == (FIRST,)
    assert len(names.asked) == 1


async def test_whoever_gives_up_takes_the_answer_from_nobody() -> None:
    names = ScriptedNames([FIRST])
    names.open.clear()
    resolver = Resolver(names)
    one = asyncio.create_task(resolver.addresses(HOOKS, private=False))
    other = asyncio.create_task(resolver.addresses(HOOKS, private=False))
    await names.was_asked.wait()

    one.cancel()
    names.open.set()

    assert await other == (FIRST,)


async def test_closing_waits_for_no_answer() -> None:
    names = ScriptedNames([FIRST])
    names.open.clear()
    resolver = Resolver(names)
    waiting = asyncio.create_task(resolver.addresses(HOOKS, private=False))
    await names.was_asked.wait()

    await resolver.close()

    with pytest.raises(NameUnknown):
        await waiting


class SystemsNames:
    """In place of ``socket.getaddrinfo``: answers from a table, and holds whoever asks for a name of ``held``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **table: list[str]) -> None:
        self.table = table
        self.held: set[str] = set()
        self.free = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if name in self.held:
            self.free.wait(30)
        if name not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in self.table[name]]


async def test_the_systems_names_are_asked_for_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    SystemsNames(monkeypatch, hooks=[FIRST, SECOND, FIRST])
    lookup = SystemLookup()

    assert await Resolver(lookup).addresses(check_url("http://hooks/", True), private=True) == (FIRST, SECOND)
    with pytest.raises(NameUnknown):
        await Resolver(lookup).addresses(check_url("http://gone/", True), private=True)
    lookup.close()


async def test_names_that_were_slow_take_no_threads_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    names = SystemsNames(monkeypatch, slow=[FIRST], slower=[FIRST], quick=[SECOND])
    lookup = SystemLookup(threads=1, slow_threads=1, slow_seconds=0)  # whatever was asked for before was slow
    for name in ("slow", "slower"):
        await lookup(name)
    names.held = {"slow", "slower"}
    held = [asyncio.create_task(_looked_up(lookup, name)) for name in ("slow", "slower", "slow")]

    await asyncio.sleep(0)  # they have asked

    async with asyncio.timeout(10):
        assert await lookup("quick") == [SECOND]
    assert not any(task.done() for task in held)

    names.free.set()
    await asyncio.gather(*held)
    lookup.close()


async def _looked_up(lookup: SystemLookup, name: str) -> Sequence[str]:
    return await lookup(name)
