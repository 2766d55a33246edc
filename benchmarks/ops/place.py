"""The place where the ops are timed: the CPU or a CUDA device.

An op is given as a function that binds it to buffers of its own, so that a device can have several sets of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np

from trtmatte import _core

Call = Callable[[], Any]
Bind = Callable[[], Call]
"""Returns a call on new buffers."""

_CACHES = 4  # times the cache, that the buffers of a graph's calls are as large as at least


class Host:
    """The CPU: arrays are numpy's, and a call is complete when it returns."""

    options: Mapping[str, Any] = MappingProxyType({})

    def put(self, array: np.ndarray) -> Any:
        return array

    def get(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def workspace(self, size: int) -> dict[str, Any]:
        return {}

    def calls(self, moved: int) -> int:
        """How many calls that move so many bytes are timed together."""
        return 1

    def repeated(self, bind: Bind, moved: int) -> Call:
        return bind()

    def copies(self, moved: int) -> dict[str, Call]:
        """Copies of half as many bytes, since each byte is read and written: with all threads, and with one."""
        threads = _core.get_num_threads()
        return {"memcpy": _copy(moved // 2, threads), "memcpy, one thread": _copy(moved // 2, 1)}


class Cuda:
    """A CUDA device: arrays are torch's. Calls are captured into graphs as in sessions, since launching takes long.

    In a video, a frame is not in the device's cache: other frames and the network have been there since. So each call
    of a graph has buffers of its own, and together they are several times as large as the cache.
    """

    def __init__(self) -> None:
        import torch

        self._torch, self._stream = torch, torch.cuda.Stream()
        self._cache = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
        self.options = {"cuda_stream": self._stream.cuda_stream}

    def put(self, array: np.ndarray) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(array)).cuda()

    def get(self, array: Any) -> np.ndarray:
        self._torch.cuda.synchronize()
        return array.cpu().numpy()

    def workspace(self, size: int) -> dict[str, Any]:
        return {"workspace": self._torch.empty(size, dtype=self._torch.uint8, device="cuda")}

    def calls(self, moved: int) -> int:
        return max(20, -(-_CACHES * self._cache // moved))

    def repeated(self, bind: Bind, moved: int) -> Call:
        calls = [bind() for _ in range(self.calls(moved))]
        calls[0]()
        self._torch.cuda.synchronize()
        graph = self._torch.cuda.CUDAGraph()
        with self._torch.cuda.graph(graph, stream=self._stream):
            for call in calls:
                call()

        def run() -> None:
            graph.replay()
            self._torch.cuda.synchronize()

        return run

    def copies(self, moved: int) -> dict[str, Call]:
        def bind() -> Call:
            source, target = (self.put(np.full(moved // 2, fill, np.uint8)) for fill in (1, 2))
            return lambda: target.copy_(source)

        return {"memcpy": self.repeated(bind, moved)}


class Emulated(Host):
    """The CUDA forms compiled for the CPU, to show that everything runs. Times mean nothing."""

    options = MappingProxyType({"cuda_stream": 1})

    def put(self, array: np.ndarray) -> Any:
        from tests.conftest import EmulatedArray

        return array.copy().view(EmulatedArray)

    def workspace(self, size: int) -> dict[str, Any]:
        return {"workspace": self.put(np.empty(size, np.uint8))}


def place(device: str) -> Host | Cuda:
    if device == "cpu":
        return Host()
    return Emulated() if _core.CUDA_ARCHITECTURES == "emulated" else Cuda()


def _copy(count: int, threads: int) -> Call:
    """Copy with several threads; the calling thread is one of them."""
    source, target = (np.full(max(count, 1), fill, np.uint8) for fill in (1, 2))
    pieces = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    pool = ThreadPoolExecutor(threads)

    def copy() -> None:
        others = [pool.submit(np.copyto, *piece) for piece in pieces[1:]]
        np.copyto(*pieces[0])
        for each in others:
            each.result()

    return copy
