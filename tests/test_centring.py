"""Numbers that float32 cannot hold as they are: centred, refused, or named where a constant moves."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.centring import find_offsets, to_float32
from video_ae.series_input import read_sequences

WAVE = np.sin(np.arange(400) / 7)


def through(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: N803
    """Offsets, and the steps as they are after float32."""
    found = read_sequences(X, long=True)
    offsets, constant = find_offsets(found)
    return offsets, to_float32(found, offsets, constant).double().numpy() + offsets


@settings(max_examples=200, deadline=None)
@given(
    level=st.floats(-1e12, 1e12),
    size=st.floats(1e-4, 1e4),
    other=st.sampled_from([np.zeros(400), WAVE, np.full(400, -7e9)]),
)
def test_what_changes_beside_any_level_is_kept(level, size, other):
    """Against float64, to a thousandth of what a feature moves; catches counters that are rounded to multiples of 8."""
    X = np.stack([level + size * WAVE, other], axis=1)
    offsets, kept = through(X)
    moves = X - X.mean(axis=0)
    wrong = np.abs((kept - kept.mean(axis=0)) - moves).max(axis=0)
    assert (wrong <= 1e-3 * np.abs(moves).max(axis=0) + 1e-12 * np.abs(X).max()).all()
    assert (offsets == 0)[0] or abs(X[:, 0].mean()) > 50 * X[:, 0].std()


def test_most_data_has_no_offset():
    assert through(np.stack([WAVE, 50 + WAVE, np.zeros(400)], axis=1))[0].tolist() == [0, 0, 0]
    assert through(np.stack([1e4 + 0.7 * WAVE, np.full(400, 0.1)], axis=1))[0] == pytest.approx([1e4, 0.1], rel=1e-4)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.arange(0, 3e8, 3e3), None),
        (
            1e9 * (np.arange(1000) < 500) + 3 * np.arange(1000),
            "feature 0 changes by 3 from step to step and spreads by",
        ),
        (np.where(np.arange(400) == 50, 0, 1e8 + 3 * WAVE), "changes by .* spreads by"),  # one reading is lost
        (2**53 + np.arange(400), "feature 0 changes by 2 from step to step"),  # of float64, which has even ones there
        (np.full(9, 1e300), "beyond the range of float32"),
        (1e30 * WAVE, r"feature 0 has a standard deviation of 7\.\d+e\+29, expected 1e-18 to 1e\+18"),
        (1e-30 * WAVE, "standard deviation of 7"),
    ],
)
def test_only_what_float32_cannot_do_is_refused(X, message):  # noqa: N803
    found = read_sequences(X, long=True)
    if message is None:
        find_offsets(found)
    else:
        with pytest.raises(ValueError, match=message):
            find_offsets(found)


def test_steps_from_one_sequence_to_the_next_are_no_changes():
    """Catches a jump between sequences that hides how little each of them moves."""
    far = [np.arange(300.0) / 300, 1e8 + np.arange(300.0) / 300]
    with pytest.raises(ValueError, match=r"feature 0 changes by 0\.00333 from step to step"):
        find_offsets(read_sequences(far, long=False))


@pytest.mark.parametrize("level", [0.0, 0.1, -5.0, 1e5])
@pytest.mark.parametrize("move", [1e-6, 1e6])
def test_a_constant_that_moves_later_is_named(level, move):
    found = read_sequences(np.stack([WAVE, np.full(400, level)], axis=1), long=True)
    offsets, constant = find_offsets(found)
    assert constant.tolist() == [False, True]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_float32(found, offsets, constant)[:, 1].unique().tolist() == [0]
    moved = found.steps.copy()
    moved[7, 1] += move
    with pytest.warns(UserWarning, match="was constant in fit moves here: feature 1 by up to 1"):
        steps = to_float32(read_sequences(moved, long=True), offsets, constant)
    assert steps[7, 1] == pytest.approx(move, rel=0.1)


def test_rounding_is_no_move():
    noise = 0.1 + np.resize([0, 1e-17, 2e-17], 400)
    found = read_sequences(np.stack([WAVE, noise], axis=1), long=True)
    offsets, constant = find_offsets(found)
    assert to_float32(found, offsets, constant)[:, 1].unique().tolist() == [0]
