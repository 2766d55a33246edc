"""The server under load: pictures at 64 at a time, then live streams that join and leave; nothing lost or mixed up.

`python -m benchmarks.serve` prints the report; `--requests`, `--minutes`, `--streams` make it longer or shorter.

Pictures: the same ones pass through `trtmatte.cut_out` in a loop of this process first, and the server's answers must
be the same bytes. Streams: each mattes a film of its own, for a time of its own; afterwards the alphas of each are
compared with those of a session that sees the same frames. The clients share the cores with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import trtmatte
from benchmarks import machine
from trtmatte.media import colour, still
from trtmatte.media.frame_packets import PacketDecoder

Pixels = NDArray[np.uint8]

_PORTRAIT: Final = Path(__file__).parents[1] / "docs" / "portrait.jpg"
_MODEL: Final = "rvm-mobilenetv3"
_KINDS: Final = 16  # different pictures
_PICTURE: Final = (256, 192)
_FRAME: Final = (320, 180)
_ABREAST: Final = 64
_LOOP: Final = 200  # pictures of the plain loop, before and after
_HEADER: Final = struct.Struct("<IBBBxHHI")
_ANSWER: Final = struct.Struct("<IBBxxHHIIf")


@dataclass
class Memory:
    """The memory of the server over time."""

    port: int
    seen: list[float] = field(default_factory=list)

    async def watch(self) -> None:
        while True:
            self.seen.append(await asyncio.to_thread(resident, self.port))
            await asyncio.sleep(2)

    def __str__(self) -> str:
        """The mean of the second tenth of the time, when everything is loaded, and that of the last one."""
        tenth = max(1, len(self.seen) // 10)
        early, late = (float(np.mean(part)) for part in (self.seen[tenth : 2 * tenth] or self.seen, self.seen[-tenth:]))
        return f"memory {early / 2**20:.0f} MiB, at the end {late / 2**20:.0f} MiB ({late / early - 1:+.1%})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Load a server, and tell what it does.")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--streams", type=int, default=20)
    args = parser.parse_args(arguments)
    print(f"{machine.processor()}, {machine.processors()} cores")
    files = [jpeg(each) for each in pictures()]
    before, expected = loop(files)
    with server(args.streams) as port:
        memory = Memory(port)
        rate, latencies = asyncio.run(ask(port, files, expected, args.requests, memory))
        print(
            f"{args.requests} pictures of {_PICTURE[0]}x{_PICTURE[1]}, {_ABREAST} at a time: {rate:.1f} a second, "
            f"p50 {percentile(latencies, 50):.0f} ms, p95 {percentile(latencies, 95):.0f} ms, all as expected; {memory}"
        )
        memory = Memory(port)
        seen = asyncio.run(stream(port, args.streams, args.minutes * 60, memory))
        frames, dropped = sum(len(each.matted) for each in seen), sum(each.dropped for each in seen)
        latencies = [value for each in seen for value in each.latencies]
        print(
            f"{args.streams} streams at a time, {len(seen)} in all, {args.minutes:g} minutes: "
            f"{frames / args.minutes / 60:.1f} frames a second, {dropped} gave way to newer ones, "
            f"p50 {percentile(latencies, 50):.0f} ms, p95 {percentile(latencies, 95):.0f} ms; {memory}"
        )
    after, _ = loop(files)
    plain = (before + after) / 2
    print(f"a plain loop in one process: {plain:.1f} pictures a second; the server reaches {rate / plain:.2f} of it")
    print(f"{check(seen)} frames of {len(seen)} streams are those of their own sessions")
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


def pictures() -> Iterator[Pixels]:
    """Parts of a portrait, all different."""
    with Image.open(_PORTRAIT) as portrait:
        whole = portrait.convert("RGB")
    width, height = whole.size
    for number in range(_KINDS):
        left, top = width * number // 64, height * number // 64
        yield np.asarray(whole.crop((left, top, width, height)).resize(_PICTURE))


def jpeg(pixels: Pixels) -> bytes:
    return still.encoded(pixels, "jpeg")


def loop(files: Sequence[bytes]) -> tuple[float, list[bytes]]:
    """Cut pictures out one after the other. Returns pictures a second, and the results."""
    results = [trtmatte.cut_out(each, model=_MODEL, safe=True) for each in files]
    began = time.perf_counter()
    for number in range(_LOOP):
        trtmatte.cut_out(files[number % len(files)], model=_MODEL, safe=True)
    return _LOOP / (time.perf_counter() - began), results


async def ask(
    port: int, files: Sequence[bytes], expected: Sequence[bytes], count: int, memory: Memory
) -> tuple[float, list[float]]:
    """Send pictures on many connections. Returns answers a second, and milliseconds."""
    requests = [request(each) for each in files]
    latencies: list[float] = []
    numbers = iter(range(count))

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            began = time.perf_counter()
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            body = await reader.readexactly(int(length[1]))
            if not head.startswith(b"HTTP/1.1 200"):
                raise AssertionError(f"request {number} was answered {head!r} {body!r}")
            if body != expected[number % len(expected)]:
                raise AssertionError(f"request {number} got another picture")
            latencies.append(1000 * (time.perf_counter() - began))
        writer.close()

    watching = asyncio.create_task(memory.watch())
    began = time.perf_counter()
    await asyncio.gather(*(one_connection() for _ in range(_ABREAST)))
    seconds = time.perf_counter() - began
    watching.cancel()
    assert len(latencies) == count
    return count / seconds, latencies


def request(file: bytes) -> bytes:
    boundary = b"an-end-of-a-part"
    body = (b"--" + boundary + b'\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + file) + (
        b"\r\n--" + boundary + b"--\r\n"
    )
    head = (
        f"POST /api/remove HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary.decode()}\r\n\r\n"
    )
    return head.encode() + body


# ---------------------------------------------------------------------------------------------------------------------
# Streams


@dataclass
class Seen:
    """A stream as its client saw it: the numbers of the frames that were matted, and what came."""

    seed: int
    matted: list[tuple[int, bytes]] = field(default_factory=list)
    dropped: int = 0
    latencies: list[float] = field(default_factory=list)


def frame(seed: int, number: int) -> bytes:
    """A frame of a stream's film, in I420: a portrait that moves, with noise that no other frame has."""
    rng = np.random.default_rng((seed, number))
    planes = np.roll(_film(), 2 * number + seed, axis=1).astype(np.int16)
    planes += rng.integers(-4, 5, planes.shape, np.int16)
    width, height = _FRAME
    luma = np.clip(planes, 0, 255).astype(np.uint8)
    small = np.full(width * height // 2, 128, np.uint8)
    return luma.tobytes() + small.tobytes()


_films: list[Pixels] = []


def _film() -> Pixels:
    if not _films:
        with Image.open(_PORTRAIT) as portrait:
            _films.append(np.asarray(portrait.convert("L").resize(_FRAME)))
    return _films[0]


async def stream(port: int, count: int, seconds: float, memory: Memory) -> list[Seen]:
    """Keep so many streams going for a time. Each lasts a while, and then another one joins."""
    end = time.perf_counter() + seconds
    seeds = iter(range(1_000_000))
    seen: list[Seen] = []
    rng = random.Random(0)

    async def one_slot() -> None:
        while (left := end - time.perf_counter()) > 0:
            each = Seen(next(seeds))
            seen.append(each)
            await one_stream(port, each, min(left, rng.uniform(2, 40)), rng)

    watching = asyncio.create_task(memory.watch())
    await asyncio.gather(*(one_slot() for _ in range(count)))
    watching.cancel()
    return seen


async def one_stream(port: int, seen: Seen, seconds: float, rng: random.Random) -> None:
    from websockets.asyncio.client import connect

    async with connect(f"ws://127.0.0.1:{port}/api/live", max_size=None, compression=None) as socket:
        await socket.send(json.dumps({"codec": "i420", "alpha": "raw"}))
        assert json.loads(await socket.recv())["ready"]
        end, number = time.perf_counter() + seconds, 0
        sent: dict[int, float] = {}
        while sent or time.perf_counter() < end:
            most = rng.choice((1, 2, 3))  # with three, one gives way
            while len(sent) < most and time.perf_counter() < end:
                header = _HEADER.pack(number, 1, 0, 1, *_FRAME, 0)
                sent[number] = time.perf_counter()
                await socket.send(header + frame(seen.seed, number))
                number += 1
            if sent:
                answer = await socket.recv()
                assert isinstance(answer, bytes)
                first, status, _, _, _, size, _, _ = _ANSWER.unpack_from(answer)
                began = sent.pop(first)
                if status:
                    seen.dropped += 1
                else:
                    assert len(answer) == _ANSWER.size + size
                    seen.latencies.append(1000 * (time.perf_counter() - began))
                    seen.matted.append((first, digest(answer[_ANSWER.size :])))


def check(streams: Sequence[Seen]) -> int:
    """Compare all streams with sessions of their own. Returns the number of frames."""
    engine = trtmatte.build(_MODEL, size=_FRAME)
    decode = PacketDecoder("i420")
    count = 0
    with engine.session(outputs="pha") as session:
        for each in streams:
            session.reset()
            for number, expected in each.matted:
                pixels = decode(frame(each.seed, number), _FRAME, is_key=True, matrix=colour.SD, full_range=True)
                if digest(np.asarray(session(pixels).pha).tobytes()) != expected:
                    raise AssertionError(f"frame {number} of stream {each.seed} is not that of its own session")
                count += 1
    return count


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


# ---------------------------------------------------------------------------------------------------------------------
# The server


@contextmanager
def server(streams: int) -> Iterator[int]:
    command = [sys.executable, "-m", "trtmatte", "serve", "--port", "0", "--streams", str(streams)]
    process = subprocess.Popen([*command, "--queue", str(2 * _ABREAST)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stderr.readline())
        assert found is not None
        port = int(found[1])
        wait(lambda: bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)), 120)
        yield port
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()


def wait(holds: Callable[[], bool], seconds: float) -> None:
    end = time.perf_counter() + seconds
    while True:
        try:
            if holds():
                return
        except OSError:
            if time.perf_counter() > end:
                raise
        time.sleep(0.1)


def resident(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        found = re.search(rb"^process_resident_memory_bytes (\S+)", answer.read(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def percentile(values: Sequence[float], which: float) -> float:
    return float(np.percentile(values, which)) if values else 0.0


if __name__ == "__main__":
    sys.exit(main())
