"""The lock files fit the requirements, and they are what every install uses."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
SETS = ("prod", "local", "dev")


def required(name: str) -> list[Requirement]:
    """The requirements of one set, with those of the sets that it includes."""
    found: list[Requirement] = []
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        if line.startswith("-r "):
            found += required(line.removeprefix("-r ").removesuffix(".txt"))
        elif line and not line.startswith("#"):
            found.append(Requirement(line))
    return found


def locked(name: str) -> list[tuple[Requirement, int]]:
    """Each pinned package of a lock file with the number of its hashes."""
    text = (FOLDER / "lock" / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(Requirement(line.split("--hash")[0].strip()), line.count("--hash=sha256:")) for line in lines]


def versions(name: str) -> dict[str, set[str]]:
    """Canonical name -> versions; several where the platform or the Python decides."""
    found: dict[str, set[str]] = {}
    for requirement, _ in locked(name):
        found.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier).removeprefix("=="))
    return found


@pytest.mark.parametrize("name", SETS)
def test_every_locked_package_is_exact_and_has_hashes(name: str):
    for requirement, hashes in locked(name):
        assert [one.operator for one in requirement.specifier] == ["=="], requirement
        assert hashes, f"{requirement} has no hash"


@pytest.mark.parametrize("name", SETS)
def test_every_requirement_is_locked_at_an_allowed_version(name: str):
    known = versions(name)
    for requirement in required(name):
        found = known.get(canonicalize_name(requirement.name))
        assert found, f"{requirement} is not in lock/{name}.txt: run `make lock`"
        assert all(requirement.specifier.contains(one) for one in found), f"lock/{name}.txt has {found} for {requirement}: run `make lock`"


def test_the_smaller_sets_have_the_versions_of_the_largest():
    largest = versions("dev")
    for name in ("prod", "local"):
        assert {package: found for package, found in versions(name).items() if largest.get(package) != found} == {}


def test_this_environment_is_the_locked_one():
    """What the suite proves, it proves about these versions."""
    here: dict[str, str] = {canonicalize_name(one.metadata["Name"]): one.version for one in metadata.distributions()}
    wrong = {
        requirement.name: f"{here.get(canonicalize_name(requirement.name))} is installed, {requirement.specifier} is locked"
        for requirement, _ in locked("dev")
        if (requirement.marker is None or requirement.marker.evaluate())
        and here.get(canonicalize_name(requirement.name)) != str(requirement.specifier).removeprefix("==")
    }
    assert not wrong


@pytest.mark.parametrize("path", ["Makefile", "Dockerfile"])
def test_installs_take_lock_files_and_check_hashes(path: str):
    """Every `pip install` of the repository; a new one without hashes is found here."""
    text = (ROOT / path).read_text()
    installs = re.findall(r"pip install[^\n&]*", text)
    assert installs
    assert [line for line in installs if "--require-hashes" not in line] == []
    assert not re.search(r"requirements/(base|local|dev|prod)\.txt", re.sub(r"^lock:.*?\n\n", "", text, flags=re.M | re.S))
