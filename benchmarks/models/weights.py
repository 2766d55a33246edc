"""The same weights in the form that each contender wants: a PyTorch network, an official ONNX file, an engine.

The published files are taken where packages carry them (RVM with MobileNetV3, U-2-NetP), and PyTorch's network gets
their values; all other models have stand-in weights, tuned so that no activation sinks into denormal numbers, which
would slow everybody down tenfold.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

import trtmatte
from benchmarks.models.subjects import Subject, photograph_path
from trtmatte.compiler.families import catalog
from trtmatte.errors import DownloadError
from trtmatte.models import store
from trtmatte.support.cache_folder import private_folder

_PUBLISHED: Final = {"rvm_mobilenetv3": "rvm-mobilenetv3", "u2netp": "u2netp"}


def engine(subject: Subject, folder: Path) -> Path:
    """The path of the engine in `folder`, which is built once."""
    path = engine_path(subject, folder)
    settings: dict[str, Any] = {"size": (subject.width, subject.height), "batch": subject.batch}
    if subject.family == "rvm":
        settings["downsample_ratio"] = subject.scale
    if subject.family == "bgmv2":
        settings |= {"backbone_scale": subject.scale, "refine_sample_pixels": subject.sample_pixels}
    if subject.family in ("u2net", "birefnet"):
        settings["method"] = "antialias"  # all contenders resample alike; PyTorch has no Lanczos
    trtmatte.build(published(subject) if subject.real else state(subject, folder), out=path, **settings)
    return path


def at_hand(subject: Subject) -> Subject:
    """The subject, with stand-in weights if the published weights or the photograph are not available."""
    if subject.real:
        import pytest

        from tests import real_models as models

        try:
            published(subject)
            np.save(photograph_path(), models.photograph())
        except (DownloadError, pytest.skip.Exception):
            return replace(subject, real=False)
    return subject


def engine_path(subject: Subject, folder: Path) -> Path:
    return folder / f"{subject.name}.trtm"


def published(subject: Subject) -> Path:
    return store.pull(catalog.find(_PUBLISHED[subject.model]))


def onnx_file(subject: Subject, folder: Path) -> Path:
    """The official file, or an export of the stand-in weights as the official exporter writes it."""
    if subject.real:
        return published(subject)
    fixed = subject.family != "rvm"  # RVM's takes all sizes and ratios, the others' are traced at one
    name = f"{subject.model}-{subject.width}x{subject.height}-{subject.sample_pixels}" if fixed else subject.model
    return _made(folder / f"{name}.onnx", lambda: _exported(subject).SerializeToString())


def state(subject: Subject, folder: Path) -> Path:
    """The weights as a state_dict."""
    import io

    import torch

    def saved() -> bytes:
        buffer = io.BytesIO()
        torch.save(network(subject).state_dict(), buffer)
        return buffer.getvalue()

    kind = "published" if subject.real else "stand-in"
    return _made(folder / f"{subject.model}-{kind}.pth", saved)


def network(subject: Subject) -> Any:
    """The PyTorch network, in float32 on the CPU."""
    return _published_network(subject) if subject.real else _stand_in(subject)


def loaded(subject: Subject, folder: Path) -> Any:
    """The PyTorch network as its users load it."""
    import torch

    from trtmatte.compiler.families import networks as families

    net = families.network(subject.model, **_options(subject))
    net.load_state_dict(torch.load(state(subject, folder), map_location="cpu", weights_only=True))
    return net.eval()


def prepare(subject: Subject, folder: Path) -> None:
    """Make everything that takes long and is not part of a contender's time."""
    folder.mkdir(parents=True, exist_ok=True)
    engine(subject, folder)
    onnx_file(subject, folder)
    state(subject, folder)


# ---------------------------------------------------------------------------------------------------------------------


def _options(subject: Subject) -> dict[str, Any]:
    if subject.family != "bgmv2":
        return {}
    return {"backbone_scale": subject.scale, "refine_sample_pixels": subject.sample_pixels}


@functools.lru_cache(maxsize=1)
def _stand_in(subject: Subject) -> Any:
    from tests import reference

    return reference.network(subject.model, **_options(subject))


@functools.lru_cache(maxsize=1)
def _published_network(subject: Subject) -> Any:
    """Convolutions of the file, which has its normalisations folded into them, one after the other in the network.

    Its normalisations become identities, which take as long as any.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    from trtmatte.compiler.families import networks as families

    net = families.network(subject.model, **_options(subject))
    graph = onnx.load(str(published(subject))).graph
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    files = [node for node in graph.node if node.op_type == "Conv"]
    refined = {"downsample_ratio": 0.5} if subject.family == "rvm" else {}  # whose last convolutions run only then
    order = _in_order(net, (torch.nn.Conv2d, torch.nn.BatchNorm2d), refined)
    ours = [pair for pair in itertools.pairwise([*order, None]) if isinstance(pair[0], torch.nn.Conv2d)]
    with torch.no_grad():
        for node, (conv, norm) in zip(files, ours, strict=True):
            weight, *bias = (torch.from_numpy(np.array(values[name])) for name in node.input[1:])
            assert weight.shape == conv.weight.shape, (node.name, weight.shape, conv.weight.shape)
            conv.weight.copy_(weight)
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.weight.fill_(1)
                norm.running_var.fill_(1 - norm.eps)
                norm.running_mean.copy_(torch.zeros_like(norm.bias) if conv.bias is None else conv.bias)
                norm.bias.copy_(bias[0])
            elif bias:
                conv.bias.copy_(bias[0])
    return net


def _in_order(net: Any, kinds: tuple[type[Any], ...], more: dict[str, Any]) -> list[Any]:
    """The modules of these kinds, in the order of their calls."""
    import torch

    called: list[Any] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: called.append(module))
        for module in net.modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        net(torch.rand(1, 3, 128, 128), **more)
    for hook in hooks:
        hook.remove()
    return called


def _exported(subject: Subject) -> Any:
    import torch

    from tests import exports

    net = network(subject)
    if subject.family == "rvm":
        return exports.rvm(net)
    if subject.family == "bgmv2":
        return exports.bgmv2(net, (subject.width, subject.height), dynamic=False)
    width, height = subject.network_size
    if subject.family == "birefnet":
        return exports.birefnet(net, (width, height), "gathers")

    class Alpha(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, image: Any) -> Any:
            return self.net(image, True)[2] if subject.family == "modnet" else self.net(image)[0]

    return exports.export(Alpha(), {"image": torch.rand(1, 3, height, width)}, ["alpha"], 12)


def _made(path: Path, make: Callable[[], bytes]) -> Path:
    if not path.is_file():
        part = path.with_suffix(".part")
        part.write_bytes(make())
        part.replace(path)
    return path


def default_folder() -> Path:
    return private_folder("benchmarks")
