"""OpenVINO on the CPU."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trtmatte.backends import library
from trtmatte.backends.interface import Backend, Run
from trtmatte.errors import BackendError, EngineError
from trtmatte.support.cache_folder import private_folder
from trtmatte.support.checked_files import read_checked, write_checked
from trtmatte.support.packages import version_of
from trtmatte.support.text import first_line

__all__ = ["BACKEND", "Network"]

_FORKED: Final = (
    "OpenVINO was used before this process was forked and does not run in the copy: start the process with "
    "multiprocessing's method spawn, open the first session in the child, or use backend='onnxruntime'"
)

_NO_REASONS: Final = re.compile(
    r"Exception from |Check '.*' failed at |FrontEnd API failed|Model wasn't fully converted|Summary:"
)
"""How the lines of OpenVINO's messages begin that say where in its sources it failed."""


class Network:
    """One network stage, compiled for this processor."""

    def __init__(self, model: bytes, threads: int, patches: int) -> None:
        if _is_forked():
            raise BackendError(_FORKED)
        try:
            self._compiled = _compiled(model, patches, _options(threads))
        except BackendError:
            raise
        except Exception as error:  # its frontends' own exceptions share no base
            raise BackendError(f"OpenVINO cannot load the network: {_reason(error)}") from error

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """Bind to arrays, which every call of the result reads and writes in place."""
        tensor = importlib.import_module("openvino").Tensor
        request = self._compiled.create_infer_request()
        arrays = {**inputs, **outputs}
        for port in (*self._compiled.inputs, *self._compiled.outputs):  # they have the names of what was removed, too
            name = next(each for each in port.names if each in arrays)
            request.set_tensor(name, tensor(arrays[name], shared_memory=True))

        def run(held: object = arrays) -> None:  # keeps the arrays alive: OpenVINO holds their addresses alone
            request.infer(share_outputs=True)

        return run


def _reason(error: Exception) -> str:
    """Return the first line of OpenVINO's message that says what is wrong with the network."""
    lines = (line.strip().removeprefix("-- ") for line in str(error).splitlines())
    return next((line for line in lines if line and not _NO_REASONS.match(line)), first_line(error))


@functools.lru_cache
def _first_process() -> int:
    return os.getpid()


def _is_forked() -> bool:
    """Report if this process is a copy of one that has used OpenVINO, whose threads it lacks and would wait for."""
    return bool(_first_process.cache_info().currsize) and _first_process() != os.getpid()


def _unavailable_reason(device: int) -> str | None:
    return _FORKED if _is_forked() else library.unavailable_reason("OpenVINO", "openvino")


@functools.lru_cache
def _core() -> Any:
    _first_process()
    try:
        return importlib.import_module("openvino").Core()
    except ImportError as error:
        raise BackendError("OpenVINO is not installed: pip install openvino") from error


def _options(threads: int) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # its default may be bfloat16, whose errors add up in the states
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # pinned threads wait for cores that the ops, a decoder or another session use
    }


def _compiled(model: bytes, patches: int, options: Mapping[str, Any]) -> Any:
    """The compiled network, from the cache or for it. OpenVINO's own cache checks nothing, and runs damaged files."""
    core = _core()
    place = _place(core, model, patches, options)
    found = None if place is None else read_checked(place)
    if found is not None:
        with contextlib.suppress(RuntimeError):  # of another build of OpenVINO, which compiles its own
            return core.import_model(io.BytesIO(found), "CPU", dict(options))
    # No other frontend than that of ONNX may take the bytes for its own format.
    frontend = importlib.import_module("openvino.frontend").FrontEndManager().load_by_framework("onnx")
    extension = importlib.import_module("openvino.frontend.onnx").ConversionExtension
    frontend.add_extension(extension("DeformConv", _deformable_convolution))
    network = frontend.convert(frontend.load(io.BytesIO(model)))
    network.reshape({each.any_name: _fixed(each.partial_shape, patches) for each in network.inputs})
    compiled = core.compile_model(network, "CPU", dict(options))
    if place is not None:
        with contextlib.suppress(EngineError, RuntimeError):  # a full disk: it compiles again next time
            write_checked(place, compiled.export_model().getvalue())
    return compiled


def _deformable_convolution(node: Any) -> Any:
    """OpenVINO's own layer for ONNX's DeformConv, which its frontend does not know."""
    ops = importlib.import_module("openvino.opset8")
    picture, weights, offset, *rest = (node.get_input(index) for index in range(node.get_input_size()))
    bias, mask = (None if _is_absent(each) else each for each in (*rest, None, None)[:2])
    above, left, below, right = node.get_attribute("pads", [0, 0, 0, 0])
    made = ops.deformable_convolution(
        picture,
        offset,
        weights,
        node.get_attribute("strides", [1, 1]),
        [above, left],
        [below, right],
        node.get_attribute("dilations", [1, 1]),
        mask,
        "explicit",
        node.get_attribute("group", 1),
        node.get_attribute("offset_group", 1),
        True,  # between the picture and the zeros around it, too
    )
    if bias is not None:
        made = ops.add(made, ops.unsqueeze(bias, [1, 2]))
    return made.outputs()


def _is_absent(value: Any) -> bool:
    """Report if an optional input is left out."""
    return value is None or value.get_node().get_type_name() == "NullNode"


def _place(core: Any, model: bytes, patches: int, options: Mapping[str, Any]) -> Path | None:
    """The file for a compiled network, named by all that it depends on; None without a cache folder."""
    about = [version_of("openvino"), core.get_property("CPU", "FULL_DEVICE_NAME"), patches, dict(options)]
    try:
        folder = private_folder("openvino")
    except EngineError:
        return None
    key = hashlib.sha256(model)
    key.update(repr(about).encode())
    return folder / f"{key.hexdigest()[:40]}.network"


def _fixed(shape: Any, patches: int) -> list[int]:
    """Set the number of patches, the only open dimension of a network."""
    return [patches if each.is_dynamic else each.get_length() for each in shape]


BACKEND = Backend(
    "openvino",
    "OpenVINO",
    device="cpu",
    rank=10,
    unavailable_reason=_unavailable_reason,
    load=lambda request: request.shared(Network),
    runs_deform_conv=lambda columns: True,
)
