"""What may be given to an op, and what is refused: with the argument's name, and before anything is written."""

from __future__ import annotations

import ctypes
import gc
import weakref
from fractions import Fraction

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import trtmatte
from tests.conftest import cuda_device
from tests.ops.specification import maps, picture
from trtmatte import BackendError, FrameError, SettingError, _core, ops

FRAME = picture(12, 16)
A, B = maps(4, 3, 4, seed=0), maps(4, 3, 4, seed=1)
EXPECTED = ops.guided_upsample(FRAME, A, B)
REFERENCE = dict(zip(("fgr", "pha"), EXPECTED, strict=True))


def guided(frame=FRAME, A=A, b=B, **settings):
    return ops.guided_upsample(frame, A, b, **settings)


def same(results):
    for actual, expected in zip(results, EXPECTED, strict=True):
        np.testing.assert_array_equal(actual, expected)


# ---------------------------------------------------------------------------------------------------------------------
# Arrays of every kind


class Interface:
    """An object that has `__array_interface__` and nothing else."""

    def __init__(self, array, **changes):
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, **changes}


class Dlpack:
    """An object that has DLPack and nothing else; an old one does not know versions."""

    def __init__(self, array, versioned=True):
        self._array = array
        self._versioned = versioned

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()

    def __dlpack__(self, **arguments):
        if not self._versioned and "max_version" in arguments:
            raise TypeError("unexpected keyword argument 'max_version'")
        return self._array.__dlpack__(**arguments)


def interface_of_bytes(array):
    """Like PIL: the memory is an object with the buffer protocol."""
    return Interface(array, data=array.tobytes(), strides=None)


KINDS = {
    "numpy": lambda array: array,
    "memoryview": memoryview,
    "interface": Interface,
    "interface of bytes": interface_of_bytes,
    "dlpack": Dlpack,
    "old dlpack": lambda array: Dlpack(array, versioned=False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_kind(kind):
    wrap = KINDS[kind]
    same(guided(wrap(FRAME), wrap(A), wrap(B)))


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"interface of bytes"}))
def test_outputs_of_every_kind(kind):
    out = {name: np.full_like(value, 77) for name, value in REFERENCE.items()}
    results = guided(out={name: KINDS[kind](value) for name, value in out.items()})
    assert len(results) == 2
    same(out.values())


def test_ctypes():
    frame = (ctypes.c_ubyte * 3 * 16 * 12).from_buffer_copy(FRAME.tobytes())
    same(guided(frame))


def test_torch():
    torch = pytest.importorskip("torch")
    out = {name: torch.full(value.shape, 77, dtype=torch.uint8) for name, value in REFERENCE.items()}
    guided(*(torch.from_numpy(value.copy()) for value in (FRAME, A, B)), out=out)
    same(each.numpy() for each in out.values())
    planes = torch.from_numpy(FRAME).permute(2, 0, 1)  # a view, HWC in memory
    fgr, _ = guided(planes, layout="CHW")
    np.testing.assert_array_equal(fgr, REFERENCE["fgr"].transpose(2, 0, 1))


def test_torch_refuses_what_must_not_be_shared():
    torch = pytest.importorskip("torch")
    with pytest.raises(FrameError, match="A could not be read"):
        guided(A=torch.from_numpy(A.copy()).requires_grad_())
    with pytest.raises(FrameError, match="b holds values of type"):
        guided(b=torch.from_numpy(B).bfloat16())
    with pytest.raises(FrameError, match=r"pha .* share memory"):
        guided(outputs=("pha",), out={"pha": torch.zeros(1, 1, 1, dtype=torch.uint8).expand(12, 16, 1)})


def test_pil():
    image = pytest.importorskip("PIL.Image")
    same(guided(image.fromarray(FRAME)))
    with pytest.raises(FrameError, match=r"frame is uint8 \(12, 16, 4\)"):
        guided(image.fromarray(FRAME).convert("RGBA"))


