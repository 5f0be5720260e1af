"""How much of its rate does training keep on a machine that it shares? A part of benchmarks/training.py.

Beside a process that is always busy, and under a quota of one core's time, as a container may have it, both on two
cores: each against the same without it, in turn. Linux only.

As a script this file is the process that trains: it says how many threads it has, reads how many seconds to train for,
a line each time, and answers with the seconds of a step.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # a process that trains is where it belongs before it loads the package, which settles its threads
    from video_ae.config import ModelConfig

_PERIOD = 100_000  # microseconds, in which a quota is counted
_BUSY = """import os, sys
os.sched_setaffinity(0, map(int, sys.argv[1:]))
parent = os.getppid()
while os.getppid() == parent:  # or it would outlive a benchmark that is killed
    pass
"""
_COUNTS = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT")  # the package is to find out itself


class Trainer(NamedTuple):
    """A process that trains, and sleeps between its turns."""

    threads: int
    step: Callable[[float], float]  # trains for so many seconds at least, and returns those of a step


class Shared(NamedTuple):
    """Seconds of a step, one per round, and the threads that computed under the load."""

    alone: list[float]
    loaded: list[float]
    threads: int

    @property
    def kept(self) -> float:
        """The share of the rate that is left, the median of the rounds."""
        return statistics.median(a / b for a, b in zip(self.alone, self.loaded, strict=True))


def two_cores() -> list[int]:
    """Those that everything here is kept to. Raises OSError where that cannot be done."""
    if not hasattr(os, "sched_setaffinity"):
        raise OSError("processes cannot be kept to two cores on this system")
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise OSError("two cores are needed, this process may use one")
    return cores


def beside_busy(config: ModelConfig, batch: int, *, rounds: int, least: float) -> Shared:
    """All threads, idle machine against one busy process. Each turn takes `least` seconds."""
    with _trainer(config, batch) as idle, _trainer(config, batch) as loaded:
        shared = Shared([], [], loaded.threads)
        for _ in range(rounds):
            shared.alone.append(idle.step(least))
            with subprocess.Popen([sys.executable, "-c", _BUSY, *map(str, two_cores())]) as busy:
                try:
                    shared.loaded.append(loaded.step(least))
                finally:
                    busy.kill()
    return shared


def under_quota(config: ModelConfig, batch: int, *, rounds: int, least: float) -> Shared:
    """One thread without a quota against one core's time in a control group. Raises OSError where none can be made."""
    with (
        quota_of_one_core() as group,
        _trainer(config, batch, OMP_NUM_THREADS="1") as free,
        _trainer(config, batch, group) as bound,
    ):
        shared = Shared([], [], bound.threads)
        for _ in range(rounds):
            shared.alone.append(free.step(least))
            shared.loaded.append(bound.step(least))
    return shared


@contextmanager
def quota_of_one_core(root: Path = Path("/sys/fs/cgroup")) -> Iterator[Path]:
    """A new control group of either version, at the top, where root may make one; it is removed afterwards."""
    first_version = root / "cpu"
    group = (first_version if first_version.is_dir() else root) / f"video-ae-benchmark-{os.getpid()}"
    group.mkdir()
    try:
        if first_version.is_dir():
            (group / "cpu.cfs_period_us").write_text(f"{_PERIOD}")
            (group / "cpu.cfs_quota_us").write_text(f"{_PERIOD}")
        else:
            (group / "cpu.max").write_text(f"{_PERIOD} {_PERIOD}")
        yield group
    finally:
        group.rmdir()


@contextmanager
def _trainer(config: ModelConfig, batch: int, group: Path | None = None, **environment: str) -> Iterator[Trainer]:
    """One that runs in a control group, as in a container."""
    given = {"model": asdict(config), "batch": batch, "cores": two_cores(), "group": group and str(group)}
    own = {name: value for name, value in os.environ.items() if name not in _COUNTS}
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=own | environment,
    )

    def answer() -> str:
        line = process.stdout.readline()
        if not line:
            raise ChildProcessError("a process that trains has ended: its error is above")
        return line

    def step(least: float) -> float:
        process.stdin.write(f"{least}\n")
        process.stdin.flush()
        return float(answer())

    with process:
        yield Trainer(int(answer()), step)  # it ends with its input


def _train(model: dict[str, Any], batch: int, cores: list[int], group: str | None) -> None:
    os.sched_setaffinity(0, cores)
    if group is not None:
        (Path(group) / "cgroup.procs").write_text(f"{os.getpid()}")
    from contenders import MAKERS

    from video_ae.config import ModelConfig, from_json

    train = MAKERS["video-ae"](from_json(ModelConfig, model, "sharing.py"), batch)["training"]
    for _ in range(2):  # what is allocated at the first calls is not timed
        train()
    import torch

    print(torch.get_num_threads(), flush=True)
    for line in sys.stdin:
        steps, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < float(line) or not steps:
            train()
            steps += 1
        print(passed / steps, flush=True)


if __name__ == "__main__":
    _train(**json.loads(sys.argv[1]))
