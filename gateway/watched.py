"""What a stream is about: a subscription as its stream needs it, and the mark that ids carry of it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2s
from typing import Protocol

from gateway.cell_filter import CellFilter
from gateway.images import View
from gateway.tokens import Principal
from schemas.organization_list import OrganizationList


class Watched(Protocol):
    """A subscription as its stream needs it."""

    @property
    def follows_directory(self) -> bool:
        """Whether a change of the directory can change the views."""

    def views(self, principal: Principal, organizations: OrganizationList) -> tuple[View, ...]:
        """What is watched, each organization once; Forbidden or InvalidInput when it may not be."""

    def views_now(self, principal: Principal, organizations: OrganizationList) -> tuple[View, ...]:
        """The same for an open stream: what may not be, or is no more, is left out."""

    def open_to(self, principal: Principal) -> bool:
        """Whether a stream may go on in this name."""

    def described(self) -> dict[str, object]:
        """What was asked for, as the subscriber is told."""


def mark_of(views: Iterable[View]) -> str:
    """Ten hexadecimal digits that name some views, in whatever order they stand.

    An id with it resumes only streams of the same views; one without is taken at its word.
    """
    named = sorted(" ".join((view.organization, view.visibility, *_filter(view.cells))) for view in views)
    return blake2s("\n".join(named).encode(), digest_size=5).hexdigest()


def _filter(cells: CellFilter) -> Iterable[str]:
    for values in (cells.years, cells.tests, cells.grades):
        yield "*" if values is None else ",".join(sorted(map(str, values)))
