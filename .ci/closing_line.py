"""The tests' outcome, repeated as the last line of a long output: "N passed, N failed"."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

suites = ElementTree.parse(sys.argv[1]).getroot().iter("testsuite")
counts = [
    [int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")] for suite in suites
]
tests, failures, errors, skipped = map(sum, zip(*counts, strict=True))
print(f"{tests - failures - errors - skipped} passed, {failures + errors} failed, {skipped} skipped")
