"""Passes that simplify a graph for known sizes: infer shapes, fold constants, remove nodes without effect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from onnx import NodeProto, ValueInfoProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from trtmatte.compiler.graph.matching import scales
from trtmatte.compiler.graph.onnx_graph import Array, Graph, attributes, shape_of
from trtmatte.compiler.graph.ordering import subgraphs
from trtmatte.errors import ModelError

_FOLDED: Final = """
    Abs Add And ArgMax ArgMin BatchNormalization Cast CastLike Ceil Clip Concat ConstantOfShape Conv CumSum
    DequantizeLinear Div Dropout Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gemm Greater
    GreaterOrEqual HardSigmoid HardSwish Identity LeakyRelu Less LessOrEqual Log MatMul Max Mean Min Mod Mul Neg NonZero
    Not OneHot Or Pad Pow PRelu Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize
    Round ScatterElements ScatterND Shape Sigmoid Sign Size Slice Softmax Split Sqrt Squeeze Sub Sum Tanh Tile Transpose
    Trilu Unsqueeze Upsample Where Xor
"""  # operators that only compute; ImageDecoder, for one, opens pictures
_COMPUTES: Final = frozenset(_FOLDED.split())
_GROWING: Final = {"ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample"}
_LARGEST_FOLDED: Final = 1 << 22  # elements; a constant larger than that is better computed than stored
_MOST_FOLDED: Final = 1 << 28  # bytes of all constants that are made
_WORTH_SHARING: Final = 1 << 10  # bytes
_SMALL: Final = 64  # elements; what shape inference may want to know the values of
_WITHOUT_EFFECT: Final = {"Identity", "Dropout", "Cast", "Expand", "Reshape", "Slice", "Pad", "Transpose", "Resize"}


def specialise(graph: Graph, shapes: Mapping[str, Sequence[int | str]]) -> None:
    """Set the shapes of the inputs and remove everything that they determine. In place."""
    for name, shape in shapes.items():
        set_shape(graph.inputs[name], shape)
    before = -1
    while before != len(graph.nodes):
        before = len(graph.nodes)
        infer_shapes(graph)
        _fold_shapes(graph)
        fold_constants(graph)
        infer_shapes(graph)
        remove_void(graph)
        graph.prune()
    _share_constants(graph)
    infer_shapes(graph)
    _fit_pools(graph)
    for name in graph.outputs:
        graph.outputs[name] = graph.values.get(name, graph.outputs[name])


def set_shape(value: ValueInfoProto, shape: Sequence[int | str]) -> None:
    value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape))


def fold_constants(graph: Graph) -> None:
    """Compute every node whose inputs are constants."""
    _choose_branches(graph)
    folded = _evaluate(graph, _constant_nodes(graph))
    graph.nodes = [node for node in graph.nodes if id(node) not in folded]
    graph.changed()


def _share_constants(graph: Graph) -> None:
    """Let nodes read one of the constants that are equal: a network that runs twice has its weights once."""
    alike: dict[tuple[object, ...], list[str]] = {}  # of one type and shape, which begin with the same bytes
    shared: dict[str, str] = {}
    for name, array in graph.constants.items():
        if array.nbytes < _WORTH_SHARING or array.dtype.hasobject:
            continue
        known = alike.setdefault((array.dtype, array.shape, array.flat[:_SMALL].tobytes()), [])
        twin = next((each for each in known if _same_bytes(graph.constants[each], array)), None)
        if twin is None:
            known.append(name)
        else:
            shared[name] = twin
    for node in graph.nodes:
        node.input[:] = [shared.get(name, name) for name in node.input]
    graph.prune()


def _same_bytes(first: Array, second: Array) -> bool:
    """Report if two arrays of one shape are equal also in the signs of their zeros."""
    a, b = (np.ascontiguousarray(each).view(np.uint8) for each in (first, second))
    return np.array_equal(a, b)


def _evaluate(graph: Graph, nodes: Sequence[NodeProto]) -> set[int]:
    """Add the results of nodes to the constants. Returns the ids of the nodes that were computed.

    A node whose result may be large is left for the runtime. So are the nodes that read it.
    """
    computed: set[int] = set()
    made = 0
    for node in nodes:
        given = {name: graph.constants.get(name) for name in node.input if name}
        if made > _MOST_FOLDED or any(array is None for array in given.values()) or _may_be_large(graph, node, given):
            continue
        results = _results(graph, node, given)
        graph.constants.update(results)
        made += sum(array.nbytes for array in results.values())
        computed.add(id(node))
    return computed


def _results(graph: Graph, node: NodeProto, given: Mapping[str, Any]) -> dict[str, Array]:
    names = [name for name in node.output if name]
    infos = [ValueInfoProto(name=name) for name in names]
    made = helper.make_graph([node], "folded", [ValueInfoProto(name=name) for name in given], infos)
    evaluator = ReferenceEvaluator(helper.make_model(made, opset_imports=[helper.make_opsetid("", graph.opset)]))
    return {name: np.asarray(array) for name, array in zip(names, evaluator.run(None, dict(given)), strict=True)}


def _may_be_large(graph: Graph, node: NodeProto, given: Mapping[str, Any]) -> bool:
    """Report if a result may have too many elements. Where its shape is not known, its inputs bound it."""
    if all(static_shape(graph, name) is not None for name in node.output if name):
        return False
    return node.op_type in _GROWING or math.prod(max(array.size, 1) for array in given.values()) > _LARGEST_FOLDED


def infer_shapes(graph: Graph) -> None:
    """Fill `graph.values` with the types and shapes that ONNX's inference finds.

    Scales with which ONNX Runtime would make other sizes are changed, so that both make the same.
    """
    _infer(graph)
    while _settle_scales(graph):
        _infer(graph)


def _settle_scales(graph: Graph) -> bool:
    """Change the scales whose sizes depend on the precision in which they are computed. Report if there were any.

    A size times its scale is rounded down, by ONNX's inference from double precision, by ONNX Runtime from single. Of
    3000 * (512 / 3000), one makes 511, the other 512. The next larger scale makes 512 of it in both.
    """
    changed = False
    for node in graph.all("Resize"):
        before, factors = static_shape(graph, node.input[0]), scales(graph, node)
        if before is None or factors is None or factors.shape != (len(before),):
            continue
        exact = np.floor(np.array(before) * factors.astype(np.float64))
        single = np.floor(np.array(before, np.float32) * factors)
        if (exact < single).any():
            unsettled = np.isin(factors, factors[exact < single])  # width and height keep the same scale
            settled = np.where(unsettled, np.nextafter(factors, np.float32(np.inf)), factors)
            node.input[2] = graph.add_constant(settled, "scales")
            changed = True
    return changed


def _infer(graph: Graph) -> None:
    described = {name: graph.values[name] for name in graph.values if _is_custom(graph, name)}
    inputs, constants = dict(graph.inputs), graph.constants
    for name, array in constants.items():
        if array.size > _SMALL:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            inputs[name] = helper.make_tensor_value_info(name, kind, array.shape)
    graph.constants = {name: array for name, array in constants.items() if name not in inputs}
    outputs = {name: ValueInfoProto(name=name) for name in graph.outputs}
    graph.values = described
    model = graph.model(inputs=inputs, outputs=outputs)
    graph.constants = constants
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except shape_inference.InferenceError as error:
        raise ModelError(f"the model's shapes contradict each other at this size: {error}") from error
    inferred_values = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    graph.values = {**inferred_values, **described}


def remove_void(graph: Graph) -> None:
    """Bypass nodes that return their input unchanged."""
    for node in graph.all(*_WITHOUT_EFFECT):
        if _is_void(graph, node):
            _bypass(graph, node)


def static_shape(graph: Graph, name: str) -> tuple[int, ...] | None:
    """The shape of a value, if every dimension is known."""
    if name in graph.constants:
        return graph.constants[name].shape
    value = graph.inputs.get(name) or graph.values.get(name)
    shape = None if value is None else shape_of(value)
    if shape is None:
        return None
    numbers = tuple(size for size in shape if isinstance(size, int))
    return numbers if len(numbers) == len(shape) else None


def _is_custom(graph: Graph, name: str) -> bool:
    node = graph.producer(name)
    return node is not None and node.domain != ""


def _fit_pools(graph: Graph) -> None:
    """Give pools no larger kernels than what they read, which OpenVINO refuses. The mean is that of the same pixels."""
    for node in graph.all("AveragePool", "MaxPool"):
        before, settings = static_shape(graph, node.input[0]), attributes(node)
        padded = any(settings.get("pads", ())) or settings.get("auto_pad", "NOTSET") != "NOTSET"
        if before is None or padded or not settings.get("ceil_mode"):
            continue
        kernel = [min(sides) for sides in zip(settings["kernel_shape"], before[2:], strict=True)]
        if kernel != list(settings["kernel_shape"]):
            (attribute,) = (each for each in node.attribute if each.name == "kernel_shape")
            attribute.ints[:] = kernel


def _constant_nodes(graph: Graph) -> list[NodeProto]:
    """The nodes with constant inputs, in an order in which they can be computed."""
    known = {*graph.constants, ""}
    found = []
    for node in graph.nodes:
        if node.domain or node.op_type not in _COMPUTES or subgraphs(node) or not known.issuperset(node.input):
            continue
        if any(math.prod(static_shape(graph, name) or ()) > _LARGEST_FOLDED for name in node.output):
            continue
        found.append(node)
        known.update(node.output)
    return found


def _fold_shapes(graph: Graph) -> None:
    for node in graph.all("Shape"):
        shape = static_shape(graph, node.input[0])
        if shape is not None:
            settings = attributes(node)
            part = shape[settings.get("start", 0) : settings.get("end")]
            graph.constants[node.output[0]] = np.array(part, np.int64)
            graph.nodes.remove(node)
    graph.changed()


def _choose_branches(graph: Graph) -> None:
    """Replace an If with a constant condition by the branch that it takes."""
    for node in graph.all("If"):
        condition = graph.constant(node.input[0])
        if condition is None:
            continue
        branch = attributes(node)["then_branch" if condition.all() else "else_branch"]
        stem = graph.fresh("branch")
        names = dict(zip((each.name for each in branch.output), node.output, strict=True))
        for inner in (*branch.node, *branch.initializer):
            for name in getattr(inner, "output", [getattr(inner, "name", "")]):
                names.setdefault(name, f"{stem}/{name}")
        for tensor in branch.initializer:
            graph.constants[names[tensor.name]] = numpy_helper.to_array(tensor)
        place = graph.nodes.index(node)
        inlined = [_renamed(inner, names) for inner in branch.node]
        graph.nodes[place : place + 1] = inlined
        graph.absorb_constants()
        graph.changed()


def _renamed(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    return copy


def _is_void(graph: Graph, node: NodeProto) -> bool:
    before, after = static_shape(graph, node.input[0]), static_shape(graph, node.output[0])
    settings = attributes(node)
    if node.op_type in ("Identity", "Dropout"):
        return True
    if node.op_type == "Cast":
        return _element(graph, node.input[0]) == int(settings["to"])
    if before is None or before != after:
        return False
    if node.op_type == "Slice":
        return len(node.input) < 5 or graph.is_constant(node.input[4], 1)
    if node.op_type == "Pad":
        return graph.is_constant(node.input[1], 0)
    if node.op_type == "Transpose":
        return _moves_only_ones(settings.get("perm", ()), before)
    if node.op_type == "Resize":  # a factor near 1 can leave the size as it is and still move the pixels
        return len(node.input) > 3 or graph.is_constant(node.input[2], 1)
    return True


def _moves_only_ones(perm: Sequence[int], shape: Sequence[int]) -> bool:
    kept = [axis for axis in perm if shape[axis] != 1]
    return bool(perm) and kept == sorted(kept)


def _element(graph: Graph, name: str) -> int:
    if name in graph.constants:
        return int(helper.np_dtype_to_tensor_dtype(graph.constants[name].dtype))
    value = graph.inputs.get(name) or graph.values.get(name)
    return 0 if value is None else value.type.tensor_type.elem_type


def _bypass(graph: Graph, node: NodeProto) -> None:
    """Let the consumers of a node read its input. An output keeps its name if the producer can take it."""
    source, output = node.input[0], node.output[0]
    if output not in graph.outputs:
        graph.replace(output, source)
    elif not {source} & (graph.inputs.keys() | graph.constants.keys() | graph.outputs.keys()):
        graph.nodes.remove(node)
        graph.values.pop(source, None)
        for each in graph.nodes:
            each.input[:] = [output if name == source else name for name in each.input]
            each.output[:] = [output if name == source else name for name in each.output]
        graph.changed()
