"""What training minimises. Every loss is a sum over a frame and a mean over the frames of all sequences."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor

from .config import LINEAR, LOGISTIC
from .first_order import first_order
from .lengths import inside

_IN_CACHE = 2**17  # values of each of the few tensors that a loss needs at a time: half a megabyte


def bernoulli_nats(logits: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Cross-entropy in nats per frame of logistic units, the grey target (0 to 1) taken as a probability.

    Both (B, T, ...); a scalar comes back. -t log p - (1 - t) log(1 - p) summed over a frame (paper, section 4.1). With
    `lengths` (B,), what comes after a sequence's end does not count.
    """
    return _MeanOverFrames.apply(_nats, logits, targets, lengths)


def squared_error(outputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Squared error per frame of linear units: summed over a frame, mean over (B, T). A scalar comes back.

    With `lengths` (B,), what comes after a sequence's end does not count.
    """
    return _MeanOverFrames.apply(_squares, outputs, targets, lengths)


def _nats(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of all cross-entropies, and its derivative by the logits: p - t."""
    p = logits.sigmoid()
    # log(1 + exp(x)) = max(x, 0) - log(max(p, 1 - p)), exact for large x of either sign
    smooth = torch.maximum(p, 1 - p).log_().sum()
    return logits.relu().sum() - smooth - torch.dot(logits.flatten(), targets.flatten()), p.sub_(targets)


def _squares(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of all squares, and its derivative by the outputs."""
    difference = outputs - targets
    return torch.dot(difference.flatten(), difference.flatten()), difference.mul_(2)


class _MeanOverFrames(torch.autograd.Function):
    """A loss together with its gradient, a few frames at a time: all passes but the first are in the cache."""

    @staticmethod
    def forward(
        ctx: Any,
        summed: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        outputs: Tensor,
        targets: Tensor,
        lengths: Tensor | None,
    ) -> Tensor:
        B, T = outputs.shape[:2]
        frames = B * T if lengths is None else lengths.sum()
        present = None if lengths is None else inside(lengths, T)  # (B, T)
        gradient = torch.empty_like(outputs) if present is None else torch.zeros_like(outputs)
        total = targets.new_zeros(())
        at_a_time = _IN_CACHE if outputs.device.type == "cpu" else outputs.numel()  # on a GPU, launches cost more
        clips = max(1, at_a_time // outputs[0, 0].numel())
        steps = max(1, clips // B)
        for t, b in product(range(0, T, steps), range(0, B, clips)):
            here = slice(b, b + clips), slice(t, t + steps)
            some = ... if present is None else present[here]
            value, derivative = summed(outputs[here][some].to(targets.dtype), targets[here][some])
            total += value
            gradient[here][some] = derivative.div_(frames).to(gradient.dtype)
        ctx.gradient = gradient
        return total / frames

    @staticmethod
    @first_order
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        gradient, ctx.gradient = ctx.gradient, None  # scaled in place: it can be had once
        if gradient is None:
            raise RuntimeError(
                "a second backward pass through one loss, whose gradient is kept for one: compute it again"
            )
        return None, gradient.mul_(grad_output), None, None


Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # of outputs, targets (B, T, ...) and lengths (B,)
LOSSES: dict[str, Loss] = {LOGISTIC: bernoulli_nats, LINEAR: squared_error}


def total_loss(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The losses of the decoders, and of a variational code, added with their weights (paper, section 2.3: all 1)."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
