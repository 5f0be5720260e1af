"""Values that are not to set the scale of others."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_FENCE = 3.0  # times the distance between the quartiles: Tukey's "far out", 4.7 standard deviations of a Gaussian

Floating = TypeVar("Floating", bound=np.floating[Any])


def clip_outliers(values: npt.NDArray[Floating]) -> npt.NDArray[Floating]:
    """Values (S, F) in which those of a feature that are far outside its quartiles are moved to the fence (Tukey 1977).

    The mean and the deviation of these are a location and a scale that a few spikes do not spoil. A feature that has
    one value half of the time has no such fence and stays as it is.
    """
    low, high = np.quantile(values, (0.25, 0.75), axis=0)  # (F,)
    margin = np.where(high > low, _FENCE * (high - low), np.inf)
    return np.clip(values, low - margin, high + margin).astype(values.dtype, copy=False)
