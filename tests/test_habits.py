"""The Makefile, the pre-commit hooks and the documents for contributors agree with each other and with the files."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text()
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md")]
PAGES += [*sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / ".github").rglob("*.md"))]


def recipe(target: str) -> list[str]:
    """Return the commands of a target, with the folder of `.venv` filled in."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found, f"the Makefile has no target {target}"
    return [line.strip().replace("$(RUN)", ".venv/bin/") for line in found[1].splitlines()]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


def cpp_files() -> list[str]:
    make = shutil.which("make") or pytest.skip("make is not installed")
    ran = subprocess.run(
        [make, "--silent", "--eval=show: ; @echo $(CPP)", "show"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return ran.stdout.split()


def test_hooks_run_what_make_runs() -> None:
    entries = re.findall(r"^ +entry: (.*)$", HOOKS, re.MULTILINE)
    # clang-format gets the names of the changed files from pre-commit, all names from make
    commands = [command.removesuffix(" $(CPP)") for command in recipe("lint")]
    assert entries == [*commands, "make --silent types"]


def test_the_hook_of_clang_format_takes_the_files_that_make_takes() -> None:
    pattern = re.search(r"^ +files: (.*)$", HOOKS, re.MULTILINE)
    assert pattern
    tops = ("csrc", "tests", "examples", "tools", "benchmarks")
    everything = [path.relative_to(ROOT).as_posix() for top in tops for path in (ROOT / top).rglob("*.*")]
    assert sorted(name for name in everything if re.search(pattern[1], name)) == sorted(cpp_files())


def test_each_target_has_a_line_of_help() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert targets() == set(phony[1].split()) - {"FORCE"}
    assert targets() == set(re.findall(r"^([a-z][a-z-]*):[^#\n]*## \w", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_targets_in_the_documents_exist(page: Path) -> None:
    commands = re.findall(r"(?:`|^)make ((?:[a-z][a-z-]*(?: |(?=`|$|\n)))+)", page.read_text(), re.MULTILINE)
    named = {name for command in commands for name in command.split()}
    assert named <= targets()


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "RELEASING.md", "SECURITY.md", "docs/testing.md"])
def test_the_paths_in_the_documents_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    folders = "csrc|python|tests|fuzz|benchmarks|docs|tools|requirements"
    for name in re.findall(rf"(?<![\w./-])((?:{folders})/[\w./-]*)", text):
        assert (ROOT / name.rstrip(".")).exists(), f"{page} names {name}, which does not exist"


def test_the_issue_form_asks_for_what_is_needed() -> None:
    form = (ROOT / ".github/ISSUE_TEMPLATE/bug_report.yml").read_text()
    fields = re.findall(r"^    id: (\w+)$", form, re.MULTILINE)
    assert {"doctor", "model", "command"} <= set(fields)
    assert len(fields) == len(set(fields))


def test_make_knows_the_variables_of_cmake() -> None:
    """Each variable that CMake reads from the environment starts a new build of the core."""
    cmake = "".join(path.read_text() for path in [ROOT / "CMakeLists.txt", *(ROOT / "cmake").glob("*.cmake")])
    read = {name for pair in re.findall(r"ENV\{(\w+)\}|from_environment\((\w+) ", cmake) for name in pair}
    names = read - {"", "name"}
    settings = re.search(r"^SETTINGS := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert settings
    assert names
    assert names <= set(settings[1].replace("\\", " ").split())
