"""Glass to glass: the time from a frame's arrival in the live page until its composite is drawn, beside the network's.

`python -m benchmarks.page` starts a server and a headless Chromium, whose camera shows a film of a person at 720p, and
prints a table. `--pictures FOLDER` writes pictures of the page there, for docs/serve.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from benchmarks import machine
from benchmarks.serve import server
from tests import real_models
from tests.browser import Browser, Page
from tests.serve.camera import write_camera

_SIZE: Final = (1280, 720)
_WAYS: Final = {"i420, raw alpha": "?measure", "vp8, PNG alpha": "?codec=vp8&alpha=png&measure"}
_SECONDS: Final = 20


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time the live page.")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    parser.add_argument("--rate", type=int, default=30, help="frames that the camera shows in a second")
    args = parser.parse_args(arguments)
    print(f"{machine.processor()}, {machine.processors()} cores; the browser draws without a GPU\n")
    print("| way | frames a second | glass to glass p50 | p95 | network and matte p50 | p95 | beside it p50 | p95 |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder, server(4) as port:
        camera = Path(folder) / "camera.y4m"
        write_camera(camera, real_models.clip(*_SIZE), args.rate)
        with Browser(camera) as browser:
            for way, query in _WAYS.items():
                page = browser.page(f"http://127.0.0.1:{port}/{query}")
                print(f"| {way} | {' | '.join(measured(page))} |", flush=True)
                page.close()
            if args.pictures:
                take_pictures(browser, port, args.pictures)
    return 0


def measured(page: Page) -> list[str]:
    """The columns of a way."""
    page.wait_for("!document.querySelector('#start').disabled", 60)
    page.click("#start")
    page.wait_for("trtmatte.frames > 30", 60)
    before, began = page.evaluate("trtmatte.frames"), time.perf_counter()
    time.sleep(_SECONDS)
    rate = (page.evaluate("trtmatte.frames") - before) / (time.perf_counter() - began)
    both = np.array(page.evaluate("trtmatte.times"))
    page.click("#start")
    glass, network = both[30:].T
    found = [rate]
    for values in (glass, network, glass - network):
        found += [float(each) for each in np.percentile(values, (50, 95))]
    return [f"{found[0]:.1f}", *(f"{each:.1f} ms" for each in found[1:])]


def take_pictures(browser: Browser, port: int, folder: Path) -> None:
    """Write `serve-page.jpg`: the page on a desk, and beside it on a telephone."""
    page = browser.page(f"http://127.0.0.1:{port}/")
    page.resize(1280, 860)
    page.wait_for("!document.querySelector('#start').disabled", 60)
    page.click("input[value=colour]")
    page.click("#start")
    page.wait_for("trtmatte.frames > 60", 60)
    page.evaluate("document.querySelector('#camera').selectedOptions[0].textContent = 'Camera'")  # not a file's name
    shots = []
    for width, height, is_mobile in ((1280, 860, False), (396, 860, True)):
        page.resize(width, height, is_mobile)
        time.sleep(1)
        path = folder / "shot.png"
        page.screenshot(path)
        with Image.open(path) as shot:
            shots.append(shot.convert("RGB"))
        path.unlink()
    sheet = Image.new("RGB", (sum(each.width for each in shots) + 16, 860), "white")
    sheet.paste(shots[0], (0, 0))
    sheet.paste(shots[1], (shots[0].width + 16, 0))
    sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.LANCZOS).save(
        folder / "serve-page.jpg", quality=80
    )


if __name__ == "__main__":
    sys.exit(main())
