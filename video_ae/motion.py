"""Predicted frames made of the frame before: what moves on, and what is new."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import LOGISTIC, ModelConfig

MOVES = 2  # at every patch: digits that pass each other, or an object and the background
_STAY = 2.0  # first bias of a move towards staying, in nats: a new model begins near a copy of the frame before
LEAST = 1e-4  # probability that a pixel is lit, and that it is not: logits are finite


def reach(patch_size: int) -> int:
    """Pixels that a step can move a patch in either direction."""
    return max(1, patch_size // 2)


def around(patches: Tensor, reach: int) -> Tensor:
    """Patches (B, rows, columns, C, P, P) with what lies `reach` pixels around them, zeros beyond the frame.

    (B, rows, columns, C, Q, Q) with Q = P + 2 reach.
    """
    P = patches.shape[-1]
    size = P + 2 * reach
    frames = patches.permute(0, 3, 1, 4, 2, 5).flatten(2, 3).flatten(3)  # (B, C, H, W)
    padded = functional.pad(frames, [reach] * 4)
    return padded.unfold(2, size, P).unfold(3, size, P).permute(0, 2, 3, 1, 4, 5)


class Motion(nn.Module):
    """Every pixel chooses between moved copies of the frame before and the decoder's own content.

    At every patch a copy is moved by a distribution over the shifts of up to half a patch in either direction, one for
    rows and one for columns: filters that depend on the state, as in De Brabandere et al. (2016), with masks as in Finn
    et al. (2016). Shifting is what a recurrence of few units per patch does worst; docs/results.md has the comparison.
    Each step moves the frame that the step before has made, so that paths may be as long as they like.
    """

    def __init__(self, features: int, config: ModelConfig) -> None:
        super().__init__()
        assert config.patch_size is not None
        self.patch_size, self.channels = config.patch_size, config.frame_shape[0]
        self.logistic = config.output == LOGISTIC
        self.reach = reach(self.patch_size)
        shifts = 2 * self.reach + 1
        self.masks = nn.Linear(features, (1 + MOVES) * self.patch_size**2)
        self.shifts = nn.Linear(features, 2 * MOVES * shifts)
        nn.init.zeros_(self.masks.bias)
        nn.init.zeros_(self.shifts.bias)
        self.shifts.bias.data.unflatten(0, (-1, shifts))[:, self.reach] = _STAY
        eye = torch.eye(self.patch_size)
        bands = [functional.pad(eye, (shift, 2 * self.reach - shift)) for shift in range(shifts)]
        matrices = torch.stack(bands)  # (shifts, P, P + 2 reach), one of each shift
        self.register_buffer("bands", matrices, persistent=False)
        self.bands: Tensor

    def forward(self, content: Tensor, features: Tensor, before: Tensor) -> Tensor:
        """Output units (T, B, rows, columns, D) before their nonlinearity.

        content:  what the decoder would put out alone, of the same shape.
        features: (T, B, rows, columns, features), what it knows at each step.
        before:   the frame before every step (T, B, rows, columns, D), or before the first alone (1, ...), where each
                  step moves the frame that the step before has made.
        """
        P = self.patch_size
        masks = self.masks(features).float().unflatten(-1, (1 + MOVES, 1, P, P)).softmax(dim=-4)
        moves = self._matrices(features)
        own = (content.float().sigmoid() if self.logistic else content.float()).unflatten(-1, (-1, P, P))
        if len(before) == len(content):
            frames = self._mixed(own.flatten(0, 1), masks.flatten(0, 1), moves.flatten(0, 1), before.flatten(0, 1))
            frames = frames.unflatten(0, content.shape[:2])
        else:
            steps = [before[0]]
            for parts in zip(own, masks, moves, strict=True):
                steps.append(self._mixed(*parts, steps[-1]))
            frames = torch.stack(steps[1:])
        return frames.log() - (-frames).log1p() if self.logistic else frames

    def _matrices(self, features: Tensor) -> Tensor:
        """Each move as matrices (T, B, rows, columns, 2, moves, P, P + 2 * reach), of the patch's rows and columns.

        They take a patch and what lies around it to what the patch will be.
        """
        shares = self.shifts(features).float().unflatten(-1, (2, MOVES, -1)).softmax(dim=-1)
        return (shares @ self.bands.flatten(1)).unflatten(-1, self.bands.shape[1:])

    def _mixed(self, own: Tensor, masks: Tensor, moves: Tensor, before: Tensor) -> Tensor:
        """The next frame (B, rows, columns, D) of the one before.

        own (B, rows, columns, C, P, P), masks (B, rows, columns, 1 + moves, 1, P, P), moves as in `_matrices`.
        """
        P = self.patch_size
        around_it = around(before.unflatten(-1, (-1, P, P)), self.reach)  # (B, rows, columns, C, Q, Q)
        of_rows, of_columns = moves.unbind(dim=-4)  # (B, rows, columns, moves, P, Q)
        moved = of_rows.flatten(-3, -2) @ around_it.transpose(-3, -2).flatten(
            -2
        )  # (B, rows, columns, moves * P, C * Q)
        moved = moved.unflatten(-1, (-1, around_it.shape[-1])).unflatten(-3, (MOVES, -1))  # (..., moves, P, C, Q)
        moved = moved.flatten(-3, -2) @ of_columns.mT  # (..., moves, P * C, P)
        moved = moved.unflatten(-2, (self.patch_size, -1)).transpose(-3, -2)  # (..., moves, C, P, P)
        frames = (masks[..., 0, :, :, :] * own + (masks[..., 1:, :, :, :] * moved).sum(dim=-4)).flatten(-3)
        if not self.logistic:
            return frames
        return frames + (frames.clamp(LEAST, 1 - LEAST) - frames).detach()  # gradients pass, or black would stay black
