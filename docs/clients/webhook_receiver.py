"""Receive webhooks of preliminary results: copy this file, put your own work into ``handle``, and TLS in front of it.

    WEBHOOK_SECRETS='whsec_...' python3 webhook_receiver.py --port 8080 --database webhooks.sqlite3

Needs Python 3.11 or newer and nothing else. A delivery is taken only when its signature and its time are right; once,
however often it comes; and of each figure only what is later than what is known. ``docs/webhooks.md`` says the rest.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

TOLERANCE_SECONDS = 300  # a copy that somebody recorded is worth nothing after that; keep your clock right
LARGEST_BODY = 4 * 1024 * 1024
IDLE_SECONDS = 60  # a sender that falls silent does not hold a thread for longer
REMEMBERED_SECONDS = 30 * 86_400  # a delivery is tried for four days, and can be asked for again for thirty


def handle(event: dict[str, Any], cells: list[dict[str, Any]]) -> None:
    """Your own work. When it raises, the delivery counts as failed and comes again: it has to bear that.

    The sender waits 15 seconds for the answer: what takes longer belongs into a queue of your own.

    Args:
        event: the whole body; its ``type`` says what it is about. There may be types that you do not know.
        cells: of an ``aggregate.updated``, those that are later than what came before. Unless you asked for full
            payloads, ask ``event["data"]["link"]`` for their figures, with your access token.
    """
    print(json.dumps({"type": event["type"], "cells": len(cells), "event": event}), flush=True)


class Refused(Exception):
    """This is not from the sender, or not from now."""


class Secret(NamedTuple):
    """What the sender's signatures are checked with."""

    version: str  # of the signatures that it fits
    key: bytes


def read_secret(text: str) -> Secret:
    """``whsec_...`` (shared with the sender) or ``whpk_...`` (the sender's public key).

    Raises:
        ValueError: it is neither.
    """
    versions = {"whsec": "v1", "whpk": "v1a"}
    prefix, _, key = text.partition("_")
    secret = Secret(versions.get(prefix, ""), base64.b64decode(key, validate=True))
    if not secret.version or not secret.key or (secret.version == "v1a" and not _point(secret.key)):
        raise ValueError("one of them is no secret")
    return secret


