"""The PyTorch networks compute what the original implementations compute."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import reference
from trtmatte.compiler.families import networks as families
from trtmatte.errors import FrameError, SettingError

torch = pytest.importorskip("torch")

STATES = ("r1", "r2", "r3", "r4")
BASE_OUTPUTS = ("pha", "fgr", "err", "hid_s")
REFINE_OUTPUTS = ("pha", "fgr", "pha_sm", "fgr_sm", "err_sm", "ref_sm")
LOOSE = "bgmv2_refine_mobilenetv2-oversampling-allowed"


def run(vector: reference.Vector) -> dict[str, np.ndarray]:
    network = reference.network(vector.model, **vector.options)
    runners = {
        "rvm": run_rvm,
        "bgmv2": run_bgmv2,
        "modnet": run_modnet,
        "birefnet": run_birefnet,
        "u2net": run_u2net,
        "isnet": run_isnet,
    }
    runner = runners[vector.family]
    with torch.inference_mode():
        return {name: output.numpy() for name, output in runner(network, vector).items()}


def run_rvm(network: Any, vector: reference.Vector) -> dict[str, Any]:
    settings, src = vector.settings, torch.from_numpy(vector.picture())
    network.always_refine = settings.get("always_refine", False)
    segmentation = settings.get("segmentation_pass", False)
    names = (("seg",) if segmentation else ("fgr", "pha")) + STATES
    call = {"downsample_ratio": settings["downsample_ratio"], "segmentation_pass": segmentation}
    if settings.get("chunk"):
        return dict(zip(names, network(src, **call), strict=True))
    states: tuple[Any, ...] = (None,) * 4
    frames = []
    for frame in src:
        outputs = network(frame, *states, **call)
        states = outputs[-4:]
        frames.append(outputs)
    stacked = {name: torch.stack(series) for name, series in zip(names, zip(*frames, strict=True), strict=True)}
    return {name: stacked[name] for name in vector.outputs}


def run_bgmv2(network: Any, vector: reference.Vector) -> dict[str, Any]:
    outputs = network(torch.from_numpy(vector.picture()), torch.from_numpy(vector.picture("bgr")))
    if "ref_sm" in vector.arrays:
        return dict(zip(REFINE_OUTPUTS, outputs, strict=True))
    *maps, hid = outputs
    return dict(zip(BASE_OUTPUTS, (*maps, hid[:, :, 1::4, 2::4]), strict=True))


def run_modnet(network: Any, vector: reference.Vector) -> dict[str, Any]:
    return dict(zip(("semantic", "detail", "matte"), network(torch.from_numpy(vector.picture()), False), strict=True))


def run_birefnet(network: Any, vector: reference.Vector) -> dict[str, Any]:
    return {"logits": network(torch.from_numpy(vector.picture()))}


def run_u2net(network: Any, vector: reference.Vector) -> dict[str, Any]:
    outputs = {f"d{n}": d for n, d in enumerate(network(torch.from_numpy(vector.picture())))}
    return {name: outputs[name] for name in vector.outputs}


def run_isnet(network: Any, vector: reference.Vector) -> dict[str, Any]:
    return {f"d{n}": d for n, d in enumerate(network(torch.from_numpy(vector.picture())), 1)}


@pytest.mark.parametrize("name", [name for name in reference.vector_names() if name != LOOSE])
def test_outputs_are_the_originals(name: str) -> None:
    vector = reference.load(name)
    outputs = run(vector)
    assert outputs.keys() == vector.outputs.keys()
    reference.assert_close(vector, outputs)
    if "patches" in vector.settings:
        assert outputs["ref_sm"].sum((1, 2, 3)).tolist() == vector.settings["patches"]


def test_oversampling_allowed() -> None:
    """More patches are asked for than have an error: which others make up the number is not defined."""
    vector = reference.load(LOOSE)
    outputs = run(vector)
    reference.assert_close(vector, {name: outputs[name] for name in ("pha_sm", "fgr_sm", "err_sm")})
    ref, expected_ref = outputs["ref_sm"], vector.arrays["ref_sm"]
    assert ref.sum() == vector.settings["patches"][0]
    assert ref[outputs["err_sm"] > 0].all()
    agreed = np.repeat(np.repeat(ref == expected_ref, 4, axis=2), 4, axis=3)
    for name in ("pha", "fgr"):
        both = [np.where(agreed, x[name], 0) for x in (outputs, vector.arrays)]
        assert reference.largest_difference(*both) <= vector.tolerance(name)


def test_names_are_the_references() -> None:
    assert sorted(families.names()) == reference.models()


@pytest.mark.parametrize("model", families.names())
def test_state_dict_is_the_official_one(model: str) -> None:
    with torch.device("meta"):
        state = families.network(model).state_dict()
    ours = [(key, tuple(value.shape), str(value.dtype).removeprefix("torch.")) for key, value in state.items()]
    assert ours == reference.keys(model)


def test_the_fast_guided_filter_has_no_weights() -> None:
    state = families.network("rvm_mobilenetv3", refiner="fast_guided_filter").state_dict()
    assert list(state) == [key for key, _, _ in reference.keys("rvm_mobilenetv3") if not key.startswith("refiner.")]


def test_kernel_size_1_changes_the_refiner_alone() -> None:
    shapes = [
        {
            key: tuple(value.shape)
            for key, value in families.network("bgmv2_refine_mobilenetv2", **option).state_dict().items()
        }
        for option in ({}, {"refine_kernel_size": 1})
    ]
    differ = [key for key in shapes[0] if shapes[0][key] != shapes[1][key]]
    assert differ == [f"refiner.conv{n}.weight" for n in (1, 2, 3, 4)]
    assert all(shapes[1][key][2:] == (1, 1) for key in differ)


def example(model: str, **options: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A network with stand-in weights, and arguments of a small call."""
    network = reference.network(model, **options)
    generator = torch.Generator().manual_seed(3)
    src, bgr = (torch.rand(1, 3, 64, 96, generator=generator) for _ in range(2))
    family = reference.family(model)
    if family == "rvm":
        return network, (src,), {"downsample_ratio": 0.5}
    if family == "bgmv2":
        return network, (src, bgr), {}
    return network, (src * 2 - 1,), {}


