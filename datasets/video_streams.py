"""Videos whose frames are decoded when they are asked for: an index says where each is, and what it must be.

The index has a row per frame that is read: its stamp in the file, that of the key frame from which to decode, and the
CRC-32 of the pixels that decoding the whole file gave. So what decoding from a key frame gives is checked.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .video_arrays import VideoArrays
from .videos import frames_at, placed_frames

INDEX_BYTES = 24  # of a frame


def index_rows(path: Path, **how: Any) -> Iterator[npt.NDArray[np.int64]]:
    """The index (T, 3) of what `video_frames(path, **how)` gives, row by row; raises as that does, and ValueError for a
    file whose frames cannot be found again."""
    for place, frame in placed_frames(path, **how):
        if place is None:
            raise ValueError(
                f"{path}: found frames without a time of their own, by which --stream would find them again; convert it"
                " to .mp4, or leave --stream out"
            )
        yield np.array([*place, _crc(frame)], np.int64)


def _crc(frame: npt.NDArray[np.uint8]) -> int:
    return zlib.crc32(frame.tobytes())


class StreamedFrames:
    """Frames (T, H, W, C) uint8 of a video. A slice is one of these as well; `np.asarray` decodes the frames of it.

    That raises ValueError, naming the file, where it is not any more what it was when it was indexed, or not there.
    """

    ndim = 4

    def __init__(self, path: Path, index: npt.NDArray[np.int64], image_size: int | tuple[int, int], grey: bool) -> None:
        self._path, self._index, self._image_size, self._grey = path, index, image_size, grey

    def __getitem__(self, frames: slice) -> Self:
        return type(self)(self._path, self._index[frames], self._image_size, self._grey)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.uint8]:
        stamps = self._index[:, 0].tolist()
        for start in (int(self._index[:, 1].min()), None):  # where decoding from there gives others, from the begin
            try:
                found = frames_at(self._path, stamps, start, image_size=self._image_size, grey=self._grey)
            except (OSError, ValueError) as error:
                if start is None:
                    raise ValueError(f"{self._path}: cannot be read any more ({error}); put it back") from error
                continue
            if all(stamp in found and _crc(found[stamp]) == crc for stamp, _, crc in self._index.tolist()):
                return np.stack([found[stamp] for stamp in stamps])
        raise ValueError(f"{self._path}: has other frames than when it was first read; was it changed? Start again")


class _Streams:
    """The videos of an index, in a form that can be sent to workers."""

    def __init__(
        self, index: VideoArrays, paths: Sequence[Path], image_size: int | tuple[int, int], grey: bool
    ) -> None:
        self._index, self._paths, self._how = index, paths, (image_size, grey)

    def array(self, number: int) -> Any:
        return StreamedFrames(self._paths[number], self._index.array(number), *self._how)


def stream_videos(
    index: VideoArrays, paths: Sequence[Path], image_size: int | tuple[int, int], grey: bool
) -> VideoArrays:
    """`StreamedFrames` of the videos at `paths`, of which `index` has the indices (T, 3)."""
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    shape = (*size, 1 if grey else 3)
    records = [video._replace(shape=(video.shape[0], *shape), dtype="uint8") for video in index.videos]
    return replace(index, videos=records, array=_Streams(index, paths, image_size, grey).array)
