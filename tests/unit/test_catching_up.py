"""When readers must be told that figures are incomplete."""

from __future__ import annotations

import pytest

from schemas.catching_up import tables_incomplete


@pytest.mark.parametrize(
    ("claimed", "next_offset", "catch_up", "incomplete"),
    [
        pytest.param(False, None, None, True, id="nobody has taken the partition yet"),
        pytest.param(True, None, None, False, id="first start on an empty log"),
        pytest.param(True, None, 500, True, id="first start on an old log, nothing read yet"),
        pytest.param(True, 499, 500, True, id="one result is missing"),
        pytest.param(True, 500, 500, False, id="read as far as the log reached"),
        pytest.param(True, 900, 500, False, id="long past that"),
        pytest.param(True, 900, None, False, id="began with an empty log"),
    ],
)
def test_figures_are_incomplete_until_the_tables_have_read_what_the_log_held_when_they_began(
    claimed: bool, next_offset: int | None, catch_up: int | None, incomplete: bool
) -> None:
    assert tables_incomplete(claimed=claimed, next_offset=next_offset, catch_up=catch_up) is incomplete
