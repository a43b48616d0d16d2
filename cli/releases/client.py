"""The release states of a gateway, as the commands use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from cli.gateway_client import GatewayClient, detail_of
from gateway.releases.answers import ChangesAnswer, ReleasesAnswer
from gateway.releases.changing import RELEASES_PATH
from gateway.releases.wanted import Fault
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.releases import ReleaseKey, ReleaseState

_FAULTS_SHOWN: Final = 200


class _Problem(Struct, frozen=True):
    detail: str = ""
    errors: tuple[Fault, ...] = ()


class ReleasesClient(GatewayClient):
    """One gateway, one token."""

    def read(self, asked: Mapping[str, Sequence[str]]) -> ReleasesAnswer:
        """The states that the token's holder may know, narrowed by year, district, subject, report.

        Raises:
            InvalidInput: something that is asked for is not there, or not open to this token.
            DependencyUnavailable: no gateway answers, or it cannot answer now.
        """
        return self.decoded(self.ask("GET", RELEASES_PATH, params=_parameters(asked)), ReleasesAnswer)

    def export(self, asked: Mapping[str, Sequence[str]]) -> bytes:
        """The same as CSV.

        Raises:
            InvalidInput, DependencyUnavailable: as for ``read``.
        """
        return self.ask("GET", RELEASES_PATH + ".csv", params=_parameters(asked)).content

    def put(self, key: ReleaseKey, state: ReleaseState) -> ChangesAnswer:
        """Change one state.

        Raises:
            InvalidInput: the token may not; the message names the permission that it lacks.
            DependencyUnavailable: as for ``read``.
        """
        response = self.ask("PUT", f"{RELEASES_PATH}/{key.path}", json={"state": state.word})
        return self.decoded(response, ChangesAnswer)

    def send(self, data: bytes) -> ChangesAnswer:
        """Change all states that a CSV file names, or none.

        Raises:
            InvalidInput: the file has faults, or the token may not change all of it; every fault with its line.
            DependencyUnavailable: as for ``read``.
        """
        headers = {"Content-Type": "text/csv"}
        response = self.ask("POST", RELEASES_PATH + "/import", content=data, headers=headers)
        return self.decoded(response, ChangesAnswer)

    def refusal(self, response: httpx.Response) -> InvalidInput | DependencyUnavailable:
        """As everywhere; of a file that is refused, every fault with its line."""
        try:
            faults = msgspec.json.decode(response.content, type=_Problem).errors
        except msgspec.MsgspecError:
            faults = ()
        if not faults:
            return super().refusal(response)
        lines = [_fault_line(fault) for fault in faults[:_FAULTS_SHOWN]]
        if len(faults) > len(lines):
            lines.append(f"... and {len(faults) - len(lines)} more")
        return InvalidInput("\n".join([detail_of(response), *lines]))


def _parameters(asked: Mapping[str, Sequence[str]]) -> httpx.QueryParams:
    return httpx.QueryParams([(name, value) for name, values in asked.items() for value in values])


def _fault_line(fault: Fault) -> str:
    where = f"line {fault.line}" + (f", {fault.field}" if fault.field else "")
    return f"  {where}: {fault.error}"
