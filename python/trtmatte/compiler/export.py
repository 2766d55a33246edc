"""Exports: a whole model as one TensorRT plan with our ops as plugins, or as the ONNX graph of one.

An export takes the frame (and the states) and gives the mattes (and the new states), all in fixed shapes. The ONNX
graph carries the ops' function bodies, so that other runtimes can run it as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from trtmatte import plugins
from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import Progress
from trtmatte.compiler import plans
from trtmatte.compiler import triton as repository
from trtmatte.compiler.options import Form, Options
from trtmatte.compiler.plans import KeptNodes
from trtmatte.compiler.program import read_program
from trtmatte.compiler.source import locate
from trtmatte.errors import BackendError, SettingError
from trtmatte.format.outputs import DEFAULT_OUTPUTS, MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import BACKGROUND
from trtmatte.support.cache_folder import private_folder
from trtmatte.support.files import replacing, require_writable

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["ONNX", "PLAN", "SUFFIXES", "Exported", "export", "graph"]

Array = np.ndarray[Any, Any]
BackgroundReader = Callable[[Any], "Array | None"]
"""Reads a colour or a picture as `[1,3,h,w]` in 0…1; None for a background that depends on the frame."""

PLAN: Final = ".plan"
ONNX: Final = ".onnx"
SUFFIXES: Final = {"plan": PLAN, "onnx": ONNX}

_LOG: Final = logging.getLogger("trtmatte")
_TARGET: Final = "tensorrt"
_LARGEST_TOPK: Final = 3840  # of TensorRT's own layer, which a function body would become
_GRAPH_INSTEAD: Final = (
    "or export the graph with --export onnx, which needs neither, and build it where both are: "
    f"trtexec --onnx=NAME{ONNX} --dynamicPlugins=libtrtmatte_plugins.so"
)


class Exported(NamedTuple):
    """The files that were written, the graph that they hold, and remarks about it."""

    files: tuple[Path, ...]
    program: Program
    graph: ModelProto
    notes: tuple[str, ...]


def export(
    model: str | Path,
    kind: str | None = None,
    *,
    out: str | Path | None = None,
    triton: str | Path | None = None,
    validate: bool = False,
    frames: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    read_background: BackgroundReader | None = None,
    **options: Any,
) -> Exported:
    """Write a model as one TensorRT plan ("plan"), as the plan's ONNX graph ("onnx"), or for Triton ("triton").

    `model` and `options` are those of `trtmatte.build`; `outputs`, `dtype`, `layout`, `color` and `background` are the
    form of pictures and mattes. `out` is the file to write; for "triton" it is a model repository of Triton Inference
    Server, which gets the plan. `triton` names a repository that also gets the plan or the graph. Without `kind`, the
    suffix of `out` decides. Exports are not cached, so that `force` changes nothing.
    """
    if not isinstance(model, (str, Path)):
        raise SettingError("an export takes the file or the name of a model; save model.state_dict() and pass the file")
    out, triton = (None if path is None else Path(path) for path in (out, triton))
    if validate or frames is not None:
        raise SettingError("validate is for engines: build one with it, which has the same networks")
    if kind == "triton":
        if out is not None and triton is not None:
            raise SettingError(f"out is {out} and triton is {triton}; expected one model repository: leave triton out")
        out, triton = None, triton or out
    suffix = _suffix(kind, out, triton)
    if out is not None:
        require_writable(out, f"model{suffix}")
    source, recipe = locate(model)
    given = {**recipe, **{name: value for name, value in options.items() if value is not None}}
    chosen = Options.of({**source.completed(given), "export": kind or suffix.removeprefix(".")})
    _require_tensorrt(chosen)
    library = _plugins() if suffix == PLAN else None

    program, networks = read_program(source, chosen, progress)
    kept = plans.keep_fp32(program, networks) if chosen.precision == "fp16" else None
    made = graph(program, networks, chosen.form, kept, read_background)
    content = made.SerializeToString()
    if library is not None:
        content = _plan(content, library, verbose, progress, tf32=chosen.tf32)
    written = []
    if triton is not None:
        name = out.stem if out is not None else Path(model).stem
        written += repository.write(triton / name, suffix, content, made, program.states)
    if out is not None:
        with replacing(out) as file:
            file.write(content)
        written.append(out)
    return Exported(tuple(written), program, made, _notes(program) if library is None else ())


def graph(
    program: Program,
    networks: Mapping[str, ModelProto],
    form: Form,
    kept: KeptNodes | None = None,
    read_background: BackgroundReader | None = None,
) -> ModelProto:
    """A program with its networks as one graph for TensorRT: in float16 except for `kept`, or without it in float32."""
    from trtmatte.compiler.graph.join import join
    from trtmatte.compiler.graph.matte_graph import with_layout

    _require_fixed(program)
    matte, others = _outputs(program, form)
    background = _background(form, matte, read_background)
    joined = with_layout(
        join(replace(program, outputs=others), plans.in_precision(networks, kept)),
        outputs=matte,
        frame_dtype=form.dtype,
        dtype=form.dtype,
        frame_layout=form.layout,
        layout=form.layout,
        color=form.color,
        for_tensorrt=True,
    )
    _settle(joined, BACKGROUND, background)
    return joined


def _plan(content: bytes, library: Path, verbose: bool, progress: Progress | None, *, tf32: bool) -> bytes:
    plan = tensorrt.build_plan(
        content,
        target=_TARGET,
        name="the plan",
        progress=None if progress is None else lambda _phase, done: progress("building", done),
        verbose=verbose,
        timing_cache=private_folder("timings") / f"{_TARGET}.cache",
        plugins=library,
        tf32=tf32,
    )
    for layer in plan.info.get("layers", ()):
        _LOG.debug("%s", layer)
    return plan.data


# ---------------------------------------------------------------------------------------------------------------------
# What is asked for


def _suffix(kind: str | None, out: Path | None, triton: Path | None) -> str:
    if out is None and triton is None:
        raise SettingError("neither out nor triton is given; expected at least one place to write to")
    suffix = SUFFIXES.get(kind or "", PLAN if out is None else out.suffix)
    if (out is not None and out.suffix != suffix) or suffix not in SUFFIXES.values():
        wanted = f"in {suffix}" if suffix in SUFFIXES.values() else f"in {PLAN} for the plan or in {ONNX} for its graph"
        raise SettingError(f"out is {out}; expected a name that ends {wanted}")
    if triton is not None and not (triton.is_dir() or triton.parent.is_dir()):
        raise SettingError(f"triton is {triton}; there is no folder {triton.parent}: make it first")
    return suffix


def _require_tensorrt(options: Options) -> None:
    if "tensorrt-rtx" in options.target:
        raise SettingError(
            "target is tensorrt-rtx, which has no plugins, so that no plan of it can hold our ops; leave export out: "
            "the plans of an engine need no plugins"
        )
    if options.target not in ((), (_TARGET,)):
        raise SettingError(
            f"target is {', '.join(options.target)}; exports are for {_TARGET} alone: leave the target out"
        )


def _plugins() -> Path:
    """The plugin library; raises a BackendError if no plan can be built with it here."""
    missing = tensorrt.build_unavailable_reason(_TARGET)
    if missing is not None:
        raise BackendError(f"TensorRT builds the plan. {missing}; {_GRAPH_INSTEAD}")
    path = _library()
    if path is None:
        raise BackendError(
            "the plan holds our ops as plugins, and this installation has no plugin library: build trtmatte "
            f"with TRTMATTE_PLUGINS=ON; {_GRAPH_INSTEAD}"
        )
    return path


def _library() -> Path | None:
    path = plugins.library_path()
    if path is not None:
        built_for, here = plugins.tensorrt_version(path)[0], tensorrt.version(_TARGET)
        if str(built_for) != here.split(".")[0]:
            raise BackendError(
                f"the plugin library {path} is for TensorRT {built_for}, and here is {here}: build trtmatte with the "
                "headers of that"
            )
    return path


def _require_fixed(program: Program) -> None:
    if not program.has_fixed_patches:
        raise SettingError(
            "refine_mode is thresholding, and an export has fixed shapes: it would refine every place of every frame, "
            "however few are needed. Choose sampling, or full, which refines the whole frame, or build an engine"
        )


def _outputs(program: Program, form: Form) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The outputs of the matte, and the small ones."""
    known = (*(MATTE_OUTPUTS if program.matte else ()), *program.outputs)
    chosen = form.outputs or (DEFAULT_OUTPUTS if program.matte else program.outputs)
    unknown = [name for name in chosen if name not in known]
    if unknown or len(set(chosen)) < len(chosen):
        raise SettingError(f"outputs is {', '.join(chosen)}; expected each once, of {', '.join(known)}")
    return tuple(name for name in chosen if name in MATTE_OUTPUTS), tuple(
        name for name in chosen if name not in MATTE_OUTPUTS
    )


