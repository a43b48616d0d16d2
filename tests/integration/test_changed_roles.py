"""A deployment's roles and groups change while streams are open: what is taken away goes at once, what is given opens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    SCHOOL,
    GatewayProcess,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)

from schemas.access.permissions import Grant, GroupGrant, GroupKind
from schemas.access.roles import READER_ROLE
from schemas.access.roles_file import parse_roles
from schemas.identifiers import OrganizationId

TOPIC = f"school/{SCHOOL}"
WITH_GROUP = f'[groups.districts]\nnorth = ["{DISTRICT}"]\n'
WITH_CLERK = '[roles]\nClerk = ["INDIVIDUAL_PII_READ", "CUSTOM_AGGREGATE_READ"]\n'


class Deployment:
    """A gateway and its roles file."""

    def __init__(self, gateway: GatewayProcess, file: Path) -> None:
        self.gateway = gateway
        self._file = file

    def set_roles(self, text: str) -> None:
        """Replace the file in one go."""
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(text)
        unfinished.replace(self._file)

    def client(self, grant: Grant | GroupGrant) -> httpx.Client:
        """A client with a token of one grant."""
        token = self.gateway.issuer.issue(
            "somebody", [grant], timedelta(minutes=10), roles=parse_roles(WITH_CLERK)
        )
        return self.gateway.client(Authorization=f"Bearer {token}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    file = tmp_path_factory.mktemp("roles") / "roles.toml"
    file.write_text("")
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.apply(SCHOOL, [scored(2450, 3)])
        worker.serve()
        with gateway_process(server.url, SCORES_ROLES_FILE=str(file)) as gateway:
            yield Deployment(gateway, file)


@pytest.mark.parametrize(
    ("roles", "grant"),
    [
        pytest.param(WITH_GROUP, GroupGrant(READER_ROLE, "north", GroupKind.DISTRICTS), id="a group"),
        pytest.param(WITH_CLERK, Grant("Clerk", OrganizationId(DISTRICT)), id="a role"),
    ],
)
def test_what_is_taken_away_ends_open_streams_and_what_is_given_opens(
    running: Deployment, roles: str, grant: Grant | GroupGrant
) -> None:
    running.set_roles("")
    with running.client(grant) as client:
        wait_until(lambda: client.get(f"/v1/aggregates/{SCHOOL}").status_code == 403, what="the refusal")
        assert client.get("/v1/session").json()["permissions"] == {}

        running.set_roles(roles)
        wait_until(lambda: client.get(f"/v1/aggregates/{SCHOOL}").status_code == 200, what="the new right")
        assert client.get("/v1/session").json()["permissions"]["CUSTOM_AGGREGATE_READ"] == [DISTRICT]
        with stream(client, TOPIC) as reader:
            reader.until("put")
            running.set_roles("")
            bye = reader.until("bye")
            assert bye.data["reconnect"] is False
            assert reader.next() is None
        assert client.get("/v1/stream", params={"topic": TOPIC}).status_code == 403


def test_a_gateway_does_not_start_with_a_faulty_file(running: Deployment, tmp_path: Path) -> None:
    faulty = tmp_path / "roles.toml"
    faulty.write_text('[roles]\nClerk = ["READ_ALL"]')
    environment = {
        **os.environ,
        "SCORES_JWKS_FILE": str(running.gateway.issuer.jwks_file),
        "SCORES_STUDENT_KEY_SECRET": "only for tests, nothing is secret",
        "SCORES_ROLES_FILE": str(faulty),
        "SCORES_AUDIT_DIR": str(tmp_path / "audit"),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "gateway"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert "SCORES_ROLES_FILE" in ended.stderr
    assert "READ_ALL" in ended.stderr
