import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with MNIST/raw and other real data, or a skip where this machine has none."""
    folder = os.environ.get("VIDEO_AE_DATA")
    if not folder:
        pytest.skip("VIDEO_AE_DATA is not set: no real data on this machine")
    return Path(folder)


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


def padded(sequences: list[torch.Tensor], steps: int) -> torch.Tensor:
    """(B, steps, ...), NaN after each end."""
    batch = torch.full((len(sequences), steps, *sequences[0].shape[1:]), torch.nan)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence)] = sequence
    return batch
