"""Which clips and which of their steps are anomalous, by thresholds from held-out normal data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from markupsafe import Markup

from ...config import FUTURE
from ...datasets.config import DataConfig
from ...datasets.flags import flag
from ...files import write_json
from ...report.markup import element, join
from ...report.page import data_table
from ...report.sections import where
from ...report.tables import Cells
from ...results import replace_results
from .anomaly_tables import (
    Incident,
    Place,
    Series,
    detection_curves,
    find_incidents,
    most_contributing,
    read_frame_labels,
    read_labels,
    time_of,
    write_clips,
    write_incidents,
    write_steps,
)
from .opened import GENERATED_CLIPS, Opened, batches, share_batches
from .task import Task, register

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ...anomaly import Scorer, Scores
    from ...datasets.clips import Clips
    from ...datasets.times import Clock
    from ...shared_work import Results
    from ...thresholds import Thresholds
    from ...visualize import IncidentSeries

_DRAWN = 4
_INCIDENTS = 6  # that are drawn
_FEW = 30  # normal clips, whose steps go up and down together
_NORMAL = "normal/"  # before the ids of clips of the training data that stand beside anomalous ones
_NAMED = 9  # series in a message
_BY_VIDEO = ("micro_roc_auc", "macro_roc_auc", "judged", "micro_roc_auc_normalised")
_NUMBERS = ("roc_auc", "average_precision", "anomalous", "count", *_BY_VIDEO)


@dataclass(frozen=True)
class AnomalyFlags:
    quantile: float | None = flag(None, "of the scores of normal data, the threshold (default: 0.99)", metavar="Q")
    source: str | None = flag(
        None, "of the scores (default: all there are)", choices=("reconstruction", "future", "both")
    )
    labels_file: Path | None = flag(
        None,
        "id, label (1: anomalous), perhaps step: curves; or a folder of ID.npy",
        metavar="PATH",
        about={"unnamed": True},
    )
    all_anomalous: bool | None = flag(None, "all clips of the data named here are anomalous: curves")
    per_series: bool | None = flag(None, "a threshold for each series or video")
    no_spread: bool | None = flag(None, "each step's own error, not the surroundings' as well")
    threshold: str | None = flag(
        None,
        "the quantile of the normal scores themselves (default), or of the distribution that fits their tail",
        choices=("quantile", "peaks"),
    )


class Normal(NamedTuple):
    """Held-out clips of the data that the model was trained on, and the scorer whose levels are theirs."""

    scorer: Scorer
    scores: Scores
    places: list[Place]
    features: torch.Tensor  # (N, T, F)


class Scored(NamedTuple):
    """Clips, their scores, those of their features (N, T, F), and where constant features moved: the clip, its step and
    the channel, (M, 3)."""

    scores: Scores
    places: list[Place]
    features: torch.Tensor
    moved: npt.NDArray[np.int64]


@register
class Anomaly(Task):
    name = "anomaly"
    shared = True
    title = "What is anomalous"
    alt: ClassVar = {
        "anomaly": "Scores over the steps of the most anomalous sequences, with the threshold",
        "anomaly-curves": "ROC curve, and precision against recall",
        "anomaly-incidents": "The features that explain the worst incidents most, with the incidents shaded",
        "anomaly-where": "Anomalous frames, and where in them the model is wrong",
        "anomaly-strip": "Frames of the most anomalous clips, the truth above what the model made of it",
    }
    flags = (AnomalyFlags,)

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `anomaly.json`, tables of steps and clips, plots and, of pictures, the worst clips; print a summary."""
        from ...anomaly import choose_source
        from ...thresholds import QUANTILE, THRESHOLDS, check_quantile, detection
        from ...visualize import save_detection_curves

        folder = opened.folder
        quantile = check_quantile(QUANTILE if arguments.quantile is None else arguments.quantile)
        method = arguments.threshold or THRESHOLDS[0]
        source = choose_source(arguments.source, opened.model.config.decoders)
        file: Path | None = arguments.labels_file
        labels = read_labels(file) if file is not None and not file.is_dir() else None
        if arguments.all_anomalous and (file is not None or opened.data == opened.trained_on):
            raise ValueError(
                "--all-anomalous is for other data than the run was trained on, as by --num-digits 2, without"
                " --labels-file"
            )
        clips, count = _open_clips(opened, arguments)
        if file is not None and labels is None:
            labels = read_frame_labels(file, _frames_of_videos(file, opened, clips), opened.data.frame_stride)
        normal = _fit(opened, arguments, source)
        constants = _constants(opened, arguments)
        scores, places, features, moved = _score(
            opened, normal.scorer, clips, count, arguments.batch_size, "clips", constants
        )
        anomalous = len(places)  # clips of the data to judge; of the training data are those after them
        if arguments.all_anomalous:
            scores, places, features = _beside_normal(opened, arguments, normal.scorer, scores, places, features)
        if not opened.ranks.is_main:
            return {}
        cut = not arguments.no_spread and len({place.id for place in places[:anomalous]}) < anomalous
        width = scores.steps.shape[1] if cut else 1
        series = _lay_out(places[:anomalous], scores.steps[:anomalous], features[:anomalous], width)
        beside = _lay_out(places[anomalous:], scores.steps[anomalous:], features[anomalous:], width)
        normal_series = _lay_out(normal.places, normal.scores.steps, normal.features, width)
        if arguments.per_series:
            _refuse_unknown(normal, [one.id for one in series + beside])
        thresholds, lacking = _thresholds(normal, normal_series, quantile, arguments.per_series, method)
        of_steps = thresholds["steps"].of(len(series + beside), _groups(series + beside, arguments.per_series))
        of_clips = None
        if "clips" in thresholds:
            of_clips = thresholds["clips"].of(len(places), _groups(places, arguments.per_series))
        curves = {}
        if labels is not None:
            curves = detection_curves(labels, series, places, scores)
        elif arguments.all_anomalous:
            curves = {"clips": detection([int(clip < anomalous) for clip in range(len(places))], scores.sequences)}

        times, names = opened.data.times(), _feature_names(opened)
        series += [one._replace(id=_NORMAL + one.id) for one in beside]
        places = places[:anomalous] + [place._replace(id=_NORMAL + place.id) for place in places[anomalous:]]
        with replace_results(folder, "anomaly") as place:
            flagged = {
                "clips_flagged": write_clips(place / "anomaly-clips.csv", places, scores, of_clips, times),
                "steps_flagged": write_steps(place / "anomaly.csv", series, of_steps, times, names),
            }
            incidents = find_incidents(series, of_steps)
            explained = _explain(normal.scorer, clips, incidents, places[:anomalous], scores)
            write_incidents(place / "incidents.csv", incidents, explained, times, names)
            of_normal = thresholds["steps"].of(len(normal_series), _groups(normal_series, arguments.per_series))
            results = opened.facts(arguments) | {
                "source": source,
                "quantile": quantile,
                "threshold": method,
                "split": clips.split,
            }
            results |= {"thresholds": {level: fitted.values for level, fitted in thresholds.items()}}
            results |= {"normal_clips": len(normal.places), "clips": len(places)}
            results |= {"steps": sum(len(one.steps) for one in series)} | flagged
            results |= {"spread": width, "incidents": len(incidents)}
            results |= {"normal_incidents": len(find_incidents(normal_series, of_normal))}
            results |= {"normal_steps": sum(len(one.steps) for one in normal_series)}
            results |= {"normal_days": _days(normal_series, opened.own_data.times())}
            results |= {
                "detection": {
                    level: {name: curve[name] for name in _NUMBERS if name in curve} for level, curve in curves.items()
                }
            }
            levels = normal.scorer.levels.items()
            results |= {"levels": {name: level.steps.tolist() for name, level in levels}}
            results |= {"feature_levels": {name: level.features.tolist() for name, level in levels}}
            results |= {"moved_constants": _moved(opened, constants, moved, places, times)}
            write_json(place / "anomaly.json", results)
            _print(opened, results, lacking)
            _draw(opened, place, series, of_steps, places, scores)
            if curves:
                save_detection_curves(place / "anomaly-curves.png", curves)
                print(f"curves   {folder / 'anomaly-curves.png'}")
            if opened.model.config.features:
                _draw_incidents(opened, place, clips, incidents, explained, places[:anomalous], names)
            else:
                _draw_where(opened, place, clips, scores, places[:anomalous], thresholds["steps"])
                _draw_clips(opened, place, clips, scores.sequences[:count])
            print(f"when     {folder / 'incidents.csv'}\nby step  {folder / 'anomaly.csv'}")
            print(f"by clip  {folder / 'anomaly-clips.csv'}")
            print(f"metrics  {folder / 'anomaly.json'}")
        return results

    def show(self, folder: Path, results: Any) -> Markup:
        about = f"{where(results)}; thresholds are the {results['quantile']:g} quantile of "
        about += f"{results['normal_clips']:,} normal clips, in units of the normal error."
        cells: Cells = [("", "scored", "threshold", "above it", "ROC-AUC", "average precision")]
        for level in ("clips", "steps"):
            values = list(results["thresholds"].get(level, {}).values())
            ends = "-" if not values else " to ".join(dict.fromkeys(f"{end:.2f}" for end in (min(values), max(values))))
            curve = results["detection"].get(level, {})
            flagged = f"{results[f'{level}_flagged']:,}" if values else "-"
            numbers = (f"{curve[name]:.3f}" if curve else "-" for name in ("roc_auc", "average_precision"))
            cells.append((level, f"{results[level]:,}", ends, flagged, *numbers))
        moved = [
            element("p", f"Constant in training, and not here: {one['feature']}, in {one['steps']:,} steps.")
            for one in results.get("moved_constants", [])
        ]
        return join([element("p", about), data_table(cells), *moved])


