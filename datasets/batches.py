"""From a data set to batches. A batch depends on (seed, step) alone, so a resumed run needs no loader state."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from .arrays import FrameArray
from .moving_mnist import MovingMNIST


def training_indices(
    dataset: MovingMNIST | FrameArray, batch_size: int, *, seed: int, first_step: int = 0
) -> Iterator[list[int]]:
    """The clips of every training batch from `first_step` on, without end.

    An endless data set is read straight on, never repeating a clip; a finite one in a new random order every epoch.
    """
    for step in count(first_step):
        positions = range(step * batch_size, (step + 1) * batch_size)
        if dataset.endless:
            yield list(positions)
            continue
        clips = len(dataset)
        order = {
            epoch: np.random.default_rng((seed, epoch)).permutation(clips) for epoch in {p // clips for p in positions}
        }
        yield [int(order[position // clips][position % clips]) for position in positions]


def consecutive_indices(clips: int, batch_size: int) -> Iterator[list[int]]:
    """Every clip once, in order; the last batch may be smaller."""
    for first in range(0, clips, batch_size):
        yield list(range(first, min(first + batch_size, clips)))


def load_batches(
    dataset: MovingMNIST | FrameArray, indices: Iterable[list[int]], *, workers: int = 0
) -> Iterator[Tensor]:
    """Batches (B, T, C, H, W) uint8 of the given clips, read in `workers` processes beside this one."""
    sampler = _Sampler(indices)
    loader: DataLoader[Tensor] = DataLoader(dataset, batch_sampler=sampler, collate_fn=_as_it_is, num_workers=workers)
    return iter(loader)


class _Sampler(Sampler[list[int]]):
    def __init__(self, indices: Iterable[list[int]]) -> None:
        self.indices = indices

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.indices)


def _as_it_is(batch: Any) -> Any:
    return batch  # the data sets deliver whole batches already
