"""Decoded videos in the user's cache, known by their content: a file is decoded once, wherever it is.

~/.cache/video_ae/videos/<settings>/settings.json           how the arrays were made
~/.cache/video_ae/videos/<settings>/index.json              which file has which content, and which arrays there are
~/.cache/video_ae/videos/<settings>/arrays/<content>.npy    an array per content, named after its SHA-256
"""

import errno
import hashlib
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt
from tqdm import tqdm

from .arrays import open_npy
from .frame_folders import image_files, size_on_disk
from .notes import note
from .sharing import PAUSE, Claims
from .video_arrays import MappedFiles, UnwritableError, VideoArrays, VideoRecord, save_json, save_rows, writing
from .videos import Video

_VERSION = 1  # of what decoding makes of a file; another one leads to other folders
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_THREADS = min(16, os.cpu_count() or 1)  # each decodes a video; OpenCV lets the others run meanwhile
_SAMPLE = 32  # videos from whose headers the size of all is estimated

Rows = Callable[[Video, str], Iterable[npt.NDArray[Any]]]
ExpectedBytes = Callable[[Video], int | None]


class _Known(NamedTuple):
    """A file when it was read: its bytes, its time of change in ns, and the SHA-256 of its content."""

    size: int
    changed: int
    content: str


class _Stored(NamedTuple):
    """An array of the cache: its shape and type, and the bytes of its file."""

    shape: tuple[int, ...]
    dtype: str
    size: int


class _StoppedError(Exception):
    """Another video failed, or Ctrl-C was pressed."""


