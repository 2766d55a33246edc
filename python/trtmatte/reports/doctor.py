"""`trtmatte doctor`: what this machine can run, what it cannot run, and the remedies.

Anything broken becomes a finding, never an error. Packages that only compile models are not imported: they are slow.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from trtmatte import _core, plugins
from trtmatte.backends import cuda, driver, registry, tensorrt
from trtmatte.backends.interface import Backend
from trtmatte.errors import BackendError
from trtmatte.support.cache_folder import cache_folder
from trtmatte.support.html import Row, table
from trtmatte.support.packages import ROOT, version_of
from trtmatte.version import __version__

__all__ = ["Finding", "Job", "Report", "doctor"]

_USED: Final = "Used on this machine"
_ENCODERS: Final = {  # for each kind of video the encoders that do, the better first
    "H.264": ("libx264", "h264_nvenc", "libopenh264"),
    "ProRes": ("prores_ks", "prores"),
    "VP9": ("libvpx-vp9",),
}


@dataclass(frozen=True)
class Finding:
    """The state of one component, and its problems, each with its remedy."""

    subject: str
    found: str = ""
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """The component that does a job here, and the reasons why no better one does. `by` is empty if none can."""

    name: str
    by: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The findings and the jobs. `trtmatte doctor` prints it as text."""

    findings: tuple[Finding, ...]
    jobs: tuple[Job, ...]

    @property
    def can_run(self) -> bool:
        """Report if any backend can run engines."""
        return bool(self.jobs[0].by)

    def to_json(self) -> dict[str, Any]:
        return {"can_run": self.can_run, **asdict(self)}

    def __str__(self) -> str:
        return "\n".join([*_columns(self._here()), "", _USED, *_columns(self._used())])

    def _repr_html_(self) -> str:
        """Both tables, for notebooks."""
        return table(self._here()) + table(self._used(), _USED)

    def _here(self) -> Iterator[Row]:
        return ((each.subject, [each.found, *each.wrong]) for each in self.findings)

    def _used(self) -> Iterator[Row]:
        return (
            (job.name, [job.by or "nothing can", *(f"not {reason}" for reason in job.reasons)]) for job in self.jobs
        )


def doctor() -> Report:
    """Report what this machine can run, which backend `auto` takes and why not a better one, and what to install."""
    return Report(
        tuple(_examined(subject, check) for subject, check in _CHECKS.items()),
        tuple(_planned(name, plan) for name, plan in _JOBS.items()),
    )


def _columns(rows: Iterable[Row]) -> Iterator[str]:
    for title, lines in rows:
        first, *rest = filter(None, lines)
        yield f"  {title:<14}  {first}"
        yield from (f"{'':<18}{line}" for line in rest)


# ---------------------------------------------------------------------------------------------------------------------
# Findings


class _WrongError(Exception):
    """A component is missing, for this reason."""


Found = tuple[str, Iterable[str]]


def _examined(subject: str, check: Callable[[], Found]) -> Finding:
    try:
        found, wrong = check()
        return Finding(subject, found, tuple(wrong))
    except (Exception, SystemExit) as error:  # packages can raise anything when they are imported
        return Finding(subject, "", (str(error) or f"cannot be examined: {error!r}",))


def _python() -> Found:
    return f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.executable}", ()


def _trtmatte() -> Found:
    return f"{__version__}, {ROOT}", ()


def _native_core() -> Found:
    forms = f"CUDA for {_core.CUDA_ARCHITECTURES}" if _core.CUDA_BUILT else "without CUDA"
    processors = f"{_core.get_num_threads()} threads of {_core.available_processors()}"
    wrong = (
        () if _core.CUDA_BUILT else ("for GPUs, install trtmatte where nvcc is found: python tools/install_nvcc.py",)
    )
    return f"{forms}; CPU forms for {_core.instruction_set()}, {processors}", wrong


def _driver() -> Found:
    major, minor = driver.cuda_version()
    version = _first_match(Path("/proc/driver/nvidia/version"), r"Kernel Module[^\d]*([\d.]+)")
    wrong = () if major >= 13 else ("packages for CUDA 13 need a driver from 580: take those that end in -cu12",)
    return f"{version}{', ' if version else ''}for CUDA up to {major}.{minor}", wrong


