"""Arrays of videos on disk, one `.npy` file each: written once, memory-mapped from then on, whole or in pieces.

FOLDER/facts.json                 what the arrays were made from and how; written first
FOLDER/arrays/<name>.npy          one array per video, (T, ...); a name with / is in sub-folders
FOLDER/index-000-of-001.json      what is there, written when all arrays are
"""

import hashlib
import io
import json
import math
import os
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
from tqdm import tqdm

from .arrays import open_npy
from .sharing import Claims
from .videos import Video

_INDEX = "index-000-of-001.json"  # there were several of them once, one for each process
_OPEN_MAPS = 256  # each holds a file descriptor, of which a process may often have 1,024
# The index of a record, and its rows: the first and the one after the last, or the end.
Cut = tuple[int, int, int | None]


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
    skip_unreadable: bool = False,
    describe: str = "decoding",
    quiet: bool = False,
) -> list[tuple[str, str]]:
    """Write `read(video)`, an array (T, ...), of every video. Processes that do the same at once share the videos, see
    `Claims`; each returns when all are written. `quiet` shows no progress.

    Arrays that are there already are kept, so that an interrupted writing goes on where it stopped; `facts`, plain
    values, must therefore say everything that the arrays depend on. Returns name and error of the videos that `read`
    refused (ValueError, OSError) if `skip_unreadable`, else raises ValueError for the first. Raises ValueError as well
    for a folder with other facts and for names that lead out of it.
    """
    folder = Path(folder)
    _settle_facts(folder, facts)
    paths = {video.name: _inside(folder, f"arrays/{video.name}.npy") for video in videos}
    by_name = {video.name: video for video in videos}
    shapes: dict[str, tuple[tuple[int, ...], str]] = {}
    unreadable: dict[str, str] = {}
    with Claims(folder) as claims:
        pieces = claims.each(paths)
        for name in tqdm(pieces, describe, len(paths), unit=" videos", disable=quiet or None):
            array = _whole_array(paths[name])
            if array is None:
                try:
                    array = read(by_name[name])
                except (OSError, ValueError) as error:
                    if not skip_unreadable:
                        raise ValueError(f"{name}: {error}; --skip-unreadable leaves such videos out") from error
                    unreadable[name] = str(error)
                    continue
                save_rows(paths[name], array)
            shapes[name] = array.shape, str(array.dtype)
    entries = []
    for video in videos:
        if video.name in shapes:
            shape, dtype = shapes[video.name]
            known = {field: getattr(video, field) for field in ("name", "label", "group", "official")}
            entries.append(known | {"file": f"arrays/{video.name}.npy", "shape": shape, "dtype": dtype})
    left_out = [{"name": name, "error": error} for name, error in sorted(unreadable.items())]
    save_json(folder / _INDEX, {"facts": facts, "videos": entries, "unreadable": left_out})
    return sorted(unreadable.items())


def open_arrays(folder: Path | str) -> VideoArrays:
    """What `write_arrays` wrote, by however many processes, sorted by name.

    Raises FileNotFoundError where there is no index, ValueError where it is damaged.
    """
    folder = Path(folder)
    path = folder / _INDEX
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no {_INDEX}; expected a folder of arrays that were written to the end: the command that began"
            " it goes on with it"
        )
    content = _load_json(path)
    try:
        facts = dict(content["facts"])
        entries = sorted(_listed(folder, entry) for entry in content["videos"])
        unreadable = sorted((str(entry["name"]), str(entry["error"])) for entry in content["unreadable"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{path}: not an index of arrays ({error!r}); write the folder anew") from error
    records = [record for record, _ in entries]
    if len({record.name for record in records}) != len(records):
        raise ValueError(f"{path}: has a video twice; delete the folder and write it anew")
    return VideoArrays(records, MappedFiles(records, [path for _, path in entries]).array, facts, unreadable)


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


def _settle_facts(folder: Path, facts: dict[str, Any]) -> None:
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
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file: FileIO = partial.open("wb", buffering=0)  # so that closing writes nothing, which could fail
        with file:
            for row in rows:
                if first is None:
                    first = row
                    with writing(path):
                        _write(file, _npy_header((0, *row.shape), row.dtype))
                if (row.shape, row.dtype) != (first.shape, first.dtype):
                    raise ValueError(f"frame {count} is {row.shape} {row.dtype}, expected {first.shape} {first.dtype}")
                with writing(path):
                    _write(file, np.ascontiguousarray(row).reshape(-1).view(np.uint8).data)
                count += 1
            if first is None:
                raise ValueError("no frames, expected at least one")
            shape = (count, *first.shape)
            with writing(path):
                file.seek(0)
                _write(file, _npy_header(shape, first.dtype))
        with writing(path):
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
def writing(path: Path) -> Iterator[None]:
    """Raises UnwritableError that names `path` for an OSError of the block."""
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
