"""Codes of everything that a data set holds, with what they are of, in one file: for retrieval or a database."""

from __future__ import annotations

import argparse
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...files import free_place, new_file
from .opened import Opened, share_batches
from .task import Task, register

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ...datasets.clips import Clips

_PLACES = 4096  # that are in memory at a time


@register
class Encode(Task):
    name = "encode"
    shared = True
    out = "codes.npz"

    def run(self, opened: Opened, arguments: argparse.Namespace) -> None:
        """Write `codes` (N, code_size) float32, `ids` (N,) text and `starts` (N,) int64 into `--out`, a batch at a
        time: the sequence or video that each code is of, and the number of the first step or frame there.

        Of files that is all there are, whatever they were used for; of moving digits the first test clips. The encoder
        reads clips as in training, one after the other without overlap and one more at each end, or whole
        sequences of any length.

        Raises ValueError or FileExistsError where the file cannot be written.
        """
        path = free_place(arguments.out, ".npz")
        data, config = opened.data, opened.model.config
        frames = data.longest(1) if data.whole else config.input_frames
        split = "test" if data.generated else "all"
        clips, count = opened.clips(split, arguments, frames, shortest=1)
        codes = encoded(opened, path, clips, count, arguments.batch_size)
        if not opened.ranks.is_main:
            deque(codes, maxlen=0)  # as the first process reads them
            return
        _write_npz(path, codes, clips, count)
        what = "every part of it" if count == clips.available else f"{count} {split} clips"
        where = data.dataset if data.data_dir is None else f"{data.dataset}, {data.data_dir}"
        print(f"{count} codes of {where} ({what})\ncodes    {path}")


def encoded(opened: Opened, out: Path, clips: Clips, count: int, batch_size: int) -> Iterator[npt.NDArray[np.float32]]:
    """The codes of the first `count` clips, of which shorter ones end in NaN, (B, code_size) at a time; see
    `share_batches`."""
    import torch

    from ...lengths import split_clips

    def encode(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        inputs, _, lengths = split_clips(batch.to(opened.device), batch.shape[1])
        with torch.no_grad():
            return {"codes": opened.model.encode(inputs, lengths).float().cpu()}

    parts = share_batches(opened.ranks, out, clips, count, batch_size, "encoding", encode)
    return (part["codes"].numpy() for part in parts)


def _write_npz(path: Path, codes: Iterable[npt.NDArray[np.float32]], clips: Clips, count: int) -> None:
    """What `numpy.savez` writes, without ever holding it all; a file that is not whole never has the name `path`."""
    import numpy as np

    with new_file(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        _write_member(archive, "codes", codes, count)
        width = max(len(clips.place(index)[0]) for index in range(count))
        _write_member(archive, "ids", (np.array(ids, f"<U{width}") for ids, _ in _places(clips, count)), count)
        _write_member(archive, "starts", (np.array(starts, "<i8") for _, starts in _places(clips, count)), count)


def _places(clips: Clips, count: int) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """The ids and the first steps of the first `count` clips, some at a time."""
    for first in range(0, count, _PLACES):
        ids, starts = zip(*(clips.place(index) for index in range(first, min(first + _PLACES, count))), strict=True)
        yield ids, starts


def _write_member(archive: zipfile.ZipFile, name: str, parts: Iterable[npt.NDArray[Any]], count: int) -> None:
    """An array of `count` rows that comes in parts."""
    import numpy as np

    rows = 0
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        for part in parts:
            if rows == 0:
                about = {"descr": part.dtype.str, "fortran_order": False, "shape": (count, *part.shape[1:])}
                np.lib.format.write_array_header_1_0(file, about)
            file.write(part.tobytes())
            rows += len(part)
    if rows != count:
        raise ValueError(f"found {rows} {name}, expected {count}: the data set is not what it says")
