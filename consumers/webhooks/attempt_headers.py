"""The headers of one attempt: signed with every secret of the endpoint that is in force."""

from __future__ import annotations

from schemas.errors import InvalidInput
from schemas.webhooks.endpoints import Endpoint, SealedSecret
from schemas.webhooks.messages import Message
from schemas.webhooks.secrets import SecretBox, SigningSecret, in_force
from schemas.webhooks.signing import signed_headers


class NothingToSignWith(InvalidInput):
    """None of an endpoint's secrets is in force; its owner rotates them."""


class Signer:
    """Signs for all endpoints. Keeps what it unsealed, for unsealing takes longer than signing."""

    def __init__(self, box: SecretBox, version: str) -> None:
        self._box = box
        self._version = version
        self._unsealed: dict[str, dict[SealedSecret, SigningSecret]] = {}

    def headers(self, endpoint: Endpoint, message: Message, now_ms: int) -> dict[str, str]:
        """All headers of an attempt that begins now.

        Raises:
            InvalidInput: a secret was sealed under another key than this deployment's, or there is none.
        """
        sealed = in_force(endpoint.secrets, now_ms)
        if not sealed:
            raise NothingToSignWith(
                f"endpoint {endpoint.id} has no secret in force; `scores webhooks rotate {endpoint.id}` makes one"
            )
        kept = self._unsealed.get(endpoint.id, {})
        if kept.keys() != set(sealed):
            kept = {one: kept.get(one) or self._box.unseal(one, endpoint=endpoint.id) for one in sealed}
            self._unsealed[endpoint.id] = kept
        # In the order of the endpoint's, not of a set: the newest secret's signature may be looked for first.
        secrets = [kept[one] for one in sealed]
        return signed_headers(secrets, message.id, now_ms // 1000, message.body, version=self._version)

    def forget(self, endpoint: str) -> None:
        """The endpoint is no more."""
        self._unsealed.pop(endpoint, None)
