"""PyTorch, used as the models' documentation shows: float32 on the CPU; float16 and channels last on CUDA."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.models import weights
from benchmarks.models.contenders.base import Array, Contender, green_planes, plate
from benchmarks.models.subjects import Subject
from trtmatte.compiler.families.u2net.spec import MEAN, STD


class Torch(Contender):
    questions = ("frame", "tensor", "device")

    def __init__(self, subject: Subject, device: str, folder: Path, form: str = "eager", exact: bool = False) -> None:
        """`form` is "eager", "script" (frozen) or "compile"; `exact` keeps float32 on CUDA as well."""
        super().__init__(subject, device, folder)
        self._dtype = torch.float32 if exact or device == "cpu" else torch.float16
        self._layout = torch.contiguous_format if self._dtype == torch.float32 else torch.channels_last
        net = weights.loaded(subject, folder).to(device, self._dtype).to(memory_format=self._layout)
        self._net: Any = _Call(net, subject).eval()
        self._green = torch.from_numpy(green_planes()).to(device, self._dtype)
        self._plate = self._planes(torch.from_numpy(plate(subject))) if subject.family == "bgmv2" else None
        self._states: Any = ()
        self.reset()
        if form == "compile":
            self._net = torch.compile(self._net)
        elif form == "script":
            self._net = self._frozen()

    def given(self, question: str, seed: int) -> Any:
        given = torch.from_numpy(super().given(question, seed))
        if question == "frame":
            return given
        given = given.to(self.device)
        return given if question == "device" else given.to(self._dtype).to(memory_format=self._layout)

    def run(self, question: str, given: Any) -> Any:
        with torch.inference_mode():
            if question == "tensor":
                return self._matte(given)
            source = self._planes(given)
            fgr, pha = self._matte(source, self._small(source), source.shape[-2:])
            composite = fgr * pha + self._green * (1 - pha)
            composite = composite.mul(255).byte().permute(0, 2, 3, 1)
            composite = composite if self.subject.batch > 1 else composite[0]
            return composite if question == "device" else composite.cpu()

    def got(self, question: str, result: Any) -> dict[str, Array]:
        if question != "tensor":
            return {"composite": result.cpu().numpy()}
        return {
            name: each.float().cpu().numpy()
            for name, each in zip(("fgr", "pha"), result, strict=True)
            if each is not None
        }

    def wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def reset(self) -> None:
        self._states = (None,) * 4 if self.subject.family == "rvm" else ()

    def _planes(self, picture: Any) -> Any:
        """Convert a picture of bytes to the input of the network."""
        picture = picture.to(self.device)
        picture = picture if picture.ndim == 4 else picture[None]
        return picture.permute(0, 3, 1, 2).to(self._dtype).div(255).contiguous(memory_format=self._layout)

    def _small(self, source: Any) -> Any:
        """The resized picture for a network with its own size."""
        if not self.subject.alpha_alone:
            return source
        width, height = self.subject.network_size
        if self.subject.family == "modnet":
            return F.interpolate(source, (height, width), mode="area")
        return F.interpolate(source, (height, width), mode="bilinear", antialias=True)

    def _matte(self, source: Any, small: Any = None, size: Any = None) -> tuple[Any, Any]:
        if self.subject.family == "rvm":
            fgr, pha, *self._states = self._net(source, *self._states)
            return fgr, pha
        if self.subject.family == "bgmv2":
            pha, fgr = self._net(source, self._plate)
            return fgr, pha
        pha = self._net(source if small is None else small)
        if size is None:
            return None, pha
        if self.subject.family == "modnet":
            return source, F.interpolate(pha, size, mode="area")
        return source, F.interpolate(pha, size, mode="bilinear", align_corners=False)

    def _frozen(self) -> Any:
        """Trace and freeze the network. For one size and one ratio, it has no branches."""
        source = self.given("tensor", 0)
        with torch.no_grad(), warnings.catch_warnings(), contextlib.suppress(AttributeError):
            warnings.simplefilter("ignore")
            more: Any = ()
            if self.subject.family == "rvm":
                self._states = more = tuple(torch.zeros_like(each) for each in self._net(source, *self._states)[2:])
                self.reset = lambda: setattr(self, "_states", more)  # type: ignore[method-assign]
            elif self.subject.family == "bgmv2":
                more = (self._plate,)
            return torch.jit.freeze(torch.jit.trace(self._net, (source, *more), check_trace=False))


class _Call(torch.nn.Module):
    """The call of a model as its documentation shows it, with its preparation and its last steps."""

    def __init__(self, net: Any, subject: Subject) -> None:
        super().__init__()
        self.net, self.family, self.scale = net, subject.family, subject.scale
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1).to(next(net.parameters())))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1).to(next(net.parameters())))

    def forward(self, source: Any, *more: Any) -> Any:
        if self.family == "rvm":
            return tuple(self.net(source, *more, downsample_ratio=self.scale))
        if self.family == "bgmv2":
            return tuple(self.net(source, *more)[:2])
        if self.family == "modnet":
            return self.net((source - 0.5) / 0.5, True)[2]
        picture = (source / source.max() - self.mean) / self.std
        pha = self.net.alpha(picture) if self.family == "birefnet" else self.net(picture)[0]
        low, high = pha.min(), pha.max()
        return (pha - low) / (high - low)
