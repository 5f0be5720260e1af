"""Optical flow: how far everything moves from one frame to the next (DIS, Kroeger et al. 2016)."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

FAST, MEDIUM = cv2.DISOPTICAL_FLOW_PRESET_FAST, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM

Flow = Callable[[npt.NDArray[np.uint8], npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def flow_by(preset: int) -> Flow:
    """A function of two grey frames (H, W): pixels from each place of the first to the second, (H, W, 2) float32, x
    then y, right and down positive. Not for several threads at once."""
    method = cv2.DISOpticalFlow.create(preset)

    def flow(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        still = np.zeros((*before.shape, 2), np.float32)  # where the search begins
        return np.asarray(method.calc(before, after, still), np.float32)

    return flow
