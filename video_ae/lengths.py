"""Sequences of different lengths in one batch: each begins at the first step, what follows its end is padding.

`lengths` is (B,) int64, each 1 to T; None stands for T everywhere. Data sets deliver shorter sequences filled up with
NaN, which no data may hold; `split_clips` is where these become lengths.
"""

from __future__ import annotations

import torch
from torch import Tensor


def check_lengths(lengths: Tensor | None, shape: torch.Size) -> Tensor | None:
    """`lengths` of a batch of `shape` (B, T, ...), or None where all are T. Raises ValueError for impossible ones."""
    if lengths is None:
        return None
    B, T = shape[:2]
    if lengths.shape != (B,) or lengths.is_floating_point() or not bool(((lengths >= 1) & (lengths <= T)).all()):
        raise ValueError(f"lengths {tuple(lengths.shape)} {lengths.tolist()[:9]}: expected {B} whole numbers, 1 to {T}")
    return None if bool((lengths == T).all()) else lengths


def split_clips(clips: Tensor, input_frames: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Clips (B, T, ...) to what a model reads, what follows, and the lengths of what it reads.

    What follows are the last T - `input_frames` steps of each sequence. Padding, NaN in all of a step, is cut off as
    far as all sequences have it, and zero elsewhere.
    """
    future_frames = clips.shape[1] - input_frames
    padding = _padding(clips)
    if padding is None:
        return clips[:, :input_frames], clips[:, input_frames:], None
    lengths = (~padding).sum(dim=1) - future_frames
    steps = lengths[:, None] + torch.arange(future_frames, device=clips.device)  # (B, F)
    future = clips[torch.arange(len(clips), device=clips.device)[:, None], steps]
    longest = int(lengths.max())
    return clear_padding(clips[:, :longest], lengths), future, check_lengths(lengths, clips[:, :longest].shape)


def present_steps(clips: Tensor) -> Tensor:
    """(B, T, ...) to (N, ...): the steps of all clips that are not padding."""
    padding = _padding(clips)
    return clips.flatten(0, 1) if padding is None else clips[~padding]


def _padding(clips: Tensor) -> Tensor | None:
    """(B, T) bool, where a step is NaN throughout, or None where that is nowhere."""
    padding = clips.flatten(2).isnan().all(dim=2) if clips.is_floating_point() else None
    return padding if padding is not None and bool(padding.any()) else None


def inside(lengths: Tensor, steps: int) -> Tensor:
    """(B, steps) bool: whether a step is before the sequence's end."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def clear_padding(sequences: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, ...) with zeros after every end, whatever was there: NaN as well, and no gradient comes back from it."""
    if lengths is None:
        return sequences
    mask = inside(lengths, sequences.shape[1])
    return sequences.where(mask[(..., *[None] * (sequences.ndim - 2))], 0)


def flip_time(sequences: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, ...) from the last step to the first, each from its own end; padding stays behind it."""
    if lengths is None:
        return sequences.flip(1)
    steps = torch.arange(sequences.shape[1], device=sequences.device)
    mirrored = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)  # (B, T)
    return sequences[torch.arange(len(lengths), device=lengths.device)[:, None], mirrored]


def last_step(sequences: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, ...), each sequence's last step."""
    if lengths is None:
        return sequences[:, -1]
    return sequences[torch.arange(len(lengths), device=sequences.device), lengths - 1]
