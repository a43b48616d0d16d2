"""Who watches: four clients that share no code, and the programs that they need."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from cli.simulator.county import County
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, district_of
from tests.e2e.browser import chromium
from tests.watching.browser_client import BrowserClient
from tests.watching.clients import ClientFactory, Watch
from tests.watching.curl_client import CurlClient
from tests.watching.httpx_client import HttpxClient
from tests.watching.node_client import NodeClient, installed

BROWSER: Final = "EventSource in Chromium"
NODE: Final = "npm eventsource"
HTTPX: Final = "httpx-sse"
CURL: Final = "curl"
NAMES: Final = (BROWSER, NODE, HTTPX, CURL)

_PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    NODE: ("node", "npm"),
    CURL: ("bash", "curl", "awk"),
}


def missing_programs(clients: Collection[str]) -> list[str]:
    """What these clients need and this machine does not have."""
    missing = [
        program for name in clients for program in _PROGRAMS.get(name, ()) if not shutil.which(program)
    ]
    if BROWSER in clients and chromium() is None:
        missing.append("chromium")
    return missing


def factories(clients: Collection[str], folder: Path) -> dict[str, ClientFactory]:
    """How each is made.

    Raises:
        InvalidInput: a program is missing.
        ServerFailed: a package could not be installed.
    """
    if missing := missing_programs(clients):
        raise InvalidInput(
            f"The clients need {', '.join(missing)}; install what is missing, or choose others with --client."
        )
    made: dict[str, ClientFactory] = {BROWSER: BrowserClient, HTTPX: HttpxClient, CURL: CurlClient}
    if NODE in clients:
        packages = installed(folder)
        made[NODE] = lambda gateway, token, followed: NodeClient(gateway, token, followed, packages)
    return {name: made[name] for name in NAMES if name in clients}


def watches(county: County) -> tuple[OrganizationId, list[Watch]]:
    """A busy district, and what is watched of it: itself with one school by name, and all its schools as a subtree."""
    first = county.schools[0].cds
    district = district_of(first)
    schools = [school.cds for school in county.schools if district_of(school.cds) == district]
    return district, [
        Watch("a district and a school", [f"district/{district}", f"school/{first}"], [district, first]),
        Watch("the schools of the district", [f"district/{district}/schools"], schools),
    ]
