"""An endpoint: an address of a district's system that wants to be told of changed results, and what it wants to be told."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.access.permissions import Grant, GroupGrant
from schemas.identifiers import OrganizationId

DEFAULT_INTERVAL_SECONDS: Final = 60
LONGEST_INTERVAL_SECONDS: Final = 86_400
DEFAULT_RATE: Final = 20.0  # deliveries a second to one endpoint


class EventType(StrEnum):
    """What an endpoint can be told of."""

    AGGREGATE_UPDATED = "aggregate.updated"
    RESULT_RESCORED = "result.rescored"
    RESULT_INVALIDATED = "result.invalidated"
    RELEASE_CHANGED = "release.changed"
    ENDPOINT_PING = (
        "endpoint.ping"  # when somebody asks for it; also the question whether an address wants all this
    )
    ENDPOINT_DISABLED = (
        "endpoint.disabled"  # said to the owner's other endpoints: this one takes nothing any more
    )


SUBSCRIBABLE: Final = (
    EventType.AGGREGATE_UPDATED,
    EventType.RESULT_RESCORED,
    EventType.RESULT_INVALIDATED,
    EventType.RELEASE_CHANGED,
)

Points = Annotated[float, Meta(gt=0, le=100)]
IntervalSeconds = Annotated[int, Meta(ge=0, le=LONGEST_INTERVAL_SECONDS)]
Rate = Annotated[float, Meta(gt=0, le=1_000)]
Description = Annotated[str, Meta(max_length=200)]
PayloadKind = Literal["thin", "full"]
SecretKind = Literal["v1", "v1a"]  # HMAC-SHA256 with a shared secret; ed25519 with a key pair


class SealedSecret(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A signing secret, encrypted under the deployment's key (``schemas.webhooks.secrets``)."""

    kind: SecretKind
    sealed: bytes
    created_ms: int
    until_ms: int | None = (
        None  # signs until then, beside its successor; None for as long as there is the endpoint
    )


class Followed(Struct, frozen=True):
    """An organization that an endpoint follows."""

    organization: OrganizationId
    below: bool = True  # and everything below it


class Endpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One endpoint as its owner wants it; the gateway writes it. How it fares is in ``EndpointState``.

    Attributes:
        subject: who made it; ``grants`` are theirs, and judged at each delivery under the roles and release states of then.
        tests, grades: only these; all without any.
        points: only when the share of students at the two highest levels has moved by so many percentage points
            since the endpoint was told last; None for every change.
        private_network: addresses that are not public are allowed, too; whether a deployment allows that is its setting.
        issuer, token_id, issued_ms: of the token that brought the grants.
        revoked_ms: a revocation reached these grants: nothing is delivered until its owner enables it with a fresh token.
    """

    id: str
    url: str
    subject: str
    grants: tuple[Grant | GroupGrant, ...]
    follows: tuple[Followed, ...]
    events: tuple[EventType, ...] = SUBSCRIBABLE
    tests: tuple[str, ...] = ()
    grades: tuple[str, ...] = ()
    points: Points | None = None
    interval_seconds: IntervalSeconds = DEFAULT_INTERVAL_SECONDS
    payload: PayloadKind = "thin"
    rate: Rate = DEFAULT_RATE
    description: Description = ""
    paused: bool = False  # by its owner: what changes meanwhile is told on resumption, the latest of it
    private_network: bool = False
    secrets: tuple[SealedSecret, ...] = ()
    issuer: str = ""
    token_id: str = ""
    issued_ms: int = 0
    revoked_ms: int | None = None
    created_ms: int = 0
    updated_ms: int = 0
    revision: int = 1


class DisabledReason(StrEnum):
    """Why nothing is delivered to an endpoint any more until somebody enables it again."""

    GONE = "gone"  # it answered 410
    FAILING = "failing"  # for five days
    REFUSED = "refused"  # it did not confirm that it wants webhooks
    ADDRESS = "address"  # its address leads where it may not
    REVOKED = "revoked"  # its owner may not see anything any more


class EndpointState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an endpoint fares; the delivering worker writes it, nobody else.

    Attributes:
        confirmed_ms: when its address said that it wants webhooks; None: it was not asked yet, or did not answer.
        failing_since_ms: of the first failure since the last success.
        not_before_ms: nothing is sent before then: the circuit is open, or it asked for time.
    """

    confirmed_ms: int | None = None
    confirmed_url: str = ""
    disabled: DisabledReason | None = None
    disabled_ms: int | None = None
    detail: str = ""
    failing_since_ms: int | None = None
    failures: int = 0  # since the last success
    not_before_ms: int = 0
    delivered: int = 0
    last_delivered_ms: int | None = None


_decode_endpoint = msgspec.json.Decoder(Endpoint).decode
_decode_state = msgspec.json.Decoder(EndpointState).decode


def decode_endpoint(stored: bytes) -> Endpoint:
    """The endpoint that Redis has.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decode_endpoint(stored)


def decode_state(stored: bytes | None) -> EndpointState:
    """Its state; that of a new one when Redis has none.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return EndpointState() if stored is None else _decode_state(stored)
