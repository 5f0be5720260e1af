"""Names what stopped being finite first, once something has: a weight, the input, a state, a loss or a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .recurrent import LSTM, LSTMLayer, State


def first_cause(
    model: nn.Module, parts: Iterable[Iterable[Tensor]], losses: dict[str, float], repeat: Callable[[], None]
) -> tuple[int, str]:
    """How early in a step it is, and the cause in words: of several processes the earliest one is right.

    parts:  what the model reads and is to tell.
    losses: the step's.
    repeat: runs the model forward over the parts once more.
    """
    for name, weight in model.named_parameters():
        if not _finite(weight):
            return 0, f"the weight {name} is not finite"
    if not all(_finite(tensor) for part in parts for tensor in part):
        return 1, "the input is not finite"
    state = _first_output(model, repeat)
    if state is not None:
        return 2, f"{state} is not finite"
    for name, loss in losses.items():
        if not math.isfinite(loss):
            return 3, f"the {name} loss is {loss}"
    for name, weight in model.named_parameters():
        if weight.grad is not None and not _finite(weight.grad):
            return 4, f"the gradient of {name} is not finite"
    return 5, "the gradient norm is not finite"


def _first_output(model: nn.Module, repeat: Callable[[], None]) -> str | None:
    """Which module's output, parts before wholes, is the first that is not finite."""
    found: list[str] = []

    def look_at(name: str) -> Callable[..., None]:
        def look(module: nn.Module, inputs: Any, outputs: Any) -> None:
            if not _finite(outputs):
                kind = "state" if isinstance(module, (LSTM, LSTMLayer)) else "output"
                found.append(f"the {kind} of {name or 'the model'}")

        return look

    hooks = [module.register_forward_hook(look_at(name)) for name, module in model.named_modules()]
    try:
        with torch.no_grad():
            repeat()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _finite(value: Tensor | State | list[Any] | tuple[Any, ...] | dict[str, Any] | None) -> bool:
    """Whether all numbers in it are, of tensors inside lists and dictionaries too."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return all(_finite(item) for item in value)
    return value is None or bool(value.isfinite().all())
