"""What can go wrong with a stream, by what its reader should do.

ScoreStreamError
└── LiveResultsError
    ├── StreamRefused   (also InvalidInput) the gateway says no to the token, the topics or the address: change them
    ├── StreamEnded     the gateway said ``bye`` and not to come back
    ├── NotNow          no answer, or not yet: come back later; a reader never sees it
    └── FrameUnreadable a frame is not as documented: come back and take everything anew; a reader never sees it
"""

from __future__ import annotations

from schemas.errors import InvalidInput, ScoreStreamError


class LiveResultsError(ScoreStreamError):
    """Root of all errors of the client."""


class StreamRefused(LiveResultsError, InvalidInput):
    """The gateway refused; the same request will be refused again.

    Attributes:
        status: the HTTP status, such as 401.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the gateway answered {status}: {detail}")
        self.status = status


class StreamEnded(LiveResultsError):
    """The gateway ended the stream for good.

    Attributes:
        reason: as in docs/wire-format.md, such as ``token_expired``.
    """

    def __init__(self, reason: str) -> None:
        remedy = "get another token" if reason == "token_expired" else "ask those who run it"
        super().__init__(f"the gateway ended the stream for good, reason '{reason}'; {remedy}")
        self.reason = reason


class NotNow(LiveResultsError):
    """No stream was to be had; later one may be.

    Attributes:
        after_seconds: for how long the gateway wants to be left alone; None when it did not say.
    """

    retriable = True

    def __init__(self, why: str, after_seconds: float | None = None) -> None:
        super().__init__(f"{why}; trying again")
        self.after_seconds = after_seconds


class FrameUnreadable(LiveResultsError):
    """A frame is not as docs/wire-format.md has it, or larger than any can be."""

    retriable = True
