"""What a machine without the right Java or Maven is told, before anything is downloaded or started."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.stack.child import ServerFailed
from cli.stack.java import find_java, find_maven, java_version, maven_version
from cli.stack.kafka_jars import bundled_text, jar_folder, require_jars
from schemas.errors import InvalidInput


def _program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _java(folder: Path, version: str) -> Path:
    return _program(folder / "java", f"echo 'openjdk version \"{version}\"' >&2")


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('Picked up JAVA_TOOL_OPTIONS: -Dx=1\nopenjdk version "25" 2025-09-16', 25),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
    ids=["17", "8", "25 after a notice", "the placeholder of macOS"],
)
def test_java_says_its_version_in_several_ways(output: str, version: int | None) -> None:
    assert java_version(output) == version


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("\x1b[1mApache Maven 3.8.7\x1b[m\nMaven home: /m", (3, 8)),
        ("Apache Maven 4.0.0-rc-5", (4, 0)),
        ("", None),
    ],
    ids=["coloured", "candidate", "nothing"],
)
def test_maven_says_its_version_in_several_ways(output: str, version: tuple[int, int] | None) -> None:
    assert maven_version(output) == version


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    chosen = _java(tmp_path / "home" / "bin", "21.0.1")
    _java(tmp_path / "path", "17.0.1")
    environ = {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")}
    assert find_java(environ) == chosen


def test_an_old_java_home_is_passed_over_for_a_newer_java_on_the_path(tmp_path: Path) -> None:
    _java(tmp_path / "home" / "bin", "1.8.0_392")
    chosen = _java(tmp_path / "path", "17.0.1")
    environ = {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")}
    assert find_java(environ) == chosen


def test_an_old_java_is_named_with_its_version_and_the_remedy(tmp_path: Path) -> None:
    old = _java(tmp_path, "11.0.2")
    with pytest.raises(InvalidInput) as caught:
        find_java({"PATH": str(tmp_path)})
    message = str(caught.value)
    assert f"{old} (Java 11)" in message
    assert "needs Java 17 or newer" in message
    assert "JAVA_HOME" in message
    assert "--kafka=embedded" in message


def test_a_java_home_without_a_java_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"gone/bin/java \(not a working Java\)"):
        find_java({"JAVA_HOME": str(tmp_path / "gone"), "PATH": ""})


def test_no_java_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="found no java"):
        find_java({"PATH": str(tmp_path)})


def test_no_maven_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"found no mvn on the PATH\. Install it"):
        find_maven({"PATH": str(tmp_path)})


def test_an_old_maven_is_quoted(tmp_path: Path) -> None:
    _program(tmp_path / "mvn", "echo Apache Maven 3.0.5")
    with pytest.raises(InvalidInput, match=r"3\.6 or newer; .*mvn answers 'Apache Maven 3\.0\.5'"):
        find_maven({"PATH": str(tmp_path)})


def test_jars_that_are_there_need_no_maven(tmp_path: Path) -> None:
    jars = jar_folder(tmp_path, bundled_text("pom.xml"))
    jars.mkdir()
    assert require_jars(tmp_path, {"PATH": ""}, print) == jars


def test_a_failed_fetch_quotes_maven_and_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    _program(
        tmp_path / "bin" / "mvn",
        'case "$*" in *--version*) echo Apache Maven 3.9.0;; *) echo "[ERROR] No route to the mirror"; exit 1;; esac',
    )
    cache = tmp_path / "cache"
    with pytest.raises(ServerFailed, match=r"exit status 1(.|\n)*No route to the mirror"):
        require_jars(cache, {"PATH": str(tmp_path / "bin")}, lambda _: None)
    assert list(cache.iterdir()) == []


def test_a_fetch_reports_each_jar_and_runs_once(tmp_path: Path) -> None:
    shell_tools = str(Path(shutil.which("mkdir") or "/bin/mkdir").parent)
    _program(
        tmp_path / "bin" / "mvn",
        """case "$*" in *--version*) echo Apache Maven 3.9.0; exit;; esac
        for word in "$@"; do case "$word" in -DoutputDirectory=*) target="${word#*=}";; esac; done
        mkdir -p "$target"; : > "$target/kafka.jar"
        echo "Downloaded from m: scheme://host/kafka.jar (2 MB at 1 MB/s)" """,
    )
    environ = {"PATH": f"{tmp_path / 'bin'}:{shell_tools}"}
    said: list[str] = []
    jars = require_jars(tmp_path / "cache", environ, said.append)
    assert (jars / "kafka.jar").exists()
    assert said[-1] == "fetched kafka.jar (2 MB)"
    assert require_jars(tmp_path / "cache", {"PATH": ""}, said.append) == jars
