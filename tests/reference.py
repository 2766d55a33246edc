"""Reference vectors: weights anyone can rebuild, inputs, and what the original implementations compute from them.

Other tests import it as `from tests.reference import ...` (pytest runs from the root of the repository). The folder
`tests/data` holds a choice of vectors; the full set is used too where it lies in `$TRTMATTE_REFERENCE`, or in
`../shared/reference` beside the repository.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.data.fill import fill

if TYPE_CHECKING:
    from torch import nn

TESTS = Path(__file__).parent
DATA = TESTS / "data"
REFERENCE = Path(os.environ.get("TRTMATTE_REFERENCE", TESTS.parent.parent / "shared" / "reference"))

_OPTIONS = {
    "refiner": "refiner",
    "backbone_scale": "backbone_scale",
    "refine_mode": "refine_mode",
    "refine_kernel_size": "refine_kernel_size",
    "refine_sample_pixels": "refine_sample_pixels",
    "refine_threshold": "refine_threshold",
    "refine_prevent_oversampling": "prevent_oversampling",
}


@dataclass(frozen=True)
class Vector:
    """One case: its settings, its uint8 pictures, and the outputs that the original computes."""

    name: str
    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def model(self) -> str:
        return str(self.settings["model"])

    @property
    def family(self) -> str:
        return family(self.model)

    @property
    def options(self) -> dict[str, Any]:
        """The options of `trtmatte.compiler.families.network` for this case."""
        return {option: self.settings[key] for key, option in _OPTIONS.items() if key in self.settings}

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        return {name: array for name, array in self.arrays.items() if name not in ("src", "bgr")}

    def picture(self, name: str = "src") -> np.ndarray:
        """An input as the network wants it: float32, normalised."""
        return prepare(self.arrays[name], self.family)

    def tolerance(self, output: str) -> float:
        if self.settings.get("refiner") == "fast_guided_filter" and output in ("fgr", "pha"):
            return FAST_GUIDED_TOLERANCE
        return tolerance(self.family, output)


def family(model: str) -> str:
    """`rvm`, `bgmv2`, `modnet`, `birefnet`, `u2net` or `isnet`."""
    head = model.split("_")[0]
    return {"matte": "bgmv2", "u2netp": "u2net"}.get(head, head)


@functools.lru_cache
def _paths() -> dict[str, Path]:
    folders = (REFERENCE / "vectors", DATA / "vectors")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.npz"))}


def vector_names(*prefixes: str) -> list[str]:
    """The cases at hand whose names start so; all of them without prefixes."""
    return sorted(name for name in _paths() if name.startswith(prefixes or ("",)))


def takes_long(name: object) -> bool:
    """Whether this is a case of a large network beside the ones that the repository has."""
    has = isinstance(name, str) and name in _paths() and _paths()[name].parent != DATA / "vectors"
    return has and ("resnet" in str(name) or str(name).startswith("u2net-"))


def load(name: str) -> Vector:
    with np.load(_paths()[name]) as file:
        arrays = {key: file[key] for key in file.files}
    settings = json.loads(str(arrays.pop("settings")))
    return Vector(name, settings, arrays)


def prepare(picture: np.ndarray, family: str) -> np.ndarray:
    """uint8 → what the network of this family sees."""
    x = picture.astype(np.float32) / np.float32(255)
    if family == "modnet":
        return (x - np.float32(0.5)) / np.float32(0.5)
    if family == "isnet":
        return x - np.float32(0.5)
    if family in ("birefnet", "u2net"):
        mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
        std = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
        return (x - mean) / std
    return x


def keys(model: str) -> list[tuple[str, tuple[int, ...], str]]:
    """The official state_dict of a model, in order: name, shape, dtype."""
    rows = json.loads((DATA / "keys" / f"{model}.json").read_text())
    return [(key, tuple(shape), dtype) for key, shape, dtype in rows]


def models() -> list[str]:
    return sorted(path.stem for path in (DATA / "keys").glob("*.json"))


def weights(shapes: Mapping[str, Iterable[int]], salt: int = 0) -> dict[str, np.ndarray]:
    """Stand-in weights for a state_dict of these names and shapes."""
    return fill({key: tuple(shape) for key, shape in shapes.items()}, salt)


@functools.lru_cache(maxsize=2)
def _filled_state(shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> dict[str, Any]:
    import torch

    return {key: torch.from_numpy(value) for key, value in weights(dict(shapes)).items()}


def load_weights(network: nn.Module) -> nn.Module:
    """Give a network its stand-in weights."""
    shapes = tuple((key, tuple(value.shape)) for key, value in network.state_dict().items())
    network.load_state_dict(_filled_state(shapes))
    return network.eval()


def network(model: str, **options: Any) -> Any:
    """A network with stand-in weights."""
    from trtmatte.compiler.families import networks as families

    return load_weights(families.network(model, **options))


# The largest absolute difference in float32 that another order of summation may cause, with room to spare.
TOLERANCES = {
    "rvm": {"r1": 2e-4, "r2": 2e-4, "r3": 2e-4, "r4": 2e-4, "": 1e-4},
    "bgmv2": {"ref_sm": 0.0, "": 1e-4},
    "modnet": {"": 2e-4},
    "birefnet": {"": 2e-4},
    "u2net": {"": 2e-4},
    "isnet": {"": 2e-4},
}
# Ill-conditioned by nature where the picture is smooth.
FAST_GUIDED_TOLERANCE = 2e-4


def tolerance(family: str, output: str) -> float:
    known = TOLERANCES[family]
    return known.get(output, known[""])


def largest_difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """NaN counts as infinitely far, and so does another shape."""
    if actual.shape != expected.shape:
        return float("inf")
    difference = np.abs(actual.astype(np.float64) - expected)
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


def assert_close(vector: Vector, outputs: Mapping[str, np.ndarray], scale: float = 1.0) -> None:
    """Every named output agrees with the vector's; `scale` widens the tolerances."""
    for name, actual in outputs.items():
        expected = vector.arrays[name]
        assert actual.shape == expected.shape, f"{vector.name}: {name} is {actual.shape}, not {expected.shape}"
        difference, allowed = largest_difference(actual, expected), vector.tolerance(name) * scale
        assert difference <= allowed, f"{vector.name}: {name} is off by {difference:.2e}, allowed is {allowed:.0e}"
