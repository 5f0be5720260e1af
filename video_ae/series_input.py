"""What people have as sequences (arrays, lists, dictionaries, tensors, DataFrames) to numbers, names and times.

Nothing here imports pandas: a DataFrame is told by what it has.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils.validation import check_array
from torch import Tensor

from .datasets.times import find_holes

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Labels = tuple[Hashable, ...]

ROWS, ARRAY, LIST, SERIES = "rows", "array", "list", "series"  # (N, T), (N, T, F), a list of (T_i, F), one (T, F)
_STEP_NAME = re.compile(r"(t|time|step|lag|x|v|col|column|value|hour|day|week|month|year)?[ _.+-]*\d+", re.IGNORECASE)
_SMOOTH, _ROUGH = 0.25, 0.5  # between neighbours, of the squared difference of any two values
_ENOUGH_ROWS = 20  # to tell whether they go on from one to the next


class Hole(NamedTuple):
    """Where the times of a sequence jump: the first step after it, how many of the usual distances it is long, and what
    it is in words."""

    step: int
    size: float
    words: str


@dataclass(frozen=True)
class Sequences:
    """N sequences, one after another.

    steps:   (S, F), the steps of all. lengths: (N,), how many each has.
    form:    how they were given. example: a DataFrame or array whose columns scikit-learn calls features.
    labels:  of the columns of DataFrames, in their order here, None for others. keys: of a dictionary.
    holes:   of each sequence, by its times; empty without.
    width:   T of arrays, whose sequences may have been padded with NaN.
    missing: (S, F) bool, where `steps` have something in place of what is missing; None where nothing may be.
    """

    steps: Floats
    lengths: Integers
    form: str
    example: Any
    labels: Labels | None = None
    keys: Labels | None = None
    holes: tuple[tuple[Hole, ...], ...] = ()
    width: int = 0
    missing: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def starts(self) -> Integers:
        """(N,): where each sequence begins in `steps`."""
        return np.cumsum(self.lengths) - self.lengths

    def stretches(self, index: int) -> list[tuple[int, int]]:
        """The parts of a sequence between holes in its times: their first step and the one after their last."""
        holes = self.holes[index] if self.holes else ()
        return list(pairwise([0, *(hole.step for hole in holes), int(self.lengths[index])]))

    def as_given(self, values: npt.NDArray[Any]) -> Any:
        """Something of every step, (S, ...), in the form in which the sequences were given; NaN for padding."""
        if self.form in (LIST, SERIES):
            return self.per_sequence(np.split(values, self.starts[1:]))
        shaped = np.full((len(self), self.width, *values.shape[1:]), np.nan, values.dtype)
        shaped[np.arange(self.width) < self.lengths[:, None]] = values
        return shaped

    def per_sequence(self, parts: list[npt.NDArray[Any]]) -> Any:
        """One part for one series, or else a list or dictionary of the parts."""
        if self.form == SERIES:
            return parts[0]
        return parts if self.keys is None else dict(zip(self.keys, parts, strict=True))

    def name(self, index: int) -> str:
        return "the series" if self.form == SERIES else _name(index, self.keys)

    def feature(self, index: int) -> str:
        label = f" ({self.labels[index]!r})" if self.labels is not None and self.form != ROWS else ""
        return f"feature {index}{label}"


def read_sequences(
    X: Any,  # noqa: N803
    *,
    long: bool,
    rows: bool | None = None,
    labels: Labels | None = None,
    missing: bool = False,
) -> Sequences:
    """The sequences in `X`; see `SequenceAutoencoder` for what that may be.

    long:   whether a table (T, F) is one long series; otherwise it is N sequences in rows (N, T).
    rows:   whether `fit` had sequences in rows; None in `fit`.
    labels: of the columns in `fit`, if they had any: DataFrames of features are put in this order.
    missing: whether numbers may be missing, NaN; they are then NaN in `steps`.

    Raises ValueError or TypeError, with the place named, for what cannot be read, and for missing or infinite numbers.
    """
    keys = None
    if isinstance(X, Mapping) and not sparse.issparse(X):
        keys, X = tuple(X), list(X.values())
    X = X if keys is not None else _opened(X, nested=rows is False and not long)
    if isinstance(X, list):
        given = _of_list(X, keys, labels)
    elif not long:
        given = _of_array(X, rows)
    elif len(X.shape) == 3:
        given = replace(_of_array(X, None), form=LIST)
    else:
        given = _of_series(X, labels)
    _refuse_not_finite(given, missing=missing)
    return given


def is_frame(X: Any) -> bool:  # noqa: N803
    """Whether it is a DataFrame, of pandas or the like, whose columns are labels."""
    return hasattr(X, "columns") and hasattr(X, "shape") and all(isinstance(label, Hashable) for label in X.columns)


def named(labels: Labels | None) -> bool:
    """Whether columns have names, not just numbers."""
    return labels is not None and all(isinstance(label, str) for label in labels)


def sign_of_one_series(X: Any, rows: Sequences) -> str | None:  # noqa: N803
    """Why `X`, read as rows (N, T), is likely to be one series of T features and no N sequences of T steps; or None."""
    if _times(X) is not None:
        return "its rows have times"
    if is_frame(X) and named(tuple(X.columns)) and not all(map(_STEP_NAME.fullmatch, X.columns)):
        return "its columns have names of features"
    table = rows.as_given(rows.steps[:, 0])
    long_enough = len(table) >= _ENOUGH_ROWS and np.isfinite(table).all()
    if long_enough and _roughness(table.T) < _SMOOTH and _roughness(table) > _ROUGH:
        return "its values go on smoothly from row to row, not from column to column"
    return None


def _roughness(table: Floats) -> float:
    """The squared difference of neighbours in a row beside that of any two in it, half of von Neumann's ratio: about 1
    where there is no order, near 0 for smooth rows. Constant rows do not count."""
    scaled = table / max(np.abs(table).max(), np.finfo(np.float64).tiny)  # squares neither overflow nor vanish
    variances = scaled.var(axis=1)
    moving = variances > 1e-24 * np.square(scaled).mean(axis=1)
    if table.shape[1] < 2 or not moving.any():
        return 1.0
    return float((np.square(np.diff(scaled[moving], axis=1)).mean(axis=1) / (2 * variances[moving])).mean())


def _opened(X: Any, *, nested: bool) -> Any:  # noqa: N803
    """A list of sequences, whatever holds them, or else an array, Series or DataFrame.

    Python's own lists of lists are arrays where they can be, unless `nested`.
    """
    if isinstance(X, (list, tuple)):
        if any(len(getattr(part, "shape", ())) for part in X):
            return list(X)
        try:
            array = np.asarray(X)
        except ValueError:  # their lengths differ
            return list(X)
        return list(X) if not len(X) or (nested and array.ndim == 2) else array
    X = _plain(X)
    if not len(X.shape):
        raise TypeError(f"found {type(X[()]).__name__}, expected an array, a DataFrame, a list or a dictionary")
    if not is_frame(X) and X.dtype == object and len(X.shape) == 1 and len(X) and all(map(np.ndim, X)):
        return list(X)
    return X


def _plain(X: Any) -> Any:  # noqa: N803
    """A DataFrame or pandas Series as it is, everything else as an array, NaN where it is masked."""
    if sparse.issparse(X):
        raise TypeError("sparse input is not supported: give dense numbers, X.toarray()")
    if isinstance(X, Tensor):
        return X.detach().cpu().double().numpy()
    if isinstance(X, np.ma.MaskedArray):
        return np.ma.filled(X.astype(np.float64), np.nan)
    return X if is_frame(X) or hasattr(X, "iloc") else np.asarray(X)


def _of_list(parts: list[Any], keys: Labels | None, labels: Labels | None) -> Sequences:
    """Sequences of different lengths, each an array or a DataFrame."""
    if not parts:
        raise ValueError("found no sequences, expected at least one")
    names = [_name(index, keys) for index in range(len(parts))]
    frames = [is_frame(part) for part in parts]
    if any(frames):
        if not all(frames):
            raise ValueError(
                f"{names[frames.index(False)]} is no DataFrame, others are: give all of them as DataFrames"
            )
        parts[0] = _as_in_fit(parts[0], labels, names[0])
        first = tuple(parts[0].columns)
        parts = [_in_order(part, first, name, "of the first") for part, name in zip(parts, names, strict=True)]
    arrays = [_two_dimensional(part, name) for part, name in zip(parts, names, strict=True)]
    features = sorted({array.shape[1] for array in arrays})
    if len(features) > 1:
        raise ValueError(f"found sequences of {features} features, expected one number")
    return Sequences(
        np.concatenate(arrays),
        np.array([len(array) for array in arrays]),
        LIST,
        parts[0] if any(frames) else arrays[0],
        tuple(parts[0].columns) if any(frames) else None,
        keys,
        tuple(_holes(part, name) for part, name in zip(parts, names, strict=True)),
    )


def _of_series(X: Any, labels: Labels | None) -> Sequences:  # noqa: N803
    """One long series (T, F) or (T,)."""
    what = "the series"
    frame = is_frame(X)
    if frame:
        X = _as_in_fit(X, labels, what)
    steps = _two_dimensional(X, what)
    names = tuple(X.columns) if frame else None
    return Sequences(steps, np.array([len(steps)]), SERIES, X if frame else steps, names, holes=(_holes(X, what),))


def _of_array(X: Any, rows: bool | None) -> Sequences:  # noqa: N803
    """Sequences (N, T, F), or rows (N, T), that may be padded with NaN behind their ends."""
    frame = is_frame(X)
    array = _numbers(X, "X")
    if array.ndim == 1 and rows is None:
        raise ValueError(
            f"found {len(array)} numbers, expected a 2D array (N, T), or (N, T, F): give window= where they are a long"
            " series. Reshape your data with X[None] where they are one short sequence"
        )
    array = check_array(array, allow_nd=True, dtype=np.float64, ensure_all_finite=False)
    if array.ndim > 3 or 0 in array.shape:
        raise ValueError(f"found an array {array.shape}, expected (N, T, F), or (N, T) for one feature, without zeros")
    if array.ndim == 2 and rows is False:
        raise ValueError(
            f"found an array {array.shape}, expected (N, T, F) or a list of (T, F) as in fit: give X[None] if this is"
            " one sequence, X[:, :, None] if it is N of one feature"
        )
    blocks = array.reshape(*array.shape[:2], -1)  # (N, T, F)
    there = ~np.isnan(blocks).all(axis=2)  # (N, T)
    lengths = np.where(there.any(axis=1), there.shape[1] - there[:, ::-1].argmax(axis=1), 0)
    if not lengths.all():
        raise ValueError(f"{_name(int(lengths.argmin()), None)} is NaN throughout, expected at least one step")
    inside = np.arange(there.shape[1]) < lengths[:, None]
    steps = blocks.reshape(-1, blocks.shape[2]) if inside.all() else blocks[inside]
    labels = tuple(X.columns) if frame else None
    form, example = (ARRAY, array[0]) if array.ndim == 3 else (ROWS, X if frame else array)
    return Sequences(steps, lengths, form, example, labels, width=there.shape[1])


def _name(index: int, keys: Labels | None) -> str:
    return f"sequence {index if keys is None else repr(keys[index])}"


def _as_in_fit(frame: Any, labels: Labels | None, where: str) -> Any:
    """A DataFrame with its columns in the order of `fit`; as it is where only one of both has names, of which
    scikit-learn warns."""
    if labels is None or named(tuple(frame.columns)) != named(labels):
        return frame
    return _in_order(frame, labels, where, "that were passed during fit")


def _in_order(frame: Any, labels: Labels, where: str, of: str) -> Any:
    """A DataFrame with its columns in the order of `labels`. Raises ValueError where it has others."""
    found = tuple(frame.columns)
    if found == labels:
        return frame
    more, missing = [name for name in found if name not in labels], [name for name in labels if name not in found]
    if more or missing:
        wrong = [f"has also {more}"] * bool(more) + [f"lacks {missing}"] * bool(missing)
        raise ValueError(f"The feature names should match those {of}: {where} {' and '.join(wrong)}")
    return frame[list(labels)]


def _two_dimensional(sequence: Any, where: str) -> Floats:
    """One sequence as (T, F), of at least one step and one feature."""
    steps = _numbers(_plain(sequence), where)
    if steps.ndim == 1:
        steps = steps[:, None]
    if steps.ndim != 2 or 0 in steps.shape:
        raise ValueError(
            f"{where} has the shape {steps.shape}, expected (T, F), or (T,) for one feature, of at least one step"
        )
    return steps


def _numbers(X: Any, where: str) -> Floats:  # noqa: N803
    """float64 numbers; NaN is what is missing."""
    if is_frame(X):
        labels = list(X.columns)
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise ValueError(f"{where} has two columns {twice!r}, expected different names")
        columns = [_column(X, label, where) for label in labels]
        return np.stack(columns, axis=1) if columns else np.empty(X.shape)
    kind = getattr(X.dtype, "kind", "O")
    if kind in "mM":
        raise ValueError(f"{where} holds times, expected numbers: leave them out")
    if kind == "c":
        raise ValueError(f"Complex data not supported: {where} holds complex numbers; give real and imaginary parts")
    try:
        if hasattr(X, "iloc"):  # of pandas, which has several kinds of missing values
            return X.to_numpy(dtype=np.float64, na_value=np.nan)
        return X.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where} does not hold numbers: {error}; leave out or encode what is none") from error


def _column(frame: Any, label: Hashable, where: str) -> Floats:
    """One column (T,) of a DataFrame. Raises ValueError, with a way out, where it holds no numbers."""
    column, what = _plain(frame[label]), f"column {label!r} of {where}"
    kind = getattr(column.dtype, "kind", "O")
    if kind == "M":
        way_out = f"put them in the index, X.set_index({label!r})" if hasattr(frame, "iloc") else "leave them out"
        raise ValueError(f"{what} holds times, expected numbers: {way_out}")
    try:
        return _numbers(column, what)
    except (TypeError, ValueError) as error:
        if kind != "O":
            raise
        raise ValueError(
            f"{error}; times belong in the index, X.set_index(pandas.to_datetime(X.pop({label!r}))), names of series in"
            f" a dictionary, {{name: part.drop(columns={label!r}) for name, part in X.groupby({label!r})}}"
        ) from error


def _times(X: Any) -> npt.NDArray[Any] | None:  # noqa: N803
    """The times (T,) in the index of a DataFrame or Series, datetime64 or timedelta64; None where there are none.

    Objects and text are times where all of them are dates.
    """
    if not hasattr(X, "iloc"):
        return None
    index = X.index.to_timestamp() if hasattr(X.index, "to_timestamp") else X.index  # of periods
    if getattr(index, "tz", None) is not None:
        index = index.tz_convert(None)
    kind = getattr(index.dtype, "kind", "")
    if kind in ("m", "M"):
        return index.to_numpy()
    if kind != "O" or index.nlevels > 1:
        return None
    try:
        moments = [datetime.fromisoformat(str(label)) for label in index]
    except ValueError:
        return None
    in_utc = [moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment for moment in moments]
    return np.array(in_utc, "M8[us]")


def _numbered(X: Any) -> npt.NDArray[Any] | None:  # noqa: N803
    """The numbers (T,) in the index of a DataFrame or Series that may be times or the places of rows in a larger table;
    None where there are none, or where some follow themselves, as ids do."""
    index = getattr(X, "index", None) if hasattr(X, "iloc") else None
    if getattr(getattr(index, "dtype", None), "kind", "") not in ("i", "u", "f"):
        return None
    numbers: npt.NDArray[Any] = np.asarray(index)
    numbers = numbers.astype(np.float64 if numbers.dtype.kind == "f" else np.int64)
    return numbers if np.diff(numbers).all() else None


def _holes(X: Any, where: str) -> tuple[Hole, ...]:  # noqa: N803
    """Where the times of a sequence jump, see `find_holes`. Raises ValueError where they are not in order."""
    if hasattr(X, "iloc") and (levels := X.index.nlevels) > 1:
        of_ids = next((level for level in range(levels) if X.index.get_level_values(level).dtype.kind != "M"), 0)
        raise ValueError(
            f"{where} has an index of {levels} levels, expected one sequence: give a dictionary of them,"
            f" {{name: part.droplevel({of_ids}) for name, part in X.groupby(level={of_ids})}}"
        )
    times, numbers = _times(X), _numbered(X)
    if times is None and numbers is not None:
        return _holes_in_numbers(numbers, where)
    if times is None or len(times) < 2:
        return ()
    distances = np.diff(times)
    if np.isnat(distances).any() or (distances < np.timedelta64(0, "ns")).any():
        raise ValueError(
            f"the times of {where} are not in order, or missing: give X.sort_index(), without missing ones"
            + _about_summer_time(times)
        )
    ticks = distances.astype(np.int64)
    if not ticks.all():
        raise ValueError(
            f"{where} has several steps at {X.index[int(ticks.argmin())]}: give a list of DataFrames where these are"
            " several sequences, or leave the others out, X[~X.index.duplicated()].sort_index()"
        )
    return tuple(
        Hole(step + 1, size, f"{distances[step].astype('timedelta64[us]').item()} after {X.index[step]}")
        for step, size in _long_distances(ticks)
    )


def _about_summer_time(times: npt.NDArray[Any]) -> str:
    """What to add where times go back now and then, by an hour at most, as clocks do."""
    back = np.diff(times)[np.diff(times) < np.timedelta64(0, "ns")]
    if times.dtype.kind != "M" or not 0 < 10 * len(back) < len(times) or back.min() < -np.timedelta64(1, "h"):
        return ""
    return "; if that is the end of summer time, X.tz_localize(ZONE, ambiguous='infer')"


def _holes_in_numbers(numbers: npt.NDArray[Any], where: str) -> tuple[Hole, ...]:
    """Where the numbers of an index jump: times, or rows that were left out. Warns where they are not in order, as
    those of shuffled rows are, and those of rows that were put in order."""
    distances = np.diff(numbers)
    if not (distances > 0).all():
        warnings.warn(
            f"the index of {where} is not in order, the rows are taken as they come: give X.sort_index(), or, if they"
            " are in order as they are, X.reset_index(drop=True)",
            UserWarning,
            stacklevel=8,
        )
        return ()
    return tuple(
        Hole(step + 1, size, f"from {numbers[step]} to {numbers[step + 1]} (X.reset_index(drop=True) has none)")
        for step, size in _long_distances(distances)
    )


def _long_distances(distances: npt.NDArray[Any]) -> list[tuple[int, float]]:
    """After which steps nothing comes for longer than is usual, and how many of the usual distances."""
    holes = find_holes(distances).tolist()
    return [(step, float(distances[step] / np.quantile(distances, 0.5, method="lower"))) for step in holes]


def _refuse_not_finite(given: Sequences, *, missing: bool) -> None:
    finite = ~np.isinf(given.steps) if missing else np.isfinite(given.steps)
    if finite.all():
        return
    at, feature = np.argwhere(~finite)[0]
    index = int(np.searchsorted(given.starts, at, side="right")) - 1
    raise ValueError(
        f"{given.name(index)} contains {'NaN' if np.isnan(given.steps[at, feature]) else 'inf'} at step"
        f" {at - given.starts[index]}, {given.feature(int(feature))}, expected a number: fill such gaps in"
        ' (X.interpolate() of a DataFrame), set missing="mask", or give what is before and after them as a list'
        " of arrays (T_i, F)"
    )
