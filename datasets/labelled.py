"""Clips with classes: what a classifier learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from .config import DIGIT_LABELS
from .moving_mnist import MovingMNIST

if TYPE_CHECKING:
    from .video_arrays import VideoArrays
    from .video_clips import VideoClips

_CLIPS_PER_VIDEO = 4
_SECTORS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")  # y grows downwards


class LabelledVideos(NamedTuple):
    """Clips of V videos with classes.

    clips:       the data set; its first N items are meant.
    videos:      (N,) int64, which video each clip is from.
    labels:      (V,) int64, the class of each video, an index into `class_names`.
    class_names: one name per class.
    names:       one name per video.
    values:      what else is known of each clip, (N, K) float32 by name: of moving digits `position` (px) and
                 `velocity` (px per frame) in the last frame.
    """

    clips: MovingMNIST | VideoClips
    videos: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    values: dict[str, npt.NDArray[np.float32]]


def label_digits(clips: MovingMNIST, task: str, count: int) -> LabelledVideos:
    """The first `count` clips of a single moving digit, every clip a video of its own.

    `identity` is the digit's class. `direction` is the eighth of the circle, around right, down right, ..., into which
    the digit leaves the last frame. A single frame hardly knows it: only that a digit at a wall comes back from there.

    Raises ValueError for an unknown task and for clips of more than one digit.
    """
    if task not in DIGIT_LABELS:
        raise ValueError(f"unknown labels {task!r}: expected one of {', '.join(DIGIT_LABELS)}")
    if clips.num_digits != 1:
        raise ValueError(f"found clips of {clips.num_digits} digits, expected 1: a clip has one label")
    truth = clips.labels(range(count))
    every = np.arange(count)
    names = tuple(map(str, every))
    values = {"position": truth.positions[:, -1, 0], "velocity": truth.velocities[:, -1, 0]}
    if task == "identity":
        return LabelledVideos(clips, every, truth.classes[:, 0], tuple(map(str, range(10))), names, values)
    x, y = truth.velocities[:, -1, 0].T  # (N,) each, px per frame
    sectors = np.rint(np.arctan2(y, x) / (2 * np.pi / len(_SECTORS))).astype(np.int64) % len(_SECTORS)
    return LabelledVideos(clips, every, sectors, _SECTORS, names, values)


def label_videos(arrays: VideoArrays, chosen: Sequence[int], frames: int, *, crop: int | None = None) -> LabelledVideos:
    """The videos `chosen` with their classes: of each, up to four clips of `frames` frames, spread over its length.

    `crop` is the height and width of the middle of the frames that is kept, None keeps all of them.
    """
    from .video_clips import VideoClips

    clips = VideoClips(arrays, chosen, frames, clips_per_video=_CLIPS_PER_VIDEO, crop=crop)
    classes = tuple(arrays.class_names)
    labels = np.array([classes.index(arrays.videos[index].label) for index in chosen], np.int64)
    names = tuple(arrays.videos[index].name for index in chosen)
    return LabelledVideos(clips, clips.videos, labels, classes, names, {})
