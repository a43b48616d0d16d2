"""Apache Kafka's jars, fetched once by Maven from wherever the machine's Maven settings point to."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from cli.stack.child import ServerFailed
from cli.stack.java import find_maven

Report = Callable[[str], None]

_DOWNLOADED: Final = re.compile(r"Downloaded from \S+ \S*/([^/\s]+\.jar) \(([^)]*?)(?: at .*)?\)")


def bundled_text(name: str) -> str:
    """A file of the ``kafka`` folder beside this module, which the wheel carries too."""
    return (resources.files("cli.stack") / "kafka" / name).read_text(encoding="utf-8")


def kafka_version(pom: str) -> str:
    """The Kafka version that a POM of ours names."""
    match = re.search(r"<kafka\.version>([^<]+)<", pom)
    if match is None:
        raise ValueError("the POM names no kafka.version")
    return match[1]


def jar_folder(cache: Path, pom: str) -> Path:
    """Where the jars of exactly this POM lie: another version or backend means another folder."""
    digest = hashlib.sha256(pom.encode()).hexdigest()[:8]
    return cache / f"jars-{kafka_version(pom)}-{digest}"


def fetch_command(maven: Path, pom: Path, target: Path) -> list[str]:
    """The Maven call: downloads with strict checksums, and copies what a server needs at run time."""
    return [
        str(maven),
        "--batch-mode",
        "--strict-checksums",
        f"--file={pom}",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={target}",
    ]


def downloaded(line: str) -> str | None:
    """ "fetched kafka-clients-4.3.1.jar (10 MB)" for a line of Maven's that says so."""
    match = _DOWNLOADED.search(line)
    return f"fetched {match[1]} ({match[2]})" if match else None


def require_jars(cache: Path, environ: Mapping[str, str], report: Report) -> Path:
    """The folder with the jars, fetched first if it is not there; a broken fetch leaves nothing that looks whole.

    Raises:
        InvalidInput: Maven is needed, and missing or too old.
        ServerFailed: Maven could not fetch them.
    """
    pom = bundled_text("pom.xml")
    jars = jar_folder(cache, pom)
    if jars.is_dir():
        return jars
    maven = find_maven(environ)
    partial = cache / f".{jars.name}.{os.getpid()}"
    cache.mkdir(parents=True, exist_ok=True)
    partial.mkdir()
    try:
        report(f"fetching Apache Kafka {kafka_version(pom)} with Maven, once (about 45 MB) into {jars}")
        # Maven may write beside its POM, and the one in a wheel is not ours to write beside.
        pom_file = partial / "pom.xml"
        pom_file.write_text(pom, encoding="utf-8")
        _run(fetch_command(maven, pom_file, partial / "jars"), environ, report, jars)
        try:
            (partial / "jars").rename(jars)
        except OSError:
            if not jars.is_dir():  # else another process was quicker, and fetched the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return jars


def _run(command: list[str], environ: Mapping[str, str], report: Report, jars: Path) -> None:
    said: list[str] = []
    maven = subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with maven:
        assert maven.stdout is not None
        try:
            for line in maven.stdout:
                said.append(line.rstrip())
                if news := downloaded(line):
                    report(news)
        except BaseException:
            maven.kill()
            raise
    if maven.returncode != 0:
        errors = [line for line in said if line.startswith("[ERROR]")][:3] or said[-5:]
        raise ServerFailed(
            f"Maven could not fetch Kafka (exit status {maven.returncode}). Check the network and the mirrors in "
            f"~/.m2/settings.xml, or copy {jars} from a machine that has it. It said:\n" + "\n".join(errors)
        )