def test_read_only_inputs():
    frozen = [value.copy() for value in (FRAME, A, B)]
    for value in frozen:
        value.flags.writeable = False
    same(guided(*frozen))
    same(guided(Dlpack(frozen[0])))


def test_nothing_holds_the_arrays_afterwards():
    class Mine(np.ndarray):
        pass

    frame = FRAME.copy().view(Mine)
    alive = weakref.ref(frame)
    for wrap in KINDS.values():
        guided(wrap(frame))
    with pytest.raises(FrameError):
        guided(frame, A=A[:, :3])
    del frame
    gc.collect()
    assert alive() is None


def test_memory_lives_as_long_as_it_is_used():
    """An object that makes its memory when asked, and keeps no reference."""

    class Fleeting:
        shape = FRAME.shape

        @property
        def __array_interface__(self):
            return interface_of_bytes(FRAME).__array_interface__

    class FleetingDlpack(Dlpack):
        shape = FRAME.shape

        def __dlpack__(self, **arguments):
            return FRAME.copy().__dlpack__(**arguments)

    for _ in range(20):
        same(guided(Fleeting()))
        same(guided(FleetingDlpack(FRAME)))


# ---------------------------------------------------------------------------------------------------------------------
# Arrays that are refused


class Broken:
    """An array interface that says something else than the truth."""

    def __init__(self, **changes):
        self.array = FRAME
        self.shape = FRAME.shape
        self.__array_interface__ = {**FRAME.__array_interface__, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"typestr": ">f4"}, "little-endian"),
        ({"typestr": "|b1"}, "'b1'"),
        ({"typestr": "u"}, "type 'u'"),
        ({"typestr": "|ux"}, "'u0'"),
        ({"typestr": 7}, "protocol"),
        ({"shape": "abc"}, "protocol"),
        ({"shape": (12, -16, 3)}, "negative size"),
        ({"strides": (48,)}, "another number of strides"),
        ({"strides": (48, 3, 1, 1)}, "another number of strides"),
        ({"data": (0, False)}, "no memory"),
        ({"data": FRAME.tobytes()[:-1]}, "beyond its own buffer"),
        ({"data": FRAME.tobytes(), "offset": 1}, "beyond its own buffer"),
        ({"data": FRAME.tobytes(), "offset": -1}, "beyond its own buffer"),
        ({"data": FRAME.tobytes(), "strides": (-48, 3, 1)}, "beyond its own buffer"),
        ({"data": 5.0}, "could not be read"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_interfaces_that_lie(changes, message):
    with pytest.raises(FrameError, match=f"frame.*{message}"):
        guided(Broken(**changes))


def test_offset_into_a_buffer():
    same(guided(Broken(data=b"front" + FRAME.tobytes(), offset=5)))


def test_interfaces_that_lack_something():
    class Lacking:
        shape = FRAME.shape

        @property
        def __array_interface__(self):
            return {"shape": FRAME.shape}

    with pytest.raises(FrameError, match="frame could not be read"):
        guided(Lacking())


@pytest.mark.parametrize("given", [None, 5, "picture", object(), [[[0, 0, 0]]], {"a": 1}])
def test_things_that_are_no_arrays(given):
    with pytest.raises(FrameError, match="frame"):
        guided(given)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float64", "bool", "complex64", ">f4", ">f2", "<U1"])
@pytest.mark.parametrize("name", ["frame", "A", "b"])
def test_wrong_types(name, dtype):
    with pytest.raises(FrameError, match=f"{name}.*(holds values|read as an array)"):
        guided(**{name: {"frame": FRAME, "A": A, "b": B}[name].astype(dtype)})


@pytest.mark.parametrize("name", ["A", "b"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_maps_are_floats(name, dtype):
    with pytest.raises(FrameError, match=f"{name} is .*expected float16 or float32"):
        guided(**{name: {"A": A, "b": B}[name].astype(dtype)})


def test_frames_are_no_indices():
    with pytest.raises(FrameError, match="frame is int32"):
        guided(FRAME.astype(np.int32))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("frame", (12, 16), r"frame .*\(12, 16\)"),
        ("frame", (12, 16, 4), "3 channels"),
        ("frame", (1, 1, 12, 16, 3), r"\(1, 1, 12, 16, 3\)"),
        ("frame", (0, 16, 3), "at least one"),
        ("frame", (12, 0, 3), "at least one"),
        ("frame", (0, 12, 16, 3), "at least one"),
        ("frame", (), "frame"),
        ("A", (1, 3, 3, 4), "4 channels"),
        ("A", (4, 3), r"\(N, C, h, w\)"),
        ("A", (2, 4, 3, 4), "batch of 2; expected 1"),
        ("A", (1, 4, 0, 4), "at least one"),
        ("b", (1, 4, 3, 5), "expected the size of A"),
        ("b", (1, 5, 3, 4), "4 channels"),
    ],
    ids=str,
)
def test_wrong_shapes(name, shape, message):
    value = np.zeros(shape, np.uint8 if name == "frame" else np.float32)
    with pytest.raises(FrameError, match=message):
        guided(**{name: value})


def test_sides_have_a_limit():
    with pytest.raises(FrameError, match="at most 65536"):
        guided(np.broadcast_to(FRAME[:1, :1], (1, 65537, 3)), outputs=("pha",))


def test_misaligned():
    memory = np.zeros(A.nbytes + 1, np.uint8)
    crooked = memory[1:].view(np.float32).reshape(A.shape)
    with pytest.raises(FrameError, match="A is not aligned"):
        guided(A=crooked)
    odd = as_strided(A.copy(), A.shape, (A.strides[0], A.strides[1], 14, 4))
    with pytest.raises(FrameError, match="A has strides"):
        guided(A=odd)


# ---------------------------------------------------------------------------------------------------------------------
# Outputs that are refused; nothing is written then


def untouched(pattern, error=FrameError, *, outputs=("fgr", "pha"), **changes):
    """The call fails with this message, and neither output has changed."""
    out = {name: np.full_like(value, 77) for name, value in REFERENCE.items()} | changes.pop("out", {})
    before = {name: np.copy(value) for name, value in out.items()}
    with pytest.raises(error, match=pattern):
        guided(outputs=outputs, out=out, **changes)
    for name, value in out.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("wrap", [lambda array: array, memoryview, Interface, Dlpack])
def test_read_only_outputs(wrap):
    frozen = np.full_like(REFERENCE["pha"], 77)
    frozen.flags.writeable = False
    with pytest.raises(FrameError, match=r"pha .*read-only"):
        guided(out={"fgr": REFERENCE["fgr"].copy(), "pha": wrap(frozen)})
    assert (frozen == 77).all()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((12, 16, 3), "uint8"), ((1, 12, 16), "uint8"), ((12, 17, 1), "uint8"), ((2, 12, 16, 1), "uint8"),
     ((12, 16, 1), "int32"), ((12,), "uint8")],
)  # fmt: skip
def test_outputs_of_another_shape_or_type(shape, dtype):
    untouched("pha is", out={"pha": np.full(shape, 77, dtype)})


