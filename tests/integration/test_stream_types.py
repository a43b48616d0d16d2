"""The TypeScript types of the wire fit the golden frames, and the examples of docs/clients do what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from golden_streams import GoldenEvent, events_of, golden_events
from scripted_gateway import SCHOOL, SECOND_SCHOOL, cell, challenge, patch, progress, put, subscribed

from consumers.live.frames import decode
from consumers.live.state import LiveState
from tests.watching.node_client import installed

CLIENTS = Path(__file__).parents[2] / "docs" / "clients"

pytestmark = [
    pytest.mark.skipif(shutil.which(program) is None, reason=f"not run: {program} is not installed")
    for program in ("node", "npm")
]

STRICT = (
    "--strict",
    "--target",
    "ES2022",
    "--module",
    "ES2022",
    "--moduleResolution",
    "bundler",
    "--lib",
    "ES2022,DOM,DOM.Iterable",
)

# Each is refused for one reason only.
WRONG = {
    "a version as text": ("progress", '{"complete":null,"as_of":null,"live":"true"}'),
    "a field that is not on the wire": ("progress", '{"complete":null,"as_of":null,"live":true,"mood":1}'),
    "a field that is missing": (
        "put",
        '{"preliminary":true,"as_of":"2026-05-04T12:00:00.123Z","organizations":[]}',
    ),
    "figures that are not preliminary": (
        "patch",
        '{"preliminary":false,"as_of":"2026-05-04T12:00:00.123Z","organizations":[]}',
    ),
    "an unknown reason": ("bye", '{"reason":"boredom","reconnect":true,"retry_ms":5120}'),
    "an expired token to come back with": (
        "bye",
        '{"reason":"token_expired","reconnect":true,"retry_ms":5120}',
    ),
    "a grade that is none": (
        "subscribed",
        '{"stream":"n","topics":[],"grades":["13"],"organizations":0,"expires":""}',
    ),
}

# What a stream could say, old news and unknown schools among it.
COURSE = b"".join(
    (
        subscribed(2),
        put({SCHOOL: [cell(4), cell(2, test="MATH-SUM")], SECOND_SCHOOL: [cell(1)]}),
        progress(),
        patch({SCHOOL: [cell(5), cell(3, results=0, test="MATH-SUM"), cell(1, test="CAA-ELA")]}),
        patch({SCHOOL: [cell(3), cell(2, test="MATH-SUM")], "19990010000109": [cell(1)]}),
        challenge(),
        subscribed(1, dropped=[SECOND_SCHOOL]),
        patch({SCHOOL: [cell(6, results=8)]}, stale=True),
        progress(None, stale=True),
    )
)

APPLY = """
import { readFileSync } from "node:fs";
import { Results } from "./results.js";
const results = new Results();
for (const frame of JSON.parse(readFileSync("course.json"))) results.apply(frame);
const { complete, live, stale, stream } = results;
console.log(JSON.stringify({ complete, live, stale, stream, cells: process.argv.slice(2).map((id) => results.cells(id)) }));
"""

BROWSE = """
import { readFileSync } from "node:fs";
const listeners = {};
globalThis.EventSource = class {
  constructor(address) { console.log("open", address); }
  addEventListener(event, listener) { listeners[event] = listener; }
  close() { console.log("closed"); }
};
await import("./page.js");
for (const { event, data } of JSON.parse(readFileSync("course.json"))) listeners[event]?.({ data: JSON.stringify(data) });
listeners.bye({ data: '{"reason":"max_age","reconnect":true,"retry_ms":5120}' });
listeners.bye({ data: '{"reason":"token_expired","reconnect":false,"retry_ms":2000}' });
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the TypeScript compiler, the types, the examples, and the course of a stream."""
    folder = installed(tmp_path_factory.mktemp("typescript"))
    shutil.copy(CLIENTS / "score-stream.d.ts", folder)
    (folder / "results.ts").write_text(example("ts"), encoding="utf-8")
    (folder / "page.js").write_text(example("js"), encoding="utf-8")
    course = [{"event": event.event, "data": event.body} for event in events()]
    (folder / "course.json").write_text(json.dumps(course), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def compiled(place: Path) -> subprocess.CompletedProcess[str]:
    """What the compiler says of the golden frames and of the example, of which it makes JavaScript in any case."""
    (place / "golden.ts").write_text(golden_assignments(), encoding="utf-8")
    compiler = place / "node_modules" / "typescript" / "bin" / "tsc"
    return run(["node", str(compiler), *STRICT, "golden.ts", "results.ts"], place)


def golden_assignments() -> str:
    lines = ['import type { Frames } from "./score-stream";']
    for number, event in enumerate(golden_events()):
        lines.append(f'export const right{number}: Frames["{event.event}"] = {event.data};')
    for number, (why, (name, data)) in enumerate(WRONG.items()):
        # The compiler complains when there is nothing to complain of.
        lines.append(f"// @ts-expect-error {why}")
        lines.append(f'export const wrong{number}: Frames["{name}"] = {data};')
    return "\n".join(lines) + "\n"


def example(language: str) -> str:
    """The one example in this language."""
    (found,) = re.findall(
        rf"```{language}\n(.*?)```", (CLIENTS / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return str(found)


def events() -> list[GoldenEvent]:
    return list(events_of(COURSE.decode()))


def believed() -> LiveState:
    """What the Python client makes of the same course."""
    state = LiveState()
    state.opened(resumed=False)
    for event in events():
        frame = decode(event.event, event.data)
        assert frame is not None
        state.apply(frame)
    return state


def run(command: Sequence[str], place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)


def printed(place: Path, *command: str) -> str:
    done = run(["node", *command], place)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_types_fit_every_golden_frame_and_nothing_else(
    compiled: subprocess.CompletedProcess[str],
) -> None:
    assert (compiled.returncode, compiled.stdout) == (0, "")


@pytest.mark.usefixtures("compiled")
def test_the_typescript_example_comes_to_the_same_figures_as_the_python_client(place: Path) -> None:
    (place / "apply.mjs").write_text(APPLY, encoding="utf-8")
    found = json.loads(printed(place, "apply.mjs", SCHOOL, SECOND_SCHOOL))
    state = believed()
    assert (found["live"], found["stale"], found["complete"]) == (state.moving, state.stale, state.complete)
    assert found["stream"] == state.stream
    held = state.organization(SCHOOL)
    assert held is not None
    assert [versions(cells) for cells in found["cells"]] == [
        {(name.test, cell.version, cell.results) for name, cell in held.cells.items()},
        set(),
    ]


def versions(cells: list[dict[str, Any]]) -> set[tuple[str, int, int]]:
    return {(cell["test"], cell["version"], cell["results"]) for cell in cells}


def test_the_browser_example_prints_each_cell_that_changes_once_and_stops_when_told_to(place: Path) -> None:
    (place / "browse.mjs").write_text(BROWSE, encoding="utf-8")
    assert printed(place, "browse.mjs").splitlines() == [
        "open /v1/stream?topic=district/71700010000000/schools",
        f"{SCHOOL} 2026 ELA-SUM 03 3 2405",
        f"{SCHOOL} 2026 MATH-SUM 03 0 null",
        f"{SCHOOL} 2026 CAA-ELA 03 3 2401",
        "19990010000109 2026 ELA-SUM 03 3 2401",
        f"{SCHOOL} 2026 ELA-SUM 03 8 2406",
        "closed",
    ]
