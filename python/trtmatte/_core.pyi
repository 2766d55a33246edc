"""The native ops. Use trtmatte.ops, which is their face."""

import sys
from typing import Any

from typing_extensions import Buffer

CUDA_BUILT: bool
CUDA_ARCHITECTURES: str
OUTPUTS: dict[str, int]

class Array(Buffer):
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @property
    def shape(self) -> list[int]: ...
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...

def cuda_device_count() -> int: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
def available_processors() -> int: ...
def copy(to: Any, source: Any) -> None: ...
def read(array: Any, name: str) -> Array: ...
def expect_room(outputs: dict[str, Any], inputs: dict[str, Any]) -> None: ...
def allocations() -> int: ...
def set_instruction_set(name: str) -> None: ...
def instruction_set() -> str: ...
def best_instruction_set() -> str: ...
def foreground_estimate(
    frame: Any,
    alpha: Any,
    colours: Any,
    *,
    frame_layout: str = "",
    color: str = "rgb",
    workspace: Any = None,
    cuda_stream: int | None = None,
) -> None: ...
def foreground_estimate_workspace() -> int: ...
def frame_sample(
    frame: Any,
    sample: Any,
    *,
    step_y: tuple[int, int] | None = None,
    step_x: tuple[int, int] | None = None,
    method: str = "linear",
    sigma: float = 1.0,
    mean: tuple[float, float, float] = ...,
    std: tuple[float, float, float] = ...,
    frame_layout: str = "",
    color: str = "rgb",
    cuda_stream: int | None = None,
) -> None: ...
def guided_upsample(
    frame: Any,
    A: Any,
    b: Any,
    *,
    out: dict[str, Any],
    background: Any = None,
    frame_layout: str = "",
    layout: str = "HWC",
    color: str = "rgb",
    cuda_stream: int | None = None,
) -> None: ...
def matte_upsample(
    frame: Any,
    alpha: Any,
    colours: Any = None,
    *,
    method: str = "linear",
    out: dict[str, Any],
    background: Any = None,
    frame_layout: str = "",
    layout: str = "HWC",
    color: str = "rgb",
    cuda_stream: int | None = None,
) -> None: ...
def patch_select(
    err: Any,
    indices: Any,
    count: Any,
    ref: Any = None,
    *,
    rows: int,
    columns: int,
    mode: str = "sampling",
    k: int = 1,
    threshold: float = ...,
    prevent_oversampling: bool = True,
    workspace: Any = None,
    cuda_stream: int | None = None,
) -> None: ...
def patch_select_workspace(batch: int, rows: int, columns: int) -> int: ...
def patch_crop(
    maps: Any,
    src: Any,
    bgr: Any,
    indices: Any,
    half: Any,
    full: Any,
    *,
    kernel: int = 3,
    frame_layout: str = "",
    color: str = "rgb",
    cuda_stream: int | None = None,
) -> None: ...
def patch_scatter(
    coarse: Any,
    patches: Any,
    indices: Any,
    frame: Any,
    *,
    out: dict[str, Any],
    background: Any = None,
    frame_layout: str = "",
    layout: str = "HWC",
    color: str = "rgb",
    cuda_stream: int | None = None,
    workspace: Any = None,
) -> None: ...
def patch_scatter_workspace(batch: int, height: int, width: int) -> int: ...
