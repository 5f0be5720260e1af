"""What follows the end of every series, with how far that may be off, and how good such forecasts were so far."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ...config import FUTURE
from ...files import csv_writer, free_place, new_file, write_json
from ...report.tables import text_table
from ...results import replace_results
from .opened import Opened, as_vectors, batches
from .task import Horizon, Task, register

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ...datasets.clips import Clips
    from ...datasets.video_arrays import VideoArrays
    from ...datasets.video_clips import VideoClips

    Floats = npt.NDArray[np.float64]

QUANTILES = (0.05, 0.95)  # between which nine of ten values are to be
_ENOUGH = 20  # errors, of which one is expected beyond either quantile
_MODEL, _NAIVE, _SEASONAL, _MEAN = "model", "naive", "seasonal naive", "mean"


class Forecasts(NamedTuple):
    """Of N clips: what was predicted and what came, (N, F, D), the last step that was read, (N, D), and of which series
    that is which step."""

    predicted: Floats
    truth: Floats
    last: Floats
    places: list[tuple[str, int]]

    @property
    def errors(self) -> Floats:
        return self.truth - self.predicted


@register
class Forecast(Task):
    name = "forecast"
    title = "What comes next"
    flags = (Horizon,)
    out = "forecasts.csv"

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `--out`, a row for each series, step and feature, and `forecast.json`; print a table beside baselines.

        The quantiles are the forecast plus those of its errors, step by step and feature by feature, on validation
        data. Raises ValueError for models without future decoder and for pictures, ValueError or FileExistsError where
        the file cannot be written.
        """
        import numpy as np

        out = free_place(arguments.out, ".csv")
        config = opened.model.config
        if FUTURE not in opened.model.decoders or not config.features or opened.data.generated:
            raise ValueError(
                "forecasts are of series, by a future decoder: train on series with --composite or --predict"
            )
        steps = arguments.future_frames or config.future_frames
        held_out, learnt = (cast("VideoClips", opened.own_clips(split, steps)) for split in ("validation", "train"))
        errors = _forecast(opened, _overlapping(held_out), steps, arguments.batch_size, "held-out").errors
        margins = np.quantile(errors, QUANTILES, axis=0) if len(errors) >= _ENOUGH else None  # (2, F, D)
        if margins is None:
            print(
                f"found {len(errors)} held-out windows, expected at least {_ENOUGH} for quantiles: their cells are"
                " empty",
                file=sys.stderr,
            )
        frames = opened.whole_frames(opened.data, config.input_frames, steps)
        clips, count = opened.test_clips(arguments, frames, shortest=steps + 1)
        tested = _forecast(opened, clips.sample(count), steps, arguments.batch_size, "model")
        results = opened.facts(arguments) | {"split": clips.split, "clips": count, "steps": steps}
        results |= _judge(opened, tested, _training_series(learnt), frames)
        if margins is not None:
            inside = (tested.errors >= margins[0]) & (tested.errors <= margins[1])
            results |= {"quantiles": QUANTILES, "held_out": len(errors), "coverage": float(inside.mean())}
        rows = _write(opened, arguments, out, steps, margins)
        with replace_results(opened.folder, "forecast") as place:
            write_json(place / "forecast.json", results)
        _print(results)
        print(f"forecasts {out} ({rows} rows)\nmetrics   {opened.folder / 'forecast.json'}")
        return results


def _overlapping(clips: VideoClips) -> Clips:
    """The same windows and all between them, of clips that are no whole sequences."""
    from ...datasets.video_clips import VideoClips

    longest = max(clips.arrays.videos[index].frames for index in clips.chosen)
    if longest <= clips.frames:
        return clips
    long = [index for index in clips.chosen if clips.arrays.videos[index].frames >= clips.frames]
    return VideoClips(clips.arrays, long, clips.frames, step=1, split=clips.split)


def _training_series(clips: VideoClips) -> list[Floats]:
    return [clips.arrays.array(index).astype(float) for index in clips.chosen]


def _forecast(opened: Opened, clips: Clips, steps: int, batch_size: int, what: str) -> Forecasts:
    """Of clips whose last `steps` are to be predicted; without offsets."""
    import numpy as np
    import torch

    from ...lengths import split_clips

    predicted, truth, last = [], [], []
    places: list[tuple[str, int]] = []
    for batch in batches(clips, range(len(clips)), batch_size, what):
        inputs, future, lengths = split_clips(batch.to(opened.device), batch.shape[1] - steps)
        with torch.no_grad():
            predicted.append(as_vectors(opened.model.predict(inputs, steps, lengths)))
        truth.append(as_vectors(future))
        read = [inputs.shape[1]] * len(inputs) if lengths is None else lengths.tolist()
        last.append(as_vectors(inputs)[np.arange(len(inputs)), np.array(read) - 1])
        for length in read:
            name, start = clips.place(len(places))
            places.append((name, start + length - 1))
    return Forecasts(np.concatenate(predicted), np.concatenate(truth), np.concatenate(last), places)


