"""How many endpoints there may be: in a deployment, and of one subject."""

from __future__ import annotations

from gateway.tokens import Principal
from gateway.webhooks.permitted import is_owner
from gateway.webhooks.settings import WebhookSettings
from gateway.webhooks.store import Known
from schemas.errors import ScoreStreamError


class NotNow(ScoreStreamError):
    """What is asked for does not fit what there is; the message says what to do about it."""


class Room:
    """The limits of a deployment."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings

    def check(self, principal: Principal, known: Known) -> None:
        """Let pass one more endpoint of somebody.

        Raises:
            NotNow: there are too many already, of theirs or in all.
        """
        if len(known.endpoints) >= self._settings.most:
            raise NotNow(
                f"This deployment has {self._settings.most:,} webhook endpoints, the most it keeps; its operators can raise "
                "SCORES_WEBHOOKS_MOST."
            )
        self.check_own(principal, known)

    def check_own(self, principal: Principal, known: Known) -> None:
        """Let pass that somebody's endpoints become one more, by taking over another's.

        Raises:
            NotNow: they have too many already.
        """
        own = sum(is_owner(principal, one) for one in known.endpoints.values())
        if own >= self._settings.per_subject:
            raise NotNow(
                f"You have {own} webhook endpoints, the most that one subject may have; delete one, or let one follow more "
                "organizations."
            )
