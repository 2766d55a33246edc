"""The settings of a session, completed and checked when it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from trtmatte.errors import SettingError
from trtmatte.format.outputs import COLORS, DEFAULT_OUTPUTS, DTYPES, LAYOUTS, MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import PLATE
from trtmatte.ops import Color, Layout
from trtmatte.runtime.session.steps import OutputSpec
from trtmatte.support.renamed import notice

__all__ = ["Settings", "in_new_words"]


@dataclass(frozen=True)
class Settings:
    """The arguments of `Session`, by the same names, as they were given."""

    backend: str
    device: Any
    outputs: Any
    dtype: Any
    layout: Layout
    color: Color
    plate: Any
    background: Any
    batch: Any
    ring: int | None
    scene_cut: float | None
    raw_foreground: bool = False
    backdrop: Any = None  # an old name of `background`

    def completed(self, program: Program) -> Settings:
        """The settings for a program: defaults filled in, old words replaced. A SettingError refuses wrong values."""
        outputs = _outputs(program, self.outputs)
        plate, background = in_new_words(
            program, outputs, plate=self.plate, background=self.background, backdrop=self.backdrop
        )
        settings = replace(
            self,
            outputs=outputs,
            dtype=getattr(self.dtype, "__name__", str(self.dtype)).removeprefix("torch."),
            plate=plate,
            background=background,
            backdrop=None,
            batch=program.batch if self.batch is None else self.batch,
        )
        settings._check(program)
        return settings

    @property
    def spec(self) -> OutputSpec:
        return OutputSpec(self.outputs, self.layout, self.color, self.raw_foreground)

    @property
    def composites(self) -> bool:
        return "composite" in self.outputs

    def _check(self, program: Program) -> None:
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("layout", self.layout, LAYOUTS)
        _one_of("color", self.color, COLORS)
        if not _is_count(self.batch) or self.batch % program.batch:
            raise SettingError(
                f"batch is {self.batch!r}; this engine runs {program.batch} stream(s) at once: "
                "expected a multiple of that"
            )
        if self.ring is not None and not _is_count(self.ring):
            raise SettingError(
                f"ring is {self.ring!r}; expected the number of results that take turns, 1 or more, or None: results "
                "that never change"
            )
        if self.scene_cut is not None and not (program.states and 0 < self.scene_cut < 1):
            why = "expected a change between 0 and 1" if program.states else f"{program.family} has no states to reset"
            raise SettingError(f"scene_cut is {self.scene_cut!r}; {why}")
        if self.raw_foreground and (program.matte is None or program.matte.op != "MatteUpsample"):
            raise SettingError(
                f"raw_foreground is {self.raw_foreground!r}, but {program.family} predicts the foreground's colours: "
                "leave raw_foreground out"
            )
        if self.plate is not None and PLATE not in program.pictures:
            raise SettingError(f"a plate is given, but {program.family} needs none: leave plate out")
        if self.background is not None and not self.composites:
            raise SettingError(f"a background is given, but outputs={self.outputs}: ask for 'composite' as well")


def in_new_words(
    program: Program, outputs: Sequence[str], *, plate: Any, background: Any, backdrop: Any
) -> tuple[Any, Any]:
    """The plate and the background, for callers who may use the old words: background for plate, backdrop for
    background."""
    needs_plate, composites = PLATE in program.pictures, "composite" in outputs
    if backdrop is not None:
        notice("backdrop", "background")
        if background is not None and (plate is not None or not needs_plate):
            raise SettingError("background and backdrop, its old name, are both given: give background alone")
        return (plate if background is None else background), backdrop
    is_picture = background is not None and not isinstance(background, (str, tuple, list))
    if needs_plate and plate is None and is_picture and not composites:
        notice("background for the empty scene", "plate")
        return background, None
    if not needs_plate and plate is not None and background is None and composites:
        notice("a background as the second argument", "background=…")
        return None, plate
    return plate, background


def _outputs(program: Program, outputs: Sequence[str] | str | None) -> tuple[str, ...]:
    known = (*(MATTE_OUTPUTS if program.matte else ()), *program.outputs)
    if outputs is None:
        return DEFAULT_OUTPUTS if program.matte else program.outputs
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    for name in names:
        _one_of("output", name, known)
    if not names or len(set(names)) < len(names):
        raise SettingError(f"outputs is {names}; expected each once, and one at least, of {', '.join(known)}")
    return names


def _one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise SettingError(f"{name} is {value!r}; expected {', '.join(choices)}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