# What a call leaves without a gradient, because the output it feeds is another.
UNUSED = {"rvm": ("project_seg.",), "bgmv2": (), "modnet": (), "u2net": (), "isnet": ()}
TRAINABLE = ("rvm_mobilenetv3", "bgmv2_refine_mobilenetv2", "modnet", "u2netp")


@pytest.mark.parametrize("model", TRAINABLE)
def test_gradients_reach_every_weight(model: str) -> None:
    network, arguments, settings = example(model)
    for _ in range(2 if model.startswith("rvm") else 1):
        outputs = network(*arguments, **settings)
        arguments = (arguments[0], *outputs[-4:]) if model.startswith("rvm") else arguments
    sum(output.sum() for output in outputs).backward()
    unused = UNUSED[reference.family(model)]
    for name, parameter in network.named_parameters():
        if name.startswith(unused or ("-",)):
            continue
        assert parameter.grad is not None, f"{name} has no gradient"
        assert torch.isfinite(parameter.grad).all(), f"{name} has a gradient that is not finite"
    reached = [p.grad.abs().max() > 0 for p in network.parameters() if p.grad is not None]
    assert sum(reached) > 0.9 * len(reached)


def test_a_chunk_equals_its_frames() -> None:
    network, (src,), _ = example("rvm_mobilenetv3")
    frames = torch.stack([src, src.flip(3), src.flip(2)], dim=1)
    with torch.inference_mode():
        chunk = network(frames, downsample_ratio=0.5)
        states: tuple[Any, ...] = (None,) * 4
        for index in range(3):
            outputs = network(frames[:, index], *states, downsample_ratio=0.5)
            states = outputs[2:]
            for together, alone in zip(chunk[:2], outputs[:2], strict=True):
                torch.testing.assert_close(together[:, index], alone, rtol=0, atol=1e-5)
    for together, alone in zip(chunk[2:], states, strict=True):
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_states_of_one_pixel_are_spread() -> None:
    network, (src,), settings = example("rvm_mobilenetv3")
    zero = torch.zeros(1, 1, 1, 1)
    with torch.inference_mode():
        for spread, none in zip(network(src, *[zero] * 4, **settings), network(src, **settings), strict=True):
            torch.testing.assert_close(spread, none, rtol=0, atol=0)


