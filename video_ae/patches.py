"""Frames to the vectors that an LSTM reads, and back: exact inverses of each other."""

import torch
from torch import Tensor


def unit_range(frames: Tensor) -> Tensor:
    """uint8 frames, 0 to 255, as float32 in 0 to 1; floats stay what they are. Raises ValueError for other types."""
    if frames.dtype == torch.uint8:
        return frames.float().div_(255)
    if not frames.is_floating_point():
        raise ValueError(f"found {frames.dtype} frames, expected uint8 (0 to 255) or floats (0 to 1); convert them")
    return frames.float()


def frames_to_vectors(frames: Tensor, patch_size: int | None = None) -> Tensor:
    """Frames (B, T, C, H, W) to one vector per frame (B, T, C*H*W) or, with `patch_size` P, one per patch.

    Patch vectors (B, T, H/P, W/P, C*P*P) stay on their grid. Raises ValueError where P does not divide H and W.
    """
    if patch_size is None:
        return frames.flatten(2)
    B, T, C, H, W = frames.shape
    P = patch_size
    if H % P or W % P:
        raise ValueError(f"frames of {H}x{W} pixels cannot be cut into {P}x{P} patches: P must divide both sides")
    grid = frames.reshape(B, T, C, H // P, P, W // P, P)
    return grid.permute(0, 1, 3, 5, 2, 4, 6).reshape(B, T, H // P, W // P, C * P * P)


def vectors_to_frames(vectors: Tensor, frame_shape: tuple[int, int, int], patch_size: int | None = None) -> Tensor:
    """The inverse of `frames_to_vectors`: (B, T, C*H*W) or (B, T, H/P, W/P, C*P*P) to frames (B, T, C, H, W)."""
    C, H, W = frame_shape
    if patch_size is None:
        return vectors.unflatten(2, (C, H, W))
    B, T = vectors.shape[:2]
    P = patch_size
    grid = vectors.reshape(B, T, H // P, W // P, C, P, P)
    return grid.permute(0, 1, 4, 2, 5, 3, 6).reshape(B, T, C, H, W)


def fold_grid(vectors: Tensor, grid: torch.Size) -> Tensor:
    """(B, T, rows, columns, D) to (B * rows * columns, T, D): a sequence per patch position. Without grid they stay."""
    return vectors.permute(0, 2, 3, 1, 4).flatten(0, 2) if grid else vectors


def fold_lengths(lengths: Tensor | None, grid: torch.Size) -> Tensor | None:
    """Lengths (B,) of the sequences that `fold_grid` makes on a grid (rows, columns): (B * rows * columns,)."""
    return lengths if lengths is None else lengths.repeat_interleave(grid.numel())


def unfold_grid(sequences: Tensor, grid: torch.Size) -> Tensor:
    """The inverse of `fold_grid` for a grid (rows, columns); an empty grid changes nothing."""
    return sequences.unflatten(0, (-1, *grid)).permute(0, 3, 1, 2, 4) if grid else sequences
