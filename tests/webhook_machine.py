"""Owners, receivers and crashes in any order: what every one of them may rely on is checked at each arrival and at the end."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Final

from fake_receivers import Receiver
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from webhook_world import OTHER_SCHOOL, SCHOOL, World

from consumers.webhooks.delivery_settings import DeliverySettings
from consumers.webhooks.outcomes import Rules
from schemas.identifiers import OrganizationId
from schemas.webhooks.messages import MessageState

RATE: Final = 1.0  # the lowest whose bucket has one
SETTINGS: Final = DeliverySettings(
    rules=Rules(
        schedule=(0, 1, 3, 8, 20, 40),
        breaker_failures=3,
        breaker_seconds=2,
        breaker_longest_seconds=15,
        disable_seconds=400,
    ),
    slots=4,
)
# Within that whoever is well again has everything: one that was throttled to the bottom is sent something each 32 s at first.
_LONGEST_PAUSE: Final = 400.0

_NAMES: Final = ("district", "county", "warehouse", "vendor")
_HEALTHY: Final = "healthy"  # nothing ever happens to it, and nothing may delay it
_SCHOOLS: Final = (SCHOOL, OTHER_SCHOOL, OrganizationId("19990010000103"))
# What a receiver is like: status, seconds, Retry-After.
_MOODS: Final = {
    "well": (200, 0.01, None),
    "slow": (200, 4.0, None),
    "failing": (500, 0.01, None),
    "hanging": (None, 15.0, None),
    "throttling": (429, 0.01, 12.0),
    "gone": (410, 0.01, None),
}

endpoints = st.sampled_from(_NAMES)
schools = st.sampled_from(_SCHOOLS)


class DeliveryMachine(RuleBasedStateMachine):
    """One worker at a time, four endpoints with troubles, and one without."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(SETTINGS)
        self.world.receivers.watch = self._watch
        self.receivers: dict[str, Receiver] = {}
        self._bodies: dict[str, bytes] = {}
        self._faults: list[str] = []
        self._begun: defaultdict[str, list[int]] = defaultdict(list)  # of this worker

    @initialize(confirmed=st.booleans())
    def endpoints_are_made(self, confirmed: bool) -> None:
        for name in _NAMES:
            self.receivers[name] = self.world.endpoint(name, confirmed=confirmed, rate=RATE)
        self.receivers[_HEALTHY] = self.world.endpoint(_HEALTHY, rate=100.0)

    @rule(name=endpoints, some=st.lists(schools, min_size=1, max_size=6))
    def schools_change(self, name: str, some: list[OrganizationId]) -> None:
        for school in some:
            self.world.change(name, school)

    @rule(name=endpoints, mood=st.sampled_from(sorted(_MOODS)))
    def receiver_is_in_another_mood(self, name: str, mood: str) -> None:
        receiver = self.receivers[name]
        receiver.status, receiver.seconds, receiver.retry_after_s = _MOODS[mood]

    @rule(seconds=st.sampled_from((0.001, 0.02, 0.5, 1.5, 5.0, 30.0, 150.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_seconds(seconds)

    @rule()
    def worker_is_killed(self) -> None:
        self.world.crash()
        self._begun.clear()
        for receiver in self.receivers.values():  # its last answers may not have been written
            receiver.failures_ms = []

    @rule(name=endpoints)
    def owner_pauses_or_resumes(self, name: str) -> None:
        self.world.change_endpoint(name, paused=not self.world.stored.endpoints[name].paused)

    @rule(name=endpoints)
    def owner_may_see_nothing_any_more(self, name: str) -> None:
        self.world.stored.hidden.add(name)

    @rule(name=endpoints)
    def owner_may_see_again(self, name: str) -> None:
        self._show(name)

    @rule(name=endpoints, kind=st.sampled_from(("enable", "confirm", "ping", "retry_dead", "recover")))
    def owner_asks(self, name: str, kind: str) -> None:
        self.receivers[name].failures_ms = []  # somebody looks: its circuit may be half open
        self.world.order(kind, name)

    @rule(name=endpoints, which=st.integers(0, 20))
    def owner_asks_for_an_old_message(self, name: str, which: int) -> None:
        messages = self.world.outbox.of(name)
        if messages:
            self.world.order("replay", name, message=messages[which % len(messages)].id)

    @rule(school=schools)
    def healthy_endpoint_hears_of_a_school_in_time(self, school: OrganizationId) -> None:
        self.world.change(_HEALTHY, school)
        # The others may hold every slot until they are known to be slow; a new one after the other, twice at most.
        self.world.pass_seconds(5.0)
        latest = self.world.stored.latest[_HEALTHY][school]
        assert (school, latest) in self.receivers[_HEALTHY].accepted()

    @invariant()
    def nothing_arrives_that_may_not(self) -> None:
        assert not self._faults

    @invariant()
    def no_endpoint_has_more_than_two_attempts_under_way(self) -> None:
        assert all(receiver.most_under_way <= 2 for receiver in self.receivers.values())

    @invariant()
    def no_endpoint_is_sent_more_than_its_rate(self) -> None:
        for times in self._begun.values():
            for earlier, later in zip(times, times[2:], strict=False):
                assert later - earlier >= 999

    @invariant()
    def no_school_goes_back_in_time(self) -> None:
        for name, receiver in self.receivers.items():
            replayed = {one.id for one in self.world.outbox.of(name) if one.replayed}
            versions: defaultdict[str, list[int]] = defaultdict(list)
            for arrival in receiver.news():
                if arrival.accepted and arrival.message not in replayed:
                    school, version = arrival.body.decode().split(" ")
                    versions[school].append(int(version))
            for school, told in versions.items():
                backwards = [pair for pair in itertools.pairwise(told) if pair[1] < pair[0]]
                assert not backwards, f"{name} was told of {school} {backwards}"

    def teardown(self) -> None:
        try:
            if self.receivers:
                self._heal()
                self._check_end()
        finally:
            self.world.__exit__(None, None, None)

    def _watch(self, url: str, message: str, body: bytes) -> None:
        """Collects what is wrong: raised here, it would be just another fault of one message."""
        name = url.removeprefix("https://").removesuffix(".example")
        state, endpoint = self.world.state(name), self.world.stored.endpoints[name]
        now_ms = self.world.loop.now_ms()
        news = not body.startswith(b"{")
        wrong = {
            "the same id has another content": self._bodies.setdefault(message, body) != body,
            "is disabled": state.disabled is not None,
            "has an open circuit": state.not_before_ms > now_ms,
            "has failed too often": self._has_just_failed_thrice(name, now_ms),
            "has not confirmed": news and state.confirmed_url != url,
            "is paused": news and endpoint.paused,
            "has an owner who may not see it": news and name in self.world.stored.hidden,
        }
        self._faults += [f"{name} {what}" for what, is_so in wrong.items() if is_so]
        if name != _HEALTHY:
            self._begun[name].append(now_ms)

    def _has_just_failed_thrice(self, name: str, now_ms: int) -> bool:
        failures_ms = self.receivers[name].failures_ms
        rules = SETTINGS.rules
        return (
            len(failures_ms) >= rules.breaker_failures
            and now_ms - failures_ms[-1] < 1000 * rules.breaker_seconds
        )

    def _show(self, name: str) -> None:
        if name in self.world.stored.hidden:
            self.world.stored.hidden.discard(name)
            self.world.run(self.world.outbox.tell_all(name))  # as a release does

    def _heal(self) -> None:
        for name in _NAMES:
            self.receiver_is_in_another_mood(name, "well")
            self._show(name)
            if self.world.stored.endpoints[name].paused:
                self.owner_pauses_or_resumes(name)
        self.world.pass_seconds(_LONGEST_PAUSE)
        for name in _NAMES:
            self.owner_asks(name, "enable")
            # A message that failed to its last attempt while others came through is its owner's to ask for.
            self.owner_asks(name, "retry_dead")
        self.world.pass_seconds(_LONGEST_PAUSE)

    def _check_end(self) -> None:
        assert not self._faults
        for name, receiver in self.receivers.items():
            told: dict[str, int] = {}
            for school, version in receiver.accepted():
                told[school] = max(version, told.get(school, 0))
            assert told == self.world.stored.latest.get(name, {}), f"{name} has not the latest of everything"
            assert not self.world.outbox.of(name, MessageState.WAITING)
            assert self.world.state(name).failures == 0
