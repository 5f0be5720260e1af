"""Frames that are already in one `.npy` file: the public Moving MNIST test file and anybody's own arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

_SPLIT_BOUNDS = {"train": (0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1), "all": (0, 1)}
_VIDEOS_TO_SPLIT = 10  # at least, to set whole videos aside


def open_npy(path: Path | str) -> npt.NDArray[np.generic]:
    """Memory-map a `.npy` file. Raises FileNotFoundError, or ValueError where it is no whole array of plain numbers."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .npy file of uint8 frames")
    try:
        array: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: not a whole .npy array of numbers ({error}); write it with numpy.save") from error
    return array


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
        if split not in _SPLIT_BOUNDS:
            raise ValueError(f"unknown split {split!r}: expected one of {', '.join(_SPLIT_BOUNDS)}")
        if videos.dtype != np.uint8:
            raise ValueError(f"{name}: found {videos.dtype} values, expected uint8 (0 to 255); convert the array")
        if videos.ndim not in (4, 5) or (videos.ndim == 5 and videos.shape[4] not in (1, 3)):
            raise ValueError(
                f"{name}: found shape {videos.shape}, expected (N, T, H, W) or (N, T, H, W, C) with C 1 or 3"
            )
        if 0 in videos.shape:
            raise ValueError(f"{name}: found shape {videos.shape}, which holds nothing; expected at least one video")
        count, length = videos.shape[0], videos.shape[1]
        by_video = count >= _VIDEOS_TO_SPLIT
        first, stop = (round((count if by_video else length) * bound) for bound in _SPLIT_BOUNDS[split])
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