def test_outputs_whose_elements_share_memory():
    untouched("pha .* share memory", out={"pha": as_strided(np.zeros(16, np.uint8), (12, 16, 1), (0, 1, 1))})


def test_outputs_over_inputs():
    frame = FRAME.copy()
    with pytest.raises(FrameError, match="fgr overlaps frame"):
        guided(frame, outputs=("fgr",), out={"fgr": frame})
    with pytest.raises(FrameError, match="fgr overlaps frame"):
        guided(frame, outputs=("fgr",), out={"fgr": frame[::-1]})
    np.testing.assert_array_equal(frame, FRAME)
    memory = np.zeros((24, 16, 3), np.uint8)
    memory[:12] = FRAME
    with pytest.raises(FrameError, match="overlaps"):
        guided(memory[:12], outputs=("fgr",), out={"fgr": memory[11:23]})
    guided(memory[:12], outputs=("fgr",), out={"fgr": memory[12:]})
    np.testing.assert_array_equal(memory[12:], REFERENCE["fgr"])


def test_outputs_over_outputs():
    memory = np.full((12, 16, 3), 77, np.uint8)
    with pytest.raises(FrameError, match="pha overlaps fgr"):
        guided(out={"fgr": memory, "pha": memory[..., :1]})
    assert (memory == 77).all()


