"""Where a request's scope says who asks."""

from __future__ import annotations

from typing import Final

PRINCIPAL: Final = "scores.principal"  # a verified principal; whoever notes the request finds it there
