"""The families' PyTorch networks by name. Importing this module does not import PyTorch."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from trtmatte.compiler.families import registry
from trtmatte.errors import BackendError, SettingError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["names", "network", "require_torch"]


def names() -> tuple[str, ...]:
    """The names that `network` accepts."""
    return tuple(registry.variants())


def network(name: str, **options: Any) -> nn.Module:
    """The PyTorch network called `name`, in evaluation mode, with PyTorch's initial weights.

    Options: `refiner="deep_guided_filter" | "fast_guided_filter"` (rvm); `refine_kernel_size=3 | 1`,
    `backbone_scale`, `refine_mode`, `refine_sample_pixels`, `refine_threshold`, `prevent_oversampling` (bgmv2 refine).
    """
    families = registry.variants()
    if name not in families:
        raise SettingError(f"no network is called {name!r}; choose one of {', '.join(families)}")
    require_torch(f"the {families[name].name} network")
    variant = families[name].variants[name]
    network_class = getattr(families[name].network_module, variant.class_name)
    known = [option for option in inspect.signature(network_class).parameters if option not in variant.arguments]
    for option in options:
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise SettingError(f"network {name!r} has no option {option!r}; {takes}")
    built: nn.Module = network_class(**variant.arguments, **options)
    return built.eval()


def require_torch(purpose: str) -> None:
    """Raise a BackendError with the remedy if PyTorch is missing."""
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise BackendError(f"{purpose} needs PyTorch, which is not installed: pip install torch") from error
