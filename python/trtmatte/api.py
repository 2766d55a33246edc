"""The door between the wings: `build` and `load` make an `Engine`, and an engine opens sessions.

The runtime never imports the compiler. When a session needs a plan that its engine lacks, it asks the engine
(`with_plan_for`), and the engine defined here asks the compiler.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from trtmatte import ops
from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import Progress
from trtmatte.compiler import build as compiler
from trtmatte.compiler import export as exporter
from trtmatte.compiler import plans
from trtmatte.compiler.export import Exported
from trtmatte.compiler.options import Export, Precision, Target
from trtmatte.errors import BackendError, EngineError
from trtmatte.format import file as engine_file
from trtmatte.format.archive import Member, held
from trtmatte.format.file import EngineFile
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.ops import Color, Layout
from trtmatte.reports import validate as validation
from trtmatte.runtime.session import Session as RuntimeSession
from trtmatte.runtime.session.background import Picture, read_background
from trtmatte.runtime.session.options import Outputs, SessionOptions
from trtmatte.support.html import table
from trtmatte.support.limits import Limits
from trtmatte.support.renamed import notice

if TYPE_CHECKING:
    from torch import Tensor, nn
    from typing_extensions import Self, Unpack

__all__ = ["Engine", "Session", "build", "export", "load"]

_LOG: Final = logging.getLogger("trtmatte")

Family: TypeAlias = Literal["rvm", "bgmv2", "modnet", "birefnet", "u2net", "generic"] | str
"""One that comes with trtmatte, or one that was added."""

Size: TypeAlias = tuple[int, int] | str
Targets: TypeAlias = Target | list[Target] | tuple[Target, ...]


class Engine(EngineFile):
    """A matting model, ready to run: `engine.session()` opens sessions. `build` and `load` make engines."""

    def __init__(self, manifest: Mapping[str, Any], members: Mapping[str, Member], path: Path | None = None):
        super().__init__(manifest, members, path)
        self._with_plans: dict[tuple[str, int], EngineFile] = {}
        self._building = threading.Lock()

    def session(self, *, safe: bool | Limits = False, **options: Unpack[SessionOptions]) -> Session:
        """A session that runs this engine. `options` are those of `Session`."""
        return Session(self, safe=safe, **options)

    def with_plan_for(self, target: str, gpu: int) -> EngineFile:
        """The engine with a plan of `target` for this GPU, built now or taken from the cache."""
        with self._building:
            if (target, gpu) not in self._with_plans:
                self._with_plans[target, gpu] = plans.completed(
                    self, target, gpu=gpu, progress=_Announcement(self, target)
                )
            return self._with_plans[target, gpu]

    def __copy__(self) -> Self:
        """An engine does not change: it is its own copy."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path of the file, which must still hold this engine where it is read; or all that is in memory."""
        if self.path is not None and self.path.is_file():
            return _opened_again, (self.path.absolute(), _fingerprint(self), self.limits)
        return _unpickled, (self.manifest, dict(self.contents()), self.limits)

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        program, settings = self.program, self.manifest["settings"]
        width, height = program.size
        rows = {
            "model": f"{program.family} {program.variant}",
            "frames": f"{width}x{height}" + (f", {program.batch} streams" if program.batch > 1 else ""),
            "pictures": ", ".join(program.pictures),
            "outputs": ", ".join((*(MATTE_OUTPUTS if program.matte else ()), *program.outputs)),
            "states": ", ".join(state.name for state in program.states),
            "precision on a GPU": str(settings.get("precision", "")),
            "plans": ", ".join(self.plans),
            "size": f"{sum(self.members.values()) / 1e6:.1f} MB",
            "file": str(self.path or "in memory"),
        }
        return table((title, [text]) for title, text in rows.items() if text)


def _opened_again(path: Path, fingerprint: str, limits: Limits | None) -> Engine:
    engine = load(path, safe=limits or False)
    if _fingerprint(engine) != fingerprint:
        raise EngineError(
            f"{path} is not the engine that was pickled: the file has changed since; pickle the engine again"
        )
    return engine


def _unpickled(manifest: Mapping[str, Any], contents: Mapping[str, bytes], limits: Limits | None) -> Engine:
    engine = Engine(manifest, {name: held(data) for name, data in contents.items()})
    engine.limits = limits
    return engine


def _fingerprint(engine: EngineFile) -> str:
    return hashlib.sha256(json.dumps(engine.manifest, sort_keys=True).encode()).hexdigest()


def _with_safe(signature: inspect.Signature) -> inspect.Signature:
    safe = inspect.Parameter("safe", inspect.Parameter.KEYWORD_ONLY, default=False, annotation="bool | Limits")
    return signature.replace(parameters=[*signature.parameters.values(), safe])


class Session(RuntimeSession):
    __doc__ = f"""{RuntimeSession.__doc__}
    `safe` is for engines and frames of strangers, as in `trtmatte.load`.
    """
    __signature__ = _with_safe(inspect.signature(RuntimeSession))

    def __init__(
        self, engine: EngineFile | str | Path, *, safe: bool | Limits = False, **options: Unpack[SessionOptions]
    ) -> None:
        """`engine` is an engine or the path of one. `options` are those of `trtmatte.runtime.session.Session`.

        `safe` is for engines and frames of strangers, as in `trtmatte.load`.
        """
        limits = Limits.of(safe)
        if not isinstance(engine, EngineFile):
            engine = load(engine, safe=safe)
        elif limits is not None and engine.limits != limits:
            engine = engine.restricted(limits)
        try:
            super().__init__(engine, **options)
        except MemoryError as error:
            raise BackendError(
                f"there is no memory for a session of {engine}: give it fewer streams (batch)"
            ) from error


