"""Type checkers refuse what sessions refuse, and accept what is documented."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from trtmatte.backends import registry
from trtmatte.format.outputs import COLORS, DTYPES, LAYOUTS, MATTE_OUTPUTS
from trtmatte.ops import Color, Layout
from trtmatte.runtime.session import options

ROOT = Path(__file__).parents[1]
HEAD = """
import numpy as np
import trtmatte

engine = trtmatte.load("rvm.trtm")
"""
ACCEPTED = """
engine.session()
engine.session(outputs="composite", background="blur", dtype="float32", layout="CHW", color="bgr", ring=3, batch=2)
engine.session(outputs=("fgr", "an output of my own"), backend="a backend of my own", device="cuda:1", safe=True)
engine.session(outputs=["pha", "seg"], dtype=np.float32, plate=np.zeros((2, 2, 3)), scene_cut=0.3)
trtmatte.Session("rvm.trtm", dtype=np.dtype("uint8"), ring=None, outputs=None)
with engine.session() as session:
    fgr, pha = session(np.zeros((2, 2, 3)))
    print(session(np.zeros((2, 2, 3))).copy().pil().pha, session.stats().p50)
with trtmatte.StreamPool(engine, slots=4, outputs="pha", background="blur", safe=True).join() as stream:
    print(stream(np.zeros((2, 2, 3)), background="red").pha, stream.submit(np.zeros((2, 2, 3))).result().pha)
trtmatte.build("rvm.onnx", size=(1920, 1080), downsample_ratio=0.25, target=["tensorrt"], precision="tf32", family="x")
trtmatte.export("rvm.onnx", "plan", layout="CHW", outputs=("pha",), downsample_ratio=0.25)
"""
REFUSED = {
    'engine.session(layout="NCHW")': "layout",
    'engine.session(outputs="alpah")': "outputs",
    'engine.session(color="yuv")': "color",
    'engine.session(dtype="int8")': "dtype",
    'engine.session(ring="3")': "ring",
    'engine.session(outpus="pha")': "outpus",
    'trtmatte.Session("rvm.trtm", layout="NCHW")': "layout",
    'trtmatte.StreamPool(engine, 4, layout="NCHW")': "layout",
    "trtmatte.StreamPool(engine, 4, ring=3)": "ring",
    'trtmatte.build("rvm.onnx", precision="fp8")': "precision",
    'trtmatte.build("rvm.onnx", target="cuda")': "target",
    'trtmatte.export("rvm.onnx", "engine")': "Argument 2",
    'trtmatte.export("rvm.onnx", layout="NCHW")': "layout",
}


def test_mypy_refuses_what_sessions_refuse(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "accepted.py").write_text(HEAD + ACCEPTED)
    (tmp_path / "refused.py").write_text(HEAD + "\n".join(REFUSED))
    options = ["--strict", "--config-file", os.devnull, "--follow-imports", "silent", "--cache-dir", "cache"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "accepted.py", "refused.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": f"{ROOT / 'python'}:{ROOT / 'typings'}"},
    )
    errors = {}
    for name, line, text in re.findall(r"^(\w+)\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE):
        errors.setdefault((name, int(line)), text)
    first = HEAD.count("\n") + 1
    expected = {("refused", first + index): word for index, word in enumerate(REFUSED.values())}
    assert errors.keys() == expected.keys(), done.stdout + done.stderr
    for place, word in expected.items():
        assert word in errors[place]


def test_literals_name_what_there_is() -> None:
    """Not all of it: outputs and backends can be added without an edit here (`docs/extending`)."""
    assert set(get_args(options.MatteOutput)) <= set(MATTE_OUTPUTS)
    assert set(get_args(get_args(options.BackendName)[0])) <= {"auto", *registry.names()}
    assert get_args(get_args(options.Dtype)[0]) == DTYPES
    assert (get_args(Layout), get_args(Color)) == (LAYOUTS, COLORS)
