"""The bytes of a share in Redis, as docs/wire-format.md gives them."""

from __future__ import annotations

from pathlib import Path

from schemas.aggregates import cell_field, contribution, levels_code
from schemas.shares import RECENT_AT_MOST, Share, settled_field, stored_cell

_DOCUMENT = Path(__file__).parents[2] / "docs" / "wire-format.md"
_CHANGED_MS = 1_777_896_000_000


def test_settled_part_of_the_document_is_what_the_document_says_it_is() -> None:
    changed_ms, cell = stored_cell(_example())
    assert (changed_ms, cell.version) == (_CHANGED_MS, 0)
    assert (cell.results, cell.with_scores, cell.under_appeal) == (4, 3, 1)
    assert dict(cell.scores()) == {2428: 1, 2431: 1, 2433: 1}
    assert (cell.score_sum, cell.score_sum_sq) == (7292, 17724434)
    assert (cell.level_counts(), cell.level_counts(1)) == ([1, 1, 1, 0], [1, 2, 0, 0])
    assert cell.pack() == _example()[8:]


def test_recent_part_is_a_head_and_four_bytes_a_result() -> None:
    share = Share()
    share.version = 7
    share.apply(contribution(2431, levels_code([2, 1])))
    share.apply(contribution(None))
    recent, settled = share.pack()
    # 2431 | (2 + 1 * 5) << 12 | scored
    assert recent.hex() == "02070000007f79002000000000"
    assert settled is None


def test_parts_and_their_fields_are_as_documented() -> None:
    text = _DOCUMENT.read_text()
    assert f"once more than {RECENT_AT_MOST} results have come" in text
    assert settled_field(cell_field(2026, "ELA-SUM", "03")) == "2026:ELA-SUM:03:settled"
    assert "`:settled`" in text


def _example() -> bytes:
    """The hexadecimal digits of the lines that begin with the time of change."""
    lines = _DOCUMENT.read_text().partition("4279df2dc0a00000 ")[2].splitlines()[1:5]
    return bytes.fromhex("4279df2dc0a00000" + "".join(line[:59] for line in lines))