def test_inputs_may_overlap():
    same_maps = guided(A=A, b=A)
    copies = guided(A=A, b=A.copy())
    for one, other in zip(same_maps, copies, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("alpha", [3, 0])
def test_outputs_may_be_channels_of_one_picture(step, alpha):
    """Alpha before or behind its colours: an RGBA or ARGB picture, made of two outputs."""
    memory = np.full((12, 16, 4), 77, np.uint8)
    colours = memory[::step, ::step, :3] if alpha == 3 else memory[::step, ::step, 1:]
    guided(out={"fgr": colours, "pha": memory[::step, ::step, alpha : alpha + 1]})
    np.testing.assert_array_equal(memory[::step, ::step, alpha], REFERENCE["pha"][..., 0])
    np.testing.assert_array_equal(colours, REFERENCE["fgr"])


def test_channels_of_one_picture_that_collide():
    """Rows of one output fall between the pixels of the other."""
    memory = np.full(4000, 77, np.uint8)
    fgr = as_strided(memory, (2, 2, 100, 3), (800, 400, 4, 1))
    pha = as_strided(memory[3:], (2, 2, 100, 1), (800, 401, 4, 1))
    frame = picture(2, 100, batch=2)
    small = np.concatenate([A, A])
    with pytest.raises(FrameError, match="pha overlaps fgr"):
        ops.guided_upsample(frame, small, small, out={"fgr": fgr, "pha": pha})
    assert (memory == 77).all()


def test_views_whose_memory_only_touches():
    memory = np.full((13, 16, 3), 77, np.uint8)
    flat = memory.reshape(-1)
    pha = flat[12 * 16 * 3 :][:16]
    frame, small = FRAME[:1], A
    fgr = memory[:1]
    guided(frame, small, small, out={"fgr": fgr, "pha": pha.reshape(1, 16, 1)})
    assert not (memory[1:12] != 77).any()


# ---------------------------------------------------------------------------------------------------------------------
# Settings that are refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": "NHWC"}, "layout is 'NHWC'"),
        ({"frame_layout": "hwc"}, "layout is 'hwc'"),
        ({"color": "RGB"}, "color is 'RGB'"),
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"outputs": ("fgr", "alpha")}, "output is 'alpha'"),
        ({"outputs": "fgr"}, "output is 'f'"),
        ({"out": {"matte": REFERENCE["pha"]}}, "output is 'matte'"),
        ({"outputs": ("fgr",), "out": {"pha": REFERENCE["pha"]}}, "out has pha"),
        ({"stream": "0"}, "stream is a str"),
        ({"outputs": ("composite",), "background": (0, 0)}, "background has 2 values"),
    ],
    ids=str,
)
def test_unknown_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        guided(**settings)


def test_no_output():
    with pytest.raises(FrameError, match="no output"):
        guided(outputs=())


def test_layouts_that_do_not_fit():
    with pytest.raises(FrameError, match=r"frame is .*\(C, H, W\)"):
        guided(FRAME, frame_layout="CHW")
    with pytest.raises(FrameError, match=r"fgr is .*\(C, H, W\)"):
        guided(outputs=("fgr",), out={"fgr": np.zeros_like(FRAME)}, layout="CHW")


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (None, "composite needs a background"),
        (np.zeros((12, 16), np.uint8), "background is"),
        (np.zeros((2, 1, 1, 3), np.uint8), "background is .* one picture"),
        (np.zeros((1, 1, 3), np.float64), "background holds"),
    ],
)
def test_backgrounds_that_do_not_fit(background, message):
    with pytest.raises(FrameError, match=message):
        guided(outputs=("composite",), background=background)


