"""`trtmatte inspect` on what it understands and on what it does not."""

from __future__ import annotations

import argparse

import onnx
import pytest

from tests import exports, reference
from tests.families.test_importing import small_model
from trtmatte.cli import inspect


def run(*arguments):
    parser = argparse.ArgumentParser()
    inspect.add_parser(parser.add_subparsers())
    args = parser.parse_args(["inspect", *map(str, arguments)])
    return args.run(args)


def test_a_known_model(tmp_path, capsys):
    onnx.save(exports.rvm(reference.network("rvm_mobilenetv3")), tmp_path / "model.onnx")
    assert run(tmp_path / "model.onnx", "--size", "1280x720") == 0
    told = capsys.readouterr().out
    for part in (
        "rvm, mobilenetv3",
        "1280x720, batch 1; downsample_ratio 0.4",
        "r4 1x64x18x32",
        "FrameSample (full frames: frame)",
        "src_sm 1x3x288x512",
        "million weights",
        "GuidedUpsample (full frames: frame, backdrop)",
    ):
        assert part in told


def test_what_is_of_no_family(tmp_path, capsys):
    onnx.save(small_model(), tmp_path / "model.onnx")
    assert run(tmp_path / "model.onnx") == 2
    told = capsys.readouterr()
    assert "of no family" in told.err
    assert "x [1, 3, 8, 8]" in told.out
    assert "Conv 1" in told.out


def test_what_is_no_model(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    assert run(tmp_path / "model.onnx") == 2
    assert "not a complete ONNX file" in capsys.readouterr().err


def test_sizes_must_be_sizes(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / "model.onnx", "--size", "big")
    assert "WIDTHxHEIGHT" in capsys.readouterr().err
