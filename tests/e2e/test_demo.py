"""The demo as a person runs it: it verifies itself, stops at Ctrl-C, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from promptness import assert_within
from stack import wait_for

from cli.stack.ports import free_port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def demo(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    with running_demo(tmp_path, port) as process:
        yield process


@contextmanager
def running_demo(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A demo without an end, in a folder of its own."""
    process = start(folder, "demo", "--port", str(port), "--rate", "50")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / "shown.txt").open("w") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | {"COLUMNS": "200"},
        )


def shown(folder: Path) -> str:
    return (folder / "shown.txt").read_text()


def servers_of(folder: Path) -> list[str]:
    """Command lines of processes that run in, or for, this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd").startswith(str(folder)):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_demo_for_a_while_ends_by_itself_and_its_tables_equal_the_recount(tmp_path: Path, port: int) -> None:
    process = start(tmp_path, "demo", "--for", "5s", "--port", str(port), "--rate", "100", "--schools", "8")
    assert process.wait(300) == 0, shown(tmp_path)
    assert "Equal" in shown(tmp_path)
    assert servers_of(tmp_path) == []


def test_demo_prints_a_curl_line_that_works_and_ctrl_c_stops_everything(tmp_path: Path) -> None:
    def stopped() -> float:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        with running_demo(folder, free_port()) as demo:
            wait_for(lambda: "/v1/stream?" in shown(folder), "the curl line", 120)
            [(token, url)] = re.findall(r"curl -N -H 'Authorization: Bearer (\S+)' '(\S+)'", shown(folder))
            with httpx.stream("GET", url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as stream:
                assert stream.status_code == 200
                events = (line for line in stream.iter_lines() if line.startswith("event: "))
                assert [next(events), next(events)] == ["event: subscribed", "event: put"]
                assert "event: patch" in events
                assert len(servers_of(folder)) >= 3
                began = time.monotonic()
                demo.send_signal(signal.SIGINT)
                assert demo.wait(60) == 0, shown(folder)
                took = time.monotonic() - began
        assert servers_of(folder) == []
        return took

    # The promise is three seconds; a slow test machine gets twice that.
    assert_within(6, stopped)


def test_demo_shows_webhooks_that_its_own_receiver_has_confirmed_and_verified(
    demo: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    wait_for(
        lambda: re.search(r"^webhook .* confirmed", shown(tmp_path), re.MULTILINE), "the confirmation", 120
    )
    wait_for(
        lambda: re.search(r"^webhook .* taken +aggregate\.updated", shown(tmp_path), re.MULTILINE),
        "a delivery",
        120,
    )
    assert re.search(r"^webhook .* refused", shown(tmp_path), re.MULTILINE) is None


def test_killed_launcher_leaves_no_process_behind(demo: subprocess.Popen[bytes], tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("not run: only Linux ties a child's life to its parent's")
    wait_for(lambda: "/v1/stream?" in shown(tmp_path), "the demo is up", 120)
    demo.kill()
    demo.wait()
    wait_for(lambda: servers_of(tmp_path) == [], "everything is gone")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["demo", "--for", "soon"], "'soon'"),
        (["up", "--kafka", "localhost"], "'localhost'"),
        (["up", "--redis", "localhost:6379"], "'localhost:6379'"),
        (["up", "--kafka", "127.0.0.1:1"], "127.0.0.1:1"),
        (["up", "--redis", "redis://127.0.0.1:1/0"], "redis://127.0.0.1:1/0"),
        (["up", "--port", "70000"], "70000"),
        (["token", "--org", "1234"], "'1234'"),
        (["token", "--org", "59000000000000", "--role", "Principal"], "'Principal'"),
        (["show", "Nowhere"], "scores up"),
        (["show", "Nowhere", "--redis", "redis://127.0.0.1:1/0"], "127.0.0.1:1"),
        (["verify", "--expect", "missing.jsonl", "--redis", "redis://127.0.0.1:1/0"], "missing.jsonl"),
        (["import", "missing.xml", "--gateway", "http://127.0.0.1:1"], "missing.xml"),
        (
            ["entities", "load", "missing.csv", "--kafka", "127.0.0.1:1", "--redis", "redis://127.0.0.1:1/0"],
            "missing.csv",
        ),
        (
            ["simulate", "--rescores", "7", "--kafka", "127.0.0.1:1", "--redis", "redis://127.0.0.1:1/0"],
            "--rescores",
        ),
        (["releases", "show", "--gateway", "http://127.0.0.1:1"], "127.0.0.1:1"),
        (["releases", "show", "--subject", "Art", "--gateway", "http://127.0.0.1:1"], "'Art'"),
        (["releases", "import", "missing.csv", "--gateway", "http://127.0.0.1:1"], "missing.csv"),
        (["releases", "set", "--year", "2026", "--subject", "ELA", "--state", "released"], "--all-districts"),
        (
            ["releases", "set", "--year", "2026", "--subject", "ELA", "--state", "open", "--all-districts"],
            "'open'",
        ),
        (["streams"], "SCORES_STUDENT_KEY_SECRET"),
        (["gateway"], "SCORES_JWKS_FILE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage_is_one_clear_message_and_exit_status_2(
    tmp_path: Path, arguments: list[str], named: str
) -> None:
    process = start(tmp_path, *arguments)
    assert process.wait(60) == 2, shown(tmp_path)
    assert named in shown(tmp_path)
    assert "Traceback" not in shown(tmp_path)
