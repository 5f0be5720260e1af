"""Clips that somebody brings from Python: an array, a tensor, or any data set of PyTorch's."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from .clips import Clips

_DEPTH = 255.0


def as_clips(given: Any, frames: int, shortest: int, shape: tuple[int, int, int], *, finite: bool = False) -> Clips:
    """What `given` holds as clips of up to `frames` frames of `shape` (C, H, W), shorter ones padded with NaN.

    given: an array or tensor (N, T, C, H, W), a map-style or iterable data set of clips (T, C, H, W), or `Clips`. Clips
    are uint8 in 0 to 255 or float in 0 to 1; of frames of one pixel, (T, D) of any range. None has less than `shortest`
    frames. finite: whether there has to be an end, so that an iterable is read to it.

    What is wrong with a clip shows when it is read. Raises TypeError for what holds no clips, ValueError where there
    are none.
    """
    if isinstance(given, Clips):
        return given
    if isinstance(given, (str, bytes, dict)):
        raise TypeError(f"found {type(given).__name__}, expected an array, a tensor or a data set of clips")
    if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, IterableDataset):
        if not len(given):
            raise ValueError("found no clips, expected at least one")
        return OwnClips(given, frames, shortest, shape)
    if isinstance(given, Iterator) or not isinstance(given, Iterable):
        raise TypeError(
            f"found {type(given).__name__}, which cannot be read twice: expected an array, a tensor, a data set of"
            " clips, or a torch.utils.data.IterableDataset"
        )
    return as_clips(list(given), frames, shortest, shape) if finite else StreamedClips(given, frames, shortest, shape)


class OwnClips(Clips):
    """Clips that can be had by number."""

    split = "own"

    def __init__(self, given: Any, frames: int, shortest: int, shape: tuple[int, int, int]) -> None:
        self.given = given
        self.frames, self.shortest, self.shape = frames, shortest, shape
        self.numbers = np.arange(len(given))
        self.available = len(given)

    def sample(self, clips: int) -> Self:
        """So many of these clips, spread over all."""
        sampled = copy.copy(self)
        count = min(clips, len(self))
        sampled.numbers = self.numbers[np.arange(count) * len(self) // max(count, 1)]
        return sampled

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        numbers = self.numbers[list(indices)].tolist()
        at_once = getattr(self.given, "__getitems__", None)
        found = [self.given[number] for number in numbers] if at_once is None else at_once(numbers)
        return stack(
            [
                checked(clip, f"clip {number}", self.frames, self.shortest, self.shape)
                for number, clip in zip(numbers, found, strict=True)
            ],
            self.frames,
        )


class StreamedClips(Clips):
    """Clips of an iterable, read on and on, from the first again after the last.

    Indices can only go up: what lies between is read and passed over, so that a run that is resumed goes on where it
    was, if the iterable yields the same clips in the same order.
    """

    split = "own"
    available = None

    def __init__(self, given: Iterable[Any], frames: int, shortest: int, shape: tuple[int, int, int]) -> None:
        self.given = given
        self.frames, self.shortest, self.shape = frames, shortest, shape
        self.source = self._read()
        self.next = 0

    @property
    def endless(self) -> bool:
        return True

    def _read(self) -> Iterator[Any]:
        while True:
            empty = True
            for clip in self.given:
                empty = False
                yield clip
            if empty:
                raise ValueError(f"{type(self.given).__name__} yields no clips, expected at least one")

    def sample(self, clips: int) -> Any:
        """The first clips, as many as there are."""
        return as_clips(list(islice(iter(self.given), clips)), self.frames, self.shortest, self.shape)

    def __len__(self) -> int:
        raise TypeError("an iterable data set has no length")

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        clips = []
        for index in indices:
            clip = next(islice(self.source, index - self.next, None))
            clips.append(checked(clip, f"clip {index}", self.frames, self.shortest, self.shape))
            self.next = index + 1
        return stack(clips, self.frames)


def checked(clip: Any, name: str, frames: int, shortest: int, shape: tuple[int, int, int]) -> Tensor:
    """A clip as a tensor (T, C, H, W), uint8 or float32. Raises TypeError or ValueError where it is none."""
    if not isinstance(clip, (np.ndarray, Tensor)):
        what = type(clip).__name__
        hint = ": give the clips alone, without labels" if isinstance(clip, (tuple, list, dict)) else ""
        raise TypeError(f"{name}: found {what}, expected an array or a tensor of frames (T, C, H, W){hint}")
    tensor = clip.detach() if isinstance(clip, Tensor) else torch.from_numpy(_native(clip))
    if tensor.ndim == 2 and shape[1:] == (1, 1):
        tensor = tensor[..., None, None]
    if tensor.ndim != 4 or tuple(tensor.shape[1:]) != shape:
        raise ValueError(
            f"{name}: found {tuple(clip.shape)}, expected frames (T, {', '.join(map(str, shape))}), channels before"
            " height and width, as the model was built for"
        )
    if not shortest <= len(tensor) <= frames:
        raise ValueError(f"{name}: found {len(tensor)} frames, expected {shortest} to {frames}; cut it")
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point():
        raise TypeError(f"{name}: found {tensor.dtype}, expected uint8 in 0 to 255 or float in 0 to 1")
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{name}: found NaN or infinite values; fill them in, or leave the clip out")
    return tensor.float()


def _native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As PyTorch takes arrays: writable, in the machine's order of bytes, no axis backwards. Copied where it is not."""
    fine = array.flags.writeable and array.dtype.isnative and min(array.strides, default=0) >= 0
    return array if fine else array.astype(array.dtype.newbyteorder("="), order="C")


def stack(clips: Sequence[Tensor], frames: int) -> Tensor:
    """(B, frames, C, H, W) of clips (T_i, C, H, W); where any is shorter, float with NaN after each end."""
    if len({clip.dtype for clip in clips}) > 1 or any(len(clip) < frames for clip in clips):
        clips = [clip / _DEPTH if clip.dtype == torch.uint8 else clip for clip in clips]
    batch = torch.stack([clip.new_empty(frames, *clip.shape[1:]) for clip in clips])
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
        if len(clip) < frames:
            row[len(clip) :] = torch.nan
    return batch
