"""Find a Java and a Maven that are new enough, or say what was found and what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.stack.child import executable
from schemas.errors import InvalidInput

OLDEST_JAVA: Final = 17  # Kafka 4's server
OLDEST_MAVEN: Final = (3, 6)

_ANSWER_SECONDS: Final = 30.0  # a cold Maven on a busy machine needs several
_INSTEAD: Final = "or use another Kafka: --kafka=embedded or --kafka=HOST:PORT"


def java_version(output: str) -> int | None:
    """The feature release in what ``java -version`` prints: 17 of "17.0.15", 8 of "1.8.0_392"."""
    match = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(match[1]) if match else None


def maven_version(output: str) -> tuple[int, int] | None:
    """Major and minor version in what ``mvn --version`` prints."""
    match = re.search(r"Apache Maven (\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else None


def find_java(environ: Mapping[str, str]) -> Path:
    """The first of JAVA_HOME and the PATH that is new enough.

    Raises:
        InvalidInput: there is none; the message names what there is.
    """
    candidates: list[str] = []
    if home := environ.get("JAVA_HOME"):
        candidates.append(str(Path(home) / "bin" / "java"))
    if on_path := shutil.which("java", path=environ.get("PATH", "")):
        candidates.append(on_path)
    found = []
    for candidate in candidates:
        version = java_version(_output(candidate, "-version")) if executable(candidate) else None
        if version is not None and version >= OLDEST_JAVA:
            return Path(candidate).absolute()
        found.append(f"{candidate} ({f'Java {version}' if version else 'not a working Java'})")
    raise InvalidInput(
        f"A local Kafka needs Java {OLDEST_JAVA} or newer; found {', '.join(found) or 'no java'}. Install one "
        f"(Debian, Ubuntu: apt install openjdk-{OLDEST_JAVA}-jre-headless; macOS: brew install openjdk), "
        f"set JAVA_HOME to it, {_INSTEAD}."
    )


def find_maven(environ: Mapping[str, str]) -> Path:
    """The ``mvn`` on the PATH; needed only to fetch Kafka the first time.

    Raises:
        InvalidInput: there is none, or it is too old.
    """
    wanted = ".".join(map(str, OLDEST_MAVEN))
    remedy = f"Install it (Debian, Ubuntu: apt install maven; macOS: brew install maven), {_INSTEAD}."
    path = shutil.which("mvn", path=environ.get("PATH", ""))
    if path is None:
        raise InvalidInput(
            f"Fetching Kafka needs Maven {wanted} or newer; found no mvn on the PATH. {remedy}"
        )
    output = _output(path, "--batch-mode", "--version")
    version = maven_version(output)
    if version is None or version < OLDEST_MAVEN:
        answer = (output.strip().splitlines() or ["no answer"])[0]
        raise InvalidInput(
            f"Fetching Kafka needs Maven {wanted} or newer; {path} answers '{answer}'. {remedy}"
        )
    return Path(path).absolute()


def _output(*command: str) -> str:
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.decode(errors="replace")
