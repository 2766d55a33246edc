"""What is chosen when a session is opened, checked at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from trtmatte.errors import SettingError
from trtmatte.ops import Color, Layout
from trtmatte.program import BACKGROUND, MATTE, Program
from trtmatte.session.steps import Wanted

_DTYPES: Final = ("uint8", "float16", "float32")
_LAYOUTS: Final = ("HWC", "CHW")
_COLORS: Final = ("rgb", "bgr")


@dataclass(frozen=True)
class Settings:
    """The arguments of `Session`, by the same names."""

    backend: str
    device: Any
    outputs: tuple[str, ...]
    dtype: str
    layout: Layout
    color: Color
    background: Any
    backdrop: Any
    batch: int
    ring: int
    scene_cut: float | None

    @classmethod
    def of(
        cls, program: Program, *, outputs: Sequence[str] | str | None, batch: int | None, dtype: Any, **others: Any
    ) -> Settings:
        """Completes what was left out and refuses what cannot be."""
        settings = cls(
            outputs=_outputs(program, outputs),
            batch=program.batch if batch is None else batch,
            dtype=getattr(dtype, "__name__", str(dtype)).removeprefix("torch."),
            **_with_backdrop(program, others),
        )
        settings._check(program)
        return settings

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.outputs, self.layout, self.color)

    @property
    def composites(self) -> bool:
        return "composite" in self.outputs

    def arguments(self) -> dict[str, Any]:
        """To open another session like this."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def _check(self, program: Program) -> None:
        _one_of("dtype", self.dtype, _DTYPES)
        _one_of("layout", self.layout, _LAYOUTS)
        _one_of("color", self.color, _COLORS)
        if not _is_count(self.batch) or self.batch % program.batch:
            raise SettingError(
                f"batch is {self.batch!r}; this engine runs {program.batch} stream(s) at once: "
                "expected a multiple of that"
            )
        if not _is_count(self.ring):
            raise SettingError(f"ring is {self.ring!r}; expected the number of results that are kept, 1 or more")
        if self.scene_cut is not None and not (program.states and 0 < self.scene_cut < 1):
            why = (
                "expected a change between 0 and 1"
                if program.states
                else f"{program.family} has no states to begin anew"
            )
            raise SettingError(f"scene_cut is {self.scene_cut!r}; {why}")
        if self.backdrop is not None and not self.composites:
            raise SettingError(f"a backdrop is given, but outputs={self.outputs}: ask for 'composite' as well")


def _outputs(program: Program, outputs: Sequence[str] | str | None) -> tuple[str, ...]:
    known = (*(MATTE if program.matte else ()), *program.outputs)
    if outputs is None:
        return ("fgr", "pha") if program.matte else program.outputs
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    for name in names:
        _one_of("output", name, known)
    if not names or len(set(names)) < len(names):
        raise SettingError(f"outputs is {names}; expected each once, and one at least, of {', '.join(known)}")
    return names


def _with_backdrop(program: Program, others: dict[str, Any]) -> dict[str, Any]:
    """For a model that needs no captured background, that word means the backdrop."""
    background, backdrop = others["background"], others["backdrop"]
    if BACKGROUND in program.pictures or background is None:
        return others
    if backdrop is not None:
        raise SettingError(
            f"background and backdrop are both given; {program.family} needs no captured background: "
            "give backdrop alone"
        )
    return {**others, "background": None, "backdrop": background}


def _one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise SettingError(f"{name} is {value!r}; expected {', '.join(choices)}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
