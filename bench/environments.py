"""Environments for peers that need other libraries than we do, made once below ``.scores/bench``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from cli.stack.java import find_java, find_maven
from cli.stack.kafka_jars import fetch_command

_ROOT: Final = Path(".scores/bench")
_PEERS: Final = Path(__file__).parent / "peers"


class CannotSetUp(Exception):
    """A peer's environment cannot be made here; the message is shown in its row of the table."""


def python_of(name: str) -> str:
    """The interpreter of the environment of ``peers/NAME.txt``, made first where it is not there or out of date."""
    locked = _PEERS / f"{name}.txt"
    folder = (_ROOT / name).absolute()
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.exists() and stamp.read_bytes() == locked.read_bytes():
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"setting up {name} (once) in {folder}", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", str(folder)], f"{name}: no environment")
    _run(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "-r",
            str(locked),
        ],
        f"{name} does not install",
    )
    stamp.write_bytes(locked.read_bytes())
    return str(python)


def java_of(name: str, main_class: str, options: list[str]) -> list[str]:
    """The command that runs the class of ``peers/NAME``, its jars fetched and compiled first where needed."""
    sources = _PEERS / name
    folder = (_ROOT / name).absolute()
    jars, classes, stamp = folder / "jars", folder / "classes", folder / "compiled.txt"
    wanted = (sources / "pom.xml").read_bytes() + (sources / f"{main_class}.java").read_bytes()
    java = find_java(os.environ)
    if not (stamp.exists() and stamp.read_bytes() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"fetching and compiling {name} (once) in {folder}", file=sys.stderr, flush=True)
        pom = folder / "pom.xml"  # a copy: Maven may write beside it
        shutil.copy(sources / "pom.xml", pom)
        _run(fetch_command(find_maven(os.environ), pom, jars), f"{name}: Maven failed")
        compiler = java.resolve().parent / "javac"
        if not compiler.exists():
            raise CannotSetUp(f"{name}: {compiler} is missing; install a JDK, not only a runtime")
        _run(
            [str(compiler), "-cp", f"{jars}/*", "-d", str(classes), str(sources / f"{main_class}.java")],
            f"{name} does not compile",
        )
        stamp.write_bytes(wanted)
    return [str(java), *options, "-cp", f"{classes}{os.pathsep}{jars}/*", main_class]


def _run(command: list[str], failure: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        said = next(
            (line for line in reversed(lines) if "ERROR" in line or "error" in line), "".join(lines[-1:])
        )
        raise CannotSetUp(f"{failure}: {said.strip()[:200]}")