def _open_clips(opened: Opened, arguments: argparse.Namespace) -> tuple[Clips, int]:
    """The clips to score and how many; whole sequences may be longer than any in the training."""
    return opened.test_clips(arguments, _frames(opened, opened.data), shortest=_shortest(opened))


def _frames_of_videos(labels: Path, opened: Opened, clips: Clips) -> dict[str, int]:
    """By the ids of the videos that clips are of, how many frames of each are read, also such as are in no clip.

    Raises ValueError where clips are of something else, whose frames the folder `labels` cannot tell.
    """
    from ...datasets.video_clips import VideoClips

    if not isinstance(clips, VideoClips) or opened.model.config.features or opened.data.fps is not None:
        raise ValueError(
            f"--labels-file {labels}: a folder has the labels of the frames of videos, expected a run on frames"
            " without --fps, or a .csv file of labels"
        )
    scored = {clips.place(index)[0] for index in range(len(clips))}
    frames: dict[str, int] = {}
    for record in clips.arrays.videos:
        if record.name in scored:
            frames[record.name] = max(frames.get(record.name, 0), record.first + record.frames)
    return frames


def _frames(opened: Opened, data: DataConfig) -> int:
    return opened.whole_frames(data, opened.model.config.input_frames, _predicted(opened))


def _shortest(opened: Opened) -> int:
    return 1 + _predicted(opened)


