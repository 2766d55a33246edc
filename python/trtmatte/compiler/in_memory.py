"""Networks of PyTorch in memory: their weights are what is built."""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trtmatte.compiler.families import registry
from trtmatte.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor, nn

__all__ = ["Weights"]

_WRAPPERS: Final = ("module", "_orig_mod")  # of DataParallel and of torch.compile


@dataclass(frozen=True)
class Weights:
    """The weights of a network, the settings that it holds, and the facts that the engine records."""

    state: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    about: Mapping[str, Any]

    @classmethod
    def of(cls, model: nn.Module | Mapping[str, Any]) -> Weights:
        """The weights of a network of a known family, or those in its state_dict."""
        if not isinstance(model, Mapping) and not callable(getattr(model, "state_dict", None)):
            raise ModelError(
                f"the model is {reprlib.repr(model)}; expected a file, the name of a known model, a PyTorch network or "
                "its state_dict"
            )
        from trtmatte.compiler.families import checkpoint

        name = "the state_dict" if isinstance(model, Mapping) else type(_unwrapped(model)).__name__
        state = checkpoint.state_of(model, name)
        settings = {} if isinstance(model, Mapping) else _settings(_unwrapped(model), checkpoint.recognise(state, name))
        return cls(state, settings, {"file": name, "sha256": _digest(state)})

    def graph(self, **form: Any) -> ModelProto:
        """The trtmatte graph. `form` are the options of `families.reading.read_weights`."""
        from trtmatte.compiler.families import reading

        return reading.read_weights(self.state, self.about["file"], **form)


def _unwrapped(model: Any) -> Any:
    while (inner := next((getattr(model, name) for name in _WRAPPERS if hasattr(model, name)), None)) is not None:
        model = inner
    return model


def _settings(network: nn.Module, recognised: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    family = registry.variants()[recognised[0]]
    settings_of = getattr(family.network_module, "settings_of", None)
    return {} if settings_of is None else settings_of(network)


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].contiguous().numpy()
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.data if values.ndim else values.tobytes())
    return digest.hexdigest()
