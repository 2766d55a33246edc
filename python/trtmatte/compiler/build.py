"""Building: a model becomes an engine. An engine that was built before comes from the cache.

The parts that need onnx and PyTorch are imported only if the cache does not have the engine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trtmatte import plugins
from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import BuildCancelledError, Progress
from trtmatte.compiler import engine_cache, plans
from trtmatte.compiler.in_memory import Weights
from trtmatte.compiler.options import ONNX_TARGET, Options
from trtmatte.compiler.program import read_program
from trtmatte.compiler.source import Source, locate
from trtmatte.errors import BackendError, SettingError
from trtmatte.format import file as engine_file
from trtmatte.format.file import EngineFile, Plan
from trtmatte.format.program import Program
from trtmatte.models.download import sha256
from trtmatte.support.files import require_writable
from trtmatte.support.limits import Limits
from trtmatte.support.packages import code_hash, version_of

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

__all__ = ["Request", "with_errors"]

_PACKAGES: Final = ("onnx", "torch")  # their versions can show in an engine


@dataclass(frozen=True)
class Request:
    """Everything that decides what is built. With `lenient`, a target that cannot build the model is left out.

    `limits` are for models of strangers.
    """

    source: Source | Weights
    options: Options
    lenient: bool
    verbose: bool
    progress: Progress | None
    out: Path | None
    limits: Limits | None = None

    @classmethod
    def of(
        cls,
        model: str | Path | nn.Module | Mapping[str, Any],
        out: str | Path | None,
        *,
        verbose: bool = False,
        progress: Progress | None = None,
        safe: bool | Limits = False,
        **options: Any,
    ) -> Request:
        """The request of a user: `options` override those of a recipe. Wrong values raise errors here."""
        place = None if out is None else require_writable(Path(out), "engine.trtm")
        limits = Limits.of(safe)
        source, recipe = locate(model, limits)
        given = {**recipe, **{name: value for name, value in options.items() if value is not None}}
        chosen = Options.of(source.completed(given) if isinstance(source, Source) else given)
        targets = _targets(chosen.target)
        if chosen.export is not None:
            raise SettingError(
                f"export is {chosen.export!r}, which makes no engine: use trtmatte-build --export or trtmatte.export, "
                "or leave export out"
            )
        if limits is not None and chosen.size[0] * chosen.size[1] > limits.pixels:
            raise SettingError(
                f"size is {chosen.size[0]}x{chosen.size[1]}; expected at most {limits.pixels} pixels in safe mode"
            )
        return cls(source, replace(chosen, target=targets), not chosen.target, verbose, progress, place, limits)

    @functools.cached_property
    def key(self) -> str:
        """The key of the engine in the cache."""
        return engine_cache.key(
            {
                "format": engine_file.FORMAT,
                "code": code_hash(),
                "packages": {name: version_of(name) for name in _PACKAGES},
                "plugins": _plugins_hash(),
                "environments": {each: tensorrt.environment(each) for each in _plan_targets(self.options)},
                "source": self.source.about,
                "options": self.options.to_json(),
                "lenient": self.lenient,
                "verbose": self.verbose,
            }
        )

    def built(self, *, force: bool = False) -> EngineFile:
        """The engine, built now or taken from the cache."""
        return engine_cache.engine(self.key, self.compile, force=force)

    def written(self, engine: EngineFile, *, force: bool = False) -> EngineFile:
        """The engine in the file that was asked for, which is written unless it holds this engine already."""
        if self.out is None:
            return engine
        there = None if force else engine_cache.copy_of(engine, self.out)
        return there or engine_file.write(engine, self.out)

    def compile(self) -> EngineFile:
        """The engine, in memory."""
        program, networks = read_program(self.source, self.options, self.progress, self.limits)
        from trtmatte.compiler.graph import cpu  # needs onnx

        keep_fp32 = plans.keep_fp32(program, networks) if self.options.precision == "fp16" else None
        made, not_built = self._plans(program, networks, keep_fp32)
        if ONNX_TARGET in self.options.target:
            made = [*plans.for_onnxruntime(program, networks, keep_fp32), *made]
        return EngineFile.of(
            program,
            {name: network.SerializeToString() for name, network in networks.items()},
            plans=[*cpu.plan(networks), *made],
            settings=self.options.to_json(),
            source=self.source.about,
            not_built=not_built,
            keep_fp32=keep_fp32,
            key=self.key,
        )

    def _plans(
        self, program: Program, networks: Mapping[str, ModelProto], keep_fp32: plans.KeptNodes | None
    ) -> tuple[list[Plan], dict[str, str]]:
        made, not_built = [], {}
        for target in _plan_targets(self.options):
            try:
                plan = plans.make(
                    program, networks, target, keep_fp32, self.verbose, self.progress, tf32=self.options.tf32
                )
                made.append(plan)
            except BackendError as error:
                if not self.lenient or isinstance(error, BuildCancelledError):
                    raise
                not_built[target] = str(error)
        return made, not_built


def with_errors(
    engine: EngineFile,
    measure: Callable[[], Mapping[str, Any]],
    fingerprint: Mapping[str, Any],
    *,
    force: bool = False,
) -> EngineFile:
    """The engine with measured errors. `fingerprint` is all that the measurement depends on besides the engine."""
    key = engine_cache.key({"engine": engine.manifest["key"], "measured": fingerprint})
    return engine_cache.engine(key, lambda: engine.with_errors(measure(), key), force=force)


def _targets(wanted: tuple[str, ...]) -> tuple[str, ...]:
    if not wanted:
        return (ONNX_TARGET, *tensorrt.targets_available())
    for target in wanted:
        reason = None if target == ONNX_TARGET else tensorrt.build_unavailable_reason(target)
        if reason is not None:
            raise BackendError(f"the target {target} cannot be built here: {reason}")
    return wanted


def _plugins_hash() -> str | None:
    library = plugins.library_path()
    return None if library is None else sha256(library)


def _plan_targets(options: Options) -> tuple[str, ...]:
    """The targets whose plans are compiled."""
    return tuple(target for target in options.target if target != ONNX_TARGET)
