"""NumPy files, and frames that are already in one: the public Moving MNIST test file and anybody's own arrays."""

import math
import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

SPLIT_BOUNDS = {"train": (0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1), "all": (0, 1)}
VIDEOS_TO_SPLIT = 10  # at least, to set whole videos aside
# Of a compressed archive: a megabyte can unpack to a gigabyte. More is fine where the file itself is large.
MAX_BYTES_OF_ANY, MAX_BYTES_PER_BYTE = 2**28, 100
_MAX_HEADER = 10_000  # bytes; NumPy's own limit, which it applies after reading
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def open_npy(path: Path | str) -> npt.NDArray[np.generic]:
    """Memory-map a `.npy` file. Raises FileNotFoundError, or ValueError where it is no whole array of plain numbers."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .npy file")
    try:
        with path.open("rb") as file:
            _, dtype, size = _header(file)
            there = path.stat().st_size - file.tell()
        if dtype.hasobject or size > there:
            held = "objects" if dtype.hasobject else f"{there:,} bytes"
            raise ValueError(f"its header states {size:,} bytes of {dtype}, it holds {held}")
        array: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(
            f"{path}: not a whole .npy array of numbers ({_one_line(error)}); write it with numpy.save"
        ) from error
    return array


def read_npz(path: Path, limit: int, names: Collection[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a `.npz` file, or those of `names` that are there, in the file's order.

    Raises ValueError where it is no whole archive of plain arrays, and, from the headers, before anything is read,
    where they exceed `limit` bytes together, or what a file of this size may unpack to.
    """
    arrays = {}
    left = min(limit, max(MAX_BYTES_OF_ANY, MAX_BYTES_PER_BYTE * path.stat().st_size))
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name == member.filename or (names and name not in names):
                    continue
                with archive.open(member) as file:
                    _, _, size = _header(file)
                if size > min(left, member.file_size):
                    raise ValueError(f"{name} of {size:,} bytes, {member.file_size:,} are there, {left:,} are allowed")
                left -= size
                with archive.open(member) as file:
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    # What zipfile and numpy raise for damaged archives, RuntimeError for encrypted ones. NotImplementedError, a kind of
    # compression that this Python does not know, is a RuntimeError too.
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise ValueError(
            f"{path}: not a whole .npz file of plain arrays ({_one_line(error)}); fetch it again, or write it with"
            " numpy.savez"
        ) from error
    return arrays


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and bytes of the array whose header begins here. Raises ValueError where there is none."""
    version = np.lib.format.read_magic(file)
    start = file.read(2 if version == (1, 0) else 4)
    if version not in _READ_HEADER or int.from_bytes(start, "little") > _MAX_HEADER:
        raise ValueError(f"a header of version {version} and {int.from_bytes(start, 'little'):,} bytes")
    file.seek(-len(start), 1)
    shape, _, dtype = _READ_HEADER[version](file)
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape}")
    return shape, dtype, math.prod(shape) * dtype.itemsize


def _one_line(error: Exception) -> str:
    """The first sentence of a message; NumPy's next one may be that pickle would read the file."""
    return " ".join(str(error).split()).partition(". ")[0][:200]


