"""The version has one source, and the metadata and the changelog agree with it."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

import trtmatte
from trtmatte import version

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.split(".")))


def test_the_package_has_the_version() -> None:
    assert trtmatte.__version__ == version.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version.__version__)


def test_the_installed_metadata_has_the_version() -> None:
    try:
        installed = metadata.version("trtmatte")
    except metadata.PackageNotFoundError:
        pytest.skip("trtmatte is not installed here, only on the path")
    assert installed == version.__version__


def test_the_project_reads_the_version() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert '\ndynamic = ["version"]\n' in project
    assert '\nversion = { attr = "trtmatte.version.__version__" }\n' in project
    assert not re.search(r'^version = "', project, re.MULTILINE)


def test_the_changelog_has_the_version() -> None:
    first, *releases = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert first == "Unreleased"
    for release in releases:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", release)
    versions = [release.split()[0] for release in releases]
    assert versions == sorted(set(versions), key=numbers, reverse=True)
    assert versions[:1] in ([], [version.__version__])


def test_the_changelog_has_each_kind_of_change_once() -> None:
    for release in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.*)$", release, re.MULTILINE)
        assert set(kinds) <= KINDS
        assert len(kinds) == len(set(kinds))
