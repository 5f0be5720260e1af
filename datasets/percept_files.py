"""Features of videos in the layouts in which they come: our own, and those of others without conversion."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import open_npy, read_npz
from .division import Division
from .fields import DataFields
from .groups import below_class, groups_of
from .hmdb51 import official_parts
from .source import PERCEPT_CLIPS, VideoSource, register
from .split_file import parts_by_file
from .video_arrays import MappedFiles, VideoArrays, VideoRecord, open_arrays
from .video_files import refuse_links_out

MAX_BYTES = 2**34  # of features read into memory; all of UCF-101 at 25 frames per video is 2.7 GB


def open_percepts(path: Path | str, *, group: str = "", follow_links: bool = False) -> VideoArrays:
    """Features of videos in any of three layouts, as they are:

    a folder that this module wrote; `<Class>.npz` files with `features` (videos, T, D), `names` and, optionally,
    `split1` (1 train, 2 test); a folder per class with a `.npy` file (T, D) per video. All float16 or float32.
    In the last two, and wherever `group` is given, groups are found in the names as `groups_of` finds them. Links are
    followed as `find_videos` does.

    Raises FileNotFoundError, or ValueError that names the file that is something else or not finite.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected features of videos")
    if (folder / "facts.json").exists():
        arrays = open_arrays(folder)
        return replace(arrays, videos=_with_groups(arrays.videos, group)) if group else arrays
    if archives := sorted(folder.glob("[!.]*.npz")):
        refuse_links_out(folder, archives, follow_links=follow_links)
        states = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in archives)
        return _open_archives(states, group)
    if files := sorted(folder.glob("[!.]*/[!.]*.npy")):
        refuse_links_out(folder, files, follow_links=follow_links)
        return _open_files(files, group)
    raise ValueError(
        f"{folder}: no features; expected what `video-ae percepts` wrote, <Class>.npz files, or <Class>/*.npy files"
    )


def with_official(arrays: VideoArrays, listed: dict[str, set[str]]) -> VideoArrays:
    """The videos marked as the lists of an official fold say, `names of files by part`; others lose their mark.

    Raises ValueError where none of them is on the lists.
    """
    parts = {PurePosixPath(name).stem: part for part, names in listed.items() for name in names}
    records = [record._replace(official=parts.get(PurePosixPath(record.name).name, "")) for record in arrays.videos]
    if not any(record.official for record in records):
        raise ValueError(
            f"none of the {len(records)} videos, such as {records[0].name}, is on the lists; expected those of the data"
            " set that the features are of"
        )
    return replace(arrays, videos=records)


@lru_cache(maxsize=2)  # every split opens them; two, because a run may be evaluated on others
def _open_archives(states: tuple[tuple[Path, int, int], ...], group: str) -> VideoArrays:
    """`states` are the files with size and time of change: what changed is read again."""
    paths = [path for path, _, _ in states]
    videos: list[VideoRecord] = []
    arrays: list[npt.NDArray[Any]] = []
    left = MAX_BYTES
    for path in paths:
        members = read_npz(path, left, ("features", "names", "split1"))
        if not {"features", "names"} <= members.keys():
            raise ValueError(f"{path}: found {', '.join(sorted(members)) or 'neither'}, expected features and names")
        features, names = members["features"], members["names"]
        marks = members.get("split1")
        left -= features.nbytes
        if features.ndim != 3 or features.dtype not in (np.float16, np.float32):
            raise ValueError(
                f"{path}: found features {features.dtype} {features.shape}, expected float16 or float32 (videos, T, D)"
            )
        if names.dtype.kind != "U" or names.shape != features.shape[:1]:
            raise ValueError(f"{path}: found names {names.dtype} {names.shape}, expected {len(features)} of text")
        if marks is not None and (marks.shape != names.shape or not np.isin(marks, (1, 2)).all()):
            raise ValueError(f"{path}: found split1 {marks.shape}, expected 1 (train) or 2 (test) for each video")
        if not np.isfinite(features).all():
            raise ValueError(f"{path}: holds NaN or infinite values, expected finite features; extract them anew")
        for index, name in enumerate(names.tolist()):
            official = "" if marks is None else ("train", "test")[int(marks[index]) - 1]
            videos.append(_record(path.stem, PurePosixPath(name).stem, features[index], official))
        arrays.extend(features)
    if len({video.name for video in videos}) != len(videos):
        raise ValueError(f"{paths[0].parent}: two videos of a class have the same name; expected different ones")
    if len({bool(video.official) for video in videos}) > 1:
        raise ValueError(f"{paths[0].parent}: only some of the files have split1; expected all of them or none")
    return VideoArrays(_with_groups(videos, group), arrays.__getitem__)


def _open_files(paths: list[Path], group: str) -> VideoArrays:
    videos = []
    for path in paths:
        array = open_npy(path)
        if array.ndim != 2 or array.dtype not in (np.float16, np.float32):
            raise ValueError(f"{path}: found {array.dtype} {array.shape}, expected float16 or float32 (T, D)")
        videos.append(_record(path.parent.name, path.stem, array))
    return VideoArrays(_with_groups(videos, group), MappedFiles(videos, paths).array)


def _record(label: str, stem: str, array: npt.NDArray[Any], official: str = "") -> VideoRecord:
    return VideoRecord(f"{label}/{stem}", label, "", array.shape, str(array.dtype), official)


def _with_groups(videos: list[VideoRecord], group: str) -> list[VideoRecord]:
    groups = groups_of([(video.label, below_class(video)) for video in videos], group)
    return [video._replace(group=group) for video, group in zip(videos, groups, strict=True)]


@register
class Percepts(VideoSource):
    name = "percepts"
    fields = ("annotation_path", "fold", "group", "split_file", "follow_links")
    model = PERCEPT_CLIPS

    def fields_read(self, config: DataFields) -> set[str]:
        return super().fields_read(config) - ({"fold"} if config.annotation_path is None else set())

    def arrays(self, config: DataFields, frames: int, division: Division | None = None) -> VideoArrays:
        if config.annotation_path is not None and config.split_file is not None:
            raise ValueError("--annotation-path and --split-file: expected one of them, as each divides the videos")
        arrays = open_percepts(self.place(config), group=config.group, follow_links=config.follow_links)
        if config.annotation_path is not None:
            return with_official(arrays, official_parts(config.annotation_path, config.fold))
        if config.split_file is None:
            return arrays
        parts = parts_by_file(config.split_file, [record.name for record in arrays.videos])
        records = [record._replace(official=part) for record, part in zip(arrays.videos, parts, strict=True)]
        return replace(arrays, videos=records)
