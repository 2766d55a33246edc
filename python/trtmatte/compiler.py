"""Building: a model goes in, an engine comes out, or the one that was built of the same before.

Nothing of the wing that compiles is imported until the cache has been asked.
"""

from __future__ import annotations

import functools
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trtmatte import cache, fetch, plans, store
from trtmatte import engine as engine_file
from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import BuildCancelledError, Progress
from trtmatte.engine import Engine, Plan
from trtmatte.errors import BackendError, EngineError, ModelError, SettingError
from trtmatte.options import CPU_TARGET, Options, read_recipe
from trtmatte.program import Program

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Progress", "Source", "build", "locate", "tell", "writable"]

_PACKAGES: Final = ("onnx", "torch")  # whose versions may show in what is built
_PLUGINS: Final = "libtrtmatte_plugins.so"
_LOCATION: Final = b"\n\x08location\x12"  # how an ONNX file begins to name another that holds its weights


def build(
    model: str | Path,
    *,
    out: str | Path | None = None,
    validate: bool = False,
    frames: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Engine:
    """The engine of a model: an ONNX file, a checkpoint, a recipe (`.toml`), or the name of a known model.

    `options` are `family`, `size`, `precision`, `batch`, `target` (one or several), `layout`, and what the family has
    to be set, such as `downsample_ratio` or `backbone_scale`; they are stronger than a recipe's. What is built already
    is taken from the cache unless `force` is set.

    `out` is where the engine is written; without it, it stays in the cache. `validate` measures the errors of what can
    run here on `frames`, a video or a folder of pictures, or on generated ones, and keeps them in the engine.
    """
    out = None if out is None else writable(Path(out))
    source, recipe = locate(model)
    chosen = Options.of({**recipe, **{name: value for name, value in options.items() if value is not None}})
    request = _Request(source, replace(chosen, target=_targets(chosen.target)), not chosen.target, verbose, progress)
    _refuse_single(chosen)
    engine = cache.engine(request.key, request.compile, force=force)
    if validate or frames is not None:
        engine = _validated(engine, frames, force, progress)
    if out is None:
        return engine
    there = None if force else cache.found_at(out, engine.manifest["key"])
    return there or engine_file.write(engine, out)


# ---------------------------------------------------------------------------------------------------------------------
# What is asked for


@dataclass(frozen=True)
class Source:
    """A model's file, and what is told of it in the engine."""

    path: Path
    about: Mapping[str, Any]


@dataclass(frozen=True)
class _Request:
    """Everything that decides what is built. With `lenient`, a target that cannot build this model is left out."""

    source: Source
    options: Options
    lenient: bool
    verbose: bool
    progress: Progress | None

    @functools.cached_property
    def key(self) -> str:
        return cache.key(
            {
                "format": engine_file.FORMAT,
                "code": cache.code(),
                "packages": {name: cache.version_of(name) for name in _PACKAGES},
                "plugins": _plugins_hash(),
                "environments": {each: tensorrt.environment(each) for each in _plan_targets(self.options)},
                "source": self.source.about,
                "options": self.options.to_json(),
                "lenient": self.lenient,
                "verbose": self.verbose,
            }
        )

    def compile(self) -> Engine:
        """The engine, in memory."""
        from trtmatte.families import importing
        from trtmatte.graph import cpu
        from trtmatte.graph.cut import cut

        options = self.options
        tell(self.progress, "reading", 0.0)
        program, models = cut(
            importing.read(
                self.source.path, family=options.family, size=options.size, batch=options.batch, **options.settings
            )
        )
        networks = {stage.name: model for stage, model in zip(program.networks, models, strict=True)}
        tell(self.progress, "reading", 1.0)
        made, not_built = self._plans(program, networks)
        return Engine.of(
            program,
            {name: network.SerializeToString() for name, network in networks.items()},
            plans=[*cpu.plan(networks), *made],
            settings=options.to_json(),
            source=self.source.about,
            not_built=not_built,
            key=self.key,
        )

    def _plans(self, program: Program, networks: Mapping[str, ModelProto]) -> tuple[list[Plan], dict[str, str]]:
        made, not_built = [], {}
        for target in _plan_targets(self.options):
            try:
                made.append(plans.make(program, networks, target, self.options.precision, self.verbose, self.progress))
            except BackendError as error:
                if not self.lenient or isinstance(error, BuildCancelledError):
                    raise
                not_built[target] = str(error)
        return made, not_built


def tell(progress: Progress | None, what: str, done: float) -> None:
    if progress is not None and progress(what, done) is False:
        raise BuildCancelledError("the build was cancelled")


def locate(model: str | Path) -> tuple[Source, dict[str, Any]]:
    """The model's file, and the options that come with it where a recipe names it."""
    options: dict[str, Any] = {}
    if Path(model).suffix == ".toml":
        model, options = read_recipe(Path(model))
    path = Path(model)
    if path.is_dir():
        raise ModelError(f"{path} is a folder; expected a model file, a recipe or the name of a known model")
    if path.is_file():
        return Source(path, _about(path)), options
    try:
        known = store.find(str(model))
    except SettingError as error:
        raise ModelError(f"there is no file {model}, and {error}") from error
    path = store.pull(known)  # checks the file against its hash where one is known
    return Source(path, {**_about(path, known.sha256), "known_as": known.name, "licence": known.licence}), options


def _about(path: Path, sha256: str | None = None) -> dict[str, Any]:
    try:
        sha256 = sha256 or fetch.sha256(path)
        others = {name: fetch.sha256(path.parent / name) for name in sorted(set(_other_files(path)))}
    except OSError as error:
        raise ModelError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    return {"file": path.name, "sha256": sha256, **({"other_files": others} if others else {})}


def _other_files(path: Path) -> Iterator[str]:
    """The files beside an ONNX model that hold its weights, found without reading it as a whole.

    One too many, which weights could spell by chance, does no harm: it has to exist as well.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with data:
        found = data.find(_LOCATION)
        while found >= 0:
            start = found + len(_LOCATION)
            length, start = _varint(data, start)
            name = data[start : start + length].decode(errors="replace")
            if length < 4096 and "\0" not in name and (path.parent / name).is_file():
                yield name
            found = data.find(_LOCATION, start)


def _varint(data: mmap.mmap, start: int) -> tuple[int, int]:
    """A whole number as protobuf writes it, and where it ends."""
    value, shift = 0, 0
    while start < len(data) and shift < 64:
        byte = data[start]
        value, shift, start = value | (byte & 0x7F) << shift, shift + 7, start + 1
        if byte < 0x80:
            break
    return value, start


def _targets(wanted: tuple[str, ...]) -> tuple[str, ...]:
    if not wanted:
        return (CPU_TARGET, *tensorrt.targets_available())
    for target in wanted:
        reason = None if target == CPU_TARGET else tensorrt.why_not(target)
        if reason is not None:
            raise BackendError(f"the target {target} cannot be built here: {reason}")
    return wanted


def _plan_targets(options: Options) -> tuple[str, ...]:
    """The targets that take more than the networks in ONNX, which are always there."""
    return tuple(target for target in options.target if target != CPU_TARGET)


def _refuse_single(options: Options) -> None:
    if options.layout == "single":
        raise SettingError(
            "layout is 'single', which makes one TensorRT plan and no engine: build it with trtmatte-build or "
            "trtmatte.single.build, or leave the layout out"
        )


def _plugins() -> Path | None:
    path = Path(__file__).with_name(_PLUGINS)
    return path if path.is_file() else None


def _plugins_hash() -> str | None:
    path = _plugins()
    return None if path is None else fetch.sha256(path)


# ---------------------------------------------------------------------------------------------------------------------
# What is done with it


def _validated(engine: Engine, frames: str | Path | None, force: bool, progress: Progress | None) -> Engine:
    """The engine with its errors, measured once."""
    from trtmatte import validation

    shots = None if frames is None else Path(frames)
    key = cache.key({"engine": engine.manifest["key"], "measured": validation.fingerprint(shots)})
    return cache.engine(key, lambda: engine.with_errors(validation.measure(engine, shots, progress), key), force=force)


def writable(out: Path) -> Path:
    """Said before minutes are spent on what cannot be written."""
    if out.is_dir():
        raise SettingError(f"{out} is a folder; expected the name of a file, like {out / 'engine.trtm'}")
    if not out.parent.is_dir():
        raise SettingError(f"{out} cannot be written: there is no folder {out.parent}; make it first")
    if not os.access(out.parent, os.W_OK):
        raise EngineError(f"{out} cannot be written: {out.parent} is not yours to write to; choose another place")
    return out
