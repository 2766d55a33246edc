"""Checkpoint files as users have them: read without running their code, unwrapped, and recognised by content."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trtmatte.compiler.families import networks, registry
from trtmatte.compiler.weights import reading
from trtmatte.compiler.weights.tensors import Foreign, StoredTensor
from trtmatte.errors import ModelError
from trtmatte.support.text import shown

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["load_network", "load_state", "network_of", "recognise", "state_of"]

Shapes = Mapping[str, tuple[int, ...]]
Stored = Any  # a StoredTensor, or a Tensor

# The keys under which training scripts store the weights, and the prefixes that wrappers add to every name.
_STATE_KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "generator", "params", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")

_DEEPEST = 16  # so many wrappers are taken off

_COUNTER = ".num_batches_tracked"  # old files lack it and nothing depends on it


def load_network(path: str | Path, **options: Any) -> tuple[nn.Module, str]:
    """The network whose weights a file holds, and its name. `options` are those of `families.network`."""
    return network_of(load_state(path), str(path), **options)


def network_of(state: Mapping[str, Tensor], source: str, **options: Any) -> tuple[nn.Module, str]:
    """The network of these weights, and its name."""
    name, found = recognise(state, source)
    network = networks.network(name, **{**options, **found})
    constants = _constants(network)
    for key in constants.keys() & state.keys():
        constants[key].copy_(state[key])
    kept = {key: value for key, value in state.items() if key not in constants}
    network.load_state_dict(_with_counters(kept, network), strict=True)
    return network, name


def load_state(path: str | Path) -> dict[str, Tensor]:
    """The weights in a `.pth`, `.pt`, `.ckpt`, `.safetensors` or TorchScript file: official names, float32, all finite.

    The content decides the type of the file; its suffix does not matter.
    """
    path = Path(path)
    networks.require_torch(f"reading the checkpoint {path}")
    state = reading.tensors(_strip_prefixes(_find_state(reading.read(path), path)), path)
    return _completed({key: _plain(value.detach(), key, path) for key, value in state.items()}, path)


def state_of(model: nn.Module | Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The weights of a network in memory, or of its state_dict, as `load_state` returns those of a file."""
    networks.require_torch(f"building {source}")
    content = dict(model) if isinstance(model, Mapping) else model.state_dict()
    state = _strip_prefixes(_find_state(content, source))
    if any(value.is_meta for value in state.values()):
        raise ModelError(f"{source} is on the device meta, which holds no weights; load them first")
    return _completed({key: _plain(value.detach().cpu(), key, source) for key, value in state.items()}, source)


def recognise(state: Mapping[str, Tensor], source: str = "the checkpoint") -> tuple[str, dict[str, Any]]:
    """The name of the network that a state_dict fits, and the options that it needs.

    Files of Anuj040/matte are BackgroundMattingV2's own networks and get those names.
    """
    shapes = _shapes_of(state)
    differences = [_difference(candidate, shapes) for candidate in _candidates()]
    nearest = min(differences, key=lambda difference: difference.size)
    if nearest.size:
        raise ModelError(_explain(nearest, shapes, source))
    return nearest.candidate.name, dict(nearest.candidate.options)


# Unwrapping


def _find_state(content: Any, path: Path | str) -> dict[str, Stored]:
    """The weights, taken out of the dictionaries that training scripts save around them."""
    for _ in range(_DEEPEST):
        wrapped = content if isinstance(content, dict) else {}
        inner = [wrapped[key] for key in _STATE_KEYS if isinstance(wrapped.get(key), dict)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state_dict; save model.state_dict() instead")
    if not content:
        raise ModelError(f"{path} holds no weights; save model.state_dict() instead")
    for key, value in content.items():
        if not _is_tensor(value) or not isinstance(key, str):
            what = value.what if isinstance(value, Foreign) else type(value).__name__
            raise ModelError(
                f"{path} holds a {what} under {shown(key)!r} where a tensor is expected; "
                f"put the weights alone, or under 'state_dict'"
            )
    return content


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, (StoredTensor, torch.Tensor))


