"""Pieces of work that the processes of torchrun share, and their results, the same for any number of processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from torch import Tensor
from tqdm import tqdm

from .datasets.sharing import Claims, alone
from .distributed import Ranks
from .tensor_files import read_tensors, write_tensors

T = TypeVar("T")
Results = Mapping[str, Tensor]


def share_work(ranks: Ranks, folder: Path, count: int, work: Callable[[int], Results], what: str) -> Iterator[Results]:
    """The results of `work(0)` to `work(count - 1)`, in order, in every process; each is computed by one of them.

    They are in files in `folder`, which all machines must see, until all processes have read them: one that takes long
    holds nobody up, and after a restart by torchrun those that were finished are kept. A process alone writes nothing.
    All ranks must call it, and read it to the end. `what` is for a progress bar.

    Raises OSError where `folder` cannot be written. Where another command has it, this one waits for its end.
    """

    def progress(pieces: Iterable[T]) -> Iterable[T]:
        return tqdm(pieces, what, count, leave=False, disable=None if ranks.is_main else True)

    if ranks.size == 1:
        return map(work, progress(range(count)))
    held = ExitStack()
    ranks.on_first(lambda: _begin(folder, held))
    with Claims(folder) as claims:
        for piece in progress(claims.each(map(str, range(count)))):
            if not _file(folder, piece).exists():
                partial = folder / f"{piece}.partial-{ranks.rank}"  # where there are no locks, all have the claim
                write_tensors(partial, work(int(piece)))
                partial.replace(_file(folder, piece))
    return _results(ranks, folder, count, held)


def _results(ranks: Ranks, folder: Path, count: int, held: ExitStack) -> Iterator[Results]:
    for number in range(count):
        yield read_tensors(_file(folder, str(number)))
    ranks.sums(0)  # all have read them
    if ranks.is_main:
        shutil.rmtree(folder)
    held.close()


def _file(folder: Path, piece: str) -> Path:
    return folder / f"{piece}.safetensors"


def _begin(folder: Path, held: ExitStack) -> None:
    """Wait for other commands, keep them out until `held` is closed, and remove what one left, which may be of other
    data; what is there after a restart is of this one."""
    held.enter_context(alone(folder.with_name(f"{folder.name}.lock")))
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        shutil.rmtree(folder, ignore_errors=True)
