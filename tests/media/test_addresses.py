"""Films from addresses: a server in this process sends them."""

from __future__ import annotations

import socket
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.media import films, servers
from trtmatte.errors import InputError, SettingError, TruncatedError
from trtmatte.media import containers
from trtmatte.media.camera import Camera
from trtmatte.media.opening import open_source
from trtmatte.support.limits import Limits

pytest.importorskip("cv2")
RATE = Fraction(25)
COUNT = 12


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return films.film(tmp_path / "film.ts", COUNT, rate=RATE)


def shown(camera: Camera) -> list[np.ndarray]:
    pictures = []
    while (frame := camera.newest()) is not None:
        pictures.append(frame.picture)
    return pictures


def test_a_film_from_an_address(film: Path) -> None:
    expected = [frame.picture for frame in open_source(film).frames()]
    with servers.sending(film) as one, servers.web(film.parent) as web:
        for address in (one, f"{web}/film.ts"):
            found = [frame.picture for frame in open_source(address).frames()]
            assert all((a == b).all() for a, b in zip(found, expected, strict=True))


def test_an_address_as_a_camera(film: Path) -> None:
    """It ends when its sender ends it. The newest frame wins; those before anybody asked do not count as dropped."""
    with servers.sending(film) as address, Camera(address) as camera:
        assert (camera.name, camera.size, camera.fps) == (address, (64, 48), 25)
        camera._thread.join(10)
        (picture,) = shown(camera)
        last = [frame.picture for frame in open_source(film).frames()][-1]
        assert np.abs(picture.astype(int) - last[..., ::-1]).max() <= 3
        assert camera.newest() is None
        assert camera.dropped == 0


def test_a_film_at_an_address_plays_at_its_own_rate(tmp_path: Path) -> None:
    films.film(tmp_path / "film.mp4", 6, rate=Fraction(10), container={"movflags": "faststart"})
    with servers.web(tmp_path) as web, Camera(f"{web}/film.mp4") as camera:
        began = time.perf_counter()
        assert 4 <= len(shown(camera)) <= 6
        assert 0.4 < time.perf_counter() - began < 3


def test_a_sender_that_falls_silent(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_SILENCE", 0.5)
    done = threading.Event()

    def send(connection: socket.socket) -> None:
        connection.sendall(film.read_bytes())
        done.wait(10)

    with servers.talking(send) as address:
        with Camera(address) as camera, pytest.raises(TruncatedError, match=r"tcp://\S+ breaks off after frame \d+"):
            shown(camera)
        done.set()


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("tcp://127.0.0.1:9", InputError, "tcp://127.0.0.1:9 cannot be read as a video: Connection refused"),
        ("gopher://127.0.0.1/a", SettingError, "gopher:// is not read; expected http"),
        ("file:///etc/passwd", SettingError, "file:// is not read"),
    ],
)
def test_what_is_no_address(address: str, error: type[Exception], message: str) -> None:
    for opened in (Camera, open_source):
        with pytest.raises(error, match=message):
            opened(address)


def test_strangers_have_no_addresses() -> None:
    with pytest.raises(InputError, match="safe mode reads nothing from the network"):
        Camera("tcp://127.0.0.1:9", limits=Limits())
