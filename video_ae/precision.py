"""Whether the matrix products of training run in bf16 or float32: what is faster on this machine, measured."""

from __future__ import annotations

import time
from functools import cache

import torch

from .config import ModelConfig
from .models import Encoder
from .restored import random_numbers_of

_FRAMES = 10  # at most, of a clip: enough for what is done once in a sequence not to count
_ROUNDS = 3  # the fastest counts: other work on the machine only ever takes time
_PATIENCE = 0.5  # seconds, after which no other round is begun
_LEAST = 0.005  # seconds of a pass: the noise of shorter ones would decide, and nobody waits for them
_WORTH = 1.2  # times as fast must bf16 be: it has three digits, and near a tie the choice would be by chance


@cache
def uses_bf16(amp: str, config: ModelConfig, clips: int, device: torch.device) -> bool:
    """Whether a model's products run in bf16 for `amp` `on`, `off` or `auto`, in batches of `clips` on `device`.

    `auto` on a CPU: whether forward and backward pass of the encoder are clearly faster, timed once in a process.
    Processors differ: bf16 is twice as fast on some, and slower than float32 on others that have the
    instructions (docs/results.md). On a GPU: whether it has units for it (compute capability 8.0, Ampere, or newer).
    """
    if amp != "auto":
        return amp == "on"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    in_float32, in_bf16 = _seconds(config, clips)
    return in_float32 > max(_LEAST, _WORTH * in_bf16)


def _seconds(config: ModelConfig, clips: int) -> tuple[float, float]:
    """The least seconds of an encoder's forward and backward pass over a batch of clips in float32, and in bf16."""
    with random_numbers_of(0, torch.device("cpu")):
        encoder = Encoder(config)
        vectors = torch.rand(clips, min(config.input_frames, _FRAMES), *config.grid, config.vector_size)
    rounds: list[tuple[float, float]] = []
    begun = time.perf_counter()
    while not rounds or (len(rounds) < _ROUNDS and time.perf_counter() - begun < _PATIENCE):
        rounds.append((_pass(encoder, vectors, bf16=False), _pass(encoder, vectors, bf16=True)))
    in_float32, in_bf16 = map(min, zip(*rounds, strict=True))
    return in_float32, in_bf16


def _pass(encoder: Encoder, vectors: torch.Tensor, *, bf16: bool) -> float:
    """Seconds of one."""
    started = time.perf_counter()
    with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden, _ = encoder(vectors)
        hidden.float().sum().backward()
    return time.perf_counter() - started
