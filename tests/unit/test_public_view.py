"""The public view's answers may be kept, and asked for again; and nobody takes all of its files."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from gateway.caching import kept_response, weak_tag
from gateway.public_settings import PublicSettings
from gateway.research_export import FileResponse, FileSlots
from schemas.environment import Environment
from schemas.errors import InvalidInput

MODIFIED_MS = 1_777_896_000_999
LAST_MODIFIED = "Mon, 04 May 2026 12:00:00 GMT"


def request(**headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": fields})


def status(content: bytes, **headers: str) -> int:
    answer = kept_response(
        request(**headers), content, "application/json", modified_ms=MODIFIED_MS, seconds=60.0
    )
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["last-modified"] == LAST_MODIFIED
    return answer.status_code


def tag(content: bytes) -> str:
    answer = kept_response(request(), content, "text/csv", modified_ms=0, seconds=1)
    return answer.headers["etag"]


def test_answer_that_is_known_by_its_tag_is_not_sent_again() -> None:
    assert status(b"figures") == 200
    assert status(b"figures", if_none_match=tag(b"figures")) == 304
    assert status(b"figures", if_none_match=f'"other", W/{tag(b"figures")}') == 304
    assert status(b"figures", if_none_match=tag(b"other figures")) == 200


def test_time_counts_only_when_it_is_the_very_one_that_was_given() -> None:
    """What is shown after a withdrawal may be of an earlier time than what was shown before."""
    assert status(b"figures", if_modified_since=LAST_MODIFIED) == 304
    assert status(b"figures", if_modified_since="Mon, 04 May 2026 12:00:01 GMT") == 200


def test_tag_outranks_the_time() -> None:
    assert status(b"figures", if_none_match='"other"', if_modified_since=LAST_MODIFIED) == 200


def test_tag_of_a_file_changes_with_any_of_what_it_is_made_from() -> None:
    tags = {weak_tag(*parts) for parts in ((1, 2, 3), (1, 2, 4), (1, 23), (12, 3))}
    assert len(tags) == 4
    assert all(tag.startswith('W/"') for tag in tags)


def test_there_is_no_public_view_unless_it_is_turned_on() -> None:
    assert not PublicSettings.read(Environment({})).is_open
    assert PublicSettings.read(Environment({"SCORES_PUBLIC_VIEW": "on"})).is_open


@pytest.mark.parametrize("seconds", ["0", "0.5", "never"])
def test_publishing_without_any_interval_is_refused(seconds: str) -> None:
    env = Environment({"SCORES_PUBLISH_SECONDS": seconds})
    PublicSettings.read(env)
    with pytest.raises(InvalidInput, match="SCORES_PUBLISH_SECONDS"):
        env.check()


async def lines() -> AsyncIterator[bytes]:
    yield b"County Code\r\n"


async def nothing_comes() -> Message:
    return {"type": "http.disconnect"}


@pytest.mark.anyio
async def test_who_comes_while_all_files_are_being_written_is_told_to_come_again() -> None:
    slots = FileSlots(1)
    sent: list[Message] = []
    refused: list[HTTPException] = []

    async def send(message: Message) -> None:
        if not sent:
            with pytest.raises(HTTPException) as refusal:
                await FileResponse(slots, lines(), {})(scope, nothing_comes, send)
            refused.append(refusal.value)
        sent.append(message)

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    await FileResponse(slots, lines(), {})(scope, nothing_comes, send)
    assert [one.status_code for one in refused] == [503]
    assert refused[0].headers is not None and "Retry-After" in refused[0].headers
    first = len(sent)
    await FileResponse(slots, lines(), {})(scope, nothing_comes, send)
    assert len(sent) == 2 * first, "the place was given back"
