"""Our calls against the real bindings: mypy compares them with a stub, and this the stub with each version."""

from __future__ import annotations

import pytest

from tests.plugin_library import ROOT
from tests.tensorrt.libraries import BINDINGS, run


@pytest.mark.parametrize("version", BINDINGS)
def test_the_stub_describes_the_bindings(version: str) -> None:
    done = run(version, ROOT / "tools" / "tensorrt_stub.py", "--check", "tensorrt")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"describes tensorrt {version}." in done.stdout
