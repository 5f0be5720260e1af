"""How many threads compute on a CPU, and how they wait for each other: settled before torch is loaded.

torch's OpenMP reads both from the environment when it is loaded. What the user has set there stays.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path

_SPINS = "1000"  # looks at a barrier before a thread sleeps: on an idle machine as fast as the millions by default
_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
_COUNTS = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT")


def settle_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads that wait sleep soon, and start no more of them than the process has time for.

    A thread that spins takes its core from whatever else runs there, which may be the one that it waits for: beside one
    busy process a training step takes many times as long (docs/results.md). A container with a quota of processor time
    has as many cores as its host, and threads beyond the quota stop all of them in turn. Changes nothing once torch is
    loaded, nor what is set in the environment already.
    """
    if "torch" in sys.modules:
        return
    if not any(name in environment for name in _WAITING):
        environment["GOMP_SPINCOUNT"] = _SPINS
    quota = cpu_quota()
    if quota is not None and not any(name in environment for name in _COUNTS):
        threads = max(1, math.ceil(quota))
        if threads < len(os.sched_getaffinity(0)):  # where there are quotas, there is this as well
            environment["OMP_NUM_THREADS"] = str(threads)


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """The cores' worth of time that control groups of Linux leave this process; None where they leave it all."""
    quotas = [share for folder in _groups(root, own) if (share := _share(folder)) is not None]
    return min(quotas, default=None)


def _groups(root: Path, own: Path) -> Iterator[Path]:
    """The folders of the control groups that this process is in, of both versions, and of the groups above these."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        group = top / path.lstrip("/")
        while group.is_relative_to(top):
            yield group
            group = group.parent


def _share(group: Path) -> float | None:
    """The quota of one control group in cores, None where it has none."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
            return float(quota) / float(period) if float(quota) > 0 else None
        except (OSError, ValueError):  # not there, or `max`
            continue
    return None
