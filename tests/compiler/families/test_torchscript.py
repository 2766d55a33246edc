"""Our own networks as TorchScript, traced and scripted, are read again as the checkpoints that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

import trtmatte
from tests import reference
from trtmatte.compiler.families import networks
from trtmatte.compiler.families.checkpoint import load_network

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
SLOW = ("u2net", "birefnet_swin_l", "birefnet_swin_t", "birefnet_pvt_b1", "birefnet_pvt_b2", "birefnet_pvt_b5")
CASES = [
    pytest.param(name, how, marks=pytest.mark.slow) if name in SLOW or "resnet" in name else (name, how)
    for name in networks.names()
    for how in ("trace", "script")
    if how == "trace" or not name.startswith("birefnet")  # whose sizes are plain numbers, which scripts do not have
]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "rvm_mobilenetv3": [{}, {"refiner": "fast_guided_filter"}],
    "bgmv2_refine_mobilenetv2": [{}, {"refine_kernel_size": 1}],
}


def pictures(name: str) -> tuple[Any, ...]:
    count = 2 if name.startswith(("bgmv2", "matte")) else 1
    return tuple(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(seed)) for seed in range(count))


def compiled(network: Any, how: str, inputs: tuple[Any, ...]) -> Any:
    if how == "script":
        return torch.jit.script(network)
    return torch.jit.trace(network, inputs, strict=False, check_trace=False)


@pytest.mark.parametrize(("name", "how"), CASES)
def test_every_network(name: str, how: str, tmp_path: Path) -> None:
    """The file has the weights of the network, and computes what it computes."""
    for options in OPTIONS.get(name, [{}]):
        network, inputs = networks.network(name, **options), pictures(name)
        compiled(network, how, inputs).save(str(tmp_path / "model.pt"))
        loaded, found = load_network(tmp_path / "model.pt")
        assert found == name.replace("matte_", "bgmv2_")
        assert loaded.state_dict().keys() == network.state_dict().keys()
        for (key, ours), (_, theirs) in zip(
            [*loaded.named_parameters(), *loaded.named_buffers()],
            [*network.named_parameters(), *network.named_buffers()],
            strict=True,
        ):
            assert torch.equal(ours, theirs), key
        with torch.inference_mode():
            results = [call(*inputs) for call in (network, torch.jit.load(str(tmp_path / "model.pt")))]
        for ours, theirs in zip(*results, strict=True):
            assert ours is theirs is None or torch.allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", ["trace", "script"])
def test_an_engine_of_it_is_that_of_the_checkpoint(how: str, tmp_path: Path) -> None:
    network = reference.network("rvm_mobilenetv3")
    torch.save(network.state_dict(), tmp_path / "model.pth")
    compiled(network, how, pictures("rvm")).save(str(tmp_path / "model.pt"))
    built = [
        trtmatte.build(tmp_path / name, size=(64, 48), downsample_ratio=0.5, target="onnxruntime")
        for name in ("model.pth", "model.pt")
    ]
    one, other = ([engine.network(stage.name) for stage in engine.program.networks] for engine in built)
    assert one == other


def test_a_scripted_network_takes_chunks_and_ratios() -> None:
    network = reference.network("rvm_mobilenetv3")
    chunk = torch.rand(2, 3, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    scripted = torch.jit.script(network)
    with torch.inference_mode():
        for more in ({"downsample_ratio": 0.5}, {"segmentation_pass": True}):
            for ours, theirs in zip(network(chunk, **more), scripted(chunk, **more), strict=True):
                assert torch.equal(ours, theirs)


def test_constants_of_the_file_are_used(tmp_path: Path) -> None:
    """A file may have been trained with another mean than the published one."""
    network = reference.network("rvm_mobilenetv3")
    network.backbone.mean += 0.25
    torch.jit.script(network).save(str(tmp_path / "model.pt"))
    loaded: Any = load_network(tmp_path / "model.pt")[0]
    assert torch.equal(loaded.backbone.mean, network.backbone.mean)
