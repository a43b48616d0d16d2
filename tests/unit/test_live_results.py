"""The Python client against a gateway that says what the test wants: reconnections, refusals, changes, renewals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx
import pytest
from scripted_gateway import (
    OPENING,
    SCHOOL,
    SECOND_SCHOOL,
    OpenStream,
    ScriptedGateway,
    bye,
    cell,
    challenge,
    patch,
    progress,
    put,
    subscribed,
    until,
)

from consumers.live import (
    CellChanged,
    LiveResults,
    LiveResultsError,
    OrganizationLeft,
    StreamEnded,
    StreamRefused,
)
from schemas.errors import InvalidInput

URL = "https://scores.test"
BOTH = [f"school/{SCHOOL}", f"school/{SECOND_SCHOOL}"]

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def following(
    gateway: ScriptedGateway, *topics: str, token: Any = "token-1", **more: Any
) -> AsyncIterator[LiveResults]:
    async with (
        httpx.AsyncClient(transport=gateway) as http,
        LiveResults(
            URL,
            token=token,
            topics=topics or [f"school/{SCHOOL}"],
            http=http,
            sleep=gateway.nap,
            jitter=lambda: 0.5,
            **more,
        ) as results,
    ):
        yield results


def version(results: LiveResults, school: str = SCHOOL) -> int | None:
    figures = results.cell(school, 2026, "ELA-SUM", "03")
    return figures.version if figures else None


def fresh_tokens() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"token-{next(numbers)}"


async def first_stream(gateway: ScriptedGateway, results: LiveResults, *frames: bytes) -> OpenStream:
    """The first stream, with a school whose cell is at version 1."""
    stream = await gateway.stream()
    stream.send(OPENING, *(frames or (subscribed(1), put({SCHOOL: [cell(1)]}), progress())))
    await results.whole()
    return stream


async def patched(stream: OpenStream, results: LiveResults, first: bytes) -> None:
    """Sends a frame, and two patches after it: whatever the frame sets off has begun when the second is applied."""
    for number in (2, 3):
        stream.send(first if number == 2 else b"", patch({SCHOOL: [cell(number)]}))
        await until(lambda number=number: version(results) == number)  # type: ignore[misc]  # bound here, called at once


async def test_figures_are_there_as_soon_as_the_put_is_and_follow_each_patch() -> None:
    gateway = ScriptedGateway()
    async with following(gateway, tests=["ELA-SUM"], grades=["03"], years=[2026]) as results:
        stream = await first_stream(gateway, results)
        assert stream.request.url.query == f"topic=school%2F{SCHOOL}&test=ELA-SUM&grade=03&year=2026".encode()
        assert stream.token == "token-1"
        assert version(results) == 1
        stream.send(patch({SCHOOL: [cell(2)]}))
        told: list[int] = []
        while not told or told[-1] != 2:
            change = await anext(results)
            if isinstance(change, CellChanged) and change.after:
                assert (change.before and change.before.version) == (told[-1] if told else None)
                told.append(change.after.version)
        assert version(results) == 2
        assert results.live
        assert results.complete is not None
    assert stream.closed


async def test_it_comes_back_with_the_last_id_and_shows_what_it_had_meanwhile() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        stream.send(patch({SCHOOL: [cell(2)]}, "g1.2000"))
        stream.break_off()
        second = await gateway.stream()
        assert second.last_event_id == "g1.2000"
        assert version(results) == 2
        assert not results.live
        second.send(OPENING, subscribed(1), patch({SCHOOL: [cell(3)]}, "g1.3000"), progress())
        await until(lambda: version(results) == 3)
        assert results.live
        assert gateway.naps == [4.187], "the retry field of the first stream"
        assert results.failure is None


async def test_a_put_cut_in_two_is_asked_for_anew() -> None:
    gateway = ScriptedGateway()
    async with following(gateway, *BOTH) as results:
        stream = await gateway.stream()
        stream.send(OPENING, subscribed(2, *BOTH), put({SCHOOL: [cell(1)]}, None))
        stream.end()
        second = await gateway.stream()
        assert second.last_event_id is None
        second.send(OPENING, subscribed(2, *BOTH), put({SCHOOL: [cell(2)], SECOND_SCHOOL: []}), progress())
        await results.whole()
        assert version(results) == 2


async def test_bye_is_obeyed_to_the_millisecond() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        stream.send(bye("draining", retry_ms=21_500))
        await gateway.stream()
        assert gateway.naps == [21.5]


async def test_a_gateway_that_is_away_is_not_stormed() -> None:
    gateway = ScriptedGateway()
    gateway.most_naps = 60
    gateway.answers.extend(httpx.ConnectError("refused") for _ in range(100))
    async with following(gateway):
        await until(lambda: len(gateway.naps) == 60)
    assert len(gateway.asked) == 60
    assert min(gateway.naps) >= 0.5
    assert 20 <= gateway.naps[-1] <= 30


async def test_a_gateway_that_ends_every_stream_at_once_is_not_stormed_either() -> None:
    gateway = ScriptedGateway()
    gateway.most_naps = 20
    async with following(gateway):
        while len(gateway.naps) < 19:
            stream = await gateway.stream()
            stream.send(bye("overloaded", retry_ms=0))
            await until(lambda stream=stream: stream.closed)  # type: ignore[misc]  # bound here, called at once
    assert min(gateway.naps) >= 0.5
    assert gateway.naps[-1] > 15


async def test_figures_end_the_patience_with_which_it_waited_for_them() -> None:
    gateway = ScriptedGateway()
    gateway.answers.extend(httpx.ConnectError("refused") for _ in range(8))
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        stream.end()
        await gateway.stream()
        assert gateway.naps[-2] > 15
        assert gateway.naps[-1] == 4.187


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honored(status: int) -> None:
    gateway = ScriptedGateway()
    gateway.answers.append(httpx.Response(status, headers={"Retry-After": "17"}))
    async with following(gateway) as results:
        await first_stream(gateway, results)
    assert gateway.naps == [17.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 302])
async def test_a_refusal_stops_it_with_the_reason(status: int) -> None:
    gateway = ScriptedGateway()
    detail = "There is no such organization, or this token does not open it."
    gateway.answers.append(httpx.Response(status, json={"type": "about:blank", "detail": detail}))
    async with following(gateway) as results:
        with pytest.raises(StreamRefused, match=f"{status}: There is no such organization") as refused:
            await anext(results)
        assert refused.value.status == status
        assert results.failure is refused.value
        with pytest.raises(StreamRefused):
            await results.whole()
        assert not results.live
    assert gateway.naps == []


async def test_an_error_page_of_a_proxy_is_no_stream_and_no_reason_to_stop() -> None:
    gateway = ScriptedGateway()
    gateway.answers.append(httpx.Response(200, html="<h1>Back soon</h1>"))
    gateway.answers.append(httpx.Response(502, html="<h1>Bad gateway</h1>"))
    async with following(gateway) as results:
        await first_stream(gateway, results)
        assert version(results) == 1


async def test_a_bye_for_good_ends_it_after_what_was_told_before() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await gateway.stream()
        stream.send(OPENING, subscribed(1), put({SCHOOL: [cell(1)]}), bye("token_expired", reconnect=False))
        await until(lambda: stream.closed)
        assert isinstance(await anext(results), CellChanged)
        with pytest.raises(StreamEnded, match="get another token") as ended:
            await anext(results)
        assert ended.value.reason == "token_expired"
        assert version(results) == 1


async def test_an_expired_token_is_replaced_where_tokens_come_from() -> None:
    gateway = ScriptedGateway()
    async with following(gateway, token=fresh_tokens()) as results:
        stream = await first_stream(gateway, results)
        stream.send(bye("token_expired", reconnect=False, retry_ms=2000))
        second = await gateway.stream()
        assert (stream.token, second.token) == ("token-1", "token-2")


@pytest.mark.parametrize("reason", ["revoked", "forbidden"])
async def test_who_was_shut_out_does_not_come_back_with_a_fresh_token(reason: str) -> None:
    gateway = ScriptedGateway()
    async with following(gateway, token=fresh_tokens()) as results:
        stream = await first_stream(gateway, results)
        stream.send(bye(reason, reconnect=False, retry_ms=2000))
        with pytest.raises(StreamEnded, match=reason):
            async for _ in results:
                pass


async def test_a_challenge_is_answered_with_a_fresh_token_while_the_stream_goes_on() -> None:
    tokens = fresh_tokens()

    async def slow_token() -> str:
        await asyncio.sleep(0)
        return tokens()

    gateway = ScriptedGateway()
    gateway.post_answers.append(httpx.Response(503))
    async with following(gateway, token=slow_token) as results:
        stream = await first_stream(gateway, results)
        stream.send(challenge(), patch({SCHOOL: [cell(2)]}), challenge())
        await until(lambda: len(gateway.posted) == 2 and version(results) == 2)
        assert [request.url.path for request in gateway.posted] == ["/v1/streams/n1.first/renew"] * 2
        assert gateway.posted[1].headers["authorization"] == "Bearer token-3"
        assert gateway.bodies() == [None, None]
        assert not stream.closed


async def test_a_token_that_is_a_text_is_not_sent_again() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        await patched(stream, results, challenge())
        assert gateway.posted == []


async def test_a_token_is_never_sent_to_another_host() -> None:
    gateway = ScriptedGateway()
    async with following(gateway, token=fresh_tokens()) as results:
        stream = await first_stream(gateway, results)
        await patched(stream, results, challenge().replace(b'"/v1/', b'"@elsewhere.test/v1/'))
        assert gateway.posted == []


async def test_a_changed_subscription_keeps_what_stays_and_forgets_what_is_dropped() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        changing = asyncio.create_task(results.change([f"school/{SECOND_SCHOOL}"]))
        await until(lambda: gateway.posted)
        assert gateway.posted[0].url.path == "/v1/streams/n1.first/subscription"
        assert gateway.bodies() == [{"topics": [f"school/{SECOND_SCHOOL}"]}]
        assert not changing.done()
        stream.send(subscribed(1, f"school/{SECOND_SCHOOL}", dropped=[SCHOOL]))
        await changing
        assert results.organizations == ()
        stream.send(put({SECOND_SCHOOL: [cell(7)]}, "g1.4000.abcdef0123"))
        await results.whole()
        assert version(results, SECOND_SCHOOL) == 7
        told = [await anext(results) for _ in range(3)]
        assert OrganizationLeft(SCHOOL) in told  # type: ignore[arg-type]  # codes of tests are plain texts
        stream.end()
        second = await gateway.stream()
        assert second.last_event_id == "g1.4000.abcdef0123"
        assert second.request.url.params.get_list("topic") == [f"school/{SECOND_SCHOOL}"]


async def test_a_connection_lost_in_the_midst_of_a_change_brings_everything_anew() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        changing = asyncio.create_task(results.change(BOTH, tests=["ELA-SUM"]))
        await until(lambda: gateway.posted)
        stream.break_off()
        second = await gateway.stream()
        assert second.last_event_id is None
        assert second.request.url.params.get_list("topic") == BOTH
        second.send(
            OPENING, subscribed(2, *BOTH), put({SCHOOL: [cell(1)], SECOND_SCHOOL: [cell(2)]}), progress()
        )
        await changing
        await results.whole()
        assert version(results, SECOND_SCHOOL) == 2


@pytest.mark.parametrize("status", [404, 503])
async def test_a_change_for_a_stream_that_is_not_there_is_made_by_the_next(status: int) -> None:
    gateway = ScriptedGateway()
    gateway.post_answers.append(httpx.Response(status, json={"detail": "no such stream"}))
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        await results.change(BOTH)
        stream.send(progress())
        second = await gateway.stream()
        assert second.request.url.params.get_list("topic") == BOTH
        assert second.last_event_id is None


async def test_a_change_between_two_connections_is_made_by_the_next() -> None:
    gateway = ScriptedGateway()
    gateway.most_naps = 1
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        stream.end()
        await until(lambda: gateway.naps)
        await results.change(BOTH)
        assert gateway.posted == []
        gateway.most_naps = 1_000


async def test_a_change_while_the_stream_is_being_opened_is_not_lost() -> None:
    handed_out = asyncio.Event()

    async def token() -> str:
        await handed_out.wait()
        return "token-1"

    gateway = ScriptedGateway()
    async with following(gateway, token=token) as results:
        await asyncio.sleep(0)  # it asks for the token, with the first topics in hand
        await results.change(BOTH)
        handed_out.set()
        stream = await gateway.stream()
        assert stream.request.url.params.get_list("topic") == [f"school/{SCHOOL}"]
        stream.send(OPENING, subscribed(1), put({SCHOOL: [cell(1)]}))
        second = await gateway.stream()
        assert second.request.url.params.get_list("topic") == BOTH
        assert second.last_event_id is None


async def test_a_refused_change_is_an_error_and_changes_nothing() -> None:
    gateway = ScriptedGateway()
    gateway.post_answers.append(httpx.Response(403, json={"detail": "There is no such organization"}))
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        with pytest.raises(StreamRefused, match="403"):
            await results.change(BOTH)
        stream.end()
        second = await gateway.stream()
        assert second.request.url.params.get_list("topic") == [f"school/{SCHOOL}"]
        assert second.last_event_id == "g1.1000"


async def test_a_reader_that_never_reads_still_has_the_latest_figures_and_little_to_read() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        stream.send(*(patch({SCHOOL: [cell(number)]}) for number in range(2, 500)))
        await until(lambda: version(results) == 499)
        change = await anext(results)
        while not isinstance(change, CellChanged):
            change = await anext(results)
        assert change.after is not None
        assert change.after.version == 499


async def test_a_stream_that_falls_silent_is_not_live() -> None:
    seconds = 0.0
    gateway = ScriptedGateway()
    async with following(gateway, monotonic=lambda: seconds) as results:
        await first_stream(gateway, results)
        await until(lambda: results.live)
        seconds = 19.0
        assert results.live
        seconds = 21.0
        assert not results.live


async def test_an_endless_frame_is_given_up_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consumers.live.connection.MOST_FRAME_BYTES", 10_000)
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        stream.send(*(patch({SCHOOL: [cell(number)]}) for number in range(2, 100)))
        await until(lambda: version(results) == 99)
        assert not stream.closed, "many frames are no endless one"
        stream.send(b"data: ", *[b"x" * 1_000] * 11)
        second = await gateway.stream()
        assert second.last_event_id is None
        assert stream.closed


async def test_a_frame_that_is_not_as_documented_makes_it_ask_for_everything_anew() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        stream.send(patch({SCHOOL: []}).replace(b'"cells":[]', b'"cells":[{}]'))
        second = await gateway.stream()
        assert second.last_event_id is None
        assert version(results) == 1


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 7, 64])
async def test_frames_cut_anywhere_are_the_same_frames(line_end: bytes, size: int) -> None:
    named = "Cañon\u2028Elementary\x85".encode()
    told = b"".join(
        (
            OPENING,
            b": still here\n\n",
            subscribed(1),
            put({SCHOOL: [cell(1)]}).replace(b"School 101", named).replace(b'"cells"', b'\ndata: "cells"'),
            b"event: patch\nid: g1.9\n\n",
            patch({SCHOOL: [cell(2)]}, "g1.\x00"),
            progress(),
            patch({SCHOOL: [cell(3)]})[:-1],  # without its blank line
        )
    ).replace(b"\n", line_end)
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await gateway.stream()
        stream.send(*(told[start : start + size] for start in range(0, len(told), size)))
        await until(lambda: version(results) == 2 and results.complete)
        stream.end()
        second = await gateway.stream()
        assert version(results) == 2
        held = results.organization(SCHOOL)
        assert held is not None
        assert held.name == named.decode()
        assert second.last_event_id == "g1.9"
        assert gateway.naps == [4.187]


async def test_an_id_that_would_be_a_header_of_its_own_making_is_not_sent_back() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        stream = await first_stream(gateway, results)
        stream.send(patch({SCHOOL: [cell(2)]}, "g1.2 \u00e9: {}"), patch({SCHOOL: [cell(3)]}, "x" * 129))
        stream.end()
        second = await gateway.stream()
        assert version(results) == 3
        assert second.last_event_id == "g1.1000"


@pytest.mark.parametrize(
    "url", ["", "scores.test", "ftp://scores.test", "https://", "https://scores.test/?x=1", "http://[::"]
)
async def test_an_address_that_is_none_is_named(url: str) -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(InvalidInput, match="address"):
            LiveResults(url, token="token", topics=["school/1"], http=http)


@pytest.mark.parametrize("topics", [[], f"school/{SCHOOL}"])
async def test_topics_are_a_list_of_some(topics: Any) -> None:
    with pytest.raises(InvalidInput, match="topic"):
        LiveResults(URL, token="token", topics=topics)


@pytest.mark.parametrize("token", ["", "a\nb", "ü"])
async def test_a_token_that_no_header_takes_is_named_before_it_is_sent(token: str) -> None:
    gateway = ScriptedGateway()
    async with following(gateway, token=token) as results:
        with pytest.raises(InvalidInput, match="token"):
            await anext(results)
    assert gateway.asked == []


async def test_where_tokens_come_from_may_be_away_for_a_while() -> None:
    answers: Iterator[str | httpx.ConnectError] = iter([httpx.ConnectError("away"), "token-2"])

    def token() -> str:
        answer = next(answers)
        if isinstance(answer, str):
            return answer
        raise answer

    gateway = ScriptedGateway()
    async with following(gateway, token=token) as results:
        stream = await first_stream(gateway, results)
        assert stream.token == "token-2"


async def test_results_that_were_never_entered_say_so() -> None:
    async with httpx.AsyncClient() as http:
        results = LiveResults(URL, token="token", topics=["school/1"], http=http)
        with pytest.raises(LiveResultsError, match="async with"):
            await results.whole()


async def test_iteration_ends_when_the_results_are_left() -> None:
    gateway = ScriptedGateway()
    async with following(gateway) as results:
        await first_stream(gateway, results)
    told = [change async for change in results]
    assert any(isinstance(change, CellChanged) for change in told)
    assert not results.live
