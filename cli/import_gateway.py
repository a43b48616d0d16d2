"""The import endpoint of a gateway, as ``scores import`` uses it: batches out, outcomes back, patience in between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from cli.exam_sources import ExamDocument
from cli.gateway_client import detail_of, gateway_client
from schemas.errors import DependencyUnavailable, InvalidInput

_PATH: Final = "/v1/exams/imports"
_RETRIED: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_PAUSE_SECONDS: Final = 2.0  # between attempts, when the answer does not say
_LONGEST_PAUSE_SECONDS: Final = 30.0


class Fault(msgspec.Struct, frozen=True):
    """One fault of a document."""

    element: str
    value: str
    error: str


class Imported(msgspec.Struct, frozen=True):
    """What became of one document."""

    status: str
    code: int
    errors: tuple[Fault, ...] = ()


class Summary(msgspec.Struct, frozen=True):
    """What became of one batch, in numbers."""

    accepted: int
    duplicate: int
    parked: int
    rejected: dict[str, int]


class BatchAnswer(msgspec.Struct, frozen=True):
    """The answer to one batch; ``imports`` in the order of its documents."""

    imports: tuple[Imported, ...]
    summary: Summary


_decode_answer: Final = msgspec.json.Decoder(BatchAnswer).decode


class ImportGateway:
    """One gateway, one token; may be used from several threads."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        patience_seconds: float = 300.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Nothing is sent yet.

        Raises:
            InvalidInput: this cannot be the address of a gateway, or a token.
        """
        self._client = gateway_client(url, token, transport)
        self._url = url.rstrip("/")
        self._patience_seconds = patience_seconds
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def check(self) -> None:
        """Make sure that there is a gateway which takes imports with this token, before anything is read.

        Raises:
            DependencyUnavailable: nobody answers there.
            InvalidInput: the token is refused, or this is no gateway.
        """
        try:
            response = self._client.get(_PATH)
        except httpx.TransportError as error:
            raise DependencyUnavailable(
                f"no gateway answers at {self._url} ({error}); start one with `scores up`, or name it with --gateway"
            ) from None
        # Asking for a batch without naming one is refused with 400, after the token was looked at.
        if response.status_code != HTTPStatus.BAD_REQUEST:
            raise self._refusal(response)

    def send(self, documents: Sequence[ExamDocument], batch: str | None) -> BatchAnswer | None:
        """Submit documents in one request, again while the gateway cannot store them.

        Returns None when the gateway finds the request too large.

        Raises:
            DependencyUnavailable: the gateway could not store them for the whole of our patience.
            InvalidInput: the gateway refuses the request, e.g. because the token has expired.
        """
        files = [("file", (document.name, document.data, document.content_type)) for document in documents]
        parameters = {"batch": batch} if batch else {}
        deadline = time.monotonic() + self._patience_seconds
        while True:
            trouble, pause = self._attempt(files, parameters)
            if isinstance(trouble, httpx.Response):
                if trouble.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                    return None
                if trouble.status_code == HTTPStatus.ACCEPTED:
                    return self._answer(trouble, len(documents))
                raise self._refusal(trouble)
            if time.monotonic() + pause > deadline:
                raise DependencyUnavailable(
                    f"the gateway at {self._url} could not store results for {self._patience_seconds:g} s ({trouble}); "
                    "run the same command again later: what was accepted is recognized"
                )
            self._sleep(pause)

    def _attempt(self, files: Any, parameters: dict[str, str]) -> tuple[httpx.Response | str, float]:
        """The answer, or what is in the way and how long to wait before the next attempt."""
        pause = _PAUSE_SECONDS
        try:
            response = self._client.post(_PATH, params=parameters, files=files)
        except httpx.TransportError as error:
            trouble = str(error) or type(error).__name__
        else:
            if response.status_code not in _RETRIED:
                return response, 0.0
            said = response.headers.get("retry-after", "")
            pause = min(float(said), _LONGEST_PAUSE_SECONDS) if said.isdecimal() else pause
            trouble = detail_of(response)
        # Not all senders that were turned away together come back together.
        return trouble, pause * random.uniform(1.0, 1.3)

    def _answer(self, response: httpx.Response, documents: int) -> BatchAnswer:
        try:
            answer = _decode_answer(response.content)
        except msgspec.DecodeError as error:
            raise InvalidInput(
                f"the answer of {self._url} is not a gateway's ({error}); check --gateway"
            ) from None
        if len(answer.imports) != documents:
            raise InvalidInput(
                f"{self._url} answered for {len(answer.imports)} of {documents} documents; check --gateway"
            )
        return answer

    def _refusal(self, response: httpx.Response) -> InvalidInput | DependencyUnavailable:
        status = response.status_code
        said = f"{self._url} answered {status}: {detail_of(response)}"
        if status == HTTPStatus.UNAUTHORIZED:
            return InvalidInput(f"the token is refused; get a new one (--token or SCORES_TOKEN). {said}")
        if status == HTTPStatus.FORBIDDEN:
            return InvalidInput(
                f"the token may not import; it takes one with the role ASMTDATALOAD (--token or SCORES_TOKEN). {said}"
            )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return DependencyUnavailable(f"the gateway cannot import just now. {said}")
        return InvalidInput(f"this is not the import endpoint of a gateway, or another version's. {said}")
