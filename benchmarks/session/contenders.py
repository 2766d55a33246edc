"""What races: each opens itself on a size, and then mattes a uint8 frame over green into a uint8 picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

GREEN: Final = (120, 255, 155)
SIZES: Final = {"hd": (1920, 1080, 0.25), "4k": (3840, 2160, 0.125)}

Matting = Callable[[np.ndarray], Any]


def documents_loop(width: int, height: int, ratio: float) -> Matting:
    """The official file in ONNX Runtime as its documents show, states fed back, numpy before and after."""
    import onnxruntime

    session = onnxruntime.InferenceSession(_model(), providers=["CPUExecutionProvider"])
    rec = [np.zeros((1, 1, 1, 1), np.float32)] * 4
    downsample_ratio = np.array([ratio], np.float32)
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


def torch_eager(width: int, height: int, ratio: float) -> Matting:
    """The same network in PyTorch, as its documents show. Its weights are stand-ins: far from denormal numbers."""
    import torch

    from tests import reference

    network = reference.network("rvm_mobilenetv3")
    rec = [None] * 4
    green = torch.tensor(GREEN).view(3, 1, 1) / 255

    def matte(frame: np.ndarray) -> np.ndarray:
        nonlocal rec
        with torch.inference_mode():
            src = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
            fgr, pha, *rec = network(src, *rec, downsample_ratio=ratio)
            composite = fgr * pha + green * (1 - pha)
            return composite[0].mul(255).byte().permute(1, 2, 0).numpy()

    return matte


def session(backend: str) -> Callable[[int, int, float], Matting]:
    def open_one(width: int, height: int, ratio: float) -> Matting:
        return _engine(width, height, ratio).session(backend=backend, outputs=("composite",), backdrop=GREEN)

    return open_one


def bare_network(backend: str) -> Callable[[int, int, float], Matting]:
    """The network stage alone, bound as a session binds it, its states going round."""

    def open_one(width: int, height: int, ratio: float) -> Matting:
        from trtmatte import backends

        engine = _engine(width, height, ratio)
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


CONTENDERS: Final[dict[str, Callable[[int, int, float], Matting]]] = {
    "documents": documents_loop,
    "torch": torch_eager,
    "openvino": session("openvino"),
    "onnxruntime": session("onnxruntime"),
    "openvino bare": bare_network("openvino"),
    "onnxruntime bare": bare_network("onnxruntime"),
}


def _model() -> str:
    from trtmatte import store

    return str(store.pull("rvm-mobilenetv3"))


def _engine(width: int, height: int, ratio: float) -> Any:
    from trtmatte.engine import Engine
    from trtmatte.families import importing
    from trtmatte.graph import cpu
    from trtmatte.graph.cut import cut

    program, models = cut(importing.read(_model(), size=(width, height), downsample_ratio=ratio))
    networks = {stage.name: model for stage, model in zip(program.networks, models, strict=True)}
    whole = {name: model.SerializeToString() for name, model in networks.items()}
    return Engine.of(program, whole, plans=cpu.plan(networks))
