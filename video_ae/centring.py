"""What float32, in which models compute, would lose of float64 data: offsets to take away, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .series_input import Floats, Sequences

_FAR = 100  # standard deviations from zero: there the offset goes
_ROUNDING = 1e-12  # of a feature's level: less is no variation
_LARGEST_LOSS = 0.01  # by rounding to float32, of how a feature changes from step to step
_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_STD = 1e18  # its square and that of its inverse are float32 numbers


def find_offsets(given: Sequences) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """What to take away from every feature before it becomes float32, (F,), and which features are constant, (F,).

    Offsets are zero unless a feature is far from zero beside its standard deviation. Raises ValueError for what float32
    cannot hold after that: values and deviations beyond its range, and features of which it loses how they change.
    """
    steps = given.steps
    if np.abs(steps).max() > _LARGEST:
        raise ValueError("found values beyond the range of float32, expected at most 3e38; scale the data")
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    constant = np.ptp(steps, axis=0) <= _ROUNDING * np.abs(steps[0])
    offsets = np.where(constant, steps[0], np.where(np.abs(mean) > _FAR * deviation, mean, 0.0))
    of_any_size = (deviation < _LARGEST_STD) & (deviation > 1 / _LARGEST_STD)
    if not (constant | of_any_size).all():
        worst = int((constant | of_any_size).argmin())
        raise ValueError(
            f"{given.feature(worst)} has a standard deviation of {deviation[worst]:.3g}, expected"
            f" {1 / _LARGEST_STD:g} to {_LARGEST_STD:g}; scale the data"
        )
    centred = steps - offsets
    lost = _rms(centred.astype(np.float32) - centred)
    inside = np.ones(len(steps) - 1, bool)
    inside[given.starts[1:] - 1] = False  # from one sequence to the next
    changes = _rms(np.diff(steps, axis=0)[inside])
    unclear = ~constant & (changes > _ROUNDING * np.abs(steps).max(axis=0)) & (lost > _LARGEST_LOSS * changes)
    if unclear.any():
        worst = int(unclear.argmax())
        raise ValueError(
            f"{given.feature(worst)} changes by {changes[worst]:.3g} from step to step and spreads by"
            f" {deviation[worst]:.3g}, too much beside it for float32: give its differences, or take away what drifts"
        )
    return offsets, constant


def to_float32(given: Sequences, offsets: Floats, constant: npt.NDArray[np.bool_]) -> Tensor:
    """The steps without their offsets, (S, F). Warns of a feature that was constant in `fit` and is not here.

    Raises ValueError for values beyond the range of float32.
    """
    centred = given.steps - offsets
    moves = np.where(constant, np.abs(centred).max(axis=0), 0)
    moved = np.flatnonzero(moves > _ROUNDING * np.abs(offsets))
    if len(moved):
        which = ", ".join(f"{given.feature(index)} by up to {moves[index]:.3g}" for index in moved.tolist())
        warnings.warn(
            f"what was constant in fit moves here: {which}; how much of that is normal no model can know, and it counts"
            " in the units of X: look at it yourself",
            UserWarning,
            stacklevel=4,
        )
    centred[:, constant & (moves <= _ROUNDING * np.abs(offsets))] = 0
    if np.abs(centred).max() > _LARGEST:
        raise ValueError("found values beyond the range of float32, expected at most 3e38; scale the data")
    return torch.from_numpy(centred.astype(np.float32))


def _rms(values: npt.NDArray[np.floating]) -> Floats:
    """Root mean square of every column, (F,); 0 of none."""
    return np.sqrt(np.square(values, dtype=np.float64).sum(axis=0) / max(1, len(values)))