def _gpus() -> Found:
    try:
        cards = [driver.gpu(index) for index in range(driver.count())]
    except BackendError as error:
        raise _WrongError(f"none{_hidden() or ', see the driver'}") from error
    texts = [f"{card.name}, compute capability {card.capability}, {card.memory / 2**30:.0f} GiB" for card in cards]
    wrong = [] if cards else [f"none{_hidden()}"]
    if _core.CUDA_BUILT:
        wrong += [
            f"the core has no code for {card.name}: build it with CUDAARCHS={card.capability.replace('.', '')}"
            for card in cards
            if not _serves(_core.CUDA_ARCHITECTURES, card.capability)
        ]
    return "; ".join(f"cuda:{index} {text}" for index, text in enumerate(texts)), wrong


def _hidden() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f", and CUDA_VISIBLE_DEVICES is {visible!r}: unset it"


def _serves(architectures: str, capability: str) -> bool:
    """Report if a GPU can run code for these architectures: machine code within its generation, PTX from then on."""
    major, minor = map(int, capability.split("."))
    for each in re.findall(r"(\d+)[af]?(-real|-virtual)?", architectures):
        number, kind = int(each[0]), each[1]
        real = kind != "-virtual" and number // 10 == major and number % 10 <= minor
        if real or (kind != "-real" and number <= 10 * major + minor):
            return True
    return False


def _backend(backend: Backend) -> Callable[[], Found]:
    def check() -> Found:
        reason = backend.unavailable_reason(0) if backend.device == "cpu" else None
        if reason is not None:
            raise _WrongError(reason)
        if backend.describe is not None:
            return backend.describe()
        return version_of(backend.name) or "available", ()

    return check


def _backends() -> dict[str, Callable[[], Found]]:
    """One check for each library. A backend that describes itself speaks for all that share its title."""
    found: dict[str, Backend] = {}
    for each in registry.all_backends():
        if each.title not in found or found[each.title].describe is None:
            found[each.title] = each
    return {title: _backend(each) for title, each in found.items()}


def _cuda_core() -> Found:
    """Import cuda.core only if there is a GPU: it is slow."""
    version = version_of("cuda-core")
    if version is None or driver.unavailable_reason() is None:
        version = str(_imported("cuda.core", "'trtmatte[cuda]'").__version__)
    problem = cuda.core_unavailable_reason()
    return version, [problem] if problem else []


def _only_version(package: str, purpose: str, install: str) -> Callable[[], Found]:
    def check() -> Found:
        version = version_of(package)
        if version is None:
            raise _WrongError(f"not installed, {purpose} needs it: {install}")
        return version, ()

    return check


def _av() -> Found:
    av = _imported("av", "'trtmatte[video]'")
    encoders = {kind: [name for name in names if _encodes(av, name)] for kind, names in _ENCODERS.items()}
    found = [f"{kind} by {', '.join(names)}" for kind, names in encoders.items() if names]
    wrong = [f"cannot write {kind}: pip install --upgrade av" for kind, names in encoders.items() if not names]
    return "; ".join([str(av.__version__), *found]), wrong


def _encodes(av: Any, name: str) -> bool:
    try:
        return bool(av.codec.Codec(name, "w"))
    except Exception:  # PyAV's own kind has changed its place over time
        return False


def _opencv() -> Found:
    return str(_imported("cv2", "'trtmatte[live]'").__version__), ()


def _plugins() -> Found:
    path = plugins.library_path()
    if path is None:
        return "not here; trtmatte-build --export plan needs them: install trtmatte with TRTMATTE_PLUGINS=ON", ()
    built, wrong = plugins.tensorrt_version(path), []
    if tensorrt.build_unavailable_reason("tensorrt") is None and not tensorrt.version("tensorrt").startswith(
        f"{built[0]}."
    ):
        wrong = [f"TensorRT {tensorrt.version('tensorrt')} refuses them: build trtmatte for its headers"]
    return f"for TensorRT {built[0]}.{built[1]}, {path}", wrong


