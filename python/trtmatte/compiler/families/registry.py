"""The families: every folder beside this file whose package offers a `FAMILY` (`docs/extending/family.md`).

A `FAMILY` is cheap to import. Its `rewrite` module needs onnx, its `network` module needs PyTorch; both are imported at
first use.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from trtmatte.compiler import families as folder
from trtmatte.compiler.families.flags import Flag, flags_of
from trtmatte.compiler.families.kinds import require_kinds
from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.errors import SettingError
from trtmatte.models.model import Model

if TYPE_CHECKING:
    from onnx import ModelProto

    from trtmatte.compiler.graph.onnx_graph import Graph

__all__ = ["Family", "Variant", "families", "family", "flags", "keep_fp32", "require_known", "variants"]

Size = tuple[int, int]


@dataclass(frozen=True)
class Variant:
    """A PyTorch network of a family: a class in its `network` module, with these arguments."""

    class_name: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    options: tuple[Mapping[str, Any], ...] = ({},)
    """The options of the class that show in its weights, each tried when a checkpoint is recognised."""
    is_recognised: bool = True
    """A checkpoint can be recognised as this variant; False for a second name of another variant."""


@dataclass(frozen=True)
class Family:
    """A known kind of model.

    Its package has the modules `rewrite` (`resembles`, `from_onnx`, and `from_network` if it has networks) and, if it
    reads checkpoints, `network`.
    """

    name: str
    title: str
    package: str
    rank: int
    """A model is compared with the families in the order of their ranks."""
    settings: type
    """A frozen dataclass; fields made by `flag` are flags of the commands."""
    keep_fp32: KeepFp32
    """The nodes that an fp16 plan computes in float32."""
    variants: Mapping[str, Variant] = field(default_factory=dict)
    models: tuple[Model, ...] = ()
    """The published models that `trtmatte models` lists."""
    is_recognised: bool = True
    """A model file can be recognised as one of this family; False for a family that must be asked for by name."""
    follows_frame: bool = False
    """By default the picture that the network sees has the aspect ratio of the frames that an engine is built for."""

    @property
    def setting_names(self) -> tuple[str, ...]:
        return tuple(each.name for each in fields(self.settings))

    def resembles(self, graph: Graph) -> bool:
        """Report if an ONNX graph is one of this family."""
        found: bool = self.is_recognised and self._module("rewrite").resembles(graph)
        return found

    def from_onnx(self, graph: Graph, size: Size, batch: int, settings: Any) -> ModelProto:
        """The trtmatte graph of an ONNX file."""
        model: ModelProto = self._module("rewrite").from_onnx(graph, size, batch, settings)
        return model

    def from_network(self, network: Any, variant: str, size: Size, batch: int, settings: Any) -> ModelProto:
        """The trtmatte graph of a checkpoint's network."""
        model: ModelProto = self._module("rewrite").from_network(network, variant, size, batch, settings)
        return model

    @property
    def network_module(self) -> Any:
        """The module with the PyTorch classes.

        It may offer `complete_state(state, path)` for incomplete files, and `settings_of(network)` for networks that
        hold settings of the family.
        """
        return self._module("network")

    def checked(self, settings: Mapping[str, Any]) -> Any:
        """The settings as an object; raises a SettingError for a name that the family does not have."""
        known = self.setting_names
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise SettingError(f"{self.name} has no setting {', '.join(unknown)}; it has {', '.join(known)}")
        require_kinds(self.settings, settings)
        return self.settings(**settings)

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"{self.package}.{name}")


_NOT_FAMILIES: Final = ("shared",)


@functools.cache
def families() -> tuple[Family, ...]:
    """All families, by rank."""
    packages = [each.name for each in pkgutil.iter_modules(folder.__path__) if each.ispkg]
    found = [
        importlib.import_module(f"{folder.__name__}.{name}").FAMILY for name in packages if name not in _NOT_FAMILIES
    ]
    return tuple(sorted(found, key=lambda family: (family.rank, family.name)))


def family(name: str) -> Family:
    """The family of this name."""
    for each in families():
        if each.name == name:
            return each
    raise SettingError(f"family is {name!r}; expected one of {', '.join(each.name for each in families())}")


def variants() -> dict[str, Family]:
    """The names of all networks, with their families."""
    return {name: each for each in families() for name in each.variants}


def flags() -> dict[str, tuple[list[str], Flag]]:
    """All flags by name: the families that have them, and the description."""
    found: dict[str, tuple[list[str], Flag]] = {}
    for each in families():
        for name, description in flags_of(each.settings).items():
            found.setdefault(name, ([], description))[0].append(each.name)
    return found


def require_known(settings: Iterable[str]) -> None:
    """Raise a SettingError for the name of a setting that no family has."""
    known = {name for family in families() for name in family.setting_names}
    if unknown := [name for name in settings if name not in known]:
        raise SettingError(f"no family has the setting {', '.join(unknown)}; there are {', '.join(sorted(known))}")


def keep_fp32(name: str) -> KeepFp32:
    """The rule of a family; for an unknown family, such as that of an old engine, the generic one."""
    known = {each.name: each.keep_fp32 for each in families()}
    return known.get(name, known["generic"])
