"""The reference data is what it says it is."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest

from tests import reference

ROW = re.compile(r"^\| (\w+) \| (\d+) \| ([\d,]+) \| `(\w{16})` \| `(\w{16})` \|$", re.MULTILINE)
CHECKS = {row[0]: row[1:] for row in ROW.findall((reference.DATA / "README.md").read_text(encoding="utf-8"))}


def digest(values: dict[str, np.ndarray]) -> str:
    sha = hashlib.sha256()
    for key, array in values.items():
        sha.update(key.encode())
        sha.update(array.tobytes())
    return sha.hexdigest()[:16]


def test_every_model_has_a_check() -> None:
    assert sorted(CHECKS) == reference.models()


WHOLE = ["rvm_mobilenetv3", "bgmv2_refine_mobilenetv2", "modnet", "u2netp", "birefnet_pvt_b0"]


@pytest.mark.parametrize("model", WHOLE)
def test_fill_gives_the_same_weights_everywhere(model: str) -> None:
    keys, values, *salts = CHECKS[model]
    shapes = {key: shape for key, shape, _ in reference.keys(model)}
    filled = [reference.weights(shapes, salt) for salt in (0, 1)]
    assert len(shapes) == int(keys)
    assert sum(array.size for array in filled[0].values()) == int(values.replace(",", ""))
    assert [digest(weights) for weights in filled] == salts


def test_wrappers_do_not_change_weights() -> None:
    shape = (8, 8, 3, 3)
    names = ("backbone.conv.weight", "module.backbone.conv.weight", "module.lr_branch.backbone.conv.weight")
    first, *others = reference.weights(dict.fromkeys(names, shape)).values()
    assert all(np.array_equal(first, other) for other in others)


def test_every_family_is_at_hand() -> None:
    families = {reference.load(name).family for name in reference.vector_names()}
    assert families == {"rvm", "bgmv2", "modnet", "birefnet", "u2net", "isnet"}


def test_a_difference_is_noticed() -> None:
    vector = reference.load("u2netp-odd")
    reference.assert_close(vector, vector.outputs)
    spoilt = vector.arrays["d0"].copy()
    spoilt[0, 0, 3, 4] += 1e-3
    with pytest.raises(AssertionError, match="d0 is off"):
        reference.assert_close(vector, {"d0": spoilt})
    spoilt[0, 0, 3, 4] = np.nan
    with pytest.raises(AssertionError, match="d0 is off"):
        reference.assert_close(vector, {"d0": spoilt})
    with pytest.raises(AssertionError, match="d0 is"):
        reference.assert_close(vector, {"d0": vector.arrays["d0"][:, :, 1:]})
