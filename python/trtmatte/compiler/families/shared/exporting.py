"""From a PyTorch network to the ONNX graph of one of its parts."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx

from trtmatte.compiler.graph import reading
from trtmatte.compiler.graph.functions import OPSET
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.format.stages import PATCHES

if TYPE_CHECKING:
    from torch import nn


def export(
    network: nn.Module,
    method: str,
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    opset: int = OPSET,
) -> Graph:
    """The graph of `network.<method>` for inputs of these names and shapes; a dimension may be `PATCHES`."""
    import torch

    from trtmatte.compiler.families.shared.layers import Entry

    examples = tuple(torch.zeros([2 if size == PATCHES else int(size) for size in each]) for each in inputs.values())
    open_ended = {name: {0: PATCHES} for name, shape in inputs.items() if shape[0] == PATCHES}
    if open_ended:
        open_ended |= {name: {0: PATCHES} for name in outputs}
    buffer: Any = io.BytesIO()  # which this exporter takes, though its annotation does not say so
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # this exporter is the older one, which the newer cannot replace yet
        torch.onnx.export(
            Entry(network.eval(), method),
            examples,
            buffer,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=open_ended,
            opset_version=opset,
            dynamo=False,
        )
    return reading.from_model(onnx.load_from_string(buffer.getvalue()), f"the exported {method}")