def _strip_prefixes(state: dict[str, Stored]) -> dict[str, Stored]:
    for _ in range(_DEEPEST):
        prefix = next((each for each in _PREFIXES if all(key.startswith(each) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _plain(value: Tensor, key: str, path: Path | str) -> Tensor:
    if not value.is_floating_point():
        return value
    value = value.float()
    bad = int((~value.isfinite()).sum())
    if bad:
        raise ModelError(
            f"{path} has {bad} of {value.numel()} values of {shown(key)!r} that are NaN or infinite; "
            "the training diverged or the file is damaged: take an earlier checkpoint"
        )
    return value


def _completed(state: dict[str, Tensor], path: Path | str) -> dict[str, Tensor]:
    """The weights after each family's `complete_state`, which restores tensors that a file does not store twice."""
    for family in registry.families():
        complete = getattr(family.network_module, "complete_state", None) if family.variants else None
        if complete is not None:
            state = complete(state, path)
    return state


def _with_counters(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    counters = {key: value for key, value in network.state_dict().items() if key.endswith(_COUNTER)}
    return {**counters, **state}


def _constants(network: nn.Module) -> dict[str, Tensor]:
    """The buffers that no state_dict holds, by name. TorchScript files have them all the same."""
    stored = network.state_dict().keys()
    return {key: value for key, value in network.named_buffers() if key not in stored}


# Recognising


class _Candidate(NamedTuple):
    name: str
    options: tuple[tuple[str, Any], ...]
    shapes: Shapes
    constants: Shapes  # which a file may have too


class _Difference(NamedTuple):
    candidate: _Candidate
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]

    @property
    def size(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)


@functools.lru_cache(maxsize=1)
def _candidates() -> tuple[_Candidate, ...]:
    """Every network with every option that shows in its weights."""
    return tuple(
        _Candidate(name, tuple(options.items()), *_shapes(name, options))
        for family in registry.families()
        for name, variant in family.variants.items()
        if variant.is_recognised
        for options in variant.options
    )


def _shapes(name: str, options: Mapping[str, Any]) -> tuple[Shapes, Shapes]:
    import torch

    with torch.device("meta"):
        network = networks.network(name, **options)
    stored, constants = network.state_dict(), _constants(network)
    return _shapes_of(stored), _shapes_of(constants)


def _shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _difference(candidate: _Candidate, shapes: Shapes) -> _Difference:
    missing = [key for key in candidate.shapes if key not in shapes and not key.endswith(_COUNTER)]
    expected = {**candidate.shapes, **candidate.constants}
    unexpected = [key for key in shapes if key not in expected]
    reshaped = [key for key in expected if key in shapes and shapes[key] != expected[key]]
    return _Difference(candidate, missing, unexpected, reshaped)


def _explain(nearest: _Difference, shapes: Shapes, source: str) -> str:
    name, options, stored, constants = nearest.candidate
    expected = {**stored, **constants}
    called = name + "".join(f", {key}={value!r}" for key, value in options)
    agreeing = len(shapes) - len(nearest.unexpected) - len(nearest.reshaped)
    if agreeing < len(expected) // 2:
        return (
            f"{source} holds the weights of no network that trtmatte knows ({', '.join(networks.names())}); "
            f"the nearest, {called}, shares {agreeing} of its {len(shapes)} tensors: export the model to ONNX instead"
        )
    reshaped = [f"{shown(key)} is {list(shapes[key])}, not {list(expected[key])}" for key in nearest.reshaped]
    parts = (("missing", nearest.missing), ("unexpected", nearest.unexpected), ("of another shape", reshaped))
    differs = "; ".join(f"{len(items)} {what}: {_some(items)}" for what, items in parts if items)
    return f"{source} is almost {called}, but differs: {differs}. Rename or complete these, or export the model to ONNX"


def _some(items: list[str], limit: int = 3) -> str:
    first = ", ".join(shown(item) for item in items[:limit])
    return f"{first}, …" if len(items) > limit else first
