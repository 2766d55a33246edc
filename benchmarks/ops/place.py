"""The place where the ops are timed: the CPU or a CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np

from trtmatte import _core

Call = Callable[[], Any]


class Host:
    """The CPU: arrays are numpy's, and a call is complete when it returns."""

    calls = 1  # that `repeated` makes of one
    options: Mapping[str, Any] = MappingProxyType({})

    def put(self, array: np.ndarray) -> Any:
        return array

    def get(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def workspace(self, size: int) -> dict[str, Any]:
        return {}

    def repeated(self, call: Call) -> Call:
        return call

    def copies(self, moved: int) -> dict[str, Call]:
        """Copies of half as many bytes, since each byte is read and written: with all threads, and with one."""
        threads = _core.get_num_threads()
        return {"memcpy": _copy(moved // 2, threads), "memcpy, one thread": _copy(moved // 2, 1)}


class Cuda:
    """A CUDA device: arrays are torch's. Calls are captured into graphs as in sessions, since launching takes long."""

    calls = 20

    def __init__(self) -> None:
        import torch

        self._torch, self._stream = torch, torch.cuda.Stream()
        self.options = {"cuda_stream": self._stream.cuda_stream}

    def put(self, array: np.ndarray) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(array)).cuda()

    def get(self, array: Any) -> np.ndarray:
        self._torch.cuda.synchronize()
        return array.cpu().numpy()

    def workspace(self, size: int) -> dict[str, Any]:
        return {"workspace": self._torch.empty(size, dtype=self._torch.uint8, device="cuda")}

    def repeated(self, call: Call) -> Call:
        call()
        self._torch.cuda.synchronize()
        graph = self._torch.cuda.CUDAGraph()
        with self._torch.cuda.graph(graph, stream=self._stream):
            for _ in range(self.calls):
                call()

        def run() -> None:
            graph.replay()
            self._torch.cuda.synchronize()

        return run

    def copies(self, moved: int) -> dict[str, Call]:
        source, target = (self.put(np.full(moved // 2, fill, np.uint8)) for fill in (1, 2))
        return {"memcpy": self.repeated(lambda: target.copy_(source))}


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
