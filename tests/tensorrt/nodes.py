"""The nodes of our ops that the compiler writes into exports: of all families in all forms, and of all recipes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch

import trtmatte
from tests import reference
from tests.compiler import test_export as exports
from tests.compiler.building import RECIPES
from tests.compiler.test_recipes import STAND_INS
from trtmatte.compiler.graph.functions import DOMAIN
from trtmatte.compiler.options import PRECISIONS, Form
from trtmatte.format.outputs import COLORS, DTYPES, LAYOUTS

FORMS = [
    *(Form(dtype=each[0], layout=each[1], color=each[2]) for each in itertools.product(DTYPES, LAYOUTS, COLORS)),
    Form(outputs=("rgba",)),
    Form(outputs=("composite", "pha"), background="greenscreen"),
]


def of_families() -> Iterator[onnx.NodeProto]:
    for case in exports.FAMILIES:
        program, networks, _ = exports.parts(case)
        for form, precision in itertools.product(FORMS if program.matte else FORMS[:-2], PRECISIONS):
            yield from ours(exports.graph_of(program, networks, form, precision))


def of_recipes(folder: Path) -> Iterator[onnx.NodeProto]:
    """With stand-in weights, which the nodes do not depend on."""
    weights = folder / "weights.pth"
    for recipe in RECIPES:
        model = re.search(r'^model = "(.*)"$', text := recipe.read_text(), re.MULTILINE)
        assert model
        torch.save(reference.network(STAND_INS[model[1]]).state_dict(), weights)
        (folder / recipe.name).write_text(text.replace(f'"{model[1]}"', f'"{weights.name}"'))
        yield from ours(trtmatte.export(folder / recipe.name, out=folder / "recipe.onnx").graph)


def ours(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    return (node for node in model.graph.node if node.domain == DOMAIN)


def line(node: onnx.NodeProto) -> str:
    """A node as text: its op, the number of its outputs, and its attributes as name=int:1,2,3 or name=float:0.5."""
    words = [node.op_type]
    for each in node.attribute:
        values = np.atleast_1d(onnx.helper.get_attribute_value(each))
        if values.dtype.kind == "i":
            words.append(f"{each.name}=int:{','.join(map(str, values))}")
        elif values.dtype.kind == "f":
            words.append(f"{each.name}=float:{','.join(repr(float(value)) for value in values)}")
    return " ".join(words)
