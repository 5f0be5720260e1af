"""Which clips and which of their steps are odd, by thresholds from held-out normal data."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..anomaly import (
    QUANTILE,
    Scorer,
    Scores,
    Thresholds,
    average_windows,
    check_quantile,
    choose_source,
    detection,
    join_scores,
)
from ..checkpoint import write_json
from ..config import FUTURE
from ..evaluation import predict_clips
from ..results import replace_results
from ..visualize import ScoredSeries, save_clip_gif, save_detection_curves, save_scored_series, save_sheet, save_strip
from .opened import GENERATED_CLIPS, Clips, Opened, batches

_DRAWN = 4
_FEW = 30  # normal clips, whose steps go up and down together
_NORMAL = "normal/"  # before the names of clips of the training data that stand beside odd ones

Labels = dict[tuple[str, int | None], int]  # of a sequence, or of one of its steps


class Series(NamedTuple):
    """The scored steps of one sequence; windows that overlap have one score per step, their mean."""

    name: str
    steps: npt.NDArray[np.int64]  # (N,), from 0
    scores: npt.NDArray[np.float64]  # (N,)


class Normal(NamedTuple):
    """Held-out clips of the data that the model was trained on, and the scorer whose levels are theirs."""

    scorer: Scorer
    scores: Scores
    names: list[str]


def run(opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write `anomaly.json`, tables of steps and of clips, plots and, of pictures, the oddest clips; print a summary."""
    folder = opened.folder
    quantile = check_quantile(QUANTILE if arguments.quantile is None else arguments.quantile)
    source = choose_source(arguments.source, opened.model.config.decoders)
    labels = _read_labels(arguments.labels_file) if arguments.labels_file else None
    if arguments.all_odd and (labels is not None or opened.data == opened.trained_on):
        raise ValueError(
            "--all-odd is for other data than the run was trained on, such as --num-digits 2, and without --labels-file"
        )
    clips, count = _open_clips(opened, arguments)
    normal = _fit(opened, arguments, source)
    scores, names = _score(normal.scorer, clips, count, arguments.batch_size, "clips")
    if arguments.all_odd:
        scores, names, labels = _beside_normal(opened, arguments, normal.scorer, scores, names)
    series = _lay_out(names, scores)
    thresholds, lacking = _thresholds(normal, quantile, arguments.per_series)
    of_steps = thresholds["steps"].of(len(series), _groups([one.name for one in series], arguments.per_series))
    of_clips = None
    if "clips" in thresholds:
        of_clips = thresholds["clips"].of(len(names), _groups(names, arguments.per_series))
    curves = {} if labels is None else _curves(labels, series, names, scores)

    with replace_results(folder, "anomaly") as place:
        flagged = {
            "clips_flagged": _write_clips(place / "anomaly-clips.csv", names, scores, of_clips),
            "steps_flagged": _write_steps(place / "anomaly.csv", series, of_steps),
        }
        results = opened.facts(arguments) | {"source": source, "quantile": quantile, "split": opened.split}
        results |= {"thresholds": {level: fitted.values for level, fitted in thresholds.items()}}
        results |= {
            "normal_clips": len(normal.names),
            "clips": len(names),
            "steps": sum(len(one.steps) for one in series),
        }
        results |= flagged
        results |= {"detection": {level: {name: curve[name] for name in _NUMBERS} for level, curve in curves.items()}}
        results |= {"levels": {name: level.tolist() for name, level in normal.scorer.levels.items()}}
        write_json(place / "anomaly.json", results)
        _print(opened, results, lacking)
        _draw(opened, place, series, of_steps, names, scores)
        if curves:
            save_detection_curves(place / "anomaly-curves.png", curves)
            print(f"curves   {folder / 'anomaly-curves.png'}")
        if not opened.model.config.features:
            _draw_clips(opened, place, clips, scores.sequences[:count])
        print(f"by step  {folder / 'anomaly.csv'}\nby clip  {folder / 'anomaly-clips.csv'}")
        print(f"metrics  {folder / 'anomaly.json'}")
    return results


_NUMBERS = ("roc_auc", "average_precision", "odd", "count")


def _open_clips(opened: Opened, arguments: argparse.Namespace) -> tuple[Clips, int]:
    """The clips to score and how many; whole sequences may be longer than any in the training."""
    config, data = opened.model.config, opened.data
    shortest = _shortest(opened)
    frames = max(config.frames, data.longest(shortest)) if data.whole else config.frames
    return opened.test_clips(arguments, frames, shortest=shortest)


def _shortest(opened: Opened) -> int:
    return 1 + _predicted(opened)


def _predicted(opened: Opened) -> int:
    """How many of a clip's last steps are predicted."""
    return opened.model.config.future_frames if FUTURE in opened.model.decoders else 0


