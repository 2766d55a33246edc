"""Programs as plain data: JSON there and back, frames of other sizes, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from trtmatte.compiler.graph import functions
from trtmatte.errors import EngineError, FrameError, ModelError
from trtmatte.format.op_forms import OPS
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import NetworkStage, OpStage, State, Tensor

SAMPLE = OpStage(
    "FrameSample",
    ("frame",),
    ("small",),
    {"height": 27, "width": 48, "step_y": (8, 3), "step_x": (8, 3), "method": 0, "mean": (0.5, 0.5, 0.5)},
)
NETWORK = NetworkStage("network-0", ("small", "ri"), ("A", "b", "ro"))
END = OpStage("GuidedUpsample", ("frame", "A", "b", "background"), MATTE_OUTPUTS)
STATE = Tensor("float32", (1, 4, 14, 24))
MAP = Tensor("float32", (1, 4, 27, 48))
TENSORS = {"small": Tensor("float32", (1, 3, 27, 48)), "A": MAP, "b": MAP, "ri": STATE, "ro": STATE}


def program(**changes):
    standard = {
        "family": "rvm",
        "variant": "small",
        "size": (128, 72),
        "batch": 1,
        "tensors": TENSORS,
        "stages": (SAMPLE, NETWORK, END),
        "states": (State("r", "ri", "ro"),),
        "settings": {"downsample_ratio": 0.375},
    }
    return Program(**{**standard, **changes})


def refining(mode=0, batch=2):
    """A program with patches, which need not be run."""
    select = {"height": 18, "width": 32, "mode": mode, "capacity": batch * (40 if mode == 0 else 576)}
    select |= {"k": 40} if mode == 0 else {"threshold": 0.1}
    shapes = {
        **dict.fromkeys(("small", "small_plate"), (batch, 3, 27, 48)),
        **{"coarse": (batch, 4, 27, 48), "err": (batch, 1, 27, 48), "maps": (batch, 36, 27, 48)},
        "ref": (batch, 1, 18, 32),
        **{"half": ("patches", 42, 8, 8), "full": ("patches", 6, 8, 8), "refined": ("patches", 4, 4, 4)},
    }
    integers = {"indices": Tensor("int32", ("patches", 3)), "count": Tensor("int32", (1,))}
    return program(
        batch=batch,
        states=(),
        tensors={**{name: Tensor("float32", shape) for name, shape in shapes.items()}, **integers},
        stages=(
            SAMPLE,
            OpStage("FrameSample", ("plate",), ("small_plate",), dict(SAMPLE.attributes)),
            NetworkStage("network-0", ("small", "small_plate"), ("coarse", "err", "maps")),
            OpStage("PatchSelect", ("err",), ("indices", "count", "ref"), select),
            OpStage("PatchCrop", ("maps", "frame", "plate", "indices"), ("half", "full"), {"kernel": 3}),
            NetworkStage("network-1", ("half", "full"), ("refined",)),
            OpStage("PatchScatter", ("coarse", "refined", "indices", "frame", "background"), MATTE_OUTPUTS),
        ),
    )


@pytest.mark.parametrize("original", [program(), refining(), program(outputs=("A",))])
def test_json_there_and_back(original):
    assert Program.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_what_is_in_it():
    assert program().pictures == ("frame",)
    assert refining().pictures == ("frame", "plate")
    assert program().networks == (NETWORK,)
    assert program().matte == END
    assert (program().capacity, refining().capacity) == (0, 80)


def test_frames_of_another_size_are_sampled_by_size():
    other = program().for_frame(1920, 1080)
    sample = other.stages[0]
    assert (sample.attributes["step_y"], sample.attributes["step_x"]) == ((1080, 27), (1920, 48))
    assert other.stages[1:] == program().stages[1:]
    assert program().for_frame(128, 72) == program()


@pytest.mark.parametrize(("mode", "capacity"), [(0, 80), (1, 2 * 10 * 5)])
def test_frames_of_another_size_have_another_grid(mode, capacity):
    other = refining(mode).for_frame(40, 20) if mode else refining(mode).for_frame(400, 200)
    select = other.stages[3].attributes
    assert (select["height"], select["width"]) == ((5, 10) if mode else (50, 100))
    assert other.capacity == capacity


def test_fewer_patches_than_are_sampled():
    assert refining().for_frame(20, 20).capacity == 2 * 25


@pytest.mark.parametrize("size", [(0, 10), (130, 72), (128, 70)])
def test_frames_that_cannot_be(size):
    with pytest.raises(FrameError):
        refining().for_frame(*size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": (NETWORK, SAMPLE, END)}, "network-0 reads small"),
        ({"stages": (SAMPLE, SAMPLE, NETWORK, END)}, "makes small, which exists"),
        ({"stages": (SAMPLE, NETWORK)}, "0 stages write a matte"),
        ({"outputs": ("seg",)}, "outputs are seg"),
        ({"states": (State("r", "ri", "other"),)}, "states become other"),
        ({"tensors": {**TENSORS, "ro": MAP}}, "state r goes in and comes out"),
        ({"tensors": {**TENSORS, "A": Tensor("float64", (1,))}}, "A is 'float64'"),
        ({"tensors": {**TENSORS, "A": Tensor("float32", (1, "height"))}}, "expected fixed sizes or patches"),
        ({"tensors": {key: value for key, value in TENSORS.items() if key != "b"}}, "description is missing of b"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        program(**changes)


DAMAGE = {
    "no list": (lambda data: [], "it is .*; expected an object"),
    "no stages": (lambda data: data.pop("stages"), "lacks stages"),
    "a batch in words": (lambda data: data.update(batch="one"), "the batch is 'one'; expected a whole number"),
    "true": (lambda data: data.update(batch=True), "the batch is True; expected a whole number"),
    "a batch without end": (lambda data: data.update(batch=1 << 70), "the batch is .*; expected a whole number from 1"),
    "one side": (lambda data: data.update(size=[1]), "the frame's height is None"),
    "three sides": (lambda data: data.update(size=[1, 2, 3]), "has 3 entries; expected at most 2"),
    "a size that overflows": (lambda data: data.update(size=[1 << 32, 72]), "width is 4294967296; expected"),
    "NaN": (lambda data: data.update(size=[float("nan"), 72]), "width is nan; expected a whole number"),
    "deep": (lambda data: data.update(settings=nested(40)), "more than 32 deep"),
    "a long name": (lambda data: data.update(family="x" * 10_000), "the family is .*; expected at most 1000"),
    "escapes": (lambda data: data.update(family="\x1b[2J"), "the family is .*none of them for control"),
    "many stages": (lambda data: data.update(stages=data["stages"] * 200), "has 600 entries; expected at most 256"),
    "no attributes": (lambda data: data["stages"][0].pop("attributes"), "lacks attributes"),
    "an attribute left out": (lambda data: data["stages"][0]["attributes"].pop("height"), "FrameSample lacks height"),
    "an attribute more": (lambda data: data["stages"][0]["attributes"].update(out=1), "FrameSample has 'out'"),
    "no method": (
        lambda data: data["stages"][0]["attributes"].update(method=6),
        "method of FrameSample is 6; expected",
    ),
    "a step of nothing": (
        lambda data: data["stages"][0]["attributes"].update(step_y=[1, 0]),
        "step_y of FrameSample is 0; expected",
    ),
    "a step as a number": (
        lambda data: data["stages"][0]["attributes"].update(step_x=2),
        "step_x of .* expected a list",
    ),
    "beyond the frame": (
        lambda data: data["stages"][0]["attributes"].update(step_x=[1 << 30, 1]),
        "48 samples in steps of 1073741824/1 from a width of 128",
    ),
    "1e308": (
        lambda data: data["stages"][0]["attributes"].update(mean=[1e308, 0, 0]),
        "mean of FrameSample is 1e[+]308",
    ),
    "two means": (lambda data: data["stages"][0]["attributes"].update(mean=[0, 0]), "has 2 numbers; expected 3"),
    "another sample": (lambda data: data["stages"][0]["attributes"].update(width=49), "small of FrameSample is"),
    "no kind": (lambda data: data["stages"][0].update(kind="code"), "the kind of a stage is 'code'"),
    "a network on frames": (lambda data: data["stages"][1].update(inputs=["frame", "ri"]), "network-0 reads frame"),
    "an input twice": (lambda data: data["stages"][1].update(inputs=["ri", "ri"]), "missing or twice"),
    "a matte of two inputs": (
        lambda data: data["stages"][2].update(inputs=["A", "background"]),
        "GuidedUpsample has 2 inputs and 4 outputs; expected 4",
    ),
    "the plate for the frame": (
        lambda data: data["stages"][2].update(inputs=["plate", "A", "b", "background"]),
        "GuidedUpsample reads plate; expected frame",
    ),
    "other channels": (lambda data: data["tensors"]["A"].update(shape=[1, 3, 27, 48]), "A of GuidedUpsample is"),
    "no type": (lambda data: data["tensors"]["A"].update(dtype="text"), "tensor A is 'text'"),
    "a tensor called frame": (lambda data: data["tensors"].update(frame=data["tensors"]["A"]), "the name of a picture"),
    "a tensor without end": (
        lambda data: data["tensors"].update(huge={"dtype": "float32", "shape": [1 << 30, 1 << 30]}),
        "GB of buffers; expected at most",
    ),
    "half a state": (lambda data: data.update(states=[{"name": "r"}]), "a state lacks input, output"),
    "two states in one": (lambda data: data.update(states=data["states"] * 2), "two states have the same"),
    "a state of a picture": (
        lambda data: data["states"][0].update(output="frame"),
        "state r becomes frame; expected a small tensor",
    ),
    "a picture for an output": (lambda data: data.update(outputs=["frame"]), "the output frame is a picture"),
}


def nested(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return {"deep": found}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_json_is_an_engine_error(damage, message):
    data = program().to_json()
    data = [] if damage(data) == [] else data
    with pytest.raises(EngineError, match=rf"(?s){message}.*build the engine again"):
        Program.from_json(data)


PATCH_DAMAGE = {
    "no crop": (lambda data: data["stages"].pop(4), "stage network-1 reads full, half"),
    "two selections": (
        lambda data: data["stages"].insert(4, {**data["stages"][3], "outputs": ["", "", ""]}),
        "2 PatchSelect, 1 PatchCrop",
    ),
    "another capacity": (
        lambda data: data["stages"][3]["attributes"].update(capacity=1 << 30),
        "capacity 1073741824; expected 80",
    ),
    "no k": (lambda data: data["stages"][3]["attributes"].pop("k"), "lacks k, which the mode 0 needs"),
    "another grid": (lambda data: data["stages"][3]["attributes"].update(height=9), "a grid of 32x9"),
    "a kernel of 2": (lambda data: data["stages"][4]["attributes"].update(kernel=2), "kernel of PatchCrop is 2"),
    "a kernel for others": (lambda data: data["stages"][4]["attributes"].update(kernel=1), "half of PatchCrop is"),
    "patches of the wrong size": (
        lambda data: data["tensors"]["refined"].update(shape=["patches", 4, 8, 8]),
        "refined of PatchScatter is",
    ),
    "patches for all": (
        lambda data: data["tensors"]["refined"].update(shape=[1, 4, 4, 4]),
        "network-1 makes patches of other tensors, or others of patches",
    ),
    "patches in the middle": (
        lambda data: data["tensors"]["refined"].update(shape=[4, "patches", 4, 4]),
        "expected fixed sizes or patches in front",
    ),
    "a reader of indices": (
        lambda data: data["stages"][5]["inputs"].append("indices"),
        "network-1 reads what PatchSelect makes",
    ),
    "patches come out": (lambda data: data.update(outputs=["refined"]), "the output refined is"),
}


@pytest.mark.parametrize(("damage", "message"), PATCH_DAMAGE.values(), ids=PATCH_DAMAGE)
def test_damaged_json_of_a_program_with_patches(damage, message):
    data = refining().to_json()
    damage(data)
    with pytest.raises(EngineError, match=message):
        Program.from_json(data)


def test_frames_that_are_too_large():
    with pytest.raises(FrameError, match="expected 1 to 65536 a side"):
        program().for_frame(1 << 32, 10)
    with pytest.raises(FrameError, match=r"too large: the program needs .* GB of buffers"):
        refining(mode=1).for_frame(65536, 65536)


def test_the_table_of_ops_agrees_with_the_ops():
    """Each op has a row, and its attributes but those that the session decides."""
    for op, function in functions.OPS.items():
        known = {name for name in function.attributes if not name.startswith(("frame_", "matte_", "plugin_", "type"))}
        assert set(OPS[op].attributes) == known
        assert len(OPS[op].inputs) == len(function.inputs)
        assert OPS[op].output_count == len(function.outputs)
    assert OPS.keys() == functions.OPS.keys()


def test_programs_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        program().batch = 2
