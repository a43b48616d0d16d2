"""What ``/v1/releases`` takes and answers, for whoever writes it, describes it or reads it back."""

from __future__ import annotations

from msgspec import Struct


class ReleaseOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The state that is wanted: loading, reviewing or released."""

    state: str


class ListedDistrict(Struct, frozen=True):
    """A district whose release states the caller may know."""

    id: str
    name: str


class ListedState(Struct, frozen=True):
    """One release state that was set."""

    school_year: int
    district: str
    subject: str
    report: str
    state: str


class ReleasesAnswer(Struct, frozen=True):
    """The release states that the caller may know.

    Attributes:
        version: grows with every change of any state.
        changed: when the last change was.
        unlisted: the state of everything that is not in ``releases``.
    """

    version: str
    changed: str | None
    unlisted: str
    districts: tuple[ListedDistrict, ...]
    releases: tuple[ListedState, ...]


class ChangedState(Struct, frozen=True):
    """One release state that was changed."""

    school_year: int
    district: str
    subject: str
    report: str
    before: str
    state: str


class ChangesAnswer(Struct, frozen=True, omit_defaults=True):
    """What became of an order.

    Attributes:
        unchanged: how many had the wanted state before.
        applied: whether streams and requests show it already.
    """

    changed: tuple[ChangedState, ...]
    unchanged: int
    applied: bool
    detail: str = ""