@pytest.mark.parametrize("refiner", ["deep_guided_filter", "fast_guided_filter"])
def test_rvm_parts_make_up_the_whole(refiner: str) -> None:
    """A and b, lifted to the frame and applied there, are the network's own matte."""
    network, (src,), _ = example("rvm_mobilenetv3", refiner=refiner)
    with torch.inference_mode():
        fgr, pha, *states = network(src, downsample_ratio=0.5)
        src_sm = torch.nn.functional.interpolate(src, scale_factor=0.5, mode="bilinear", align_corners=False)
        A, b, *part_states = network.encode(src_sm, *[torch.zeros_like(state) for state in states])
        lifted = [torch.nn.functional.interpolate(x, size=src.shape[2:], mode="bilinear") for x in (A, b)]
        y = lifted[0] * torch.cat([src, src.mean(1, keepdim=True)], 1) + lifted[1]
    torch.testing.assert_close((y[:, :3] + src).clamp(0, 1), fgr, rtol=0, atol=1e-6)
    torch.testing.assert_close(y[:, 3:].clamp(0, 1), pha, rtol=0, atol=1e-6)
    torch.testing.assert_close(part_states, states, rtol=0, atol=0)


def test_rvm_parts_without_a_refiner() -> None:
    network, (src,), _ = example("rvm_mobilenetv3")
    with torch.inference_mode():
        fgr, pha, *states = network(src)
        zeros = [torch.zeros_like(state) for state in states]
        matte, *_ = network.foreground(src, *zeros)
        seg, *seg_states = network.segment(src, *zeros)
        torch.testing.assert_close((matte[:, :3] + src).clamp(0, 1), fgr, rtol=0, atol=0)
        torch.testing.assert_close(matte[:, 3:].clamp(0, 1), pha, rtol=0, atol=0)
        torch.testing.assert_close(seg, network(src, segmentation_pass=True)[0], rtol=0, atol=0)
        torch.testing.assert_close(seg_states, states, rtol=0, atol=0)


@pytest.mark.parametrize(("model", "call"), [("modnet", lambda n, x: n(x, False)[2]), ("u2netp", lambda n, x: n(x)[0])])
def test_alpha_is_the_result_alone(model: str, call: Any) -> None:
    network, (image,), _ = example(model)
    with torch.inference_mode():
        torch.testing.assert_close(network.alpha(image), call(network, image), rtol=0, atol=0)


def test_modnet_for_inference_gives_the_matte_only() -> None:
    network, (image,), _ = example("modnet")
    with torch.inference_mode():
        semantic, detail, matte = network(image, True)
        assert semantic is None
        assert detail is None
        torch.testing.assert_close(matte, network(image, False)[2], rtol=0, atol=0)


def test_settings_are_attributes() -> None:
    network, pair, _ = example("bgmv2_refine_mobilenetv2")
    selected = []
    for mode, pixels, threshold in (("full", 0, 0.0), ("sampling", 160, 0.0), ("thresholding", 0, 2.0)):
        network.refine_mode, network.refine_sample_pixels, network.refine_threshold = mode, pixels, threshold
        with torch.inference_mode():
            selected.append(int(network(*pair)[-1].sum()))
    assert selected == [16 * 24, 10, 0]
    network.backbone_scale = 0.5
    assert network(*pair)[2].shape[2:] == (32, 48)


def test_more_patches_than_there_are_select_all() -> None:
    network, pair, _ = example("bgmv2_refine_mobilenetv2", prevent_oversampling=False)
    assert network(*pair)[-1].sum() == 16 * 24


