"""Model files of strangers: read in a process of their own, where a library may fail on them.

ONNX's shape inference and its version converter end the process on some damaged models and need any amount of memory
and time on others. The process that reads a model has limits, and what happens to it becomes a ModelError. A known
model, recognised by its hash, needs no process. Neither does a checkpoint: no library sees more of it than tensors.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing.spawn
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from trtmatte import errors
from trtmatte.compiler.families import catalog
from trtmatte.errors import BackendError, ModelError, TrtmatteError
from trtmatte.models.download import sha256
from trtmatte.support.packages import ROOT
from trtmatte.support.text import shown

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["answer", "read"]

MOST_MEMORY: Final = 4 << 30  # bytes, and eight times the size of the file; the largest known models need a fifth
MOST_SECONDS: Final = 600
_REMEDY: Final = "export the model again, or check it with onnx.checker and onnx.shape_inference"

# The first line of the order is where Python looks for packages: in the same places as here, but not in the working
# folder, where anything may lie.
_CHILD: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from trtmatte.compiler import importing; importing.answer(sys.stdin.buffer)"
)


def read(path: Path, *, known: str | None = None, **options: Any) -> ModelProto:
    """The trtmatte graph of a model file. `options` are those of `families.reading.read`, `known` is its sha256.

    Raises a BackendError if onnx is missing. What imports it is therefore imported after this, or inside.
    """
    _require_onnx()
    from trtmatte.compiler.families import reading

    if not reading.is_onnx(path) or _is_harmless(known or sha256(path)) or not _has_python():
        return reading.read(path, **options)
    return _parsed(_read_apart(path, options))


def _require_onnx() -> None:
    try:
        importlib.import_module("onnx")
    except ImportError as error:
        raise BackendError(
            f"reading models needs onnx, which cannot be imported ({error}): pip install --upgrade onnx"
        ) from error


def _is_harmless(digest: str) -> bool:
    return catalog.with_hash(digest) is not None


def _has_python() -> bool:
    """Report if another Python can be started: a program that contains Python would start itself."""
    return bool(multiprocessing.spawn.get_executable()) and not getattr(sys, "frozen", False)


def _read_apart(path: Path, options: dict[str, Any]) -> bytes:
    here = os.getcwd()
    places = [str(ROOT.parent), *(each for each in sys.path if os.path.isabs(each) and os.path.abspath(each) != here)]
    order = json.dumps(places).encode() + b"\n" + pickle.dumps((str(path.absolute()), str(path), options))
    command = [os.fsdecode(multiprocessing.spawn.get_executable()), "-I", "-B", "-c", _CHILD]
    try:
        done = subprocess.run(command, input=order, capture_output=True, timeout=MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path} was not read within {MOST_SECONDS} seconds; {_REMEDY}") from error
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ModelError(f"{path} is damaged, or too large: the process that read it ended with {name}; {_REMEDY}")
    head, _, content = done.stdout.partition(b"\n")
    if done.returncode or not head:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise ModelError(f"{path} could not be read in a process of its own ({shown(said[-1], 300)}); {_REMEDY}")
    failed: dict[str, str] = json.loads(head)
    if failed:
        raise getattr(errors, failed["kind"])(failed["message"])
    return content


def _parsed(content: bytes) -> ModelProto:
    from onnx import load_model_from_string

    return load_model_from_string(content)


def answer(order: BinaryIO) -> None:
    """Read a model, as the process does, and write its graph, or why there is none, to the standard output."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print
    absolute, path, options = pickle.load(order)
    _set_limits(MOST_MEMORY + 8 * os.path.getsize(absolute))
    try:
        content = _tried(Path(absolute), options)
        failed = {}
    except TrtmatteError as error:
        kind = next(each for each in type(error).__mro__ if each.__module__ == errors.__name__)
        content, failed = b"", {"kind": kind.__name__, "message": str(error).replace(absolute, path)}
    out.write(json.dumps(failed).encode() + b"\n" + content)
    out.close()


def _set_limits(memory: int) -> None:
    try:
        import resource
    except ImportError:  # on Windows the time alone is limited
        return
    for limit, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, MOST_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),  # of files; a pipe is none
    ):
        with suppress(ValueError, OSError):  # a lower limit is set from outside
            resource.setrlimit(limit, (most, most))


def _tried(path: Path, options: dict[str, Any]) -> bytes:
    """The graph, after all passes that ask ONNX's inference were tried on it."""
    from trtmatte.compiler.families import reading
    from trtmatte.compiler.graph.cut import cut
    from trtmatte.compiler.graph.deform_conv import restored, sampled
    from trtmatte.compiler.graph.precision import kept_nodes, nothing

    graph = reading.read(path, **options)
    for network in cut(graph)[1]:
        kept_nodes(sampled(restored(network)), nothing)
    return bytes(graph.SerializeToString())
