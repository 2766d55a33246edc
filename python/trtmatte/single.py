"""The single layout: a whole model as one TensorRT plan with our ops in it as plugins, for use outside Python.

It takes the frame (and the states) and gives the mattes (and the new states), all in fixed shapes. Its graph is an ONNX
model that other runtimes execute as well, since it carries the ops' function bodies.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from trtmatte import cache, compiler, plans, plugins
from trtmatte import triton as repository
from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import Progress
from trtmatte.errors import BackendError, SettingError
from trtmatte.files import replacing
from trtmatte.options import LAYOUTS, Form, Options
from trtmatte.program import BACKDROP, MATTE, OpStage, Program

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["ONNX", "PLAN", "Single", "build", "graph"]

PLAN: Final = ".plan"
ONNX: Final = ".onnx"

_LOG: Final = logging.getLogger("trtmatte")
_TARGET: Final = "tensorrt"
_LARGEST_TOPK: Final = 3840  # of TensorRT's own layer, which a body would become
_GRAPH_INSTEAD: Final = (
    f"or write the graph with -o NAME{ONNX}, which takes neither, and build it where both are: "
    f"trtexec --onnx=NAME{ONNX} --dynamicPlugins=libtrtmatte_plugins.so"
)


class Single(NamedTuple):
    """What was written, of which graph, and what is worth knowing of it."""

    files: tuple[Path, ...]
    program: Program
    graph: ModelProto
    notes: tuple[str, ...]


def build(
    model: str | Path,
    *,
    out: str | Path | None = None,
    triton: str | Path | None = None,
    validate: bool = False,
    frames: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Single:
    """Writes a model as one TensorRT plan, or as the graph of one where `out` ends in .onnx.

    `model` and `options` are those of `trtmatte.build`; `outputs`, `dtype`, `axes`, `color` and `backdrop` say how
    pictures go in and mattes come out. `triton` is a model repository of Triton Inference Server, in which the model
    is put as well, called like `out`, or without `out` like the model. Nothing is kept in the cache, so that `force`
    changes nothing.
    """
    out, triton = (None if path is None else Path(path) for path in (out, triton))
    suffix = _suffix(out, triton)
    if out is not None:
        compiler.writable(out)
    if validate or frames is not None:
        raise SettingError(
            "validate is for engines: build the layout staged with it, which has the same networks in it"
        )
    source, recipe = compiler.locate(model)
    given = {**recipe, **{name: value for name, value in options.items() if value is not None}}
    chosen = Options.of({**given, "layout": LAYOUTS[1]})
    _require_tensorrt(chosen)
    library = _plugins() if suffix == PLAN else None

    program, made = _graph(source.path, chosen, progress)
    content = made.SerializeToString()
    if library is not None:
        content = _plan(content, library, verbose, progress)
    written = []
    if triton is not None:
        name = out.stem if out is not None else Path(model).stem
        written += repository.write(triton / name, suffix, content, made, program.states)
    if out is not None:
        with replacing(out) as file:
            file.write(content)
        written.append(out)
    return Single(tuple(written), program, made, _notes(program) if library is None else ())


def graph(program: Program, networks: Mapping[str, ModelProto], form: Form, precision: str) -> ModelProto:
    """A program with its networks as one graph for TensorRT."""
    from trtmatte.graph.join import join
    from trtmatte.graph.matting import with_layout

    _require_fixed(program)
    matte, others = _outputs(program, form)
    backdrop = _backdrop(form, matte)
    typed = {name: plans.in_precision(network, program.family, precision) for name, network in networks.items()}
    joined = with_layout(
        join(replace(program, outputs=others), typed),
        outputs=matte,
        frame_dtype=form.dtype,
        dtype=form.dtype,
        frame_layout=form.axes,
        layout=form.axes,
        color=form.color,
        for_tensorrt=True,
    )
    _settle(joined, BACKDROP, backdrop)
    return joined


def _graph(path: Path, options: Options, progress: Progress | None) -> tuple[Program, ModelProto]:
    from trtmatte.families import importing
    from trtmatte.graph.cut import cut

    compiler.tell(progress, "reading", 0.0)
    program, models = cut(
        importing.read(path, family=options.family, size=options.size, batch=options.batch, **options.settings)
    )
    networks = {stage.name: model for stage, model in zip(program.networks, models, strict=True)}
    made = graph(program, networks, options.form, options.precision)
    compiler.tell(progress, "reading", 1.0)
    return program, made


def _plan(content: bytes, library: Path, verbose: bool, progress: Progress | None) -> bytes:
    plan = tensorrt.build_plan(
        content,
        target=_TARGET,
        name="the single plan",
        progress=None if progress is None else lambda _phase, done: progress("building", done),
        verbose=verbose,
        timing_cache=cache.private_folder("timings") / f"{_TARGET}.cache",
        plugins=library,
    )
    for layer in plan.info.get("layers", ()):
        _LOG.debug("%s", layer)
    return plan.data


# ---------------------------------------------------------------------------------------------------------------------
# What is asked for


def _suffix(out: Path | None, triton: Path | None) -> str:
    if out is None and triton is None:
        raise SettingError("neither out nor triton is given; expected at least one place to write to")
    suffix = PLAN if out is None else out.suffix
    if suffix not in (PLAN, ONNX):
        raise SettingError(f"out is {out}; expected a name in {PLAN} for the plan or in {ONNX} for its graph")
    if triton is not None and not (triton.is_dir() or triton.parent.is_dir()):
        raise SettingError(f"triton is {triton}; there is no folder {triton.parent}: make it first")
    return suffix


def _require_tensorrt(options: Options) -> None:
    if "tensorrt-rtx" in options.target:
        raise SettingError(
            "target is tensorrt-rtx, which has no plugins, so that no plan of it can hold our ops; leave the layout "
            "out: staged plans do without"
        )
    if options.target not in ((), (_TARGET,)):
        raise SettingError(
            f"target is {', '.join(options.target)}; the layout single is for {_TARGET} alone: leave the target out"
        )


def _plugins() -> Path:
    """The plugin library, where a plan can be built with it."""
    missing = tensorrt.why_not(_TARGET)
    if missing is not None:
        raise BackendError(f"a single plan is built by TensorRT. {missing}; {_GRAPH_INSTEAD}")
    path = _library()
    if path is None:
        raise BackendError(
            "a single plan has our ops in it as plugins, and this installation has no plugin library: build trtmatte "
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
    select = _selection(program)
    if select is not None and select.attributes["mode"] and float(select.attributes["threshold"]) >= 0:  # type: ignore[arg-type]
        raise SettingError(
            "refine_mode is thresholding, and a single plan has fixed shapes: it would refine every place of every "
            "frame, however few are needed. Choose sampling, or full, which costs just that, or the layout staged"
        )


def _outputs(program: Program, form: Form) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The outputs of the matte, and the small ones."""
    known = (*(MATTE if program.matte else ()), *program.outputs)
    chosen = form.outputs or (MATTE[:2] if program.matte else program.outputs)
    unknown = [name for name in chosen if name not in known]
    if unknown or len(set(chosen)) < len(chosen):
        raise SettingError(f"outputs is {', '.join(chosen)}; expected each once, of {', '.join(known)}")
    return tuple(name for name in chosen if name in MATTE), tuple(name for name in chosen if name not in MATTE)


