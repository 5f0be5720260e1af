"""From a data set to batches. A batch depends on (seed, step) alone, so a resumed run needs no loader state."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from .clips import Clips

_PATIENCE = 300  # seconds that a batch may take


def training_indices(dataset: Clips, batch_size: int, *, seed: int, first_step: int = 0) -> Iterator[list[int]]:
    """The clips of every training batch from `first_step` on, without end.

    An endless data set is read straight on, never repeating a clip; a finite one in a new random order every epoch, and
    of an augmented one the items that follow: every epoch has other crops of the same clips.
    """

    @lru_cache(maxsize=2)  # a batch may end one epoch and begin the next
    def order(epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng((seed, epoch)).permutation(len(dataset))

    for step in count(first_step):
        positions = range(step * batch_size, (step + 1) * batch_size)
        if dataset.endless:
            yield list(positions)
            continue
        clips = len(dataset)
        epochs = (divmod(position, clips) for position in positions)
        yield [int(order(epoch)[place]) + epoch * clips * dataset.augmented for epoch, place in epochs]


def consecutive_indices(clips: int, batch_size: int) -> Iterator[list[int]]:
    """Every clip once, in order; the last batch may be smaller."""
    for first in range(0, clips, batch_size):
        yield list(range(first, min(first + batch_size, clips)))


def load_batches(dataset: Clips, indices: Iterable[list[int]], *, workers: int = 0) -> Iterator[Tensor]:
    """Batches (B, T, C, H, W) uint8 of the given clips, read in `workers` processes beside this one.

    Raises RuntimeError where one of these is killed or is silent for `_PATIENCE` seconds.
    """
    loader: DataLoader[Tensor] = DataLoader(
        dataset,
        batch_sampler=_Sampler(indices),
        collate_fn=_as_it_is,
        num_workers=workers,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),  # its own: the global one moves for nobody
    )
    return _ending_workers(iter(loader)) if workers else iter(loader)


def _ending_workers(batches: Any) -> Iterator[Tensor]:
    """The same batches. torch asks workers to end, which one that hangs does not hear; and where that one has announced
    a batch and not handed it over, torch waits for ever, whatever its `timeout` is."""
    silent = threading.Event()

    def give_up() -> None:
        silent.set()
        kill()

    def kill() -> None:
        for process in batches._workers:
            process.kill()

    try:
        while True:
            watch = threading.Timer(_PATIENCE, give_up)
            watch.start()
            try:
                batch = next(batches, None)
            finally:
                watch.cancel()
            if batch is None:
                return
            yield batch
    except (RuntimeError, ConnectionError, EOFError) as error:
        with suppress(RuntimeError):  # what torch raises wherever this process is when it hears that one was killed
            batches._shutdown_workers()
        kill()
        if isinstance(error, RuntimeError) and not silent.is_set():
            raise
        raise RuntimeError(f"DataLoader {'timed out' if silent.is_set() else 'worker is gone'}") from error


class _Sampler(Sampler[list[int]]):
    def __init__(self, indices: Iterable[list[int]]) -> None:
        self.indices = indices

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.indices)


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C goes to a whole process group, or console: the workers must outlive it until the step is saved."""
    if hasattr(os, "setsid"):
        os.setsid()
    else:  # Windows
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch  # the data sets deliver whole batches already