def _judge(opened: Opened, tested: Forecasts, training: Sequence[Floats], frames: int) -> dict[str, Any]:
    """The mean absolute scaled error (Hyndman and Koehler, 2006) of the model and of baselines, and of each step.

    An error is in units of the mean absolute change from step to step in training: below 1 is better than the naive
    forecast of one step was there. Features that never change in training do not count.
    """
    import numpy as np

    from ...periods import find_period

    scale = np.concatenate([np.abs(np.diff(series, axis=0)) for series in training]).mean(axis=0)  # (D,)
    moving = scale > 0
    if not moving.any():
        raise ValueError("found only features that never change in training: there is nothing to forecast")
    mean = np.concatenate(training).mean(axis=0)
    made = {_MODEL: tested.predicted, _NAIVE: tested.last[:, None], _MEAN: mean}
    period = find_period(max(training, key=len))
    seasonal = None if period is None else _seasonal(opened, tested, period, frames)
    made |= {} if seasonal is None else {f"{_SEASONAL} ({period})": seasonal}
    scaled = {
        name: (np.abs(tested.truth - values)[..., moving] / scale[moving]).mean(axis=(0, 2))
        for name, values in made.items()
    }
    per_step = {name: values.tolist() for name, values in scaled.items()}
    return {"mase": {name: float(values.mean()) for name, values in scaled.items()}, "mase_per_step": per_step}


def _seasonal(opened: Opened, tested: Forecasts, period: int, frames: int) -> Floats | None:
    """The values of a period before, of the same time in it, (N, F, D); None where some are not in the data."""
    import numpy as np

    arrays = opened.data.arrays(frames)
    known = {name: dict(parts) for name, parts in _by_name(arrays)}
    steps = tested.truth.shape[1]
    back = [step % period - period + 1 for step in range(steps)]  # from the last step that was read
    found = np.empty_like(tested.truth)
    for row, (name, last) in enumerate(tested.places):
        first = max((first for first in known[name] if first <= last), default=0)
        places = last - first + np.array(back)
        if places.min() < 0:
            return None
        found[row] = known[name][first][places]
    return found


def _by_name(arrays: VideoArrays) -> Iterable[tuple[str, list[tuple[int, Floats]]]]:
    """Every series with its segments: the first step of each, and its values."""
    parts: dict[str, list[tuple[int, Floats]]] = {}
    for index, record in enumerate(arrays.videos):
        parts.setdefault(record.name, []).append((record.first, arrays.array(index)))
    return parts.items()


def _ends(opened: Opened, arguments: argparse.Namespace) -> Iterator[tuple[str, torch.Tensor]]:
    """The clip (1, T, D, 1, 1) that ends every series in the data, and the name of that."""
    data = opened.data
    frames = data.longest(1) if data.whole else opened.model.config.input_frames
    clips = data.open("all", frames, seed=arguments.seed, shortest=1, division=opened.division)
    last: dict[str, tuple[int, int]] = {}
    for index in range(len(clips)):
        name, start = clips.place(index)
        last[name] = max(last.get(name, (start, index)), (start, index))
    for name, (_, index) in last.items():
        yield name, clips.__getitems__([index])


def _write(opened: Opened, arguments: argparse.Namespace, out: Any, steps: int, margins: Floats | None) -> int:
    """A row for each series, coming step and feature; returns how many."""
    import numpy as np
    import torch

    from ...datasets.times import continue_times
    from ...lengths import split_clips

    times, columns, rows, untimed = opened.data.times(), opened.data.columns, 0, 0
    offsets = np.array(opened.data.offsets or 0.0)
    with new_file(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv_writer(file)
        head = ("id", *(["time"] if times else []), "step", "feature", "value")
        writer.writerow((*head, *(f"q{round(100 * quantile):02d}" for quantile in QUANTILES)))
        for name, clip in _ends(opened, arguments):
            inputs, _, lengths = split_clips(clip.to(opened.device), clip.shape[1])
            with torch.no_grad():
                values = as_vectors(opened.model.predict(inputs, steps, lengths))[0]  # (F, D)
            clock = times.get(name)  # a file's own times, or those of a video, which have no end
            known: list[str] = [time.decode() for time in clock] if isinstance(clock, Iterable) else []
            coming = continue_times(known, steps)
            untimed += bool(known and not coming)
            for step, feature in np.ndindex(values.shape):
                value = values[step, feature] + offsets[feature if offsets.ndim else ()]
                between = (
                    ("", "")
                    if margins is None
                    else tuple(f"{value + margin:.9g}" for margin in margins[:, step, feature])
                )
                when = [coming[step] if coming else ""] if times else []
                writer.writerow(
                    (name, *when, step + 1, columns[feature] if columns else feature, f"{value:.9g}", *between)
                )
                rows += 1
    if untimed:
        print(
            f"the times of {untimed} series are not at one distance: their forecasts have steps, and no times",
            file=sys.stderr,
        )
    return rows


def _print(results: dict[str, Any]) -> None:
    steps = results["steps"]
    shown = sorted({1, (steps + 1) // 2, steps})
    cells = [("scaled error (MASE)", "mean", *(f"step {step}" for step in shown))]
    for name, mean in results["mase"].items():
        per_step = results["mase_per_step"][name]
        cells.append((name, f"{mean:.3f}", *(f"{per_step[step - 1]:.3f}" for step in shown)))
    print(text_table(cells))
    print(f"\n{results['clips']} clips ({results['split']}), each predicted {steps} steps ahead")
    if "coverage" in results:
        low, high = QUANTILES
        print(f"{results['coverage']:.0%} of the values are between the quantiles, expected {high - low:.0%}")