class VideoCache:
    """The arrays that videos become in one way of decoding. `settings`, plain values, must say all about that.

    Raises OSError where this user has no folder for a cache.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = {"version": _VERSION} | settings
        text = json.dumps(self.settings, sort_keys=True)
        self.folder = _cache_home() / "videos" / hashlib.sha256(text.encode()).hexdigest()[:12]
        self._files, self._arrays = _read_index(self.folder)
        self._sizes = _sizes(self.folder / "arrays")
        self._stopped = threading.Event()

    def decode(
        self,
        videos: Sequence[Video],
        rows: Rows,
        *,
        least_rows: Callable[[str], int] = lambda _: 1,
        expected_bytes: ExpectedBytes = lambda _: None,
        skip_unreadable: bool = False,
        describe: str = "decoding",
    ) -> VideoArrays:
        """The arrays of `videos`, in their order; those that are not there yet are made of `rows(video, content)`.

        `content` is the SHA-256 of the file. Arrays of fewer than `least_rows(content)` rows are made anew. From what
        `expected_bytes` knows of some videos the user is told how large all will be. What is decoded stays where this
        is interrupted or fails; several processes that do it at once share the work. `describe` says what `rows` does.

        Raises ValueError that names a video that `rows` refuses (ValueError, OSError), unless `skip_unreadable`: then
        it is listed in `unreadable`. Raises OSError where the cache is full or cannot be written.
        """
        needed = None
        try:
            unknown = [video for video in videos if not self._is_known(video)]
            refused = self._each("reading", self._know, unknown, skip_unreadable)
            readable = [video for video in videos if video.name not in refused]
            files = {self._content(video): video for video in readable}  # one of those with the same content
            missing = {key: files[key] for key in files if not self._is_stored(key, least_rows(key))}
            if missing:
                needed = _estimated(list(missing.values()), expected_bytes)
                self._announce(describe, len(missing), needed)
            undecoded = self._share(describe, rows, list(missing.values()), least_rows, skip_unreadable)
            errors = {self._content(video): undecoded[video.name] for video in readable if video.name in undecoded}
            refused |= {video.name: errors[key] for video in readable if (key := self._content(video)) in errors}
        except UnwritableError as error:
            raise self._explained(error, needed) from error
        finally:
            self._save_index()
        return self._opened([video for video in videos if video.name not in refused], sorted(refused.items()))

    def _share(
        self,
        describe: str,
        rows: Rows,
        videos: list[Video],
        least_rows: Callable[[str], int],
        skip_unreadable: bool,
    ) -> dict[str, str]:
        """Decode the videos that no other process decodes meanwhile, and those then that others have given up; by name,
        what was refused."""
        if not videos:
            return {}
        others: list[Video] = []
        with writing(self.folder):
            claims = Claims(self.folder)

        def make(video: Video) -> bool:
            content = self._content(video)
            with claims.claim(content) as mine:
                if mine:
                    self._make(video, rows, least_rows(content))
            return mine

        def make_now(video: Video) -> None:
            if not make(video):
                others.append(video)

        def make_later(video: Video) -> None:
            while not make(video):
                self._go_on()
                time.sleep(PAUSE)

        with claims:
            refused = self._each(describe, make_now, videos, skip_unreadable)
            return refused | self._each(f"{describe} with others", make_later, others, skip_unreadable)

    def _each(
        self, describe: str, work: Callable[[Video], None], videos: list[Video], skip_unreadable: bool
    ) -> dict[str, str]:
        """Do `work` for all videos; by name, what it refused (see `decode`)."""
        refused = {}
        executor = ThreadPoolExecutor(_THREADS)
        try:
            futures = {executor.submit(work, video): video.name for video in videos}
            done = as_completed(futures)
            for future in tqdm(done, describe, len(futures), unit=" videos", disable=None if futures else True):
                try:
                    future.result()
                except UnwritableError:
                    raise
                except (OSError, ValueError) as error:
                    name = futures[future]
                    if not skip_unreadable:
                        raise ValueError(f"{name}: {error}; --skip-unreadable leaves such videos out") from error
                    refused[name] = str(error)
        finally:
            self._stopped.set()
            executor.shutdown(cancel_futures=True)
            self._stopped.clear()
        return refused

    def _is_known(self, video: Video) -> bool:
        known = self._files.get(_key(video))
        return known is not None and known[:2] == _state(video.path)

    def _know(self, video: Video) -> None:
        size, changed = _state(video.path)  # before it is read: a later change is another state
        digest = hashlib.sha256()
        for path in image_files(video.path) if video.path.is_dir() else [video.path]:
            with path.open("rb") as file:
                while chunk := file.read(2**20):
                    self._go_on()
                    digest.update(chunk)
        self._files[_key(video)] = _Known(size, changed, digest.hexdigest())

    def _content(self, video: Video) -> str:
        return self._files[_key(video)].content

    def _is_stored(self, content: str, least_rows: int) -> bool:
        stored = self._arrays.get(content)
        return stored is not None and stored.shape[0] >= least_rows and self._sizes.get(content) == stored.size

    def _make(self, video: Video, rows: Rows, least_rows: int) -> None:
        content = self._content(video)
        path = self._path(content)
        made = _whole(path)  # by a process that was killed, or that shares the work
        if made is None or made[0][0] < least_rows:
            made = save_rows(path, self._until_stopped(rows(video, content)))
        self._arrays[content] = _Stored(*made, path.stat().st_size)

    def _until_stopped(self, rows: Iterable[npt.NDArray[Any]]) -> Iterator[npt.NDArray[Any]]:
        for row in rows:
            self._go_on()
            yield row

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise _StoppedError

    def _path(self, content: str) -> Path:
        return self.folder / "arrays" / f"{content}.npy"

    def _opened(self, videos: Sequence[Video], unreadable: list[tuple[str, str]]) -> VideoArrays:
        contents = [self._content(video) for video in videos]
        records = [
            VideoRecord(
                video.name,
                video.label,
                video.group,
                self._arrays[content].shape,
                self._arrays[content].dtype,
                video.official,
                fingerprint=content,
            )
            for video, content in zip(videos, contents, strict=True)
        ]
        files = MappedFiles(records, [self._path(content) for content in contents])
        return VideoArrays(records, files.array, self.settings, unreadable)

    def _announce(self, describe: str, videos: int, needed: int | None) -> None:
        size = "" if needed is None else f", about {in_words(needed)}"
        existing = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        room = f", of which only {in_words(free)} are free" if needed is not None and needed > free else ""
        note(f"{describe} {videos:,} video{'s' * (videos != 1)} into {self.folder}{size}{room}")

    def _explained(self, error: UnwritableError, needed: int | None) -> OSError:
        if error.errno not in _FULL:
            return OSError(f"{error}; the environment variable XDG_CACHE_HOME names another folder for the cache")
        need = "" if needed is None else f", the decoded videos need about {in_words(needed)}"
        return OSError(
            f"{self.folder}: no space left ({os.strerror(error.errno)}{need}); free some, or name a folder on another"
            " disk for the cache with the environment variable XDG_CACHE_HOME"
        )

    def _save_index(self) -> None:
        """Add what is new to what other processes may have written meanwhile; what is lost is found out again."""
        files, arrays = _read_index(self.folder)
        if files.items() >= self._files.items() and arrays.items() >= self._arrays.items():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_json(self.folder / "settings.json", self.settings)
            save_json(self.folder / "index.json", {"files": files | self._files, "arrays": arrays | self._arrays})
        except OSError as error:
            note(f"{self.folder}: its index cannot be written ({error.strerror}); the videos will be read again")


class CacheEntry(NamedTuple):
    """The arrays of one way to read videos: their folder, its settings, how many there are, and their bytes."""

    folder: Path
    settings: dict[str, Any]
    arrays: int
    size: int


def cache_entries() -> list[CacheEntry]:
    """Everything that is in the user's cache, the largest first. Raises OSError where this user has no such folder."""
    found = []
    for folder in (_cache_home() / "videos").glob("*"):
        try:
            settings = json.loads((folder / "settings.json").read_text())
        except (OSError, ValueError):  # of an interrupted first use
            settings = {}
        sizes = _sizes(folder / "arrays")
        found.append(CacheEntry(folder, settings, len(sizes), sum(sizes.values())))
    return sorted(found, key=lambda entry: -entry.size)


