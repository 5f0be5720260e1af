"""Clips of sequences: which steps are in them, and batches of them, gathered when they are asked for."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .anomaly import window_starts
from .datasets.clips import Clips
from .series_input import Floats, Integers, Sequences

_NUMBERS = 2**18  # of clips that are judged together: about a million with the hidden states


@dataclass(frozen=True)
class SequenceClips(Clips):
    """N clips, which may overlap, of sequences that lie one after another.

    steps:    (S, F) float32, of all sequences. starts, lengths: (N,), where in these each clip begins, and its steps.
    sequence: (N,), which sequence each clip is of, in ascending order. longest: T of the batches.
    """

    steps: Tensor
    starts: Integers
    lengths: Integers
    sequence: Integers
    longest: int
    split = "own"

    def __post_init__(self) -> None:
        object.__setattr__(self, "available", len(self.starts))

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, chosen: Integers) -> SequenceClips:
        """The chosen ones alone."""
        return replace(self, starts=self.starts[chosen], lengths=self.lengths[chosen], sequence=self.sequence[chosen])

    def batch(self, chosen: Integers | slice) -> Tensor:
        """Frames (B, T, F, 1, 1), NaN after the end of a shorter clip."""
        steps = np.arange(self.longest)
        places = self.starts[chosen, None] + steps  # (B, T)
        frames = self.steps[torch.from_numpy(places.clip(max=len(self.steps) - 1))]
        frames[torch.from_numpy(steps >= self.lengths[chosen, None])] = torch.nan
        return frames[..., None, None]

    def sample(self, clips: int) -> SequenceClips:
        """So many of them, spread over all."""
        count = min(clips, len(self))
        return self.of(np.arange(count) * len(self) // max(count, 1))

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        return self.batch(np.asarray(indices, np.int64))

    def slices(self) -> Iterator[slice]:
        """All clips in turn, as many at a time as are judged together."""
        size = max(1, _NUMBERS // (self.longest * self.steps.shape[1]))
        return (slice(first, first + size) for first in range(0, len(self), size))

    def batches(self) -> Iterator[Tensor]:
        return map(self.batch, self.slices())

    def mean_of_steps(self, values: Iterable[npt.NDArray[np.floating]]) -> Floats:
        """Something of every step of the clips to that of the steps of all sequences, (S, F): the mean over the clips
        that cover a step and have a value there; NaN where none has.

        values: (B, T, F), or (B, T) for F = 1, NaN for no value, of the clips of each of `batches` in turn.
        """
        total = count = np.zeros((0, 0))
        for chosen, of_batch in zip(self.slices(), values, strict=True):
            columns = of_batch.reshape(*of_batch.shape[:2], -1)  # (B, T, F)
            if not total.size:
                total, count = np.zeros((2, len(self.steps), columns.shape[2]))
            there = ~np.isnan(columns)
            places = self.starts[chosen, None] + np.arange(columns.shape[1])  # (B, T)
            cells = np.broadcast_to(places[:, :, None], columns.shape)[there], there.nonzero()[2]
            np.add.at(total, cells, columns[there])
            np.add.at(count, cells, 1)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def covered(self) -> Tensor:
        """The steps (S', F) that are in any clip."""
        marks = np.zeros(len(self.steps) + 1, np.int64)
        np.add.at(marks, self.starts, 1)
        np.add.at(marks, self.starts + self.lengths, -1)
        return self.steps[torch.from_numpy(marks[:-1].cumsum() > 0)]


def whole(given: Sequences, steps: Tensor) -> SequenceClips:
    """Every sequence as a clip."""
    return SequenceClips(steps, given.starts, given.lengths, np.arange(len(given)), int(given.lengths.max()))


def windows(given: Sequences, steps: Tensor, width: int, stride: int) -> SequenceClips:
    """Windows of `width` steps, one every `stride`, of every stretch of a sequence between holes in its times.

    The last one is at the stretch's end. Raises ValueError for a sequence that has no stretch as long as a window.
    """
    starts: list[Integers] = []
    counts = []
    for index, begin in enumerate(given.starts):
        stretches = given.stretches(index)
        longest = max(stop - start for start, stop in stretches)
        if longest < width:
            between = " between holes in its times" if len(stretches) > 1 else ""
            raise ValueError(
                f"{given.name(index)}: found a series of {longest} steps{between}, expected at least the {width} of a"
                " window"
            )
        own = [
            begin + start + window_starts(stop - start, width, stride)
            for start, stop in stretches
            if stop - start >= width
        ]
        starts += own
        counts.append(sum(map(len, own)))
    sequence = np.repeat(np.arange(len(given)), counts)
    return SequenceClips(steps, np.concatenate(starts), np.full(len(sequence), width), sequence, width)


def warn_of_holes(given: Sequences, width: int | None) -> None:
    """Says once where times jump, and what comes of it for windows of `width` steps, or for whole sequences."""
    holes = [(hole, index) for index, own in enumerate(given.holes) for hole in own]
    if not holes:
        return
    largest, index = max(holes, key=lambda found: found[0].size)
    found = f"found {len(holes)} hole{'s' * (len(holes) > 1)} in the times (or numbers) of the index, the largest"
    found += f" {largest.words} in {given.name(index)}"
    if width is None:
        comes = "sequences are read across them; give the parts as sequences of their own"
    else:
        stretches = [stop - start for index in range(len(given)) for start, stop in given.stretches(index)]
        short = [steps for steps in stretches if steps < width]
        comes = "windows do not cross them"
        comes += f"; {sum(short)} steps are in none, in stretches shorter than {width}" if short else ""
    warnings.warn(f"{found}; {comes}", UserWarning, stacklevel=5)


def hold_out_sequences(
    clips: SequenceClips, fraction: float, random: np.random.RandomState
) -> tuple[SequenceClips, SequenceClips]:
    """The clips of most sequences, and those of a fraction of them, drawn at random."""
    count = int(clips.sequence[-1]) + 1
    chosen = random.permutation(count)[: max(0, math.ceil(fraction * count))]
    held_out = np.isin(clips.sequence, chosen)
    return clips.of(np.flatnonzero(~held_out)), clips.of(np.flatnonzero(held_out))


def hold_out_ends(clips: SequenceClips, fraction: float) -> tuple[SequenceClips, SequenceClips]:
    """The clips at the beginning of every sequence, and the last ones, a fraction of them; none of the first shares a
    step with the last, so some between are in neither. All of a sequence that is too short for both are the first."""
    begins, ends = [], []
    for own in np.split(np.arange(len(clips)), np.flatnonzero(np.diff(clips.sequence)) + 1):
        last = own[len(own) - math.ceil(fraction * len(own)) :]
        before = own[clips.starts[own] + clips.lengths[own] <= clips.starts[last].min(initial=len(clips.steps))]
        begins.append(before if len(before) else own)
        ends.append(last if len(before) else own[:0])
    return clips.of(np.concatenate(begins)), clips.of(np.concatenate(ends))
