"""`requirements/minimum.txt` has the versions that `pyproject.toml` allows at least."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LEFT_OUT = {"torch", "tomli", "opencv-python", "cuda-core"}  # large, for older Pythons, another name, for GPUs


def test_the_oldest_versions_are_those_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    block = re.search(r"^dependencies = .*?^nvcc = ", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    allowed = set(re.findall(r'"([\w-]+)>=([\d.]+)[",; ]', block[0]))
    pinned = dict(
        re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "requirements/minimum.txt").read_text("utf-8"), re.MULTILINE)
    )
    named = {name for name, _ in allowed} - _LEFT_OUT
    assert named == pinned.keys()
    for name, version in allowed:
        if name in pinned:
            assert f"{pinned[name]}.".startswith(f"{version}.")