def _notes(program: Program) -> tuple[str, ...]:
    select = _selection(program)
    k = 0 if select is None or select.attributes["mode"] else int(select.attributes["k"])  # type: ignore[arg-type]
    if k <= _LARGEST_TOPK:
        return ()
    return (
        f"it selects {k} patches a frame, which TensorRT builds with the plugins alone: its own TopK stops at "
        f"{_LARGEST_TOPK}",
    )


def _selection(program: Program) -> OpStage | None:
    ops = (stage for stage in program.stages if isinstance(stage, OpStage))
    return next((stage for stage in ops if stage.op == "PatchSelect"), None)


# ---------------------------------------------------------------------------------------------------------------------
# The backdrop


def _backdrop(form: Form, matte: tuple[str, ...]) -> Any:
    """The picture that a composite is made over, as `[1,3,h,w]` in 0…1."""
    from trtmatte import ops
    from trtmatte.session.backdrop import Picture, read_backdrop

    if ("composite" in matte) != (form.backdrop is not None):
        raise SettingError(
            f"outputs is {', '.join(matte)} and backdrop is {form.backdrop!r}; expected a composite and the colour or "
            "the picture that it is made over, or neither"
        )
    if form.backdrop is None:
        return np.zeros((1, 3, 1, 1), np.float32)
    found = read_backdrop(form.backdrop, "rgb")
    if not isinstance(found, Picture):
        raise SettingError(
            f"backdrop is {form.backdrop!r}; a single plan has one colour or one picture in it: choose those, or pha "
            "and fgr as outputs, of which any composite can be made"
        )
    return ops.frame_sample(found.frames.array, found.frames.height, found.frames.width)


def _settle(model: ModelProto, name: str, value: Any) -> None:
    """Makes a constant of an input, where there is one of this name."""
    from onnx import numpy_helper

    for index, each in enumerate(model.graph.input):
        if each.name == name:
            del model.graph.input[index]
            model.graph.initializer.append(numpy_helper.from_array(value, name))
            return
