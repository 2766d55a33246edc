"""Make the pictures and the tables of docs/measures.md: edges with and without `refine`, with raw and clean colours.

python -m tools.edges

The subjects are those of `benchmarks/composites.py`, whose alpha is known. In the place of a network stands one that
gives an alpha of its size that was made from the known one, so the measures are those of the steps around a network.
The portrait is cut out by U-2-NetP.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import trtmatte
from benchmarks import composites
from benchmarks.composites import Composite
from benchmarks.report.marks import between
from trtmatte.models import download
from trtmatte.reports.measures import Measures, mean_of, measure

__all__ = ["refinement_rows", "tables", "written"]

Array = NDArray[np.float32]

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
PAGE: Final = DOCS / "measures.md"
MARKS: Final = {name: (f"<!-- {name}:begin -->", f"<!-- {name}:end -->") for name in ("refinement", "foreground")}

SIZE: Final = (1920, 1080)
NUMBER: Final = 3  # of the subject
NETWORKS: Final = ((320, 320), (512, 288), (1024, 1024))
KINDS: Final = {"exact": lambda small: small, "as networks make it": composites.network_like}
BEHIND: Final = tuple(np.array(colour, np.float32) for colour in ((0, 0, 0), (0, 0.69, 0.25), (1, 1, 1)))
"""The colours over which cut-outs are measured."""

PORTRAIT: Final = ("scikit-image==0.25.2", "skimage/data/astronaut.png")  # NASA's, in the public domain
HAIR: Final = (slice(5, 165), slice(140, 320))
_QUALITY: Final = 82
_NOISE: Final = 3.0  # levels of a camera's noise


class Matte(NamedTuple):
    """The outputs of a session, 0…1: (H, W, 3) and (H, W)."""

    foreground: Array
    alpha: Array


def main() -> None:
    PAGE.write_text(written(PAGE.read_text("utf-8"), tables()), "utf-8")
    hair().save(DOCS / "edges.jpg", quality=_QUALITY)
    portrait().save(DOCS / "edges-portrait.jpg", quality=_QUALITY)


def written(page: str, found: dict[str, str]) -> str:
    """Return the page with these tables."""
    for name, table in found.items():
        page = between(*MARKS[name], page, [table], PAGE.name)
    return page


def tables() -> dict[str, str]:
    """Measure. Return the tables by the names of their marks."""
    measured = ("alpha of the network", "its size", "", "SAD", "MSE ×10³", "gradient", "connectivity")
    rows = [
        row
        for kind in KINDS
        for size, found in zip(NETWORKS, refinement_rows(kind, NETWORKS), strict=True)
        for row in _pair(kind, size, found)
    ]
    colours = ("alpha", "raw colours", "estimated colours")
    return {"refinement": _table(measured, rows), "foreground": _table(colours, list(_foreground_rows()))}


def refinement_rows(kind: str, sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[Measures, Measures]]:
    """Measure alphas of these sizes: resized linearly, and refined. Means over the backgrounds."""
    truth = composites.subject(SIZE, NUMBER)
    frames = [photographed(truth, name) for name in composites.BACKGROUNDS]
    for size in sizes:
        small = KINDS[kind](composites.reduced(truth.alpha, size))
        found = []
        for refine in (False, True):
            session = _session(small, refine=refine, raw=True)
            found.append(mean_of([measure(_matte(session, frame.picture).alpha, truth.alpha) for frame in frames]))
        yield found[0], found[1]


def photographed(of: composites.Subject, background: str) -> Composite:
    """Return a subject before a background, as a camera takes it: with noise."""
    made = composites.composite(of, composites.BACKGROUNDS[background](SIZE, NUMBER))
    noise = np.random.default_rng(NUMBER).normal(0, _NOISE, made.picture.shape)
    return made._replace(picture=np.uint8(np.clip(np.rint(made.picture + noise), 0, 255)))


# ---------------------------------------------------------------------------------------------------------------------
# Colours


def _foreground_rows() -> Iterator[tuple[str, ...]]:
    """Measure cut-outs over other colours: the difference to the known foreground over the same colours."""
    truth = composites.subject(SIZE, NUMBER)
    frames = [photographed(truth, name) for name in composites.BACKGROUNDS]
    small = composites.network_like(composites.reduced(truth.alpha, (512, 288)))
    cases = (
        ("the true one", truth.alpha, False),
        ("512×288 as networks make it, resized", small, False),
        ("512×288 as networks make it, `--refine`", small, True),
    )
    for title, alpha, refine in cases:
        cells = []
        for raw in (True, False):
            session = _session(alpha, refine=refine, raw=raw)
            errors = [_composite_error(_matte(session, frame.picture), frame) for frame in frames]
            cells.append(f"{np.mean(errors):.1f}")
        yield title, *cells


def _composite_error(matte: Matte, frame: Composite) -> float:
    """Return the SAD of composites, in thousands: the mean over the channels and over the colours behind."""
    truth = Matte(frame.foreground, frame.alpha)
    errors = [np.abs(over(matte, colour) - over(truth, colour)).mean(2) for colour in BEHIND]
    return float(np.mean([error.sum(dtype=np.float64) for error in errors])) / 1000


def over(matte: Matte, background: Array) -> Array:
    """Return the composite over a colour or a picture, 0…1."""
    alpha = matte.alpha[..., None]
    return matte.foreground * alpha + background * (1 - alpha)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


def hair() -> Image.Image:
    """Return the frame, and cut-outs over a colour: resized and raw, clean, clean and refined, the true one."""
    truth = composites.subject(SIZE, NUMBER)
    frame = photographed(truth, "sky")
    small = composites.network_like(composites.reduced(truth.alpha, (512, 288)))
    mattes = [
        _matte(_session(small, refine=refine, raw=raw), frame.picture)
        for refine, raw in ((False, True), (False, False), (True, False))
    ]
    mattes.append(Matte(frame.foreground, frame.alpha))
    top, left, side = 40, 930, 300
    behind = BEHIND[1] * np.float32(0.5)
    panels = [frame.picture, *(_bytes(over(matte, behind)) for matte in mattes)]
    return Image.fromarray(np.hstack([panel[top : top + side, left : left + side] for panel in panels]))


def portrait() -> Image.Image:
    """Return the hair of a portrait, and its cut-outs over a sky at dusk: raw, clean, clean and refined."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "portrait.png"
        download.from_wheel(*PORTRAIT, path)
        frame = np.array(Image.open(path).convert("RGB"))[:352]
    height, width = frame.shape[:2]
    sky = composites.sky((width, height), NUMBER) * np.float32(0.4)
    panels = [frame]
    for refine, raw in ((False, True), (False, False), (True, False)):
        engine = trtmatte.build("u2netp", size=(width, height), refine=refine)
        panels.append(_bytes(over(_matte(_opened(engine, raw=raw), frame), sky)))
    joined = Image.fromarray(np.hstack([panel[HAIR] for panel in panels]))
    return joined.resize((joined.width * 2, joined.height * 2), Image.Resampling.BICUBIC)


