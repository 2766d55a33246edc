"""The pages of `docs/extending`, followed word for word on a copy of the repository until a frame runs.

A page's blocks are announced by a line with a path: a whole file, or lines to add after a line that the file has. Files
without a folder are scripts, which run outside the repository. `op.md` quotes files that exist.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/extending"
SCRIPT = "try_it.py"
TITLE = r"^`(?P<path>[\w./]+)`(?:, after the line `(?P<after>[^`\n]+)`)?:"
BLOCK = re.compile(TITLE + r"\n\n```\w*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"^It prints:\n\n```text\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?<![\w./-])(?:(?:csrc|python|tests|benchmarks|cmake|docs|engines|examples)/[\w./-]*\w)")
"""Paths from the top of the repository."""


@dataclass(frozen=True)
class Block:
    """A block of a page. Its text is the whole file `path`, or goes after the line `after` of it."""

    path: str
    after: str | None
    text: str

    def apply(self, checkout: Path) -> None:
        place = checkout / self.path
        if self.after is None:
            assert not place.exists(), f"{self.path} exists already"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(self.text, "utf-8")
            return
        before = place.read_text("utf-8")
        assert before.count(f"{self.after}\n") == 1, f"{self.path} has no line {self.after!r}, or several"
        place.write_text(before.replace(f"{self.after}\n", f"{self.after}\n{self.text}"), "utf-8")


def blocks(page: str) -> list[Block]:
    found = BLOCK.finditer((PAGES / page).read_text("utf-8"))
    return [Block(each["path"], each["after"], each["text"]) for each in found]


def expected(page: str) -> str:
    """The text that the page's script prints."""
    found = PRINTS.search((PAGES / page).read_text("utf-8"))
    assert found, f"{page} does not say what its script prints"
    return found["text"]


class Checkout:
    """A copy of the repository's Python code, or of what the core is built from as well, with a page's blocks."""

    def __init__(self, folder: Path, page: str, *more: str) -> None:
        self.folder, self.page = folder / "checkout", page
        for name in ("python", *more):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, self.folder / name)
        self.work = folder / "work"
        self.work.mkdir()
        for block in blocks(page):
            block.apply(self.work if "/" not in block.path else self.folder)

    def run(self, *command: str | Path) -> str:
        """What a command prints that runs in an empty folder, with the copy in the place of the installed package."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TRTMATTE_")},
            "PYTHONPATH": str(self.folder / "python"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "TRTMATTE_CACHE": str(self.work / "cache"),
            "COLUMNS": "200",
        }
        words = [str(each) for each in command]
        done = subprocess.run(words, cwd=self.work, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def python(self, *arguments: str) -> str:
        return self.run(sys.executable, *arguments)

    def follow(self) -> None:
        """Run the page's script, which must print what the page says."""
        where = self.python("-c", "import trtmatte; print(trtmatte.__file__)").strip()
        assert Path(where).is_relative_to(self.folder)
        assert self.python(SCRIPT) == expected(self.page)


def paths_outside(page: str, *folders: str) -> list[str]:
    """The files that a page writes or changes outside these files and folders."""
    return [each.path for each in blocks(page) if "/" in each.path and not each.path.startswith(folders)]


# ---------------------------------------------------------------------------------------------------------------------
# Following the pages


def test_family(tmp_path):
    pytest.importorskip("onnxruntime")
    assert paths_outside("family.md", "python/trtmatte/compiler/families/selfie/") == []
    checkout = Checkout(tmp_path, "family.md")
    checkout.follow()
    help_text = " ".join(checkout.python("-m", "trtmatte.cli.build", "--help").split())
    assert "--sharpness S selfie: how steep the alpha is at the edge of the subject (default: 1)" in help_text
    assert "u2net, isnet, selfie, generic (default: recognised from the content)" in help_text
    assert re.search(
        r"^people\n(  .*\n)*  selfie-demo +\? +MIT +by hand +portraits from a telephone$",
        checkout.python("-m", "trtmatte.cli.main", "models"),
        re.MULTILINE,
    )


def test_the_new_family_leaves_the_others_alone(tmp_path):
    """Its model can be asked for by name, and a wrong setting is refused in the words of the page."""
    pytest.importorskip("onnxruntime")
    checkout = Checkout(tmp_path, "family.md")
    checkout.python(SCRIPT)
    (checkout.work / "cache/models").mkdir(parents=True, exist_ok=True)
    shutil.copy(checkout.work / "selfie.onnx", checkout.work / "cache/models/selfie.onnx")
    code = """
        import trtmatte
        from trtmatte.compiler.families import registry

        print(*(each.name for each in registry.families()))
        print(trtmatte.build("selfie-demo", size=(64, 48), target="onnxruntime").program.settings["sharpness"])
        try:
            trtmatte.build("selfie.onnx", target="onnxruntime", sharpness=0.5)
        except trtmatte.SettingError as error:
            print(error)
    """
    assert checkout.python("-c", _dedented(code)).splitlines() == [
        "rvm bgmv2 modnet birefnet u2net isnet selfie generic",
        "1.0",
        "sharpness is 0.5; expected a number from 1",
    ]


