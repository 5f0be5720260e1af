"""The tables of the task `anomaly`: labels that come in, and scores of steps, clips and incidents that go out."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from ...datasets.table_files import open_rows
from ...files import csv_writer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ...anomaly import Scores
    from ...datasets.times import Clock

_CONTRIBUTE = 3  # features that are named

Labels = dict[tuple[str, int | None], int]  # of a sequence, or of one of its steps


class Place(NamedTuple):
    """What a clip is of: a sequence, the clip's first step in it, how many it has, and the first step of the part
    between holes in the times."""

    id: str
    start: int
    steps: int
    stretch: int


class Series(NamedTuple):
    """The scored steps of one sequence, of which each has the mean over the windows that cover it, spread over its
    surroundings where sequences are cut into windows."""

    id: str
    steps: npt.NDArray[np.int64]  # (N,), from 0
    scores: npt.NDArray[np.float64]  # (N,)
    features: npt.NDArray[np.float64]  # (N, F), scores of the features alone; F is 0 of pictures


class Incident(NamedTuple):
    """Steps of a sequence, one after another, that are above their threshold: places in the arrays of its `Series`."""

    series: Series
    first: int
    last: int

    @property
    def peak(self) -> int:
        return self.first + int(self.series.scores[self.first : self.last + 1].argmax())

    @property
    def features(self) -> npt.NDArray[np.float64]:
        """(F,): of the scores of the features, the mean over the steps."""
        mean: npt.NDArray[np.float64] = self.series.features[self.first : self.last + 1].mean(axis=0)
        return mean


def find_incidents(series: Sequence[Series], thresholds: npt.NDArray[np.float64]) -> list[Incident]:
    """All of them, in order of the series and of time. A step without a score ends one."""
    import numpy as np

    incidents = []
    for one, threshold in zip(series, thresholds.tolist(), strict=True):
        above = np.flatnonzero(one.scores > threshold)
        runs = np.split(above, np.flatnonzero(np.diff(one.steps[above]) > 1) + 1)
        incidents += [Incident(one, int(run[0]), int(run[-1])) for run in runs if len(run)]
    return incidents


def most_contributing(features: npt.NDArray[np.float64]) -> list[int]:
    """Which few of (F,) contribute most, the largest first."""
    return (-features).argsort(kind="stable")[:_CONTRIBUTE].tolist()


def _contributions(features: npt.NDArray[np.float64], names: Sequence[str]) -> str:
    """The features (F,) that contribute most, with their shares of all, as JSON."""
    shares = features / (features.sum() or 1.0)
    most = most_contributing(shares)
    return json.dumps({names[index]: round(float(shares[index]), 3) for index in most}, ensure_ascii=False)


def time_of(times: Mapping[str, Clock], name: str, step: int) -> str:
    """What the file says of the time of a step; empty where it has no times."""
    return times[name][step].decode() if name in times else ""


def read_labels(path: Path) -> Labels:
    """The labels of a table, a file as of the data: columns `id`, `label` (0 normal, 1 anomalous) and, for those of
    steps, `step` or `frame`.

    Raises FileNotFoundError, or ValueError that names the line where something else is found.
    """
    labels: Labels = {}
    _, rows = open_rows(path)
    found = [name.strip() for name in next(rows, (1, []))[1]]
    names = ["step" if name == "frame" else name for name in found]
    if not {"id", "label"} <= set(names) or len(set(names)) < len(names):
        raise ValueError(f"{path}: found the columns {', '.join(found)}, expected one id, one label and perhaps step")
    for line, row in rows:
        where = f"{path}: line {line}"
        if len(row) != len(names):
            raise ValueError(f"{where}: found {len(row)} cells, expected {len(names)}, as in the first line")
        cells = dict(zip(names, row, strict=True))
        label, step = cells["label"].strip(), cells.get("step", "0").strip()
        if label not in ("0", "1"):
            raise ValueError(f"{where}: found the label {label!r}, expected 0 or 1 (anomalous)")
        if not step.isdecimal():
            raise ValueError(f"{where}: found the step {step!r}, expected a whole number from 0")
        key = cells["id"], int(step) if "step" in names else None
        if labels.setdefault(key, int(label)) != int(label):
            by_step = "" if "step" in names else "; a column step says which step each is of"
            raise ValueError(f"{where}: found the labels 0 and 1 for one thing, expected one of them{by_step}")
    return labels


def read_frame_labels(folder: Path, frames: Mapping[str, int], stride: int) -> Labels:
    """The labels of every frame of videos, from a folder with a file `ID.npy` for each, (frames,) of 0 and 1, in the
    usual layout of UCSD Ped, Avenue and ShanghaiTech.

    A file may be called like the video's id or its last part. frames: by their ids, how many are read of the videos.
    stride: which are every so many ones. Raises FileNotFoundError or ValueError for what is not there, does not fit or
    may be of two videos.
    """
    import numpy as np

    from ...datasets.arrays import open_npy

    labels: Labels = {}
    owners: dict[Path, str] = {}
    for video, count in frames.items():
        tried = [folder / f"{name}.npy" for name in (video, PurePosixPath(video).name)]
        path = next((path for path in tried if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(
                f"{folder}: found no labels of {video!r}, expected {tried[-1].name} with 0 or 1 per frame"
            )
        if (owner := owners.setdefault(path, video)) != video:
            raise ValueError(f"{path}: may be of {owner!r} or {video!r}, expected {video}.npy in {folder}, and so on")
        array = open_npy(path)
        values = array.reshape(-1) if array.size == max(array.shape, default=1) else array
        of_steps = values[::stride]
        if values.ndim != 1 or len(of_steps) != count:
            raise ValueError(
                f"{path}: found an array {array.shape}, expected 0 or 1 (anomalous) for each of {count} frames"
                + (f", of which one in {stride} is read" if stride > 1 else "")
            )
        if len(wrong := values[~np.isin(values, (0, 1))]):
            raise ValueError(f"{path}: found the label {wrong[0]}, expected 0 or 1 (anomalous) for each frame")
        labels |= {(video, step): int(label) for step, label in enumerate((of_steps == 1).tolist())}
    return labels


def detection_curves(
    labels: Labels, series: Sequence[Series], places: Sequence[Place], scores: Scores
) -> dict[str, Any]:
    """`detection` of clips and, where steps have labels, of steps. A clip with an anomalous step is anomalous.

    Raises ValueError for what has no label, and where neither has both kinds.
    """
    import numpy as np

    from ...thresholds import detection, detection_by_video

    truth: dict[str, tuple[list[int], npt.NDArray[np.float64]]] = {}
    if all(step is None for _, step in labels):
        of_clips = [_label(labels, place.id, None) for place in places]
    else:
        of_steps = [_label(labels, one.id, step) for one in series for step in one.steps.tolist()]
        truth["steps"] = of_steps, np.concatenate([one.scores for one in series])
        by_series = {one.id: [labels[one.id, step] for step in one.steps.tolist()] for one in series}
        of_clips = [
            int(any(labels.get((place.id, place.start + step)) for step in range(place.steps))) for place in places
        ]
    truth["clips"] = of_clips, scores.sequences.double().numpy()
    curves = {level: detection(*pair) for level, pair in truth.items() if len(set(pair[0])) == 2}
    if "steps" in curves:
        curves["steps"] |= detection_by_video(by_series, {one.id: one.scores for one in series})
    if not curves:
        raise ValueError(f"found only the label {of_clips[0]}, expected both 0 and 1 among what is scored")
    return curves


def _label(labels: Labels, name: str, step: int | None) -> int:
    if (name, step) not in labels:
        at = "" if step is None else f", step {step}"
        raise ValueError(f"found no label for {name!r}{at}, expected one for everything that is scored")
    return labels[name, step]


def write_steps(
    path: Path,
    series: Sequence[Series],
    thresholds: npt.NDArray[np.float64],
    times: Mapping[str, Clock],
    names: Sequence[str],
) -> int:
    """A row per step, with its time where the data have times; returns how many are above their threshold."""
    flagged = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv_writer(file)
        head = ("id", "step", *(["time"] if times else []), "score", "threshold", "flagged")
        writer.writerow((*head, *(["features"] if names else [])))
        for one, threshold in zip(series, thresholds.tolist(), strict=True):
            for step, score, features in zip(one.steps.tolist(), one.scores.tolist(), one.features, strict=True):
                place = (one.id, step, *([time_of(times, one.id, step)] if times else []))
                contribute = [_contributions(features, names)] if names else []
                writer.writerow((*place, f"{score:.6g}", f"{threshold:.6g}", int(score > threshold), *contribute))
                flagged += score > threshold
    return flagged


def write_incidents(
    path: Path,
    incidents: Sequence[Incident],
    explained: Sequence[npt.NDArray[np.float64]],
    times: Mapping[str, Clock],
    names: Sequence[str],
) -> None:
    """A row per incident; start, end and peak are times where the data have some, or else steps.

    explained: by how much (F,) each feature explains each incident.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv_writer(file)
        writer.writerow(("id", "start", "end", "peak", "score", *(["features"] if names else [])))
        for incident, of_features in zip(incidents, explained, strict=True):
            one = incident.series
            steps = one.steps[[incident.first, incident.last, incident.peak]].tolist()
            when = [time_of(times, one.id, step) or step for step in steps]
            contribute = [_contributions(of_features, names)] if names else []
            writer.writerow((one.id, *when, f"{one.scores[incident.peak]:.6g}", *contribute))


