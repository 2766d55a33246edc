"""Commands and functions on a machine that lacks a package: one line with pip's command, or no need of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from PIL import Image

from tests.compiler.small import shrinking
from tests.media import films
from tests.runtime.session import engines
from trtmatte.format import file as engine_file

ABSENT = Path(__file__).parent / "absent.py"
EVERYTHING = "onnx,onnxruntime,openvino,PIL,av,cv2,torch,cuda,rich,platformdirs,safetensors,tensorrt,tensorrt_rtx"
BUILD = "trtmatte-build model.onnx --family generic --size 64x48 --target onnxruntime"
IMAGE = "trtmatte image in.png --engine tiny.trtm -o out.png"
VIDEO = "trtmatte video in.mp4 --engine tiny.trtm -o out.mp4"
BUILD_IN_PYTHON = "import trtmatte; trtmatte.build('model.onnx', family='generic', target='onnxruntime')"
ONNX = "reading models needs onnx, which cannot be imported (No module named 'onnx'): pip install --upgrade onnx"
PYAV = "reading and writing videos needs PyAV: pip install 'trtmatte[video]'"
PILLOW = "reading and writing pictures needs Pillow: pip install pillow"
OPENCV = "a camera needs OpenCV, which cannot be imported (No module named 'cv2'): pip install 'trtmatte[live]'"
TORCH = "reading the checkpoint m.pth needs PyTorch, which is not installed: pip install torch"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a model, an engine, a checkpoint, a picture and a film, and no caches."""
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    onnx.save(shrinking(), tmp_path / "model.onnx")
    engine_file.write(engines.memory(), tmp_path / "tiny.trtm")
    films.film(tmp_path / "in.mp4", [films.picture(number, 32, 24) for number in range(3)])
    Image.fromarray(films.picture(0, 32, 24)).save(tmp_path / "in.png")
    (tmp_path / "m.pth").write_bytes(b"PK\x03\x04")
    (tmp_path / "m.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return tmp_path


def run(packages: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ABSENT), packages, *command], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("package", "command", "told"),
    [
        ("onnx", BUILD, ONNX),
        ("onnx", "trtmatte-build model.onnx --family generic --export onnx -o out.onnx", ONNX),
        ("onnx", "trtmatte-build m.pth", ONNX),
        ("onnx", "trtmatte inspect model.onnx", ONNX),
        ("onnx", "trtmatte inspect m.pth", ONNX),
        ("onnxruntime", f"{IMAGE} --backend onnxruntime", "ONNX Runtime is not installed: pip install onnxruntime"),
        ("openvino", f"{IMAGE} --backend openvino", "OpenVINO is not installed: pip install openvino"),
        ("onnxruntime,openvino", IMAGE, "ONNX Runtime is not installed: pip install onnxruntime"),
        ("PIL", IMAGE, PILLOW),
        ("PIL", f"{VIDEO} --background in.png", PILLOW),
        ("PIL", "trtmatte live --engine tiny.trtm --camera in.mp4 --no-window --background in.png", PILLOW),
        ("av", VIDEO, PYAV),
        ("av", f"{IMAGE} --background in.mp4", PYAV),
        ("av", f"{BUILD} --validate --frames in.mp4", PYAV),
        ("cv2", "trtmatte live --engine tiny.trtm", OPENCV),
        ("torch", "trtmatte-build m.pth", TORCH),
        ("torch", "trtmatte inspect m.pth", TORCH),
        ("safetensors", "trtmatte-build m.safetensors --family modnet", "pip install safetensors"),
        ("tensorrt", f"{BUILD} --target tensorrt", "TensorRT is not installed: pip install --upgrade tensorrt"),
    ],
)
def test_a_command_without_its_package(package: str, command: str, told: str) -> None:
    ran = run(package, *command.split())
    *before, line = ran.stderr.splitlines()
    assert told in line
    assert not [each for each in before if "Traceback" in each or "rror" in each]
    assert ran.returncode in (1, 2)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("package", "code", "told"),
    [
        ("onnx", BUILD_IN_PYTHON, f"BackendError: {ONNX}"),
        (
            "torch",
            "import trtmatte; trtmatte.families.network('modnet')",
            "needs PyTorch, which is not installed: pip install torch",
        ),
        ("av", "from trtmatte import *; convert_video('tiny.trtm', input_source='in.mp4', output_alpha='a.mp4')", PYAV),
        (
            "PIL",
            "import trtmatte; trtmatte.load('tiny.trtm').session(background='in.png', outputs='composite')",
            PILLOW,
        ),
    ],
)
def test_a_function_without_its_package(package: str, code: str, told: str) -> None:
    """The last line of the traceback is the error's."""
    assert told in run(package, "-c", code).stderr.splitlines()[-1]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("packages", "command"),
    [
        (EVERYTHING, "trtmatte --help"),
        (EVERYTHING, "trtmatte-build --help"),
        (EVERYTHING, "trtmatte models"),
        ("onnx,PIL,cv2,torch,cuda,rich,platformdirs,tensorrt,tensorrt_rtx", VIDEO),
        ("onnx,onnxruntime,av,cv2,torch,cuda,rich,platformdirs", f"{IMAGE} --backend openvino"),
        ("onnx,openvino,av,cv2,torch,cuda,rich,platformdirs", f"{IMAGE} --backend onnxruntime"),
        ("onnx,openvino,av,cv2,torch,cuda", "trtmatte inspect tiny.trtm"),
        ("onnxruntime,openvino,PIL,av,cv2,torch,cuda,rich,platformdirs", BUILD),
    ],
)
def test_a_command_that_needs_none_of_them(packages: str, command: str) -> None:
    ran = run(packages, *command.split())
    assert ran.returncode == 0, ran.stderr


def test_the_doctor_names_all_that_is_missing() -> None:
    ran = run(EVERYTHING, "trtmatte", "doctor")
    assert "Traceback" not in ran.stdout + ran.stderr
    for remedy in ("onnxruntime", "openvino", "'trtmatte[video]'", "'trtmatte[live]'", "'trtmatte[torch]'", "onnx"):
        assert f"pip install {remedy}" in ran.stdout


def test_all_of_trtmatte_is_imported_with_numpy_alone() -> None:
    code = "import trtmatte; [getattr(trtmatte, name) for name in trtmatte.__all__]"
    ran = run(EVERYTHING, "-c", code)
    assert ran.returncode == 0, ran.stderr
