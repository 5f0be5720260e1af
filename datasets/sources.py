"""What a `DataConfig` names, opened: clips that are generated, and the arrays of everything that is in files.

Only `config.py` imports this, when something is opened: it loads what `--help` need not wait for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from . import frame_arrays, groups, sequences
from .config import DataConfig
from .containers import frames_in_container
from .digits import load_digits
from .division import Division, cut_in_blocks
from .frame_folders import image_files
from .hmdb51 import hmdb51_videos, official_parts
from .moving_mnist import MovingMNIST
from .notes import note, some
from .percept_files import open_percepts, with_official
from .split_file import parts_by_file
from .ucf101 import ucf101_videos
from .video_arrays import Cut, VideoArrays, cut_arrays, cut_patches
from .video_cache import VideoCache
from .video_folder import find_videos
from .videos import Video, frame_rate, read_video, video_frames

_ROOM = 8 / 7  # of a frame to crop from, in units of the crop, as in networks of 224 pixels that see frames of 256
_PATCHES = 10_000  # of all videos together, at least one of each


def open_digits(
    config: DataConfig, split: str, frames: int, num_digits: int, seed: int, device: torch.device | str
) -> MovingMNIST:
    """Clips of moving digits, without end."""
    return MovingMNIST(
        load_digits(config.digits, split, config.data_dir or "data", download=config.download),
        split,
        seed=seed,
        frames=frames,
        num_digits=num_digits,
        image_size=config.side,
        speed=config.speed,
        device=device,
    )


def open_sequences(config: DataConfig, *, settling: bool = False) -> VideoArrays:
    """The sequences of a file; while `settling`, with the offsets that are found out."""
    return sequences.open_sequences(
        place_of(config),
        id_column=config.id_column,
        time_column=config.time_column,
        ignore_columns=config.ignore_columns,
        columns=config.columns,
        offsets=None if settling else config.offsets,
    )


def open_arrays(config: DataConfig, frames: int, division: Division | None = None) -> VideoArrays:
    """Everything that is there, of all parts, with what says which part it is of: classes, groups, official parts.

    `frames` is the length of clips: shorter videos are left out if those that cannot be used are to be skipped. Of
    videos in the `division` of a run as many patches are cut as then, however many videos there are now.
    """
    if config.dataset == "sequences":
        return open_sequences(config)
    if config.dataset == "array":
        return frame_arrays.open_frames(place_of(config), layout=config.layout)
    if config.dataset == "moving-mnist-file":
        return frame_arrays.open_moving_mnist_file(place_of(config), download=config.download)
    arrays = _percepts(config) if config.dataset == "percepts" else _decoded(config, _videos(config), frames, division)
    short = [record.name for record in arrays.videos if record.frames < frames]
    if not short or not config.skip_unreadable:
        return arrays
    note(f"left out {len(short)} videos of fewer than {frames} frames: {', '.join(short)}")
    return cut_arrays(arrays, [(i, 0, None) for i, record in enumerate(arrays.videos) if record.frames >= frames])


def divide(config: DataConfig, arrays: VideoArrays) -> dict[str, list[Cut]]:
    """Which of `arrays` train, validate and test, by the rule of their data set; what to know of it goes to stderr."""
    if config.dataset == "sequences":
        return sequences.divide(arrays.videos)
    if config.dataset == "array":
        return cut_in_blocks(arrays.videos)
    if config.dataset == "moving-mnist-file":
        return {"train": [], "validation": [], "test": [(index, 0, None) for index in range(len(arrays.videos))]}
    cuts = groups.divide(arrays.videos)
    for line in groups.division_notes(arrays.videos, cuts):
        note(f"{config.data_dir}: {line}")
    return cuts


def place_of(config: DataConfig) -> Path:
    """The file or folder. Raises ValueError where none is named, FileNotFoundError where it is not there."""
    files = {"array": "FILE.npy", "sequences": "FILE.npy, .npz or .csv"}
    kind = "file" if config.dataset in files else "folder"
    if config.data_dir is None:
        example = files.get(config.dataset, "FOLDER")
        raise ValueError(f"the data set {config.dataset!r} needs its {kind}: --data-dir {example}")
    place = Path(config.data_dir)
    if not place.exists() and config.dataset != "moving-mnist-file":  # which may be downloaded
        raise FileNotFoundError(f"{place}: no such {kind}; --data-dir says where it is, or was moved to")
    return place


def _percepts(config: DataConfig) -> VideoArrays:
    if config.annotation_path is not None and config.split_file is not None:
        raise ValueError("--annotation-path and --split-file: expected one of them, as each divides the videos")
    arrays = open_percepts(place_of(config), group=config.group, follow_links=config.follow_links)
    if config.annotation_path is not None:
        return with_official(arrays, official_parts(config.annotation_path, config.fold))
    if config.split_file is None:
        return arrays
    parts = parts_by_file(config.split_file, [record.name for record in arrays.videos])
    records = [record._replace(official=part) for record, part in zip(arrays.videos, parts, strict=True)]
    return dataclasses.replace(arrays, videos=records)


def _videos(config: DataConfig) -> list[Video]:
    """The videos to decode, marked as lists say; those that a list passes over are left out."""
    if config.dataset in ("ucf101", "hmdb51"):
        if config.annotation_path is None:
            raise ValueError(f"--dataset {config.dataset} needs the folder of its official lists: --annotation-path")
        place = place_of(config)
        read_lists = ucf101_videos if config.dataset == "ucf101" else hmdb51_videos
        lists = [
            read_lists(place, config.annotation_path, config.fold, part, follow_links=config.follow_links)
            for part in ("development", "test")
        ]
        videos = sorted((video for part in lists for video in part.videos), key=lambda video: video.name)
        if missing := sum(len(part.missing) for part in lists):
            note(f"{place}: {len(videos)} of the {len(videos) + missing} listed videos are there")
        return videos
    place = place_of(config)
    videos = find_videos(place, group=config.group, follow_links=config.follow_links)
    if config.split_file is None:
        return videos
    parts = parts_by_file(config.split_file, [video.name for video in videos])
    if rest := [video.name for video, part in zip(videos, parts, strict=True) if not part]:
        note(f"{config.split_file}: {len(rest):,} videos are there but not listed, and left out: {some(rest)}")
    return [video._replace(official=part) for video, part in zip(videos, parts, strict=True) if part]


def _decoded(config: DataConfig, videos: list[Video], frames: int, division: Division | None) -> VideoArrays:
    """The videos' frames, decoded into the cache if they are not there yet."""
    size = round(_ROOM * config.side) if config.random_crop else config.image_size
    how: dict[str, Any] = {"stride": config.frame_stride, "fps": config.fps, "grey": config.grey}
    how["max_lost_frames"] = config.max_lost_frames
    settings = {**how, "image_size": size}
    of_patches = config.dataset == "video-patches"
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

    arrays = VideoCache(settings).decode(
        videos,
        rows,
        least_rows=patches if of_patches else lambda _: 1,
        expected_bytes=expected_bytes,
        skip_unreadable=config.skip_unreadable,
    )
    for name, error in arrays.unreadable:
        note(f"left out {name}: {error}")
    if not of_patches:
        return arrays
    return cut_arrays(arrays, [(i, 0, patches(record.fingerprint)) for i, record in enumerate(arrays.videos)])


def _expected_frames(config: DataConfig, video: Video) -> int | None:
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
