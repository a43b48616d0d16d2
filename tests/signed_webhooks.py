"""Webhooks as they leave, and what may have become of them on the way, for the reference verifiers to judge."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from schemas.webhooks.examples import ENDPOINT
from schemas.webhooks.ids import message_id
from schemas.webhooks.secrets import SigningSecret, new_secret
from schemas.webhooks.signing import signed_headers

GOLDEN: Final = Path(__file__).parent / "contract" / "golden"
SECRET: Final = new_secret("v1", bytes(range(32)))
PAIR: Final = new_secret("v1a", bytes(range(32, 64)))
FORMER: Final = new_secret("v1", bytes(range(64, 96)))
FORGED: Final = b64encode(bytes(32)).decode()


@dataclass(frozen=True)
class Delivery:
    """One request, and the secret that its receiver checks it with."""

    name: str
    secret: str
    headers: dict[str, str]
    body: bytes
    accepted: bool


def deliveries(now: int) -> Iterator[Delivery]:
    """Every golden body as it is sent now, then what a receiver must refuse."""
    for path in sorted(GOLDEN.glob("webhook-*.json")):
        yield _sent(path.stem, now, path.read_bytes().rstrip(b"\n"))
    good = _sent("webhook", now, (GOLDEN / "webhook-aggregate.updated.json").read_bytes().rstrip(b"\n"))
    yield replace(_sent("while the secret is rotated", now, good.body, SECRET, FORMER), secret=FORMER.shown)
    yield _sent("signed in both ways", now, good.body, PAIR, SECRET)
    yield from tampered(good, now)


def tampered(good: Delivery, now: int) -> Iterator[Delivery]:
    """What must not pass for ``good``."""
    _, _, signature = good.headers["webhook-signature"].partition(",")

    def refused(name: str, body: bytes = good.body, **headers: str) -> Delivery:
        changed = {header.replace("_", "-"): value for header, value in headers.items()}
        return Delivery(name, good.secret, good.headers | changed, body, accepted=False)

    yield refused("another figure", good.body.replace(b'"version":4', b'"version":5'))
    yield refused("written anew with other blanks", good.body.replace(b",", b", "))
    yield refused("cut", good.body[:-1])
    yield refused("another id", webhook_id="msg_aaaaaaaaaaaaaaaaaaaaaaaaaaa")
    yield refused("a later time", webhook_timestamp=str(now + 1))
    yield refused("no signature", webhook_signature="v1,")
    yield refused("a forged signature", webhook_signature=f"v1,{FORGED}")
    yield refused("a signature of another version", webhook_signature=f"v2,{signature}")
    yield replace(_sent("sent an hour ago", now - 3_600, good.body), accepted=False)
    yield replace(_sent("of the other kind only", now, good.body, PAIR), accepted=False)
    yield replace(_sent("of another endpoint", now, good.body, FORMER), accepted=False)


def _sent(name: str, timestamp: int, body: bytes, *secrets: SigningSecret) -> Delivery:
    identity = message_id(ENDPOINT, body)
    headers = signed_headers(secrets or (SECRET,), identity, timestamp, body, version="0.1.0")
    return Delivery(name, SECRET.shown, headers, body, accepted=True)
