"""What float32 keeps of large values, against exact differences in float64."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.datasets.offsets import centred, find_offsets, rounding


@settings(max_examples=200, deadline=None)
@given(
    level=st.floats(-1e12, 1e12),
    scale=st.floats(1e-3, 1e3),
    lengths=st.lists(st.integers(2, 30), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_what_varies_around_any_level_is_kept(level, scale, lengths, seed):
    """Catches values that are rounded before they are centred: their changes are kept to a thousandth."""
    random = np.random.default_rng(seed)
    arrays = [level + scale * random.normal(size=(length, 2)) for length in lengths]
    offsets = find_offsets(arrays)
    assert not rounding(arrays, offsets).too_much.any()
    if abs(level) > 1e9 * scale:  # float64 itself keeps no more of these
        return
    for values in arrays:
        kept = centred(values, offsets)
        assert kept.dtype == np.float32
        np.testing.assert_allclose(np.diff(kept, axis=0), np.diff(values, axis=0), atol=1e-3 * scale)


@settings(max_examples=100, deadline=None)
@given(level=st.integers(-(10**12), 10**12), steps=st.lists(st.integers(-50, 50), min_size=2, max_size=50))
def test_counters_stay_whole_numbers(level, steps):
    values = (level + np.cumsum(steps))[:, None]
    offsets = find_offsets([values])
    exact = (centred(values, offsets).astype(object) + Fraction(offsets[0])).astype(int)
    np.testing.assert_array_equal(exact, values)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int16", "uint8"])
def test_ordinary_data_are_unchanged(dtype):
    values = np.random.default_rng(0).normal(50, 20, (200, 3)).clip(0, 100).astype(dtype)
    offsets = find_offsets([values])
    assert not offsets.any()
    np.testing.assert_array_equal(centred(values, offsets), values.astype(np.float32))
    if dtype == "float32":
        assert centred(values, offsets) is values  # stays on disk
    assert not find_offsets([np.full((5, 1), 230.0)]).any()
    assert not find_offsets([np.full((5, 1), 1e9, np.float32)]).any()


def test_large_constants_are_offsets_so_that_they_are_seen_to_move():
    assert find_offsets([np.full((5, 1), 1e9), np.full((2, 1), 1e9)]).tolist() == [1e9]


def test_what_float32_cannot_hold_even_so():
    reset = np.where(np.arange(1000) < 500, 1e9, 0) + 3.0 * np.arange(1000)
    levels = [1e9 + np.random.default_rng(0).normal(size=(99, 1)), 3e9 + np.random.default_rng(1).normal(size=(99, 1))]
    for arrays in ([reset[:, None]], levels):
        assert rounding(arrays, find_offsets(arrays)).too_much.all()


@pytest.mark.parametrize(
    "values",
    [
        1704067200 + 60.0 * np.arange(1_000_000),  # times as a feature
        np.where(np.random.default_rng(0).random(5000) < 0.02, 1e9, np.random.default_rng(1).normal(size=5000)),
        0.1 + 0.2 * np.ones(50),
        3.3 * (1 + 1e-16 * np.arange(50)),  # rounding of float64
        np.repeat([0.1, 0.2, 0.3], 500),
    ],
    ids=["seconds since 1970", "rare peaks", "constant", "rounding", "levels"],
)
def test_what_float32_can_hold(values):
    arrays = [values[:, None]]
    assert not rounding(arrays, find_offsets(arrays)).too_much.any()
