"""What float32, in which models compute, would lose of float64 data: offsets to take away, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .datasets.offsets import find_offsets as offsets_of
from .datasets.offsets import rounding
from .series_input import Floats, Sequences

_ROUNDING = 1e-15  # of a feature's level: less is no variation
_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_STD = 1e18  # its square and that of its inverse are float32 numbers


def find_offsets(given: Sequences) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """What to take away from every feature before it becomes float32, (F,), and which features are constant, (F,).

    Offsets are those of files, see `video_ae.datasets.offsets`, and of constant features their value. Raises ValueError
    for what float32 cannot hold after that: values and deviations beyond its range, and features of which it loses how
    they change.
    """
    steps = given.steps
    if np.abs(steps).max() > _LARGEST:
        raise ValueError("found values beyond the range of float32, expected at most 3e38; scale the data")
    constant = np.ptp(steps, axis=0) <= _ROUNDING * np.abs(steps[0])
    arrays = np.split(steps, given.starts[1:])
    offsets = np.where(constant, steps[0], offsets_of(arrays))
    deviation = steps.std(axis=0)
    of_any_size = (deviation < _LARGEST_STD) & (deviation > 1 / _LARGEST_STD)
    if not (constant | of_any_size).all():
        worst = int((constant | of_any_size).argmin())
        raise ValueError(
            f"{given.feature(worst)} has a standard deviation of {deviation[worst]:.3g}, expected"
            f" {1 / _LARGEST_STD:g} to {_LARGEST_STD:g}; scale the data"
        )
    _, changes, too_much = rounding(arrays, offsets)
    unclear = ~constant & too_much
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
    centred, moves = centre(given.steps, offsets, constant)
    moved = np.flatnonzero(moves)
    if len(moved):
        which = ", ".join(f"{given.feature(index)} by up to {moves[index]:.3g}" for index in moved.tolist())
        warnings.warn(
            f"what was constant in fit moves here: {which}; how much of that is normal no model can know, and it counts"
            " in the units of X: look at it yourself",
            UserWarning,
            stacklevel=5,
        )
    return torch.from_numpy(centred)


def centre(steps: Floats, offsets: Floats, constant: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float32], Floats]:
    """Steps (S, F) without their offsets, and by how much features that were constant move here, (F,), 0 of others.

    Raises ValueError for values beyond the range of float32.
    """
    centred = steps - offsets
    moves = np.where(constant, np.abs(centred).max(axis=0), 0)
    moves[moves <= _ROUNDING * np.abs(offsets)] = 0
    centred[:, constant & (moves == 0)] = 0
    if np.abs(centred).max() > _LARGEST:
        raise ValueError("found values beyond the range of float32, expected at most 3e38; scale the data")
    return centred.astype(np.float32), moves
