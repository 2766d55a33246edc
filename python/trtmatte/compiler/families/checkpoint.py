"""Checkpoint files as users have them: read without running their code, unwrapped, and recognised by content."""

from __future__ import annotations

import functools
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trtmatte.compiler.families import networks, registry
from trtmatte.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["load_network", "load_state", "recognise"]

Shapes = Mapping[str, tuple[int, ...]]

# The keys under which training scripts store the weights, and the prefixes that wrappers add to every name.
_STATE_KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "generator", "params", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")

_COUNTER = ".num_batches_tracked"  # old files lack it and nothing depends on it


def load_network(path: str | Path, **options: Any) -> tuple[nn.Module, str]:
    """The network whose weights a file holds, and its name. `options` are those of `families.network`."""
    state = load_state(path)
    name, found = recognise(state, str(path))
    network = networks.network(name, **{**options, **found})
    network.load_state_dict(_with_counters(state, network), strict=True)
    return network, name


def load_state(path: str | Path) -> dict[str, Tensor]:
    """The weights in a `.pth`, `.pt`, `.ckpt`, `.safetensors` or TorchScript file: official names, float32, all finite.

    The content decides the type of the file; its suffix does not matter.
    """
    path = Path(path)
    networks.require_torch(f"reading the checkpoint {path}")
    read = _reader(path)
    state = _strip_prefixes(_find_state(read(path), path))
    return _completed(_checked(state, path), path)


def recognise(state: Mapping[str, Tensor], source: str = "the checkpoint") -> tuple[str, dict[str, Any]]:
    """The name of the network that a state_dict fits, and the options that it needs.

    Files of Anuj040/matte are BackgroundMattingV2's own networks and get those names.
    """
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    differences = [_difference(candidate, shapes) for candidate in _candidates()]
    nearest = min(differences, key=lambda difference: difference.size)
    if nearest.size:
        raise ModelError(_explain(nearest, shapes, source))
    return nearest.candidate.name, dict(nearest.candidate.options)


# Reading


def _reader(path: Path) -> Callable[[Path], Any]:
    """The reader for this file. Raises an error that names the file's real type if there is none."""
    if not path.is_file():
        raise ModelError(f"{path} is no file; pass the path of a checkpoint")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise ModelError(f"{path} is empty (0 bytes); download or copy it again")
    if head.startswith(b"PK"):
        return _read_torchscript if _is_torchscript(path) else _read_pickle
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return _read_safetensors
    if head.startswith(b"\x80"):
        return _read_pickle
    raise ModelError(f"{path} is not a checkpoint: {_what_else(head)}")


def _what_else(head: bytes) -> str:
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page; the download brought the page of the model instead of the model, open it in a browser"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run git lfs pull where it comes from"
    return (
        f"it begins with {head[:8]!r}, which no .pth, .safetensors or TorchScript file does; "
        "pass an ONNX model with the suffix .onnx"
    )


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile as error:
        raise _damaged(path, error) from error


def _read_pickle(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None:
            raise _damaged(path, error) from error
        raise ModelError(
            f"{path} is a pickle that wants to call {wanted[1]}, and trtmatte runs no code from a model file; "
            "a checkpoint must hold tensors alone: save model.state_dict() and pass that file"
        ) from error


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:
        raise _damaged(path, error) from error
    state: dict[str, Tensor] = module.state_dict()
    if not state:
        raise ModelError(
            f"{path} is a frozen TorchScript file without named weights; pass the model's .pth or .onnx file"
        )
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ModelError(f"{path} needs the package safetensors to be read: pip install safetensors") from error
    try:
        return load_file(path)
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelError(f"{path} is truncated or damaged and cannot be read; download or copy it again ({reason})")


# Unwrapping


def _find_state(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights, taken out of the dictionaries that training scripts save around them."""
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state_dict; save model.state_dict() instead")
    for key in _STATE_KEYS:
        if isinstance(content.get(key), Mapping):
            return _find_state(content[key], path)
    if not content:
        raise ModelError(f"{path} holds no weights; save model.state_dict() instead")
    for key, value in content.items():
        if not _is_tensor(value):
            raise ModelError(
                f"{path} holds a {type(value).__name__} under {key!r} where a tensor is expected; "
                f"put the weights alone, or under 'state_dict'"
            )
    return {str(key): value for key, value in content.items()}


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _strip_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            return _strip_prefixes({key.removeprefix(prefix): value for key, value in state.items()})
    return state


def _checked(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    return {key: _plain(value.detach(), key, path) for key, value in state.items()}


def _plain(value: Tensor, key: str, path: Path) -> Tensor:
    if not value.is_floating_point():
        return value
    value = value.float()
    bad = int((~value.isfinite()).sum())
    if bad:
        raise ModelError(
            f"{path} has {bad} of {value.numel()} values of {key!r} that are NaN or infinite; "
            "the training diverged or the file is damaged: take an earlier checkpoint"
        )
    return value


def _completed(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The weights after each family's `complete_state`, which restores tensors that a file does not store twice."""
    for family in registry.families():
        complete = getattr(family.network_module, "complete_state", None) if family.variants else None
        if complete is not None:
            state = complete(state, path)
    return state


def _with_counters(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    counters = {key: value for key, value in network.state_dict().items() if key.endswith(_COUNTER)}
    return {**counters, **state}


# Recognising


class _Candidate(NamedTuple):
    name: str
    options: tuple[tuple[str, Any], ...]
    shapes: Shapes


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
        _Candidate(name, tuple(options.items()), _shapes(name, options))
        for family in registry.families()
        for name, variant in family.variants.items()
        if variant.is_recognised
        for options in variant.options
    )


def _shapes(name: str, options: Mapping[str, Any]) -> Shapes:
    import torch

    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in networks.network(name, **options).state_dict().items()}


def _difference(candidate: _Candidate, shapes: Shapes) -> _Difference:
    expected = candidate.shapes
    missing = [key for key in expected if key not in shapes and not key.endswith(_COUNTER)]
    unexpected = [key for key in shapes if key not in expected]
    reshaped = [key for key in expected if key in shapes and shapes[key] != expected[key]]
    return _Difference(candidate, missing, unexpected, reshaped)


def _explain(nearest: _Difference, shapes: Shapes, source: str) -> str:
    name, options, expected = nearest.candidate
    called = name + "".join(f", {key}={value!r}" for key, value in options)
    agreeing = len(shapes) - len(nearest.unexpected) - len(nearest.reshaped)
    if agreeing < len(expected) // 2:
        return (
            f"{source} holds the weights of no network that trtmatte knows ({', '.join(networks.names())}); "
            f"the nearest, {called}, shares {agreeing} of its {len(shapes)} tensors: export the model to ONNX instead"
        )
    reshaped = [f"{key} is {list(shapes[key])}, not {list(expected[key])}" for key in nearest.reshaped]
    parts = (("missing", nearest.missing), ("unexpected", nearest.unexpected), ("of another shape", reshaped))
    differs = "; ".join(f"{len(items)} {what}: {_some(items)}" for what, items in parts if items)
    return f"{source} is almost {called}, but differs: {differs}. Rename or complete these, or export the model to ONNX"


def _some(items: list[str], limit: int = 3) -> str:
    shown = ", ".join(items[:limit])
    return f"{shown}, …" if len(items) > limit else shown