def _bytes(picture: Array) -> NDArray[np.uint8]:
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


# ---------------------------------------------------------------------------------------------------------------------
# Sessions


def _session(alpha: Array, *, refine: bool, raw: bool) -> Any:
    """Open a session of a network that gives this alpha for every picture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "constant.onnx"
        onnx.save(_constant(alpha), path)
        engine = trtmatte.build(path, family="generic", size=SIZE, target="onnxruntime", refine=refine)
    return _opened(engine, raw=raw)


def _opened(engine: trtmatte.Engine, *, raw: bool) -> Any:
    return engine.session(outputs=("fgr", "pha"), dtype="float32", device="cpu", raw_foreground=raw)


def _matte(session: Any, picture: NDArray[np.uint8]) -> Matte:
    foreground, alpha = session(picture)
    return Matte(np.array(foreground), np.array(alpha)[..., 0])


def _constant(alpha: Array) -> onnx.ModelProto:
    """Return a network that adds an alpha to nothing of its picture."""
    shape = [1, 1, *alpha.shape]
    constants: dict[str, NDArray[Any]] = {
        "red": np.array([0], np.int64),
        "nothing": np.array(0, np.float32),
        "given": alpha.reshape(shape).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["image", "red"], ["plane"], axis=1),
        helper.make_node("Mul", ["plane", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "given"], ["alpha"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *alpha.shape])],
        [helper.make_tensor_value_info("alpha", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# ---------------------------------------------------------------------------------------------------------------------
# Text


def _pair(kind: str, size: tuple[int, int], found: tuple[Measures, Measures]) -> Iterator[tuple[str, ...]]:
    """Return the two rows of a size."""
    for way, one in zip(("resized", "`--refine`"), found, strict=True):
        values = (one.sad, one.mse * 1000, one.gradient, one.connectivity)
        yield kind, f"{size[0]}×{size[1]}", way, *(f"{value:.1f}" for value in values)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
