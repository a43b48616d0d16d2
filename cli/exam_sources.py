"""Exam reports found in files, folders and archives, one after the other.

Nothing is written to disk, and no name inside an archive is ever used as a path. Limits hold for what a member really
holds, not for what its header says.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from schemas.errors import InvalidInput

XML: Final = "application/xml"
JSON: Final = "application/json"

# The largest report seen has 141 kB; a hundred times that is no report any more.
_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
# One JSON file of many events is split here, so it may be larger than one request.
_JSON_FILE_BYTES: Final = 256 * 1024 * 1024

_GZIP: Final = b"\x1f\x8b"
_REST_BYTES: Final = 65_536

_ARCHIVES: Final = (".tar.gz", ".tgz", ".tar", ".zip")
_DOCUMENTS: Final = (".xml", ".json", ".jsonl")
_EXPECTED: Final = "expected .xml, .json or .jsonl files, folders, or .tar.gz, .tgz, .tar or .zip archives"

_split_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class ExamDocument:
    """One exam report, with a name that tells a person where it came from."""

    name: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file, or the rest of an archive, that could not be read."""

    name: str
    reason: str


class ExamSources:
    """All exam reports under some paths, with a measure of how far reading has come."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Look at the paths; nothing is read yet.

        Raises:
            InvalidInput: a path does not exist, or is no file of a kind that is read.
        """
        self.skipped = 0  # files and members of other kinds
        self._files = [file for path in paths for file in self._found(path)]
        self.total_bytes = sum(size for _, size in self._files)
        self.done_bytes = 0
        if not self._files:
            raise InvalidInput(f"{', '.join(map(str, paths))}: no exam report found; {_EXPECTED}")

    def __iter__(self) -> Iterator[ExamDocument | Unreadable]:
        done = 0
        for file, size in self._files:
            try:
                yield from self._read(file)
            except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                yield Unreadable(str(file), f"cannot be read to its end: {error}")
            done += size
            self.done_bytes = done

    def _found(self, path: Path) -> Iterator[tuple[Path, int]]:
        if path.is_dir():
            for folder, folders, names in os.walk(path, onerror=_unreadable_folder):
                folders.sort()
                for name in sorted(names):
                    if _is(name, _DOCUMENTS) or _is(name, _ARCHIVES):
                        file = Path(folder, name)
                        yield file, file.stat().st_size
                    else:
                        self.skipped += 1
        elif path.is_file():
            if not (_is(path.name, _DOCUMENTS) or _is(path.name, _ARCHIVES)):
                raise InvalidInput(f"'{path}' is not a kind of file that is imported; {_EXPECTED}")
            yield path, path.stat().st_size
        else:
            raise InvalidInput(f"'{path}' does not exist; {_EXPECTED}")

    def _read(self, file: Path) -> Iterator[ExamDocument | Unreadable]:
        start = self.done_bytes
        with file.open("rb") as stream:
            if not _is(file.name, _ARCHIVES):
                yield from _documents(str(file), stream)
                return
            members = _zip_members if _is(file.name, (".zip",)) else _tar_members
            for name, content in members(stream):
                self.done_bytes = max(self.done_bytes, start + stream.tell())
                if _is(name, _DOCUMENTS):
                    yield from _documents(f"{file.name}:{name}", content)
                else:
                    self.skipped += 1


def _unreadable_folder(error: OSError) -> None:
    raise InvalidInput(f"folder '{error.filename}' cannot be read: {error.strerror}")


def _is(name: str, suffixes: tuple[str, ...]) -> bool:
    # Hidden files are no reports; macOS puts "._" twins of every file into archives.
    last = name.rsplit("/", 1)[-1].lower()
    return last.endswith(suffixes) and not last.startswith(".")


def _tar_members(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    compressed = stream.read(2) == _GZIP
    stream.seek(0)
    # gzip itself, not tarfile's own: that one takes the end of a truncated file for the end of the archive.
    content = _Remembering(gzip.GzipFile(fileobj=stream) if compressed else stream)
    with tarfile.open(fileobj=content, mode="r|") as archive:
        for member in archive:
            if member.isfile() and (data := archive.extractfile(member)) is not None:
                yield member.name, data
            # It remembers every member it has passed, which is gigabytes for a season's archive, and needs none of
            # them to go on (Python 3.13 stops doing so). The type stubs do not know the attribute.
            vars(archive)["members"].clear()
    content.check_end()


class _Remembering(io.BufferedIOBase):
    """A stream that knows its last block; an archive's is zeros, and nothing else tells that it is whole."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self._stream = stream
        self._last = b""

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._stream.read(-1 if size is None else size)
        self._last = (self._last + data)[-tarfile.BLOCKSIZE :] if len(data) < tarfile.BLOCKSIZE else data
        return data

    def check_end(self) -> None:
        """Read to the end, where gzip compares its checksum, too.

        Raises:
            tarfile.ReadError: the archive breaks off.
        """
        while self.read(_REST_BYTES):
            pass
        if self._last[-tarfile.BLOCKSIZE :] != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it breaks off; the rest of the archive is missing")


def _zip_members(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            try:
                content = archive.open(member)
            except (RuntimeError, NotImplementedError) as error:  # encrypted, or compressed in an unusual way
                raise zipfile.BadZipFile(f"{member.filename}: {error}") from None
            with content:
                yield member.filename, content


def _documents(name: str, stream: IO[bytes]) -> Iterator[ExamDocument | Unreadable]:
    if name.lower().endswith(".jsonl"):
        yield from _json_lines(name, stream)
        return
    many = name.lower().endswith(".json")
    limit = _JSON_FILE_BYTES if many else _DOCUMENT_BYTES
    data = stream.read(limit + 1)
    if len(data) > limit:
        yield _too_large(name, limit)
    elif many:
        yield from _json_events(name, data)
    else:
        yield ExamDocument(name, XML, data)


def _json_lines(name: str, stream: IO[bytes]) -> Iterator[ExamDocument | Unreadable]:
    number = 0
    while line := stream.readline(_DOCUMENT_BYTES + 1):
        number += 1
        if len(line) > _DOCUMENT_BYTES:
            yield _too_large(f"{name}:{number}", _DOCUMENT_BYTES)
            return
        if line.strip():
            yield ExamDocument(f"{name}:{number}", JSON, line.strip())


def _json_events(name: str, data: bytes) -> Iterator[ExamDocument]:
    try:
        events = _split_array(data) if data.lstrip()[:1] == b"[" else [data]
    except (msgspec.DecodeError, UnicodeDecodeError):
        events = [data]  # the gateway says what is wrong with it
    for number, event in enumerate(events, 1):
        yield ExamDocument(f"{name}:{number}" if len(events) > 1 else name, JSON, bytes(event))


def _too_large(name: str, limit: int) -> Unreadable:
    return Unreadable(name, f"larger than {limit // 1024 // 1024} MiB; no exam report is")
