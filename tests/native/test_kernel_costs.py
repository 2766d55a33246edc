"""The kernels' machine code must not grow: registers, spilled bytes and instructions, against recorded limits.

The code is that of the nvcc which tools/install_nvcc.py pins, in build/nvcc: `make kernels` installs it.
"""

from __future__ import annotations

import json
import os

import pytest

from tools import kernel_costs
from tools.kernel_costs import Kernel, Ways, functions

GROWTH = 1.03  # what a compiler's scheduling may add
REMEDY = "make it smaller, or record why it grew with `python tools/kernel_costs.py --limits`"
LIMITS: dict[str, dict[str, int]] = json.loads(kernel_costs.LIMITS.read_text())


@pytest.fixture(scope="module")
def kernels() -> dict[str, Kernel]:
    nvcc = kernel_costs.find_nvcc()
    if nvcc is None:
        reason = "nvcc and nvdisasm are not in build/nvcc; `make kernels` installs them"
        if os.environ.get("TRTMATTE_REQUIRE_KERNELS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return {kernel.name: kernel for kernel in kernel_costs.measure_all(nvcc)}


def grown(kernel: Kernel, limits: dict[str, int]) -> list[str]:
    costs = kernel.limits()
    return [
        f"{kernel.name}: {costs[name]} {name}, at most {limit} are recorded"
        for name, limit in limits.items()
        if costs[name] > limit * GROWTH
    ]


def test_no_kernel_grows(kernels: dict[str, Kernel]) -> None:
    assert kernels.keys() == LIMITS.keys(), "record the new kernels with `python tools/kernel_costs.py --limits`"
    wrong = [line for name, kernel in kernels.items() for line in grown(kernel, LIMITS[name])]
    assert not wrong, "\n".join([*wrong, REMEDY])


def test_a_kernel_that_grows_is_found() -> None:
    name, limits = next(iter(LIMITS.items()))
    assert grown(Kernel(name, **limits), limits) == []
    for cost in limits:
        worse = {**limits, cost: int(limits[cost] * GROWTH) + 1}
        (line,) = grown(Kernel(name, **worse), limits)
        assert f"{worse[cost]} {cost}, at most {limits[cost]}" in line


def limits_of(name: str) -> Kernel:
    return Kernel(name, **LIMITS[name])


def test_what_goes_to_4k_films_is_issued_faster_than_it_is_copied() -> None:
    """Colours with alpha from the maps of all families, and composites from BackgroundMattingV2's and small alphas."""
    composites = ("composite, Colour", "composite, Packed", "pha+composite, Colour", "pha+composite, Packed")
    for op, maps, outputs in (
        ("guided_upsample", "NearMaps", ("composite, Packed", "pha+composite, Packed")),
        ("patch_scatter", "NearMaps", composites),
        ("matte_upsample", "NearMaps", composites),
        ("matte_upsample", "NearAreas", composites),
    ):
        for written in ("fgr+pha, No", "rgba, No", *outputs):
            kernel = limits_of(f"{op}: matte_blocks<{maps}<float>, {written}Background>")
            assert kernel.issue_seconds() < kernel.copy_seconds(), kernel


# ---------------------------------------------------------------------------------------------------------------------
# How instructions are counted

LISTING = """
.text.kernel:
        .type           kernel,@function
kernel:
        /*0000*/                   S2R R0, SR_TID.X ;
        /*0010*/               @P0 EXIT ;
        /*0020*/               @P1 BRA `(.L_x_1) ;
        /*0030*/                   FADD R1, R1, R2 ;
        /*0040*/                   CALL.REL.NOINC `($divide) ;
.L_x_1:
        /*0050*/                   STG.E desc[UR4][R2.64], R1 ;
        /*0060*/               @P2 BRA `(.L_x_1) ;
        /*0070*/                   EXIT ;
        .type           $divide,@function
$divide:
        /*0080*/                   MUFU.RCP R3, R3 ;
        /*0090*/                   RET.REL.NODEC R4 `(kernel) ;
"""


def test_ways_through_a_kernel() -> None:
    """The way past the early exit stores nothing; the loop counts once; the call has two instructions of its own."""
    (code,) = functions(LISTING).values()
    assert len(code[0]) == 10
    assert Ways(*code).fewest_and_most() == (6, 6 + 2 + 2)


def test_a_jump_table() -> None:
    table = LISTING.replace("@P1 BRA `(.L_x_1) ;", 'BRX R2 -0x10 (*"BRANCH_TARGETS .L_x_1,$divide"*)')
    (code,) = functions(table).values()
    assert Ways(*code).fewest_and_most() == (6, 6)


def test_pixels_and_bytes_of_a_kernel() -> None:
    kernel = Kernel("guided_upsample: matte_blocks<NearMaps<float>, pha+composite, PackedBackground>", 80, 0, 800, 1600)
    assert kernel.bytes == 3 + 1 + 3 + 3
    assert kernel.instructions == (800 + 800 / 8) / 16
    assert Kernel("patch_scatter: matte_blocks<NearMaps<Half>, pha, NoBackground>", 32, 0, 1, 1).bytes == 1
    assert Kernel("patch_crop: crop_patches", 48, 0, 1, 1).bytes is None
