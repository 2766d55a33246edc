"""The known kinds of model, one package each.

`network(name)` gives the PyTorch network of a name; the rest of a family is plain data and passes over graphs.
Importing this package does not import torch.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from trtmatte.errors import BackendError, SettingError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["names", "network", "require_torch"]


class _Variant(NamedTuple):
    """Which class of which family a name means, and what tells it from its sisters."""

    family: str
    class_name: str
    arguments: dict[str, str]


def _variants() -> dict[str, _Variant]:
    variants = {f"rvm_{b}": _Variant("rvm", "RobustVideoMatting", {"backbone": b}) for b in ("mobilenetv3", "resnet50")}
    # Anuj040/matte trains BackgroundMattingV2's own networks, with the ResNets only.
    for prefix, backbones in (
        ("bgmv2", ("mobilenetv2", "resnet50", "resnet101")),
        ("matte", ("resnet50", "resnet101")),
    ):
        for backbone in backbones:
            variants[f"{prefix}_base_{backbone}"] = _Variant("bgmv2", "MattingBase", {"backbone": backbone})
            variants[f"{prefix}_refine_{backbone}"] = _Variant("bgmv2", "MattingRefine", {"backbone": backbone})
    variants["modnet"] = _Variant("modnet", "MODNet", {})
    variants["u2net"] = _Variant("u2net", "U2Net", {"size": "full"})
    variants["u2netp"] = _Variant("u2net", "U2Net", {"size": "small"})
    return variants


_VARIANTS = _variants()


def names() -> tuple[str, ...]:
    """The names that `network` knows."""
    return tuple(_VARIANTS)


def network(name: str, **options: Any) -> nn.Module:
    """The PyTorch network called `name`, in evaluation mode, with PyTorch's initial weights.

    Options: `refiner="deep_guided_filter" | "fast_guided_filter"` (rvm); `refine_kernel_size=3 | 1`,
    `backbone_scale`, `refine_mode`, `refine_sample_pixels`, `refine_threshold`, `prevent_oversampling` (bgmv2 refine).
    """
    if name not in _VARIANTS:
        raise SettingError(f"no network is called {name!r}; choose one of {', '.join(_VARIANTS)}")
    family, class_name, arguments = _VARIANTS[name]
    network_class = getattr(_import_networks(family), class_name)
    known = [option for option in inspect.signature(network_class).parameters if option not in arguments]
    for option in options:
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise SettingError(f"network {name!r} has no option {option!r}; {takes}")
    built: nn.Module = network_class(**arguments, **options)
    return built.eval()


def require_torch(purpose: str) -> None:
    """Say what to do where PyTorch, which most of trtmatte does without, is missing."""
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise BackendError(f"{purpose} needs PyTorch, which is not installed: pip install torch") from error


def _import_networks(family: str) -> Any:
    require_torch(f"the {family} network")
    return importlib.import_module(f"trtmatte.families.{family}.network")
