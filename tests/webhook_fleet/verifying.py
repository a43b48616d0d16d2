"""Reads one request as a careful receiver does: verified with libraries that are not ours, then decoded."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.webhook_fleet.receipts import Receipt, ToldCell

_TOLERANCE_SECONDS: Final = 300
_PUBLIC: Final = "whpk_"


class Verifier:
    """Verifies with one secret (``whsec_``) or public key (``whpk_``)."""

    def __init__(self, key: str) -> None:
        self._shared: Webhook | None = None
        self._public: Ed25519PublicKey | None = None
        if key.startswith(_PUBLIC):
            self._public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix(_PUBLIC)))
        else:
            self._shared = Webhook(key)

    def fault(self, headers: Mapping[str, str], body: bytes) -> str:
        """Why the request is not to be trusted; nothing when it is."""
        try:
            if self._shared is not None:
                self._shared.verify(body, dict(headers), json_parse=False)
                return ""
            return self._public_fault(headers, body)
        # The library lets the errors of what it reads with pass.
        except (WebhookVerificationError, ValueError, binascii.Error) as error:
            return f"not verified: {error}"

    def _public_fault(self, headers: Mapping[str, str], body: bytes) -> str:
        assert self._public is not None
        timestamp = headers.get("webhook-timestamp", "")
        if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > _TOLERANCE_SECONDS:
            return f"its time is '{timestamp}'"
        signed = f"{headers.get('webhook-id', '')}.{timestamp}.".encode() + body
        for entry in headers.get("webhook-signature", "").split(" "):
            version, _, signature = entry.partition(",")
            if version == "v1a":
                try:
                    self._public.verify(base64.b64decode(signature), signed)
                    return ""
                except InvalidSignature:
                    continue
        return "no ed25519 signature of this key"


def read_request(
    endpoint: str, verifier: Verifier, headers: Mapping[str, str], body: bytes, *, accepted: bool
) -> tuple[Receipt, str | None]:
    """What is kept of it, and the token that confirms the endpoint if it is asked for."""
    now = time.time()
    identity = headers.get("webhook-id", "")
    digest = hashlib.sha256(body).digest()
    fault = verifier.fault(headers, body)
    if fault:
        return Receipt(now, endpoint, identity, digest, accepted, "", fault=fault), None
    try:
        payload: dict[str, Any] = json.loads(body)
        kind, data = str(payload["type"]), payload["data"]
        if kind == "endpoint.ping":
            fault = "" if data["endpoint"] == endpoint else "a ping for another endpoint"
            receipt = Receipt(now, endpoint, identity, digest, accepted, kind, fault=fault)
            return receipt, data.get("confirmation")
        if kind != "aggregate.updated":
            return Receipt(now, endpoint, identity, digest, accepted, kind), None
        cells = tuple(map(_told, data["cells"]))
        fault = "" if payload["preliminary"] is True and cells else "no cells, or not preliminary"
        organization = str(data["organization"]["id"])
    except (KeyError, TypeError, ValueError) as error:
        fault = f"not of the documented form: {type(error).__name__} {error}"
        return Receipt(now, endpoint, identity, digest, accepted, "", fault=fault), None
    return Receipt(now, endpoint, identity, digest, accepted, kind, organization, cells, fault), None


def _told(cell: Mapping[str, Any]) -> ToldCell:
    name = f"{cell['school_year']}:{cell['test']}:{cell['grade']}"
    figures = cell.get("figures")
    if figures is None:
        return ToldCell(name, int(cell["version"]), None)
    if figures["version"] != cell["version"]:
        raise ValueError(f"version {cell['version']} with figures of version {figures['version']}")
    return ToldCell(name, int(cell["version"]), int(figures["results"]))
