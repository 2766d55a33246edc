"""The live page in a real browser, whose camera shows a film of a person."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import real_models
from tests.browser import Browser, Page, executable
from tests.serve.camera import write_camera
from tests.serve.live_client import FRAME, read_answer
from tests.serve.serving import Client, running
from trtmatte.api import build
from trtmatte.apps.cut_out import cut_out
from trtmatte.media import colour
from trtmatte.media.frame_packets import PacketDecoder
from trtmatte.serve.settings import Settings

av = pytest.importorskip("av")

pytestmark = pytest.mark.browser

SIZE = (640, 360)
MODEL = "rvm-mobilenetv3"
GREEN = (0, 177, 64)


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of a person as Y4M, which Chromium takes for a camera."""
    if executable() is None:
        if os.environ.get("TRTMATTE_REQUIRE_BROWSER") == "1":
            pytest.fail("no Chromium is installed")
        pytest.skip("no Chromium is installed")
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    write_camera(path, real_models.clip(*SIZE))
    return path


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    source = real_models.model(MODEL)
    with running(Settings(model=MODEL, models={MODEL: source}, options={"device": "cpu"})) as found:
        yield found


@pytest.fixture(scope="module")
def browser(camera: Path) -> Iterator[Browser]:
    with Browser(camera) as found:
        yield found


@contextmanager
def opened(browser: Browser, client: Client, query: str = "", **options: Any) -> Iterator[Page]:
    """The page, on which nothing may go wrong."""
    address = f"http://127.0.0.1:{client.port}/{query}"
    page = browser.page(address, **options)
    try:
        page.evaluate("localStorage.clear()")  # what another test has chosen
        page.open(address)
        page.wait_for("!document.querySelector('#start').disabled", 20)
        yield page
        assert page.problems == []
    finally:
        page.close()


def start(page: Page, frames: int) -> None:
    page.click("#start")
    page.wait_for(f"trtmatte.frames >= {frames}", 60)


def saved(page: Page, browser: Browser, folder: Path) -> tuple[int, Any]:
    """The number of the frame on show, and the picture that the page saves of it."""
    page.downloads(folder)
    page.click("#save")
    path = downloaded(folder, "trtmatte-*.png")
    with Image.open(path) as image:
        return int(path.stem.partition("-")[2]), np.asarray(image.convert("RGBA"))


def downloaded(folder: Path, pattern: str) -> Path:
    end = time.monotonic() + 30
    while not (found := list(folder.glob(pattern))):
        assert time.monotonic() < end, list(folder.iterdir())
        time.sleep(0.05)
    return found[0]


class Seen:
    """The frames that a page has sent, and what its server has answered."""

    def __init__(self, page: Page) -> None:
        messages = [(sent, data) for sent, data in page.traffic if isinstance(data, bytes)]
        self.hello = json.loads(next(data for sent, data in page.traffic if sent and isinstance(data, str)))
        decode = PacketDecoder(self.hello["codec"])
        self.frames: dict[int, Any] = {}
        for sent, data in messages:
            if sent:
                number, kind, matrix, full, width, height = FRAME.unpack_from(data)
                options = {"matrix": (colour.SD, colour.BT709)[matrix], "full_range": full == 1}
                self.frames[number] = decode(data[FRAME.size :], (width, height), is_key=kind == 1, **options)
        self.answers = [read_answer(data) for sent, data in messages if not sent]

    def check(self) -> dict[int, Any]:
        """Compare the alphas with those of a session that sees the same frames. Returns them by number."""
        with build(real_models.model(MODEL), size=SIZE).session(outputs="pha", device="cpu") as session:
            for answer in self.answers:
                if not answer.dropped:
                    expected = session(self.frames[answer.number]).pha[..., 0]
                    np.testing.assert_array_equal(answer.alpha, expected)
        return {each.number: each.alpha for each in self.answers if not each.dropped}


@pytest.mark.parametrize(("query", "codec", "alpha"), [("", "i420", "raw"), ("?codec=vp8&alpha=png", "vp8", "png")])
def test_the_camera(browser: Browser, client: Client, tmp_path: Path, query: str, codec: str, alpha: str) -> None:
    """Picture and matte are of the very same frame."""
    with opened(browser, client, query, traffic=True) as page:
        start(page, 20)
        number, cutout = saved(page, browser, tmp_path)
        page.click("#start")
        seen = Seen(page)
    assert (seen.hello["codec"], seen.hello["alpha"]) == (codec, alpha)
    alphas = seen.check()
    assert len(alphas) >= 20
    assert cutout.shape[:2] == SIZE[::-1]
    np.testing.assert_array_equal(cutout[..., 3], alphas[number])
    shown = cutout[..., 3] == 255
    assert 0.05 < shown.mean() < 0.95
    difference = np.abs(cutout[..., :3].astype(int) - seen.frames[number])[shown]
    assert difference.mean() < (2 if codec == "i420" else 6)
    itself = seen.frames[number]
    others = [each for each in seen.frames.values() if not np.array_equal(each, itself)]  # a camera may repeat a frame
    if codec == "i420":
        assert difference.mean() < min(np.abs(cutout[..., :3].astype(int) - each)[shown].mean() for each in others)


