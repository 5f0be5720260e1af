"""Backward passes written by hand have no derivative: who asks for one is told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor | None, ...]


def first_order(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """A backward pass that says so where its gradients, made with `create_graph=True`, are differentiated.

    `torch.autograd.function.once_differentiable` takes them for constants where the gradient that comes in is one. So
    does `torch.autograd.grad`, which only looks at what leads to its inputs, unless gradients depend on these.
    """

    @functools.wraps(backward)
    def run(ctx: Any, *gradients: Tensor) -> Gradients:
        with torch.no_grad():
            found = backward(ctx, *gradients)
        if not torch.is_grad_enabled():
            return found
        of = [one for one in (*gradients, *ctx.saved_tensors) if one is not None and one.requires_grad]
        return tuple(None if gradient is None else _Last.apply(gradient.requires_grad_(), *of) for gradient in found)

    return run


class _Last(torch.autograd.Function):
    """A gradient that cannot be differentiated by what it is of."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *of: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError(
            "a second derivative: the backward passes of the LSTM and of its losses are written by hand and have none;"
            " use first derivatives alone (without create_graph=True), or torch.nn.LSTM"
        )
