"""What may be given as sequences, in every form, and what is said of what may not; times, names and lengths."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from video_ae.datasets.times import find_holes
from video_ae.series_input import ARRAY, LIST, ROWS, SERIES, read_sequences, sign_of_one_series

RANDOM = np.random.default_rng(0)
PARTS = [RANDOM.normal(size=(length, 2)) for length in (5, 3, 8)]


def frame(steps: int, index: object = None, columns: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    values = np.arange(float(steps * len(columns))).reshape(steps, -1)
    return pd.DataFrame(values, columns=list(columns), index=index)


def padded() -> np.ndarray:
    block = np.full((3, 9, 2), np.nan)
    for row, part in zip(block, PARTS, strict=True):
        row[: len(part)] = part
    return block


def objects() -> np.ndarray:
    made = np.empty(3, object)
    made[:] = PARTS
    return made


def masked() -> np.ma.MaskedArray:
    return np.ma.masked_invalid(padded())


@pytest.mark.parametrize(
    "X",
    [
        PARTS,
        tuple(PARTS),
        [part.tolist() for part in PARTS],
        [torch.from_numpy(part) for part in PARTS],
        [pd.DataFrame(part) for part in PARTS],
        [np.asfortranarray(part) for part in PARTS],
        {"x": PARTS[0], 7: PARTS[1], "z": PARTS[2]},
        objects(),
        pd.Series(list(objects())),
        padded(),
        masked(),
        torch.from_numpy(padded()),
    ],
    ids=lambda given: type(given).__name__,
)
def test_the_same_sequences_in_every_form(X):  # noqa: N803
    """Catches forms that are read as other sequences, or not at all."""
    found = read_sequences(X, long=False)
    np.testing.assert_array_equal(found.steps, np.concatenate(PARTS))
    assert found.lengths.tolist() == [5, 3, 8]
    assert found.form == (ARRAY if len(getattr(X, "shape", ())) == 3 else LIST)
    back = found.as_given(found.steps)
    if found.form == ARRAY:
        np.testing.assert_array_equal(back, padded())
    else:
        assert (list(back) == list(X)) if isinstance(X, dict) else isinstance(back, list)
        values = back.values() if isinstance(back, dict) else back
        for part, expected in zip(values, PARTS, strict=True):
            np.testing.assert_array_equal(part, expected)


def test_tables_are_rows_or_one_series():
    rows = [[1, 2, 3], [4, 5, 6]]
    assert read_sequences(rows, long=False).form == ROWS
    assert read_sequences(rows, long=False, rows=False).form == LIST  # where fit had lists, equal lengths are chance
    assert read_sequences([[1, 2, 3], [4, 5]], long=False, rows=True).lengths.tolist() == [3, 2]
    assert read_sequences(rows, long=True).lengths.tolist() == [2]
    assert read_sequences([1, 2, 3], long=True).form == SERIES
    assert read_sequences(np.ones((4, 9, 2)), long=True).lengths.tolist() == [9] * 4
    assert read_sequences(padded(), long=True).lengths.tolist() == [5, 3, 8]


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "float32", "int8", "bool", "category", "object"])
def test_columns_of_any_type_of_numbers(dtype):
    column = pd.Series([1, 0, 1, 1]).astype(dtype)
    found = read_sequences(pd.DataFrame({"x": column}), long=True)
    np.testing.assert_array_equal(found.steps, [[1.0], [0.0], [1.0], [1.0]])


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int64, np.longdouble, bool, ">f8"])
def test_arrays_of_any_type_of_numbers(dtype):
    values = np.array([[1, 0, 1], [1, 1, 0]]).astype(dtype)
    values.flags.writeable = False
    np.testing.assert_array_equal(read_sequences(values, long=False).steps[:, 0], [1, 0, 1, 1, 1, 0])


def missing(kind: object) -> pd.DataFrame:
    return pd.DataFrame({"a": [1.0, 2, 3], "b": pd.array([4, kind, 6], dtype="Int64")})


MIDDLE = padded()
MIDDLE[2, 4] = np.nan


@pytest.mark.parametrize(
    ("X", "long", "message"),
    [
        ([], False, "found no sequences"),
        ({}, True, "found no sequences"),
        (None, False, "found NoneType, expected an array"),
        ((part for part in PARTS), False, "found generator, expected an array"),
        (sparse.csr_array(np.eye(3)), False, "sparse input is not supported"),
        ([sparse.csr_array(np.eye(3))], False, "sparse input is not supported"),
        (np.ones(9), False, r"found 9 numbers.*window=.*X\[None\]"),
        (np.ones((2, 3, 4, 5)), False, r"found an array \(2, 3, 4, 5\)"),
        ([np.ones(3), np.ones(0)], False, r"sequence 1 has the shape \(0, 1\)"),
        ([np.ones(3), np.ones((2, 2, 2))], False, r"sequence 1 has the shape \(2, 2, 2\)"),
        ([1.0, [2.0, 3.0]], False, r"sequence 0 has the shape \(\)"),
        ({"m": PARTS[0], "n": PARTS[1][:, :1]}, False, r"sequences of \[1, 2\] features"),
        ([*PARTS, np.array([[1, 2], [3, np.nan]])], False, "sequence 3 contains NaN at step 1, feature 1,"),
        ({"m": np.array([1.0, -np.inf])}, False, "sequence 'm' contains inf at step 1, feature 0,"),
        (MIDDLE, False, "sequence 2 contains NaN at step 4, feature 0"),
        (np.full((2, 3), np.nan), False, "sequence 0 is NaN throughout"),
        (missing(pd.NA), True, r"the series contains NaN at step 1, feature 1 \('b'\)"),
        (missing(None), True, r"the series contains NaN at step 1, feature 1 \('b'\).*interpolate"),
        (np.ones((2, 3)) * 1j, False, "Complex data not supported"),
        (np.array(["a", "b"]), True, "the series does not hold numbers"),
        (frame(4).assign(t=pd.date_range("2024", periods=4)), True, r"'t' of the series holds times.*set_index\('t'\)"),
        (frame(4).assign(m=list("AABB")), True, r"column 'm' of the series does not hold numbers.*groupby\('m'\)"),
        (pd.concat([frame(3), frame(3)], axis=1), True, "the series has two columns 'a'"),
        (pd.concat([frame(3), frame(3)], axis=1), False, "X has two columns 'a'"),
        ([frame(3), frame(3).set_axis([0, 1], axis=1)], False, r"sequence 1 has also \[0, 1\] and lacks \['a', 'b'\]"),
        (pd.concat({"m": frame(3), "n": frame(3)}), True, "has an index of 2 levels.*groupby"),
        ([frame(3), frame(3).to_numpy()], False, "sequence 1 is no DataFrame, others are"),
        ([frame(3), frame(3, columns=("a", "c"))], False, r"sequence 1 has also \['c'\] and lacks \['b'\]"),
        (frame(4, [3, 1, 2, 0]).set_index(pd.date_range("2024", periods=4)[::-1]), True, r"not in order.*X.sort_index"),
        (frame(3, pd.to_datetime(["2024-01-01", "2024-01-01", "2024-01-02"])), True, "several steps at 2024-01-01"),
        (frame(3, pd.to_datetime(["2024-01-01", None, "2024-01-02"])), True, "not in order, or missing"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_place(X, long, message):  # noqa: N803
    with pytest.raises((ValueError, TypeError), match=message) as found:
        read_sequences(X, long=long)
    assert "\n" not in str(found.value)


def test_features_are_put_in_the_order_of_fit():
    """Catches columns that change places between the frames of a list, or between fit and scoring."""
    turned = frame(4)[["b", "a"]]
    for X in (turned, [turned, frame(4)], {"m": turned}):
        found = read_sequences(X, long=True, rows=False, labels=("a", "b"))
        np.testing.assert_array_equal(found.steps[:4], frame(4).to_numpy())
        assert found.labels == ("a", "b")
    np.testing.assert_array_equal(
        read_sequences([frame(4), turned], long=True).steps, np.tile(frame(4).to_numpy(), (2, 1))
    )
    numbered = frame(4).set_axis([0, 1], axis=1)
    np.testing.assert_array_equal(
        read_sequences(numbered[[1, 0]], long=True, rows=False, labels=(0, 1)).steps, frame(4).to_numpy()
    )


def holes_of(index: pd.Index) -> list[int]:
    return [hole.step for hole in read_sequences(frame(len(index), index), long=True).holes[0]]


def test_holes_in_times():
    """Every second, weekdays, months, and a hole in each; catches holes that are not seen, and weekends that are."""
    seconds = pd.date_range("2024", periods=100, freq="s")
    assert holes_of(seconds) == []
    assert holes_of(seconds.delete([40])) == [40]  # one step is missing: twice the usual distance
    assert holes_of(seconds.delete(range(10, 30)).delete([50])) == [10, 50]
    assert holes_of(seconds[:1]) == holes_of(seconds[:2]) == []
    assert holes_of(pd.bdate_range("2024", periods=60)) == []
    assert holes_of(pd.bdate_range("2024", periods=60).delete(range(20, 40))) == [20]
    assert holes_of(pd.date_range("2000", periods=60, freq="MS")) == []
    assert holes_of(pd.date_range("2000", periods=60, freq="MS").delete(30)) == [30]
    assert holes_of(seconds.delete([40]).tz_localize("Europe/Berlin")) == [40]
    assert holes_of(seconds.delete([40]).to_period("s")) == [40]
    assert holes_of(seconds.delete([40]) - seconds[0]) == [40]
    (hole,) = read_sequences(frame(99, seconds.delete([40])), long=True).holes[0]
    assert hole == (40, 2.0, "0:00:02 after 2024-01-01 00:00:39")


def test_holes_in_other_indexes():
    """Epoch seconds, rows that `dropna` left, dates as Python's objects and as text; catches holes glued over because
    nobody called `pandas.to_datetime`. Ids are no times, and rows in another order are said to be."""
    hours = pd.date_range("2024", periods=100, freq="h").delete(range(40, 60))
    in_berlin = hours.tz_localize("UTC").tz_convert("Europe/Berlin")
    for index in (
        pd.Index(hours.as_unit("s").astype(np.int64)),
        pd.Index(np.r_[0:40, 60:100]),
        pd.Index(np.r_[0:40, 60:100] / 10),
        pd.Index(hours.to_pydatetime(), dtype=object),
        hours.astype(str),
        in_berlin.astype(str),
        pd.CategoricalIndex(hours),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert holes_of(index) == [40], index
            assert holes_of(index[:40]) == []
    (hole,) = read_sequences(frame(80, np.r_[0:40, 60:100]), long=True).holes[0]
    assert hole[:2] == (40, 21.0)
    assert hole.words.startswith("from 39 to 60 ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert holes_of(pd.Index([7] * 40 + [3] * 40)) == []  # ids
        assert holes_of(pd.Index([f"row {number}" for number in range(80)])) == []
    with pytest.warns(UserWarning, match=r"not in order.*sort_index.*reset_index"):
        assert holes_of(pd.Index(np.r_[50:90, 0:40])) == []
    with pytest.warns(UserWarning, match="not in order"):
        assert holes_of(pd.concat([frame(40), frame(40)]).index) == []


def test_the_hour_that_comes_twice_is_told_apart_as_advised():
    hours = pd.date_range("2024-10-26", periods=60, freq="30min", tz="Europe/Berlin").tz_localize(None)
    with pytest.raises(ValueError, match=r"not in order.*tz_localize\(ZONE, ambiguous='infer'\)"):
        holes_of(hours)
    assert holes_of(hours.tz_localize("Europe/Berlin", ambiguous="infer")) == []
    with pytest.raises(ValueError, match=r"without missing ones$"):
        holes_of(hours[::-1])


@pytest.mark.parametrize("order", [["id", "time"], ["time", "id"]])
def test_an_index_of_ids_and_times_is_split_by_its_ids_as_advised(order):
    """Catches advice that makes a series of every moment."""
    times = pd.date_range("2024", periods=5, freq="h")
    index = pd.MultiIndex.from_product([["a", "b"], times], names=["id", "time"]).reorder_levels(order)
    table = frame(10, index)
    with pytest.raises(ValueError, match="index of 2 levels") as raised:
        read_sequences(table, long=True)
    advised = eval(str(raised.value).split("dictionary of them, ")[1], {"X": table})
    assert read_sequences(advised, long=True).lengths.tolist() == [5, 5]


@settings(max_examples=200, deadline=None)
@given(
    distances=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    unit=st.sampled_from(["ns", "us", "ms", "s"]),
    regular=st.booleans(),
)
def test_holes_are_where_the_rule_says(distances, unit, regular):
    """The rule in plain Python, whatever the unit of the times."""
    if regular:
        distances = [10 if distance < 25 else 10 * distance for distance in distances]
    ordered = sorted(distances)
    most, middle = ordered[int(0.9 * (len(ordered) - 1))], ordered[(len(ordered) - 1) // 2]
    limit = 1.5 * middle if most <= 1.1 * middle else 5 * most
    expected = [step + 1 for step, distance in enumerate(distances) if distance > limit]
    times = np.concatenate([[0], np.cumsum(distances)]).astype(f"datetime64[{unit}]")
    assert holes_of(pd.DatetimeIndex(times)) == (expected if len(distances) > 1 else [])
    # as files are read, by the other copy of the rule: neither package imports the other
    assert holes_of(pd.DatetimeIndex(times)) == (find_holes(np.array(distances, np.float64)) + 1).tolist()


def sign(X: object) -> str | None:  # noqa: N803
    return sign_of_one_series(X, read_sequences(X, long=False))


def test_a_table_of_one_series_is_told_from_sequences_in_rows():
    random = np.random.default_rng(0)
    noise = random.normal(size=(300, 30))
    hours = pd.date_range("2024", periods=300, freq="h")
    assert sign(pd.DataFrame(noise, index=hours)) == "its rows have times"
    for names in (["temp", "rpm", *"abcdefghijklmnopqrstuvwxyzäö"], [f"sensor_{n:02}" for n in range(30)]):
        assert sign(pd.DataFrame(noise, columns=names)) == "its columns have names of features"
    assert "smoothly" in sign(noise.cumsum(axis=0))
    assert "smoothly" in sign(1000 * random.permutation(30) + noise.cumsum(axis=0))
    for steps in (noise, noise.cumsum(axis=1), np.sin(np.arange(300)[:, None] / 9 + np.arange(30) / 9)):
        assert sign(steps) is None
    for names in (
        [f"t{n}" for n in range(30)],
        [str(n) for n in range(30)],
        list(range(30)),
        [f"t-{n}" for n in range(30)],
    ):
        assert sign(pd.DataFrame(noise, columns=names)) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sign(np.ones((50, 4))) is sign(np.ones((50, 1))) is sign(1e300 * noise) is None
