"""Streams of one session that get their frames at different times, beside sessions of their own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.session import engines
from trtmatte.errors import FrameError

SIZES = [(32, 24), (57, 33), (64, 48), (8, 40)]
COLOURS = ["red", (0, 1, 0), "#102030", "blur:60"]
OPTIONS = {
    "mattes": {},
    "small outputs": {"outputs": ("alpha", "pha", "ones")},
    "backgrounds": {"outputs": ("composite", "rgba"), "background": "red"},
    "blur": {"outputs": ("composite",), "background": "blur", "color": "bgr"},
    "floats": {"dtype": "float32", "layout": "CHW"},
    "scene cuts": {"outputs": ("alpha",), "scene_cut": 0.2},
}


def assert_equal(expected, actual):
    assert actual.names == expected.names
    for name in expected.names:
        np.testing.assert_array_equal(actual[name], expected[name])


class Streams:
    """A session, and one for each of its streams that gets the same frames by ordinary calls.

    `same` compares two mattes.
    """

    def __init__(self, session, alone, same=assert_equal, seed=0):
        self.session, self.alone, self.same = session, alone, same
        self.random = np.random.default_rng(seed)
        self.sizes = [SIZES[0]] * len(alone)
        self.kept = []

    def run(self, events):
        """Some streams get frames, change their size, are reset, get wrong frames; or all of them get one."""
        kinds = [self.step] * 7 + [self.all, self.reset, self.wrong]
        for _ in range(events):
            kinds[self.random.integers(len(kinds))]()
        for matte, copy in self.kept:
            assert_equal(copy, matte)

    def step(self):
        slots = self.some()
        frames = {slot: self.frame(slot) for slot in slots}
        backgrounds = {}
        if "composite" in self.session.outputs:
            chosen = (slot for slot in slots if self.random.random() < 0.3)
            backgrounds = {slot: COLOURS[self.random.integers(len(COLOURS))] for slot in chosen}
        before = self.session.state
        mattes = self.session.step(frames, backgrounds=backgrounds)
        assert list(mattes) == slots
        self.expect_states(before, set(range(len(self.alone))) - set(slots))
        for slot, matte in mattes.items():
            self.same(self.alone[slot](frames[slot], background=backgrounds.get(slot)), matte)
            self.kept.append((matte, matte.copy()))

    def all(self):
        size = self.size()
        self.sizes = [size for _ in self.alone]
        frames = [self.picture(*size) for _ in self.alone]
        mattes = self.session(np.stack(frames))
        for slot, frame in enumerate(frames):
            expected = self.alone[slot](frame)
            self.same(expected, Part(mattes, slot, expected))

    def reset(self):
        slots = self.some()
        self.session.reset(slots)
        for slot in slots:
            self.alone[slot].reset()

    def wrong(self):
        """Nothing has happened: to no stream."""
        slots, sizes = self.some(), list(self.sizes)
        frames = {slot: self.frame(slot) for slot in slots}
        wrong = slots[self.random.integers(len(slots))]
        shape = frames[wrong].shape
        frames[wrong] = [np.full(shape, np.nan, np.float32), np.zeros((2, *shape), np.uint8), None][
            self.random.integers(3)
        ]
        before = self.session.state
        with pytest.raises(FrameError):
            self.session.step(frames)
        self.sizes = sizes
        self.expect_states(before, range(len(self.alone)))

    def some(self):
        chosen = [slot for slot in range(len(self.alone)) if self.random.random() < 0.4]
        return self.random.permutation(chosen or [int(self.random.integers(len(self.alone)))]).tolist()

    def frame(self, slot):
        """A frame like the ones before in its stream; or, seldom, one of another size."""
        if self.random.random() < 0.15:
            self.sizes[slot] = self.size()
        return self.picture(*self.sizes[slot])

    def picture(self, width, height):
        """A dark one, or, seldom, a bright one: another scene."""
        frame = engines.noise(self.random.integers(1 << 30), width, height) // 2
        return frame + np.uint8(127) if self.random.random() < 0.3 else frame

    def size(self):
        return SIZES[self.random.integers(len(SIZES))]

    def expect_states(self, before, slots):
        after = self.session.state
        for name, state in before.items():
            for slot in slots:
                np.testing.assert_array_equal(after[name][slot], state[slot])


class Part:
    """The matte of one stream, as its own session gives it."""

    def __init__(self, mattes, slot, like):
        self.names = mattes.names
        self._values = {name: np.asarray(mattes[name])[slot].reshape(like[name].shape) for name in mattes.names}

    def __getitem__(self, name):
        return self._values[name]
