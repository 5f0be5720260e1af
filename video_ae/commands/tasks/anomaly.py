"""Which clips and which of their steps are anomalous, by thresholds from held-out normal data."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from markupsafe import Markup

from ...datasets.flags import flag
from ...files import write_json
from ...report.charts import Bar, Lane, time_line
from ...report.markup import element, join
from ...report.page import data_table, guarded
from ...report.sections import where
from ...report.tables import Cells
from ...results import replace_results
from .anomaly_pictures import draw_clips, draw_incidents, draw_scores, draw_where
from .anomaly_tables import (
    Incident,
    Place,
    Series,
    Told,
    detection_curves,
    find_incidents,
    overlapping,
    read_extents,
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
    from ...datasets.video_clips import VideoClips
    from ...thresholds import Thresholds

_LANES, _BARS, _ROWS = 20, 100, 20  # of a time line, of each of its lanes, and of the table beside it
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
        no_frames = opened.data.generated or opened.data.fps is not None or opened.model.config.features
        if file is not None and file.is_dir() and no_frames:
            raise ValueError(
                f"--labels-file {file}: a folder has the labels of the frames of videos, expected a run on frames"
                " without --fps, or a .csv file of labels"
            )
        if arguments.all_anomalous and (file is not None or opened.data == opened.trained_on):
            raise ValueError(
                "--all-anomalous is for other data than the run was trained on, as by --num-digits 2, without"
                " --labels-file"
            )
        follow = opened.model.config.predicted_frames
        frames = opened.whole_frames(opened.data, opened.model.config.input_frames, follow)
        clips, count = opened.test_clips(arguments, frames, shortest=follow + 1)
        if file is not None and labels is None:
            labels = read_frame_labels(file, _frames_of(clips), opened.data.frame_stride)
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
        of_steps, of_normal = (
            _of_each(thresholds["steps"], one, arguments.per_series) for one in (series + beside, normal_series)
        )
        of_clips = _of_each(thresholds["clips"], places, arguments.per_series) if "clips" in thresholds else None
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
            explained = _explain(normal.scorer, clips, arguments.batch_size, incidents, places[:anomalous], scores)
            write_incidents(place / "incidents.csv", incidents, explained, times, names)
            levels = normal.scorer.levels.items()
            results = opened.facts(arguments) | {
                "source": source,
                "quantile": quantile,
                "threshold": method,
                "split": clips.split,
                "thresholds": {level: fitted.values for level, fitted in thresholds.items()},
                "normal_clips": len(normal.places),
                "clips": len(places),
                "steps": sum(len(one.steps) for one in series),
                **flagged,
                "spread": width,
                "incidents": len(incidents),
                "normal_incidents": len(find_incidents(normal_series, of_normal)),
                "normal_steps": sum(len(one.steps) for one in normal_series),
                "normal_days": _days(normal_series, opened.own_data.times()),
                "detection": {
                    level: {name: curve[name] for name in _NUMBERS if name in curve} for level, curve in curves.items()
                },
                "levels": {name: level.steps.tolist() for name, level in levels},
                "feature_levels": {name: level.features.tolist() for name, level in levels},
                "moved_constants": _moved(opened, constants, moved, places, times),
            }
            write_json(place / "anomaly.json", results)
            _print(opened, results, lacking)
            draw_scores(opened, place, series, of_steps, places, scores)
            if curves:
                save_detection_curves(place / "anomaly-curves.png", curves)
                print(f"curves   {folder / 'anomaly-curves.png'}")
            if opened.model.config.features:
                draw_incidents(opened, place, clips, incidents, explained, places[:anomalous], names)
            else:
                draw_where(opened, place, clips, scores, places[:anomalous], thresholds["steps"])
                draw_clips(opened, place, clips, scores.sequences[:count])
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
        return join([element("p", about), data_table(cells), *moved, guarded(_show_incidents, folder)])


def _show_incidents(folder: Path) -> Markup:
    """The worst sequences' incidents on a time line, and the worst incidents of all in a table."""
    found = [one for one in read_extents(folder) if one.incidents]
    if not found:
        return element("p", "No incidents.")
    worst = sorted(found, key=lambda one: -max(told.score for told in one.incidents))[:_LANES]
    lanes = [
        Lane(
            one.id,
            *one.ends,
            f"{one.when[0]} to {one.when[1]}",
            [
                Bar(told.first, told.last, f"{told.score:.3g}", _say(told), told.score)
                for told in sorted(one.incidents, key=lambda told: -told.score)[:_BARS]
            ],
        )
        for one in worst
    ]
    count = sum(len(one.incidents) for one in found)
    about = f"{count:,} incidents in {len(found):,} sequences, with their largest scores"
    shown = sum(len(lane.bars) for lane in lanes)
    about += "." if shown == count else f": the worst {shown:,}."
    told = sorted((told for one in found for told in one.incidents), key=lambda told: -told.score)[:_ROWS]
    columns = list(told[0].row)
    rows = [[_features_text(text) if name == "features" else text for name, text in one.row.items()] for one in told]
    table = element("details", element("summary", "The worst incidents"), data_table([columns, *rows]))
    return join([element("h3", "When"), element("p", about), time_line(lanes), table])


def _say(told: Told) -> str:
    row = told.row
    text = f"{row['start']} to {row['end']}, score {told.score:.3g} at {row['peak']}"
    return text + (f": {_features_text(row['features'])}" if row.get("features") else "")


def _features_text(shares: str) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in json.loads(shares).items())


