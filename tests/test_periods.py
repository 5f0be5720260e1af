"""Periods of made series, whose length is known, and scales that spikes do not spoil."""

import numpy as np
import pytest

from video_ae import SequenceAutoencoder
from video_ae.outliers import clip_outliers
from video_ae.periods import choose_window, find_period
from video_ae.series_input import read_sequences

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("period", [4, 7, 24, 96])
def test_the_period_and_no_multiple_of_it(period):
    """Of a pattern with noise, a trend that hides nothing, a spike, and a second feature that never moves."""
    pattern = RANDOM.normal(size=period)
    values = np.tile(pattern, 12)[: 6 * period + 5] + 0.1 * RANDOM.normal(size=6 * period + 5)
    values[len(values) // 2] = 1e6
    assert find_period(np.stack([values, np.full(len(values), 5.0)], axis=1)) == period


def test_what_has_no_period():
    assert find_period(RANDOM.normal(size=(500, 1))) is None
    assert find_period(np.arange(500.0)[:, None]) is None
    assert find_period(np.ones((500, 1))) is None
    assert find_period(RANDOM.normal(size=(8, 1))) is None


def test_windows_are_whole_periods_of_at_least_100_steps():
    def chosen(values: np.ndarray, follow: int = 0) -> int:
        return choose_window(read_sequences(values, long=True), follow)

    t = np.arange(1200)
    assert chosen(np.sin(2 * np.pi * t / 24)) == 120
    assert chosen(np.sin(2 * np.pi * t / 150)) == 150
    assert chosen(RANDOM.normal(size=1200)) == 100
    assert chosen(RANDOM.normal(size=200), follow=10) == 40
    model = SequenceAutoencoder(window="auto", stride=50, hidden_size=4, code_size=2, max_iter=1, random_state=0)
    assert model.fit(np.sin(2 * np.pi * t / 24)).window_ == 120
    assert model.transform(np.sin(t)).shape == ((1200 - 120) // 50 + 2, 2)
    with pytest.raises(ValueError, match="window is 'week': expected a whole number, 'auto' or None"):
        SequenceAutoencoder(window="week").fit(t)


def test_spikes_do_not_set_the_scale():
    values = RANDOM.normal(size=(1000, 3)) * [1, 10, 0] + [0, 100, 5]
    spoiled = values.copy()
    spoiled[::100, :2] = 1e6
    clean, robust = clip_outliers(values), clip_outliers(spoiled)
    np.testing.assert_allclose(robust.std(axis=0), clean.std(axis=0), rtol=0.15, atol=1e-12)
    assert clip_outliers(values.astype(np.float32)).dtype == np.float32
    rare = np.zeros((100, 1))
    rare[7] = 1  # a valve that seldom opens is no outlier: it would be constant
    np.testing.assert_array_equal(clip_outliers(rare), rare)
    model = SequenceAutoencoder(window=20, stride=20, hidden_size=4, code_size=2, max_iter=1, random_state=0)
    std = model.fit(spoiled).model_.encoder.std.numpy()
    np.testing.assert_allclose(std[:2], [1, 10], rtol=0.2)
