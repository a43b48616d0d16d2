"""What ``/v1/webhooks`` answers, for whoever writes it, describes it or reads it back. No secret but in ``IssuedSecret``."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from schemas.figures import rfc3339
from schemas.organization_list import OrganizationList
from schemas.webhooks.endpoints import DisabledReason, Endpoint, EndpointState, EventType, SecretKind
from schemas.webhooks.messages import Attempt, Message, MessageState

Status = Literal["active", "unconfirmed", "failing", "paused", "disabled"]

_HIDDEN_QUERY: Final = "?..."
_MARKUP: Final = "<>&"


class ShownFollow(Struct, frozen=True):
    """An organization that is followed."""

    organization: str
    name: str
    below: bool


class ShownSecret(Struct, frozen=True):
    """A secret that signs: when it was made, and until when it does; which it is, is not told again."""

    kind: SecretKind
    created: str
    until: str | None


class ShownEndpoint(Struct, frozen=True, kw_only=True):
    """An endpoint, and how it fares.

    Attributes:
        owner: in whose name it is told.
        url: to others than its owner without the query, where secrets may be.
        status: active; unconfirmed: its address has not said yet that it wants webhooks; failing: the last attempt failed;
            paused, by its owner; disabled: nothing is delivered until somebody enables it again.
        failing_since: of the first failure since the last success.
        not_before: nothing is sent before then.
    """

    id: str
    owner: str
    url: str
    description: str
    follows: tuple[ShownFollow, ...]
    events: tuple[EventType, ...]
    tests: tuple[str, ...]
    grades: tuple[str, ...]
    points: float | None
    interval_seconds: int
    payload: str
    rate: float
    private_network: bool
    paused: bool
    secrets: tuple[ShownSecret, ...]
    created: str
    updated: str
    revision: int
    status: Status
    confirmed: str | None
    disabled: DisabledReason | None
    disabled_at: str | None
    detail: str
    failing_since: str | None
    failures: int
    not_before: str | None
    delivered: int
    last_delivered: str | None


class ShownEndpoints(Struct, frozen=True):
    """Several endpoints, by id; ``next`` is what to ask for the following ones ``after``."""

    endpoints: tuple[ShownEndpoint, ...]
    next: str | None


class IssuedSecret(Struct, frozen=True):
    """A secret as it is shown, once: ``whsec_...``, or the public key of a pair, ``whpk_...``."""

    kind: SecretKind
    secret: str

    def __repr__(self) -> str:
        return f"IssuedSecret({self.kind}, hidden)"


class IssuedEndpoint(Struct, frozen=True):
    """An endpoint with the secrets that have just been made for it. Keep them: they are not shown again."""

    endpoint: ShownEndpoint
    secrets: tuple[IssuedSecret, ...]


class ShownAttempt(Struct, frozen=True):
    """One attempt to deliver; ``response`` is the beginning of what the receiver answered, with escapes for all but text."""

    at: str
    latency_ms: int
    status: int | None
    error: str
    response: str
    next: str | None


class ShownMessage(Struct, frozen=True, kw_only=True):
    """A message without its body, which is results: its SHA-256 says whether a receiver had this very one."""

    id: str
    type: EventType
    organization: str | None
    version: int
    created: str
    state: MessageState
    detail: str
    attempted: int
    next: str | None
    finished: str | None
    bytes: int
    sha256: str


class ShownMessages(Struct, frozen=True):
    """Several messages, the latest first; ``next`` is what to ask for the earlier ones, as ``until``."""

    messages: tuple[ShownMessage, ...]
    next: str | None


class MessageWithAttempts(Struct, frozen=True):
    """A message and the latest attempts to deliver it, the first of them first."""

    message: ShownMessage
    attempts: tuple[ShownAttempt, ...]


class AcceptedOrder(Struct, frozen=True):
    """Taken; the delivering worker carries it out. ``delivering`` is false when there is none just now."""

    order: str
    delivering: bool


class Viewed(NamedTuple):
    """Whose view it is, and of when."""

    is_owner: bool
    now_ms: int


def shown_endpoint(
    endpoint: Endpoint, state: EndpointState, known: OrganizationList, viewed: Viewed
) -> ShownEndpoint:
    """An endpoint as somebody may see it."""
    path, query, _ = endpoint.url.partition("?")
    disabled = DisabledReason.REVOKED if endpoint.revoked_ms is not None else state.disabled
    confirmed = state.confirmed_ms if state.confirmed_url == endpoint.url else None
    disabled_ms = state.disabled_ms if endpoint.revoked_ms is None else endpoint.revoked_ms
    return ShownEndpoint(
        id=endpoint.id,
        owner=endpoint.subject,
        url=endpoint.url if viewed.is_owner or not query else path + _HIDDEN_QUERY,
        description=endpoint.description,
        follows=tuple(
            ShownFollow(one.organization, known.summary(one.organization).name, one.below)
            for one in endpoint.follows
        ),
        events=endpoint.events,
        tests=endpoint.tests,
        grades=endpoint.grades,
        points=endpoint.points,
        interval_seconds=endpoint.interval_seconds,
        payload=endpoint.payload,
        rate=endpoint.rate,
        private_network=endpoint.private_network,
        paused=endpoint.paused,
        secrets=tuple(
            ShownSecret(one.kind, rfc3339(one.created_ms), _moment(one.until_ms))
            for one in endpoint.secrets
            if one.until_ms is None or one.until_ms > viewed.now_ms
        ),
        created=rfc3339(endpoint.created_ms),
        updated=rfc3339(endpoint.updated_ms),
        revision=endpoint.revision,
        status=_status(endpoint, state, disabled),
        confirmed=_moment(confirmed),
        disabled=disabled,
        disabled_at=_moment(disabled_ms) if disabled is not None else None,
        detail=escaped(state.detail),
        failing_since=_moment(state.failing_since_ms),
        failures=state.failures,
        not_before=_moment(state.not_before_ms) if state.not_before_ms > viewed.now_ms else None,
        delivered=state.delivered,
        last_delivered=_moment(state.last_delivered_ms),
    )


def shown_message(message: Message) -> ShownMessage:
    """A message as whoever looks after its endpoint may see it."""
    return ShownMessage(
        id=message.id,
        type=message.type,
        organization=message.organization,
        version=message.version,
        created=rfc3339(message.created_ms),
        state=message.state,
        detail=escaped(message.detail),
        attempted=message.attempted,
        next=_moment(message.next_ms),
        finished=_moment(message.finished_ms),
        bytes=len(message.body),
        sha256=sha256(message.body).hexdigest(),
    )


def shown_attempts(attempts: Iterable[Attempt]) -> tuple[ShownAttempt, ...]:
    """Attempts as whoever looks after the endpoint may see them."""
    return tuple(
        ShownAttempt(
            rfc3339(one.at_ms),
            one.latency_ms,
            one.status,
            escaped(one.error),
            escaped(one.response),
            _moment(one.next_ms),
        )
        for one in attempts
    )


def escaped(text: str) -> str:
    """A text from outside with nothing in it that moves a cursor, turns a line around or begins a page's element."""
    return "".join(
        letter if letter.isprintable() and letter not in _MARKUP else f"\\u{{{ord(letter):x}}}"
        for letter in text
    )


def _status(endpoint: Endpoint, state: EndpointState, disabled: DisabledReason | None) -> Status:
    if disabled is not None:
        return "disabled"
    if endpoint.paused:
        return "paused"
    if state.confirmed_ms is None or state.confirmed_url != endpoint.url:
        return "unconfirmed"
    return "failing" if state.failing_since_ms is not None else "active"


def _moment(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else rfc3339(milliseconds)