def test_a_colour_behind(browser: Browser, client: Client, tmp_path: Path) -> None:
    """The composite in the browser is that of the session."""
    with opened(browser, client, traffic=True) as page:
        page.click("input[value=colour]")
        start(page, 10)
        number, composite = saved(page, browser, tmp_path)
        page.click("#start")
        seen = Seen(page)
    assert (composite[..., 3] == 255).all()
    with build(real_models.model(MODEL), size=SIZE).session(outputs=("pha",), device="cpu") as session:
        alpha = [session(seen.frames[each.number]).pha.copy() for each in seen.answers if each.number <= number][
            -1
        ] / 255
    expected = seen.frames[number] * alpha + np.array(GREEN) * (1 - alpha)
    difference = np.abs(composite[..., :3] - expected)
    assert difference.mean() < 2
    assert np.percentile(difference, 99) < 8


def test_a_recording(browser: Browser, client: Client, tmp_path: Path) -> None:
    with opened(browser, client) as page:
        page.downloads(tmp_path)
        start(page, 10)
        page.click("#record")
        page.wait_for("!document.querySelector('#recording').hidden")
        time.sleep(3)
        page.click("#record")
        path = downloaded(tmp_path, "*.webm")
        page.click("#start")
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}[stream.codec_context.name]
        decoder = av.CodecContext.create(name, "r")
        frames = [frame for packet in film.demux(stream) if packet.size for frame in decoder.decode(packet)]
    assert len(frames) > 10
    assert (frames[0].width, frames[0].height) == SIZE
    alphas = [np.frombuffer(frame.planes[3], np.uint8) for frame in frames if frame.format.name == "yuva420p"]
    assert len(alphas) == len(frames)
    for each in alphas[3:]:  # the first ones may be of the canvas before its first frame
        assert 0.03 < (each > 200).mean() < 0.97


@pytest.mark.parametrize("size", [(360, 740), (320, 568)])
def test_the_keyboard_on_a_narrow_screen(
    browser: Browser, client: Client, tmp_path: Path, size: tuple[int, int]
) -> None:
    with opened(browser, client) as page:
        page.resize(*size, mobile=True)
        page.downloads(tmp_path)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        page.press(" ")
        page.wait_for("trtmatte.frames >= 5", 60)
        page.press("m")
        assert page.evaluate("document.querySelector('#mirror').checked")
        page.press("s")
        downloaded(tmp_path, "trtmatte-*.png")
        page.press("r")
        page.wait_for("!document.querySelector('#recording').hidden")
        time.sleep(1)
        page.press("r")
        downloaded(tmp_path, "*.webm")
        page.press(" ")
        count = page.evaluate("trtmatte.frames")
        time.sleep(0.5)
        assert page.evaluate("trtmatte.frames") <= count + 2
        stops = []
        for _ in range(30):
            page.press("Tab")
            stops.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
        assert {"start", "open", "background", "mirror", "edges", "model", "camera"} <= set(stops)


def test_a_picture(browser: Browser, client: Client, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    path = tmp_path / "photograph.png"
    Image.fromarray(real_models.photograph()).save(path)
    with opened(browser, client) as page:
        page.choose("#file", path)
        page.wait_for("!document.querySelector('#download').hidden", 60)
        page.downloads(tmp_path / "downloads")
        page.click("#download")
        with Image.open(downloaded(tmp_path / "downloads", "*.png")) as image:
            shown = np.asarray(image)
    np.testing.assert_array_equal(shown, np.asarray(cut_out(path, model=real_models.model(MODEL))))


def test_a_token(browser: Browser) -> None:
    with running(token="open-sesame", streams=2) as client:
        page = browser.page(f"http://127.0.0.1:{client.port}/")
        page.wait_for("document.querySelector('#token-dialog').open")
        page.open(f"http://127.0.0.1:{client.port}/?again#token=open-sesame")
        page.wait_for("!document.querySelector('#start').disabled")
        assert "open-sesame" not in page.evaluate("location.href")
        start(page, 3)
        page.wait_for("document.querySelector('#device').textContent.startsWith('Runs on the CPU')")
        page.close()
