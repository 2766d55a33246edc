"""What is prepared for a GPU machine without a network."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from tests.tools.test_slim import LIBRARY
from tools.gpu_day import archive, prepare, slim
from tools.gpu_day.steps import core


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(prepare, "OUT", tmp_path / "prepared")
    return tmp_path / "prepared"


@pytest.mark.skipif(not shutil.which("xz") or not shutil.which("tar"), reason="needs tar and xz")
def test_onnxruntime_is_slimmed_and_split(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(target: prepare.Target, folder: Path, *requirements: str) -> None:
        assert requirements == (prepare.ONNXRUNTIME,)
        with zipfile.ZipFile(folder / "onnxruntime_gpu.whl", "w") as wheel:
            for name in ("__init__.py", "transformers/bert.py", "capi/libonnxruntime_providers_tensorrt.so"):
                wheel.writestr(f"onnxruntime/{name}", "")
            wheel.writestr("onnxruntime/capi/libonnxruntime_providers_cuda.so", LIBRARY)

    monkeypatch.setattr(prepare, "download", download)
    packed = prepare.prepare_onnxruntime(prepare.Target(Path("python3"), 90, 300))
    assert packed.pieces > 1
    for piece in out.glob("*/*"):
        shutil.copy(piece, tmp_path)
    archive.join(packed, tmp_path, tmp_path / "joined")
    files = {str(path.relative_to(tmp_path / "joined")) for path in (tmp_path / "joined").rglob("*") if path.is_file()}
    library = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
    assert files == {"onnxruntime/__init__.py", library}
    assert (tmp_path / "joined" / library).read_bytes() == slim.slim(LIBRARY, 90)[0]


def test_pins_are_those_of_the_repository() -> None:
    pins = [prepare.pinned("av", version) for version in ("3.10", "3.11", "3.12", "3.13")]
    assert [pin.partition(".")[0] for pin in pins] == ["av==17", "av==18", "av==19", "av==19"]
    assert prepare.pinned("cuda-bindings", "3.10") < prepare.pinned("cuda-bindings", "3.12")
    assert prepare.pinned("cuda-pathfinder", "3.12") == "cuda-pathfinder"


def test_an_unknown_kind(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["prepare", "lunch", "--python", "python3"])
    with pytest.raises(SystemExit):
        prepare.main()
    assert "cannot prepare lunch; expected kit" in capsys.readouterr().err


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one source, and the core that was built from it, for compute capability 9.0."""
    (tmp_path / "csrc").mkdir()
    (tmp_path / "csrc" / "op.cu").write_text("one\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    monkeypatch.setenv("CAPABILITY", "9.0")
    monkeypatch.setattr(core, "CORE", "_core.py")
    folder = tmp_path / "core"
    folder.mkdir()
    (folder / "_core.py").write_text("CUDA_ARCHITECTURES = '90-real'\n")
    (folder / core.HASH).write_text(core.sources_hash(tmp_path))
    return folder


def test_a_core_of_these_sources_fits(kit: Path) -> None:
    assert core.fits(kit)


def test_a_core_of_other_sources_is_built_again(kit: Path, tmp_path: Path) -> None:
    (tmp_path / "csrc" / "op.cu").write_text("two\n")
    assert not core.fits(kit)


@pytest.mark.parametrize("written", ["CUDA_ARCHITECTURES = '80-real'", "raise ImportError"])
def test_a_core_for_another_gpu_or_python_is_built_again(written: str, kit: Path) -> None:
    (kit / "_core.py").write_text(f"{written}\n")
    assert not core.fits(kit)


def test_a_kit_without_a_core(kit: Path) -> None:
    (kit / "_core.py").unlink()
    assert not core.fits(kit)
