"""The reference verifier for Python (PyPI, ``standardwebhooks``) takes what we send, and refuses it tampered."""

from __future__ import annotations

import json
import time
from binascii import Error as NotBase64
from datetime import UTC, datetime

import pytest
from signed_webhooks import SECRET, Delivery, deliveries
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from schemas.webhooks.secrets import verifying_key
from schemas.webhooks.signing import NotVerified, sign, verify

NOW = int(time.time())  # the library knows no other clock
ALL = list(deliveries(NOW))


def test_there_is_something_to_take_and_something_to_refuse() -> None:
    assert sum(one.accepted for one in ALL) >= 10
    assert sum(not one.accepted for one in ALL) >= 10


@pytest.mark.parametrize("delivery", [one for one in ALL if one.accepted], ids=lambda one: one.name)
def test_the_reference_verifier_takes_what_we_send(delivery: Delivery) -> None:
    assert Webhook(delivery.secret).verify(delivery.body, delivery.headers) == json.loads(delivery.body)
    assert verify([verifying_key(delivery.secret)], delivery.headers, delivery.body, now=NOW)


@pytest.mark.parametrize("delivery", [one for one in ALL if not one.accepted], ids=lambda one: one.name)
def test_the_reference_verifier_refuses_what_was_tampered_with(delivery: Delivery) -> None:
    # The library says so in several ways: an entry that is no base64 is not its own error.
    with pytest.raises((WebhookVerificationError, NotBase64)):
        Webhook(delivery.secret).verify(delivery.body, delivery.headers)
    with pytest.raises(NotVerified):
        verify([verifying_key(delivery.secret)], delivery.headers, delivery.body, now=NOW)


def test_the_reference_library_signs_to_the_same_letters() -> None:
    body = '{"name":"Cañon Elementary"}'
    theirs = Webhook(SECRET.shown).sign("msg_1", datetime.fromtimestamp(NOW, UTC), body)
    assert theirs == sign([SECRET], "msg_1", NOW, body.encode())
