"""`trtmatte inspect` on what it understands and on what it does not."""

from __future__ import annotations

import argparse
import json
import zipfile

import onnx
import pytest
import torch

from tests import exports, reference
from tests.compiler.families.test_generic import unknown
from tests.compiler.families.test_importing import small_model
from trtmatte.cli import inspect, values
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.graph.cut import cut
from trtmatte.format import file as engine
from trtmatte.format.outputs import MATTE_OUTPUTS


def run(*arguments):
    parser = argparse.ArgumentParser()
    inspect.add_parser(parser.add_subparsers())
    args = parser.parse_args(["inspect", *map(str, arguments)])
    return args.run(args)


@pytest.fixture(scope="module")
def rvm(tmp_path_factory):
    path = tmp_path_factory.mktemp("inspect") / "model.onnx"
    onnx.save(exports.rvm(reference.network("rvm_mobilenetv3")), path)
    return path


def test_a_known_model(rvm, capsys):
    assert run(rvm, "--size", "1280x720") == 0
    told = capsys.readouterr().out
    for part in (
        "rvm, mobilenetv3",
        "1280x720, batch 1; downsample_ratio 0.4",
        "r4 1x64x18x32",
        "FrameSample (full frames: frame)",
        "FrameSample (stage 1) reads frame",
        "src_sm 1x3x288x512",
        "million weights",
        "GuidedUpsample (full frames: frame, background)",
        "writes fgr, pha",
    ):
        assert part in told
    assert max(map(len, told.splitlines())) <= 100


def test_facts_for_machines(rvm, capsys):
    assert run(rvm, "--size", "1280x720", "--batch", 2, "--set", "downsample-ratio=0.25", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["family"], facts["variant"]) == ("onnx", "rvm", "mobilenetv3")
    assert facts["settings"] == {"downsample_ratio": 0.25}
    assert facts["states"][3] == {"name": "r4", "shape": [2, 64, 12, 20], "dtype": "float32"}
    sample, network, matte = facts["stages"]
    assert sample["attributes"]["width"] == 320
    assert sample["full_frames"] == {"read": ["frame"], "written": []}
    assert network["full_frames"] == {"read": [], "written": []}
    assert matte["full_frames"] == {"read": ["frame", "background"], "written": list(MATTE_OUTPUTS)}
    # All the network's weights, with normalisations folded in, and what no weight of its state_dict holds.
    assert 3.7e6 < network["weights"] < 3.8e6


def test_multiplications_are_those_of_the_layers(tmp_path, capsys):
    """3x3 from 3 to 8 channels at half the size, 3x3 from 8 to 2."""
    onnx.save(unknown(outputs=("alpha",)), tmp_path / "model.onnx")
    assert run(tmp_path / "model.onnx", "--family", "generic", "--set", "input_size=56x40", "--batch", 3, "--json") == 0
    (network,) = (each for each in json.loads(capsys.readouterr().out)["stages"] if each["kind"] == "network")
    assert network["macs"] == 3 * 28 * 20 * (9 * 3 * 8 + 9 * 8 * 2)


def test_patches_count_as_often_as_they_can(tmp_path, capsys):
    torch.save(reference.network("bgmv2_refine_mobilenetv2").state_dict(), tmp_path / "model.pth")
    sides = ("--size", "256x128", "--json", "--set")
    macs = []
    for pixels in (160, 1600):
        assert run(tmp_path / "model.pth", *sides, f"refine_sample_pixels={pixels}") == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["kind"] == "checkpoint"
        assert facts["patches"] == pixels // 16
        macs.append(facts["stages"][-2]["macs"])
    assert macs[1] == 10 * macs[0] > 0


@pytest.fixture
def built(rvm, tmp_path):
    program, networks = cut(importing.read(rvm, size=(320, 240)))
    data = {stage.name: model.SerializeToString() for stage, model in zip(program.networks, networks, strict=True)}
    source = {"file": "rvm.onnx", "sha256": "ab" * 32}
    made = engine.EngineFile.of(program, data, source=source, errors={"pha": {"max": 0.002}})
    engine.write(made, tmp_path / "rvm.trtm")
    return tmp_path / "rvm.trtm"


