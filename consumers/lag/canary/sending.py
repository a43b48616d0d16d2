"""The canary's requests to the gateway: those of any sender and any owner of a webhook, with its own token."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec
from msgspec import Struct

from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.identifiers import OrganizationId
from schemas.webhooks.secrets import VerifyingKey, verifying_key

_IMPORTS: Final = "/v1/exams/imports"
_ENDPOINTS: Final = "/v1/webhooks/endpoints"
_TIMEOUT: Final = httpx.Timeout(10.0)

T = TypeVar("T")


class _Taken(Struct):
    status: str
    errors: list[dict[str, Any]] = []


class _Listed(Struct):
    class Endpoint(Struct):
        id: str
        description: str

    endpoints: list[Endpoint]


class _Made(Struct):
    class Secret(Struct):
        secret: str

    secrets: list[Secret]


class CanarySender:
    """One gateway, and a file with a token, read again at each request: whoever renews it just writes it."""

    def __init__(self, url: str, token_file: Path, http: httpx.AsyncClient) -> None:
        self._url = url
        self._token_file = token_file
        self._http = http

    async def token(self) -> str:
        """The token as it is now.

        Raises:
            InvalidInput: the file cannot be read.
        """
        try:
            return (await asyncio.to_thread(self._token_file.read_text)).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"SCORES_CANARY_TOKEN_FILE is '{self._token_file}', which cannot be read: {error}; put a token with the "
                "role CANARY there"
            ) from error

    async def send(self, document: bytes) -> None:
        """Import a document; returns when the gateway has taken it.

        Raises:
            InvalidInput: it was refused.
            DependencyUnavailable: the gateway does not answer, or not now.
        """
        taken = await self._asked("POST", _IMPORTS, _Taken, document)
        if taken.status != "ACCEPTED":
            fault = taken.errors[0].get("error", "") if taken.errors else ""
            raise InvalidInput(f"the gateway answered the canary's exam {taken.status}: {fault}")

    async def receive_at(self, url: str, school: OrganizationId, description: str) -> list[VerifyingKey]:
        """Have webhooks of one school sent to an address; what verifies them. An endpoint of an earlier run goes.

        Raises:
            InvalidInput, DependencyUnavailable: as ``send``.
        """
        listed = await self._asked("GET", f"{_ENDPOINTS}?limit=1000", _Listed)
        for endpoint in listed.endpoints:
            if endpoint.description == description:
                await self._answer("DELETE", f"{_ENDPOINTS}/{endpoint.id}")
        wanted = {
            "url": url,
            "follows": [{"organization": school, "below": False}],
            "events": ["aggregate.updated"],
            "interval_seconds": 0,
            "payload": "full",  # the score tells which canary it is
            "private_network": True,
            "description": description,
        }
        made = await self._asked("POST", _ENDPOINTS, _Made, msgspec.json.encode(wanted))
        return [verifying_key(one.secret) for one in made.secrets]

    async def _asked(self, method: str, path: str, kind: type[T], body: bytes | None = None) -> T:
        answer = await self._answer(method, path, body)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise DependencyUnavailable(f"{self._url} answered something else than a gateway does") from error

    async def _answer(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {await self.token()}", "Content-Type": "application/json"}
        try:
            answer = await self._http.request(
                method, self._url + path, content=body, headers=headers, timeout=_TIMEOUT
            )
        except httpx.RequestError as error:
            raise DependencyUnavailable(f"no answer from {self._url}: {type(error).__name__}") from error
        if answer.status_code >= 500 or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise DependencyUnavailable(f"{self._url} answered {answer.status_code}")
        if answer.is_error:
            raise InvalidInput(f"the gateway refused the canary, {answer.status_code}: {answer.text[:300]}")
        return answer.content
