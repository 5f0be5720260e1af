"""Series of `SequenceAutoencoder` as they arrive: numbers in the units of the data to those of a `Stream` and back."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .centring import centre
from .models import LSTMAutoencoder
from .series_input import Floats


class PushedStep(NamedTuple):
    """What is known after a step. Of a batch of B series:

    code:   (B, code length), what `transform` gives for all steps so far.
    coming: (B, steps, F), the next steps in the units of the data; None of an estimator that only reconstructs.
    score:  (B,), the mean squared error, in standardised units, of what was predicted for this step before it was
            there: 0 is perfect, more is more anomalous. NaN for the first step; None of one that only reconstructs.
    """

    code: npt.NDArray[np.float32]
    coming: npt.NDArray[np.floating] | None
    score: npt.NDArray[np.float32] | None


class SeriesStream:
    """One or several series, a step at a time; see `Stream`, of which this is one in the units of the data."""

    def __init__(self, model: LSTMAutoencoder, offsets: Floats, constant: npt.NDArray[np.bool_], steps: int) -> None:
        """offsets, constant: (F,), of `find_offsets`. steps: how many to predict at every push."""
        self._stream = model.stream(steps)
        self._offsets, self._constant = offsets, constant
        self._moved = False

    def push(self, step: npt.ArrayLike) -> PushedStep:
        """Read one more step (B, F) of every series, or (F,) of the only one, whose results then have no B.

        Warns, once, where a feature moves that was constant in `fit`. Raises ValueError for other shapes, and as
        `Stream.push` does.
        """
        values = np.atleast_1d(np.asarray(step, np.float64))
        if values.ndim > 2 or values.shape[-1] != len(self._offsets) or not values.size:
            raise ValueError(
                f"found a step of shape {values.shape}, expected ({len(self._offsets)},), a number for each feature, or"
                f" (B, {len(self._offsets)}) of B series"
            )
        centred, moves = centre(np.atleast_2d(values), self._offsets, self._constant)
        if moves.any() and not self._moved:
            self._moved = True
            which = ", ".join(f"feature {feature}" for feature in np.flatnonzero(moves).tolist())
            warnings.warn(
                f"what was constant in fit moves here: {which}; look at it yourself", UserWarning, stacklevel=2
            )
        pushed = self._stream.push(torch.from_numpy(centred).view(values.shape))
        coming = None if pushed.coming is None else pushed.coming.cpu().numpy()
        if coming is not None and self._offsets.any():
            coming = coming + self._offsets  # float64, which can hold them
        return PushedStep(_array(pushed.code), coming, None if pushed.score is None else _array(pushed.score))

    def reset(self) -> None:
        """Forget all steps, as after a hole in the times."""
        self._stream.reset()

    def save(self, path: Path | str) -> None:
        """Write what another stream of the same estimator needs to go on from here: a safetensors file."""
        self._stream.save(path)

    def load(self, path: Path | str) -> None:
        """Go on from where `save` was called. Raises ValueError where the file is damaged or of another model."""
        self._stream.load(path)


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.cpu().numpy()
    return array