def test_equal_errors_are_taken_in_row_major_order() -> None:
    network: Any = families.network("bgmv2_refine_mobilenetv2", refine_sample_pixels=16 * 40)
    ref = network.select(torch.ones(2, 1, 12, 12), 12, 12)
    assert ref.flatten(1).argsort(descending=True, stable=True)[:, :40].tolist() == [list(range(40))] * 2
    assert ref.sum() == 80


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("rvm_mobilenet", {}, "rvm_mobilenetv3"),
        ("rvm_mobilenetv3", {"refiner": "guided"}, "deep_guided_filter"),
        ("rvm_mobilenetv3", {"refine_kernel_size": 3}, "refiner"),
        ("modnet", {"refiner": "deep_guided_filter"}, "none"),
        ("bgmv2_base_resnet50", {"refine_mode": "full"}, "none"),
        ("bgmv2_refine_resnet50", {"refine_kernel_size": 5}, "3 or 1"),
    ],
)
def test_wrong_options_are_refused(model: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        families.network(model, **options)


@pytest.mark.parametrize("setting", [{"refine_mode": "all"}, {"backbone_scale": 0.6}, {"backbone_scale": 0}])
def test_wrong_settings_are_refused_at_the_call(setting: dict[str, Any]) -> None:
    network, pair, _ = example("bgmv2_refine_mobilenetv2", **setting)
    with pytest.raises(SettingError, match=str(next(iter(setting.values())))):
        network(*pair)


@pytest.mark.parametrize(("model", "size"), [("modnet", (64, 80)), ("bgmv2_refine_mobilenetv2", (62, 64))])
def test_sizes_that_do_not_divide_are_refused(model: str, size: tuple[int, int]) -> None:
    network, arguments, _ = example(model)
    with pytest.raises(FrameError, match="multiples of"):
        network(*(x[:, :, : size[0], : size[1]] for x in arguments))


def test_a_background_of_another_size_is_refused() -> None:
    network, (src, bgr), _ = example("bgmv2_refine_mobilenetv2")
    with pytest.raises(FrameError, match="bgr"):
        network(src, bgr[:, :, :32])


@pytest.mark.parametrize("path", sorted((reference.DATA / "traces").glob("*.json")), ids=lambda path: path.stem)
def test_every_layer_computes_what_the_originals_does(path: Path) -> None:
    trace = json.loads(path.read_text())
    name = trace["settings"]["vector"]
    if name not in reference.vector_names():
        pytest.skip(f"{name} is in the full set only")
    vector = reference.load(name)
    network = reference.network(vector.model, **vector.options)
    seen = record(network, lambda: first_call(network, vector))
    for module, shape, mean, std, low, high, samples in trace["rows"]:
        candidates = seen[module]
        expected = np.array([mean, std, low, high, *samples])
        errors = [np.abs(summary - expected).max() for got, summary in candidates if got == tuple(shape)]
        assert errors, f"{module} gives {[got for got, _ in candidates]}, not {tuple(shape)}"
        assert min(errors) <= 1e-3 * max(1.0, std, abs(low), abs(high)), f"{module} is off by {min(errors):.1e}"


def first_call(network: Any, vector: reference.Vector) -> None:
    src = torch.from_numpy(vector.picture())
    if vector.family == "rvm":
        network(src[0], downsample_ratio=vector.settings["downsample_ratio"])
    elif vector.family == "bgmv2":
        network(src, torch.from_numpy(vector.picture("bgr")))
    else:
        network(src)


def record(network: Any, call: Any) -> dict[str, list[tuple[tuple[int, ...], np.ndarray]]]:
    """Shape and summary of every output of every module during a call."""
    seen: dict[str, list[tuple[tuple[int, ...], np.ndarray]]] = {}

    def hook(name: str) -> Any:
        def note(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                seen.setdefault(name, []).append((tuple(output.shape), summarise(output)))

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in network.named_modules()]
    with torch.inference_mode():
        call()
    for handle in handles:
        handle.remove()
    return seen


def summarise(output: Any) -> np.ndarray:
    x = output.double().flatten()
    n = len(x)
    picks = [x[0], x[n // 3], x[2 * n // 3], x[n - 1]]
    return np.array([float(v) for v in (x.mean(), x.std(correction=0), x.min(), x.max(), *picks)])


def test_asking_for_names_does_not_import_torch() -> None:
    code = "import sys, trtmatte.families as f; assert 'modnet' in f.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