def verify(secrets: Sequence[Secret], headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The delivery's id, when one of the secrets signed exactly this body, and did so just now.

    Args:
        secrets: during a rotation the old and the new one.
        headers: their names in lower case.
        body: the bytes as they came; parsed and printed again, they would be others.

    Raises:
        Refused: the message says why; do not tell it to whoever sent this.
    """
    message, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message or "." in message:
        raise Refused("no webhook-id")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Refused("no webhook-timestamp")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise Refused("its time is too far from now")
    signed = f"{message}.{timestamp}.".encode("latin-1", "replace") + body
    for entry in headers.get("webhook-signature", "").split(" "):
        version, _, text = entry.partition(",")
        try:
            signature = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        for secret in secrets:
            if _fits(secret, version, signature, signed):
                return message
    raise Refused("no signature fits")


def _fits(secret: Secret, version: str, signature: bytes, signed: bytes) -> bool:
    if version != secret.version:
        return False
    if version == "v1":
        expected = hmac.new(secret.key, signed, hashlib.sha256).digest()
        return hmac.compare_digest(expected, signature)  # in constant time, other than ==
    return ed25519_verifies(secret.key, signature, signed)


class Inbox:
    """What was received already; in a file, so that a restart forgets nothing. Your own database does as well."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute("CREATE TABLE IF NOT EXISTS deliveries (id TEXT PRIMARY KEY, at REAL)")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS cells (name TEXT PRIMARY KEY, version INTEGER, changed TEXT)"
        )
        self._database.commit()

    def take(self, message: str, event: dict[str, Any], now: float) -> None:
        """Handle a delivery that was verified, unless it was handled before.

        Handling and remembering are one transaction: if the one fails, the other did not happen.
        """
        with self._lock, self._database:
            if self._database.execute("SELECT 1 FROM deliveries WHERE id = ?", (message,)).fetchone():
                return
            handle(event, [cell for name, cell in _cells_of(event) if self._is_later(name, cell)])
            self._database.execute("INSERT INTO deliveries VALUES (?, ?)", (message, now))
            self._database.execute("DELETE FROM deliveries WHERE at < ?", (now - REMEMBERED_SECONDS,))

    def _is_later(self, name: str, cell: dict[str, Any]) -> bool:
        """Whether a cell is later than what is known of it; deliveries may overtake each other.

        Versions grow; where tables were built anew they may begin again, and then the time is later.
        """
        query = "SELECT version, changed FROM cells WHERE name = ?"
        known = self._database.execute(query, (name,)).fetchone()
        if known is not None and cell["version"] <= known[0] and cell["changed"] <= known[1]:
            return False
        self._database.execute(
            "INSERT OR REPLACE INTO cells VALUES (?, ?, ?)", (name, cell["version"], cell["changed"])
        )
        return True

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _cells_of(event: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each cell of the body with a name that no other cell has."""
    if event["type"] != "aggregate.updated":
        return []
    data = event["data"]
    organization = data["organization"]["id"]
    return [
        (f"{organization} {cell['school_year']} {cell['test']} {cell['grade']}", cell)
        for cell in data["cells"]
    ]


class Receiver(BaseHTTPRequestHandler):
    """One connection of the sender."""

    protocol_version = "HTTP/1.1"  # so that the sender can keep its connection
    timeout = IDLE_SECONDS
    secrets: Sequence[Secret] = ()
    inbox: Inbox

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or len(length) > 12 or int(length) > LARGEST_BODY:
            self.close_connection = True  # the body is not read
            return self._answer(413)
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        now = time.time()
        try:
            message = verify(self.secrets, headers, body, now)
            event = json.loads(body)
        except (Refused, ValueError) as error:
            print(f"refused: {error}", file=sys.stderr, flush=True)
            return self._answer(401)
        try:
            if event["type"] == "endpoint.ping" and "confirmation" in event["data"]:
                # "Do you want these webhooks?" Only who reads what arrives at this address can give this answer.
                return self._answer(204, {"webhook-confirmation": event["data"]["confirmation"]})
            self.inbox.take(message, event, now)
        except Exception as error:  # noqa: BLE001 whatever it is: any answer but 2xx brings the delivery again
            print(f"failed: {error!r}", file=sys.stderr, flush=True)
            return self._answer(500)
        return self._answer(204)

    def _answer(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: whatever is worth a line is printed where it happens."""


# Ed25519 (RFC 8032, 5.1), which Python's standard library has not. It verifies only, and knows no secret; so it may take
# a different time for different keys. With `cryptography` installed, Ed25519PublicKey.from_public_bytes(key).verify(...)
# does the same, and faster.
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_Point = tuple[int, int, int, int]  # X, Y, Z, T with x = X / Z, y = Y / Z, x * y = T / Z


def ed25519_verifies(key: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether the owner of this public key (32 bytes) signed this."""
    if len(signature) != 64:
        return False
    public, commitment = _point(key), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or commitment is None or scalar >= _L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + signed).digest(), "little") % _L
    left, right = _times(scalar, _BASE), _sum(commitment, _times(challenge, public))
    return (
        (left[0] * right[2] - right[0] * left[2]) % _P == 0 == (left[1] * right[2] - right[1] * left[2]) % _P
    )


def _point(encoded: bytes) -> _Point | None:
    """The point with this y and this sign of x; None when there is none."""
    number = int.from_bytes(encoded, "little")
    if len(encoded) != 32:
        return None
    y, odd = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if y >= _P or (x * x - square) % _P or (x == 0 and odd):
        return None
    x = _P - x if x & 1 != odd else x
    return x, y, 1, x * y % _P


def _sum(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c, d = 2 * one[3] * other[3] * _D % _P, 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(factor: int, point: _Point) -> _Point:
    product: _Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            product = _sum(product, point)
        point, factor = _sum(point, point), factor >> 1
    return product


_BASE: _Point = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little")) or (0, 1, 1, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Receive webhooks of preliminary results.")
    parser.add_argument("--host", default="127.0.0.1", help="where your proxy, which does TLS, finds it")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--database", default="webhooks.sqlite3", help="a file; it is made")
    options = parser.parse_args()
    try:
        Receiver.secrets = [read_secret(text) for text in os.environ["WEBHOOK_SECRETS"].split(" ")]
    except (KeyError, ValueError) as error:
        sys.exit(f"WEBHOOK_SECRETS is to be whsec_... or whpk_..., several with a space between: {error}")
    Receiver.inbox = Inbox(options.database)
    server = ThreadingHTTPServer((options.host, options.port), Receiver)
    print(f"listening on http://{options.host}:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
        Receiver.inbox.close()


if __name__ == "__main__":
    main()
