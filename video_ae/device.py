"""Which device computes."""

import torch


def choose_device(name: str) -> torch.device:
    """`auto` takes the GPU where there is one. Raises ValueError for a device that this machine lacks."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used on this machine; try --device cpu or auto") from error
    return torch.device(name)