def _predicted(opened: Opened) -> int:
    """How many of a clip's last steps are predicted."""
    return opened.model.config.future_frames if FUTURE in opened.model.decoders else 0


def _open_normal(opened: Opened, arguments: argparse.Namespace, split: str) -> Clips:
    """Clips of the data that the model was trained on."""
    data, seed = opened.own_data, arguments.seed if split == "test" else 0
    frames = _frames(opened, data)
    return data.open(split, frames, seed=seed, shortest=_shortest(opened), division=opened.division)


def _fit(opened: Opened, arguments: argparse.Namespace, source: str) -> Normal:
    import torch

    from ...anomaly import Scorer, present

    held_out = _open_normal(opened, arguments, "validation")
    held_out = held_out.sample(held_out.available or GENERATED_CLIPS)
    unfitted = Scorer(opened.model, {}, source, _predicted(opened))

    def errors(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        return {**unfitted.errors(batch), "present": present(batch)}

    def shared(what: str, judge: Callable[[torch.Tensor], Results]) -> list[Results]:
        count = len(held_out)
        return list(share_batches(opened.ranks, opened.folder, held_out, count, arguments.batch_size, what, judge))

    judged = shared("normal clips", errors)
    decoders = opened.model.decoders
    scorer, scores = unfitted.fitted(
        [({name: part[name] for name in decoders if name in part}, part["present"]) for part in judged]
    )
    features = shared("features of normal clips", lambda batch: {"features": _features(scorer, batch)})
    places = [Place(*held_out.place(index), 0) for index in range(len(held_out))]
    return Normal(scorer, scores, places, torch.cat([part["features"] for part in features]))


def _features(scorer: Scorer, batch: torch.Tensor) -> torch.Tensor:
    """The scores of the features of clips, (B, T, F); of pictures none."""
    return scorer.features(batch) if scorer.model.config.features else batch.new_zeros(*batch.shape[:2], 0).float()


def _constants(opened: Opened, arguments: argparse.Namespace) -> dict[int, float]:
    """The features that never changed in training, and their values."""
    from ...anomaly import constant_channels

    if not opened.model.config.features:
        return {}
    clips = _open_normal(opened, arguments, "train")
    return constant_channels(batches(clips, range(len(clips)), arguments.batch_size, "what is constant"))


def _beside_normal(
    opened: Opened,
    arguments: argparse.Namespace,
    scorer: Scorer,
    scores: Scores,
    places: list[Place],
    features: torch.Tensor,
) -> tuple[Scores, list[Place], torch.Tensor]:
    """Clips to judge and, after them, as many normal test clips."""
    import torch

    from ...anomaly import join_scores

    clips = _open_normal(opened, arguments, "test").sample(len(places))
    others, other_places, more, _ = _score(
        opened, scorer, clips, len(clips), arguments.batch_size, "normal test clips", {}
    )
    return join_scores([scores, others]), places + other_places, torch.cat([features, more])


def _thresholds(
    normal: Normal, series: Sequence[Series], quantile: float, per_series: bool, method: str
) -> tuple[dict[str, Thresholds], str]:
    """Of `steps` and of `clips`; without the latter where there are too few for one, and then why.

    series: of the normal clips.
    """
    from ...thresholds import Thresholds

    found = {
        "steps": Thresholds.fit([one.scores for one in series], quantile, _groups(series, per_series), method=method)
    }
    try:
        groups = _groups(normal.places, per_series)
        return found | {"clips": Thresholds.fit(normal.scores.sequences, quantile, groups, method=method)}, ""
    except ValueError as error:  # there are fewer clips than steps
        return found, str(error)


def _refuse_unknown(normal: Normal, ids: Sequence[str]) -> None:
    """Raises ValueError where a series that is judged has no held-out normal data."""
    known = list(dict.fromkeys(place.id for place in normal.places))
    if unknown := [one for one in dict.fromkeys(ids) if one not in set(known)]:
        raise ValueError(
            f"--per-series: found no held-out normal data of {_listed(unknown)}, only of {_listed(known)}; leave"
            " --per-series out for one threshold of all, or train on fewer than ten series, each of which is split in"
            " time, with these among them"
        )


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(map(repr, ids[:_NAMED])) + more


def _score(
    opened: Opened,
    scorer: Scorer,
    clips: Clips,
    count: int,
    batch_size: int,
    what: str,
    constants: dict[int, float],
) -> Scored:
    import torch

    from ...anomaly import Scores, join_scores, moved_constants, present

    def judge(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        moved = [torch.zeros(0, 3, dtype=torch.int64)]
        for channel, there in moved_constants(constants, batch).items():
            moved.append(torch.cat([there.nonzero(), torch.full((int(there.sum()), 1), channel)], dim=1))
        scores = scorer(batch)
        return {
            "steps": scores.steps,
            "sequences": scores.sequences,
            "features": _features(scorer, batch),
            "lengths": present(batch).sum(dim=1),
            "moved": torch.cat(moved),
        }

    places: list[Place] = []
    parts = []
    for part in share_batches(opened.ranks, opened.folder, clips, count, batch_size, what, judge):
        part["moved"][:, 0] += len(places)
        places += [
            Place(*clips.place(len(places) + row), length) for row, length in enumerate(part["lengths"].tolist())
        ]
        parts.append(part)
    scores = join_scores([Scores(part["steps"], part["sequences"]) for part in parts])
    features, moved = (torch.cat([part[name] for part in parts]) for name in ("features", "moved"))
    return Scored(scores, places, features, moved.numpy())


def _groups(of: Sequence[Place] | Sequence[Series], per_series: bool) -> list[str] | None:
    """The sequence that each is of, where each sequence is to have a threshold of its own."""
    return [one.id for one in of] if per_series else None


def _lay_out(places: Sequence[Place], scores: torch.Tensor, features: torch.Tensor, width: int) -> list[Series]:
    """Scores of clips (B, T), and of their features (B, T, F), to those of the steps of the sequences that the clips
    were cut from, spread by `spread_scores`."""
    import numpy as np
    import torch

    from ...anomaly import average_windows, spread_scores

    rows: dict[str, list[int]] = {}
    for row, place in enumerate(places):
        rows.setdefault(place.id, []).append(row)
    series = []
    for name, chosen in rows.items():
        starts = np.array([places[row].start for row in chosen])
        first = starts.min()
        length = int(starts.max() - first) + scores.shape[1]
        columns = torch.cat([scores[chosen, :, None], features[chosen]], dim=2).unbind(dim=2)
        laid = np.stack([average_windows(column, starts - first, length) for column in columns], axis=1)
        laid = spread_scores(laid, width)
        steps = np.flatnonzero(~np.isnan(laid[:, 0]))
        series.append(Series(name, first + steps, laid[steps, 0], laid[steps, 1:]))
    return series


def _days(series: Sequence[Series], times: Mapping[str, Clock]) -> float | None:
    """How many days the steps of these series last, each from the first to the last; None without time stamps."""
    import numpy as np

    if not times or any(one.id not in times for one in series):
        return None
    spans = [np.array([times[one.id][one.steps[end]].decode() for end in (0, -1)]) for one in series if len(one.steps)]
    try:
        return float(sum((np.diff(span.astype("M8[us]"))[0] / np.timedelta64(1, "D")) for span in spans))
    except ValueError:  # numbers, whose unit nobody states
        return None


def _feature_names(opened: Opened) -> list[str]:
    """Of the features of series, by their columns, or numbers without such; of pictures none."""
    if not opened.model.config.features:
        return []
    return list(opened.trained_on.columns) or [str(index) for index in range(opened.model.config.frame_shape[0])]


def _moved(
    opened: Opened,
    constants: dict[int, float],
    moved: npt.NDArray[np.int64],
    places: Sequence[Place],
    times: Mapping[str, Clock],
) -> list[dict[str, Any]]:
    """Which features were constant in training and are not here: how many steps, and the first of them."""
    columns, offsets = opened.trained_on.columns, opened.trained_on.offsets
    results = []
    for channel, value in constants.items():
        steps = [(places[clip].id, places[clip].start + step) for clip, step, of in moved.tolist() if of == channel]
        steps = list(dict.fromkeys(steps))  # windows may overlap
        if not steps:
            continue
        known = value + (offsets[channel] if offsets else 0.0)
        name, step = steps[0]
        results.append({"feature": columns[channel] if columns else channel, "value": known, "steps": len(steps)})
        results[-1] |= {"id": name, "step": step, "time": time_of(times, name, step)}
    return results


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
        print(f"{flagged} of {count} {level} of {data} ({results['split']}) are above {above} times the normal error")
    incidents = results["incidents"]
    print(f"{incidents} incident{'s' * (incidents != 1)}; {_alarms(results)}")
    if lacking:
        print(f"no threshold for whole clips: {lacking}")
    for moved in results["moved_constants"]:
        at = f", {moved['time']}" if moved["time"] else ""
        print(
            f"warning: {moved['feature']} was always {moved['value']:g} in training and is not in {moved['steps']}"
            f" steps, the first in {moved['id']!r}, step {moved['step']}{at}: errors cannot tell how unusual that is",
            file=sys.stderr,
        )
    for level, curve in results["detection"].items():
        print(
            f"of {curve['anomalous']} anomalous among {curve['count']} {level}: ROC-AUC {curve['roc_auc']:.3f}, average"
            f" precision {curve['average_precision']:.3f}"
        )
        if curve.get("judged"):
            print(
                f"mean over the {curve['judged']} series or videos with both: ROC-AUC {curve['macro_roc_auc']:.3f};"
                f" all {level} after scaling each to 0 to 1, as some papers do: {curve['micro_roc_auc_normalised']:.3f}"
            )


def _alarms(results: dict[str, Any]) -> str:
    """How often there is an incident in held-out normal data, per day where these have times."""
    count, days = results["normal_incidents"], results["normal_days"]
    if days:
        return f"in held-out normal data {count} in {days:.3g} days, {count / days:.3g} a day"
    return f"in held-out normal data {count} in {results['normal_steps']} steps"


def _draw(
    opened: Opened,
    place: Path,
    series: Sequence[Series],
    thresholds: npt.NDArray[np.float64],
    clips: Sequence[Place],
    scores: Scores,
) -> None:
    """Scores over the steps of the sequences with the most anomalous clips."""
    from ...visualize import ScoredSeries, save_scored_series

    by_score = dict.fromkeys(clips[row].id for row in scores.sequences.argsort(descending=True).tolist())
    places = {one.id: place for place, one in enumerate(series)}
    chosen = [places[name] for name in list(by_score)[:_DRAWN]]
    drawn = [ScoredSeries(*series[place][:3], float(thresholds[place])) for place in chosen]
    save_scored_series(place / "anomaly.png", drawn)
    print(f"plot     {opened.folder / 'anomaly.png'}")


def _overlapping(incident: Incident, places: Sequence[Place], beside: int = 0) -> list[int]:
    """The clips that have a step of an incident, or one of so many `beside` it."""
    first, last = incident.series.steps[[incident.first, incident.last]].tolist()
    return [
        row
        for row, place in enumerate(places)
        if place.id == incident.series.id
        and place.start <= last + beside
        and place.start + place.steps > first - beside
    ]


def _explain(
    scorer: Scorer, clips: Clips, incidents: Sequence[Incident], places: Sequence[Place], scores: Scores
) -> list[npt.NDArray[np.float64]]:
    """What each feature (F,) explains of every incident, by the most anomalous clip in it; of those in the normal clips
    that stand beside the ones to judge, their errors alone."""
    explained = []
    for incident in incidents:
        rows = _overlapping(incident, places)
        if not rows or not incident.series.features.shape[1]:
            explained.append(incident.features)
            continue
        worst = max(rows, key=lambda row: float(scores.sequences[row]))
        explained.append(scorer.attribute(clips.__getitems__([worst]))[0].clamp(min=0).double().numpy())
    return explained


def _draw_incidents(
    opened: Opened,
    place: Path,
    clips: Clips,
    incidents: Sequence[Incident],
    explained: Sequence[npt.NDArray[np.float64]],
    places: Sequence[Place],
    names: Sequence[str],
) -> None:
    """The features that explain the worst incidents most, as they were before, then, and after."""
    import numpy as np

    from ...anomaly import average_windows
    from ...visualize import IncidentSeries, save_incidents

    worst = sorted(range(len(incidents)), key=lambda row: -incidents[row].series.scores[incidents[row].peak])
    offsets = np.array(opened.trained_on.offsets or 0.0)
    drawn: list[IncidentSeries] = []
    for incident, of_features in ((incidents[row], explained[row]) for row in worst):
        rows = _overlapping(incident, places, beside=2 * max(place.steps for place in places))
        if not rows or len(drawn) == _INCIDENTS:
            continue
        starts = np.array([places[row].start for row in rows])
        frames = clips.__getitems__(rows).flatten(2).double().numpy() + offsets  # (B, T, F)
        steps = int(starts.max() - starts.min()) + frames.shape[1]
        values = {
            names[feature]: average_windows(frames[:, :, feature], starts - starts.min(), steps)
            for feature in most_contributing(of_features)
        }
        during = incident.series.steps[[incident.first, incident.last]].tolist()
        drawn.append(IncidentSeries(incident.series.id, starts.min() + np.arange(steps), values, *during))
    if drawn:
        save_incidents(place / "anomaly-incidents.png", drawn)
        print(f"worst    {opened.folder / 'anomaly-incidents.png'}")


def _draw_where(
    opened: Opened, place: Path, clips: Clips, scores: Scores, places: Sequence[Place], thresholds: Thresholds
) -> None:
    """A GIF of the anomalous frames of the most anomalous clips, or of all of the worst, and where in them the model is
    wrong."""
    import numpy as np

    from ...anomaly import rebuild
    from ...patches import unit_range
    from ...visualize import Moment, save_where_gif

    known = thresholds.values.get
    worst = scores.sequences[: len(places)].argsort(descending=True)[:_DRAWN].tolist()
    batch = clips.__getitems__(worst)
    frames, made = unit_range(batch).numpy(), rebuild(opened.model, batch, _predicted(opened)).numpy()
    found = [
        [
            Moment(f"{places[row].id}, frame {places[row].start + step}", frames[of, step], made[of, step])
            for step in range(places[row].steps)
            if not np.isnan(made[of, step]).any()
            and (every or scores.steps[row, step] > known(places[row].id, known("", np.inf)))
        ]
        for every in (False, True)
        for of, row in enumerate(worst[: 1 if every else None])
    ]
    anomalous = [moment for of_clip in found[:-1] for moment in of_clip] or found[-1]
    save_where_gif(place / "anomaly-where.gif", anomalous, opened.model.config.patch_size)
    print(f"where    {opened.folder / 'anomaly-where.gif'}")


def _draw_clips(opened: Opened, place: Path, clips: Clips, scores: torch.Tensor) -> None:
    """A GIF of the most anomalous clip, and a strip of the first few."""
    from ...evaluation import predict_clips
    from ...visualize import save_clip_gif, save_sheet, save_strip

    worst = scores.argsort(descending=True)[:_DRAWN].tolist()
    drawn = predict_clips(opened.model, clips.__getitems__(worst), opened.device)
    save_clip_gif(place / "anomaly-worst.gif", drawn[0])
    save_strip(place / "anomaly-strip.png", drawn)
    save_sheet(place / "anomaly-sheet.png", drawn)
    print(f"worst    {opened.folder / 'anomaly-worst.gif'} and, with others, {opened.folder / 'anomaly-strip.png'}")