def _cache() -> Found:
    folder = cache_folder()
    nearest = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    remedy = "set TRTMATTE_CACHE to a folder of your own"
    wrong = []
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        wrong.append(f"{nearest} cannot be written: {remedy}")
    if nearest != folder or not folder.is_dir():
        return f"{folder}, no folder yet", wrong
    if hasattr(os, "getuid"):
        theirs = [each for each in (folder, *folder.iterdir()) if each.stat().st_uid != os.getuid()]
        wrong += [f"{each} belongs to another user: {remedy}" for each in theirs]
    sizes = [each.stat().st_size for each in folder.rglob("*") if each.is_file()]
    free = shutil.disk_usage(folder).free
    mode = stat.S_IMODE(folder.stat().st_mode)
    there = f"{folder} ({mode:04o}), {len(sizes)} files of {_megabytes(sum(sizes))}, {_megabytes(free)} free"
    return f"{there}; trtmatte cache shows and prunes it", wrong


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _imported(module: str, package: str) -> Any:
    """Import a package, or raise an error with the reason and the remedy."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name in (module, module.partition(".")[0]):
            raise _WrongError(f"not installed: pip install {package}") from error
        raise _WrongError(f"installed, but it lacks {error.name}: pip install {error.name}") from error
    except (Exception, SystemExit) as error:
        raise _WrongError(
            f"installed, but it cannot be loaded ({error}): pip install --force-reinstall {package}"
        ) from error


def _first_match(path: Path, pattern: str) -> str:
    try:
        found = re.search(pattern, path.read_text())
    except OSError:
        return ""
    return found.group(1) if found else ""


_CHECKS: Final[dict[str, Callable[[], Found]]] = {
    "Python": _python,
    "trtmatte": _trtmatte,
    "native core": _native_core,
    "NVIDIA driver": _driver,
    "GPUs": _gpus,
    "cuda.core": _cuda_core,
    **_backends(),
    "onnx": _only_version("onnx", "reading models", "pip install onnx"),
    "PyTorch": _only_version("torch", "reading checkpoints", "pip install 'trtmatte[torch]'"),
    "PyAV": _av,
    "OpenCV": _opencv,
    "plugins": _plugins,
    "cache": _cache,
}


# ---------------------------------------------------------------------------------------------------------------------
# Jobs


def _planned(name: str, plan: Callable[[], tuple[list[str], dict[str, str]]]) -> Job:
    try:
        able, unable = plan()
    except (Exception, SystemExit) as error:
        return Job(name, "", (f"known: {error!r}",))
    alike: dict[str, list[str]] = {}
    for each, reason in unable.items():
        alike.setdefault(reason, []).append(each)
    return Job(name, ", ".join(able), tuple(f"{', '.join(each)}: {reason}" for reason, each in alike.items()))


def _running() -> tuple[list[str], dict[str, str]]:
    """The backend that `auto` takes, for an engine with plans that fit or one that can be built here."""
    reasons: dict[str, str] = {}
    for backend in registry.all_backends():
        reason = backend.unavailable_reason(0)
        if reason is None:
            return [f"{backend.name} on {'the CPU' if backend.device == 'cpu' else 'cuda:0'}"], reasons
        reasons[f"{backend.name} on {'the CPU' if backend.device == 'cpu' else 'a GPU'}"] = reason
    return [], reasons


def _building() -> tuple[list[str], dict[str, str]]:
    if version_of("onnx") is None:
        return [], {"anything": "onnx is not installed: pip install onnx"}
    reasons = {target: tensorrt.build_unavailable_reason(target) for target in tensorrt.TARGETS}
    able = [target for target, reason in reasons.items() if reason is None]
    return ["onnxruntime", *able], {target: reason for target, reason in reasons.items() if reason is not None}


def _with(title: str, check: Callable[[], Found]) -> Callable[[], tuple[list[str], dict[str, str]]]:
    def plan() -> tuple[list[str], dict[str, str]]:
        try:
            check()
        except _WrongError as error:
            return [], {title: str(error)}
        return [title], {}

    return plan


_JOBS: Final[dict[str, Callable[[], tuple[list[str], dict[str, str]]]]] = {
    "sessions": _running,
    "trtmatte-build": _building,
    "video files": _with("PyAV", _av),
    "cameras": _with("OpenCV", _opencv),
}