def test_a_background_may_not_be_an_output():
    picture = np.zeros_like(FRAME)
    with pytest.raises(FrameError, match="background overlaps composite"):
        guided(outputs=("composite",), background=picture, out={"composite": picture})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "cubic"}, "method is 'cubic'"),
        ({"method": "gaussian", "sigma": 0.2}, "sigma is 0.2"),
        ({"method": "gaussian", "sigma": float("nan")}, "sigma is"),
        ({"method": "gaussian", "sigma": float("inf")}, "sigma is inf"),
        ({"method": "gaussian", "sigma": 1e9}, "sigma is"),
        ({"std": (1, 0, 1)}, "std is 0"),
        ({"std": (1, float("nan"), 1)}, "std is"),
        ({"std": (1, 1)}, "std has 2 values"),
        ({"mean": (1, 1, 1, 1)}, "mean has 4 values"),
        ({"dtype": "uint8"}, "dtype is 'uint8'"),
        ({"step_y": Fraction(-4, 3)}, "step_y is -4/3"),
        ({"step_x": Fraction(0)}, "step_x is 0"),
        ({"step_y": Fraction(1 << 31)}, "step_y is"),
        ({"step_y": Fraction(7)}, "step_y is 7/1; .* 3 samples fit into 12 pixels"),
        ({"step_x": Fraction(1 << 30)}, "step_x is"),
        ({"color": "grey"}, "color is 'grey'"),
        ({"frame_layout": "WHC"}, "layout is 'WHC'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["linear", "area"])
def test_frame_sample_settings(settings, message, method):
    with pytest.raises(SettingError, match=message):
        ops.frame_sample(FRAME, 3, 4, **{"method": method, **settings})


@pytest.mark.parametrize(("height", "width", "name"), [(0, 4, "height"), (3, 0, "width"), (-1, 4, "height")])
def test_sizes_of_nothing(height, width, name):
    with pytest.raises(SettingError, match=f"{name} is"):
        ops.frame_sample(FRAME, height, width)
    with pytest.raises(SettingError, match=f"{name} is"):
        ops.patch_select(np.zeros((1, 1, 3, 4), np.float32), height, width)


@pytest.mark.parametrize("method", ["linear", "area", "antialias", "gaussian"])
def test_the_widest_filters(method):
    """One pixel of everything, and a sigma far beyond the frame."""
    constant = np.full((300, 400, 3), 51, np.uint8)
    sample = ops.frame_sample(constant, 1, 1, method=method, sigma=65536.0)
    np.testing.assert_allclose(sample, 0.2, atol=2e-6)
    large = ops.frame_sample(constant[:2, :3], 200, 100, method=method, sigma=65536.0)
    np.testing.assert_allclose(large, 0.2, atol=2e-6)


def test_frame_sample_outputs():
    for shape in ((1, 4, 3, 4), (2, 3, 3, 4), (3, 4)):
        with pytest.raises(FrameError, match="sample is"):
            ops.frame_sample(FRAME, 3, 4, out=np.zeros(shape, np.float32))
    with pytest.raises(FrameError, match="sample is uint8"):
        ops.frame_sample(FRAME, 3, 4, out=np.zeros((1, 3, 3, 4), np.uint8))
    one = np.zeros((3, 3, 4), np.float32)
    np.testing.assert_array_equal(ops.frame_sample(FRAME, 3, 4, out=one), ops.frame_sample(FRAME, 3, 4)[0])


def test_matte_upsample_arguments():
    with pytest.raises(SettingError, match="method is 'gaussian'"):
        ops.matte_upsample(FRAME, maps(1, 3, 4), method="gaussian")
    with pytest.raises(FrameError, match=r"alpha is .* expected 1 channel"):
        ops.matte_upsample(FRAME, maps(3, 3, 4))
    with pytest.raises(FrameError, match="alpha has a batch of 2"):
        ops.matte_upsample(FRAME, maps(1, 3, 4, batch=2))


def select(**settings):
    return ops.patch_select(np.ones((1, 1, 3, 4), np.float32), 3, 4, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "full"}, "mode is 'full'"),
        ({"k": 0}, "k is 0"),
        ({"k": 13}, "k is 13; expected 1 to 12"),
        ({"capacity": 0}, "capacity is 0"),
        ({"mode": "thresholding", "threshold": float("nan")}, "threshold is not a number"),
    ],
)
def test_patch_select_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        select(**settings)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("indices", np.zeros((4, 2), np.int32)),
        ("indices", np.zeros((4, 3), np.float32)),
        ("indices", np.zeros((3, 4), np.int32).T),
        ("indices", np.zeros((8, 3), np.int32)[::2]),
        ("indices", np.zeros(12, np.int32)),
        ("count", np.zeros(2, np.int32)),
        ("count", np.zeros(1, np.uint8)),
        ("ref", np.zeros((1, 1, 4, 3), np.float32)),
        ("ref", np.zeros((1, 1, 3, 8), np.float32)[..., ::2]),
        ("ref", np.zeros((1, 1, 3, 4), np.float16)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.shape),
)
def test_patch_select_outputs(name, array):
    given = {
        "indices": np.full((4, 3), 77, np.int32),
        "count": np.full(1, 77, np.int32),
        "ref": np.full((1, 1, 3, 4), 77, np.float32),
    }
    with pytest.raises(FrameError, match=name):
        select(k=4, **{**given, name: array})
    assert all((value == 77).all() for value in given.values())


