"""Decoded videos on disk, one `.npy` file each: decoded once, memory-mapped from then on, and clips cut from them.

FOLDER/facts.json                 what the arrays were made from and how; written first
FOLDER/arrays/<name>.npy          one array per video, (T, ...); a name with / is in sub-folders
FOLDER/index-000-of-001.json      what is there; one per process, written when all its arrays are
"""

import copy
import hashlib
import io
import json
import math
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from .arrays import open_npy
from .videos import Video

_OPEN_MAPS = 256  # each holds a file descriptor, of which a process may often have 1,024


Cut = tuple[
    int, int, int | None
]  # the index of a record, and its rows: the first and the one after the last, or the end


class VideoRecord(NamedTuple):
    """What is known of one video without opening its array.

    shape: (T, H, W, C) of frames, (T, D) of features, or (K, T, H, W, C) of K clips that were cut beforehand.
    official: the part that the makers of the data set, its folder or a list put it in, `train`, `validation` or `test`;
        empty where nobody did.
    first: the number of its first frame, where it is a part of a longer one.
    fingerprint: SHA-256 of the file that it was decoded from, whatever that is called; empty where it is not known.
    """

    name: str
    label: str
    group: str
    shape: tuple[int, ...]
    dtype: str
    official: str = ""
    first: int = 0
    fingerprint: str = ""

    @property
    def frames(self) -> int:
        return self.shape[1] if len(self.shape) == 5 else self.shape[0]


class UnwritableError(OSError):
    """An array cannot be written; not to be taken for a video that cannot be read."""


@dataclass(frozen=True)
class VideoArrays:
    """The arrays of a set of videos. `array(i)` is that of `videos[i]`, its shape and type as the record says.

    `facts` says what the arrays were made from and how, `unreadable` has the name and the error of every video that was
    left out. `array` raises ValueError, naming the file, where the file is not what the record says.
    """

    videos: list[VideoRecord]
    array: Callable[[int], npt.NDArray[Any]]
    facts: dict[str, Any] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    classes: list[str] | None = None  # of a part of a set: the classes of the whole

    @property
    def class_names(self) -> list[str]:
        return sorted({video.label for video in self.videos}) if self.classes is None else self.classes


class _Pieces:
    """Parts in time of arrays, in a form that can be sent to workers."""

    def __init__(self, arrays: VideoArrays, pieces: list[Cut]) -> None:
        self.arrays, self.pieces = arrays, pieces

    def array(self, index: int) -> npt.NDArray[Any]:
        which, first, stop = self.pieces[index]
        return self.arrays.array(which)[first:stop]


def cut_arrays(arrays: VideoArrays, pieces: Iterable[Cut]) -> VideoArrays:
    """Pieces as videos of their own: number of a video, its first row, and the one after its last or None, the end."""
    records, pieces = [], list(pieces)
    for index, first, stop in pieces:
        record = arrays.videos[index]
        frames = len(range(*slice(first, stop).indices(record.shape[0])))
        records.append(record._replace(shape=(frames, *record.shape[1:]), first=record.first + first))
    return replace(arrays, videos=records, array=_Pieces(arrays, pieces).array, classes=arrays.class_names)


class MappedFiles:
    """`.npy` files as the arrays of `videos`: file `paths[i]` is mapped when it is first asked for."""

    def __init__(self, videos: list[VideoRecord], paths: list[Path]) -> None:
        self.videos, self.paths = videos, paths
        self._finite: set[int] = set()
        self._mapped = lru_cache(maxsize=_OPEN_MAPS)(self._map)

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedFiles, (self.videos, self.paths)  # a worker maps the files itself

    def array(self, index: int) -> npt.NDArray[Any]:
        """The array of `videos[index]`. Raises ValueError for a file of another shape or type and for NaN or inf."""
        return self._mapped(index)

    def _map(self, index: int) -> npt.NDArray[Any]:
        path, video = self.paths[index], self.videos[index]
        array = open_npy(path)
        if (array.shape, str(array.dtype)) != (video.shape, video.dtype):
            raise ValueError(
                f"{path}: found {array.dtype} {array.shape}, expected {video.dtype} {video.shape} as its index says;"
                " delete the folder and write it anew"
            )
        if array.dtype.kind == "f" and index not in self._finite:  # reads all of it, once
            if not np.isfinite(array).all():
                raise ValueError(f"{path}: holds NaN or infinite values, expected finite features; extract them anew")
            self._finite.add(index)
        return array


