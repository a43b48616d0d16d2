"""``scores webhooks``: pages are read to their end, refusals are sentences, ids are ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from cli.webhooks.client import WebhooksClient
from gateway.webhooks.answers import IssuedSecret, ShownMessage, ShownMessages
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.messages import MessageState


def client(answer: Callable[[httpx.Request], httpx.Response]) -> WebhooksClient:
    return WebhooksClient("http://gateway.test", "a-token", httpx.MockTransport(answer))


def message(number: int) -> ShownMessage:
    return ShownMessage(
        id=f"msg_{number}",
        type=EventType.AGGREGATE_UPDATED,
        organization=None,
        version=number,
        created="2026-05-04T12:00:00.000Z",
        state=MessageState.DELIVERED,
        detail="",
        attempted=1,
        next=None,
        finished=None,
        bytes=2,
        sha256="0" * 64,
    )


def test_messages_are_read_page_by_page_up_to_the_limit() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params.get("after", "msg_0").removeprefix("msg_"))
        asked.append(request.url.params.get("after", ""))
        page = tuple(message(number) for number in range(after + 1, after + 3))
        return httpx.Response(200, content=msgspec.json.encode(ShownMessages(page, page[-1].id)))

    with client(answer) as gateway:
        found = gateway.messages("ep_a", dead=False, states=(), since_ms=None, limit=5)
    assert [one.version for one in found] == [1, 2, 3, 4, 5]
    assert asked == ["", "msg_2", "msg_4"]


@pytest.mark.parametrize("name", ["../revocations", "ep_a/messages", "", "ep_ä", "ep_a?limit=1"])
def test_what_is_no_id_is_not_sent(name: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.url} was asked")

    with client(answer) as gateway, pytest.raises(InvalidInput, match="no id"):
        gateway.delete(name)


@pytest.mark.parametrize(
    ("status", "detail", "error", "said"),
    [
        (
            404,
            "There is nothing at this address; /openapi.json lists it.",
            InvalidInput,
            "SCORES_WEBHOOK_KEY",
        ),
        (404, "There is no such webhook endpoint.", InvalidInput, "no such webhook"),
        (401, "expired", InvalidInput, "token is refused"),
        (409, "The endpoint's revision is 2.", InvalidInput, "revision is 2"),
        (503, "Not now.", DependencyUnavailable, "again"),
    ],
)
def test_refusals_are_sentences(status: int, detail: str, error: type[Exception], said: str) -> None:
    answer = httpx.Response(status, json={"detail": detail})
    with client(lambda _: answer) as gateway, pytest.raises(error, match=said):
        gateway.endpoint("ep_a")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"endpoints": 1}'])
def test_answer_that_is_no_gateways_is_told_as_such(body: bytes) -> None:
    answer = httpx.Response(200, content=body)
    with client(lambda _: answer) as gateway, pytest.raises(InvalidInput, match="--gateway"):
        gateway.endpoints()


def test_secret_that_was_issued_does_not_show_in_a_traceback() -> None:
    issued: Any = IssuedSecret("v1", "whsec_c2VjcmV0")
    assert "whsec_" not in repr(issued) and "whsec_" not in f"{[issued]}"
