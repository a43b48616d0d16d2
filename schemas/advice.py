"""What a verdict means and the first thing to do about it, one sentence each; docs/operations.md has a section for every one."""

from __future__ import annotations

from typing import Final

from schemas.operations import Advice, Verdict

_ADVICE: Final = {
    Verdict.OK: ("It keeps up.", "Nothing."),
    Verdict.INCOMPLETE: (
        "There are too few samples, or a source does not answer: nothing can be said yet.",
        "Wait half a minute; if it stays, look at Redis and Kafka in `scores status`.",
    ),
    Verdict.REPLAYING: (
        "It reads old records again, as it was told to, and comes forward.",
        "Wait; `scores rebuild status` or `scores lag --watch` shows how far it is.",
    ),
    Verdict.WARN: (
        "It works, and its backlog does not shrink: more arrives than it gets through.",
        "Add capacity: more processes as long as partitions are left for them.",
    ),
    Verdict.SKEWED: (
        "Clocks disagree by more than two seconds: whatever is said in seconds cannot be trusted.",
        "Compare the clocks of this machine, Redis and the Kafka brokers with their time servers.",
    ),
    Verdict.REJECTING: (
        "More events are refused than usual: somebody sends what cannot be counted.",
        "See reasons and sources with `scores rejected list`.",
    ),
    Verdict.REWIND: (
        "Its position went back, and nobody said so: Redis has lost writes, or somebody has moved the group.",
        "Find out whether Redis was restarted or failed over; what was read is read again, and counted once.",
    ),
    Verdict.STALE: (
        "The tables lack results that the log has, although their reader seems to be at work.",
        "Look for errors in the log of the process that owns the partition, then restart it.",
    ),
    Verdict.STALL: (
        "It is there, records wait, and its position does not move.",
        "Look at the log of its owner for one record or one dependency that it waits for, then restart it.",
    ),
    Verdict.UNASSIGNED: (
        "Records wait in a partition that nobody owns, although the group has members.",
        "Look for a rebalance that does not end; restart the members of the group one by one.",
    ),
    Verdict.FENCED: (
        "Ownership changes again and again: two processes fight for it, or one restarts in a loop.",
        "See which owners alternate in `scores tables --partitions`, and stop the one that should not be.",
    ),
    Verdict.STOP: (
        "Nothing is heard of it any more, and records wait.",
        "Start it, or find out in its log why it ended.",
    ),
    Verdict.LOST: (
        "What it had not read is no longer in the log: retention was faster, or the topic was made anew.",
        "Do not restart it; restore the topic, or build the tables anew as the runbook says.",
    ),
}

# Of our readers the first thing to do can be said more precisely.
_FIRST: Final = {
    Verdict.STOP: {
        "streams": "Start a stream worker (`scores streams`), or find out in its log why it ended.",
        "relay": "Start a relay (`scores relay`); until then webhooks and the topics of changes get nothing.",
        "webhooks": "Start a webhook worker (`scores webhooks run`); what waits is delivered then.",
    },
    Verdict.STALL: {
        "webhooks": "Look in the worker's log for what it waits for; `scores webhooks list` shows endpoints that fail.",
    },
    Verdict.WARN: {
        "streams": "Start more workers, up to one a partition; `scores plan` says how many a load needs.",
        "webhooks": "See which endpoints are slow with `scores webhooks list`; the others do not wait for them.",
    },
}

# Parts and the publisher read no log: a verdict on one of them means something of its own.
_PARTS: Final = {
    ("redis", Verdict.STOP): (
        "Redis does not answer: every process waits for it, and no figure changes.",
        "Restore Redis, or the way to it.",
    ),
    ("redis", Verdict.WARN): (
        "Redis answers slowly or only in part, or its memory is nearly full.",
        "See what grows with `scores tables`, and whether its machine is busy; give it more memory before it refuses writes.",
    ),
    ("kafka", Verdict.STOP): (
        "Kafka does not answer: no result arrives, and imports are refused.",
        "Restore the brokers, or the way to them.",
    ),
    ("kafka", Verdict.WARN): (
        "Kafka answers only in part: some of what is said of readers may be missing.",
        "See which broker is away or which request it refuses in the monitor's log.",
    ),
    ("publisher", Verdict.STOP): (
        "Nothing is heard of the publisher any more: masked and public figures stand still.",
        "Start the publisher (`scores publisher`), or find out in its log why it ended.",
    ),
    ("endpoints", Verdict.WARN): (
        "Webhooks to some endpoints have failed for more than ten minutes, or more and more messages wait.",
        "See which ones with `scores webhooks list`, and tell their owners.",
    ),
    ("canary", Verdict.STOP): (
        "Made-up results do not come through any more, or nobody sends them: real ones may not come through either.",
        "See which stage loses them, and look at the verdict on that part; start the canary (`scores canary run`) if it has gone.",
    ),
    ("canary", Verdict.WARN): (
        "Made-up results take longer than two seconds to the screen: so do real ones.",
        "See which stage is slow, and look at the verdict on that part.",
    ),
    ("gateways", Verdict.STOP): (
        "A gateway has not told of itself for a minute; its viewers have gone to others, or see nothing new.",
        "Start it, or find out in its log why it ended.",
    ),
    ("gateways", Verdict.STALL): (
        "A gateway is not ready, and says why: it may show old figures.",
        "Mend what it names; if that is well, look at its log and restart it.",
    ),
}


def advice_on(verdict: Verdict, group: str = "") -> Advice:
    """What to think and do of a verdict about a group or a part; of one that is not known by name, what holds for all."""
    meaning, first = _PARTS.get((group, verdict), _ADVICE[verdict])
    return Advice(meaning, _FIRST.get(verdict, {}).get(group, first), f"verdict-{verdict}")
