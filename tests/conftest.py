import os
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch: there is a process of tests on every core already

import cv2
import numpy as np
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


def _is_here(host: object) -> bool:
    try:
        return host in ("", "localhost", socket.gethostname()) or ip_address(str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Only this machine can be connected to, by name or address: torchrun's processes and browser drivers are here.

    What other processes do is not seen, nor is what is not written in Python.
    """

    def refusing(method, host_of):
        def call(*arguments, **options):
            host = host_of(arguments)
            if not _is_here(host):
                raise OSError(f"the tests may not connect to {host}; use a loopback address or real files")
            return method(*arguments, **options)

        return call

    def of_connect(arguments):  # (socket, address); local sockets have paths as addresses
        return "" if arguments[0].family not in (socket.AF_INET, socket.AF_INET6) else arguments[1][0]

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refusing(getattr(socket.socket, name), of_connect))
    asked = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", refusing(asked, lambda arguments: arguments[0] or ""))


def padded(sequences: list[torch.Tensor], steps: int) -> torch.Tensor:
    """(B, steps, ...), NaN after each end."""
    batch = torch.full((len(sequences), steps, *sequences[0].shape[1:]), torch.nan)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence)] = sequence
    return batch


def write_videos(root: Path, people: str = "abcdefgh") -> Path:
    """Two classes of 16x12 pixels, 9 frames: `left` and `right` brighten from one side."""
    for label in ("left", "right"):
        (root / label).mkdir(parents=True)
        for number, person in enumerate(people):
            path = root / label / f"{person}_{label}.avi"
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (16, 12))
            for t in range(9):
                frame = np.full((12, 16, 3), 10 * number, np.uint8)
                frame[:, : t + 3] = 255
                writer.write(np.ascontiguousarray(frame if label == "left" else frame[:, ::-1]))
            writer.release()
    return root
