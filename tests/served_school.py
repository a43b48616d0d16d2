"""A Redis for the tests of one file, with one school that has one result: what most tests of gateways begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import ORGANIZATIONS, SCHOOL, RedisServer, redis_server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def worker(redis: RedisServer) -> FakeWorker:
    made = FakeWorker(redis.url)
    made.list_organizations(ORGANIZATIONS)
    made.apply(SCHOOL, [scored(2450, 3)])
    made.serve()
    return made
