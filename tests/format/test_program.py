"""Programs as plain data: JSON there and back, frames of other sizes, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from trtmatte.errors import EngineError, FrameError, ModelError
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.program import NetworkStage, OpStage, Program, State, Tensor

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
    select = {"height": 18, "width": 32, "mode": mode, "k": 40, "capacity": batch * (40 if mode == 0 else 576)}
    err = Tensor("float32", (batch, 1, 18, 32))
    return program(
        batch=batch,
        states=(),
        tensors={**TENSORS, "indices": Tensor("int32", ("patches", 3)), "count": Tensor("int32", (1,)), "ref": err},
        stages=(
            SAMPLE,
            OpStage("FrameSample", ("plate",), ("ri",), dict(SAMPLE.attributes)),
            NETWORK,
            OpStage("PatchSelect", ("A",), ("indices", "count", "ref"), select),
            END,
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
        ({"tensors": {**TENSORS, "A": Tensor("float64", (1,))}}, "A is float64"),
        ({"tensors": {**TENSORS, "A": Tensor("float32", (1, "height"))}}, "expected fixed sizes or patches"),
        ({"tensors": {key: value for key, value in TENSORS.items() if key != "b"}}, "description is missing of b"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        program(**changes)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("stages"),
        lambda data: data.update(batch="one"),
        lambda data: data["stages"][0].pop("attributes"),
        lambda data: data["stages"][0].update(outputs=["other"]),
        lambda data: data["tensors"]["A"].update(dtype="text"),
        lambda data: data.update(states=[{"name": "r"}]),
        lambda data: data.update(size=[1]),
    ],
)
def test_damaged_json_is_an_engine_error(damage):
    data = program().to_json()
    damage(data)
    with pytest.raises(EngineError, match="build the engine again"):
        Program.from_json(data)


def test_programs_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        program().batch = 2
