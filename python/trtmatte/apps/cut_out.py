"""`cut_out`: a picture in any kind, and its cut-out in the same kind."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar, overload

import numpy as np

from trtmatte.api import Engine, build, load
from trtmatte.apps.matting import EngineForSize, Matting
from trtmatte.errors import FrameError, InputError, SettingError
from trtmatte.media import still
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.still import Encoded, Still
from trtmatte.media.targets import KINDS
from trtmatte.runtime.session.arrays import is_image
from trtmatte.support.limits import Limits

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import TypedDict, Unpack

    class Options(TypedDict, total=False):
        """The options of `cut_out`."""

        output: Literal["rgba", "alpha", "composite", "foreground"] | None
        background: Any
        model: str | Path | Engine
        plate: Any
        align: bool
        post_process: bool
        device: str | None
        backend: str
        raw_foreground: bool
        safe: bool | Limits


__all__ = ["cut_out"]

Array = np.ndarray[Any, Any]

Bytes = TypeVar("Bytes", bytes, bytearray, memoryview)
Named = TypeVar("Named", str, Path, "Image")

_LOG: Final = logging.getLogger("trtmatte")
_KEPT: Final = 4  # models with their options, whose sessions are kept
_EXPECTED: Final = "expected a path, the bytes of a file, a PIL image or a numpy array, or a list of these"
_ARRAY: Final = "expected uint8 (H, W), (H, W, 3) or (H, W, 4), in RGB"
_OF_REMBG: Final = {
    "only_mask": "output='alpha' gives the mask",
    "bgcolor": "background=(red, green, blue) gives a composite",
    "post_process_mask": "it is called post_process",
    "session": "model='u2netp' names a model, whose session is kept",
    "force_return_bytes": "bytes give bytes, other pictures their own kind",
    "putalpha": "the colours of what is cut out are not kept",
    **dict.fromkeys(
        (
            "alpha_matting",
            "alpha_matting_foreground_threshold",
            "alpha_matting_background_threshold",
            "alpha_matting_erode_size",
        ),
        "cut-outs have clean edges without it; leave it out",
    ),
}
"""What stands in the place of the arguments of rembg's `remove`."""

_kept: OrderedDict[Hashable, Matting] = OrderedDict()
_lock = threading.Lock()


@overload
def cut_out(picture: str | Path | Image, **options: Unpack[Options]) -> Image: ...
@overload
def cut_out(picture: bytes | bytearray | memoryview, **options: Unpack[Options]) -> bytes: ...
@overload
def cut_out(picture: Array, **options: Unpack[Options]) -> Array: ...
@overload
def cut_out(picture: list[Named], **options: Unpack[Options]) -> list[Image]: ...
@overload
def cut_out(picture: list[Bytes], **options: Unpack[Options]) -> list[bytes]: ...
@overload
def cut_out(picture: list[Array], **options: Unpack[Options]) -> list[Array]: ...


def cut_out(
    picture: Any,
    *,
    output: str | None = None,
    background: Any = None,
    model: str | Path | Engine = "rvm-mobilenetv3",
    plate: Any = None,
    align: bool = False,
    post_process: bool = False,
    device: str | None = None,
    backend: str = "auto",
    raw_foreground: bool = False,
    safe: bool | Limits = False,
    **unknown: Any,
) -> Any:
    """Return a picture without its background, in the kind in which it is given.

    >>> trtmatte.cut_out("photo.jpg").save("photo.png")
    >>> Path("photo.png").write_bytes(trtmatte.cut_out(Path("photo.jpg").read_bytes()))

    A PIL image gives a PIL image, and so does the path of a file. The bytes of a file give the bytes of a PNG file. An
    array, uint8 (H, W, 3) in RGB, gives an array: (H, W, 4), (H, W, 3), or (H, W) for alpha. A list of pictures, whose
    sizes may differ, gives a list.

    `output` is "rgba", "alpha", "composite" or "foreground"; left out, "composite" if there is a background, otherwise
    "rgba". `background` is a colour, a picture or "blur". `model` is the name of a known model, a model file, an engine
    file (`.trtm`) or an engine. `plate` is the photographed empty scene that BackgroundMattingV2 needs; with `align` it
    is aligned to each picture. With `post_process`, the alpha is a mask without grey, smoothed as rembg does it.
    `raw_foreground` keeps the picture's own colours where a model predicts alpha alone; otherwise they are estimated
    without the old background. `safe` sets limits for pictures of strangers. Further options, such as the family's, are
    those of `trtmatte.build`, whose engine is then the model.

    The sessions of the last four models are kept for the next call, in each process. Threads may share them.

    Raises an InputError for what is no picture or a damaged one, and a FrameError for an array of another kind.
    """
    _require_known(unknown)
    limits = Limits.of(safe)
    kind = _kind(output, background)
    own = {"align": align, "post_process": post_process, "raw_foreground": raw_foreground}
    matting = _matting(model, kind, limits, device=device, backend=backend, **own)
    behind = _behind(background if kind == "composite" else None, limits)
    scene = None if plate is None else _taken(plate, "the plate", limits).picture.pixels

    def matted(picture: Any, name: str) -> Any:
        taken = _taken(picture, name, limits)
        return taken.given_back(matting(taken.picture.pixels, scene, behind, name)[kind], taken.picture)

    if isinstance(picture, (list, tuple)):
        return [matted(each, f"picture {number}") for number, each in enumerate(picture)]
    return matted(picture, "the picture")


