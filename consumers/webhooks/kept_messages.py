"""Reading what Redis keeps of messages, and of what endpoints were told; nothing is written here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consumers.webhooks.connection import RedisClient, patiently
from schemas.webhooks import keys
from schemas.webhooks.messages import Message, Told, decode_message, decode_told


class KeptMessages:
    """Messages by id and by endpoint; waits while Redis is away, but for ``told``."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def read(self, message: str) -> Message | None:
        """One message."""
        return (await self.read_all([message]))[0]

    async def read_all(self, names: Sequence[str]) -> list[Message | None]:
        """Messages of these ids, in their order; None for those that are kept no longer."""
        if not names:
            return []

        async def ask() -> Any:
            call: Any = self._redis.hmget(keys.MESSAGES, list(names))
            return await call

        stored = await patiently(ask)
        return [None if one is None else decode_message(one) for one in stored]

    async def of(self, endpoint: str, since_ms: int, limit: int) -> Sequence[Message]:
        """An endpoint's messages made since then, oldest first, whatever became of them."""
        return await self._listed(keys.log(endpoint), since_ms, limit)

    async def dead(self, endpoint: str, since_ms: int, limit: int) -> Sequence[Message]:
        """Those that were given up."""
        return await self._listed(keys.dead(endpoint), since_ms, limit)

    async def told(self, wanted: Sequence[tuple[str, Sequence[str]]]) -> list[dict[str, Told]]:
        """What some endpoints were told last, of these fields each.

        Raises:
            RedisError, OSError: Redis is away; whoever asks decides anew what to ask for then.
        """
        asked = [(endpoint, fields) for endpoint, fields in wanted if fields]
        replies: list[Any] = []
        if asked:
            pipe: Any = self._redis.pipeline(transaction=False)
            for endpoint, fields in asked:
                pipe.hmget(keys.told(endpoint), list(fields))
            replies = await pipe.execute()
        answers = iter(replies)
        found: list[dict[str, Told]] = []
        for _, fields in wanted:
            reply = next(answers) if fields else ()
            found.append(
                {
                    field: decode_told(stored)
                    for field, stored in zip(fields, reply, strict=True)
                    if stored is not None
                }
            )
        return found

    async def _listed(self, key: str, since_ms: int, limit: int) -> Sequence[Message]:
        async def ask() -> Any:
            return await self._redis.zrangebyscore(key, since_ms, "+inf", start=0, num=limit)

        names = await patiently(ask)
        return [one for one in await self.read_all([name.decode() for name in names]) if one is not None]
