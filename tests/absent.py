"""Run a command, or a line of Python, as on a machine that lacks some packages.

python tests/absent.py onnx,av trtmatte inspect model.onnx
python tests/absent.py onnx -c "import trtmatte; trtmatte.build('model.onnx')"
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, DistributionFinder
from typing import Any

DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "cuda": "cuda-core", "tensorrt_rtx": "tensorrt-rtx"}


class Without(PathFinder):
    """Finds what Python finds, except for some packages and their metadata."""

    absent: frozenset[str] = frozenset()

    @classmethod
    def find_spec(cls, fullname: str, *more: Any) -> ModuleSpec | None:
        return None if fullname.partition(".")[0] in cls.absent else super().find_spec(fullname, *more)

    @classmethod
    def find_distributions(cls, context: DistributionFinder.Context) -> Iterable[Distribution]:  # type: ignore[override]
        names = {DISTRIBUTIONS.get(each, each) for each in cls.absent}
        return [] if context.name in names else super().find_distributions(context)


def main(arguments: Sequence[str]) -> None:
    Without.absent = frozenset(arguments[0].split(","))
    sys.meta_path[:] = [Without if each is PathFinder else each for each in sys.meta_path]
    sys.argv = list(arguments[1:])
    if sys.argv[0] == "-c":
        exec(sys.argv.pop(1), {"__name__": "__main__"})
        return
    from trtmatte.cli import process

    {"trtmatte": process.trtmatte, "trtmatte-build": process.build}[sys.argv[0]]()


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose packages have the names of others
    main(sys.argv[1:])
