"""What browser tests share: a Redis with one school, and one browser for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e.browser import Pipe, browser, chromium
from served_school import redis, worker

__all__ = ["redis", "worker"]  # fixtures


@pytest.fixture(scope="module")
def running_browser() -> Iterator[Pipe]:
    binary = chromium()
    assert binary is not None
    with browser(binary) as pipe:
        yield pipe
