"""Motion percepts: what moves where, and which edges are there, counted in a grid of cells. No weights, no network.

Histograms of optical flow and of gradients (Laptev et al. 2008), and of motion boundaries (Dalal et al. 2006; Wang et
al. 2013), which do not see what the camera does to all of the frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from .optical_flow import FAST, flow_by
from .videos import video_frames

CELLS, BINS = 4, 8  # rows and columns of the grid; directions, the first right, then clockwise
LAYOUT = {  # values of each cell, `features.reshape(T, CELLS, CELLS, -1)[..., LAYOUT[name]]`
    "flow": slice(0, 8),  # by direction
    "still": slice(8, 9),  # share of the pixels that move less than `_STILL`
    "boundaries": slice(9, 25),  # gradients of horizontal flow, then of vertical flow, each by direction
    "gradients": slice(25, 33),  # of the picture, by direction
    "speed": slice(33, 34),  # log(1 + mean pixels per frame of what moves)
}
FEATURES = CELLS**2 * 34

_SIDE = 120  # pixels of the shorter side of the frames whose flow is measured
_STILL = 0.4  # pixels per frame
# What is added to the mean that a histogram is divided by, so that noise is not blown up: pixels per frame of flow,
# their change per pixel, and grey levels per pixel.
_LEAST_FLOW, _LEAST_BOUNDARY, _LEAST_GRADIENT = 0.05, 0.02, 2.5

Frame = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]


class MotionPercepts:
    """The features of video files, see `motion_percepts`."""

    features = FEATURES
    facts: ClassVar[dict[str, Any]] = {
        "network": "motion",
        "layer": f"{CELLS}x{CELLS} cells of {', '.join(LAYOUT)}, {FEATURES}",
        "version": 1,  # of everything in this module
    }

    def rows(self, path: Path, **how: Any) -> Iterator[npt.NDArray[np.float16]]:
        """The features (544,) of each frame that `video_frames` gives, see there; ValueError for a single one."""
        return motion_percepts(video_frames(path, grey=True, **how))


def motion_percepts(frames: Iterable[Frame]) -> Iterator[npt.NDArray[np.float16]]:
    """Of grey frames (H, W), or (H, W, 1), of any one size the features (544,) of each, see `LAYOUT`.

    Those of a frame are of its picture and of its motion to the next frame; after the last frame the motion is that to
    it. The median motion of all pixels, the camera's, is subtracted. Flow and boundaries are divided by their mean over
    the frame, so that cells can be compared, gradients by that of their cell, and roots taken of all three.

    Raises ValueError for a single frame.
    """
    flow_between = flow_by(FAST)
    before, flow = None, None
    for frame in frames:
        picture = _scaled(frame)
        if before is not None:
            flow = flow_between(before, picture)
            yield _features(before, flow)
        before = picture
    if before is None or flow is None:
        raise ValueError("fewer than 2 frames decode, expected motion from one to the next; leave the file out")
    yield _features(before, flow)


def _scaled(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    scale = _SIDE / min(height, width)
    size = round(width * scale), round(height * scale)
    by = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, size, interpolation=by), np.uint8).reshape(size[::-1])


def _features(picture: Frame, flow: Values) -> npt.NDArray[np.float16]:
    cells = _cell_of_pixels(picture.shape)
    x, y = (np.ascontiguousarray(part - np.median(part)) for part in np.moveaxis(flow, -1, 0))
    moves = np.hypot(x, y) > _STILL
    moving = _by_direction(x * moves, y * moves, cells)
    boundaries = np.concatenate([_by_direction(*_gradient(part), cells) for part in (x, y)], axis=1)
    gradients = _by_direction(*_gradient(picture), cells)
    parts = {
        "flow": _root_of_share(moving, _LEAST_FLOW, of_frame=True),
        "still": 1 - _mean_in_cells(moves, cells)[:, None],
        "boundaries": _root_of_share(boundaries, _LEAST_BOUNDARY, of_frame=True),
        "gradients": _root_of_share(gradients, _LEAST_GRADIENT, of_frame=False),
        "speed": np.log1p(moving.sum(axis=1, keepdims=True)),
    }
    return np.concatenate([parts[name] for name in LAYOUT], axis=1).ravel().astype(np.float16)


def _cell_of_pixels(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The number of the cell that each pixel is in, (H, W)."""
    rows, columns = (np.arange(side) * CELLS // side for side in shape)
    return rows[:, None] * CELLS + columns


def _mean_in_cells(values: npt.NDArray[np.generic], cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(CELLS**2,)"""
    sums, counts = (np.bincount(cells.ravel(), weights, CELLS**2) for weights in (values.ravel(), None))
    return sums / counts


def _gradient(picture: Frame | Values) -> tuple[Values, Values]:
    """Change per pixel to the right and downwards."""
    x, y = (cv2.Sobel(picture, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def _by_direction(x: Values, y: Values, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Mean length of the vectors in each cell by their direction, (CELLS**2, BINS): each is shared by the two nearest
    directions."""
    length, angle = cv2.cartToPolar(x, y)
    place = np.asarray(angle) * (BINS / (2 * np.pi))
    first = place.astype(np.int64)
    share = place - first
    sums = np.zeros(CELLS**2 * BINS)
    for direction, weights in ((first, length * (1 - share)), (first + 1, length * share)):
        sums += np.bincount((cells * BINS + direction % BINS).ravel(), weights.ravel(), len(sums))
    return sums.reshape(-1, BINS) / np.bincount(cells.ravel())[:, None]


def _root_of_share(means: npt.NDArray[np.float64], least: float, *, of_frame: bool) -> npt.NDArray[np.float64]:
    whole = means.sum(axis=1, keepdims=True)
    return np.sqrt(means / ((whole.mean() if of_frame else whole) + least))
