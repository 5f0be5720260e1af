"""When each frame of a video is shown, by the rate in its header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .times import Clock
from .videos import Video, frame_rate


class VideoTimes(Mapping[str, Clock]):
    """By the names of videos, the seconds from the first frame of each frame that is read, as UTF-8: `b"0.040"`.

    A header is read when its video is asked for. `stride` and `fps` say which frames are read, see `video_frames`.
    """

    def __init__(self, videos: Sequence[Video], stride: int, fps: float | None) -> None:
        self._paths: dict[str, Path] = {video.name: video.path for video in videos}
        self._stride, self._fps = stride, fps
        self._interval = lru_cache(self._read_interval)

    def __getitem__(self, name: str) -> Clock:
        return _Seconds(self._interval(self._paths[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def _read_interval(self, path: Path) -> float:
        return self._stride / frame_rate(path) if self._fps is None else 1 / self._fps


@dataclass(frozen=True)
class _Seconds:
    """Times of frames, one every `interval` seconds, for as long as anybody asks."""

    interval: float

    def __getitem__(self, frame: int) -> bytes:
        return f"{frame * self.interval:.3f}".encode()
