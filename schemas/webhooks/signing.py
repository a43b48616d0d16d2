"""Signatures of webhooks as the Standard Webhooks specification has them, made and checked.

What is signed is ``<webhook-id>.<webhook-timestamp>.<body>``, the body being the very bytes that are sent. The timestamp is that
of the attempt, so a receiver may refuse what is old although the message itself was made hours ago. The header has one
signature for each secret in force, separated by spaces: ``v1,<base64>`` or ``v1a,<base64>``.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Final

from schemas.errors import InvalidInput
from schemas.webhooks.secrets import SigningSecret, VerifyingKey

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
CONTENT_TYPE: Final = "application/json; charset=utf-8"
TOLERANCE_SECONDS: Final = 300.0  # what the reference libraries allow, for clocks that differ

# Rotation has two at a time; somebody who sends thousands wants to see how long checking takes.
_MOST_SIGNATURES: Final = 16
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_HEADERS: Final = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)


class NotVerified(InvalidInput):
    """These bytes are not what the sender signed, or not now. Answer 400 and believe nothing of it."""


def sign(secrets: Sequence[SigningSecret], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``.

    Args:
        secrets: all that are in force, at least one.
        timestamp: of the attempt, in seconds since 1970.

    Raises:
        InvalidInput: there is no secret; nothing is ever sent unsigned.
    """
    if not secrets:
        raise InvalidInput("the endpoint has no secret in force; rotate its secret")
    content = _signed(message_id, str(timestamp), body)
    return " ".join(f"{secret.kind},{b64encode(secret.signature(content)).decode()}" for secret in secrets)


def signed_headers(
    secrets: Sequence[SigningSecret], message_id: str, timestamp: int, body: bytes, *, version: str
) -> dict[str, str]:
    """All headers of one attempt; ``version`` is ours, for the receiver's log."""
    return {
        "Content-Type": CONTENT_TYPE,
        "User-Agent": f"score-streaming-webhooks/{version}",
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: sign(secrets, message_id, timestamp, body),
    }


def verify(
    keys: Sequence[VerifyingKey],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> str:
    """The id of a message that was signed with one of the keys, now.

    Args:
        headers: of the request, names in any case.
        body: its bytes as they came; read and written again they would be others.
        now: seconds since 1970.

    Raises:
        NotVerified: it was not, or is too old, or from the future.
    """
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in _HEADERS if not given.get(name)]
    if missing:
        raise NotVerified(f"the request has no header {', '.join(missing)}")
    message, timestamp, signatures = (given[name] for name in _HEADERS)
    if not _TIMESTAMP.fullmatch(timestamp):
        raise NotVerified(f"{TIMESTAMP_HEADER} is '{timestamp[:40]}'; expected seconds since 1970")
    apart = now - int(timestamp)
    if abs(apart) > tolerance_seconds:
        raise NotVerified(
            f"{TIMESTAMP_HEADER} is {abs(apart):.0f} s {'ago' if apart > 0 else 'ahead'}; allowed are "
            f"{tolerance_seconds:.0f} s. Is the clock right?"
        )
    content = _signed(message, timestamp, body)
    for entry in signatures.split(" ")[:_MOST_SIGNATURES]:
        kind, _, encoded = entry.partition(",")
        signature = _decoded(encoded)
        # Never one kind's signature with the other kind's key: a public key would serve as a shared secret.
        if signature and any(key.kind == kind and key.fits(signature, content) for key in keys):
            return message
    raise NotVerified("no signature fits: another secret, or something else than what was sent")


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return b"%s.%s.%s" % (message_id.encode(), timestamp.encode(), body)


def _decoded(encoded: str) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except ValueError:
        return b""
