"""What every task starts from: a run that was opened, its data, and the folder that the results go into.

Imports nothing heavy at the top, because the `--help` of evaluate.py names the defaults.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch

    from .. import transfer
    from ..distributed import Ranks
    from ..models import LSTMAutoencoder
    from ..run_folder import RunFolder
    from .labelled import LabelledVideos

GENERATED_CLIPS = 1000  # for testing, of a data set that has no end
FEW_CLIPS = 200  # of tasks that compute several times as much for each
SEEDS = 5  # repetitions of every training
DRAWN_CLIPS = 8


class Clips(Protocol):
    """Clips such as `datasets.moving_mnist.MovingMNIST`; `__getitems__` gives frames (B, T, C, H, W)."""

    @property
    def endless(self) -> bool: ...
    def __len__(self) -> int: ...
    def name(self, index: int) -> str: ...
    def __getitems__(self, indices: Sequence[int]) -> torch.Tensor: ...


class Data(Protocol):
    """Where clips come from, such as `datasets.config.DataConfig`, which says what is raised."""

    @property
    def dataset(self) -> str: ...
    @property
    def data_dir(self) -> str | None: ...
    @property
    def generated(self) -> bool: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def whole(self) -> bool: ...
    def changed_by(self, given: dict[str, Any]) -> Data: ...
    def longest(self, shortest: int) -> int: ...
    def facts(self) -> dict[str, Any]: ...
    def open(self, split: str, frames: int, *, seed: int = 0, shortest: int | None = None) -> Clips: ...
    def open_labelled(self, split: str, frames: int, *, task: str, clips: int, seed: int = 0) -> LabelledVideos: ...


class Opened(NamedTuple):
    """A run to evaluate, what to evaluate it on and where the results go.

    ranks:   the processes that share the work; all tasks but predict run in one.
    changes: what the flags change about the standard evaluation, as the name of a folder in RUN/evaluation; may be "".
    folder:  that folder, or another that was asked for.
    """

    run: RunFolder
    model: LSTMAutoencoder
    ranks: Ranks
    trained_on: Data
    data: Data
    changes: str
    folder: Path

    @property
    def device(self) -> torch.device:
        return self.ranks.device

    @property
    def split(self) -> str:
        """Which part of the data to evaluate on: never a clip that the model was trained on."""
        data, trained_on = self.data, self.trained_on
        elsewhere = (data.dataset, data.data_dir) != (trained_on.dataset, trained_on.data_dir)
        if data.dataset == "moving-mnist-file" or (elsewhere and data.dataset in ("array", "sequences")):
            return "all"
        return "test"

    def facts(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """What every result says about where it comes from."""
        from ..checkpoint import sequences_seen

        return {"sequences_seen": sequences_seen(self.run.path), "seed": arguments.seed} | self.data.facts()

    def test_clips(self, arguments: argparse.Namespace, frames: int, shortest: int | None = None) -> tuple[Clips, int]:
        """The clips to evaluate on and how many of them; shorter ones, of at least `shortest` frames, end in NaN.

        Raises ValueError where there are fewer than `--clips`.
        """
        return self.clips(self.split, arguments, frames, shortest)

    def clips(self, split: str, arguments: argparse.Namespace, frames: int, shortest: int | None) -> tuple[Clips, int]:
        """As `test_clips`, of another split."""
        clips = self.data.open(split, frames, seed=arguments.seed, shortest=shortest)
        count = arguments.clips or (GENERATED_CLIPS if clips.endless else len(clips))
        if not clips.endless and count > len(clips):
            raise ValueError(f"--clips {count}: found {len(clips)} {split} clips; ask for at most as many")
        return clips, count


def batches(clips: transfer.Clips, indices: Sequence[int], batch_size: int, what: str) -> Iterator[torch.Tensor]:
    """The clips `indices` in order, (B, T, C, H, W) at a time, with a progress bar that says `what` they are for.

    No bar for "".
    """
    from tqdm import tqdm

    for first in tqdm(range(0, len(indices), batch_size), desc=what, leave=False, disable=None if what else True):
        yield clips.__getitems__(indices[first : first + batch_size])
