"""Networks that nobody knows: one picture in, one alpha out, as the settings say."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests import exports, reference
from tests.program_runner import StagedRunner, WholeRunner, require_clean_foreground
from trtmatte.compiler.families import reading as importing
from trtmatte.errors import ModelError, SettingError

MEAN, STD = (0.2, 0.3, 0.4), (0.5, 0.6, 0.7)
OUTPUTS = ("logits", "alpha", "edge")


class Unknown(nn.Module):
    """Features of two channels, an alpha at half the picture's size, and another map of one channel."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, image):
        logits = self.second(functional.relu(self.first(image)))
        alpha = torch.sigmoid(4 * logits[:, :1])
        return logits, alpha, torch.sigmoid(functional.interpolate(logits[:, 1:], image.shape[2:], mode="bilinear"))


def unknown(*, dynamic=True, outputs=OUTPUTS, opset=17):
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in ("image", *OUTPUTS)} if dynamic else {}
    model = exports.export(Unknown(), {"image": torch.rand(1, 3, 40, 56)}, OUTPUTS, opset, axes)
    kept = [each for each in model.graph.output if each.name in outputs]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model


def read(model, folder, **settings):
    onnx.save(model, folder / "model.onnx")
    return importing.read(folder / "model.onnx", **{"family": "generic", "size": (97, 61), **settings})


def expected(frame, seen, method, output, small=False):
    """Prepared, computed and enlarged by PyTorch."""
    resize: dict[str, dict[str, Any]] = {"area": {"mode": "area"}, "linear": {"mode": "bilinear"}}
    resize["antialias"] = {"mode": "bilinear", "antialias": True}
    back = resize["area" if method == "area" else "linear"]
    x = functional.interpolate(torch.from_numpy(frame.astype(np.float32) / 255), seen[::-1], **resize[method])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        alpha = Unknown()((x - mean) / std)[OUTPUTS.index(output)]
    if small:
        return alpha.numpy()
    return functional.interpolate(alpha, frame.shape[2:], **back).numpy()


@pytest.fixture
def frame():
    return np.random.default_rng(6).integers(0, 256, (2, 3, 61, 97), dtype=np.uint8)


@pytest.mark.parametrize("opset", [11, 17, 20])
@pytest.mark.parametrize("method", ["area", "linear", "antialias"])
def test_the_settings_are_what_the_network_sees(method, opset, frame, tmp_path):
    settings = {"input_size": (56, 40), "mean": MEAN, "std": STD, "method": method}
    run = StagedRunner(read(unknown(opset=opset), tmp_path, batch=2, **settings))
    outputs = run(frame=frame)
    assert reference.largest_difference(outputs["pha"], expected(frame, (56, 40), method, "alpha")) <= 1e-5
    small = expected(frame, (56, 40), method, "alpha", small=True)
    require_clean_foreground(outputs["fgr"], frame, small, "area" if method == "area" else "linear")


def test_another_output_by_its_name(frame, tmp_path):
    settings = {"input_size": [56, 40], "mean": list(MEAN), "std": list(STD), "method": "area"}
    run = WholeRunner(read(unknown(), tmp_path, batch=2, output="edge", **settings))
    assert reference.largest_difference(run(frame=frame)["pha"], expected(frame, (56, 40), "area", "edge")) <= 1e-5


def test_files_of_fixed_size_say_it_themselves(frame, tmp_path):
    run = StagedRunner(read(unknown(dynamic=False), tmp_path, mean=MEAN, std=STD))
    alpha = expected(frame[:1], (56, 40), "antialias", "alpha")
    assert reference.largest_difference(run(frame=frame[:1])["pha"], alpha) <= 1e-5
    assert run.program.tensors["alpha"].shape == (1, 1, 20, 28)


def test_known_networks_can_be_asked_for_as_unknown_ones(tmp_path):
    vector = reference.load("u2netp-odd")
    model = exports.export(
        reference.network("u2netp"), {"image": torch.rand(1, 3, 101, 123)}, [f"d{i}" for i in range(7)], 17
    )
    normal = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    run = StagedRunner(read(model, tmp_path, size=(123, 101), **normal))
    pha = run(frame=vector.arrays["src"])["pha"]
    assert reference.largest_difference(pha, vector.arrays["d0"]) <= vector.tolerance("d0")


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def test_it_is_never_assumed(tmp_path):
    with pytest.raises(ModelError, match=r"--family generic --input-size 512x512 --set mean=0\.5,0\.5,0\.5"):
        read(unknown(), tmp_path, family=None)


def with_channels_last(model):
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 40, 56, 3), strict=True):
        dimension.dim_value = size
    return model


def with_two_pictures(model):
    model.graph.input.append(onnx.helper.make_tensor_value_info("back", onnx.TensorProto.FLOAT, [1, 3, 40, 56]))
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: unknown(outputs=("logits",)), r"outputs \(logits \[1, 2, 20, 28\]\) is \[batch, 1, height, width\]"),
        (lambda: with_channels_last(unknown()), "takes one picture, .* inputs image 1x40x56x3"),
        (lambda: with_two_pictures(unknown()), "takes one picture, .* back 1x3x40x56"),
    ],
    ids=["no alpha", "channels last", "two pictures"],
)
def test_files_that_do_not_fit(model, message, tmp_path):
    with pytest.raises(ModelError, match=message):
        read(model(), tmp_path, input_size=(56, 40))


def test_an_output_that_is_no_alpha(tmp_path):
    with pytest.raises(ModelError, match=r"is \[1, 2, 20, 28\] for 1 pictures of 56x40"):
        read(unknown(), tmp_path, input_size=(56, 40), output="logits")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "input_size is not given"),
        ({"input_size": (0, 40)}, "whole numbers from 1"),
        ({"mean": (0.5,)}, "mean is .*three numbers"),
        ({"mean": 0.5}, "mean is 0.5; expected three numbers"),
        ({"std": (1, float("nan"), 1)}, "std is .*three numbers"),
        ({"std": (1, 0, 1)}, "not 0"),
        ({"method": "gaussian"}, "one of linear, area, antialias"),
        ({"output": "matte", "input_size": (56, 40)}, "output is 'matte'; this ONNX file has logits, alpha, edge"),
        ({"stretch": True}, "generic has no setting stretch"),
    ],
)
def test_wrong_settings_are_refused(settings, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        read(unknown(), tmp_path, **settings)


def test_checkpoints_need_their_network(tmp_path):
    torch.save(reference.network("u2netp").state_dict(), tmp_path / "model.pth")
    with pytest.raises(ModelError, match="has the weights of u2netp, not of the family generic"):
        importing.read(tmp_path / "model.pth", family="generic")
