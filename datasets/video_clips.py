"""Clips cut from videos or features: which begin where, cropped, padded, sampled."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .clips import Clips
from .video_arrays import VideoArrays, VideoRecord


class VideoClips(Clips):
    """Clips of `frames` consecutive frames of the videos `chosen`, indices into `arrays.videos`.

    A clip starts every `step` frames (default: `frames`, without overlap) and, with `cover`, one more ends with the
    video if frames are left over. Or `clips_per_video` clips start evenly spaced from the first frame to T - frames,
    fewer where these would coincide. Of arrays (K, T, H, W, C), a clip is the first `frames` frames of each of the K,
    or of the first `clips_per_video`.

    Item `i` is (frames, C, H, W) uint8; of features (T, D), float32 (frames, D, 1, 1): a frame of D channels and one
    pixel. `labels` (clips,) int64 index `arrays.class_names`, `videos` (clips,) int64 index `chosen`.

    `crop` keeps `crop` x `crop` pixels of the frames' middle or, with `random_crop`, of a place that is a function of
    (`seed`, item) alone and the same for all frames of a clip. Then items go on after the last clip: with n clips, item
    k * n + i is clip i, cropped anew.

    With `pad`, which is for features only, a video shorter than `frames` is one clip that ends in NaN. `split` is the
    name of the part of a data set that these are, for whoever asks.

    Raises ValueError for videos shorter than `frames`, frames smaller than `crop`, arrays of other or mixed shapes or
    types, nothing chosen.
    """

    available: int

    def __init__(
        self,
        arrays: VideoArrays,
        chosen: Sequence[int],
        frames: int,
        *,
        step: int | None = None,
        cover: bool = False,
        clips_per_video: int | None = None,
        crop: int | None = None,
        random_crop: bool = False,
        seed: int = 0,
        pad: bool = False,
        split: str = "all",
    ) -> None:
        if step is not None and clips_per_video is not None:
            raise ValueError("found both a step and a number of clips per video; expected one of them")
        if min(frames, 1 if step is None else step, 1 if clips_per_video is None else clips_per_video) < 1:
            raise ValueError(f"{frames} frames, step {step}, {clips_per_video} clips per video: expected at least 1")
        records = [arrays.videos[index] for index in chosen]
        _check_alike(records)
        short = [record for record in records if record.frames < frames]
        if short and not pad:
            raise ValueError(
                f"{short[0].name}: found {short[0].frames} frames, expected at least {frames} (input + future frames);"
                f" {len(short)} of {len(records)} videos are too short: ask for fewer with --input-frames and"
                " --future-frames, or leave them out"
            )
        starts = [_starts(record, frames, step or frames, clips_per_video, cover) for record in records]
        classes = {name: index for index, name in enumerate(arrays.class_names)}
        per_video = [len(clips) for clips in starts]
        self.arrays, self.chosen, self.frames, self.split = arrays, list(chosen), frames, split
        *size, channels = _frame_shape(records[0])
        if crop is not None and (not size or crop > min(size)):
            raise ValueError(
                f"{records[0].name}: found frames {_frame_shape(records[0])}, too small to crop {crop} pixels"
            )
        height, width = size or (1, 1)
        self.crop = (height, width) if crop is None else (crop, crop)
        self.augmented, self.seed = random_crop, seed
        self._room = height - self.crop[0], width - self.crop[1]
        self.frame_shape = (channels, *self.crop)
        self.dtype = np.uint8 if size else np.float32
        if pad and size:
            raise ValueError(f"{records[0].name}: found frames {_frame_shape(records[0])}, expected features to pad")
        self._whole = pad and max(record.frames for record in records) <= frames
        self.starts = np.concatenate(starts)
        self.videos: npt.NDArray[np.int64] = np.repeat(np.arange(len(records), dtype=np.int64), per_video)
        self.labels = np.array([classes[record.label] for record in records], np.int64)[self.videos]
        self.available = len(self.starts)

    def sample(self, clips: int) -> "VideoClips":
        """At most so many of these clips, evenly spread over all of them: where videos are in order of their classes,
        of every class."""
        count = min(clips, len(self))
        chosen = [index * len(self) // count for index in range(count)]
        sampled = copy.copy(self)
        sampled.starts, sampled.videos, sampled.labels = self.starts[chosen], self.videos[chosen], self.labels[chosen]
        return sampled

    def __len__(self) -> int:
        return len(self.starts)

    def name(self, index: int) -> str:
        """Which frames item `index` is of, such as `walk/daria_walk@16`: the video and the number of the first frame.

        Of clips that were cut beforehand it is the number of the clip. Where padding makes every clip a whole video,
        the video's name is enough. For people to read; what a clip is of says `place`.
        """
        which = index % len(self)
        record = self.arrays.videos[self.chosen[self.videos[which]]]
        first = record.first + int(self.starts[which])
        return record.name if self._whole and not first else f"{record.name}@{first}"

    def place(self, index: int) -> tuple[str, int]:
        """The name of the video that item `index` is of, and the number of its first frame there.

        A clip that was cut beforehand is a video of its own, whose name is that of the clip.
        """
        which = index % len(self)
        record = self.arrays.videos[self.chosen[self.videos[which]]]
        if len(record.shape) == 5:
            return self.name(index), 0
        return record.name, record.first + int(self.starts[which])

    def label(self, index: int) -> str:
        return self.arrays.class_names[self.labels[index % len(self)]]

    def stretch(self, index: int) -> int:
        return self.arrays.videos[self.chosen[self.videos[index % len(self)]]].first

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        """Items `indices` as one batch (B, frames, C, H, W) uint8, or (B, frames, D, 1, 1) float32 of features."""
        clips = np.empty((len(indices), self.frames, *self.frame_shape), self.dtype)
        for clip, index in zip(clips, indices, strict=True):
            frames = self._clip(index)
            clip[: len(frames)] = frames
            if len(frames) < len(clip):
                clip[len(frames) :] = np.nan
        return torch.from_numpy(clips)

    def _clip(self, index: int) -> npt.NDArray[Any]:
        """(frames, C, H, W) or (frames, D, 1, 1), a view of the array; fewer frames of a video that has fewer."""
        which = index % len(self) if self.augmented else index
        array, start = self.arrays.array(self.chosen[self.videos[which]]), self.starts[which]
        clip = np.asarray(array[start, : self.frames] if array.ndim == 5 else array[start : start + self.frames])
        if clip.ndim == 2:
            return clip[..., None, None]
        top, left = np.asarray(self._room) // 2
        if self.augmented:
            top, left = np.random.default_rng((self.seed, index)).integers(0, self._room, endpoint=True)
        height, width = self.crop
        return np.moveaxis(clip[:, top : top + height, left : left + width], -1, 1)


def _starts(
    record: VideoRecord, frames: int, step: int, clips_per_video: int | None, cover: bool
) -> npt.NDArray[np.int64]:
    """First frame of every clip of a video, or the number of every clip that was cut beforehand."""
    if len(record.shape) == 5:
        return np.arange(min(record.shape[0], clips_per_video or record.shape[0]), dtype=np.int64)
    last = max(0, record.frames - frames)
    if clips_per_video is None:
        starts = np.arange(0, last + 1, step, dtype=np.int64)
        return np.append(starts, last) if cover and starts[-1] < last else starts
    return np.unique(np.rint(np.linspace(0, last, clips_per_video)).astype(np.int64))


def _check_alike(records: list[VideoRecord]) -> None:
    if not records:
        raise ValueError("found no videos to cut clips from, expected at least one")
    first = records[0]
    expected = (first.dtype, _frame_shape(first))
    for record in records:
        found = (record.dtype, _frame_shape(record))
        if found != expected:
            raise ValueError(
                f"{record.name}: found {found[0]} frames {found[1]}, expected {expected[0]} {expected[1]} as those of"
                f" {first.name}; decode all videos to one size (--image-size)"
            )


def _frame_shape(record: VideoRecord) -> tuple[int, ...]:
    if record.dtype == "uint8" and len(record.shape) in (4, 5):
        return record.shape[-3:]
    if record.dtype in ("float16", "float32") and len(record.shape) == 2:
        return record.shape[1:]
    raise ValueError(
        f"{record.name}: found {record.dtype} {record.shape}, expected uint8 frames (T, H, W, C) or (K, T, H, W, C), or"
        " float16 or float32 features (T, D)"
    )
