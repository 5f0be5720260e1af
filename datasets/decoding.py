"""Videos as a `DataFields` asks for them, whole, in random patches or as percepts, from the cache."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .containers import frames_in_container
from .decoders import has_av
from .division import Division
from .fields import DataFields
from .frame_folders import image_files
from .interlaced import EXTRA
from .notes import note
from .video_arrays import VideoArrays, cut_arrays, cut_patches
from .video_cache import VideoCache
from .video_streams import INDEX_BYTES, index_rows, stream_videos
from .videos import Video, frame_rate, read_video, video_frames

_ROOM = 8 / 7  # of a frame to crop from, in units of the crop, as in networks of 224 pixels that see frames of 256
_PATCHES = 10_000  # of all videos together, at least one of each


def decoded(
    config: DataFields, videos: list[Video], frames: int, *, of_patches: bool = False, division: Division | None = None
) -> VideoArrays:
    """The videos' frames (T, H, W, C) or, `of_patches`, (K, frames, H, W, C): of videos in a `division` as many patches
    as when it was made, however many videos there are now. With `skip_unreadable`, videos of fewer than `frames` are
    left out, too."""
    how = {**_which_frames(config), "grey": config.grey}
    size = round(_ROOM * config.side) if config.random_crop else config.image_size
    settings = {**how, "image_size": size}
    if of_patches:
        settings["patches_of_frames"] = frames
    cut_then = {} if division is None else division.wholes()

    def patches(content: str) -> int:
        return cut_then.get(content, max(1, _PATCHES // len(videos)))

    def rows(video: Video, content: str) -> Iterator[npt.NDArray[np.uint8]]:
        if of_patches:
            filmed = read_video(video.path, **how)
            yield from cut_patches(filmed, content, frames=frames, size=config.side, count=patches(content))
        else:
            yield from video_frames(video.path, image_size=size, **how)

    def expected_bytes(video: Video) -> int | None:
        height, width = (size, size) if isinstance(size, int) else size
        count = patches("") * frames if of_patches else _expected_frames(config, video)
        return None if count is None else count * height * width * (1 if config.grey else 3)

    if config.stream:
        return _without_short(config, _streamed(config, videos, size, settings), frames)
    arrays = VideoCache(settings).decode(
        videos,
        rows,
        least_rows=patches if of_patches else lambda _: 1,
        expected_bytes=expected_bytes,
        skip_unreadable=config.skip_unreadable,
    )
    if not of_patches:
        return _without_short(config, arrays, frames)
    _say_unreadable(arrays)
    return cut_arrays(arrays, [(i, 0, patches(record.fingerprint)) for i, record in enumerate(arrays.videos)])


def _streamed(
    config: DataFields, videos: list[Video], size: int | tuple[int, int], settings: dict[str, Any]
) -> VideoArrays:
    """The same frames, none of which is kept: only where they are, in the cache."""
    if not has_av() and any(video.path.is_file() for video in videos):
        raise ValueError(f"--stream needs PyAV, which finds frames in the middle of a video: {EXTRA}")

    def rows(video: Video, content: str) -> Iterator[npt.NDArray[np.int64]]:
        return index_rows(video.path, **settings)

    def expected_bytes(video: Video) -> int | None:
        count = _expected_frames(config, video)
        return None if count is None else count * INDEX_BYTES

    index = VideoCache({**settings, "streamed": True}).decode(
        videos,
        rows,
        expected_bytes=expected_bytes,
        skip_unreadable=config.skip_unreadable,
        describe="indexing the frames of",
    )
    paths = {video.name: video.path for video in videos}
    return stream_videos(index, [paths[video.name] for video in index.videos], size, config.grey)


def perceived(config: DataFields, videos: list[Video], frames: int) -> VideoArrays:
    """The percepts (T, D) of the frames that `decoded` would give."""
    from .percepts import percepts_named

    how = _which_frames(config)
    percepts = percepts_named(config.percepts, download=config.download)

    def rows(video: Video, content: str) -> Iterator[npt.NDArray[np.float16]]:
        return percepts.rows(video.path, **how)

    def expected_bytes(video: Video) -> int | None:
        count = _expected_frames(config, video)
        return None if count is None else count * percepts.features * np.dtype(np.float16).itemsize

    arrays = VideoCache({**how, "percepts": percepts.facts}).decode(
        videos,
        rows,
        expected_bytes=expected_bytes,
        skip_unreadable=config.skip_unreadable,
        describe=f"extracting {config.percepts} percepts of",
    )
    return _without_short(config, arrays, frames)


def _which_frames(config: DataFields) -> dict[str, Any]:
    """Which frames of each video are read, for `video_frames`."""
    return {"stride": config.frame_stride, "fps": config.fps, "max_lost_frames": config.max_lost_frames}


def _without_short(config: DataFields, arrays: VideoArrays, frames: int) -> VideoArrays:
    _say_unreadable(arrays)
    short = [record.name for record in arrays.videos if record.frames < frames]
    if not short or not config.skip_unreadable:
        return arrays
    note(f"left out {len(short)} videos of fewer than {frames} frames: {', '.join(short)}")
    return cut_arrays(arrays, [(i, 0, None) for i, record in enumerate(arrays.videos) if record.frames >= frames])


def _say_unreadable(arrays: VideoArrays) -> None:
    for name, error in arrays.unreadable:
        note(f"left out {name}: {error}")


def _expected_frames(config: DataFields, video: Video) -> int | None:
    """How many frames are read of a video, by its headers; None where they do not say."""
    try:
        if video.path.is_dir():
            return len(image_files(video.path)) // config.frame_stride
        count = frames_in_container(video.path)
        if count is None or config.fps is None:
            return None if count is None else count // config.frame_stride
        return round(count / frame_rate(video.path) * config.fps)
    except (OSError, ValueError):  # will be said when it is decoded
        return None