def write_clips(
    path: Path,
    places: Sequence[Place],
    scores: Scores,
    thresholds: npt.NDArray[np.float64] | None,
    times: Mapping[str, Clock],
) -> int:
    """A row per clip, the most anomalous first, named by its sequence and its first step there.

    Returns how many are above their threshold. Without one, cells are empty.
    """
    flagged = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv_writer(file)
        writer.writerow(("id", "step", *(["time"] if times else []), "score", "threshold", "flagged"))
        for row in scores.sequences.argsort(descending=True).tolist():
            score, threshold = float(scores.sequences[row]), None if thresholds is None else float(thresholds[row])
            name, start = places[row][:2]
            place = (name, start, *([time_of(times, name, start)] if times else []))
            cells = ("", "") if threshold is None else (f"{threshold:.6g}", int(score > threshold))
            writer.writerow((*place, f"{score:.6g}", *cells))
            flagged += threshold is not None and score > threshold
    return flagged


class Told(NamedTuple):
    """A row of `incidents.csv`, with the numbers of its first and last step."""

    first: int
    last: int
    row: dict[str, str]

    @property
    def score(self) -> float:
        return float(self.row["score"])


class Extent(NamedTuple):
    """What the tables say of a sequence: its first and last scored step, when these are, and its incidents."""

    id: str
    ends: tuple[int, int]
    when: tuple[str, str]
    incidents: list[Told]


