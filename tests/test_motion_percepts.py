"""Motion percepts: every value is where the layout says, by loops over pixels and by pictures that move."""

import math

import cv2
import numpy as np
import pytest

from video_ae.datasets.motion_percepts import BINS, CELLS, FEATURES, LAYOUT, _features, motion_percepts


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(height, width)), (0, 0), 2)
    return np.rint(255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


def part(features: np.ndarray, name: str) -> np.ndarray:
    """(..., CELLS, CELLS, values)"""
    return features.astype(np.float64).reshape(*features.shape[:-1], CELLS, CELLS, -1)[..., LAYOUT[name]]


def slopes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sobel's, per pixel, mirrored at the border without repeating it, as OpenCV does."""
    padded = np.pad(values.astype(np.float64), 1, mode="reflect")
    smooth_rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    smooth_columns = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return (smooth_rows[:, 2:] - smooth_rows[:, :-2]) / 8, (smooth_columns[2:] - smooth_columns[:-2]) / 8


def counted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean length by cell and direction, each pixel for itself: (CELLS, CELLS, BINS)."""
    height, width = x.shape
    sums, pixels = np.zeros((CELLS, CELLS, BINS)), np.zeros((CELLS, CELLS, 1))
    for row in range(height):
        for column in range(width):
            cell = row * CELLS // height, column * CELLS // width
            place = math.atan2(y[row, column], x[row, column]) / (2 * math.pi) * BINS % BINS
            length, below = math.hypot(x[row, column], y[row, column]), math.floor(place)
            sums[cell][below % BINS] += length * (below + 1 - place)
            sums[cell][(below + 1) % BINS] += length * (place - below)
            pixels[cell] += 1
    return sums / pixels


def test_every_value_is_what_the_layout_says():
    """Sides that the grid does not divide, and flow with a camera's motion in it; catches swapped axes and bins."""
    random = np.random.default_rng(1)
    picture = texture(30, 42)
    flow = cv2.GaussianBlur(random.normal(size=(30, 42, 2)), (0, 0), 2).astype(np.float32) * 8 + (1, -2)
    flow = flow.astype(np.float32)
    features = _features(picture, flow)
    assert (features.shape, features.dtype) == ((FEATURES,), np.float16)

    x, y = (flow[..., axis] - np.median(flow[..., axis]) for axis in (0, 1))
    moves = np.hypot(x, y) > 0.4
    moving = counted(x * moves, y * moves)
    boundaries = np.concatenate([counted(*slopes(x)), counted(*slopes(y))], axis=-1)
    gradients = counted(*slopes(picture))
    close = {"atol": 2e-3, "rtol": 2e-3}  # of float16 and OpenCV's fast angles
    np.testing.assert_allclose(part(features, "flow"), np.sqrt(moving / (moving.sum() / 16 + 0.05)), **close)
    np.testing.assert_allclose(
        part(features, "boundaries"), np.sqrt(boundaries / (boundaries.sum() / 16 + 0.02)), **close
    )
    np.testing.assert_allclose(
        part(features, "gradients"), np.sqrt(gradients / (gradients.sum(-1, keepdims=True) + 2.5)), **close
    )
    np.testing.assert_allclose(part(features, "speed"), np.log1p(moving.sum(-1, keepdims=True)), **close)
    rows, columns = np.arange(30) * 4 // 30, np.arange(42) * 4 // 42
    still = [[1 - moves[rows == row][:, columns == column].mean() for column in range(4)] for row in range(4)]
    np.testing.assert_allclose(part(features, "still")[..., 0], still, **close)


def test_what_moves_is_in_its_cell_and_direction_and_the_camera_is_not():
    """A square in the upper right moves down; then all of the picture moves, as if the camera did."""
    background, square = texture(160, 160), texture(40, 40, seed=2)
    frames = []
    for t in range(4):
        frame = background.copy()
        frame[2 * t : 40 + 2 * t, 120:] = square
        frames.append(frame)
    features = np.stack(list(motion_percepts(frames)))
    assert features.shape == (4, FEATURES)
    flow = part(features, "flow")[:3].mean(axis=0)
    assert np.unravel_index(flow.argmax(), flow.shape) == (0, 3, 2)  # down: a quarter turn clockwise from right
    assert part(features, "speed")[:3, 0, 3].min() > 10 * part(features, "speed")[:3, 2, 1].max()

    wide = texture(160, 200)
    panned = np.stack(list(motion_percepts(wide[:, 3 * t : 160 + 3 * t] for t in range(4))))
    assert part(panned, "still")[:, 1:3, 1:3].min() > 0.9


def test_every_frame_has_features_and_the_last_ones_motion_is_that_to_it():
    """Also of frames (H, W, 1) and of those larger than what flow is measured on; catches frames that are lost."""
    frames = [np.roll(texture(240, 320), 2 * t, axis=1)[..., None] for t in range(3)]
    first, second, last = motion_percepts(frames)
    assert np.array_equal(part(last, "flow"), part(second, "flow"))
    assert not np.array_equal(part(last, "gradients"), part(second, "gradients"))
    assert np.array_equal(first, next(motion_percepts(frames[:2])))
    with pytest.raises(ValueError, match="fewer than 2 frames"):
        list(motion_percepts(frames[:1]))


def test_nothing_at_all_is_finite():
    """Black frames: histograms of nothing are not divided by nothing."""
    black = list(motion_percepts([np.zeros((120, 160), np.uint8)] * 2))
    assert np.isfinite(black).all()
    assert (part(np.stack(black), "still") == 1).all()
