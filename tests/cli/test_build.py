"""`trtmatte-build`: flags, what is printed, exit statuses, and how it ends when it is stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.cli import terminal
from tests.compiler.building import model_here
from trtmatte import api
from trtmatte.api import Engine, load
from trtmatte.backends import tensorrt
from trtmatte.cli import build
from trtmatte.errors import BackendError, DownloadError, EngineError, ModelError, SettingError

COMMAND = [sys.executable, "-m", "trtmatte.cli.build"]
FLAGS = ("--family", "generic", "--target", "onnxruntime", "--size", "64x48")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return model_here(tmp_path, monkeypatch)


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, **options)


def test_a_model_becomes_an_engine(model: Path) -> None:
    ran = run(model, *FLAGS)
    assert (ran.returncode, ran.stdout) == (0, "model.trtm\n")
    assert re.fullmatch(r"generic \S+ for 64x48, onnxruntime, \d\.\d MB\n", ran.stderr)
    assert load(model.with_suffix(".trtm")).program.size == (64, 48)


def test_quiet_prints_the_place_alone(model: Path) -> None:
    ran = run(model, *FLAGS, "--quiet", "-o", "e.trtm")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "e.trtm\n", "")
    assert load("e.trtm")


@pytest.mark.alone
def test_a_second_build_takes_little_more_than_the_start_of_the_command(model: Path) -> None:
    def seconds(*arguments: Any) -> float:
        started = time.monotonic()
        run(*arguments, check=True)
        return time.monotonic() - started

    run(model, *FLAGS, check=True)
    pairs = [(seconds(model, *FLAGS), seconds("--version")) for _ in range(5)]
    again, start = map(min, zip(*pairs, strict=True))  # the machine may be busy with something else now and then
    assert again < 1.6 * start


@pytest.mark.parametrize(
    ("model_", "place"),
    [
        ("engines/rvm-hd.toml", "engines/rvm-hd.trtm"),
        ("weights/modnet.ckpt", "modnet.trtm"),
        ("rvm-mobilenetv3", "rvm-mobilenetv3.trtm"),
        ("/a/rvm.v1.onnx", "rvm.v1.trtm"),
    ],
)
def test_where_engines_go(model_: str, place: str) -> None:
    assert build._place(model_, ".trtm") == place


# ---------------------------------------------------------------------------------------------------------------------
# Flags


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that `trtmatte.build` or `trtmatte.export` is called with."""
    seen: dict[str, Any] = {}

    def record(model: str, **options: Any) -> Engine:
        seen.update(options, model=model)
        raise ModelError("seen enough")

    monkeypatch.setattr(api, "build", record)
    monkeypatch.setattr(api, "export", record)
    return seen


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        ("--family rvm", "family", "rvm"),
        ("--size 1280x720", "size", (1280, 720)),
        ("--downsample-ratio 0.25", "downsample_ratio", 0.25),
        ("--downsample-ratio auto", "downsample_ratio", "auto"),
        ("--backbone-scale 0.5", "backbone_scale", 0.5),
        ("--refine-mode full", "refine_mode", "full"),
        ("--refine-sample-pixels 320000", "refine_sample_pixels", 320_000),
        ("--refine-threshold 0.2", "refine_threshold", 0.2),
        ("--refine-kernel-size 1", "refine_kernel_size", 1),
        ("--prevent-oversampling", "prevent_oversampling", True),
        ("--no-prevent-oversampling", "prevent_oversampling", False),
        ("--input-size 512x288", "input_size", (512, 288)),
        ("--precision fp32", "precision", "fp32"),
        ("--batch 4", "batch", 4),
        ("--target onnxruntime --target tensorrt-rtx", "target", ["onnxruntime", "tensorrt-rtx"]),
        ("--export plan", "kind", "plan"),
        ("--export onnx", "out", "m.onnx"),
        ("--export triton -o models", "kind", "triton"),
        ("--export plan --outputs pha,rgba", "outputs", "pha,rgba"),
        ("--export plan --background #00ff00", "background", "#00ff00"),
        ("--export plan --dtype float16", "dtype", "float16"),
        ("--export plan --layout CHW", "layout", "CHW"),
        ("--export plan --color bgr", "color", "bgr"),
        ("--export plan --triton models", "triton", "models"),
        ("--layout staged", "layout", "staged"),
        ("--layout single", "kind", "plan"),
        ("--layout single -o m.onnx", "kind", "onnx"),
        ("--export plan --backdrop #00ff00", "background", "#00ff00"),
        ("--export plan --axes CHW", "layout", "CHW"),
        ("--set segmentation=true", "segmentation", True),
        ("--set mean=0.5,0.5,0.5", "mean", (0.5, 0.5, 0.5)),
        ("--validate", "validate", True),
        ("--frames film.mp4", "frames", "film.mp4"),
        ("--force", "force", True),
        ("--verbose", "verbose", True),
        ("-o e.trtm", "out", Path("e.trtm")),
    ],
)
def test_every_flag_arrives_by_its_name(flags: str, name: str, value: Any, asked: dict[str, Any]) -> None:
    assert build.main(["m.onnx", *flags.split()]) == 2
    assert asked[name] == value
    assert asked["model"] == "m.onnx"


