"""The subjects of the races: models at sizes, in groups that answer one question each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from trtmatte.support.cache_folder import private_folder

GREEN: Final = (120, 255, 155)
QUESTIONS: Final = {
    "frame": "frame to composite: a uint8 picture in, a uint8 picture over a colour out, both in the host's memory",
    "tensor": "tensor to tensor: float planes in, float planes out, where the contender has them",
    "device": "as frame to composite, with both pictures on the device: transfers excluded",
}

Size = tuple[int, int]


@dataclass(frozen=True)
class Subject:
    """A model at a size. `scale` is RVM's downsample ratio or BackgroundMattingV2's backbone scale."""

    name: str
    model: str
    width: int
    height: int
    scale: float = 1.0
    sample_pixels: int = 0
    batch: int = 1
    streams: int = 1  # sessions on threads of their own
    real: bool = False  # the published weights, not stand-ins
    group: str = "models"
    contenders: tuple[str, ...] = ()  # left out: all
    questions: tuple[str, ...] = ("frame", "tensor")
    full_only: bool = False

    @property
    def family(self) -> str:
        return {"u2netp": "u2net"}.get(head := self.model.split("_")[0], head)

    @property
    def alpha_alone(self) -> bool:
        """Report if the network makes an alpha of a small picture, and no foreground."""
        return self.family in ("modnet", "u2net", "birefnet")

    @property
    def network_size(self) -> Size:
        """The size of tensors for networks that never see the frame's size: MODNet, U-2-Net, BiRefNet."""
        if self.family == "modnet":
            from trtmatte.compiler.families.modnet.spec import default_size

            return default_size((self.width, self.height))
        own = {"u2net": (320, 320), "birefnet": (1024, 1024)}
        return own.get(self.family, (self.width, self.height))

    def picture(self, seed: int) -> np.ndarray[Any, Any]:
        """A frame `[B,H,W,3]` or `[H,W,3]`: a person for published weights, which find nothing in other pictures.

        For stand-in weights, smooth colours, so that different resampling methods give similar results.
        """
        if self.real:
            frames = np.stack([self._person(seed + stream) for stream in range(self.batch)])
            return frames if self.batch > 1 else frames[0]
        corners = np.random.default_rng(seed).random((self.batch, *_GRID, 3), np.float32) * 255
        frames = np.einsum("yr,xc,brcn->byxn", _ramps(self.height, 0), _ramps(self.width, 1), corners, optimize=True)
        frames = np.ascontiguousarray(frames.round().astype(np.uint8))
        return frames if self.batch > 1 else frames[0]

    def _person(self, seed: int) -> np.ndarray[Any, Any]:
        """A part of the photograph, different for each seed."""
        photograph = np.load(photograph_path())
        shown = (photograph.shape[1] - 64) * self.height // self.width  # rows
        rows = 4 * (seed % 16) + np.arange(self.height) * shown // self.height
        columns = 4 * (seed % 16) + np.arange(self.width) * (photograph.shape[1] - 64) // self.width
        return np.ascontiguousarray(photograph[rows[:, None] % len(photograph), columns])

    def planes(self, seed: int) -> np.ndarray[Any, Any]:
        """The same for tensors: float32 `[B,3,h,w]`, 0…1."""
        width, height = self.network_size
        frames = replace(self, width=width, height=height).picture(seed)
        return np.ascontiguousarray(frames.reshape(-1, height, width, 3).transpose(0, 3, 1, 2), np.float32) / 255

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Subject:
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})


def photograph_path() -> Path:
    return private_folder("benchmarks") / "photograph.npy"


_GRID: Final = (10, 17)  # places at which a picture's colours are chosen


def _ramps(length: int, axis: int) -> np.ndarray[Any, Any]:
    """The weights for interpolating the grid linearly at each pixel."""
    places = _GRID[axis]
    pixels = np.linspace(0, places - 1, length)
    return np.stack([np.interp(pixels, np.arange(places), each) for each in np.eye(places)], 1).astype(np.float32)