def test_patch_grids_have_a_limit():
    with pytest.raises(SettingError, match="patch grid is 16385x1"):
        _core.patch_select(
            np.ones((1, 1, 3, 4), np.float32), np.zeros((1, 3), np.int32), np.zeros(1, np.int32), rows=16385, columns=1
        )


CROP = {"maps": maps(5, 3, 4), "src": FRAME, "bgr": FRAME, "indices": np.zeros((2, 3), np.int32)}
SCATTER = {
    "coarse": maps(4, 3, 4),
    "patches": maps(4, 4, 4, 2),
    "indices": np.zeros((2, 3), np.int32),
    "frame": FRAME,
}


@pytest.mark.parametrize(
    ("op", "changes", "message"),
    [
        (ops.patch_crop, {"src": FRAME[:-1]}, "src is 16x11 pixels; expected .*multiples of 4"),
        (ops.patch_crop, {"bgr": FRAME[:8]}, "bgr is .* expected the size of src"),
        (ops.patch_crop, {"maps": maps(5, 3, 4, batch=2)}, "maps has a batch of 2"),
        (ops.patch_crop, {"indices": np.zeros((2, 3), np.int64)}, "indices"),
        (ops.patch_crop, {"indices": np.zeros((2, 2), np.int32)}, "indices is"),
        (ops.patch_crop, {"indices": np.zeros((0, 3), np.int32)}, "at least one"),
        (ops.patch_crop, {"half": np.zeros((2, 10, 8, 8), np.float32)}, "half is"),
        (ops.patch_crop, {"full": np.zeros((2, 6, 4, 4), np.float32)}, "full is"),
        (ops.patch_crop, {"full": np.zeros((2, 6, 8, 8), np.uint8)}, "full is uint8"),
        (ops.patch_scatter, {"frame": FRAME[:, :-2]}, "frame is 14x12 pixels"),
        (ops.patch_scatter, {"coarse": maps(3, 3, 4)}, "coarse is .* 4 channels"),
        (ops.patch_scatter, {"patches": maps(4, 4, 5, 2)}, "patches is .*4x4"),
        (ops.patch_scatter, {"patches": maps(4, 4, 4, 3)}, "patches has a batch of 3; expected 2"),
        (ops.patch_scatter, {"indices": np.zeros((2, 3), np.float32)}, "indices is float32"),
        (ops.patch_scatter, {"indices": np.zeros((0, 3), np.int32)}, "patches has a batch of 2; expected 0"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_patches_that_do_not_fit(op, changes, message):
    with pytest.raises(FrameError, match=message):
        op(**{**(CROP if op is ops.patch_crop else SCATTER), **changes})


def test_patch_crop_settings():
    with pytest.raises(SettingError, match="kernel is 2"):
        ops.patch_crop(**CROP, kernel=2)
    with pytest.raises(SettingError, match="dtype is 'uint8'"):
        ops.patch_crop(**CROP, dtype="uint8")


# ---------------------------------------------------------------------------------------------------------------------
# Devices


class OnCuda:
    """Claims to live on a CUDA device."""

    shape = FRAME.shape

    @property
    def __cuda_array_interface__(self):
        return {"shape": FRAME.shape, "typestr": "|u1", "data": (4096, False), "version": 3}


class OnCudaDlpack:
    shape = FRAME.shape

    def __dlpack_device__(self):
        return (2, 0)


class Elsewhere:
    shape = FRAME.shape

    def __dlpack_device__(self):
        return (7, 0)


@pytest.mark.skipif(trtmatte.cuda_built(), reason="built with CUDA")
@pytest.mark.parametrize("kind", [OnCuda, OnCudaDlpack])
def test_devices_that_this_build_cannot_use(kind):
    out = {name: np.full_like(value, 77) for name, value in REFERENCE.items()}
    with pytest.raises(BackendError, match=r"frame lives on a CUDA device, but .* without CUDA"):
        guided(kind(), out=out)
    assert all((value == 77).all() for value in out.values())
    with pytest.raises(BackendError, match="pha lives on a CUDA device"):
        guided(outputs=("pha",), out={"pha": kind()})


@pytest.mark.skipif(_core.CUDA_ARCHITECTURES in ("", "emulated"), reason="built without CUDA")
def test_memory_that_is_on_no_device():
    with pytest.raises(FrameError, match="frame has a __cuda_array_interface__, but its memory belongs to no CUDA"):
        guided(OnCuda(), out=dict(REFERENCE), stream=1)


@pytest.mark.gpu
def test_devices_must_agree():
    pha = cuda_device().put(REFERENCE["pha"])
    with pytest.raises(FrameError, match=r"pha is .* lives on CUDA device 0 while frame lives on the CPU"):
        guided(outputs=("pha",), out={"pha": pha}, stream=1)


@pytest.mark.gpu
def test_a_stream_is_needed():
    with pytest.raises(FrameError, match="frame lives on a CUDA device: pass the CUDA stream"):
        guided(cuda_device().put(FRAME), out=dict(REFERENCE))


@pytest.mark.parametrize("kind", [OnCuda, OnCudaDlpack])
def test_on_cuda_the_outputs_are_the_callers(kind):
    with pytest.raises(FrameError, match="out lacks fgr, pha"):
        guided(kind())


def test_devices_of_other_kinds():
    with pytest.raises(FrameError, match="frame lives on a device that is neither"):
        guided(Elsewhere())


def test_streams():
    class Protocol:
        def __cuda_stream__(self):
            return (0, 41)

    class Torch:
        cuda_stream = 42

    class Cupy:
        ptr = 43

    assert [ops.stream_handle(each) for each in (None, 40, Protocol(), Torch(), Cupy())] == [None, 40, 41, 42, 43]
    Torch.cuda_stream = Cupy.ptr = 0  # their default stream, which has a number of its own in both array protocols
    assert [ops.stream_handle(each) for each in (0, Torch(), Cupy())] == [1, 1, 1]
    with pytest.raises(SettingError, match="stream is a object"):
        ops.stream_handle(object())
