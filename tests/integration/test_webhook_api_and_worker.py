"""The gateway that keeps webhook endpoints, and the worker that delivers to them, together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.webhooks.client import WebhooksClient
from gateway.webhooks.answers import ShownMessage
from tests.fake_worker import scored
from tests.integration.gateway_fixtures import STATE, GatewayProcess, gateway_process
from tests.webhook_stand import DISTRICT, KEY, SCHOOL, WebhookStand, until, webhook_stand

SUBJECT = "it@example.test"


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WebhookStand]:
    with webhook_stand(tmp_path) as stand:
        stand.tables.list_organizations(
            [{"cds": DISTRICT, "name": "Birch Valley Unified", "kind": "district"}]
        )
        yield stand


@pytest.fixture
def gateway(stand: WebhookStand) -> Iterator[GatewayProcess]:
    settings = {"SCORES_WEBHOOK_KEY": KEY, "SCORES_WEBHOOK_ALLOW_PRIVATE": "yes", "SCORES_KAFKA": stand.kafka}
    with gateway_process(stand.redis_url, **settings) as running:
        yield running


def listed(client: WebhooksClient, endpoint: str) -> list[ShownMessage]:
    return client.messages(endpoint, dead=False, states=(), since_ms=None, limit=50)


def test_endpoint_made_by_the_api_is_confirmed_told_tested_and_silenced_by_a_revocation(
    stand: WebhookStand, gateway: GatewayProcess
) -> None:
    received = stand.receiver
    with WebhooksClient(gateway.url, gateway.token(DISTRICT, subject=SUBJECT)) as client, stand.worker():
        issued = client.create(
            {
                "url": f"http://127.0.0.1:{received.port}/warehouse",
                "follows": [{"organization": DISTRICT}],
                "private_network": True,
                "interval_seconds": 0,
                "signing": ["v1", "v1a"],
            }
        )
        endpoint = issued.endpoint.id
        until(lambda: client.endpoint(endpoint).status == "active", "the address has confirmed")

        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(lambda: len(received.told("/warehouse")) == 1, "the school's cell is told")
        until(
            lambda: any(one.organization == SCHOOL for one in listed(client, endpoint)),
            "the message is listed",
        )
        [told] = [one for one in listed(client, endpoint) if one.organization == SCHOOL]
        assert told.id == received.told("/warehouse")[0].id
        until(
            lambda: client.message(endpoint, told.id).message.state == "delivered", "it counts as delivered"
        )
        assert [one.status for one in client.message(endpoint, told.id).attempts] == [204]

        assert client.replay(endpoint, told.id).delivering
        until(lambda: len(received.told("/warehouse")) == 2, "it is sent again")
        assert {one.id for one in received.told("/warehouse")} == {told.id}
        before = len(received.got)
        assert client.order(endpoint, "ping").delivering
        until(lambda: len(received.got) == before + 1, "the test message arrives")

        officer = gateway.token(STATE, role="PRIVACY_OFFICER", subject="officer@example.test")
        with gateway.client(Authorization=f"Bearer {officer}") as revoking:
            assert revoking.post("/v1/revocations", json={"subject": SUBJECT}).status_code == 201
        until(lambda: stand.state(endpoint).disabled == "revoked", "the worker delivers there no more")
        taken = stand.taken_in()
        stand.tables.apply(SCHOOL, [scored(2550, 4)])
        stand.tell()
        until(lambda: stand.taken_in() > taken, "the worker has taken the change in")
        assert len(received.told("/warehouse")) == 2

    lea = gateway.token(DISTRICT, role="LEA CAASPP Coordinator", subject="lea@example.test")
    with WebhooksClient(gateway.url, lea) as client, stand.worker():
        assert client.endpoint(endpoint).disabled == "revoked"
        client.order(endpoint, "enable")
        until(lambda: client.endpoint(endpoint).status == "active", "it is enabled in another's name")
        until(lambda: len(received.told("/warehouse")) == 3, "the latest of what changed meanwhile is told")
        assert received.told("/warehouse")[-1].versions == {(SCHOOL, "03"): 2}
        assert client.endpoint(endpoint).owner == "lea@example.test"
        client.delete(endpoint)
        until(lambda: not stand.redis.hexists("{webhooks}:states", endpoint), "all of it is forgotten")
