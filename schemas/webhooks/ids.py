"""Names on the wire: of messages, of endpoints, and the token by which an address says that it wants webhooks.

A message's id is made of its content, so whoever makes the same message again after a crash gives it the same id, and the
receiver, to whom ids are the key by which it passes over what it had before, takes it once.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode
from typing import Final

from schemas.environment import Secret

CONFIRMATION_HEADER: Final = "webhook-confirmation"

# 27 characters of base32 are 135 bits. Ids have no full stop, because that separates the parts of what is signed.
_ID_CHARACTERS: Final = 27
_CONFIRMATION_CONTEXT: Final = b"webhook confirmation\0"


def message_id(endpoint: str, body: bytes) -> str:
    """The id of the message that tells an endpoint this: ``msg_`` and 27 letters and digits."""
    digest = hashlib.sha256(endpoint.encode() + b"\0" + body).digest()
    return "msg_" + _base32(digest)[:_ID_CHARACTERS]


def endpoint_id(entropy: bytes) -> str:
    """A new endpoint's id, from 16 random bytes: ``ep_`` and 26 letters and digits."""
    return "ep_" + _base32(entropy)


def confirmation_token(key: Secret, endpoint: str, url: str) -> str:
    """What an endpoint's address must answer to show that whoever made the endpoint has a say there.

    Always the same for an endpoint and an address, so it need not be stored; under the deployment's key, so nobody can
    tell it who has not received it.
    """
    asked = b"\0".join((_CONFIRMATION_CONTEXT, endpoint.encode(), url.encode()))
    return "cfm_" + _base32(hmac.digest(key.reveal(), asked, "sha256"))[:_ID_CHARACTERS]


def confirms(token: str, header: str | None, answer: str) -> bool:
    """Whether an address has answered the token: in the header ``webhook-confirmation``, or as all of its body."""
    told = (header or "").strip(), answer.strip()
    return any(hmac.compare_digest(token.encode(), one.encode(errors="replace")) for one in told)


def _base32(value: bytes) -> str:
    return b32encode(value).decode().rstrip("=").lower()
