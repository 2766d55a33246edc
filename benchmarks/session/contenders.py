"""What races: each opens itself for a subject, and then mattes uint8 frames over green into uint8 pictures."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

GREEN: Final = (120, 255, 155)
SAMPLE_PIXELS: Final = 80_000


@dataclass(frozen=True)
class Subject:
    """A model at a size. `scale` is RVM's downsample ratio, BackgroundMattingV2's backbone scale."""

    model: str
    width: int
    height: int
    scale: float

    def picture(self, seed: int) -> np.ndarray:
        """A blocky one: smooth enough to be seen at the small size."""
        rng = np.random.default_rng(seed)
        blocks = rng.integers(0, 256, (self.height // 8, self.width // 8, 3), dtype=np.uint8)
        return np.ascontiguousarray(blocks.repeat(8, 0).repeat(8, 1))


Matting = Callable[[np.ndarray], Any]
Opener = Callable[[Subject], Matting]


def documents_loop(subject: Subject) -> Matting:
    """RVM's official file in ONNX Runtime as its documents show, states fed back, numpy before and after."""
    import onnxruntime

    session = onnxruntime.InferenceSession(_rvm_file(), providers=["CPUExecutionProvider"])
    rec = [np.zeros((1, 1, 1, 1), np.float32)] * 4
    downsample_ratio = np.array([subject.scale], np.float32)
    green = np.array(GREEN, np.float32).reshape(3, 1, 1) / 255

    def matte(frame: np.ndarray) -> np.ndarray:
        nonlocal rec
        src = (frame.astype(np.float32) / 255).transpose(2, 0, 1)[None]
        names = ("r1i", "r2i", "r3i", "r4i")
        feed = {"src": src, **dict(zip(names, rec, strict=True)), "downsample_ratio": downsample_ratio}
        fgr, pha, *rec = session.run([], feed)
        composite = fgr[0] * pha[0] + green * (1 - pha[0])
        return (composite * 255).astype(np.uint8).transpose(1, 2, 0)

    return matte


def torch_eager(subject: Subject) -> Matting:
    """The same network in PyTorch, as its documents show. Its weights are stand-ins: far from denormal numbers."""
    import torch

    network = _stand_in(subject.model)
    green = torch.tensor(GREEN).view(3, 1, 1) / 255
    rec: list[Any] = [None] * 4
    background = _planes(subject.picture(9))

    def rvm(src: Any) -> tuple[Any, Any]:
        nonlocal rec
        fgr, pha, *rec = network(src, *rec, downsample_ratio=subject.scale)
        return fgr, pha

    def bgmv2(src: Any) -> tuple[Any, Any]:
        pha, fgr, *_ = network(src, background)
        return fgr, pha

    run = rvm if subject.model.startswith("rvm") else bgmv2

    def matte(frame: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            fgr, pha = run(_planes(frame))
            composite = fgr * pha + green * (1 - pha)
            return composite[0].mul(255).byte().permute(1, 2, 0).numpy()

    return matte


def session(backend: str) -> Opener:
    def open_one(subject: Subject) -> Matting:
        options = {"background": subject.picture(9)} if subject.model.startswith("bgmv2") else {}
        engine = _engine(subject)
        return engine.session(backend=backend, outputs=("composite",), backdrop=GREEN, **options)

    return open_one


def bare_network(backend: str) -> Opener:
    """The network stage alone, bound as a session binds it, its states going round."""

    def open_one(subject: Subject) -> Matting:
        from trtmatte import backends

        engine = _engine(subject)
        (stage,) = engine.program.networks
        network = backends.networks(engine, backend, 0)[stage.name]
        tensors = {name: np.zeros(each.shape, each.dtype) for name, each in engine.program.tensors.items()}
        tensors["src_sm"][:] = np.random.default_rng(0).random(tensors["src_sm"].shape)
        swapped = {f"r{level}{a}": tensors[f"r{level}{b}"] for level in range(1, 5) for a, b in ("io", "oi")}
        runs = [
            network.bind({name: side[name] for name in stage.inputs}, {name: side[name] for name in stage.outputs})
            for side in (tensors, {**tensors, **swapped})
        ]

        def matte(frame: np.ndarray) -> None:
            runs.reverse()
            runs[0]()

        return matte

    return open_one


SESSIONS: Final = {"openvino": session("openvino"), "onnxruntime": session("onnxruntime")}
RVM: Final = {
    "documents": documents_loop,
    **SESSIONS,
    "openvino bare": bare_network("openvino"),
    "onnxruntime bare": bare_network("onnxruntime"),
}
STAND_IN: Final = {"torch": torch_eager, **SESSIONS}

SUBJECTS: Final[dict[str, tuple[Subject, dict[str, Opener]]]] = {
    "rvm-hd": (Subject("rvm", 1920, 1080, 0.25), RVM),
    "rvm-4k": (Subject("rvm", 3840, 2160, 0.125), RVM),
    "rvm-hd-torch": (Subject("rvm_mobilenetv3", 1920, 1080, 0.25), STAND_IN),
    "rvm-4k-torch": (Subject("rvm_mobilenetv3", 3840, 2160, 0.125), STAND_IN),
    "bgmv2-hd-torch": (Subject("bgmv2_refine_mobilenetv2", 1920, 1080, 0.25), STAND_IN),
}
"""The real RVM, and networks with stand-in weights, which PyTorch has as well."""


def _rvm_file() -> str:
    from trtmatte import store

    return str(store.pull("rvm-mobilenetv3"))


def _stand_in(model: str) -> Any:
    from tests import reference

    options = {"refine_sample_pixels": SAMPLE_PIXELS} if model.startswith("bgmv2") else {}
    return reference.network(model, **options)


def _planes(frame: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255


def _engine(subject: Subject) -> Any:
    import trtmatte

    settings: dict[str, Any] = {"downsample_ratio": subject.scale}
    if subject.model.startswith("bgmv2"):
        settings = {"backbone_scale": subject.scale, "refine_sample_pixels": SAMPLE_PIXELS}
    build = functools.partial(trtmatte.build, size=(subject.width, subject.height), target="onnxruntime", **settings)
    if subject.model == "rvm":
        return build(_rvm_file())
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(_stand_in(subject.model).state_dict(), path)
        return build(path)
