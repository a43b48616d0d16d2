"""A webhook worker's surroundings in one place: tables, topics, an owner who makes endpoints, and a system that is told."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

from confluent_kafka import Producer
from msgspec.structs import replace
from redis import Redis

from cli.stack.child import Child
from schemas.access.permissions import Grant
from schemas.access.roles import READER_ROLE
from schemas.aggregate_changes import CellChange, ResultChange, encode_change
from schemas.aggregates import CellField
from schemas.environment import Secret
from schemas.events import encode_event
from schemas.identifiers import STATE, OrganizationId
from schemas.keys import RELEASES_POSITION
from schemas.releases import ReleaseKey, ReleaseState, release_entry
from schemas.topics import AGGREGATE_CHANGES, PUBLISHED_CHANGES, RELEASES, RESULT_CHANGES
from schemas.webhooks import keys
from schemas.webhooks.endpoints import Endpoint, EndpointState, Followed, decode_endpoint, decode_state
from schemas.webhooks.messages import Message, Order, decode_message, encode_stored
from schemas.webhooks.secrets import SecretBox, new_secret
from tests.fake_worker import FakeWorker
from tests.stack import broker, process_environment, store, wait_for

KEY: Final = "a key of the tests that is of no value, and long enough"
DISTRICT: Final = OrganizationId("19990010000000")
SCHOOL: Final = OrganizationId("19990010000101")
OTHER_SCHOOL: Final = OrganizationId("19990010000102")
CELL: Final = CellField("2026:ELA-SUM:03")
READER: Final = (Grant(READER_ROLE, STATE),)


class Delivery(NamedTuple):
    """What arrived."""

    path: str
    id: str
    body: dict[str, Any]

    @property
    def versions(self) -> dict[tuple[str, str], int]:
        """By organization and grade."""
        data = self.body["data"]
        return {(data["organization"]["id"], cell["grade"]): cell["version"] for cell in data["cells"]}


class Receiver:
    """A district's system: takes what comes, unless it is told not to."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []
        self.traces: list[str] = []  # as the attempts name them, where they are traced
        self.status = 204
        self.before_answer: Callable[[], object] | None = None  # to let it take its time
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                body = json.loads(content)
                receiver.traces += self.headers.get_all("traceparent", [])
                token = body["data"].get("confirmation")
                if token is None and receiver.before_answer is not None:
                    receiver.before_answer()
                if token is None and receiver.status < 300:
                    receiver.got.append(Delivery(self.path, self.headers["webhook-id"], body))
                self.send_response(204 if token else receiver.status)
                if token:
                    self.send_header("webhook-confirmation", token)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def told(self, path: str) -> list[Delivery]:
        """What arrived at one path, but for pings."""
        return [one for one in self.got if one.path == path and one.body["type"] != "endpoint.ping"]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class WebhookStand:
    """Everything around the worker."""

    def __init__(self, kafka: str, redis_url: str, folder: Path) -> None:
        self.kafka = kafka
        self.redis_url = redis_url
        self.folder = folder
        self.redis = Redis.from_url(redis_url, protocol=2)
        self.tables = FakeWorker(redis_url)
        self.tables.list_organizations(
            {"kind": "school", "cds": one, "name": f"Alder {one[-3:]}"} for one in (SCHOOL, OTHER_SCHOOL)
        )
        self.tables.serve()
        self.receiver = Receiver()
        self._producer = Producer({"bootstrap.servers": kafka, "log_level": 0})
        self._releases = 0

    def endpoint(self, name: str, *follows: OrganizationId, **wanted: Any) -> None:
        """An endpoint, as the gateway keeps it."""
        box = SecretBox(Secret(KEY.encode()))
        now_ms = int(time.time() * 1000)
        secret = box.seal(
            new_secret("v1", os.urandom(32)), endpoint=name, nonce=os.urandom(12), created_ms=now_ms
        )
        settings: dict[str, Any] = {
            "grants": READER,
            "interval_seconds": 0,
            "subject": "an owner",
            **wanted,
        }
        endpoint = Endpoint(
            id=name,
            url=f"http://127.0.0.1:{self.receiver.port}/{name}",
            follows=tuple(Followed(one) for one in follows or (DISTRICT,)),
            private_network=True,
            secrets=(secret,),
            created_ms=now_ms,
            updated_ms=now_ms,
            **settings,
        )
        self.put(endpoint)

    def put(self, endpoint: Endpoint) -> None:
        """Write an endpoint."""
        self.redis.hset(keys.ENDPOINTS, endpoint.id, encode_stored(endpoint))
        self.redis.incr(keys.VERSION)
        self.order(Order(kind="changed", endpoint=endpoint.id))

    def order(self, order: Order) -> None:
        """Ask something of the worker."""
        self.redis.xadd(keys.ORDERS, {keys.ORDER_FIELD: encode_stored(order)})

    def until_confirmed(self, *names: str) -> None:
        """Wait until endpoints have said that they want webhooks."""
        for name in names:
            wait_for(lambda name=name: self.state(name).confirmed_ms is not None, f"{name} is confirmed")  # type: ignore[misc]

    def state(self, name: str) -> EndpointState:
        """How an endpoint fares."""
        stored: Any = self.redis.hget(keys.STATES, name)
        return decode_state(stored)

    def tell(
        self,
        organization: OrganizationId = SCHOOL,
        field: CellField = CELL,
        *,
        published: bool = False,
        version: int = 1,
    ) -> None:
        """Say that a cell changed, as the relay does."""
        change = CellChange(
            organization=organization,
            cell=field,
            generation=self.tables.generation,
            version=version,
            changed_ms=int(time.time() * 1000),
            figures=None,
        )
        topic = PUBLISHED_CHANGES if published else AGGREGATE_CHANGES
        self._producer.produce(topic, encode_change(change), key=f"{organization}/{field}")
        assert self._producer.flush(30) == 0

    def tell_result(self, change: ResultChange) -> None:
        """Say that a result is another now, as the relay does."""
        self._producer.produce(RESULT_CHANGES, encode_change(change), key=change.organization)
        assert self._producer.flush(30) == 0

    def change(self, name: str, **fields: Any) -> None:
        """Change an endpoint, as its owner does by way of the gateway."""
        stored: Any = self.redis.hget(keys.ENDPOINTS, name)
        self.put(replace(decode_endpoint(stored), **fields))

    def taken_in(self) -> int:
        """How many records of the topics the worker has taken in."""
        facts: Any = self.redis.hgetall(keys.WORKER)
        return sum(int(value) for field, value in facts.items() if field.startswith(b"at:"))

    def release(self, key: ReleaseKey, state: ReleaseState) -> None:
        """Give a district's results a state: to the topic, and to the table."""
        self.tables.release(key, state)
        self._producer.produce(RELEASES, encode_event(release_entry(key, state)), key=key.path)
        assert self._producer.flush(30) == 0
        self._releases += 1
        self.redis.hset(RELEASES_POSITION, "0", str(self._releases))

    def messages(self, endpoint: str) -> list[Message]:
        """An endpoint's messages that are kept, oldest first."""
        names: Any = self.redis.zrange(keys.log(endpoint), 0, -1)
        stored: Any = self.redis.hmget(keys.MESSAGES, names) if names else []
        return [decode_message(one) for one in stored]

    @contextmanager
    def worker(self, **more: str) -> Iterator[Child]:
        """A worker in a process of its own, killed in the end."""
        number = len(list(self.folder.glob("webhooks-*.log")))
        environment = process_environment(
            self.kafka,
            self.redis_url,
            **{
                "SCORES_WEBHOOK_KEY": KEY,
                "SCORES_WEBHOOK_ALLOW_PRIVATE": "yes",
                "SCORES_WEBHOOKS_LEASE_SECONDS": "1",
                "SCORES_AUDIT_DIR": str(self.folder / "audit"),
                "SCORES_WEBHOOK_SCHEDULE": "0,0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.2",
                "SCORES_WEBHOOK_BREAKER_SECONDS": "0.2",
                "SCORES_WEBHOOK_BREAKER_LONGEST_SECONDS": "0.5",
                **more,
            },
        )
        child = Child(
            "webhooks",
            [sys.executable, "-m", "consumers.webhooks"],
            cwd=self.folder,
            log=self.folder / f"webhooks-{number}.log",
            env=environment,
        )
        try:
            yield child
        finally:
            child.stop(0.0)

    def close(self) -> None:
        """Close what was opened here."""
        self.receiver.close()
        self._producer.close()
        self.redis.close()
        self.tables.redis.close()


@contextmanager
def webhook_stand(folder: Path) -> Iterator[WebhookStand]:
    """One on an embedded broker of two partitions and an embedded Redis; files are in ``folder``."""
    with broker("embedded", 2, folder) as kafka, store("embedded") as redis:
        stand = WebhookStand(kafka, redis.url, folder)
        try:
            yield stand
        finally:
            stand.close()


def versions(deliveries: Sequence[Delivery]) -> Mapping[tuple[str, str], int]:
    """The latest version that was told of each cell."""
    found: dict[tuple[str, str], int] = {}
    for delivery in deliveries:
        for cell, version in delivery.versions.items():
            found[cell] = max(version, found.get(cell, 0))
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    """``wait_for`` with the patience that a worker's start needs."""
    wait_for(condition, what)
