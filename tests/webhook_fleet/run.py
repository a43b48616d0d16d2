"""One run: well, then with the bad ones, then under faults; in the end everything is held against what was made."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from redis import Redis

from cli.simulator.county import plan_county
from schemas.webhooks.keys import MESSAGES
from schemas.webhooks.messages import Message, MessageState, decode_message
from tests.chaos.surroundings import LARGEST_LOSS, Surroundings
from tests.fake_worker import FakeWorker
from tests.webhook_fleet.changes_topic import ChangesTopic
from tests.webhook_fleet.conduct import Conduct
from tests.webhook_fleet.faults import Fault, Kind, planned
from tests.webhook_fleet.fleet import Member, enlist, fleet
from tests.webhook_fleet.judge import Judge, percentile, shown
from tests.webhook_fleet.made import Made
from tests.webhook_fleet.producing import TESTS, Season
from tests.webhook_fleet.receivers import Receivers
from tests.webhook_fleet.receiving import Hook
from tests.webhook_fleet.workers import LEASE_SECONDS, Workers

PARTITIONS: Final = 4

_SCHOOLS: Final = 96
_START_SECONDS: Final = 90.0  # until everybody was asked whether it wants webhooks
_SETTLE_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.2
_UNDER_WAY_SECONDS: Final = 5.0
_WELL, _BAD, _UNDER_FAULTS = "all are well", "the bad ones are bad", "under faults"
_SHOWN: Final = 10  # lines of one fault
_ALLOWED_DELAY_SECONDS: Final = 1.0  # that the bad ones may add to the p99 of those that are well
_MESSAGES_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    endpoints: int
    well_seconds: float  # without the bad ones, and then as long with them
    chaos_seconds: float
    seed: int
    rate: float  # results a second
    real_kafka: bool
    system_redis: bool
    kinds: Sequence[Kind] = tuple(Kind)
    relay: bool = True  # the real one tells Kafka; otherwise the run does
    fault: str | None = None  # of the workers; see faulty_worker


@dataclass(slots=True)
class Result:
    """What came of it; ``failures`` empty means that all went well."""

    failures: list[str] = field(default_factory=list)
    faults: Counter[Kind] = field(default_factory=Counter)
    conducts: Counter[Conduct] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    lateness: dict[str, list[float]] = field(default_factory=dict)  # of a phase, ascending
    changes: int = 0
    followed: int = 0  # cells of endpoints, compared in the end
    revived: int = 0
    final_seconds: float | None = None  # until everybody had everything, after the last fault and change


def run_fleet(options: Options, folder: Path, say: Callable[[str], None]) -> Result:
    """Run it; logs are in ``folder``.

    Raises:
        ScoreStreamError: a program is missing, or something did not start.
    """
    began = time.monotonic()

    def tell(line: str) -> None:
        elapsed = int(time.monotonic() - began)
        say(f"{elapsed // 60:2d}:{elapsed % 60:02d}  {line}")

    county = plan_county(_SCHOOLS, options.seed)
    members = fleet(options.endpoints, county, TESTS, options.seed)
    made = Made()
    with ExitStack() as stack:
        surroundings = stack.enter_context(
            Surroundings(
                folder,
                real_kafka=options.real_kafka,
                system_redis=options.system_redis,
                partitions=PARTITIONS,
                ways=0,
            )
        )
        streams = FakeWorker(surroundings.redis.url, partitions=PARTITIONS)
        stack.callback(streams.redis.close)
        streams.list_organizations(map(msgspec.to_builtins, county.entries))
        streams.serve()
        receivers = stack.enter_context(Receivers(options.seed))
        ports = receivers.open([Hook(member.id, member.secret.shown) for member in members])
        enlist(streams.redis, members, ports, options.seed)
        workers = stack.enter_context(
            Workers(
                surroundings.kafka,
                surroundings.redis.url,
                folder,
                tell,
                relay=options.relay,
                fault=options.fault,
            )
        )
        topic = None if options.relay else stack.enter_context(ChangesTopic(surroundings.kafka, streams))
        season = Season(streams, topic, county, made, rate=options.rate, seed=options.seed)
        run = _Run(options, members, made, surroundings, receivers, workers, season, tell)
        run.carry_out()
        return run.result


class _Run:
    def __init__(
        self,
        options: Options,
        members: Sequence[Member],
        made: Made,
        surroundings: Surroundings,
        receivers: Receivers,
        workers: Workers,
        season: Season,
        say: Callable[[str], None],
    ) -> None:
        self.result = Result(conducts=Counter(member.conduct for member in members))
        self._options = options
        self._members = members
        self._judge = Judge(members, made)
        self._surroundings = surroundings
        self._receivers = receivers
        self._workers = workers
        self._season = season
        self._say = say
        self._faults = 0.0, 0.0  # from when to when
        self._kept_bytes = 0  # of Redis' file: what a loss must not reach

    def carry_out(self) -> None:
        """All of it."""
        if not self._asked_everybody():
            return
        with self._season:
            self._look_for(_UNDER_WAY_SECONDS)  # at first the topics are only being opened
            self._phase(_WELL, self._options.well_seconds)
            self._receivers.behave({member.id: member.conduct for member in self._members})
            self._phase(_BAD, self._options.well_seconds)
            self._disturb()
            self._come_to_rest()
        self._close()

    def _asked_everybody(self) -> bool:
        begin = time.monotonic()
        while self._judge.unconfirmed:
            self._look()
            hopeless = self._judge.wrong or self._workers.beyond_help
            if hopeless or time.monotonic() > begin + _START_SECONDS:
                self.result.failures += self._judge.wrong[:_SHOWN] + self._workers.crashes[:_SHOWN]
                self.result.failures += self._workers.errors()[:_SHOWN]
                self.result.failures.append(
                    f"{self._judge.unconfirmed} endpoints were not asked within {_START_SECONDS:g} s whether "
                    f"they want webhooks"
                )
                return False
        self._say(f"{len(self._members):,} endpoints have confirmed that they want webhooks")
        return True

    def _phase(self, name: str, seconds: float) -> None:
        self._say(name)
        begin = time.time()
        while time.time() < begin + seconds and not self._over:
            self._look()
        end = time.time()
        self._look_for(_UNDER_WAY_SECONDS)
        self.result.lateness[name] = late = self._judge.lateness_between(begin, end)
        self._say(
            f"{name}: {len(late):,} messages to endpoints that are well, p99 {percentile(late, 0.99):.2f} s"
        )

    def _disturb(self) -> None:
        kinds = self._options.kinds
        self._kept_bytes = self._surroundings.redis_log_bytes
        begin, end = time.time(), time.monotonic() + self._options.chaos_seconds
        for fault in planned(self._options.seed, kinds):
            done = self.result.faults
            if self._over or (time.monotonic() > end and all(done[kind] for kind in kinds)):
                break
            self._look_for(fault.pause_seconds)
            self._say(f"{fault.number} {fault.kind.value}")
            self._carry_out(fault)
            done[fault.kind] += 1
        self._faults = begin, time.time()

    def _carry_out(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.WORKER_KILLED:
                self._workers.delivering().kill()
            case Kind.WORKERS_KILLED:
                for slot in self._workers.slots:
                    slot.kill()
            case Kind.WORKER_FROZEN:
                frozen = self._workers.delivering()
                frozen.freeze()
                self._look_for(LEASE_SECONDS + 1 + fault.seconds)
                self._judge.disturbed.append(time.time())
                frozen.thaw()
            case Kind.REDIS_KILLED | Kind.REDIS_LOSES_TAIL:
                with self._season.paused:
                    self._restart_redis(fault)
            case Kind.RELAY_KILLED:
                assert self._workers.relay is not None
                self._workers.relay.kill()
            case Kind.KAFKA_DOWN:
                self._stop_kafka(fault.seconds)

    def _restart_redis(self, fault: Fault) -> None:
        self._surroundings.kill_redis()
        if fault.kind is Kind.REDIS_LOSES_TAIL:
            since = max(0, self._surroundings.redis_log_bytes - self._kept_bytes)
            lost = self._surroundings.lose_redis_tail(min(fault.share**3, since / 2 / LARGEST_LOSS))
            self._say(f"{lost:,} bytes of Redis' file are lost")
        self._look_for(fault.seconds)
        if fault.kind is Kind.REDIS_LOSES_TAIL:
            self._judge.disturbed.append(time.time())
        self._surroundings.start_redis()
        if fault.kind is Kind.REDIS_LOSES_TAIL:
            self._season.restore()
            self._kept_bytes = self._surroundings.redis_log_bytes

    def _stop_kafka(self, seconds: float) -> None:
        if self._surroundings.embedded is None:
            self._surroundings.restart_kafka(lambda: self._look_for(seconds))
            return
        self._surroundings.embedded.set_broker_down()
        self._look_for(seconds)
        self._surroundings.embedded.set_broker_up()

    def _come_to_rest(self) -> None:
        """Whoever can come back does, half of the dead included; then all have to have everything."""
        self._season.end()
        begin = time.monotonic()
        dead = [member.id for member in self._members if member.conduct.dead]
        still_dead = dead[::2]
        revived = set(dead) - set(still_dead)
        flapping = {member.id for member in self._members if member.conduct is Conduct.FLAPPING}
        self._receivers.behave(dict.fromkeys(revived | flapping, Conduct.LIVE))
        self._say(f"no more changes; {len(revived)} that were dead are back, {len(still_dead)} stay dead")
        self.result.revived = len(revived)
        while lacking := self._judge.lacking(dead=still_dead):
            self._look()
            if time.monotonic() > begin + _SETTLE_SECONDS or self._judge.wrong:
                lines = list(shown(lacking))
                self.result.failures += lines[:_SHOWN]
                self.result.failures.append(
                    f"{len(lines)} endpoints do not have what they follow {time.monotonic() - begin:.0f} s "
                    "after the last change"
                )
                break
        else:
            self.result.final_seconds = time.monotonic() - begin
            self._say(f"everybody has everything, {self.result.final_seconds:.1f} s after")
            self._nothing_waits(still_dead)
        self._judge.hold_against(self._kept())

    def _nothing_waits(self, still_dead: Sequence[str]) -> None:
        begin = time.monotonic()
        left_out = frozenset(still_dead)
        while waiting := [
            message.id
            for message in self._kept()
            if message.state is MessageState.WAITING and message.endpoint not in left_out
        ]:
            self._look()
            if time.monotonic() > begin + _SETTLE_SECONDS:
                self.result.failures.append(f"{len(waiting)} messages wait for ever, such as {waiting[0]}")
                return

    def _kept(self) -> list[Message]:
        with Redis.from_url(self._surroundings.redis.url) as redis:
            found = redis.hscan_iter(MESSAGES, count=_MESSAGES_AT_ONCE)
            return [decode_message(value) for _, value in found]

    def _close(self) -> None:
        self._look()
        judge, result = self._judge, self.result
        result.changes = self._season.changes
        result.followed = judge.followed
        result.counts = judge.counts
        result.failures += judge.wrong[:_SHOWN]
        if len(judge.wrong) > _SHOWN:
            result.failures.append(f"and {len(judge.wrong) - _SHOWN} more that were wrong")
        result.failures += [f"a worker ended: {crash}" for crash in self._workers.crashes[:_SHOWN]]
        result.lateness[_UNDER_FAULTS] = judge.lateness_between(*self._faults)
        errors = self._workers.errors()
        result.failures += errors[:_SHOWN]
        if len(errors) > _SHOWN:
            result.failures.append(f"and {len(errors) - _SHOWN} more errors in the logs")
        well, bad = (percentile(result.lateness[phase], 0.99) for phase in (_WELL, _BAD))
        if bad > well + _ALLOWED_DELAY_SECONDS:
            result.failures.append(
                f"the bad ones delay those that are well: p99 {bad:.2f} s, and {well:.2f} s without them"
            )

    @property
    def _over(self) -> bool:
        return bool(self.result.failures or self._judge.wrong or self._season.failure)

    def _look_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look()

    def _look(self) -> None:
        time.sleep(_LOOK_SECONDS)
        for receipt in self._receivers.take():
            self._judge.take(receipt)
