"""The codecs of videos, and the file formats that can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trtmatte.errors import SettingError
from trtmatte.support.options import option

__all__ = ["CODECS", "CONTAINERS", "Codec", "Encoding", "encoding", "is_video"]

_MBPS: Final = "output_video_mbps"
_MOST_MBPS: Final = 4000  # NVENC counts bits in 32 bits

CONTAINERS: Final = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg. `quality` and `speed` are its names for `crf` and `preset`; `crf` goes up to `worst`."""

    encoder: str
    opaque: str  # pixel formats
    alpha: str = ""
    containers: tuple[str, ...] = ("mp4", "mov", "matroska")
    quality: str = ""
    crf: int = 0
    worst: int = 51
    speed: str = "preset"
    preset: str = ""
    presets: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    alpha_options: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""  # in MP4 and MOV
    even: bool = True  # sizes, because of how colours are stored
    fields: int = 0  # interlaced frames have a height that this divides; 0: they cannot be stored


_X26_PRESETS: Final = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"),
)
_NVENC_PRESETS: Final = tuple(f"p{number}" for number in range(1, 8))
_VP9_PRESETS: Final = tuple(map(str, range(-8, 9)))

# x264's own default, medium, takes more than twice the time of veryfast, for files of about the same size and quality
# (the clip of the benchmark at 720p and crf 18), and mattes should not wait for the encoder. At crf 18, most people see
# no difference from the source.
CODECS: Final = {
    "h264": Codec("libx264", "yuv420p", quality="crf", crf=18, preset="veryfast", presets=_X26_PRESETS, fields=4),
    "h265": Codec(
        "libx265",
        "yuv420p",
        quality="crf",
        crf=20,
        preset="veryfast",
        presets=_X26_PRESETS,
        options={"x265-params": "log-level=error"},
        tag="hvc1",
    ),
    "h264-nvenc": Codec(
        "h264_nvenc", "yuv420p", quality="cq", crf=20, preset="p4", presets=_NVENC_PRESETS, options={"rc": "vbr"}
    ),
    "h265-nvenc": Codec(
        "hevc_nvenc",
        "yuv420p",
        quality="cq",
        crf=22,
        preset="p4",
        presets=_NVENC_PRESETS,
        options={"rc": "vbr"},
        tag="hvc1",
    ),
    "prores": Codec(
        "prores_ks",
        "yuv422p10le",
        "yuva444p10le",
        containers=("mov", "matroska"),
        options={"profile": "hq", "vendor": "apl0"},
        alpha_options={"profile": "4444"},
        fields=2,
    ),
    "vp9": Codec(
        "libvpx-vp9",
        "yuv420p",
        "yuva420p",
        containers=("webm", "matroska", "mp4"),
        quality="crf",
        crf=24,
        worst=63,
        speed="cpu-used",
        preset="5",
        presets=_VP9_PRESETS,
        options={"deadline": "good", "row-mt": "1"},
        even=False,
    ),
}


@dataclass(frozen=True)
class Encoding:
    """The settings for writing a video."""

    codec: Codec
    container: str
    pixels: str
    options: Mapping[str, str]
    bit_rate: int = 0

    @property
    def even(self) -> bool:
        return self.codec.even and "444" not in self.pixels

    @property
    def has_alpha(self) -> bool:
        return self.pixels == self.codec.alpha


def is_video(place: str | Path) -> bool:
    """Report if a file of this name is a video."""
    return Path(place).suffix.lower() in CONTAINERS


def encoding(
    place: Path,
    *,
    alpha: bool = False,
    codec: str | None = None,
    mbps: float | None = None,
    crf: int | None = None,
    preset: str | None = None,
) -> Encoding:
    """The encoding of a file of this name. Without a `codec`, the name decides."""
    container = CONTAINERS[place.suffix.lower()]
    name = codec or ("vp9" if container == "webm" else "prores" if alpha else "h264")
    if name not in CODECS:
        raise SettingError(f"{option('codec')} is {name!r}; expected {', '.join(CODECS)}")
    chosen = CODECS[name]
    holders = [suffix for suffix, each in CONTAINERS.items() if each in chosen.containers]
    if alpha and (not chosen.alpha or container == "mp4"):
        raise SettingError(
            f"{place} cannot hold an alpha channel{f' as {codec}' if codec else ''}; give it the suffix .mov (ProRes "
            "4444) or .webm (VP9), or the name of a folder (PNG)"
        )
    if container not in chosen.containers:
        raise SettingError(
            f"{place} cannot hold {name}; give it the suffix {' or '.join(holders)}, or leave {option('codec')} out"
        )
    options = {**chosen.options, **(chosen.alpha_options if alpha else {})}
    if not chosen.quality and (mbps, crf, preset) != (None, None, None):
        raise SettingError(f"{name} has neither bit rate nor crf nor preset; leave them out")
    if mbps is not None and crf is not None:
        raise SettingError(
            f"{option(_MBPS)} and {option('crf')} are both given; one decides the size of the file, "
            "the other its quality"
        )
    if mbps is not None and not 0 < mbps <= _MOST_MBPS:
        raise SettingError(f"{option(_MBPS)} is {mbps!r}; expected megabits a second, above 0 and at most {_MOST_MBPS}")
    if crf is not None and not 0 <= crf <= chosen.worst:
        raise SettingError(f"{option('crf')} is {crf!r}; expected 0…{chosen.worst} for {name}")
    if preset and preset not in chosen.presets:
        raise SettingError(f"{option('preset')} is {preset!r}; expected {', '.join(chosen.presets)} for {name}")
    if chosen.quality and mbps is None:
        options[chosen.quality] = str(chosen.crf if crf is None else crf)
    if preset or chosen.preset:
        options[chosen.speed] = preset or chosen.preset
    pixels = chosen.alpha if alpha else chosen.opaque
    return Encoding(chosen, container, pixels, options, 0 if mbps is None else round(mbps * 1e6))
