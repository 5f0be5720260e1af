"""SequenceClips against numpy's own windows, and that what is held out shares no step with what is learnt from."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.clips import SequenceClips, hold_out_ends, hold_out_sequences, warn_of_holes, whole, windows
from video_ae.series_input import Sequences, read_sequences


def series(*lengths: int) -> tuple[Sequences, torch.Tensor]:
    """Series of one feature, whose values count their steps together."""
    given = read_sequences(np.split(np.arange(sum(lengths), dtype=float), np.cumsum(lengths)[:-1]), long=True)
    return given, torch.from_numpy(given.steps).float()


def steps_in(clips: SequenceClips) -> set[int]:
    return {int(step) for batch in clips.batches() for step in batch.flatten() if not step.isnan()}


def test_windows_are_those_of_numpy():
    given, steps = series(10, 7)
    clips = windows(given, steps, 4, 1)
    expected = np.concatenate(
        [np.lib.stride_tricks.sliding_window_view(part, 4) for part in (np.arange(10), np.arange(10, 17))]
    )
    np.testing.assert_array_equal(clips.batch(slice(None)).flatten(1), expected)
    assert clips.sequence.tolist() == [0] * 7 + [1] * 4
    assert windows(given, steps, 4, 5).starts.tolist() == [0, 5, 6, 10, 13]


def test_whole_sequences_end_in_nan():
    given, steps = series(3, 1)
    nan = float("nan")
    np.testing.assert_array_equal(whole(given, steps).batch(np.array([1, 0])).flatten(1), [[3, nan, nan], [0, 1, 2]])


def test_windows_do_not_cross_holes():
    times = pd.date_range("2024", periods=40, freq="h").delete([10, 11, 12, 15])
    frame = pd.DataFrame({"x": np.arange(36.0)}, index=times)  # stretches of 10, 2 and 24 steps
    given = read_sequences(frame, long=True)
    assert windows(given, torch.zeros(36, 1), 9, 1).starts.tolist() == [0, 1, *range(12, 28)]
    with pytest.warns(
        UserWarning, match="2 holes in the times .*, the largest 4:00:00 after 2024-01-01 09.* 2 steps are in"
    ):
        warn_of_holes(given, 9)
    with pytest.raises(ValueError, match=r"the series: found a series of 24 steps between holes.* at least the 30"):
        windows(given, torch.zeros(36, 1), 30, 1)


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(5, 60), min_size=1, max_size=12),
    width=st.integers(1, 5),
    stride=st.integers(1, 7),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_no_step_is_both_learnt_from_and_held_out(lengths, width, stride, fraction, seed):
    """Catches windows on both sides of the division, the early stopping of which sees what was learnt."""
    given, steps = series(*lengths)
    clips = windows(given, steps, width, stride)
    for train, held_out in (
        hold_out_ends(clips, fraction),
        hold_out_sequences(clips, fraction, np.random.RandomState(seed)),
    ):
        assert not steps_in(train) & steps_in(held_out)
        assert len(train) + len(held_out) <= len(clips)
    train, held_out = hold_out_ends(clips, fraction)
    for index, count in enumerate(np.bincount(clips.sequence)):
        kept, out = int((train.sequence == index).sum()), int((held_out.sequence == index).sum())
        assert (kept, out) == (count, 0) or (kept > 0 and out == np.ceil(fraction * count))
    assert set(train.covered().flatten().int().tolist()) == steps_in(train)


def test_windows_take_no_memory_of_their_own():
    """Catches windows that are copied: these would be a hundred times the series."""
    given = read_sequences(np.zeros((100_000, 5)), long=True)
    steps = torch.zeros(100_000, 5)
    tracemalloc.start()
    clips = windows(given, steps, 100, 1)
    for _ in clips.slices():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(clips) == 99_901
    assert peak < 2 * given.steps.nbytes
    largest = max(batch.numel() for batch, _ in zip(clips.batches(), range(3), strict=False))
    assert largest <= 2**18
