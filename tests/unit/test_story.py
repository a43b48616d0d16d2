"""How the commands of the long runs end, and what they leave behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from schemas.errors import InvalidInput
from tests.story import Ending, Say, tell


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders of runs are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def good(folder: Path, say: Say) -> Ending:
    say("a school was killed")
    return Ending("all settled", failed=False)


def test_run_that_went_well_says_so_and_leaves_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell("chaos", good, keep=False, left="Logs", seed=7) == 0
    assert capsys.readouterr().out == "a school was killed\nall settled\n"
    assert list(place.iterdir()) == []


def test_run_that_went_well_leaves_its_story_where_that_is_wanted(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell("chaos", good, keep=True, left="Logs") == 0
    [folder] = place.iterdir()
    assert (folder / "story.txt").read_text() == "a school was killed\nall settled\n"
    assert capsys.readouterr().out.endswith(f"Logs are in {folder}\n")


def test_run_that_failed_names_its_seed_and_where_its_logs_are(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = tell("chaos", lambda folder, say: Ending("two wrong", True), keep=False, left="Logs", seed=7)
    [folder] = place.iterdir()
    assert failed == 1
    assert capsys.readouterr().out == f"two wrong\nSeed 7. Logs are in {folder}\n"


def test_run_that_could_not_be_carried_out_says_why_and_fails(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(folder: Path, say: Say) -> Ending:
        raise InvalidInput("no Java; install one")

    assert tell("chaos", refused, keep=False, left="Logs") == 1
    assert "could not be carried out: no Java; install one" in capsys.readouterr().out
    [folder] = place.iterdir()
    assert "no Java" in (folder / "story.txt").read_text()
