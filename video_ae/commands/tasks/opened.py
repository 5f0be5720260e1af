"""What every task starts from: a run that was opened, its data, and the folder that the results go into.

Imports nothing heavy at the top, because the `--help` of evaluate.py names the defaults.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ...datasets.clips import Clips
    from ...datasets.config import DataConfig
    from ...datasets.division import Division
    from ...distributed import Ranks
    from ...models import LSTMAutoencoder
    from ...run_folder import RunFolder
    from ...shared_work import Results

GENERATED_CLIPS = 1000  # for testing, of a data set that has no end
FEW_CLIPS = 200  # of tasks that compute several times as much for each
SEEDS = 5  # repetitions of every training
DRAWN_CLIPS = 8


class Opened(NamedTuple):
    """A run to evaluate, what to evaluate it on and where the results go.

    ranks:    the processes that share the work, of the tasks that can be shared.
    division: which of the data that the run was trained on are in which of its parts; None of generated clips.
    changes:  what the flags change about the standard evaluation, as the name of a folder in RUN/evaluation, or "".
    folder:   that folder, or another that was asked for.
    """

    run: RunFolder
    model: LSTMAutoencoder
    ranks: Ranks
    trained_on: DataConfig
    data: DataConfig
    division: Division | None
    changes: str
    folder: Path

    @property
    def device(self) -> torch.device:
        return self.ranks.device

    @property
    def own_data(self) -> DataConfig:
        """The data that the model was trained on, where they are now."""
        data, here = self.trained_on, self.data
        moved = data.dataset == here.dataset and not data.generated and not Path(str(data.data_dir)).exists()
        return here if moved else data  # or others, as their comparison with the division will say

    def own_clips(self, split: str, follow: int, seed: int = 0) -> Clips:
        """Clips of a part of the data that the model was trained on; the last `follow` frames of each are predicted."""
        data = self.own_data
        frames = self.whole_frames(data, self.model.config.input_frames, follow)
        return data.open(split, frames, seed=seed, shortest=follow + 1, division=self.division)

    def facts(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """What every result says about where it comes from."""
        from ...pretrained import sequences_seen

        return {"sequences_seen": sequences_seen(self.run.path), "seed": arguments.seed} | self.data.facts()

    def test_clips(
        self, arguments: argparse.Namespace, frames: int, shortest: int | None = None, default: int | None = None
    ) -> tuple[Clips, int]:
        """The clips to evaluate on, none that the model was trained on, and how many of them.

        Shorter ones, of at least `shortest` frames, end in NaN. `default` is how many where `--clips` does not say it;
        None: all that there are. Fewer than all are spread over the data. Raises ValueError where there are fewer than
        `--clips`.
        """
        return self.clips("test", arguments, frames, shortest, default)

    def whole_frames(self, data: DataConfig, input_frames: int, follow: int) -> int:
        """Frames of clips of `data` of which the last `follow` are predicted: `input_frames` before those or, where
        clips are whole sequences and the longest has more, as many as it has.

        Raises ValueError for a sequence that has nothing before what is to be predicted.
        """
        frames = input_frames + follow
        return max(frames, data.longest(follow + 1)) if data.whole else frames

    def clips(
        self, split: str, arguments: argparse.Namespace, frames: int, shortest: int | None, default: int | None = None
    ) -> tuple[Clips, int]:
        """As `test_clips`, of another split."""
        clips = self.data.open(split, frames, seed=arguments.seed, shortest=shortest, division=self.division)
        there = clips.available
        count = arguments.clips or default or there or GENERATED_CLIPS
        if there is not None and arguments.clips and count > there:
            raise ValueError(f"--clips {count}: found {there} {clips.split} clips; ask for at most as many")
        chosen = clips.sample(count)
        return chosen, len(chosen)


def as_vectors(frames: torch.Tensor) -> npt.NDArray[np.float64]:
    """Frames of features (B, T, D, 1, 1) as (B, T, D)."""
    vectors: npt.NDArray[np.float64] = frames.flatten(2).cpu().double().numpy()
    return vectors


def share_batches(
    ranks: Ranks,
    out: Path,
    clips: Clips,
    count: int,
    batch_size: int,
    what: str,
    judge: Callable[[torch.Tensor], Results],
) -> Iterator[Results]:
    """What `judge` makes of the first `count` clips, (B, T, C, H, W) at a time, in order: see `share_work`, whose files
    are beside the results `out` meanwhile. `what` they are for is in their name, another one for each pass over clips.
    """
    from ...shared_work import share_work

    def work(number: int) -> Results:
        return judge(clips.__getitems__(range(number * batch_size, min((number + 1) * batch_size, count))))

    place = out.absolute()  # "." has no name
    folder = place.with_name(f".{place.name}-{what.replace(' ', '-')}")
    return share_work(ranks, folder, -(-count // batch_size), work, what)


def batches(clips: Clips, indices: Sequence[int], batch_size: int, what: str) -> Iterator[torch.Tensor]:
    """The clips `indices` in order, (B, T, C, H, W) at a time, with a progress bar that says `what` they are for.

    No bar for "".
    """
    from tqdm import tqdm

    for first in tqdm(range(0, len(indices), batch_size), desc=what, leave=False, disable=None if what else True):
        yield clips.__getitems__(indices[first : first + batch_size])