def _notes(program: Program) -> tuple[str, ...]:
    select = program.select
    k = 0 if select is None or select.attributes["mode"] else select.integer("k")
    if k <= _LARGEST_TOPK:
        return ()
    return (
        f"it selects {k} patches a frame, which TensorRT builds with the plugins alone: its own TopK stops at "
        f"{_LARGEST_TOPK}",
    )


# ---------------------------------------------------------------------------------------------------------------------
# The background


def _background(form: Form, matte: tuple[str, ...], read: BackgroundReader | None) -> Array:
    """The picture behind the subject of a composite, as `[1,3,h,w]` in 0…1."""
    if ("composite" in matte) != (form.background is not None):
        raise SettingError(
            f"outputs is {', '.join(matte)} and background is {form.background!r}; expected a composite and the colour "
            "or the picture behind the subject, or neither"
        )
    if form.background is None or read is None:
        return np.zeros((1, 3, 1, 1), np.float32)
    picture = read(form.background)
    if picture is None:
        raise SettingError(
            f"background is {form.background!r}; an export holds one colour or one picture: choose those, or pha "
            "and fgr as outputs, of which any composite can be made"
        )
    return picture


def _settle(model: ModelProto, name: str, value: Any) -> None:
    """Replace the input of this name, if there is one, by a constant."""
    from onnx import numpy_helper

    for index, each in enumerate(model.graph.input):
        if each.name == name:
            del model.graph.input[index]
            model.graph.initializer.append(numpy_helper.from_array(value, name))
            return
