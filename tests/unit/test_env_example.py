"""``.env.example`` names every setting that the code reads, with the default that the code has, and no other."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "streams", "gateway", "consumers", "cli")
NAME = re.compile(r"SCORES_[A-Z_]*[A-Z]")
ENTRY = re.compile(r"^(?P<off>#?)(?P<name>SCORES_[A-Z_]*[A-Z])=(?P<value>.*)$")
READERS = {
    "text",
    "integer",
    "seconds",
    "choice",
    "addresses",
    "redis_url",
    "secret",
}  # methods of Environment


class Entry(NamedTuple):
    """One setting of the example file."""

    default: str | None  # None: it must be filled in
    comment: str


def entries(text: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    comment: list[str] = []
    for line in text.splitlines():
        if match := ENTRY.match(line):
            default = match["value"] if match["off"] else None
            assert match["name"] not in found, f"{match['name']} is there twice"
            assert match["off"] or not match["value"], f"{match['name']} has a value in an example of secrets"
            found[match["name"]] = Entry(default, "\n".join(comment))
        comment = [*comment, line] if line.startswith("# ") else []
    return found


@functools.cache
def syntax_trees() -> tuple[ast.Module, ...]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple(ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in paths)


def constant(node: ast.expr) -> object:
    """The value of a literal, ``...`` for what is computed."""
    return node.value if isinstance(node, ast.Constant) else ...


def read_by_the_code() -> dict[str, set[object]]:
    """Setting -> the defaults with which it is read; ``...`` where the code computes it."""
    found: dict[str, set[object]] = {}
    for tree in syntax_trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            named = [keyword.value for keyword in node.keywords if keyword.arg == "envvar"]
            if named and isinstance(name := constant(named[0]), str) and NAME.fullmatch(name):
                found.setdefault(name, set()).add(...)
            if not node.args or not isinstance(node.func, ast.Attribute):
                continue
            name = constant(node.args[0])
            if not isinstance(name, str) or not NAME.fullmatch(name):
                continue
            defaults = [constant(argument) for argument in node.args[1:2]]
            if node.func.attr in READERS or (node.func.attr == "get" and defaults):
                found.setdefault(name, set()).update(defaults or [None])
    return found


def mentioned_by_the_code() -> set[str]:
    return {
        name
        for tree in syntax_trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for name in NAME.findall(node.value)
    }


def interpolated_by_compose() -> set[str]:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    return set(re.findall(r"\$\{(SCORES_[A-Z_]+)", text))


EXAMPLE = entries((ROOT / ".env.example").read_text(encoding="utf-8"))


def test_every_setting_that_the_code_reads_is_explained() -> None:
    assert read_by_the_code().keys() - EXAMPLE.keys() == set()


def test_every_variable_of_the_compose_file_is_explained() -> None:
    assert interpolated_by_compose() - EXAMPLE.keys() == set()


def test_no_setting_is_explained_that_nothing_reads() -> None:
    assert EXAMPLE.keys() - read_by_the_code().keys() - interpolated_by_compose() == set()


def test_no_message_or_docstring_names_a_setting_that_nothing_reads() -> None:
    assert mentioned_by_the_code() - read_by_the_code().keys() == set()


def test_every_setting_is_explained_with_its_unit_and_its_danger() -> None:
    lacking = [n for n, entry in EXAMPLE.items() if not {"Unit:", "Danger:"} <= set(entry.comment.split())]
    assert lacking == []


def test_defaults_in_the_example_are_the_defaults_in_the_code() -> None:
    differing = {
        name: (EXAMPLE[name].default, default)
        for name, defaults in read_by_the_code().items()
        for default in defaults
        if name in EXAMPLE and default is not ... and not same(EXAMPLE[name].default, default)
    }
    assert differing == {}


def same(shown: str | None, default: object) -> bool:
    if isinstance(default, (int, float)):
        return shown is not None and float(shown) == default
    return shown == default


def test_reading_finds_what_has_no_default_and_what_has_one() -> None:
    read = read_by_the_code()
    assert read["SCORES_STUDENT_KEY_SECRET"] == {None}
    assert read["SCORES_BATCH_RECORDS"] == {5_000}


def test_entry_without_a_comment_of_its_own_takes_none_from_its_neighbour() -> None:
    found = entries("# Why. Unit: x.\n#SCORES_A=1\n#SCORES_B=2\n\n# far away\n\nSCORES_C=\n")
    assert found == {
        "SCORES_A": Entry("1", "# Why. Unit: x."),
        "SCORES_B": Entry("2", ""),
        "SCORES_C": Entry(None, ""),
    }
