"""The sessions that single pictures share."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tests.runtime.session import engines
from trtmatte.apps import matting
from trtmatte.apps.matting import Matting
from trtmatte.errors import SettingError
from trtmatte.media.backgrounds import FrameBackground

NOTHING = FrameBackground(None)


def test_the_session_that_was_not_used_for_longest_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matting, "follows_the_frame", lambda family: True)
    built: list[Any] = []

    def build(size: tuple[int, int]) -> Any:
        built.append(size)
        return engines.memory()

    mattes = Matting(build, ["alpha"], backend="onnxruntime")
    shapes = [(8 << number, 24) for number in range(matting._KEPT)]  # each twice as wide as the one before
    for size in [*shapes, shapes[0], (24, 24 << 4)]:
        mattes(engines.noise(0, *size), None, NOTHING)
    assert built == [*shapes, (24, 24 << 4)]
    sessions = [*mattes._sessions.values()]
    assert len(sessions) == matting._KEPT
    mattes(engines.noise(0, *shapes[0]), None, NOTHING)
    assert built == [*shapes, (24, 24 << 4)]
    mattes(engines.noise(0, *shapes[1]), None, NOTHING)
    assert built[-1] == shapes[1]
    mattes.close()
    assert all("closed" in repr(session) for session in sessions)


def test_pictures_that_the_network_sees_in_one_size_share_a_session() -> None:
    built: list[Any] = []

    def build(size: tuple[int, int]) -> Any:
        built.append(size)
        return engines.memory()  # of no known family

    mattes = Matting(build, ["alpha"], backend="onnxruntime")
    for size in [(32, 24), (24, 32), (120, 8)]:
        mattes(engines.noise(0, *size), None, NOTHING)
    assert built == [(32, 24)]
    assert len(mattes._sessions) == 1


@pytest.mark.parametrize("streams", [1, 3])
def test_pictures_of_several_sizes_together(streams: int) -> None:
    pictures = [engines.noise(seed, *size) for seed, size in enumerate([(32, 24), (57, 33), (8, 120)])]
    together = Matting(engines.memory(streams), ["composite"], backend="onnxruntime", batch=streams)
    alone = Matting(engines.memory(), ["composite"], backend="onnxruntime")
    for behind in (FrameBackground("blur"), FrameBackground.of_picture(engines.noise(9, 40, 30))):
        for picture, mattes in zip(pictures, together.together(pictures, behind), strict=True):
            np.testing.assert_array_equal(mattes["composite"], alone(picture, None, behind)["composite"])


def test_the_mattes_of_one_call_stay() -> None:
    mattes = Matting(engines.memory(), ["rgba", "alpha"], backend="onnxruntime")
    first = mattes(engines.noise(0), None, NOTHING)
    before = {kind: matte.copy() for kind, matte in first.items()}
    for seed in range(1, 6):
        mattes(engines.noise(seed), None, NOTHING)
    for kind, matte in first.items():
        np.testing.assert_array_equal(matte, before[kind])


def test_an_engine_that_does_not_fit_is_told_once_for_each_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(matting, "fit_warning", lambda engine, size: f"squeezes {size}" if size[0] < size[1] else None)
    mattes = Matting(engines.memory(), ["alpha"], backend="onnxruntime", tell=told.append)
    for size in [(32, 24), (24, 32), (48, 64), (16, 64), (24, 32)]:
        mattes(engines.noise(0, *size), None, NOTHING)
    assert told == ["squeezes (24, 32)", "squeezes (16, 64)"]


class Slow:
    """Builds engines, each as soon as it may."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, int], str]] = []
        self.may = threading.Event()

    def __call__(self, size: tuple[int, int]) -> Any:
        self.asked.append((size, threading.current_thread().name))
        assert self.may.wait(20)
        if size == (12, 92):
            raise SettingError("12 is no width")
        return engines.memory()


def test_engines_are_built_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matting, "follows_the_frame", lambda family: True)
    build = Slow()
    mattes = Matting(build, ["alpha"], backend="onnxruntime")
    mattes.prepare((24, 32))
    assert build.asked == [], "one engine may be enough"
    build.may.set()
    mattes(engines.noise(0, 32, 24), None, NOTHING)
    build.may.clear()
    for size in [(32, 24), (33, 24), (24, 32), (24, 32), (24, 33), (12, 92), (600, 40)]:
        mattes.prepare(size)
    mattes(engines.noise(1, 33, 24), None, NOTHING)
    assert sorted(build.asked[1:]) == [((12, 92), "trtmatte-opening"), ((24, 32), "trtmatte-opening")]
    build.may.set()
    expected = Matting(engines.memory(), ["alpha"], backend="onnxruntime")(engines.noise(2, 24, 32), None, NOTHING)
    found = mattes(engines.noise(2, 24, 32), None, NOTHING)
    np.testing.assert_array_equal(found["alpha"], expected["alpha"])
    assert len(build.asked) == 3
    with pytest.raises(SettingError, match="12 is no width"):
        mattes(engines.noise(2, 12, 92), None, NOTHING)
    mattes.close()


def test_engines_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end waits for no engine that is being built."""
    monkeypatch.setattr(matting, "follows_the_frame", lambda family: True)
    build = Slow()
    build.may.set()
    mattes = Matting(build, ["alpha"], backend="onnxruntime")
    mattes(engines.noise(0, 32, 24), None, NOTHING)
    build.may.clear()
    mattes.prepare((24, 32))
    mattes.close()
    assert threading.active_count() > 1
    build.may.set()
