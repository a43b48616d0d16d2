"""Where the reference data are: exam reports and packages that the project may read and does not contain."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of the reference data, from SCORES_REFERENCE_DATA or beside the project."""
    folder = Path(os.environ.get("SCORES_REFERENCE_DATA") or PROJECT.parent / "shared" / "reference")
    if not (folder / "PROVENANCE.md").is_file():
        pytest.skip(f"not run: no reference data in {folder}; set SCORES_REFERENCE_DATA to their folder")
    return folder
