"""Clips with classes: what a classifier learns from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .clips import Clips
from .video_arrays import VideoArrays
from .video_clips import VideoClips

_CLIPS_PER_VIDEO = 4


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

    clips: Clips
    videos: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    values: dict[str, npt.NDArray[np.float32]]


def label_videos(arrays: VideoArrays, chosen: Sequence[int], frames: int, *, crop: int | None = None) -> LabelledVideos:
    """The videos `chosen` with their classes: of each, up to four clips of `frames` frames, spread over its length.

    `crop` is the height and width of the middle of the frames that is kept, None keeps all of them.
    """
    clips = VideoClips(arrays, chosen, frames, clips_per_video=_CLIPS_PER_VIDEO, crop=crop)
    classes = tuple(arrays.class_names)
    labels = np.array([classes.index(arrays.videos[index].label) for index in chosen], np.int64)
    names = tuple(arrays.videos[index].name for index in chosen)
    return LabelledVideos(clips, clips.videos, labels, classes, names, {})
