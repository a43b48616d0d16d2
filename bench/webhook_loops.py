"""What one would write first: a loop that signs and posts, with httpx or aiohttp. It keeps nothing, so it loses everything.

In a process of its own, like the worker that it is compared with.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

import aiohttp
import httpx
from standardwebhooks.webhooks import Webhook

_AT_ONCE: Final = 100  # httpx's own limit of connections; more made neither loop faster
_TIMEOUT_SECONDS: Final = 15.0

Post = Callable[[str, bytes, dict[str, str]], Awaitable[int]]


class Looped(NamedTuple):
    """How a loop fared."""

    seconds: float
    cpu_seconds: float
    refused: int  # answered otherwise than with 2xx


def looped(name: str, urls: Sequence[str], secret: str, body: bytes, messages: int) -> Looped:
    """So many messages, to the addresses in turn, with ``httpx`` or ``aiohttp``."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, name, list(urls), secret, body, messages), daemon=True
    )
    process.start()
    theirs.close()
    try:
        found: Looped = pipe.recv()
        return found
    finally:
        process.join()
        pipe.close()


def _serve(pipe: Connection, name: str, urls: Sequence[str], secret: str, body: bytes, messages: int) -> None:
    loop = {"httpx": _with_httpx, "aiohttp": _with_aiohttp}[name]
    pipe.send(asyncio.run(loop(urls, secret, body, messages)))


async def _with_httpx(urls: Sequence[str], secret: str, body: bytes, messages: int) -> Looped:
    limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
    async with httpx.AsyncClient(limits=limits, timeout=_TIMEOUT_SECONDS, trust_env=False) as client:

        async def post(url: str, content: bytes, headers: dict[str, str]) -> int:
            return (await client.post(url, content=content, headers=headers)).status_code

        return await _timed(post, urls, secret, body, messages)


async def _with_aiohttp(urls: Sequence[str], secret: str, body: bytes, messages: int) -> Looped:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=_AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def post(url: str, content: bytes, headers: dict[str, str]) -> int:
            async with session.post(url, data=content, headers=headers) as answer:
                await answer.read()
                return answer.status

        return await _timed(post, urls, secret, body, messages)


async def _timed(post: Post, urls: Sequence[str], secret: str, body: bytes, messages: int) -> Looped:
    jobs = iter(range(messages))
    webhook = Webhook(secret)
    began, cpu = time.perf_counter(), time.process_time()
    refused = await asyncio.gather(*(_work(post, urls, webhook, body, jobs) for _ in range(_AT_ONCE)))
    return Looped(time.perf_counter() - began, time.process_time() - cpu, sum(refused))


async def _work(post: Post, urls: Sequence[str], webhook: Webhook, body: bytes, jobs: Iterator[int]) -> int:
    refused = 0
    text = body.decode()
    for number in jobs:
        now = datetime.now(UTC)
        identity = f"msg_{number}"
        headers = {
            "webhook-id": identity,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": webhook.sign(identity, now, text),
            "content-type": "application/json",
        }
        status = await post(urls[number % len(urls)], body, headers)
        refused += not 200 <= status < 300
    return refused
