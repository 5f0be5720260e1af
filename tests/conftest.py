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
