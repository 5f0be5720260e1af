"""What training minimises. Every loss is a sum over a frame and a mean over frames and sequences."""

import torch
from torch import Tensor
from torch.nn import functional

from .config import LINEAR, LOGISTIC
from .metrics import nats


def bernoulli_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats per frame of logistic units, the grey target (0 to 1) taken as a probability.

    Both (B, T, ...); a scalar comes back. -t log p - (1 - t) log(1 - p) summed over a frame (paper, section 4.1).
    """
    return nats(logits.float(), targets).mean()


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error per frame of linear units: summed over a frame, mean over (B, T). A scalar comes back."""
    total = functional.mse_loss(outputs.float(), targets, reduction="sum")
    return total / (outputs.shape[0] * outputs.shape[1])


LOSSES = {LOGISTIC: bernoulli_nats, LINEAR: squared_error}


def total_loss(terms: dict[str, Tensor]) -> Tensor:
    """The composite model's loss: its decoders' losses added (paper, section 2.3)."""
    return torch.stack(list(terms.values())).sum()
