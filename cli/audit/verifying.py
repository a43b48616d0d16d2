"""``scores audit verify``: whether the record is whole. Exit status 0 when it is, 1 when something is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import redis
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.audit.chains import Chain, Checker, Finding
from cli.audit.reading import spooled_lines, stored_lines
from cli.audit.searching import moment
from schemas.audit import Head
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.keys import AUDIT_HEADS

_FINDINGS_SHOWN: Final = 50
_REDIS_SECONDS: Final = 5.0


def verify(
    kafka: str | None,
    *,
    spools: Sequence[Path],
    redis_url: str | None,
    against: Path | None,
    as_json: bool,
) -> int:
    """Check every chain in Kafka (None: only spools), and compare with whoever wrote down where they stood.

    Raises:
        InvalidInput: a file or folder, or the topic, is not there.
        DependencyUnavailable: Kafka or Redis does not answer.
    """
    checker = Checker(beginnings=kafka is not None)
    # Before anything is read: what is told later may be of entries that are on their way.
    for head, who in (*_earlier(against), *_stored_heads(redis_url)):
        checker.tell(head, who)
    if kafka is not None:
        for line, where in stored_lines(kafka, quiet=as_json):
            checker.add(line, where)
        checker.settle()
    shipped = {name: chain.entries for name, chain in checker.chains.items()}
    for folder in spools:
        for line, where in spooled_lines(folder):
            checker.add(line, where)
    findings = checker.finish()
    unshipped = (
        sum(chain.entries - shipped.get(name, 0) for name, chain in checker.chains.items()) if kafka else 0
    )
    if as_json:
        _print_json(checker, findings, unshipped)
    else:
        _print(checker, findings, unshipped)
    return 1 if findings else 0


def _earlier(file: Path | None) -> list[tuple[Head, str]]:
    if file is None:
        return []
    try:
        chains = json.loads(file.read_bytes())["chains"]
        return [(Head(one["chain"], int(one["entries"]), one["hash"]), file.name) for one in chains]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"'{file}' is not what `scores audit verify --json` wrote earlier: {error}"
        ) from None


def _stored_heads(url: str | None) -> list[tuple[Head, str]]:
    if url is None:
        return []
    client = redis.Redis.from_url(url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS)
    try:
        stored = cast(dict[bytes, bytes], client.hgetall(AUDIT_HEADS))
        return [(msgspec.json.decode(packed, type=Head), "Redis") for packed in stored.values()]
    except redis.RedisError as error:
        raise DependencyUnavailable(f"Redis did not answer: {error}") from None
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"the hash {AUDIT_HEADS} in Redis was written by somebody else: {error}") from None
    finally:
        client.close()


def _print_json(checker: Checker, findings: Iterable[Finding], unshipped: int) -> None:
    said: dict[str, Any] = {
        "chains": [
            {
                "chain": chain.name,
                "entries": chain.entries,
                "hash": chain.head.hash,
                "first_ms": chain.first_ms,
                "last_ms": chain.last_ms,
            }
            for chain in _in_order(checker)
        ],
        "open_ends": [chain.name for chain in checker.open_ends()],
        "only_in_spools": unshipped,
        "findings": [
            {"chain": one.chain, "fault": one.fault.value, "number": one.number, "detail": one.said}
            for one in findings
        ],
    }
    sys.stdout.write(json.dumps(said, indent=1) + "\n")


def _print(checker: Checker, findings: list[Finding], unshipped: int) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    for name in ("chain", "entries", "from (UTC)", "to (UTC)", "head"):
        table.add_column(name, justify="right" if name == "entries" else "left", overflow="fold")
    for chain in _in_order(checker):
        head = chain.head.hash[:16]
        table.add_row(
            Text(chain.name), f"{chain.entries:,}", moment(chain.first_ms), moment(chain.last_ms), head
        )
    console.print(table)
    for chain in checker.open_ends():
        _say(
            console,
            f"{chain.name} has no end: it is being written, or its process was killed and none has started there since.",
        )
    if unshipped:
        _say(console, f"{unshipped:,} entries are in spools only; a process with that folder ships them.")
    for one in findings[:_FINDINGS_SHOWN]:
        _say(console, f"{one.fault.value.upper()}: {one.chain or 'a record'}: {one.said}", "bold red")
    if len(findings) > _FINDINGS_SHOWN:
        _say(console, f"and {len(findings) - _FINDINGS_SHOWN:,} more; --json has all.", "bold red")
    entries = sum(chain.entries for chain in checker.chains.values())
    if findings:
        _say(console, f"The record is NOT whole: {len(findings):,} findings.", "bold red")
    else:
        _say(console, f"Whole: {entries:,} entries in {len(checker.chains):,} chains.", "bold green")


def _in_order(checker: Checker) -> list[Chain]:
    return [chain for _, chain in sorted(checker.chains.items())]


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)