def rewritten(path, **changes):
    """The engine with members of its manifest changed, as a stranger may write them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | changes).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_escape_sequences_of_a_file_are_shown_as_text(built, capsys):
    """A file's text must not drive the terminal: titles, colours, lines that were not written by us."""
    rewritten(
        built, source={"file": "\x1b]0;owned\x07\x9b2J\u202e.onnx\nerrors    none"}, errors={"\x1b[31m": "\x1b[2J"}
    )
    assert run(built) == 0
    told = capsys.readouterr().out
    assert told.replace("\n", "").isprintable()
    assert r"\x1b]0;owned\x07\x9b2J\u202e.onnx" in told
    assert "\nerrors    none" not in told
    rewritten(built, format=99, made_by="\x1b[2J")
    assert run(built) == 2
    assert r"made by \x1b[2J" in capsys.readouterr().err


def test_networks_that_lie_end_in_facts_or_an_error(built, capsys):
    engine_there = engine.read(built)
    model = onnx.load_from_string(engine_there.network("network-0"))
    model.graph.initializer[0].dims.extend([1 << 62] * 30)
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    del convolution.input[1:]
    made = engine.EngineFile.of(engine_there.program, {"network-0": model.SerializeToString()})
    engine.write(made, built)
    assert run(built) == 0
    assert "1000000000000.00 million weights" in capsys.readouterr().out


def test_an_engine(built, capsys):
    assert run(built) == 0
    told = capsys.readouterr().out
    parts = ("rvm, mobilenetv3", "320x240", "ab" * 32, "pha (max 0.002)", "plans     none", "million weights")
    for part in parts:
        assert part in told
    assert run(built, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "engine"
    assert facts["engine"]["source"]["file"] == "rvm.onnx"
    assert facts["engine"]["members"].keys() == {"network-0.onnx"}


def test_a_broken_engine(built, capsys):
    built.write_bytes(built.read_bytes()[:1000])
    assert run(built) == 2
    assert "cannot be loaded" in capsys.readouterr().err


def test_what_is_of_no_family(tmp_path, capsys):
    onnx.save(small_model(), tmp_path / "model.onnx")
    assert run(tmp_path / "model.onnx") == 2
    told = capsys.readouterr()
    assert "of no family" in told.err
    assert f"trtmatte-build {tmp_path}/model.onnx --family generic --input-size 8x8 --set mean=0.5" in told.err
    assert 'family="generic", input_size=(8, 8)' in told.err
    assert "x [1, 3, 8, 8]" in told.out
    assert "Conv 1" in told.out
    assert run(tmp_path / "model.onnx", "--json") == 2
    facts = json.loads(capsys.readouterr().out)
    assert "of no family" in facts["error"]
    assert facts["operators"] == {"Conv": 1}


def test_an_almost_match_names_the_difference(rvm, tmp_path, capsys):
    model = onnx.load(rvm)
    del model.graph.output[3]
    onnx.save(model, tmp_path / "model.onnx")
    assert run(tmp_path / "model.onnx") == 2
    told = capsys.readouterr()
    assert "new state of recurrent unit 2" in told.err
    assert "Conv" in told.out


def test_what_is_no_model(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    assert run(tmp_path / "model.onnx") == 2
    assert "not a complete ONNX file" in capsys.readouterr().err


def test_settings_that_the_family_lacks(rvm, capsys):
    assert run(rvm, "--set", "stretch=true") == 2
    assert "rvm has no setting stretch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("downsample_ratio=auto", "auto"),
        ("refine-threshold=0.1", 0.1),
        ("input_size=512x288", (512, 288)),
        ("mean=0.5,0.25,0", (0.5, 0.25, 0)),
        ("stretch=false", False),
    ],
)
def test_settings_have_types(text, value):
    assert values.setting(text) == (text.partition("=")[0].replace("-", "_"), value)


@pytest.mark.parametrize(
    ("flag", "value", "message"), [("--size", "big", "WIDTHxHEIGHT"), ("--set", "stretch", "NAME=VALUE")]
)
def test_flags_have_forms(flag, value, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / "model.onnx", flag, value)
    assert message in capsys.readouterr().err