def _cache_home() -> Path:
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "video_ae"
    try:
        return Path.home() / ".cache" / "video_ae"
    except RuntimeError as error:
        raise OSError(
            "no home folder for the cache of decoded videos; name one with the environment variable XDG_CACHE_HOME"
        ) from error


def _read_index(folder: Path) -> tuple[dict[str, _Known], dict[str, _Stored]]:
    """What is known of files and arrays; nothing where the index is not there or damaged."""
    try:
        index = json.loads((folder / "index.json").read_text())
        files = {path: _Known(int(size), int(changed), str(c)) for path, (size, changed, c) in index["files"].items()}
        arrays = {
            content: _Stored(tuple(map(int, shape)), str(dtype), int(size))
            for content, (shape, dtype, size) in index["arrays"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}, {}
    return files, arrays


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every array that is there, by its content."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {Path(entry).stem: entry.stat().st_size for entry in entries if entry.name.endswith(".npy")}


def _whole(path: Path) -> tuple[tuple[int, ...], str] | None:
    """Shape and type of an array, if its file is whole."""
    try:
        array = open_npy(path)
    except (FileNotFoundError, ValueError):
        return None
    return (array.shape, str(array.dtype)) if array.ndim else None


def _key(video: Video) -> str:
    return str(video.path.absolute())


def _state(path: Path) -> tuple[int, int]:
    """Bytes and time of change, in ns; of a folder of images those of all together, and the last."""
    own = path.stat()
    if not path.is_dir():
        return own.st_size, own.st_mtime_ns
    changes = [file.stat().st_mtime_ns for file in image_files(path)]
    return size_on_disk(path), max(own.st_mtime_ns, *changes)


def _estimated(videos: Sequence[Video], expected_bytes: ExpectedBytes) -> int | None:
    """Bytes of the arrays of all videos, by those of a sample of them in proportion to the sizes of the files."""
    sample = [
        (expected, size_on_disk(video.path))
        for video in videos[:: -(-len(videos) // _SAMPLE)]
        if (expected := expected_bytes(video)) is not None
    ]
    of_files = sum(size for _, size in sample)
    if not of_files:
        return None
    return round(sum(expected for expected, _ in sample) / of_files * sum(size_on_disk(video.path) for video in videos))


def in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{math.ceil(size / 1e6):,} MB"
