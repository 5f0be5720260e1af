"""Print the score of every row or frame as it arrives: how wrong the prediction was that was made for it.

video-ae watch series.csv --run runs/series            # the rows that are there
video-ae watch series.csv --run runs/series --follow   # and those that are still to be written, until Ctrl-C
logger | video-ae watch - --run runs/series            # a pipe
video-ae watch mine.mp4 --run runs/videos              # a video, frame by frame
video-ae watch 0 --run runs/videos                     # a camera by its number, or rtsp://... or http://...

What is printed is CSV: id (where the rows have one), step, time (where they have one), score. 0 is a perfect
prediction; the first step of a series has no score. With --quantile a threshold that follows the scores as they drift,
and whether a score is above it; the first 1,100 of every series, which have to be normal, have none.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..config import FUTURE, from_json
from ..datasets.config import DataConfig
from ..datasets.names import NO_PERCEPTS
from ..files import csv_writer
from ..shell import as_typed
from . import cli

if TYPE_CHECKING:
    from torch import Tensor

    from ..models import LSTMAutoencoder

_WAIT = 0.2  # seconds between two looks at a file that may grow
_PIPE = "-"


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = cli.command_parser("python -m video_ae watch", __doc__)
    parser.add_argument(
        "file", metavar="FILE", help="a .csv table, a video, a camera's number, an address, or - for rows from a pipe"
    )
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help=as_typed("folder that train.py wrote"))
    parser.add_argument("--follow", action="store_true", help="of a table: wait for more rows")
    parser.add_argument(
        "--quantile", type=float, metavar="Q", help="flag scores that are rarer than this share of them, such as .9999"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser.parse_args(words)


def lines_of(path: Path, *, follow: bool) -> Iterator[str]:
    """The lines of a file, which may grow if it is to be followed: each as soon as it is whole.

    Raises ValueError where a file that is followed became shorter.
    """
    with path.open(newline="", encoding="utf-8") as file:
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


class Scores:
    """The scores of one series as cells of a row: with a quantile, its threshold and whether it is above that."""

    def __init__(self, model: LSTMAutoencoder, quantile: float | None) -> None:
        from ..drifting import DriftingThreshold

        self.stream, self.steps = model.stream(), 0
        self.threshold = None if quantile is None else DriftingThreshold(quantile)

    def push(self, step: Tensor) -> tuple[int, dict[str, str | int]]:
        score = self.stream.push(step).score
        assert score is not None
        self.steps += 1
        cells: dict[str, str | int] = {"score": _cell(float(score))}
        if self.threshold is not None:
            threshold, anomalous = self.threshold.push(float(score))
            cells |= {"threshold": _cell(threshold), "flagged": int(anomalous)}
        return self.steps - 1, cells


def _cell(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.6g}"


def watch_rows(
    model: LSTMAutoencoder, data: DataConfig, path: Path, lines: Iterator[str], quantile: float | None, out: TextIO
) -> None:
    """A stream for each id, of rows in the order in which they come."""
    import numpy as np
    import torch

    from ..datasets.tables import Choice, rows_as_they_arrive

    choice = Choice(data.id_column, data.time_column, data.ignore_columns, data.columns)
    series: dict[str, Scores] = {}
    writer = csv_writer(out)
    for row in rows_as_they_arrive(path, lines, choice):
        begun = bool(series)
        if row.id not in series:
            series[row.id] = Scores(model, quantile)
        values = row.values - np.array(data.offsets or 0.0)
        step, cells = series[row.id].push(torch.from_numpy(values.astype(np.float32)))
        place = ({"id": row.id} if row.id else {}) | {"step": step} | ({"time": row.time} if row.time else {})
        if not begun:
            writer.writerow([*place, *cells])
        writer.writerow([*place.values(), *cells.values()])
        out.flush()


def watch_video(model: LSTMAutoencoder, data: DataConfig, source: str, quantile: float | None, out: TextIO) -> None:
    """The frames of a file, a camera or an address, read as those of the training were."""
    import torch

    from ..datasets.live import is_live, live_frames
    from ..datasets.videos import video_frames

    if data.random_crop:
        raise ValueError("the run reads crops of larger frames, which are not watched: train one without --random-crop")
    channels, height, width = model.config.frame_shape
    size = height if isinstance(data.image_size, int) else (height, width)
    if is_live(source) and not Path(source).is_file():
        frames = live_frames(source, image_size=size, stride=data.frame_stride, fps=data.fps, grey=channels == 1)
    else:
        frames = video_frames(
            source,
            image_size=size,
            stride=data.frame_stride,
            fps=data.fps,
            grey=channels == 1,
            max_lost_frames=data.max_lost_frames,
        )
    scores, writer = Scores(model, quantile), csv_writer(out)
    for frame in frames:
        step, cells = scores.push(torch.from_numpy(frame).permute(2, 0, 1))
        if not step:
            writer.writerow(["step", *cells])
        writer.writerow([step, *cells.values()])
        out.flush()


def main(arguments: argparse.Namespace) -> None:
    try:
        _watch(arguments)
    except BrokenPipeError:  # whoever reads the scores, such as `head`, has seen enough: end as other filters do
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at the end of Python complains
        raise SystemExit(128 + signal.SIGPIPE) from None


def _watch(arguments: argparse.Namespace) -> None:
    from ..models import LSTMAutoencoder
    from ..run_folder import RunFolder

    data = from_json(DataConfig, RunFolder(arguments.run).data(), str(arguments.run / "config.json"))
    model = LSTMAutoencoder.from_pretrained(arguments.run).eval()
    if FUTURE not in model.decoders:
        raise ValueError(
            f"{arguments.run}: a model without future decoder predicts no step: train one with --composite or --predict"
        )
    path = Path(arguments.file)
    if not model.config.features:
        if arguments.follow or arguments.file == _PIPE:
            raise ValueError(
                f"{arguments.run}: reads frames of a video file, a camera or an address, which cannot be followed or"
                " come by a pipe"
            )
        watch_video(model, data, arguments.file, arguments.quantile, sys.stdout)
    elif data.percepts != NO_PERCEPTS:
        raise ValueError(
            f"{arguments.run}: reads percepts of videos ({data.percepts}), expected a run of pixels or tables: train"
            " one without --percepts"
        )
    elif arguments.file != _PIPE and not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a table, or {_PIPE} for a pipe")
    elif data.dataset != "sequences" or not data.columns:
        raise ValueError(
            f"{arguments.run}: was trained on {data.dataset} without named columns, expected tables, whose rows"
            " are known by their header"
        )
    else:
        lines = iter(sys.stdin) if arguments.file == _PIPE else lines_of(path, follow=arguments.follow)
        watch_rows(model, data, path, lines, arguments.quantile, sys.stdout)


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)