def _frames_of(clips: Clips) -> dict[str, int]:
    """How many frames are read of each video that clips are of, also such as are in no clip."""
    scored = {clips.place(index)[0] for index in range(len(clips))}
    frames = dict.fromkeys(scored, 0)
    for record in cast("VideoClips", clips).arrays.videos:
        if record.name in scored:  # perhaps in several pieces
            frames[record.name] = max(frames[record.name], record.first + record.frames)
    return frames


def _fit(opened: Opened, arguments: argparse.Namespace, source: str) -> Normal:
    import torch

    from ...anomaly import Scorer, present, relative_errors, step_scores

    held_out = opened.own_clips("validation", opened.model.config.predicted_frames)
    held_out = held_out.sample(held_out.available or GENERATED_CLIPS)
    unfitted = Scorer(opened.model, {}, source, opened.model.config.predicted_frames)

    def errors(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        return {**unfitted.errors(batch), "present": present(batch)}

    count, decoders = len(held_out), opened.model.decoders
    judged = [
        ({name: part[name] for name in decoders if name in part}, part["present"])
        for part in share_batches(
            opened.ranks, opened.folder, held_out, count, arguments.batch_size, "normal clips", errors
        )
    ]
    scorer, scores = unfitted.fitted(judged)
    features = torch.cat([step_scores(relative_errors(batch, scorer.levels), there, source) for batch, there in judged])
    places = [Place(*held_out.place(row), 0, held_out.stretch(row)) for row in range(count)]
    return Normal(scorer, scores, places, _of_series(opened, features))


def _of_series(opened: Opened, features: torch.Tensor) -> torch.Tensor:
    """Scores (B, T, F) of the features of series; of pictures none, which have one for the whole frame."""
    return features if opened.model.config.features else features[..., :0]


def _constants(opened: Opened, arguments: argparse.Namespace) -> dict[int, float]:
    """The features that never changed in training, and their values."""
    from ...anomaly import constant_channels

    if not opened.model.config.features:
        return {}
    clips = opened.own_clips("train", opened.model.config.predicted_frames)
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

    clips = opened.own_clips("test", opened.model.config.predicted_frames, arguments.seed).sample(len(places))
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
        scores, features = scorer.judge(batch)
        return {
            "steps": scores.steps,
            "sequences": scores.sequences,
            "features": _of_series(opened, features),
            "lengths": present(batch).sum(dim=1),
            "moved": torch.cat(moved),
        }

    places: list[Place] = []
    parts = []
    for part in share_batches(opened.ranks, opened.folder, clips, count, batch_size, what, judge):
        part["moved"][:, 0] += len(places)
        places += [
            Place(*clips.place(row), length, clips.stretch(row))
            for row, length in enumerate(part["lengths"].tolist(), len(places))
        ]
        parts.append(part)
    scores = join_scores([Scores(part["steps"], part["sequences"]) for part in parts])
    features, moved = (torch.cat([part[name] for part in parts]) for name in ("features", "moved"))
    return Scored(scores, places, features, moved.numpy())


def _groups(of: Sequence[Place] | Sequence[Series], per_series: bool) -> list[str] | None:
    """The sequence that each is of, where each sequence is to have a threshold of its own."""
    return [one.id for one in of] if per_series else None


def _of_each(
    thresholds: Thresholds, of: Sequence[Place] | Sequence[Series], per_series: bool
) -> npt.NDArray[np.float64]:
    """The threshold of each."""
    return thresholds.of(len(of), _groups(of, per_series))


def _lay_out(places: Sequence[Place], scores: torch.Tensor, features: torch.Tensor, width: int) -> list[Series]:
    """Scores of clips (B, T), and of their features (B, T, F), to those of the steps of the sequences that the clips
    were cut from, spread by `spread_scores` between holes in their times."""
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
        begins = sorted({places[row].stretch for row in chosen})
        parts = np.split(laid, np.array(begins[1:], int) - first)
        laid = np.concatenate([spread_scores(part, width) for part in parts])
        steps = np.flatnonzero(~np.isnan(laid[:, 0]))
        series.append(Series(name, first + steps, laid[steps, 0], laid[steps, 1:]))
    return series


def _days(series: Sequence[Series], times: Mapping[str, Clock]) -> float | None:
    """How many days the steps of these series last, each from the first to the last; None without dates: the unit of
    other times nobody states."""
    from ...datasets.times import is_date, parse_time

    ends = [time_of(times, one.id, step) for one in series if len(one.steps) for step in one.steps[[0, -1]].tolist()]
    if not ends or not all(map(is_date, ends)):
        return None
    seconds = [sum(parse_time(text)) for text in ends]
    return (sum(seconds[1::2]) - sum(seconds[::2])) / 86400


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


def _explain(
    scorer: Scorer,
    clips: Clips,
    batch_size: int,
    incidents: Sequence[Incident],
    places: Sequence[Place],
    scores: Scores,
) -> list[npt.NDArray[np.float64]]:
    """What each feature (F,) explains of every incident, by the most anomalous clip in it; of those in the normal clips
    that stand beside the ones to judge, their errors alone."""
    if not scorer.model.config.features:
        return [incident.features for incident in incidents]
    by_score = scores.sequences.tolist().__getitem__
    worst = [max(overlapping(incident, places), key=by_score, default=None) for incident in incidents]
    rows = sorted({row for row in worst if row is not None})
    attributed = (scorer.attribute(batch) for batch in batches(clips, rows, batch_size, "what explains incidents"))
    of_rows = (row for batch in attributed for row in batch.clamp(min=0).double().numpy())
    explained: dict[int | None, npt.NDArray[np.float64]] = dict(zip(rows, of_rows, strict=True))
    return [explained.get(row, incident.features) for row, incident in zip(worst, incidents, strict=True)]
