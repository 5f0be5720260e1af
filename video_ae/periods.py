"""How long the windows of a series are that are chosen by its own period."""

from __future__ import annotations

import numpy as np

from .outliers import clip_outliers
from .series_input import Floats, Sequences

AUTO = "auto"
_STEPS = 100  # of a window: chosen on half of the series of benchmarks/nab.py
_LEAST_CORRELATION = 0.5
_WINDOWS = 4  # that the shortest series has side by side at least


def find_period(series: Floats) -> int | None:
    """After how many steps a series (T, F) repeats itself, at most a third of T; None where it does not.

    The lag of the highest peak of its autocorrelation behind the first zero, mean over the features, if that is at
    least .5; of a period and its multiples, which correlate as well over fewer steps, that is the period.
    """
    centred = clip_outliers(series)
    centred = centred - centred.mean(axis=0)
    moving = centred[:, centred.std(axis=0) > 1e-9 * np.abs(series).max(axis=0)]
    lags = len(series) // 3
    if not moving.size or lags < 3:
        return None
    spectrum = np.abs(np.fft.rfft(moving, 2 * len(moving), axis=0)) ** 2
    correlations = np.fft.irfft(spectrum, axis=0)[: lags + 1]
    correlation = (correlations / correlations[0]).mean(axis=1)  # (lags + 1,)
    inner = np.arange(1, lags)
    peaks = inner[(correlation[1:-1] > correlation[:-2]) & (correlation[1:-1] >= correlation[2:])]
    peaks = peaks[np.logical_or.accumulate(correlation < 0)[peaks]]
    if not len(peaks):
        return None
    best = int(peaks[correlation[peaks].argmax()])
    return best if correlation[best] >= _LEAST_CORRELATION else None


def choose_window(given: Sequences, follow: int) -> int:
    """How many steps the windows of these series have, before the `follow` that they are to predict.

    As many whole periods of the longest stretch without holes as last at least 100 steps, or 100 without a period; in
    any case at most a quarter of the shortest series.
    """
    longest = [max(given.stretches(index), key=lambda part: part[1] - part[0]) for index in range(len(given))]
    lengths = [stop - start for start, stop in longest]
    index = int(np.argmax(lengths))
    start, stop = given.starts[index] + longest[index]
    period = find_period(given.steps[start:stop]) or 1
    return max(1, min(-(-_STEPS // period) * period, min(lengths) // _WINDOWS - follow))
