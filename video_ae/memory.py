"""This process: how much memory it took, what happens to freed memory, and to numbers too small to matter."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of glibc's mallopt


def keep_freed_memory() -> None:
    """Keep the memory of freed tensors for the next ones, as long as this process lives. Linux with glibc only.

    Otherwise every large tensor is given back to the system, and the next one of its size comes as thousands of pages
    that the system has to clear and hand out one by one: 5 to 7 % of a training step on a CPU (docs/history.md).
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):  # musl has none
            library.mallopt(_MMAP_MAX, 0)
            library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Within it, and in threads that start within it, numbers below 1e-38 count as zero: processors are slow with them.

    Gradients that vanish over long sequences are such numbers; steps took three times as long (docs/history.md).
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has had so far: tensors on a GPU, or else all its memory.

    Processes that read data beside it (`--workers`) are not counted.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resident_peak()


def resident_peak() -> int:
    """The most bytes of memory that this process has had so far; 0 on Windows, where nobody is asked."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where `getrusage` counts what the process had that this one was started from
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
