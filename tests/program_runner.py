"""Two ways to run a trtmatte graph on the CPU: stage by stage with our ops, and whole in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto

from trtmatte import ops
from trtmatte.backends.onnxruntime import Network
from trtmatte.compiler.graph.cut import cut
from trtmatte.compiler.graph.matte_graph import Spec, with_layout
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import BACKGROUND, NetworkStage, OpStage

METHODS = ("linear", "area", "antialias", "gaussian", "lanczos", "bicubic")
MODES = ("sampling", "thresholding")
Arrays = dict[str, Any]


class StagedRunner:
    """What a session does: the program's stages in turn, states carried from call to call."""

    def __init__(self, model: ModelProto, outputs: Sequence[str] = ("fgr", "pha"), dtype: str = "float32") -> None:
        self.program, networks = cut(model)
        self.program = Program.from_json(self.program.to_json())
        stages = zip(self.program.networks, networks, strict=True)
        self.networks = {stage.name: Network(network.SerializeToString(), 2) for stage, network in stages}
        self.outputs, self.dtype = outputs, dtype
        self.reset()

    def reset(self) -> None:
        tensors = self.program.tensors
        self.states = {
            state.input: np.zeros(tuple(map(int, tensors[state.input].shape)), np.float32)
            for state in self.program.states
        }

    def __call__(self, **pictures: np.ndarray) -> Arrays:
        """The pictures are NCHW; the mattes are as well."""
        height, width = pictures["frame"].shape[-2:]
        program = self.program.for_frame(width, height)
        values: Arrays = {**pictures, **self.states}
        for stage in program.stages:
            if isinstance(stage, NetworkStage):
                values |= self.networks[stage.name]({name: values[name] for name in stage.inputs})
            else:
                values |= self._op(stage, values)
        self.states = {state.input: values[state.output] for state in program.states}
        wanted = [*(self.outputs if program.matte else ()), *program.outputs]
        return {name: values[name] for name in (*wanted, *(state.output for state in program.states))}

    def _op(self, stage: OpStage, values: Mapping[str, Any]) -> Arrays:
        settings: dict[str, Any] = dict(stage.attributes)
        inputs = [values.get(name) for name in stage.inputs if name != BACKGROUND]
        if "method" in settings:
            settings["method"] = METHODS[settings["method"]]
        if stage.op == "FrameSample":
            settings |= {key: Fraction(*settings[key]) for key in ("step_y", "step_x")}
            return {stage.outputs[0]: ops.frame_sample(*inputs, **settings, frame_layout="CHW")}
        if stage.op == "ForegroundEstimate":
            return {stage.outputs[0]: ops.foreground_estimate(*inputs, frame_layout="CHW")}
        if stage.op == "PatchSelect":
            settings["mode"] = MODES[settings["mode"]]
            settings["prevent_oversampling"] = bool(settings["prevent_oversampling"])
            indices, count, ref = ops.patch_select(*inputs, **settings)
            used = max(int(count[0]), 1)  # an index of -1 stands for no patch where none is selected
            return dict(zip(stage.outputs, (indices[:used], count, ref), strict=True))
        if stage.op == "PatchCrop":
            return dict(zip(stage.outputs, ops.patch_crop(*inputs, **settings, frame_layout="CHW"), strict=True))
        run: Any = {
            "GuidedUpsample": ops.guided_upsample,
            "MatteUpsample": ops.matte_upsample,
            "PatchScatter": ops.patch_scatter,
        }[stage.op]
        mattes = run(
            *inputs,
            **settings,
            outputs=self.outputs,
            background=values.get(BACKGROUND),
            dtype=self.dtype,
            layout="CHW",
            frame_layout="CHW",
        )
        return dict(zip(self.outputs, mattes, strict=True))


def require_clean_foreground(fgr: np.ndarray, frame: np.ndarray, small: Any, method: str = "linear") -> None:
    """The foreground of NCHW frames is what the ops make with the small alpha, and not the frame.

    Alphas that differ by a rounding make colours that differ by more, in a few pixels.
    """
    small = np.ascontiguousarray(small, np.float32)
    colours = ops.foreground_estimate(frame, small, frame_layout="CHW")
    settings: Any = {"method": method, "dtype": str(fgr.dtype), "layout": "CHW", "frame_layout": "CHW"}
    (expected,) = ops.matte_upsample(frame, small, colours, outputs=("fgr",), **settings)
    (raw,) = ops.matte_upsample(frame, small, outputs=("fgr",), **settings)
    off, cleaned = (np.abs(fgr - other.astype(np.float32)).mean() for other in (expected, raw))
    assert off <= 0.02 * cleaned, f"{off} from what is expected, {cleaned} from the frame"


class WholeRunner:
    """The trtmatte graph in ONNX Runtime through the ops' function bodies."""

    def __init__(self, model: ModelProto, outputs: Sequence[str] = ("fgr", "pha"), frame_dtype: str = "uint8") -> None:
        self.spec = Spec.of(model)
        model = with_layout(
            model,
            outputs=[name for name in outputs if name in MATTE_OUTPUTS],
            frame_dtype=frame_dtype,
            dtype="float32",
            frame_layout="CHW",
            layout="CHW",
        )
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self.shapes = {each.name: each.shape for each in self.session.get_inputs()}
        self.reset()

    def reset(self) -> None:
        self.states = {state.input: np.zeros(self.shapes[state.input], np.float32) for state in self.spec.states}

    def __call__(self, **pictures: np.ndarray) -> Arrays:
        inputs = {BACKGROUND: np.zeros((1, 3, 1, 1), np.float32), **pictures, **self.states}
        names = [each.name for each in self.session.get_outputs()]
        feed = {name: value for name, value in inputs.items() if name in self.shapes}
        values = dict(zip(names, self.session.run(names, feed), strict=True))
        self.states = {state.input: values[state.output] for state in self.spec.states}
        return values