def read_extents(folder: Path) -> list[Extent]:
    """The sequences in the tables that are in `folder`, in their order."""
    ends: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    steps: dict[tuple[str, str], int] = {}
    incidents: dict[str, list[Told]] = {}
    with (folder / "anomaly.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            ends[row["id"]] = ends.get(row["id"], (row,))[0], row
            if row["flagged"] == "1":
                steps[row["id"], _when(row)] = int(row["step"])
    with (folder / "incidents.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            told = Told(steps[row["id"], row["start"]], steps[row["id"], row["end"]], row)
            incidents.setdefault(row["id"], []).append(told)
    return [
        Extent(name, (int(first["step"]), int(last["step"])), (_when(first), _when(last)), incidents.get(name, []))
        for name, (first, last) in ends.items()
    ]


def _when(row: Mapping[str, str]) -> str:
    return row.get("time") or row["step"]


def overlapping(incident: Incident, places: Sequence[Place], beside: int = 0) -> list[int]:
    """The clips that have a step of an incident, or one of so many `beside` it."""
    first, last = incident.series.steps[[incident.first, incident.last]].tolist()
    return [
        row
        for row, place in enumerate(places)
        if place.id == incident.series.id
        and place.start <= last + beside
        and place.start + place.steps > first - beside
    ]
