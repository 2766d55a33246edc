"""Files with weights run no code, and reading them ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.compiler.weights import hostile
from trtmatte.compiler.weights import reading
from trtmatte.errors import ModelError

READ_WITHOUT_CODE = ("an object in the constants", "code in the text of a class")  # their weights are in order
READ_ALL = """
import sys
from pathlib import Path
from trtmatte.compiler.weights import reading
from trtmatte.errors import ModelError
for path in Path(sys.argv[1]).iterdir():
    try:
        reading.read(path)
    except ModelError:
        pass
"""


@pytest.mark.parametrize("variation", hostile.VARIATIONS)
def test_a_file_with_weights_writes_no_file(variation: str, tmp_path: Path) -> None:
    witness, path = tmp_path / "written", tmp_path / "model.pt"
    path.write_bytes(hostile.VARIATIONS[variation](str(witness), False))
    if variation in READ_WITHOUT_CODE:
        assert list(reading.read(path)) == ["weight"]
    else:
        with pytest.raises(ModelError):
            reading.read(path)
    assert not witness.exists()


def test_the_attack_works_where_code_runs(tmp_path: Path) -> None:
    """The files are what they claim to be: PyTorch's own loader runs them."""
    import torch

    witness, path = tmp_path / "written", tmp_path / "model.pt"
    path.write_bytes(hostile.VARIATIONS["a module within"](str(witness), False))
    torch.jit.load(str(path))
    assert witness.exists()


def test_a_file_with_weights_does_not_loop(tmp_path: Path) -> None:
    """In a process of its own, which can be ended: PyTorch's interpreter cannot."""
    for number, make in enumerate(hostile.VARIATIONS.values()):
        (tmp_path / f"{number}.pt").write_bytes(make(str(tmp_path / "written"), True))
    done = subprocess.run([sys.executable, "-c", READ_ALL, str(tmp_path)], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_module_with_code_of_its_own_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(hostile.scripted(hostile.Harmless(hostile.Writes("x"))))
    with pytest.raises(ModelError, match=r"restores itself by code of its own.*\.onnx"):
        reading.read(path)
