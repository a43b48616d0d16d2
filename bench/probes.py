"""How far an engine is, and how far from right, seen from outside: by what it has written to Redis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from redis import Redis

from bench.filled_topic import FilledTopic
from bench.peers.ceiling import DONE
from bench.peers.job import FIGURES, STATE, Figures
from bench.recount_log import Cells
from cli.stored_cells import stored_cells
from cli.verify import compare, counted_cells
from schemas.assessments import load_registry
from schemas.errors import InvalidInput
from schemas.identifiers import PartitionId
from schemas.keys import GENERATION, Generation, PartitionKeys


@dataclass(frozen=True)
class Wrong:
    """The distance from the oracle, over all cells of all organizations."""

    results: int  # sum of |counted - expected|
    cells: int  # cells of which any figure differs

    def __str__(self) -> str:
        return f"{self.results:,} results in {self.cells:,} cells" if self.cells else "0"


class Probe(Protocol):
    """Looks at one engine's run."""

    def applied(self) -> int:
        """How many events the figures in Redis contain, as nearly as can be told."""

    def finished(self) -> bool:
        """Whether the figures contain all events."""

    def wrong(self) -> Wrong:
        """All cells against the oracle."""


class OurTables:
    """Our worker: positions are stored with the figures."""

    def __init__(self, url: str, filled: FilledTopic) -> None:
        self._url, self._filled = url, filled
        self._redis = Redis.from_url(url)

    def applied(self) -> int:
        generation = self._redis.get(GENERATION)
        if not isinstance(generation, bytes):
            return 0
        with self._redis.pipeline(transaction=False) as pipe:
            for partition in self._filled.ends:
                keys = PartitionKeys(Generation(generation.decode()), PartitionId(partition))
                pipe.hget(keys.position, "next")
            return sum(int(value or 0) for value in pipe.execute())

    def finished(self) -> bool:
        return self.applied() >= self._filled.events

    def bytes_taken(self) -> int:
        """How many bytes Redis was sent since it started."""
        statistics: Any = self._redis.info("stats")
        return int(statistics["total_net_input_bytes"])

    def wrong(self) -> Wrong:
        expected = self._filled.ours
        try:
            with stored_cells(self._url) as stored:
                found = counted_cells(stored.everywhere(), load_registry())
        except InvalidInput:  # no worker has come so far
            found = {}
        differences = compare(expected, found)
        results = sum(abs(d.found - d.expected) for d in differences if d.field == "results")
        return Wrong(results, len({(d.organization, d.cell) for d in differences}))


class PeersCells:
    """A peer, by the figures of the state, which it writes last or at the same time as all others.

    Three forms of cells are known, because each engine has its own way to write: ``sums:ORGANIZATION:CELL`` a hash of
    counters, ``cells:ORGANIZATION`` a hash of cells, ``cell:ORGANIZATION|CELL`` a string; the latter two hold the figures
    separated by commas.
    """

    def __init__(self, url: str, filled: FilledTopic) -> None:
        self._filled = filled
        self._redis = Redis.from_url(url, decode_responses=True)
        self._state = {cell: figures for (code, cell), figures in filled.peers.items() if code == STATE}

    def applied(self) -> int:
        results = sum(figures[0] for figures in self._of_state().values())
        expected = sum(figures[0] for figures in self._state.values())
        # Rescores and duplicates are spread evenly, so the share of results is the share of events.
        return min(self._filled.events, self._filled.events * results // expected)

    def finished(self) -> bool:
        return self._of_state() == self._state and not self.wrong().cells

    def wrong(self) -> Wrong:
        expected, found = self._filled.peers, self._everywhere()
        differing = [
            name
            for name in expected.keys() | found.keys()
            if expected.get(name, _NONE) != found.get(name, _NONE)
        ]
        results = sum(abs(found.get(name, _NONE)[0] - expected.get(name, _NONE)[0]) for name in differing)
        return Wrong(results, len(differing))

    def _of_state(self) -> dict[str, Figures]:
        names = list(self._state)
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(f"cells:{STATE}")
            pipe.mget([f"cell:{STATE}|{name}" for name in names])
            for name in names:
                pipe.hmget(f"sums:{STATE}:{name}", FIGURES)
            hashed, strings, *counters = pipe.execute()
        found = {name: _figures(text) for name, text in hashed.items()}
        found |= {name: _figures(text) for name, text in zip(names, strings, strict=True) if text}
        found |= {name: _counted(values) for name, values in zip(names, counters, strict=True) if any(values)}
        return found

    def _everywhere(self) -> Cells:
        found: Cells = {}
        for key in map(str, self._redis.scan_iter(match="cells:*", count=1_000)):
            organization = key.partition(":")[2]
            hashed: Any = self._redis.hgetall(key)
            for cell, text in hashed.items():
                found[organization, cell] = _figures(text)
        for keys in _chunks(self._redis.scan_iter(match="cell:*", count=1_000)):
            texts: Any = self._redis.mget(keys)
            for key, text in zip(keys, texts, strict=True):
                organization, _, cell = key.removeprefix("cell:").partition("|")
                found[organization, cell] = _figures(text)
        for keys in _chunks(self._redis.scan_iter(match="sums:*", count=1_000)):
            with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hmget(key, FIGURES)
                for key, values in zip(keys, pipe.execute(), strict=True):
                    _, organization, cell = key.split(":", 2)
                    found[organization, cell] = _counted(values)
        return found


class DecodedOnly:
    """The ceiling: it says itself how far it is, and has no figures to be wrong."""

    def __init__(self, url: str, filled: FilledTopic) -> None:
        self._filled = filled
        self._redis = Redis.from_url(url)

    def applied(self) -> int:
        return int(self._redis.get(DONE) or 0)

    def finished(self) -> bool:
        return self.applied() >= self._filled.events

    def wrong(self) -> Wrong:
        return Wrong(0, 0)


_NONE: Figures = (0,) * len(FIGURES)


def _figures(text: str) -> Figures:
    return tuple(map(int, text.split(",")))


def _counted(values: Iterable[str | None]) -> Figures:
    return tuple(int(value or 0) for value in values)


def _chunks(keys: Iterable[str]) -> Iterable[list[str]]:
    chunk: list[str] = []
    for key in keys:
        chunk.append(key)
        if len(chunk) == 1_000:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
