"""What a call changes for its own time only: how a model behaves, random numbers, deterministic algorithms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Within it, all of `model` is in training or in evaluation mode; then every part is in its own again."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was_training in before:
            module.training = was_training


@contextmanager
def same_gradients(model: nn.Module) -> Iterator[None]:
    """After it, the parameters of `model` have no gradients, and need ones as before."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)
            parameter.grad = None


@contextmanager
def random_numbers_of(seed: int, device: torch.device) -> Iterator[None]:
    """Within it, random numbers on the CPU and on `device` are a function of the seed; then they go on as before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        of_mps = torch.mps.get_rng_state() if device.type == "mps" else None
        torch.default_generator.manual_seed(seed)  # not `torch.manual_seed`: it would be all GPUs
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif of_mps is not None:
            torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            if of_mps is not None:
                torch.mps.set_rng_state(of_mps)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within it, operations that do not repeat exactly are refused or not, as is wanted."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    missing = wanted and _CUBLAS not in os.environ
    if missing:
        os.environ[_CUBLAS] = ":4096:8"  # without which cuBLAS refuses to be deterministic
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        if missing:
            del os.environ[_CUBLAS]
