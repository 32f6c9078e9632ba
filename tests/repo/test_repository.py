"""Habits of the repository that no other tool checks."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import tomllib  # type: ignore[import-not-found]  # Tests run on 3.11, the packages are checked for 3.10.

ROOT = Path(__file__).parents[2]
LISTED = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
TRACKED = [ROOT / name for name in subprocess.check_output(LISTED, cwd=ROOT, text=True).splitlines()]
SOURCES = [
    path
    for path in TRACKED
    if path.suffix in {".py", ".cc", ".cpp", ".h", ".hpp"} and not path.stem.endswith(("_pb2", "_pb2_grpc"))
]
PACKAGES = ["protos", "client", "server", "trainer"]
MAX_LINES = 500

# Indexes are a matter of the machine that installs, so no file of ours may name one. Split, so that this file does not.
INDEX_HOSTS = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "test." + "pypi"]


def existing_text(path: Path) -> str:
    """Returns the text of a tracked file; nothing for one that is deleted or binary."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def test_no_file_names_a_package_index():
    named = [
        f"{path.relative_to(ROOT)}: {host}" for path in TRACKED for host in INDEX_HOSTS if host in existing_text(path)
    ]
    assert not named


def test_no_file_names_a_folder_of_one_machine():
    local = re.compile(r"(?<![\w.])/(?:work|root)/")
    assert not {path for path in TRACKED if local.search(existing_text(path))}


def test_sources_stay_short():
    long = {
        str(path.relative_to(ROOT)): count for path in SOURCES if (count := existing_text(path).count("\n")) > MAX_LINES
    }
    assert not long, f"more than {MAX_LINES} lines: split along what changes together"


def test_no_unfinished_business():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        str(path.relative_to(ROOT)) for path in SOURCES if path != Path(__file__) and marks.search(existing_text(path))
    ]
    assert not found


def test_makefile_has_few_targets_and_each_says_what_it_does():
    makefile = (ROOT / "Makefile").read_text()
    phony = set("".join(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)).split())
    described = set(re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE))
    assert phony == described
    assert len(phony) <= 15


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_share_version_and_licence(package):
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    assert project["version"] == tomllib.loads((ROOT / "protos" / "pyproject.toml").read_text())["project"]["version"]
    assert project["license"] == "Apache-2.0"


def test_constraints_pin_names_and_versions_only():
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.\-]+==[A-Za-z0-9_.+!]+", pin) for pin in pins)
    names = [re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_dependency_is_pinned_for_the_tests(package):
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"] + [
        r for extra in project.get("optional-dependencies", {}).values() for r in extra
    ]
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    names = {
        re.split(r"[^A-Za-z0-9_.\-]", requirement)[0].lower()
        for requirement in declared
        if "python_version <" not in requirement
    }
    assert {name for name in names if not name.startswith("rowbank")} <= pinned