def _fit(opened: Opened, arguments: argparse.Namespace, source: str) -> Normal:
    held_out = opened.trained_on.open("validation", opened.model.config.frames, shortest=_shortest(opened))
    indices = range(GENERATED_CLIPS if held_out.endless else len(held_out))
    loaded = batches(held_out, indices, arguments.batch_size, "normal clips")
    scorer, scores = Scorer.fit(opened.model, loaded, source, future_frames=_predicted(opened))
    return Normal(scorer, scores, [held_out.name(index) for index in indices])


def _beside_normal(
    opened: Opened, arguments: argparse.Namespace, scorer: Scorer, scores: Scores, names: list[str]
) -> tuple[Scores, list[str], Labels]:
    """Odd clips and, after them, as many normal test clips: scores, names, and the labels that this gives."""
    clips = opened.trained_on.open("test", opened.model.config.frames, seed=arguments.seed, shortest=_shortest(opened))
    count = len(names) if clips.endless else min(len(names), len(clips))
    others, other_names = _score(scorer, clips, count, arguments.batch_size, "normal test clips")
    other_names = [_NORMAL + name for name in other_names]
    labels: Labels = dict.fromkeys([(name, None) for name in other_names], 0)
    labels |= dict.fromkeys([(name, None) for name in names], 1)
    return join_scores([scores, others]), names + other_names, labels


def _thresholds(normal: Normal, quantile: float, per_series: bool) -> tuple[dict[str, Thresholds], str]:
    """Of `steps` and of `clips`; without the latter where there are too few for one, and then why."""
    groups = _groups(normal.names, per_series)
    found = {"steps": Thresholds.fit(normal.scores.steps, quantile, groups)}
    try:
        return found | {"clips": Thresholds.fit(normal.scores.sequences, quantile, groups)}, ""
    except ValueError as error:  # there are fewer clips than steps
        return found, str(error)


def _score(scorer: Scorer, clips: Clips, count: int, batch_size: int, what: str) -> tuple[Scores, list[str]]:
    parts = [scorer(batch) for batch in batches(clips, range(count), batch_size, what)]
    return join_scores(parts), [clips.name(index) for index in range(count)]


def _place(name: str) -> tuple[str, int]:
    """The sequence that a clip is of and the number of its first step: `walk@16` begins at step 16 of `walk`."""
    sequence, _, start = name.rpartition("@")
    return (sequence, int(start)) if sequence and start.isdecimal() else (name, 0)


def _groups(names: Sequence[str], per_series: bool) -> list[str] | None:
    """The sequence of every clip, where each is to have a threshold of its own."""
    return [_place(name.removeprefix(_NORMAL))[0] for name in names] if per_series else None