def _require_known(unknown: Mapping[str, object]) -> None:
    """Raise a TypeError for an argument that there is not; for one of rembg's `remove`, with what is in its place."""
    for name in unknown:
        hint = f"; {_OF_REMBG[name]}" if name in _OF_REMBG else ""
        raise TypeError(f"cut_out() got an unexpected keyword argument {name!r}{hint}")


class _Taken(NamedTuple):
    """A picture, and the function that makes its kind of a matte."""

    picture: Still
    given_back: Callable[[Array, Still], Any]


def _taken(given: Any, name: str, limits: Limits | None) -> _Taken:
    if isinstance(given, (str, Path)):
        if "://" in str(given):
            raise InputError(f"{given} is an address, which is not read; download it, and pass its bytes")
        return _Taken(still.read(Path(given), limits), _image)
    if isinstance(given, (bytes, bytearray, memoryview)):
        return _Taken(still.read(Encoded(bytes(given), name), limits), _file)
    if is_image(given):
        return _Taken(_of_image(given, name, limits), _image)
    if isinstance(given, np.ndarray):
        return _Taken(Still(_rgb(given, name)), _array)
    raise FrameError(
        f"{name} is of the type {type(given).__module__}.{type(given).__qualname__}; {_EXPECTED}; tensors and other "
        "arrays run in a session: trtmatte.build(…).session()"
    )


def _of_image(image: Any, name: str, limits: Limits | None) -> Still:
    try:
        still.require_within(image, limits)
        return still.of_image(image)
    except Exception as error:  # decoders raise errors of many kinds for damaged files
        raise still.unreadable(name, error) from error


def _rgb(array: Array, name: str) -> Array:
    """Return an array as uint8 RGB (H, W, 3): grey in three channels, transparency over white."""
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not is_picture or not array.size:
        raise FrameError(f"{name} is {array.dtype} {array.shape}; {_ARRAY}{_remedy(array)}")
    array = np.asarray(array)
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return array if array.shape[2] == 3 else still.of_image(still.image_of(array)).pixels


def _remedy(array: Array) -> str:
    if array.dtype.kind == "f":
        return "; for numbers 0…1: (picture * 255).round().astype('uint8')"
    if array.dtype == np.uint16:
        return "; for 16 bits: (picture / 257).round().astype('uint8')"
    if array.ndim == 4:
        return "; pass several pictures as a list: list(pictures)"
    return "; picture.transpose(1, 2, 0) puts channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""


def _image(matte: Array, picture: Still) -> Any:
    image = still.image_of(matte)
    if matte.shape[2] > 1:
        about = {"icc_profile": picture.profile, "exif": picture.exif}
        image.info.update({name: value for name, value in about.items() if value})
    return image


def _file(matte: Array, picture: Still) -> bytes:
    if matte.shape[2] == 1:
        return still.encoded(matte, "png")
    return still.encoded(matte, "png", profile=picture.profile, exif=picture.exif)


def _array(matte: Array, picture: Still) -> Array:
    return matte[..., 0] if matte.shape[2] == 1 else matte


def _kind(output: str | None, background: Any) -> str:
    kind = output or ("rgba" if background is None else "composite")
    if kind not in KINDS:
        raise SettingError(f"output is {output!r}; expected {', '.join(KINDS)}")
    if kind != "composite" and background is not None:
        raise SettingError(
            f"background is put behind the subject of a composite, and output is {kind!r}; leave one of them out"
        )
    return kind


def _behind(background: Any, limits: Limits | None) -> FrameBackground:
    if is_image(background) or isinstance(background, (bytes, bytearray, memoryview, np.ndarray)):
        return FrameBackground.of_picture(_taken(background, "the background", limits).picture.pixels)
    return FrameBackground("greenscreen" if background is None else background, limits=limits)


def _matting(model: str | Path | Engine, kind: str, limits: Limits | None, **options: Any) -> Matting:
    """Return what mattes with this model and these options: kept from an earlier call, or new."""
    named = model if isinstance(model, Engine) else (str(model), _version(Path(model)))
    key = (named, kind, limits, *options.items())
    with _lock:
        matting = _kept.pop(key, None) or Matting(
            _engine(model, limits), (kind,), tell=_LOG.warning, limits=limits, **options
        )
        _kept[key] = matting
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)  # its sessions go when no thread uses them
        return matting


def _engine(model: str | Path | Engine, limits: Limits | None) -> Engine | EngineForSize:
    if isinstance(model, Engine):
        return model
    if Path(model).suffix.lower() == ".trtm":
        return load(model, safe=limits or False)
    return lambda size: build(model, size=size, safe=limits or False)


def _version(path: Path) -> tuple[int, int] | None:
    """Return the version of a model's file, since another one may take its place."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # a known name
        return None
    return found.st_mtime_ns, found.st_size


def _forget_in_child() -> None:
    """Drop the sessions of the parent in a forked process: they cannot run there (`runtime.session.forks`)."""
    global _lock
    _lock = threading.Lock()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
