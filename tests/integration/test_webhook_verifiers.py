"""The reference verifier for JavaScript (npm, ``standardwebhooks``) takes what we send, and refuses it tampered."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from base64 import b64encode
from typing import Any

import pytest
from signed_webhooks import Delivery, deliveries

from tests.watching.node_client import installed

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="not run: there is no npm here")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Delivery, Any]]:
    """Every delivery, and what the verifier made of it."""
    folder = installed(tmp_path_factory.mktemp("verifier"))
    sent = list(deliveries(int(time.time())))
    cases = [
        {"secret": one.secret, "headers": one.headers, "body": b64encode(one.body).decode()} for one in sent
    ]
    (folder / "deliveries.json").write_text(json.dumps(cases), encoding="utf-8")
    done = subprocess.run(
        ["node", "verify.mjs", "deliveries.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(zip(sent, json.loads(done.stdout), strict=True))


def test_the_reference_verifier_takes_what_we_send(judged: list[tuple[Delivery, Any]]) -> None:
    taken = {one.name: said for one, said in judged if one.accepted}
    assert taken == {one.name: json.loads(one.body) for one, _ in judged if one.accepted}
    assert len(taken) >= 10


def test_the_reference_verifier_refuses_what_was_tampered_with(judged: list[tuple[Delivery, Any]]) -> None:
    refused = [one.name for one, said in judged if said is None]
    assert refused == [one.name for one, _ in judged if not one.accepted]
    assert len(refused) >= 10
