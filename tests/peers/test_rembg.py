"""The masks of rembg itself, run on the same file with the same pictures."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trtmatte
from tests import real_models

rembg = pytest.importorskip("rembg")
pictures = pytest.importorskip("skimage.data")

AS_REMBG = {"mean": (0.5, 0.5, 0.5), "std": (1.0, 1.0, 1.0), "divide_by_maximum": True, "stretch": True}
MODELS = {"u2netp": ("u2netp", {}), "isnet-general-use": ("isnet-imgly-medium", AS_REMBG)}
"""Sessions of rembg, each with a file of the store, and the settings with which rembg prepares pictures for it."""
BACKENDS = ("openvino", "onnxruntime")


def astronaut(width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pictures.astronaut()).resize((width, height), Image.Resampling.BICUBIC))


PICTURES = {
    "astronaut": pictures.astronaut,
    "odd": lambda: pictures.astronaut()[:333, 11:438],
    "tall": lambda: astronaut(401, 1203),
    "telephone": lambda: astronaut(1080, 1920),
    "wide": lambda: astronaut(1411, 500),
    "small": lambda: astronaut(211, 173),
    "coffee": pictures.coffee,
    "cat": pictures.chelsea,
    "rocket": pictures.rocket,
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> tuple[str, Path, dict[str, Any]]:
    name, settings = MODELS[request.param]
    return request.param, real_models.model(name), settings


@pytest.fixture(scope="module")
def session(model: tuple[str, Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A session of rembg that finds the file in its folder and does not ask for it elsewhere."""
    name, path, _ = model
    folder = tmp_path_factory.mktemp("rembg")
    shutil.copy(path, folder / f"{name}.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("U2NET_HOME", str(folder))
        patch.setenv("MODEL_CHECKSUM_DISABLED", "1")
        return rembg.new_session(name, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PICTURES)
def test_masks_are_those_of_rembg(model, session, name, backend):
    pytest.importorskip(backend)
    picture = np.ascontiguousarray(PICTURES[name]())
    expected = np.asarray(rembg.remove(Image.fromarray(picture), session=session, only_mask=True)).astype(int)
    height, width = picture.shape[:2]
    engine = trtmatte.build(model[1], size=(width, height), **model[2])
    with engine.session(backend=backend, outputs=("pha",)) as ours:
        alpha = np.array(ours(picture).pha)[..., 0]
    difference = np.abs(alpha - expected)
    assert (difference <= 1).mean() >= 0.999, f"{(difference > 1).mean():.4%} off by up to {difference.max()}"
