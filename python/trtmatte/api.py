"""The door between the wings: `build` and `load` make an `Engine`, and an engine opens sessions.

The runtime never imports the compiler. When a session needs a plan that its engine lacks, it asks the engine
(`with_plan_for`), and the engine defined here asks the compiler.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from trtmatte import ops
from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import Progress
from trtmatte.compiler import build as compiler
from trtmatte.compiler import export as exporter
from trtmatte.compiler import plans
from trtmatte.compiler.export import Exported
from trtmatte.errors import BackendError
from trtmatte.format import file as engine_file
from trtmatte.format.archive import Member
from trtmatte.format.file import EngineFile
from trtmatte.reports import validate as validation
from trtmatte.runtime.session import Session as RuntimeSession
from trtmatte.runtime.session.background import Picture, read_background
from trtmatte.support.limits import Limits
from trtmatte.support.renamed import notice

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Engine", "Session", "build", "export", "load"]

_LOG: Final = logging.getLogger("trtmatte")


class Engine(EngineFile):
    """A matting model, ready to run: `engine.session()` opens sessions. `build` and `load` make engines."""

    def __init__(self, manifest: Mapping[str, Any], members: Mapping[str, Member], path: Path | None = None):
        super().__init__(manifest, members, path)
        self._with_plans: dict[tuple[str, int], EngineFile] = {}
        self._building = threading.Lock()

    def session(self, **options: Any) -> Session:
        """A session that runs this engine. `options` are those of `Session`."""
        return Session(self, **options)

    def with_plan_for(self, target: str, gpu: int) -> EngineFile:
        """The engine with a plan of `target` for this GPU, built now or taken from the cache."""
        with self._building:
            if (target, gpu) not in self._with_plans:
                self._with_plans[target, gpu] = plans.completed(
                    self, target, gpu=gpu, progress=_Announcement(self, target)
                )
            return self._with_plans[target, gpu]


def _with_safe(signature: inspect.Signature) -> inspect.Signature:
    safe = inspect.Parameter("safe", inspect.Parameter.KEYWORD_ONLY, default=False, annotation="bool | Limits")
    return signature.replace(parameters=[*signature.parameters.values(), safe])


class Session(RuntimeSession):
    __doc__ = f"""{RuntimeSession.__doc__}
    `safe` is for engines and frames of strangers, as in `trtmatte.load`.
    """
    __signature__ = _with_safe(inspect.signature(RuntimeSession))

    def __init__(self, engine: EngineFile | str | Path, *, safe: bool | Limits = False, **options: Any) -> None:
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
    **options: Any,
) -> Engine:
    """Build the engine of a model: an ONNX file, a checkpoint, a recipe (`.toml`), or the name of a known model.

    A PyTorch network of a known family is a model as well, the original's class or ours, and so is its state_dict.
    A network of BackgroundMattingV2 brings its settings.

    `options` are `family`, `size`, `precision`, `batch`, `target` (one or several), and the family's settings, such as
    `downsample_ratio` or `backbone_scale`. They override a recipe's. An engine that was built before comes from the
    cache, unless `force` is set.

    `out` is the file to write; without it the engine stays in the cache. `validate` measures the errors of every
    backend that runs here, on `frames` (a video or a folder of pictures) or on generated frames, and stores them in the
    engine.

    `safe` is for models of strangers: they may not have more bytes or larger frames than `Limits`, nor weights in other
    files.
    """
    request = compiler.Request.of(model, out, verbose=verbose, progress=progress, safe=safe, **options)
    engine = request.built(force=force)
    if validate or frames is not None:
        engine = _validated(engine, frames, force, progress)
    return _engine(request.written(engine, force=force))


def export(model: str | Path, kind: str | None = None, **options: Any) -> Exported:
    """Export a model for use outside Python: `kind` is "plan", "onnx" or "triton" (`docs/deploy.md`)."""
    return exporter.export(model, kind, read_background=_picture, **options)


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
