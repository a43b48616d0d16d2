"""The release states of a gateway, as the commands use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from cli.gateway_client import detail_of, gateway_client
from gateway.releases.answers import ChangesAnswer, ReleasesAnswer
from gateway.releases.changing import RELEASES_PATH
from gateway.releases.wanted import Fault
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.releases import ReleaseKey, ReleaseState

_FAULTS_SHOWN: Final = 200

T = TypeVar("T")


class _Problem(Struct, frozen=True):
    detail: str = ""
    errors: tuple[Fault, ...] = ()


class ReleasesClient:
    """One gateway, one token."""

    def __init__(self, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        """Nothing is sent yet.

        Raises:
            InvalidInput: this cannot be the address of a gateway, or a token.
        """
        self._client = gateway_client(url, token, transport)
        self._url = url.rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def read(self, asked: Mapping[str, Sequence[str]]) -> ReleasesAnswer:
        """The states that the token's holder may know, narrowed by year, district, subject, report.

        Raises:
            InvalidInput: something that is asked for is not there, or not open to this token.
            DependencyUnavailable: no gateway answers, or it cannot answer now.
        """
        return self._read(self._ask("GET", RELEASES_PATH, params=_parameters(asked)), ReleasesAnswer)

    def export(self, asked: Mapping[str, Sequence[str]]) -> bytes:
        """The same as CSV.

        Raises:
            InvalidInput, DependencyUnavailable: as for ``read``.
        """
        return self._ask("GET", RELEASES_PATH + ".csv", params=_parameters(asked)).content

    def put(self, key: ReleaseKey, state: ReleaseState) -> ChangesAnswer:
        """Change one state.

        Raises:
            InvalidInput: the token may not; the message names the permission that it lacks.
            DependencyUnavailable: as for ``read``.
        """
        response = self._ask("PUT", f"{RELEASES_PATH}/{key.path}", json={"state": state.word})
        return self._read(response, ChangesAnswer)

    def send(self, data: bytes) -> ChangesAnswer:
        """Change all states that a CSV file names, or none.

        Raises:
            InvalidInput: the file has faults, or the token may not change all of it; every fault with its line.
            DependencyUnavailable: as for ``read``.
        """
        headers = {"Content-Type": "text/csv"}
        response = self._ask("POST", RELEASES_PATH + "/import", content=data, headers=headers)
        return self._read(response, ChangesAnswer)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: httpx.QueryParams | None = None,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            response = self._client.request(
                method, path, params=params, json=json, content=content, headers=headers
            )
        except httpx.TransportError as error:
            raise DependencyUnavailable(
                f"no gateway answers at {self._url} ({error}); start one with `scores up`, or name it with --gateway"
            ) from None
        if response.is_success:
            return response
        raise self._refusal(response)

    def _refusal(self, response: httpx.Response) -> InvalidInput | DependencyUnavailable:
        status, said = response.status_code, detail_of(response)
        try:
            faults = msgspec.json.decode(response.content, type=_Problem).errors
        except msgspec.MsgspecError:
            faults = ()
        if faults:
            lines = [_fault_line(fault) for fault in faults[:_FAULTS_SHOWN]]
            if len(faults) > len(lines):
                lines.append(f"... and {len(faults) - len(lines)} more")
            return InvalidInput("\n".join([said, *lines]))
        if status == HTTPStatus.UNAUTHORIZED:
            return InvalidInput(f"the token is refused; get a new one (--token or SCORES_TOKEN): {said}")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return DependencyUnavailable(f"{self._url} answered {status}: {said}")
        return InvalidInput(said)

    def _read(self, response: httpx.Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"the answer of {self._url} is not a gateway's ({error}); check --gateway"
            ) from None


def _parameters(asked: Mapping[str, Sequence[str]]) -> httpx.QueryParams:
    return httpx.QueryParams([(name, value) for name, values in asked.items() for value in values])


def _fault_line(fault: Fault) -> str:
    where = f"line {fault.line}" + (f", {fault.field}" if fault.field else "")
    return f"  {where}: {fault.error}"
