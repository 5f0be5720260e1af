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
    et al. (2016). Shifting is what a recurrence of few units per patch does worst; docs/history.md has the comparison.
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
        if len(before) == len(content):
            frames = self._moved(content.flatten(0, 1), features.flatten(0, 1), before.flatten(0, 1))
            frames = frames.unflatten(0, content.shape[:2])
        else:
            steps = [before[0]]
            for own, known in zip(content, features, strict=True):  # all of a step at once, while it is in the cache
                steps.append(self._moved(own, known, steps[-1]))
            frames = torch.stack(steps[1:])
        return frames.logit() if self.logistic else frames

    def _moved(self, content: Tensor, features: Tensor, before: Tensor) -> Tensor:
        """The next frame of the one before, both (B, rows, columns, D), of `content` and `features` at one step."""
        P, size = self.patch_size, self.bands.shape[-1]
        own = (content.float().sigmoid() if self.logistic else content.float()).unflatten(-1, (-1, P, P))
        masks = self.masks(features).float().unflatten(-1, (1 + MOVES, 1, P, P)).softmax(dim=-4)
        shares = self.shifts(features).float().unflatten(-1, (2, MOVES, -1)).softmax(dim=-1)
        # Each move as matrices (..., moves, P, Q), of a patch's rows and columns: from what is around it to itself.
        of_rows, of_columns = ((of @ self.bands.flatten(1)).unflatten(-1, (P, size)) for of in shares.unbind(dim=-3))
        around_it = around(before.unflatten(-1, (-1, P, P)), self.reach)  # (B, rows, columns, C, Q, Q)
        moved = of_rows.flatten(-3, -2) @ around_it.transpose(-3, -2).flatten(-2)  # (..., moves * P, C * Q)
        moved = moved.unflatten(-1, (-1, size)).unflatten(-3, (MOVES, -1))  # (..., moves, P, C, Q)
        moved = moved.flatten(-3, -2) @ of_columns.mT  # (..., moves, P * C, P)
        moved = moved.unflatten(-2, (P, -1)).transpose(-3, -2)  # (..., moves, C, P, P)
        of_own, of_moves = masks.split((1, MOVES), dim=-4)
        frames = (of_own.squeeze(-4) * own + (of_moves * moved).sum(dim=-4)).flatten(-3)
        if not self.logistic:
            return frames
        return frames + (frames.clamp(LEAST, 1 - LEAST) - frames).detach()  # gradients pass, or black would stay black
