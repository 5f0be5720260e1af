"""Print the score of every row or frame as it arrives: how wrong the prediction was that was made for it.

video-ae watch series.csv --run runs/series            # the rows that are there
video-ae watch series.csv --run runs/series --follow   # and those that are still to be written, until Ctrl-C
logger | video-ae watch - --run runs/series            # a pipe
video-ae watch mine.mp4 --run runs/videos              # a video, frame by frame

What is printed is CSV: id (where the rows have one), step, time (where they have one), score. 0 is a perfect
prediction; the first step of a series has no score.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..config import FUTURE, from_json
from ..datasets.config import DataConfig
from ..shell import as_typed
from . import cli

if TYPE_CHECKING:
    from ..models import LSTMAutoencoder
    from ..stream import Stream

_WAIT = 0.2  # seconds between two looks at a file that may grow
_PIPE = "-"


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = cli.command_parser("python -m video_ae watch", __doc__)
    parser.add_argument("file", metavar="FILE", help="a .csv table, a video, or - for rows from a pipe")
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help=as_typed("folder that train.py wrote"))
    parser.add_argument("--follow", action="store_true", help="of a table: wait for more rows")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser.parse_args(words)


def lines_of(path: Path, *, follow: bool) -> Iterator[str]:
    """The lines of a file, which may grow if it is to be followed: each as soon as it is whole.

    Raises ValueError where a file that is followed became shorter.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        begun = ""
        while True:
            begun += (more := file.readline())
            if begun.endswith("\n"):
                yield begun
                begun = ""
            elif not more and not follow:
                if begun:
                    yield begun
                return
            elif not more:
                if path.stat().st_size < file.tell():
                    raise ValueError(f"{path}: became shorter while it was read, expected rows to be added: begin anew")
                time.sleep(_WAIT)


def watch_rows(model: LSTMAutoencoder, data: DataConfig, path: Path, lines: Iterator[str], out: TextIO) -> None:
    """A stream for each id, of rows in the order in which they come."""
    import numpy as np
    import torch

    from ..datasets.tables import Choice, rows_as_they_arrive

    choice = Choice(data.id_column, data.time_column, data.ignore_columns, data.columns)
    streams: dict[str, tuple[Stream, list[int]]] = {}
    writer = csv.writer(out)
    for row in rows_as_they_arrive(path, lines, choice):
        if not streams:
            writer.writerow((*(["id"] if row.id else []), "step", *(["time"] if row.time else []), "score"))
        stream, count = streams.setdefault(row.id, (model.stream(), [0]))
        values = row.values - np.array(data.offsets or 0.0)
        score = stream.push(torch.from_numpy(values.astype(np.float32))).score
        assert score is not None
        place = (*([row.id] if row.id else []), count[0], *([row.time] if row.time else []))
        writer.writerow((*place, f"{score:.6g}" if count[0] else ""))
        out.flush()
        count[0] += 1


def watch_video(model: LSTMAutoencoder, data: DataConfig, path: Path, out: TextIO) -> None:
    """The frames of a video, read as those of the training were."""
    import torch

    from ..datasets.videos import video_frames

    if data.random_crop:
        raise ValueError("the run reads crops of larger frames, which are not watched: train one without --random-crop")
    channels, height, width = model.config.frame_shape
    size = height if isinstance(data.image_size, int) else (height, width)
    stream, writer = model.stream(), csv.writer(out)
    writer.writerow(("step", "score"))
    frames = video_frames(
        path,
        image_size=size,
        stride=data.frame_stride,
        fps=data.fps,
        grey=channels == 1,
        max_lost_frames=data.max_lost_frames,
    )
    for step, frame in enumerate(frames):
        score = stream.push(torch.from_numpy(frame).permute(2, 0, 1)).score
        assert score is not None
        writer.writerow((step, f"{score:.6g}" if step else ""))
        out.flush()


def main(arguments: argparse.Namespace) -> None:
    from ..models import LSTMAutoencoder
    from ..run_folder import RunFolder

    data = from_json(DataConfig, RunFolder(arguments.run).data(), str(arguments.run / "config.json"))
    model = LSTMAutoencoder.from_pretrained(arguments.run).eval()
    if FUTURE not in model.decoders:
        raise ValueError(
            f"{arguments.run}: a model without future decoder predicts no step: train one with --composite or --predict"
        )
    path = Path(arguments.file)
    if arguments.file != _PIPE and not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a table, a video, or {_PIPE} for a pipe")
    if not model.config.features:
        if arguments.follow or arguments.file == _PIPE:
            raise ValueError(
                f"{arguments.run}: reads frames of a video file, which cannot be followed or come by a pipe"
            )
        watch_video(model, data, path, sys.stdout)
    elif data.dataset != "sequences" or not data.columns:
        raise ValueError(
            f"{arguments.run}: was trained on {data.dataset} without named columns, expected tables, whose rows"
            " are known by their header"
        )
    else:
        lines = iter(sys.stdin) if arguments.file == _PIPE else lines_of(path, follow=arguments.follow)
        watch_rows(model, data, path, lines, sys.stdout)


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)
