"""What training minimises. Every loss is a sum over a frame and a mean over the frames of all sequences."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from .config import LINEAR, LOGISTIC
from .lengths import mean_over_steps
from .metrics import nats


def bernoulli_nats(logits: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Cross-entropy in nats per frame of logistic units, the grey target (0 to 1) taken as a probability.

    Both (B, T, ...); a scalar comes back. -t log p - (1 - t) log(1 - p) summed over a frame (paper, section 4.1). With
    `lengths` (B,), what comes after a sequence's end does not count.
    """
    return mean_over_steps(nats(logits.float(), targets), lengths)


def squared_error(outputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Squared error per frame of linear units: summed over a frame, mean over (B, T). A scalar comes back.

    With `lengths` (B,), both must be zero after a sequence's end, as models and `split_clips` leave them.
    """
    total = functional.mse_loss(outputs.float(), targets, reduction="sum")
    return total / (outputs.shape[0] * outputs.shape[1] if lengths is None else lengths.sum())


LOSSES = {LOGISTIC: bernoulli_nats, LINEAR: squared_error}


def total_loss(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The losses of the decoders, and of a variational code, added with their weights (paper, section 2.3: all 1)."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
