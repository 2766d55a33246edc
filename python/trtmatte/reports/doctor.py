"""`trtmatte doctor`: what this machine can run, what it cannot, and what to do about it.

Whatever is broken here is a finding and never an error. Nothing slow is imported: what only compiles models is asked
for its version alone.
"""

from __future__ import annotations

import importlib
import importlib.metadata
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

import trtmatte
from trtmatte import _core, plugins
from trtmatte.backends import ON_CPU, cuda, tensorrt, why_not_on_cpu
from trtmatte.backends.tensorrt import device
from trtmatte.errors import BackendError
from trtmatte.models import store

__all__ = ["Finding", "Job", "Report", "doctor"]

_ENCODERS: Final = {  # for each kind of video the encoders that do, the better first
    "H.264": ("libx264", "h264_nvenc", "libopenh264"),
    "ProRes": ("prores_ks", "prores"),
    "VP9": ("libvpx-vp9",),
}


@dataclass(frozen=True)
class Finding:
    """What there is of one thing, and what is wrong with it, each with its remedy."""

    subject: str
    found: str = ""
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """What does a job here, and why nothing better does. Where nothing does, `by` is empty."""

    name: str
    by: str = ""
    why_not: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What is here and what runs what. Its text is what `trtmatte doctor` prints."""

    findings: tuple[Finding, ...]
    jobs: tuple[Job, ...]

    @property
    def can_run(self) -> bool:
        """Whether engines can be run at all."""
        return bool(self.jobs[0].by)

    def to_json(self) -> dict[str, Any]:
        return {"can_run": self.can_run, **asdict(self)}

    def __str__(self) -> str:
        here = ((each.subject, [each.found, *each.wrong]) for each in self.findings)
        jobs = (
            (job.name, [job.by or "nothing can", *(f"not {reason}" for reason in job.why_not)]) for job in self.jobs
        )
        return "\n".join([*_columns(here), "", "What is taken here", *_columns(jobs)])


def doctor() -> Report:
    """What this machine can run, which backend `auto` takes and why not the better one, and what to install."""
    return Report(
        tuple(_examined(subject, check) for subject, check in _CHECKS.items()),
        tuple(_planned(name, plan) for name, plan in _JOBS.items()),
    )


def _columns(rows: Iterable[tuple[str, list[str]]]) -> Iterator[str]:
    for title, lines in rows:
        first, *rest = filter(None, lines)
        yield f"  {title:<14}  {first}"
        yield from (f"{'':<18}{line}" for line in rest)


# ---------------------------------------------------------------------------------------------------------------------
# What is here


class _WrongError(Exception):
    """There is nothing to be found, and why."""


Found = tuple[str, Iterable[str]]


def _examined(subject: str, check: Callable[[], Found]) -> Finding:
    try:
        found, wrong = check()
        return Finding(subject, found, tuple(wrong))
    except (Exception, SystemExit) as error:  # whatever a package does when it is imported
        return Finding(subject, "", (str(error) or f"cannot be examined: {error!r}",))


def _python() -> Found:
    return f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.executable}", ()


def _trtmatte() -> Found:
    return f"{trtmatte.__version__}, {Path(trtmatte.__file__).parent}", ()


def _native_core() -> Found:
    forms = f"CUDA for {_core.CUDA_ARCHITECTURES}" if _core.CUDA_BUILT else "without CUDA"
    processors = f"{_core.get_num_threads()} threads of {_core.available_processors()}"
    wrong = (
        () if _core.CUDA_BUILT else ("for GPUs, install trtmatte where nvcc is found: python tools/install_nvcc.py",)
    )
    return f"{forms}; CPU forms for {_core.instruction_set()}, {processors}", wrong


def _driver() -> Found:
    major, minor = device.cuda_version()
    version = _first_match(Path("/proc/driver/nvidia/version"), r"Kernel Module[^\d]*([\d.]+)")
    wrong = () if major >= 13 else ("packages for CUDA 13 need a driver from 580: take those that end in -cu12",)
    return f"{version}{', ' if version else ''}for CUDA up to {major}.{minor}", wrong


def _gpus() -> Found:
    try:
        cards = [device.gpu(index) for index in range(device.count())]
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
    """Real code runs on GPUs of its generation from its own on, the intermediate one on all that are newer."""
    major, minor = map(int, capability.split("."))
    for each in re.findall(r"(\d+)[af]?(-real|-virtual)?", architectures):
        number, kind = int(each[0]), each[1]
        real = kind != "-virtual" and number // 10 == major and number % 10 <= minor
        if real or (kind != "-real" and number <= 10 * major + minor):
            return True
    return False


def _tensorrt(target: str) -> Callable[[], Found]:
    def check() -> Found:
        version = tensorrt.version(target)
        reasons = {"build": tensorrt.why_not(target), "run": tensorrt.why_not_run(target)}
        can = [f"{verb}s plans" for verb, reason in reasons.items() if reason is None]
        return ", ".join([version, *can]), [f"cannot {verb}: {reason}" for verb, reason in reasons.items() if reason]

    return check


def _onnxruntime() -> Found:
    module = _imported("onnxruntime", "onnxruntime")
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    wrong = []
    if len(both) == 2:
        wrong = [f"{' and '.join(both)} are both here and overwrite each other: pip uninstall both, install one again"]
    return f"{module.__version__}, {', '.join(module.get_available_providers())}", wrong


def _openvino() -> Found:
    return str(_imported("openvino", "openvino").__version__), ()


def _cuda_core() -> Found:
    """Imported where it has something to do."""
    version = _version("cuda-core")
    if version is None or device.why_no_gpu() is None:
        version = str(_imported("cuda.core", "'trtmatte[cuda]'").__version__)
    return version, ()


def _only_version(package: str, purpose: str, install: str) -> Callable[[], Found]:
    def check() -> Found:
        version = _version(package)
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
        return "not here; trtmatte-build --layout single needs them: install trtmatte with TRTMATTE_PLUGINS=ON", ()
    built, wrong = plugins.tensorrt_version(path), []
    if tensorrt.why_not("tensorrt") is None and not tensorrt.version("tensorrt").startswith(f"{built[0]}."):
        wrong = [f"TensorRT {tensorrt.version('tensorrt')} refuses them: build trtmatte for its headers"]
    return f"for TensorRT {built[0]}.{built[1]}, {path}", wrong


def _cache() -> Found:
    folder = store.cache_folder()
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
    return f"{folder} ({mode:04o}), {len(sizes)} files of {_megabytes(sum(sizes))}, {_megabytes(free)} free", wrong


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _imported(module: str, package: str) -> Any:
    """A package that can be imported, or why it cannot."""
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


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except Exception:  # a damaged installation is as good as none
        return None


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
    "TensorRT": _tensorrt("tensorrt"),
    "TensorRT-RTX": _tensorrt("tensorrt-rtx"),
    "ONNX Runtime": _onnxruntime,
    "OpenVINO": _openvino,
    "onnx": _only_version("onnx", "reading models", "pip install 'trtmatte[build]'"),
    "PyTorch": _only_version("torch", "reading checkpoints", "pip install 'trtmatte[torch]'"),
    "PyAV": _av,
    "OpenCV": _opencv,
    "plugins": _plugins,
    "cache": _cache,
}


# ---------------------------------------------------------------------------------------------------------------------
# What does what


def _planned(name: str, plan: Callable[[], tuple[list[str], dict[str, str]]]) -> Job:
    try:
        able, whys = plan()
    except (Exception, SystemExit) as error:
        return Job(name, "", (f"known: {error!r}",))
    reasons: dict[str, list[str]] = {}
    for each, reason in whys.items():
        reasons.setdefault(reason, []).append(each)
    return Job(name, ", ".join(able), tuple(f"{', '.join(each)}: {reason}" for reason, each in reasons.items()))


def _running() -> tuple[list[str], dict[str, str]]:
    """The first that can is what `auto` takes, of an engine with plans that fit or of one that can be built here."""
    whys: dict[str, str] = {}
    for backend in cuda.ON_CUDA:
        reason = cuda.why_not(backend)
        if reason is None:
            return [f"{backend} on cuda:0"], whys
        whys[f"{backend} on a GPU"] = reason
    for backend in ON_CPU:
        reason = why_not_on_cpu(backend)
        if reason is None:
            return [f"{backend} on the CPU"], whys
        whys[f"{backend} on the CPU"] = reason
    return [], whys


def _building() -> tuple[list[str], dict[str, str]]:
    if _version("onnx") is None:
        return [], {"anything": "onnx is not installed: pip install 'trtmatte[build]'"}
    whys = {target: tensorrt.why_not(target) for target in tensorrt.TARGETS}
    able = [target for target, reason in whys.items() if reason is None]
    return ["onnxruntime", *able], {target: reason for target, reason in whys.items() if reason is not None}


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
