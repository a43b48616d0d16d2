"""Exam reports found in files, folders and archives."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from cli.exam_sources import ExamDocument, ExamSources, Unreadable
from schemas.errors import InvalidInput

MEMBERS = {
    "CA/one.xml": b"<TDSReport>1</TDSReport>",
    "../../etc/two.xml": b"<TDSReport>2</TDSReport>",
    "CA/events.jsonl": b'{"a":1}\n\n{"a":2}\n',
    "CA/events.json": b'[{"a":3},{"a":4}]',
    "README.txt": b"not a report",
    "__MACOSX/._one.xml": b"\x00\x05\x16\x07",
}


def tar(path: Path, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # the mode is a variable here
        for name, data in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("CA/link.xml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


def zip_(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("kind", ["season.tar.gz", "season.tgz", "season.tar", "season.zip"])
def test_reports_are_read_from_archives_without_anything_reaching_the_disk(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    archive = zip_(path) if kind.endswith("zip") else tar(path, "w" if kind.endswith("r") else "w:gz")
    sources = ExamSources([archive])

    found = list(sources)

    assert [
        (document.name.removeprefix(f"{kind}:"), document.data)
        for document in found
        if isinstance(document, ExamDocument)
    ] == [
        ("CA/one.xml", MEMBERS["CA/one.xml"]),
        ("../../etc/two.xml", MEMBERS["../../etc/two.xml"]),
        ("CA/events.jsonl:1", b'{"a":1}'),
        ("CA/events.jsonl:3", b'{"a":2}'),
        ("CA/events.json:1", b'{"a":3}'),
        ("CA/events.json:2", b'{"a":4}'),
    ]
    assert sources.skipped == 2
    assert sources.done_bytes == sources.total_bytes
    assert [path.name for path in tmp_path.iterdir()] == [kind]


def test_folders_are_searched_through_and_other_files_passed_over(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "deep" / "2.XML").write_bytes(b"<two/>")
    (tmp_path / "a.xml").write_bytes(b"<one/>")
    (tmp_path / "notes.txt").write_text("not a report")
    sources = ExamSources([tmp_path])

    assert [found.name for found in sources] == [
        str(tmp_path / "a.xml"),
        str(tmp_path / "b" / "deep" / "2.XML"),
    ]
    assert sources.skipped == 1


def test_broken_json_is_left_for_the_gateway_to_refuse(tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    file.write_bytes(b"[{]")

    assert list(ExamSources([file])) == [ExamDocument(str(file), "application/json", b"[{]")]


@pytest.mark.parametrize("kind", ["season.tar.gz", "season.tar", "season.zip"])
def test_an_archive_that_breaks_off_anywhere_is_never_taken_for_a_whole_one(
    tmp_path: Path, kind: str
) -> None:
    archive = tmp_path / kind
    whole = zip_(archive) if kind.endswith("zip") else tar(archive, "w" if kind.endswith("r") else "w:gz")
    data = whole.read_bytes().rstrip(b"\0")  # an uncompressed archive ends with kilobytes of padding

    for kept in range(1, len(data), 37):
        archive.write_bytes(data[:kept])
        *_, last = ExamSources([archive])

        assert isinstance(last, Unreadable), f"{kept} of {len(data)} bytes"
        assert "cannot be read to its end" in last.reason


def test_an_encrypted_or_false_archive_is_reported_by_name(tmp_path: Path) -> None:
    false = tmp_path / "false.zip"
    false.write_bytes(b"this is no archive")

    [found] = ExamSources([false])

    assert isinstance(found, Unreadable)
    assert found.name == str(false)


def test_a_member_that_unpacks_to_far_more_than_a_report_is_not_read_to_its_end(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.xml", b"0" * (17 * 1024 * 1024))
        archive.writestr("good.xml", b"<good/>")

    large, good = ExamSources([bomb])

    assert isinstance(large, Unreadable)
    assert "larger than 16 MiB" in large.reason
    assert isinstance(good, ExamDocument)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "does not exist"),
        ("table.csv", "not a kind of file that is imported"),
        ("empty", "no exam report found"),
    ],
)
def test_paths_that_hold_nothing_to_import_are_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "table.csv").write_text("a,b")
    (tmp_path / "empty").mkdir()

    with pytest.raises(InvalidInput, match=said) as refusal:
        ExamSources([tmp_path / name])

    assert name in str(refusal.value)
