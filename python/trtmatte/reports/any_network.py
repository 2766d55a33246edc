"""Before and after for an ONNX file of any kind: ONNX Runtime as it is, and the same graph on the fastest backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from trtmatte import _core
from trtmatte.backends import registry
from trtmatte.backends.interface import Backend, LoadRequest, Run
from trtmatte.errors import BackendError, ModelError, SettingError
from trtmatte.reports.before_after import BeforeAfter, Side, onnxruntime, race
from trtmatte.support.text import first_line

__all__ = ["compare"]

Array = np.ndarray[Any, Any]
Shapes = Mapping[str, Sequence[int]]

_NAME: Final = "model"
_MOST: Final = 1 << 32  # bytes of one input
_HOLDS: Final = "arrays in, arrays out, in host memory: nothing else"


def compare(path: Path, *, shapes: Shapes, runs: int, backend: str = "auto") -> BeforeAfter:
    """Time the graph of an ONNX file on generated inputs, on the CPU.

    `shapes` gives the shapes of inputs whose dimensions are open; a batch that is open is 1.
    """
    model = _sorted(path)
    inputs = _inputs(model, shapes, path)
    content = _with_shapes(model, inputs).SerializeToString()
    before, outputs = _onnxruntime(content, inputs, path)
    title, run, made = _fastest(content, inputs, outputs, backend)
    run()
    difference = max((_difference(outputs[name], made[name]) for name in outputs), default=0.0)
    first, second, ratio = race(lambda _: before(), lambda _: run(), runs)
    listed = ", ".join(f"{name} {_text(each.shape)} {each.dtype}" for name, each in inputs.items())
    return BeforeAfter(
        model=str(path),
        about=f"{path}, {listed}",
        runs=runs,
        before=Side("ONNX Runtime with its defaults", _HOLDS, first),
        after=Side(title, _HOLDS, second),
        ratio=ratio,
        difference=difference,
    )


def _sorted(path: Path) -> Any:
    from trtmatte.compiler.graph import external_data, ordering, reading

    model = reading.parse(path)
    try:
        external_data.embed(model, path)
        ordering.sort(model.graph)
    except OSError as error:
        raise ModelError(
            f"{path} keeps its weights in other files, which cannot be read ({error.strerror or error})"
        ) from error
    return model


def _inputs(model: Any, shapes: Shapes, path: Path) -> dict[str, Array]:
    """An array for every input: numbers in 0…1, and whole numbers of 0 and 1."""
    weights = {each.name for each in model.graph.initializer}
    wanted = {each.name: each.type.tensor_type for each in model.graph.input if each.name not in weights}
    if unknown := [name for name in shapes if name not in wanted]:
        raise SettingError(f"{path} has no input {', '.join(unknown)}; it has {', '.join(wanted) or 'none'}")
    random = np.random.default_rng(0)
    return {name: _array(name, kind, shapes.get(name), random) for name, kind in wanted.items()}


def _array(name: str, kind: Any, given: Sequence[int] | None, random: np.random.Generator) -> Array:
    from onnx import helper

    shape = _shape(name, kind, given)
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except (KeyError, TypeError) as error:
        raise ModelError(f"the input {name} is no tensor of numbers; expected numbers alone") from error
    if np.prod([float(side) for side in shape]) * dtype.itemsize > _MOST:
        raise SettingError(f"the input {name} is {_text(shape)}, more than {_MOST >> 30} GiB; give a smaller --shape")
    if dtype.kind == "f":
        return random.random(shape, np.float32).astype(dtype)
    if dtype.kind in "iub":
        return random.integers(0, 2, shape).astype(dtype)
    raise ModelError(f"the input {name} holds {dtype}; expected numbers")


def _shape(name: str, kind: Any, given: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of an input: its own, with what is given for open dimensions."""
    has_rank = kind.HasField("shape")
    own = [each.dim_value or None for each in kind.shape.dim]
    shown = "x".join(str(each.dim_value) if each.dim_value else each.dim_param or "?" for each in kind.shape.dim)
    if given is None:
        if not has_rank or None in own[1:]:
            example = "x".join(str(side or ("1" if place == 0 else "224")) for place, side in enumerate(own))
            raise SettingError(
                f"the input {name} has the open shape {shown or '?'}; say it: --shape {name}={example or '1x3x224x224'}"
            )
        return tuple(side or 1 for side in own)
    fits = not has_rank or len(given) == len(own)
    if not fits or (has_rank and any(side not in (None, new) for side, new in zip(own, given, strict=True))):
        raise SettingError(f"the shape of {name} is {_text(given)}; the model expects {shown or 'one number'}")
    return tuple(given)


def _with_shapes(model: Any, inputs: Mapping[str, Array]) -> Any:
    from onnx import helper

    for value in model.graph.input:
        if value.name in inputs:
            array = inputs[value.name]
            value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, array.shape))
    for value in model.graph.output:  # their open dimensions follow from the inputs
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return model


def _onnxruntime(content: bytes, inputs: Mapping[str, Array], path: Path) -> tuple[Run, dict[str, Array]]:
    """A run of ONNX Runtime as its documentation shows it, and the outputs."""
    runtime = onnxruntime()
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_outputs()]
        results = session.run(names, dict(inputs))
    except Exception as error:  # the runtime's own exceptions share no base
        raise BackendError(f"ONNX Runtime cannot run {path}: {first_line(error)}") from error
    if not all(isinstance(each, np.ndarray) for each in results):
        raise ModelError(f"{path} has outputs that are no tensors; expected tensors alone")
    return lambda: session.run(names, dict(inputs)), dict(zip(names, results, strict=True))


def _fastest(
    content: bytes, inputs: Mapping[str, Array], outputs: Mapping[str, Array], wanted: str
) -> tuple[str, Run, dict[str, Array]]:
    """The title of the first backend of the CPU that runs the graph, its run, and the arrays that it writes."""
    reasons = []
    for backend in _backends(wanted):
        made = {name: np.zeros_like(each, order="C") for name, each in outputs.items()}
        try:
            request = LoadRequest((_NAME,), lambda _: content, lambda _: b"", 1, _core.get_num_threads(), None, _once)
            run = backend.load(request)[_NAME].bind(inputs, made)
            run()
        except Exception as error:  # the libraries' own exceptions share no base
            reasons.append(f"{backend.title}: {first_line(error)}")
            continue
        return f"{backend.title} as trtmatte sets it up", run, made
    raise BackendError(f"no backend can run this graph ({'; '.join(reasons)}); name another with --backend")


def _backends(wanted: str) -> Iterator[Backend]:
    known = registry.on("cpu")
    if wanted != "auto" and wanted not in known:
        raise SettingError(
            f"backend is {wanted!r}; a network of no known family is timed on the CPU, with {', '.join(known)}"
        )
    for backend in known.values() if wanted == "auto" else [known[wanted]]:
        reason = backend.unavailable_reason(0)
        if reason is None:
            yield backend
        elif wanted != "auto":
            raise BackendError(f"{backend.title} cannot be used: {reason}")


def _once(key: object, make: Any) -> Any:
    return make()


def _difference(one: Array, other: Array) -> float:
    if not one.size:
        return 0.0
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "one number"
