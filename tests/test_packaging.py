"""The project's metadata, the Dockerfiles and the workflows name what exists, and agree with each other."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

from tools.wheels import VERSIONS

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
DOCKERFILES = sorted(ROOT.glob("Dockerfile*"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXTRAS = set(re.findall(r"^(\w+) = \[", PYPROJECT.partition("[project.optional-dependencies]")[2], re.MULTILINE))


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments."""
    text = re.sub(r"^#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line]


def is_sent(path: str) -> bool:
    """Report if `.dockerignore` lets a path through. The last line that matches it decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and line[0] != "#" and (fnmatch.fnmatch(path, pattern) or path.startswith(f"{pattern}/")):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_copies_what_exists_and_is_sent(path: Path) -> None:
    copied = [text.split()[:-1] for name, text in instructions(path) if name == "COPY" and "--from" not in text]
    sources = [each for line in copied for each in line]
    assert {"pyproject.toml", "setup.py", "CMakeLists.txt", "cmake", "csrc", "python"} <= set(sources)
    for each in sources:
        assert (ROOT / each).exists(), each
        assert is_sent(each), each
    assert not is_sent("build/core/build.ninja")
    assert not is_sent(".git/HEAD")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_runs_the_command_as_nobody_special(path: Path) -> None:
    found = instructions(path)
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "ENTRYPOINT"}
    assert {name for name, _ in found} == known
    last_stage = found[max(number for number, (name, _) in enumerate(found) if name == "FROM") :]
    assert ("USER", "trtmatte") in last_stage
    assert found[-1] == ("ENTRYPOINT", '["trtmatte"]')
    assert not [text for name, text in last_stage if "apt-get" in text]


def test_extras_in_dockerfiles_and_docs_exist() -> None:
    places = [*DOCKERFILES, ROOT / "README.md", ROOT / "RELEASING.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        extra
        for path in places
        for names in re.findall(r"""(?:trtmatte|\.|\.whl|\.tar\.gz)\[([\w,]+)\]""", path.read_text("utf-8"))
        for extra in names.split(",")
    }
    assert {"cpu", "cuda", "video"} <= named <= EXTRAS


def test_the_old_extras_still_exist() -> None:
    """Commands in scripts and documents of others name them."""
    assert {"cpu", "cuda", "build", "video", "align", "live", "torch"} <= EXTRAS


def test_a_major_version_that_was_not_tried_is_not_installed() -> None:
    assert '"av>=17.1,<20"' in PYPROJECT
    assert '"cuda-core>=1.2,<2"' in PYPROJECT


def test_the_same_pythons_everywhere() -> None:
    assert tuple(re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)) == VERSIONS
    wheels = re.search(r'^build = "(.*)"$', PYPROJECT, re.MULTILINE)
    assert wheels is not None
    assert wheels[1].split() == [f"cp{version.replace('.', '')}-*" for version in VERSIONS]
    tested = re.search(r"python: \[(.*)\]", (ROOT / ".github/workflows/test.yml").read_text())
    assert tested is not None
    assert tuple(re.findall(r'"([\d.]+)"', tested[1])) == VERSIONS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_few_rights_and_fixed_actions(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "\npermissions:\n  contents: read\n" in text
    actions = re.findall(r"uses: (\S+)", text)
    assert actions
    for action in actions:
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", action)
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
    assert "secrets." not in text
    assert text.count(": write") == text.count("id-token: write") <= 1


def test_only_a_tag_is_published() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text("utf-8")
    publish = text.partition("\n  publish:\n")[2]
    assert "if: github.event_name == 'push' && startsWith(github.ref, 'refs/tags/v')" in publish
    assert "needs: [wheels, sdist, docker]" in publish
    assert "name: pypi" in publish