def test_backend(tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    assert paths_outside("backend.md", "python/trtmatte/backends/reference.py") == []
    checkout = Checkout(tmp_path, "backend.md")
    checkout.follow()
    assert re.search(r"^  ONNX reference +[\d.]+", checkout.python("-m", "trtmatte.cli.main", "doctor"), re.MULTILINE)
    code = """
        import sys
        from trtmatte.runtime.choice import choose_on_cpu

        print(choose_on_cpu("auto").name)
        sys.modules["openvino"] = sys.modules["onnxruntime"] = None
        print(choose_on_cpu("auto").name)
    """
    assert checkout.python("-c", _dedented(code)).split() == ["openvino", "reference"]


def test_app(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("PIL")
    assert paths_outside("app.md", "python/trtmatte/apps/contact_sheet.py") == []
    Checkout(tmp_path, "app.md").follow()


def test_output(tmp_path):
    """One test, so that pytest's workers compile the core once: it takes about a minute."""
    pytest.importorskip("onnxruntime")
    pybind11 = pytest.importorskip("pybind11")
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    tables = ["csrc/ops/math/outputs.h", "python/trtmatte/format/outputs.py"]
    assert [each.path for each in blocks("output.md") if "/" in each.path] == tables
    assert [each.text.count("\n") for each in blocks("output.md") if "/" in each.path] == [1, 1]
    checkout = Checkout(tmp_path, "output.md", "csrc", "cmake", "CMakeLists.txt")
    for path in (checkout.folder / "python/trtmatte").glob("_core*.so"):
        path.unlink()
    settings = ["-DTRTMATTE_SIMD_LEVELS=baseline", "-DTRTMATTE_CUDA=OFF", "-DTRTMATTE_PLUGINS=OFF"]
    found = [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    build = tmp_path / "build"
    checkout.run("cmake", "-S", checkout.folder, "-B", build, "-G", "Ninja", *settings, *found)
    checkout.run("nice", "cmake", "--build", build, "-j2")
    checkout.run("cmake", "--install", build, "--prefix", checkout.folder / "python")
    checkout.follow()
    code = "from trtmatte import _core; print(*_core.OUTPUTS)"
    assert checkout.python("-c", code).split() == ["fgr", "pha", "rgba", "premultiplied", "composite"]
    for command in ("trtmatte.cli.main video --help", "trtmatte.cli.build --help"):
        assert "premultiplied" in checkout.python("-m", *command.split())


# ---------------------------------------------------------------------------------------------------------------------
# The page of an op, and what all pages say


def quotations() -> list[Block]:
    return blocks("op.md")


@pytest.mark.parametrize("block", quotations(), ids=lambda block: block.path)
def test_an_op_is_quoted_as_it_is(block):
    assert block.after is None
    assert block.text in (ROOT / block.path).read_text("utf-8")


def test_every_file_of_an_op_is_quoted():
    quoted = {each.path for each in quotations()}
    folder = {path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc/ops/matte_upsample").iterdir()}
    assert folder <= quoted


def listed_ops() -> list[str]:
    return re.findall(r"^ +X\((\w+),", (ROOT / "csrc/ops/list.h").read_text(), re.MULTILINE)


@pytest.mark.parametrize("op", listed_ops())
def test_every_op_has_the_files_that_the_page_names(op):
    table = re.findall(r"^\| `([^`]+)` \|.*\|$", (PAGES / "op.md").read_text("utf-8"), re.MULTILINE)
    assert len(table) > 10
    for path in table:
        assert (ROOT / path.replace("matte_upsample", op)).is_file(), path


@pytest.mark.parametrize("op", listed_ops())
def test_every_op_is_found_by_its_name(op):
    from trtmatte import _core, ops
    from trtmatte.compiler.graph.functions import OPS

    assert op.title().replace("_", "") in OPS
    assert callable(getattr(ops, op))
    assert callable(getattr(_core, op))


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_the_paths_in_a_page_exist(page):
    """Except those that the page leads to."""
    text = (PAGES / page).read_text("utf-8")
    written = {each.path for each in blocks(page) if each.after is None}
    for name in sorted(set(NAMED.findall(text))):
        is_new = name in written or any(path.startswith(f"{name}/") for path in written) or f"Write `{name}`" in text
        assert is_new or (ROOT / name).exists(), f"{page} names {name}"
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([\w./-]+)", prose):
        assert (PAGES / link).exists(), f"{page} leads to {link}"


def test_every_page_is_in_the_index():
    index = (PAGES / "README.md").read_text("utf-8")
    assert set(re.findall(r"\[(\w+\.md)\]", index)) >= {path.name for path in PAGES.glob("[a-z]*.md")}


def _dedented(code: str) -> str:
    return "\n".join(line[8:] for line in code.splitlines())
