"""Where the memory of Redis goes: exam rows and cells apart, from samples of their hashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from redis import Redis

from schemas.keys import GENERATION

_SAMPLE: Final = 20_000  # hashes of each kind
_AT_ONCE: Final = 1_000


@dataclass(frozen=True)
class Kind:
    """The hashes of one kind, all partitions together."""

    keys: int
    fields: int
    total_bytes: int

    @property
    def bytes_a_field(self) -> float:
        """Bytes of one field, its share of the key and of the hash included."""
        return self.total_bytes / max(1, self.fields)


def kinds(redis: Redis) -> dict[str, Kind]:
    """By kind (``exams``, ``cells``): number, fields and bytes; totals are projected from a sample where there are many."""
    generation = _text(redis.get(GENERATION) or b"")
    names: dict[str, list[bytes]] = {"exams": [], "cells": []}
    for key in redis.scan_iter(match=f"{{{generation}.*}}:*", count=5_000):
        kind = _text(key).split("}:", 1)[1].partition(":")[0]
        if kind in names:
            names[kind].append(key)
    return {kind: _measured(redis, keys) for kind, keys in names.items()}


def _measured(redis: Redis, keys: list[bytes]) -> Kind:
    sample = keys if len(keys) <= _SAMPLE else Random(1).sample(keys, _SAMPLE)
    total = fields = 0
    for chunk in _chunks(sample):
        with redis.pipeline(transaction=False) as pipe:
            for key in chunk:
                pipe.memory_usage(key, samples=0)
                pipe.hlen(key)
            answers = pipe.execute()
        total += sum(answers[0::2])
        fields += sum(answers[1::2])
    scale = len(keys) / max(1, len(sample))
    return Kind(len(keys), round(fields * scale), round(total * scale))


def _chunks(keys: list[bytes]) -> Iterable[list[bytes]]:
    return (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
