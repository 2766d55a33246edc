"""Audio that is encoded anew stays in time with the pictures: clicks are found where they were."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.media import films
from trtmatte.media.video import VideoSource

av = films.av
RATE = Fraction(25)
SECONDS = 3
CLICKS = [0.25 + 0.5 * number for number in range(2 * SECONDS)]
EXACT = 0.001  # seconds: a click has one, and codecs smear it
CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}


def clicking(path: Path, codec: str, rate: int = 48_000, layout: str = "stereo", delay: float = 0.0) -> Path:
    """A film with a click each half second; `delay` is the silence before the audio begins."""
    wave = np.zeros(SECONDS * rate, np.float32)
    for time in CLICKS:
        click = np.arange(rate // 1000)
        wave[int(time * rate) + click] = 0.9 * np.sin(click * 0.4 * 48_000 / rate)

    with av.open(str(path), "w") as file:
        video, audio = file.add_stream("libx264", rate=25), file.add_stream(codec, rate=rate, layout=layout)
        context = video.codec_context
        context.width, context.height, context.pix_fmt, context.time_base = 32, 24, "yuv420p", 1 / RATE
        for number in range(int(SECONDS * RATE)):
            frame = av.VideoFrame.from_ndarray(films.picture(number, 32, 24), "rgb24")
            frame.pts, frame.time_base = number, 1 / RATE
            file.mux(video.encode(frame))
        file.mux(video.encode())
        size = audio.codec_context.frame_size or 1024
        for start in range(0, len(wave), size):
            part = np.ascontiguousarray(wave[None, start : start + size].repeat(CHANNELS[layout], 0))
            sound = av.AudioFrame.from_ndarray(part, "fltp", layout)
            sound.sample_rate, sound.time_base, sound.pts = rate, Fraction(1, rate), start + int(delay * rate)
            file.mux(audio.encode(sound))
        file.mux(audio.encode())
    return path


def heard(path: Path) -> tuple[str, int, list[float]]:
    """The codec and the channels of the audio, and when it clicks."""
    clicks: list[float] = []
    with av.open(str(path)) as file:
        (audio,) = file.streams.audio
        for frame in file.decode(audio):
            samples = frame.to_ndarray()
            scale = np.iinfo(samples.dtype).max if samples.dtype.kind == "i" else 1
            first = samples[0] if frame.format.is_planar else samples[0][:: frame.layout.nb_channels]
            for sample in np.nonzero(np.abs(first / scale) > 0.2)[0]:
                time = float(frame.pts * frame.time_base) + sample / frame.sample_rate
                if not clicks or time > clicks[-1] + 0.1:
                    clicks.append(time)
        return audio.codec_context.codec.canonical_name, audio.layout.nb_channels, clicks


@pytest.mark.parametrize(
    ("name", "codec", "form", "out", "expected"),
    [
        ("a.mp4", "aac", {}, "b.webm", "opus"),
        ("a.mkv", "aac", {"rate": 44_100, "delay": 0.3}, "b.webm", "opus"),
        ("a.mov", "pcm_s16le", {}, "b.webm", "opus"),
        ("a.mov", "pcm_s16le", {}, "b.mp4", "aac"),
        ("a.mkv", "pcm_s16le", {"rate": 8000, "layout": "mono"}, "b.mp4", "aac"),
        ("a.mkv", "pcm_s24le", {"rate": 96_000, "layout": "5.1"}, "b.webm", "opus"),
        ("a.mkv", "flac", {}, "b.mov", "aac"),
        ("a.mkv", "flac", {}, "b.mp4", "flac"),
        ("a.mov", "pcm_s16le", {}, "b.mov", "pcm_s16le"),
        ("a.mov", "pcm_s16le", {}, "b.mkv", "pcm_s16le"),
    ],
)
def test_clicks_stay_where_they_are(
    name: str, codec: str, form: dict[str, Any], out: str, expected: str, tmp_path: Path
) -> None:
    source = VideoSource(clicking(tmp_path / name, codec, **form))
    films.through(source, tmp_path / out)
    found, channels, clicks = heard(tmp_path / out)
    assert (found, channels) == (expected, CHANNELS[form.get("layout", "stereo")])
    assert clicks == pytest.approx([time + form.get("delay", 0.0) for time in CLICKS], abs=EXACT)


@pytest.mark.parametrize(("name", "codec", "out"), [("a.mov", "pcm_s16le", "b.mp4"), ("a.mp4", "aac", "b.webm")])
def test_clicks_of_a_part(name: str, codec: str, out: str, tmp_path: Path) -> None:
    source = VideoSource(clicking(tmp_path / name, codec), start=Fraction(9, 10), end=Fraction(22, 10))
    after = films.through(source, tmp_path / out)
    first = Fraction(23, 25)  # the first frame that begins after the start
    assert (after.times[0], len(after.times)) == (0, 32)
    expected = [time - float(first) for time in CLICKS if first <= time < 2.2]
    assert heard(tmp_path / out)[2] == pytest.approx(expected, abs=EXACT)


def test_clicks_of_a_film_that_is_stopped(tmp_path: Path) -> None:
    source = VideoSource(clicking(tmp_path / "a.mp4", "aac"))
    after = films.through(source, tmp_path / "b.webm", whole=False, limit=25)
    assert heard(tmp_path / "b.webm")[2] == pytest.approx([0.25, 0.75], abs=EXACT)
    assert 0.9 < after.others["audio"][-1][0] < 1.02


def test_a_damaged_packet_is_left_out(tmp_path: Path) -> None:
    """The rest stays in time."""
    path = clicking(tmp_path / "a.mp4", "aac")
    with av.open(str(path)) as file:
        (packet, *_) = [each for each in file.demux(audio=0) if each.pts and each.pts > 60_000]
        place, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    films.through(VideoSource(path), tmp_path / "b.webm")
    clicks = heard(tmp_path / "b.webm")[2]
    assert clicks[-2:] == pytest.approx(CLICKS[-2:], abs=EXACT)