class FrameArray(Dataset[Tensor]):
    """Clips cut from one array of videos, read from disk as they are needed.

    `videos` is uint8 (N, T, H, W) or (N, T, H, W, C) with C = 1 or 3; item `i` is a uint8 tensor (frames, C, H, W).
    Clips follow each other without overlap; what is left over at the end of a video is not used.

    Ten videos or more are split by video: the first 80 % train, the next 10 % validate, the last 10 % test. Fewer are
    split in time, each at 80 % and 90 % of its frames. So no frame is in two splits, whatever the length of the clips.
    `all` is everything.

    Raises ValueError for another type or shape, and for videos or parts of them that are shorter than `frames`.
    """

    endless = False
    augmented = False  # see VideoClips

    def __init__(self, videos: npt.NDArray[np.generic], split: str, *, frames: int = 20, name: str = "array") -> None:
        if split not in SPLIT_BOUNDS:
            raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLIT_BOUNDS)}")
        if videos.dtype != np.uint8:
            raise ValueError(f"{name}: found {videos.dtype} values, expected uint8 (0 to 255); convert the array")
        if videos.ndim not in (4, 5) or (videos.ndim == 5 and videos.shape[4] not in (1, 3)):
            raise ValueError(
                f"{name}: found shape {videos.shape}, expected (N, T, H, W) or (N, T, H, W, C) with C 1 or 3"
            )
        if 0 in videos.shape:
            raise ValueError(f"{name}: found shape {videos.shape}, which holds nothing; expected at least one video")
        count, length = videos.shape[0], videos.shape[1]
        by_video = count >= VIDEOS_TO_SPLIT
        first, stop = (round((count if by_video else length) * bound) for bound in SPLIT_BOUNDS[split])
        videos_used, frames_used = ((first, stop), (0, length)) if by_video else ((0, count), (first, stop))
        self.first_video: int = videos_used[0]
        self.first_frame: int = frames_used[0]
        usable = frames_used[1] - frames_used[0]
        self.per_video: int = usable // frames
        if self.per_video == 0:
            part = f"the {split} part of each video has" if usable < length else "videos have"
            raise ValueError(
                f"{name}: {part} {usable} frames, expected at least {frames} (input + future"
                " frames); ask for fewer with --input-frames and --future-frames"
            )
        self.clips = (videos_used[1] - self.first_video) * self.per_video
        self.videos, self.frames = videos, frames

    def at_most(self, clips: int) -> int:
        """`clips`, or as many as there are."""
        return min(clips, self.clips)

    def __len__(self) -> int:
        return self.clips

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < self.clips:
            raise IndexError(f"clip {index}: expected 0 to {self.clips - 1}")
        return self.__getitems__([index])[0]

    def name(self, index: int) -> str:
        """Which frames clip `index` is of: the number of the video, "@" and that of the first frame."""
        return "{}@{}".format(*self.place(index))

    def place(self, index: int) -> tuple[str, int]:
        """The number of the video that clip `index` is of, as text, and that of its first frame there."""
        video, part = divmod(index, self.per_video)
        return str(self.first_video + video), self.first_frame + part * self.frames

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        """Clips `indices` as one batch (B, frames, C, H, W) uint8."""
        pieces = []
        for index in indices:
            video, part = divmod(index, self.per_video)
            start = self.first_frame + part * self.frames
            pieces.append(self.videos[self.first_video + video, start : start + self.frames])
        clips = np.stack(pieces)  # (B, frames, H, W) or (B, frames, H, W, C)
        channels_first = np.moveaxis(clips, -1, 2) if clips.ndim == 5 else clips[:, :, None]
        return torch.from_numpy(np.ascontiguousarray(channels_first))


def open_moving_mnist_file(data_dir: Path | str, *, download: bool = False) -> npt.NDArray[np.generic]:
    """The public Moving MNIST test file as videos (10000, 20, 64, 64) uint8, memory-mapped.

    `data_dir` is the file itself or the folder that torchvision uses, with `MovingMNIST/mnist_test_seq.npy` in it. The
    file stores time first. All of it is test data: torchvision's "train" split is their first frames.
    """
    path = Path(data_dir)
    if path.suffix != ".npy":
        if download:
            import torchvision

            torchvision.datasets.MovingMNIST(path, download=True)
        path = path / "MovingMNIST" / "mnist_test_seq.npy"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; name it or the folder of MovingMNIST/mnist_test_seq.npy (--data-dir), or allow"
            " the download of 780 MB (--download)"
        )
    videos = open_npy(path)
    if videos.ndim != 4:
        raise ValueError(f"{path}: found shape {videos.shape}, expected (frames, videos, height, width)")
    return videos.swapaxes(0, 1)