def _lay_out(names: Sequence[str], scores: Scores) -> list[Series]:
    """Scores of clips (B, T) to those of the steps of the sequences that the clips were cut from."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(_place(name)[0], []).append(row)
    series = []
    for name, chosen in rows.items():
        starts = np.array([_place(names[row])[1] for row in chosen])
        first = starts.min()
        length = int(starts.max() - first) + scores.steps.shape[1]
        laid = average_windows(scores.steps[chosen], starts - first, length)
        steps = np.flatnonzero(~np.isnan(laid))
        series.append(Series(name, first + steps, laid[steps]))
    return series


def _read_labels(path: Path) -> Labels:
    """The labels of a `.csv` file with the columns `id`, `label` (0 normal, 1 odd) and, for those of steps, `step`.

    Raises FileNotFoundError, or ValueError that names the line where something else is found.
    """
    labels: Labels = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        found = reader.fieldnames or []
        if not {"id", "label"} <= set(found):
            raise ValueError(f"{path}: found the columns {', '.join(found)}, expected id, label and perhaps step")
        for row in reader:
            where, text = f"{path}: line {reader.line_num}", row.get("step")
            if row["label"] not in ("0", "1"):
                raise ValueError(f"{where}: found the label {row['label']!r}, expected 0 (normal) or 1 (odd)")
            if "step" in found and not (text or "").isdecimal():
                raise ValueError(f"{where}: found the step {text!r}, expected a whole number from 0")
            key = row["id"], int(text) if text else None
            if labels.setdefault(key, int(row["label"])) != int(row["label"]):
                raise ValueError(f"{where}: found the labels 0 and 1 for one thing, expected one of them")
    return labels


def _curves(labels: Labels, series: Sequence[Series], names: Sequence[str], scores: Scores) -> dict[str, Any]:
    """`detection` of clips and, where steps have labels, of steps. A clip with an odd step is odd.

    Raises ValueError for what has no label, and where neither has both kinds.
    """
    truth: dict[str, tuple[list[int], npt.NDArray[np.float64]]] = {}
    if all(step is None for _, step in labels):
        of_clips = [_label(labels, name if (name, None) in labels else _place(name)[0], None) for name in names]
    else:
        of_steps = [_label(labels, one.name, step) for one in series for step in one.steps.tolist()]
        truth["steps"] = of_steps, np.concatenate([one.scores for one in series])
        odd = {key for key, label in labels.items() if label}
        width = range(scores.steps.shape[1])
        places = [_place(name) for name in names]
        of_clips = [int(any((name, start + t) in odd for t in width)) for name, start in places]
    truth["clips"] = of_clips, scores.sequences.double().numpy()
    curves = {level: detection(*pair) for level, pair in truth.items() if len(set(pair[0])) == 2}
    if not curves:
        raise ValueError(f"found only the label {of_clips[0]}, expected both 0 and 1 among what is scored")
    return curves


def _label(labels: Labels, name: str, step: int | None) -> int:
    if (name, step) not in labels:
        at = "" if step is None else f", step {step}"
        raise ValueError(f"found no label for {name}{at}, expected one for everything that is scored")
    return labels[name, step]


def _write_steps(path: Path, series: Sequence[Series], thresholds: npt.NDArray[np.float64]) -> int:
    """A row per step; returns how many are above their threshold."""
    flagged = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "step", "score", "threshold", "flagged"))
        for one, threshold in zip(series, thresholds.tolist(), strict=True):
            for step, score in zip(one.steps.tolist(), one.scores.tolist(), strict=True):
                writer.writerow((one.name, step, f"{score:.6g}", f"{threshold:.6g}", int(score > threshold)))
                flagged += score > threshold
    return flagged


def _write_clips(path: Path, names: Sequence[str], scores: Scores, thresholds: npt.NDArray[np.float64] | None) -> int:
    """A row per clip, the oddest first; returns how many are above their threshold. Without one, cells are empty."""
    flagged = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "score", "threshold", "flagged"))
        for row in scores.sequences.argsort(descending=True).tolist():
            score, threshold = float(scores.sequences[row]), None if thresholds is None else float(thresholds[row])
            cells = ("", "") if threshold is None else (f"{threshold:.6g}", int(score > threshold))
            writer.writerow((names[row], f"{score:.6g}", *cells))
            flagged += threshold is not None and score > threshold
    return flagged


def _print(opened: Opened, results: dict[str, Any], lacking: str) -> None:
    data, trained_on = opened.data.dataset, opened.trained_on.dataset
    print(f"thresholds: the {results['quantile']:g} quantile of {results['normal_clips']} normal clips of {trained_on}")
    if results["normal_clips"] < _FEW:
        print(f"these are few: expect more, or less, than {1 - results['quantile']:.1%} of normal data above")
    for level in ("clips", "steps"):
        if level not in results["thresholds"]:
            continue
        values = results["thresholds"][level].values()
        low, high = min(values), max(values)
        above = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        flagged, count = results[f"{level}_flagged"], results[level]
        print(f"{flagged} of {count} {level} of {data} ({opened.split}) are above {above} times the normal error")
    if lacking:
        print(f"no threshold for whole clips: {lacking}")
    for level, curve in results["detection"].items():
        print(
            f"of {curve['odd']} odd among {curve['count']} {level}: ROC-AUC {curve['roc_auc']:.3f}, average precision"
            f" {curve['average_precision']:.3f}"
        )


def _draw(
    opened: Opened,
    place: Path,
    series: Sequence[Series],
    thresholds: npt.NDArray[np.float64],
    names: Sequence[str],
    scores: Scores,
) -> None:
    """Scores over the steps of the sequences with the oddest clips."""
    by_oddness = dict.fromkeys(_place(names[row])[0] for row in scores.sequences.argsort(descending=True).tolist())
    places = {one.name: place for place, one in enumerate(series)}
    chosen = [places[name] for name in list(by_oddness)[:_DRAWN]]
    drawn = [ScoredSeries(*series[place], float(thresholds[place])) for place in chosen]
    save_scored_series(place / "anomaly.png", drawn)
    print(f"plot     {opened.folder / 'anomaly.png'}")


def _draw_clips(opened: Opened, place: Path, clips: Clips, scores: torch.Tensor) -> None:
    """A GIF of the oddest clip, and a strip of the first few."""
    oddest = scores.argsort(descending=True)[:_DRAWN].tolist()
    drawn = predict_clips(opened.model, clips.__getitems__(oddest), opened.device)
    save_clip_gif(place / "anomaly-oddest.gif", drawn[0])
    save_strip(place / "anomaly-strip.png", drawn)
    save_sheet(place / "anomaly-sheet.png", drawn)
    print(f"oddest   {opened.folder / 'anomaly-oddest.gif'} and, with others, {opened.folder / 'anomaly-strip.png'}")