_SIZES: Final = {"720p": (1280, 720, 0.375), "1080p": (1920, 1080, 0.25), "4k": (3840, 2160, 0.125)}
"""With the ratios that RVM's documents give for people from the chest up."""

_NAIVE: Final = ("onnxruntime-loop", "torch-eager")


def _rvm(backbone: str, size: str, **options: Any) -> Subject:
    width, height, scale = _SIZES[size]
    name = f"rvm-{backbone}-{size}"
    return Subject(name, f"rvm_{backbone}", width, height, scale, real=backbone == "mobilenetv3", **options)


def _bgmv2(backbone: str, size: str, **options: Any) -> Subject:
    width, height, scale, pixels = {"hd": (1920, 1080, 0.25, 80_000), "4k": (3840, 2160, 0.125, 320_000)}[size]
    return Subject(f"bgmv2-{backbone}-{size}", f"bgmv2_refine_{backbone}", width, height, scale, pixels, **options)


_MODELS: Final = (
    *(_rvm("mobilenetv3", size) for size in _SIZES),
    *(_rvm("resnet50", size, full_only=True) for size in _SIZES),
    *(
        _bgmv2(backbone, size, full_only=(backbone, size) != ("mobilenetv2", "hd"))
        for backbone in ("mobilenetv2", "resnet50")
        for size in ("hd", "4k")
    ),
    Subject("modnet-512", "modnet", 1920, 1080),
    Subject("u2net-320", "u2net", 1920, 1080, full_only=True),
    Subject("u2netp-320", "u2netp", 1920, 1080, real=True),
    Subject(
        "birefnet-lite-1024",
        "birefnet_swin_t",
        1920,
        1080,
        contenders=("trtmatte", *_NAIVE),
        questions=("frame",),
        full_only=True,
    ),
)


def _scaling() -> tuple[Subject, ...]:
    """Subjects for curves of RVM: over frame sizes with a fixed network size, streams and batches."""
    base = replace(_rvm("mobilenetv3", "1080p"), questions=("frame",), full_only=True)
    sizes = [(1280, 720), (1920, 1080), (2560, 1440), (3840, 2160), (7680, 4320)]
    return (
        *(
            replace(
                base,
                name=f"size-{width}x{height}",
                group="size",
                width=width,
                height=height,
                scale=480 / width,
                contenders=("trtmatte", *(_NAIVE if width <= 3840 else _NAIVE[:1])),
            )
            for width, height in sizes
        ),
        *(
            replace(base, name=f"streams-{count}", group="streams", streams=count, contenders=("trtmatte",))
            for count in (1, 2, 4)
        ),
        *(
            replace(base, name=f"batch-{count}", group="batch", batch=count, contenders=("trtmatte", "torch-eager"))
            for count in (1, 2, 4)
        ),
    )


def _quick() -> tuple[Subject, ...]:
    """Tiny subjects with stand-in weights, to show that everything runs. Their times mean nothing."""
    contenders = ("trtmatte", "torch-eager", "onnxruntime-loop")
    rvm = Subject("rvm-quick", "rvm_mobilenetv3", 256, 144, 0.5, contenders=contenders, questions=tuple(QUESTIONS))
    streams = replace(rvm, name="streams-2", streams=2, group="streams", contenders=("trtmatte",), questions=("frame",))
    return rvm, streams


def subjects(selection: str, device: str = "cpu") -> tuple[Subject, ...]:
    """The subjects of a run: `quick`, `standard` or `full`. A GPU runs them all, with one more question."""
    if selection == "quick":
        chosen: Sequence[Subject] = _quick()
    else:
        everything = selection == "full" or device != "cpu"
        chosen = [each for each in (*_MODELS, *_scaling()) if everything or not each.full_only]
    if device == "cpu":
        return tuple(chosen)
    return tuple(replace(each, questions=tuple(dict.fromkeys([*each.questions, "device"]))) for each in chosen)
