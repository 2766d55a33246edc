"""What runs while its operations fail: commands on tiny files, and a session."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import onnx
from PIL import Image

import trtmatte
from tests.compiler.small import shrinking
from tests.media import films
from tests.models import test_store
from tests.runtime.session import engines
from trtmatte.cli import build, main
from trtmatte.errors import TrtmatteError
from trtmatte.format import file as engine_file
from trtmatte.models import store
from trtmatte.models.model import Model

__all__ = ["SCENARIOS", "Scenario", "session"]

OLD = b"what was here before"
TINY = ["--engine", "in/tiny.trtm", "--backend", "onnxruntime", "--quiet"]


def _engine(path: Path) -> None:
    engine_file.read(path).verify()


def _picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()


def _film(path: Path) -> None:
    with av.open(str(path)) as film:
        assert sum(1 for _ in film.decode(video=0)) == FRAMES


FRAMES = 5


def _model(path: Path) -> None:
    assert path.read_bytes() == test_store.CONTENT


CHECKS: Mapping[str, Callable[[Path], None]] = {".trtm": _engine, ".png": _picture, ".mp4": _film, ".bin": _model}


@dataclass(frozen=True)
class Scenario:
    """A command, run in a folder with `in`, which must not change, `out` and `cache`."""

    command: Callable[[], int]
    outputs: tuple[str, ...]
    old: tuple[str, ...] = ()
    """Files in `out` that it replaces."""
    caches: bool = False
    """The cache is filled before."""
    others: tuple[str, ...] = ()
    """Further files in `out`, which it must leave alone."""
    goes_on: tuple[str, ...] = ()
    """Part files in the cache with which the next run goes on."""

    def prepare(self, folder: Path) -> None:
        """Make the inputs, once."""
        inputs = folder / "in"
        (inputs / "pictures").mkdir(parents=True)
        onnx.save(shrinking(), inputs / "small.onnx")
        engine_file.write(engines.memory(), inputs / "tiny.trtm")
        for number, name in enumerate(("a.png", "b.jpg")):
            Image.fromarray(films.picture(number, 32, 24)).save(inputs / "pictures" / name)
        Image.fromarray(films.picture(7, 32, 24)).save(inputs / "behind.png")
        films.film(inputs / "film.mp4", [films.picture(number, 32, 24) for number in range(FRAMES)], sound="aac")

    def fill_cache(self, folder: Path) -> None:
        """Keep what a first run leaves in the cache, for all others."""
        if self.caches:
            shutil.copytree(folder / "cache", folder / "full")

    def reset(self, folder: Path) -> None:
        """Before each run: the outputs as they were before, and an empty cache or the full one."""
        for name in ("out", "cache"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "out").mkdir()
        for name in (*self.old, *self.others):
            (folder / "out" / name).write_bytes(OLD)
        if (folder / "full").exists():
            shutil.copytree(folder / "full", folder / "cache")

    def check(self, folder: Path, *, done: bool, killed: bool = False) -> list[str]:
        """Return what is wrong with the files: not whole, left behind, changed, or missing though it is done.

        A killed process may leave its part files, which the next one removes.
        """
        found = {path.relative_to(folder / "out").as_posix(): path for path in _files(folder / "out", killed)}
        wrong = [f"left {name}" for name in sorted(set(found) - {*self.outputs, *self.old, *self.others})]
        for name in self.outputs:
            if name not in found:
                wrong += [f"no {name}"] if done or name in self.old else []
            elif not done and name in self.old and found[name].read_bytes() == OLD:
                continue
            else:
                wrong += _broken(found[name])
        wrong += [f"{name} changed" for name in self.others if found[name].read_bytes() != OLD]
        for path in _files(folder / "cache", killed):
            is_left = path.suffix == ".part" and path.name not in self.goes_on
            wrong += [f"left {path.name}"] if is_left else _broken(path)
        return wrong


def _files(folder: Path, without_parts: bool) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not (without_parts and path.suffix == ".part")]


def _broken(path: Path) -> list[str]:
    try:
        CHECKS.get(path.suffix, lambda _: None)(path)
    except Exception as error:
        return [f"{path.name} is not whole: {error!r}"]
    return []


def _build() -> int:
    flags = ["--family", "generic", "--size", "64x48", "--target", "onnxruntime", "--quiet"]
    return build.main(["in/small.onnx", "-o", "out/e.trtm", *flags])


def _image() -> int:
    return main.main(["image", "in/pictures", "-o", "out", "--background", "in/behind.png", "-y", *TINY])


def _video() -> int:
    outputs = ["--output", "composite", "alpha"]
    return main.main(["video", "in/film.mp4", "-o", "out/film.mp4", *outputs, "-y", "--num-workers", "1", *TINY])


def _folder() -> int:
    return main.main(["video", "in/film.mp4", "-o", "out/", "--output", "alpha", "-y", "--num-workers", "1", *TINY])


def _openvino() -> int:
    return main.main(["image", "in/pictures", "-o", "out", "-y", *TINY[:2], "--backend", "openvino", "--quiet"])


def _download() -> int:
    site = test_store.Site()
    setattr(site.server, "handle_error", lambda *_: None)  # noqa: B010  # where we hang up
    source = site.serve("/model", test_store.Served())
    try:
        store.pull(Model("m", "f", "m.bin", "", "", None, test_store.DIGEST, (source,)))
    except TrtmatteError as error:
        print(f"trtmatte: {error}", file=sys.stderr)
        return 1
    return 0


def session() -> np.ndarray:
    """Some frames of all kinds, through a session that is opened and closed."""
    with trtmatte.Session(engines.memory(), backend="onnxruntime", outputs=("alpha", "fgr", "composite")) as run:
        for number in range(3):
            matte = run(films.picture(number, 96, 72), background=(1, 2, 3))
        run(films.picture(0, 96, 72)[::-1, ::2], background=films.picture(1, 10, 10))
        return np.array(matte.composite)


_PICTURES = ("a.png", "b.png")
_SEQUENCE = tuple(f"{number:04}.png" for number in range(FRAMES))

SCENARIOS: Mapping[str, Scenario] = {
    "build": Scenario(_build, ("e.trtm",)),
    "build-again": Scenario(_build, ("e.trtm",), old=("e.trtm",), others=("f.trtm.txt",)),
    "build-cached": Scenario(_build, ("e.trtm",), caches=True),
    "image": Scenario(_image, _PICTURES),
    "image-again": Scenario(_image, _PICTURES, old=("a.png",)),
    "video": Scenario(_video, ("film-composite.mp4", "film-alpha.mp4"), old=("film-alpha.mp4",)),
    "folder": Scenario(_folder, _SEQUENCE),
    "download": Scenario(_download, (), goes_on=("m.bin.part",)),
    **({"openvino": Scenario(_openvino, _PICTURES)} if importlib.util.find_spec("openvino") else {}),
}
