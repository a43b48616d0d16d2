"""The frame that all pages have around them."""

from __future__ import annotations

import re

import httpx
import pytest
from starlette.applications import Starlette

from gateway.page_files import framed, page_routes

FRAME = '<title><slot name="title"></slot></title>\n<main>\n<slot name="content"></slot>\n</main>\n'


def test_page_is_the_frame_with_what_is_its_own_in_the_slots() -> None:
    page = '<template slot="content">\n  <p>one</p>\n  <p>two</p>\n</template>\n<template slot="title">A & B</template>\n'
    assert framed(FRAME, page) == "<title>A & B</title>\n<main>\n  <p>one</p>\n  <p>two</p>\n</main>\n"


def test_page_that_leaves_a_slot_empty_does_not_start_the_gateway() -> None:
    with pytest.raises(KeyError, match="content"):
        framed(FRAME, '<template slot="title">A</template>')


@pytest.mark.anyio
@pytest.mark.parametrize("address", ["/", "/ops"])
async def test_page_has_all_its_slots_filled_and_each_element_once(address: str) -> None:
    transport = httpx.ASGITransport(Starlette(routes=page_routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        text = (await client.get(address)).text
    assert "<slot" not in text and "<template" not in text
    names = re.findall(r' id="([^"]+)"', text)
    assert {"connection-state", "freshness", "signin-form", "token", "main"} < set(names)
    assert len(names) == len(set(names))
