"""Whether the matrix products of training run in bf16 or float32: what is faster on this machine, measured."""

from __future__ import annotations

import math
import time
from functools import cache

import torch

from .config import ModelConfig
from .recurrent import LSTMLayer, State
from .restored import random_numbers_of

_STEPS = 2  # of the layer that is timed
_ROUNDS = 3  # the fastest counts: other work on the machine only ever takes time
_WORTH = 1.2  # times as fast must bf16 be: it has three digits, and near a tie the choice would be by chance


@cache
def uses_bf16(amp: str, config: ModelConfig, clips: int, device: torch.device) -> bool:
    """Whether a model's products run in bf16 for `amp` `on`, `off` or `auto`, in batches of `clips` on `device`.

    `auto` on a CPU: whether forward and backward pass of the top recurrent layer are clearly faster, timed once in a
    process. Processors differ: bf16 is twice as fast on some, and slower than float32 on others that have the
    instructions (docs/results.md). On a GPU: whether it has units for it (compute capability 8.0, Ampere, or newer).
    """
    if amp != "auto":
        return amp == "on"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    in_float32, in_bf16 = _seconds(config, clips)
    return in_float32 > _WORTH * in_bf16


def _seconds(config: ModelConfig, clips: int) -> tuple[float, float]:
    """A layer's least seconds for a batch of clips in float32, and in bf16."""
    size = config.hidden_sizes[-1]
    batch = (clips, *config.grid) if config.convolutional else (clips * math.prod(config.grid),)
    with random_numbers_of(0, torch.device("cpu")):
        layer = LSTMLayer(size, size, peephole=config.peephole, kernel_size=config.kernel_size)
        inputs = torch.randn(_STEPS, *batch, size, requires_grad=True)
    zeros = torch.zeros(*batch, size)
    least = [float("inf")] * 2
    with torch.enable_grad():
        for _ in range(_ROUNDS):
            for number, bf16 in enumerate((False, True)):
                started = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    hidden, _ = layer(inputs, State(zeros, zeros), _STEPS)
                hidden.float().sum().backward()
                least[number] = min(least[number], time.perf_counter() - started)
    return least[0], least[1]