def write_arrays(
    folder: Path | str,
    videos: Sequence[Video],
    read: Callable[[Video], npt.NDArray[Any]],
    facts: dict[str, Any],
    *,
    rank: int = 0,
    world_size: int = 1,
    skip_unreadable: bool = False,
    describe: str = "decoding",
) -> list[tuple[str, str]]:
    """Write `read(video)`, an array (T, ...), of every `world_size`th video from number `rank` on.

    Arrays that are there already are kept, so that an interrupted writing goes on where it stopped; `facts`, plain
    values, must therefore say everything that the arrays depend on. Returns name and error of the videos that `read`
    refused (ValueError, OSError) if `skip_unreadable`, else raises ValueError for the first. Raises ValueError as well
    for a folder with other facts and for names that lead out of it.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"process {rank} of {world_size}: expected 0 to {world_size - 1}")
    folder = Path(folder)
    _claim(folder, facts)
    index = folder / _index_name(rank, world_size)
    others = {_index_name(other, world_size) for other in range(world_size) if other != rank}
    for old in folder.glob(
        "index-[0-9]*-of-[0-9]*.json"
    ):  # an index from before, of this process or of another number of them
        if old.name not in others:
            old.unlink(missing_ok=True)
    entries: list[dict[str, Any]] = []
    unreadable: list[tuple[str, str]] = []
    for video in tqdm(videos[rank::world_size], desc=describe, unit=" videos", disable=rank > 0 or None):
        file = f"arrays/{video.name}.npy"
        path = _inside(folder, file)
        array = _whole_array(path)
        if array is None:
            try:
                array = read(video)
            except (OSError, ValueError) as error:
                if not skip_unreadable:
                    raise ValueError(f"{video.name}: {error}; --skip-unreadable leaves such videos out") from error
                unreadable.append((video.name, str(error)))
                continue
            save_rows(path, array)
        known = {field: getattr(video, field) for field in ("name", "label", "group", "official")}
        entries.append(known | {"file": file, "shape": array.shape, "dtype": str(array.dtype)})
    left_out = [{"name": name, "error": error} for name, error in unreadable]
    save_json(index, {"facts": facts, "videos": entries, "unreadable": left_out})
    return unreadable


def open_arrays(folder: Path | str) -> VideoArrays:
    """What `write_arrays` wrote, by however many processes, sorted by name.

    Raises FileNotFoundError where there is no index, ValueError where processes have not finished or indices are
    damaged or of different facts.
    """
    folder = Path(folder)
    indices = sorted(folder.glob("index-*-of-*.json"))
    if not indices:
        raise FileNotFoundError(f"{folder}: no index-*.json; expected a folder of arrays that were written to the end")
    found = {path.name for path in indices}
    total = re.search(r"-of-(\d+)\.json$", indices[0].name)
    processes = int(total[1]) if total else 0
    if len(found) != processes or found != {_index_name(rank, processes) for rank in range(processes)}:
        raise ValueError(
            f"{folder}: found {len(found)} indices such as {indices[0].name}, expected one of each of {processes}"
            " processes; let the others finish, or run them again"
        )
    entries: list[tuple[VideoRecord, Path]] = []
    unreadable: list[tuple[str, str]] = []
    all_facts: list[dict[str, Any]] = []
    for path in indices:
        content = _load_json(path)
        try:
            all_facts.append(dict(content["facts"]))
            entries += [_listed(folder, entry) for entry in content["videos"]]
            unreadable += [(str(entry["name"]), str(entry["error"])) for entry in content["unreadable"]]
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise ValueError(f"{path}: not an index of arrays ({error!r}); write the folder anew") from error
    if any(facts != all_facts[0] for facts in all_facts):
        raise ValueError(f"{folder}: its indices state different facts; delete the folder and write it anew")
    entries.sort()
    names = [record.name for record, _ in entries]
    if len(set(names)) != len(names):
        raise ValueError(f"{folder}: a video is in two of its indices; delete the folder and write it anew")
    records = [record for record, _ in entries]
    files = MappedFiles(records, [path for _, path in entries])
    return VideoArrays(records, files.array, all_facts[0], sorted(unreadable))


def fingerprint(facts: dict[str, Any], videos: Sequence[Video]) -> str:
    """SHA-256 over `facts` and the name, size and time of change of every video file."""
    states = sorted((video.name, (file := video.path.stat()).st_size, file.st_mtime_ns) for video in videos)
    return hashlib.sha256(json.dumps([facts, states], sort_keys=True).encode()).hexdigest()


def cut_patches(
    video: npt.NDArray[np.uint8], content: str, *, frames: int, size: int, count: int, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """`count` random tubelets (count, frames, size, size, C) of a video (T, H, W, C): the paper's natural patches.

    First frame and corner are uniform and a function of (seed, content, number of the tubelet) alone; `content` is the
    SHA-256 of the video's file. Raises ValueError for a video that is shorter than `frames` or smaller than `size`.
    """
    T, H, W, _ = video.shape
    if frames > T or size > min(H, W):
        raise ValueError(f"found {T} frames of {H} x {W} pixels, expected at least {frames} of {size} x {size}")
    random = np.random.default_rng((seed, zlib.crc32(content.encode())))
    last = (T - frames, H - size, W - size)
    starts = random.integers(0, last, (count, 3), endpoint=True).tolist()
    return np.stack([video[t : t + frames, y : y + size, x : x + size] for t, y, x in starts])


class VideoClips(Dataset[Tensor]):
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

    endless = False
    available: int  # clips there are, of which `sample` keeps some

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

    def __getitem__(self, index: int) -> Tensor:
        if index < 0 or (index >= len(self) and not self.augmented):
            raise IndexError(f"clip {index}: expected 0 to {len(self) - 1}")
        return self.__getitems__([index])[0]

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
        clip = array[start, : self.frames] if array.ndim == 5 else array[start : start + self.frames]
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


def _record(entry: dict[str, Any]) -> VideoRecord:
    words = [entry[key] for key in ("name", "label", "group", "dtype")] + [entry.get("official", "")]
    shape = entry["shape"]
    if not all(isinstance(word, str) for word in words) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"found {entry}, expected text and a shape")
    name, label, group, dtype, official = words
    return VideoRecord(name, label, group, tuple(shape), dtype, official)


def _listed(folder: Path, entry: dict[str, Any]) -> tuple[VideoRecord, Path]:
    """A video of an index and its file. Raises ValueError where the file is too small for the shape that is stated."""
    record, path = _record(entry), _inside(folder, entry["file"])
    stated = math.prod(record.shape) * np.dtype(record.dtype).itemsize
    if path.is_file() and stated > path.stat().st_size:
        raise ValueError(f"{path}: found {path.stat().st_size:,} bytes, expected {stated:,} or more")
    return record, path


def _index_name(rank: int, world_size: int) -> str:
    return f"index-{rank:03d}-of-{world_size:03d}.json"


def _claim(folder: Path, facts: dict[str, Any]) -> None:
    """Write down what the arrays of `folder` are made from, or compare it with what was written before."""
    path = folder / "facts.json"
    folder.mkdir(parents=True, exist_ok=True)
    others = [one.name for one in folder.iterdir() if one.name != "arrays" and not one.name.endswith(".partial")]
    if others and not path.exists():
        raise ValueError(f"{folder}: holds {min(others)!r} and no arrays of ours; choose a new or an empty folder")
    if not path.exists():
        save_json(path, facts)
    found, wanted = _load_json(path), json.loads(json.dumps(facts))
    if found != wanted:
        key = next(key for key in sorted(found | wanted) if found.get(key, ...) != wanted.get(key, ...))
        raise ValueError(
            f"{folder}: holds arrays with {key} {found.get(key)}, expected {wanted.get(key)}; choose another folder or"
            " delete this one"
        )


def _inside(folder: Path, file: str) -> Path:
    path = folder / file
    if not path.resolve().is_relative_to((folder / "arrays").resolve()):
        raise ValueError(f"{file!r} leads out of {folder / 'arrays'}; expected the name of a file in it")
    return path


def _whole_array(path: Path) -> npt.NDArray[Any] | None:
    try:
        return open_npy(path)
    except (FileNotFoundError, ValueError):
        return None


def save_rows(path: Path, rows: Iterable[npt.NDArray[Any]]) -> tuple[tuple[int, ...], str]:
    """Write rows of one shape and type, as they come, as one `.npy` file that is there when it is whole.

    Returns its shape and type. Raises UnwritableError where that fails, ValueError for no rows or unlike ones, and what
    `rows` raises.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    count, first = 0, None
    try:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file: FileIO = partial.open("wb", buffering=0)  # so that closing writes nothing, which could fail
        with file:
            for row in rows:
                if first is None:
                    first = row
                    with _writing(path):
                        _write(file, _npy_header((0, *row.shape), row.dtype))
                if (row.shape, row.dtype) != (first.shape, first.dtype):
                    raise ValueError(f"frame {count} is {row.shape} {row.dtype}, expected {first.shape} {first.dtype}")
                with _writing(path):
                    _write(file, np.ascontiguousarray(row).reshape(-1).view(np.uint8).data)
                count += 1
            if first is None:
                raise ValueError("no frames, expected at least one")
            shape = (count, *first.shape)
            with _writing(path):
                file.seek(0)
                _write(file, _npy_header(shape, first.dtype))
        with _writing(path):
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink()
    return shape, str(first.dtype)


def _npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of a `.npy` file, as long for any number of rows as NumPy leaves room for them to grow."""
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def _write(file: FileIO, left: bytes | memoryview) -> None:
    while left:
        left = left[file.write(left) :]


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        unwritable = UnwritableError(f"{path}: cannot be written ({error.strerror})")
        unwritable.errno = error.errno
        raise unwritable from error


def save_json(path: Path, value: dict[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(value, indent=1) + "\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _load_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}); delete the folder and write it anew") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found a {type(content).__name__}, expected a dictionary; write the folder anew")
    return content
