"""Times of rows against pandas and exact arithmetic; holes against what each kind of sampling is known to be."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.datasets.times import Times, find_holes, in_words, parse_time


def gathered(texts: list[str]) -> Times:
    times = Times()
    for text in texts:
        times.add(text)
    return times


def distances(texts: list[str]) -> list[float]:
    times = gathered(texts)
    return times.distances(times.order()).tolist()


NANOSECONDS = st.integers(-(2**60), 2**60)


@settings(max_examples=200, deadline=None)
@given(stamps=st.lists(NANOSECONDS, min_size=2, max_size=8, unique=True), form=st.sampled_from(["int", "iso", "zone"]))
def test_nanoseconds_are_told_apart(stamps, form):
    """Catches float64, in which 1704067200000000000 and 1704067200000000100 are one time; against pandas' own dates."""
    dates = [pd.Timestamp(stamp, unit="ns", tz="UTC") for stamp in stamps]
    texts = {
        "int": [str(stamp) for stamp in stamps],
        "iso": [date.tz_localize(None).isoformat() for date in dates],
        "zone": [date.tz_convert("Asia/Kolkata").isoformat(sep=" ") for date in dates],
    }[form]
    times = gathered(texts)
    order = times.order()
    assert order.tolist() == sorted(range(len(stamps)), key=stamps.__getitem__)
    assert [text.decode() for text in times.texts(order)] == [texts[row] for row in order]
    unit = 1 if form == "int" else 10**9
    expected = np.diff(sorted(stamps)).astype(float) / unit
    np.testing.assert_allclose(times.distances(order), expected, rtol=1e-6)
    assert (times.distances(order) > 0).all()


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**18), max_value=10**18, places=9)


@settings(max_examples=200, deadline=None)
@given(value=NUMBERS, more=st.integers(1, 10**6))
def test_numbers_keep_their_order_to_the_last_digit(value, more):
    high, low = parse_time(str(value))
    assert abs(Fraction(high) + Fraction(low) - Fraction(value)) <= abs(Fraction(value)) / 10**15
    assert (high, low) < parse_time(str(value + more * Decimal("1e-9")))


def test_small_distances_and_the_same_moment_in_two_zones():
    assert distances(["0", "1e-12", "3e-12"]) == pytest.approx([1e-12, 2e-12])
    assert distances(["2024-01-01T00:00Z", "2024-01-01T01:00+01:00"]) == [0]
    assert distances(["2024-01-01 00:00:00.000000100", "2024-01-01 00:00:00.000000100"]) == [0]


@pytest.mark.parametrize("text", ["", "nan", "inf", "20_24", "31.01.2024", "01/31/2024", "12:00", "soon", "1e999"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError):  # noqa: PT011, text of the standard library
        parse_time(text)


RANDOM = np.random.default_rng(0)
USUAL = {  # sampled as people do, without a hole
    "every minute": pd.date_range("2024-01-01", periods=500, freq="min"),
    "two rows": pd.date_range("2024-01-01", periods=2, freq="h"),
    "business days": pd.bdate_range("2020-01-01", periods=500),
    "months": pd.date_range("2010-01-01", periods=100, freq="MS"),
    "quarters": pd.date_range("2010-01-01", periods=40, freq="QS"),
    "jitter": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(999) + RANDOM.uniform(-0.3, 0.3, 999), unit="s"),
    "arrivals by chance": pd.Timestamp("2024-01-01") + pd.to_timedelta(RANDOM.exponential(size=999).cumsum(), unit="h"),
    "every sixth missing": pd.date_range("2024-01-01", periods=600, freq="min").delete(np.arange(5, 600, 6)),
}


def written(dates: pd.DatetimeIndex) -> list[list[str]]:
    """The same dates as texts, whole days in the compact form as well."""
    days = (dates == dates.normalize()).all() and dates[-1].year < 2200
    return [[date.isoformat() for date in dates], *([list(dates.strftime("%Y%m%d"))] if days else [])]


@pytest.mark.parametrize("name", USUAL)
def test_usual_sampling_has_no_holes_and_a_long_pause_is_one(name):
    dates = pd.DatetimeIndex(USUAL[name])
    for texts in written(dates):
        assert find_holes(np.array(distances(texts))).tolist() == []
    if len(dates) > 20:
        later = dates[:12].union(dates[12:] + (dates[-1] - dates[0]) * 4)
        for texts in written(later):
            assert find_holes(np.array(distances(texts))).tolist() == [11]


def test_one_missing_row_of_regular_ones_is_a_hole():
    assert find_holes(np.array([1.0, 1, 2, 1, 1, 1.05])).tolist() == [2]
    assert find_holes(np.array([60.0, 1e7])).tolist() == [1]
    assert find_holes(np.array([60.0])).tolist() == []


def test_dates_with_slashes():
    assert parse_time("2024/01/31 12:00:00.5") == parse_time("2024-01-31T12:00:00.5")
    with pytest.raises(ValueError, match="31/01/2024"):
        parse_time("31/01/2024")  # or the first of a 31st month


def test_numbers_that_only_look_like_dates_stay_numbers():
    assert distances(["20240130", "20240131", "20240132"]) == [1, 1]
    assert distances(["20240131", "20240201"]) == [1]  # day
    assert distances(["202312", "202401"]) == [1]  # month


@pytest.mark.parametrize(
    ("seconds", "words"), [(121 * 86400, "121 days"), (86400, "24 hours"), (150, "2.5 minutes"), (0.5, "0.5 seconds")]
)
def test_distances_in_words(seconds, words):
    assert in_words(seconds) == words
