from __future__ import annotations

import pytest

from tests.runtime.session import engines


@pytest.fixture(params=engines.BACKENDS)
def backend(request):
    return engines.require(request.param)


@pytest.fixture
def open_session():
    """Opens sessions on the tiny engine, by ONNX Runtime unless told otherwise, and closes them afterwards."""
    opened = []

    def open_one(*, engine=None, **options):
        options = {"backend": "onnxruntime", **options}
        opened.append((engine or engines.memory()).session(**options))
        return opened[-1]

    yield open_one
    for session in opened:
        session.close()
