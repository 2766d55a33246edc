"""Reading a model: from its file to the program and the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtmatte.backends.tensorrt import BuildCancelledError, Progress
from trtmatte.compiler import importing
from trtmatte.compiler.in_memory import Weights
from trtmatte.compiler.options import Options
from trtmatte.compiler.source import Source
from trtmatte.format.program import Program
from trtmatte.support.limits import Limits

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["read_program"]


def read_program(
    source: Source | Weights, options: Options, progress: Progress | None, limits: Limits | None = None
) -> tuple[Program, dict[str, ModelProto]]:
    """The program of a model, and its networks by name. With `limits`, other files are not read.

    The networks have DeformConv where the model has it in any form, which `deform_conv.sampled` writes for runtimes
    without it.
    """
    _tell(progress, 0.0)
    form: dict[str, Any] = {"family": options.family, "size": options.size, "batch": options.batch, **options.settings}
    if isinstance(source, Weights):
        graph = source.graph(**form)
    else:
        graph = importing.read(source.path, known=source.about["sha256"], self_contained=limits is not None, **form)
    from trtmatte.compiler.graph.cut import cut  # needs onnx
    from trtmatte.compiler.graph.deform_conv import restored

    program, models = cut(graph)
    models = [restored(model) for model in models]
    _tell(progress, 1.0)
    return program, {stage.name: model for stage, model in zip(program.networks, models, strict=True)}


def _tell(progress: Progress | None, done: float) -> None:
    if progress is not None and progress("reading", done) is False:
        raise BuildCancelledError("the build was cancelled")
