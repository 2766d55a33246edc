"""Callers' arrays as numpy arrays, in place."""

from __future__ import annotations

import sys
from typing import Any, Final, NamedTuple

import numpy as np

from trtmatte import _core
from trtmatte.errors import FrameError

_ON_CUDA: Final = (2, 13)  # DLPack's numbers of CUDA memory, and of CUDA's managed memory


class Host(NamedTuple):
    """An array in the host's memory."""

    array: Any  # numpy's
    copied: int = 0  # bytes that had to be copied to make it one
    is_torch: bool = False


def on_host(value: Any, name: str) -> Host:
    """A view of any array; a PIL image is copied, since its pixels do not lie side by side."""
    if isinstance(value, np.ndarray):
        return Host(value if type(value) is np.ndarray else _plain(value, name))
    if is_on_cuda(value):
        raise FrameError(
            f"{name} lives on a CUDA device and this session runs on the CPU: "
            f"move it there (.cpu(), .get()), or open the session with a backend that runs on CUDA"
        )
    if is_torch(value):
        return Host(_from_torch(value, name), is_torch=True)
    if is_image(value):
        load_image(value, name)
        array = np.asarray(value if value.mode == "RGB" else value.convert("RGB"))
        return Host(array, copied=array.nbytes)
    return Host(np.asarray(_core.read(value, name)))  # numpy itself believes whatever a protocol says


def is_image(value: Any) -> bool:
    """Report if this is a PIL image."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def load_image(image: Any, name: str) -> None:
    """Decode a PIL image, which reads the pixels of its file late."""
    try:
        image.load()
    except Exception as error:  # decoders raise errors of many kinds for damaged files
        raise FrameError(f"{name} cannot be decoded: {error}; its file is damaged or cut off") from error


def is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_on_cuda(value: Any) -> bool:
    try:
        device = getattr(value, "__dlpack_device__", None)
        if device is not None:
            return int(device()[0]) in _ON_CUDA
        return hasattr(value, "__cuda_array_interface__")
    except Exception:  # of a stranger's protocol: whoever reads the array says what is wrong with it
        return False


def _plain(value: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """An array of a subclass as numpy's own, which means the same to all who use it."""
    if isinstance(value, np.ma.MaskedArray):
        raise masked(name)
    return np.asarray(value)


def masked(name: str) -> FrameError:
    """The error for an array with a mask."""
    return FrameError(f"{name} has a mask, which is not read: pass its values, for example filled(0)")


def _from_torch(value: Any, name: str) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = value.detach().numpy()
    except (TypeError, RuntimeError) as error:
        raise FrameError(f"{name} is a torch tensor that numpy cannot read: {error}") from error
    return array
