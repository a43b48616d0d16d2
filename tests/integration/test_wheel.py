"""The wheel, installed beside nothing but the locked runtime dependencies: it is whole, it runs, and it has no tests.

The editable install of a work tree proves none of this: it also sees ``tests``, and every file that a wheel forgets.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
packages = sys.argv[1:]
names = []
for package in packages:
    path = importlib.import_module(package).__path__
    names += [module.name for module in pkgutil.walk_packages(path, package + ".")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        f"--outdir={folder}",
        str(ROOT),
        cwd=folder,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel and what ``requirements/runtime.txt`` locks, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    interpreter = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", f"--python={interpreter}"]
    run(
        *pip,
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
        str(wheel),
        cwd=folder,
    )
    (packages,) = folder.glob("lib/python*/site-packages")
    # Linked, not downloaded: the development environment has the same versions, which the next line checks.
    for dependency in locked_dependencies():
        link(dependency, packages)
    return interpreter


def locked_dependencies() -> list[Distribution]:
    """What the runtime lock names for this machine, as it is installed here."""
    text = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    found = []
    for line in re.findall(r"^[a-z0-9].*==.*?(?= \\$|$)", text, re.MULTILINE):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            installed = distribution(requirement.name)
            assert requirement.specifier.contains(installed.version, prereleases=True), (
                f"{line} is locked, and {installed.version} is installed; run `make setup`"
            )
            found.append(installed)
    return found


def link(dependency: Distribution, packages: Path) -> None:
    tops = {file.parts[0] for file in dependency.files or [] if file.parts[0] not in {"..", "__pycache__"}}
    for top in tops:
        target = packages / top
        if not target.exists():  # two distributions may share a namespace package
            target.symlink_to(Path(str(dependency.locate_file(top))))


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert inside == sources


def test_wheel_holds_the_scripts_the_assessments_the_types_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {package for package in PACKAGES if f"{package}/py.typed" not in names} == set()
    for pattern in (
        r"streams/lua/apply_batch\.lua",
        r"gateway/lua/\w+\.lua",
        r"gateway/page/.+\.html",
        r"schemas/assessment_data/.+\.toml",
        r"cli/stack/kafka/pom\.xml",
        r".+\.dist-info/licenses/LICENSE",
    ):
        assert [name for name in names if re.fullmatch(pattern, name)], pattern


def test_every_module_can_be_imported_beside_the_runtime_dependencies_alone(
    python: Path, tmp_path: Path
) -> None:
    count = run(str(python), "-c", IMPORT_EVERYTHING, *PACKAGES, cwd=tmp_path)
    assert int(count) > 50


def test_scores_command_runs_from_the_wheel(python: Path, tmp_path: Path) -> None:
    shown = run(str(python.parent / "scores"), "--help", cwd=tmp_path)
    assert "demo" in shown
    assert "verify" in shown


def test_assessments_are_read_from_the_wheel(python: Path, tmp_path: Path) -> None:
    code = "import schemas.assessments as a; print(a.__file__); a.load_registry()"
    assert "site-packages" in run(str(python), "-c", code, cwd=tmp_path)


def test_faust_finds_the_batched_transport_of_the_wheel(python: Path, tmp_path: Path) -> None:
    code = "from faust.transport.drivers import by_name; print(by_name('batch').__module__)"
    assert run(str(python), "-c", code, cwd=tmp_path).strip() == "streams.transport"


def test_tests_are_not_in_the_wheel(python: Path, tmp_path: Path) -> None:
    code = "import importlib.util as u; print(u.find_spec('tests'), u.find_spec('pytest'))"
    assert run(str(python), "-c", code, cwd=tmp_path).split() == ["None", "None"]