_PARAMETERS: Final = list(inspect.signature(Session).parameters.values())
vars(Engine.session)["__signature__"] = inspect.Signature(  # what prompts and notebooks complete
    [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *_PARAMETERS[1:]], return_annotation="Session"
)


def load(path: str | Path, *, safe: bool | Limits = False) -> Engine:
    """The engine in a file. Each network and plan is read and checked against its hash when it is used.

    Plans are code for the device: load only engines that you built, or whose maker you trust. With `safe` the plans of
    the file are left out, its networks run instead, and files and frames above the limits are refused: those of
    `trtmatte.Limits()`, or those that are given.
    """
    return engine_file.read_as(Engine, path, Limits.of(safe))


def build(
    model: str | Path | nn.Module | Mapping[str, Tensor],
    *,
    out: str | Path | None = None,
    validate: bool = False,
    frames: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    safe: bool | Limits = False,
    family: Family | None = None,
    size: Size | None = None,
    precision: Precision | None = None,
    batch: int | None = None,
    target: Targets | None = None,
    **settings: Any,
) -> Engine:
    """Build the engine of a model: an ONNX file, a checkpoint, a recipe (`.toml`), or the name of a known model.

    A PyTorch network of a known family is a model as well, the original's class or ours, and so is its state_dict.
    A network of BackgroundMattingV2 brings its settings.

    `family`, `size`, `precision`, `batch`, `target` (one or several) and `settings`, those of the family, such as
    `downsample_ratio` or `backbone_scale`, override a recipe's. An engine that was built before comes from the cache,
    unless `force` is set.

    `out` is the file to write; without it the engine stays in the cache. `validate` measures the errors of every
    backend that runs here, on `frames` (a video or a folder of pictures) or on generated frames, and stores them in the
    engine.

    `safe` is for models of strangers: they may not have more bytes or larger frames than `Limits`, nor weights in other
    files.
    """
    options: dict[str, Any] = {"family": family, "size": size, "precision": precision, "batch": batch, "target": target}
    request = compiler.Request.of(model, out, verbose=verbose, progress=progress, safe=safe, **options, **settings)
    engine = request.built(force=force)
    if validate or frames is not None:
        engine = _validated(engine, frames, force, progress)
    return _engine(request.written(engine, force=force))


def export(
    model: str | Path,
    kind: Export | None = None,
    *,
    out: str | Path | None = None,
    triton: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    family: Family | None = None,
    size: Size | None = None,
    precision: Precision | None = None,
    batch: int | None = None,
    target: Targets | None = None,
    outputs: Outputs | None = None,
    dtype: Literal["uint8", "float16", "float32"] | None = None,
    layout: Layout | None = None,
    color: Color | None = None,
    background: str | tuple[float, ...] | None = None,
    **settings: Any,
) -> Exported:
    """Export a model for use outside Python: `kind` is "plan", "onnx" or "triton" (`docs/deploy.md`).

    `out` is the file to write, `triton` a model repository of Triton; without `kind` the suffix of `out` decides.
    `family` to `target` and `settings` are those of `build`; `outputs` to `background` are the form of pictures and
    mattes.
    """
    return exporter.export(
        model,
        kind,
        out=out,
        triton=triton,
        force=force,
        verbose=verbose,
        progress=progress,
        read_background=_picture,
        family=family,
        size=size,
        precision=precision,
        batch=batch,
        target=target,
        outputs=outputs,
        dtype=dtype,
        layout=layout,
        color=color,
        background=background,
        **settings,
    )


def single() -> Any:
    """The old module `trtmatte.single`. Its `build` is now called `export`."""
    notice("trtmatte.single", "trtmatte.export")
    return SimpleNamespace(build=export, Single=Exported, graph=exporter.graph, PLAN=exporter.PLAN, ONNX=exporter.ONNX)


def _picture(background: Any) -> Any:
    """A colour or a picture as an export holds it; None for a blur."""
    found = read_background(background, "rgb")
    if not isinstance(found, Picture):
        return None
    return ops.frame_sample(found.frames.array, found.frames.height, found.frames.width)


def _engine(file: EngineFile) -> Engine:
    return Engine(file.manifest, file._members, file.path)


def _validated(engine: EngineFile, frames: str | Path | None, force: bool, progress: Progress | None) -> EngineFile:
    """Return the engine with its measured errors; they are measured only once."""
    pictures = None if frames is None else Path(frames)
    return compiler.with_errors(
        engine,
        lambda: validation.measure(engine, pictures, progress),
        validation.fingerprint(pictures),
        force=force,
    )


class _Announcement:
    """Log a build that a session needs: a warning at its start, then the progress in tenths at level INFO."""

    def __init__(self, engine: Engine, target: str) -> None:
        self._engine, self._target = engine, target
        self._told: set[_Step] = set()

    def __call__(self, what: str, done: float) -> None:
        if not self._told:
            title = tensorrt.title(self._target)
            text = "%s has no %s plan for this GPU: building one, once, which takes a while"
            _LOG.warning(text, self._engine, title)
        step = _Step(what, int(done * 10))
        if step not in self._told:
            self._told.add(step)
            _LOG.info("%s: %d %%", step.what, step.tenths * 10)


class _Step(NamedTuple):
    what: str
    tenths: int