def test_what_is_not_given_is_left_out(asked: dict[str, Any]) -> None:
    build.main(["m.onnx"])
    given = {name: value for name, value in asked.items() if value not in (None, False)}
    assert given == {"model": "m.onnx", "out": Path("m.trtm")}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "arguments are required: MODEL"),
        (("m.onnx", "--sise", "1x1"), "unrecognized arguments: --sise"),
        (("m.onnx", "--target", "rtx"), "argument --target: invalid choice: 'rtx'"),
        (("m.onnx", "--batch", "two"), "argument --batch: 'two' is given; expected a whole number, 1…"),
        (("m.onnx", "--set", "segmentation"), "expected NAME=VALUE"),
    ],
)
def test_wrong_flags_are_told_in_one_line(flags: tuple[str, ...], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        build.main(flags)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("trtmatte-build: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModelError("why"), 2),
        (SettingError("why"), 2),
        (BackendError("why"), 1),
        (EngineError("why"), 1),
        (DownloadError("why"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_statuses(error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fail(*_: Any, **__: Any) -> Engine:
        raise error

    monkeypatch.setattr(api, "build", fail)
    before = signal.getsignal(signal.SIGTERM)
    assert build.main(["m.onnx"]) == status
    told = capsys.readouterr()
    assert told.err == f"trtmatte-build: {'stopped' if status == 130 else 'why'}\n"
    assert told.out == ""
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_wrong_model(model: Path) -> None:
    ran = run("nothing.onnx")
    assert ran.returncode == 2
    assert re.fullmatch(r"trtmatte-build: there is no file nothing.onnx, and .*\n", ran.stderr)
    assert [path.name for path in model.parent.iterdir()] == [model.name]


# ---------------------------------------------------------------------------------------------------------------------
# Exports


SMALL = ("--family", "generic", "--size", "64x48")


def test_the_graph_of_a_plan(model: Path) -> None:
    ran = run(model, *SMALL, "--export", "onnx", "-o", "m.onnx", "--outputs", "rgba", "--layout", "CHW")
    assert (ran.returncode, ran.stdout) == (0, "m.onnx\n")
    assert re.fullmatch(r"generic \S+ for 64x48, frame → rgba, \d\.\d MB\n", ran.stderr)
    (rgba,) = onnx.load("m.onnx").graph.output
    assert [size.dim_value for size in rgba.type.tensor_type.shape.dim] == [1, 4, 48, 64]


def test_a_repository_for_triton(model: Path) -> None:
    ran = run(model, *SMALL, "--export", "onnx", "-o", "m.onnx", "--triton", "models", "--quiet")
    assert ran.stdout.split() == ["models/m/1/model.onnx", "models/m/config.pbtxt", "m.onnx"]
    assert all(Path(path).is_file() for path in ran.stdout.split())


def test_a_recipe_can_ask_for_an_export(model: Path) -> None:
    recipe = ["model = 'model.onnx'", "family = 'generic'", "size = '64x48'", "export = 'onnx'", "outputs = ['pha']"]
    Path("r.toml").write_text("\n".join(recipe))
    assert run("r.toml", "-o", "r.onnx").returncode == 0
    assert [each.name for each in onnx.load("r.onnx").graph.output] == ["pha"]
    Path("r.toml").write_text("\n".join(line for line in recipe if "export" not in line))
    engine = run("r.toml")
    assert engine.returncode == 2
    assert "outputs is given, but an engine leaves it to its sessions" in engine.stderr


def test_a_plan_without_tensorrt(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(
        tensorrt, "build_unavailable_reason", lambda target: "TensorRT is not installed: pip install tensorrt"
    )
    assert build.main([str(model), *SMALL, "--export", "plan"]) == 1
    told = capsys.readouterr().err
    assert "pip install tensorrt; or export the graph with --export onnx" in told
    assert told.count("\n") == 1
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_triton_is_for_exports(model: Path) -> None:
    ran = run(model, *FLAGS, "--triton", "models")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Triton takes an export: --export triton" in ran.stderr
    assert [path.name for path in model.parent.iterdir()] == [model.name]


@pytest.mark.parametrize(
    ("flags", "notice"),
    [
        (("--layout", "single"), "layout single is now called export plan"),
        (("--export", "onnx", "--axes", "CHW"), "--axes is now called --layout"),
        (
            ("--export", "onnx", "--outputs", "composite", "--backdrop", "red"),
            "--backdrop is now called --background",
        ),
    ],
)
def test_old_flags_work_with_one_line_of_notice(flags: tuple[str, ...], notice: str, model: Path) -> None:
    ran = run(model, *SMALL, *flags, "-o", "m.onnx", "--quiet")
    assert (ran.returncode, ran.stdout) == (0, "m.onnx\n")
    assert ran.stderr == f"trtmatte-build: {notice}; the old name works in this release only\n"


# ---------------------------------------------------------------------------------------------------------------------
# What it tells


def test_validating_prints_the_errors(model: Path) -> None:
    pytest.importorskip("openvino")
    ran = run(model, *FLAGS, "--validate")
    assert ran.returncode == 0
    assert re.search(r"^openvino pha: mean \S+, p99.9 \S+, max \S+, drift \S+$", ran.stderr, re.MULTILINE)


def test_it_says_what_could_not_be_built(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise BackendError("it cannot")

    monkeypatch.setattr(tensorrt, "targets_available", lambda: ["tensorrt-rtx"])
    monkeypatch.setattr(tensorrt, "environment", lambda target: {})
    monkeypatch.setattr(tensorrt, "build_plan", refuse)
    assert build.main([str(model), "--family", "generic", "--size", "64x48"]) == 0
    assert "no plan for tensorrt-rtx: it cannot" in capsys.readouterr().err


def test_progress_on_a_terminal(model: Path) -> None:
    pytest.importorskip("rich")
    status, told = terminal.run([*COMMAND, str(model), *FLAGS])
    assert status == 0
    assert b"reading" in told


# ---------------------------------------------------------------------------------------------------------------------
# Being stopped


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped_leaves_nothing(with_signal: int, model: Path, tmp_path: Path) -> None:
    """While it waits for a lock, which is as long as one likes."""
    run(model, *FLAGS, "-o", "other.trtm", check=True)
    (lock,) = (tmp_path / "cache" / "engines").glob("*.lock")
    from trtmatte.support import files

    with files.alone(lock):
        running = subprocess.Popen(
            [*COMMAND, str(model), *FLAGS, "--force"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not _waits_for(running.pid, lock):
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(with_signal)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (128 + with_signal, "", "trtmatte-build: stopped\n")
    assert sorted(path.name for path in model.parent.iterdir()) == [model.name, "other.trtm"]


def _waits_for(process: int, lock: Path) -> bool:
    for each in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it closes files meanwhile
            if lock == Path(os.readlink(each)):
                return True
    return False
