"""Release states in the demo: its districts are released, so that there is something to see, and one goes back for a while."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from cli.local_stack import LocalStack
from cli.releases.client import ReleasesClient
from cli.releases.setting import order_of
from cli.supervisor import wait_until
from cli.tokens import issue_token
from schemas.access.roles import RELEASE_ROLE
from schemas.errors import DependencyUnavailable, ScoreStreamError
from schemas.identifiers import STATE, OrganizationId
from schemas.releases import SUBJECTS, ReleaseKey, ReleaseState, Report

_KNOWN_SECONDS: Final = 15.0  # the gateway looks for new districts each second
_BACK_AFTER_SECONDS: Final = 60.0  # long enough to have opened the page
_BACK_FOR_SECONDS: Final = 10.0
_TOKEN_MINUTES: Final = 480


class DemoReleases:
    """The demo's office for release states."""

    def __init__(self, stack: LocalStack, school_year: int) -> None:
        """The stack has to run."""
        token = issue_token(
            stack.state,
            subject="demo-releases",
            roles=[RELEASE_ROLE],
            organizations=[STATE],
            minutes=_TOKEN_MINUTES,
        )
        self._client = ReleasesClient(stack.gateway_url, token)
        self._stack = stack
        self._school_year = school_year

    def release(self, districts: Iterable[OrganizationId]) -> None:
        """Release all these districts' results.

        Raises:
            DependencyUnavailable: the gateway does not come to know the districts.
        """
        wanted = set(districts)
        if not wait_until(lambda: wanted <= self._known(), _KNOWN_SECONDS, self._stack.processes):
            raise DependencyUnavailable(
                f"the gateway does not know the demo's districts; see its log in {self._stack.state.path}"
            )
        self._give(sorted(wanted), ReleaseState.RELEASED)

    def story(self, district: OrganizationId) -> Iterator[str]:
        """Take a district's results back for a while; to be asked again and again, a line when something was done."""
        back = f"District {district} is back at Reviewing; whoever may see released results only sees no more of it."
        again = f"District {district} is released again."
        for seconds, state, line in (
            (_BACK_AFTER_SECONDS, ReleaseState.REVIEWING, back),
            (_BACK_FOR_SECONDS, ReleaseState.RELEASED, again),
        ):
            due = time.monotonic() + seconds
            while time.monotonic() < due:
                yield ""
            try:
                self._give([district], state)
            except ScoreStreamError as error:
                line = f"The release state of {district} could not be changed: {error}"
            yield line

    def _known(self) -> set[OrganizationId]:
        try:
            return {OrganizationId(one.id) for one in self._client.read({}).districts}
        except DependencyUnavailable:
            return set()

    def _give(self, districts: Sequence[OrganizationId], state: ReleaseState) -> None:
        keys = [
            ReleaseKey(self._school_year, district, subject, Report.AGGREGATE)
            for district in districts
            for subject in SUBJECTS
        ]
        self._client.send(order_of(keys, state))
