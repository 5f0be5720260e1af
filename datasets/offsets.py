"""What float32 cannot hold: large values that change little, such as a counter at 1e9 that moves by 3.

They are centred in float64 before they become float32: an offset is subtracted from every feature that needs one.
"""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_FAR = 100  # standard deviations of a feature between its mean and zero, from which on it needs an offset
_LARGE = 1e4  # of a constant feature, what needs one: below it float32 keeps thousandths, should it move later
_NOISE = 1e-15  # of the mean: what varies less is the rounding of float64
_EXACT = 2.0**53  # up to which float64 holds all whole numbers
_LOST = 0.01  # of how a feature changes from step to step, the most that rounding may cost
_ROWS = 2**16  # that are looked at together
_SAMPLE = 2**22  # numbers that tell what rounding costs

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.float32]


class Rounding(NamedTuple):
    """What rounding to float32, and before that to float64, costs the features, (F,) each."""

    lost: Floats  # what nine of ten values lose at most
    change: Floats  # from step to step, the median of those that change; 0 of a constant feature
    too_much: npt.NDArray[np.bool_]


def find_offsets(arrays: Collection[npt.NDArray[Any]]) -> Floats:
    """What to subtract from each feature of arrays (T, F) of finite numbers: (F,), 0 where float32 holds it as it is.

    An offset is the mean, rounded to a power of two near the standard deviation, so that whole numbers stay whole.
    """
    mean, std = _moments(arrays)
    nothing = np.zeros_like(mean)
    if all(np.can_cast(array.dtype, np.float32) for array in arrays):
        return nothing
    size = np.abs(mean)
    varies = (std > _NOISE * size) & ((size > _FAR * std) | rounding(arrays, nothing).too_much)
    needed = np.where(std == 0, size > _LARGE, varies)
    return np.array([_rounded(*pair) if need else 0.0 for *pair, need in zip(mean, std, needed, strict=True)])


def rounding(arrays: Collection[npt.NDArray[Any]], offsets: Floats) -> Rounding:
    """What is lost of arrays (T, F) by float32 once `offsets` (F,) are subtracted, by a sample of their rows."""
    stride = max(1, sum(array.size for array in arrays) // _SAMPLE)
    values, changes = [], []
    for array in arrays:
        rows = np.arange(0, len(array), stride)
        values.append(np.asarray(array[rows], np.float64))
        followed = rows[: np.searchsorted(rows, len(array) - 1)]
        changes.append(np.abs(np.asarray(array[followed + 1], np.float64) - array[followed]))
    sample, moves = np.concatenate(values), np.concatenate(changes)
    std = (sample - sample[0]).std(axis=0)  # near zero, where it is exact
    mean = np.abs(sample.mean(axis=0))
    largest = np.abs(sample).max(axis=0)
    sample -= offsets
    lost = np.quantile(np.abs(sample.astype(np.float32) - sample), 0.9, axis=0)
    lost = np.where(largest < _EXACT, lost, np.maximum(lost, np.spacing(largest) / 4))
    medians = [np.median(feature[feature > 0]) if feature.any() else 0.0 for feature in moves.T]
    change = np.where(np.array(medians) > 0, medians, std)
    return Rounding(lost, change, (lost > _LOST * change) & (std > _NOISE * mean))


def centred(values: npt.NDArray[Any], offsets: Floats) -> Numbers:
    """Values (T, F) less the offsets (F,), as float32; the values themselves where that changes nothing."""
    if not offsets.any():
        return values.astype(np.float32, copy=False)
    result = np.empty(values.shape, np.float32)
    for first in range(0, len(values), _ROWS):
        np.subtract(values[first : first + _ROWS], offsets, out=result[first : first + _ROWS], casting="same_kind")
    return result


def _moments(arrays: Collection[npt.NDArray[Any]]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of every feature, (F,) each; a constant one has exactly its value and 0."""
    start = np.asarray(next(iter(arrays))[0], np.float64)  # near all others, where the mean is large
    total, squares, steps = np.zeros_like(start), np.zeros_like(start), 0
    for array in arrays:
        for first in range(0, len(array), _ROWS):
            part = array[first : first + _ROWS] - start
            total, squares, steps = total + part.sum(axis=0), squares + np.square(part).sum(axis=0), steps + len(part)
    mean = total / steps
    return start + mean, np.sqrt(np.maximum(squares / steps - np.square(mean), 0))


def _rounded(mean: float, std: float) -> float:
    if std == 0:
        return float(mean)
    unit = 2.0 ** math.floor(math.log2(std))
    return float(round(mean / unit) * unit)
