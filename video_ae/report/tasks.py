"""What `report.html` shows of one task of evaluate.py: its numbers, drawn, and its pictures.

A task without a section of its own gets the numbers of its JSON as tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..charts import METRICS, error_chart, label_chart
from ..config import FUTURE, RECONSTRUCTION
from ..files import read_json
from ..pretrained import WEIGHTS
from ..results import result_files
from .charts import line_chart
from .markup import element, join
from .page import (
    as_text,
    data_table,
    embed_animation,
    embed_picture,
    fact_list,
    guarded,
    player,
    read_sheet,
    section,
    spaced,
)
from .tables import Cells, label_cells, loss_name, metric_cells, ood_cells, probe_cells, rollout_verdicts

_GIFS = 2  # of a task that left no sheet
_TITLES = {
    "predict": "What it predicts",
    "rollout": "Far beyond training",
    "classify": "What the encoder is worth",
    "probe": "What the code contains",
    "anomaly": "What is anomalous",
    "forecast": "What comes next",
    "features": "What the units have learnt",
    "ood": "On other data",
    "architecture": "The model",
    "export": "Exported",
}
# Plots whose lines are drawn again.
_DRAWN_HERE = {"predict-steps", "rollout-nats", "rollout-squared-error", "classify"}
_ALT = {
    "predict-strip": "Frames of some clips side by side, the truth above what the model made of it",
    "rollout-units": "Hidden units over the steps of a long prediction: of the trained decoder and of an untrained one",
    "rollout-mse": "Squared error by step, of the model and of the baselines",
    "features-input": "What the first units weigh their input with, a picture each",
    "features-output": "What each unit adds to the output, a picture each",
    "predict-series": "Lines of some sequences over time: the truth, its reconstruction and the prediction",
    "probe-retrieval": "Test clips, each beside the training clips of the nearest codes; green frames agree",
    "anomaly": "Scores over the steps of the most anomalous sequences, with the threshold",
    "anomaly-curves": "ROC curve, and precision against recall",
    "anomaly-strip": "Frames of the most anomalous clips, the truth above what the model made of it",
    "architecture": "The model as boxes: encoder, code and decoders",
}
_PLAYED_TOGETHER = {"ood"}  # sheets that the task's own section shows


def tasks_in(folder: Path) -> list[str]:
    """The tasks that left JSON or pictures in a folder, known ones first. A folder of a model holds no results."""
    if not folder.is_dir() or (folder / WEIGHTS).exists():
        return []
    found = {_task_of(path) for path in folder.iterdir() if path.suffix in (".json", ".png", ".gif")}
    return sorted(found, key=task_order)


def task_order(task: str) -> tuple[int, str]:
    """What a report is sorted by."""
    return (list(_TITLES).index(task) if task in _TITLES else len(_TITLES), task)


def _task_of(path: Path) -> str:
    """Files are named after their task: `predict.json`, `predict-strip.png`."""
    return path.stem.partition("-")[0]


def task_section(folder: Path, task: str, changes: str) -> Markup:
    path = folder / f"{task}.json"
    parts: list[Markup] = []
    own = result_files(folder, task)
    pictures = [
        picture
        for picture in sorted((*folder.glob("*.png"), *folder.glob("*.gif")))
        if (picture.name in own if own is not None else _task_of(picture) == task) and picture.stem not in _DRAWN_HERE
    ]
    sheets = [sheet for picture in pictures if picture.suffix == ".png" and (sheet := read_sheet(picture))]
    parts += [player([sheet]) for sheet in sheets if task not in _PLAYED_TOGETHER]
    if path.is_file():
        parts.append(guarded(lambda: _SECTIONS.get(task, _numbers)(folder, read_json(path))))
    animations = [picture for picture in pictures if picture.suffix == ".gif" and not sheets]  # those show the same
    still = [picture for picture in pictures if picture.suffix == ".png" and all(picture != s.path for s in sheets)]
    for show, shown in ((embed_animation, animations[:_GIFS]), (embed_picture, still)):
        parts += [
            guarded(show, picture, _ALT.get(picture.stem) or spaced(picture.stem).removeprefix(f"{task} "))
            for picture in shown
        ]
    return section(_TITLES.get(task, spaced(task)), *parts, under=spaced(changes))


def where(results: Mapping[str, Any]) -> str:
    """The data in words: `moving-mnist (test), 3 digits`."""
    text = str(results.get("dataset", "unknown data"))
    text += f" ({results['split']})" if results.get("split") else ""
    digits = (("num_digits", "{} digits"), ("digits", "{}")) if results.get("dataset") == "moving-mnist" else ()
    for name, words in (*digits, ("data_dir", "{}")):
        text += f", {words.format(results[name])}" if results.get(name) else ""
    return text.replace(" 1 digits", " 1 digit")


def _predictions(folder: Path, results: dict[str, Any]) -> Markup:
    """Of predict and rollout: metrics beside floor and baselines, and the loss by step."""
    made = {name: results[name] for name in (RECONSTRUCTION, FUTURE) if name in results}
    judged = FUTURE if FUTURE in made else RECONSTRUCTION
    about = (
        f"{results['clips']:,} clips of {where(results)}. Per frame; the baselines are judged on the {judged} frames."
    )
    cells = metric_cells(made | results["baselines"])
    chart = line_chart(error_chart(results, loss_name(made)))
    return join([element("p", about), data_table(cells, first=len(made)), chart])


def _rollout(folder: Path, results: dict[str, Any]) -> Markup:
    """As `_predictions`, and from which step on the prediction is worth nothing."""
    about = element("p", f"{results['steps']} steps; {results['trained_steps']} in training.")
    return join([about, _sentences(rollout_verdicts(results)), _predictions(folder, results)])


def _sentences(sentences: Sequence[str]) -> Markup:
    return element("ul", *(element("li", sentence) for sentence in sentences), class_="verdicts")


def _ood(folder: Path, results: dict[str, Any]) -> Markup:
    """One row per setting: the loss of the model and of the trivial baselines there."""
    judged, settings = results["judged"], results["settings"]
    some = next(iter(settings.values()))
    loss = loss_name({judged: some[judged]})
    about = f"{some['clips']:,} test clips of each setting; {METRICS[loss]} per frame of the {judged}."
    stems = {name: f"ood-{name.replace(' ', '-')}-sheet.png" for name in settings}
    sheets = [read_sheet(folder / stem, name) for name, stem in stems.items() if (folder / stem).is_file()]
    played = [player([sheet for sheet in sheets if sheet])] if sheets else []  # older results have none
    return join([*played, element("p", about), data_table(ood_cells(results, [loss]), first=1)])


def _features(folder: Path, results: dict[str, Any]) -> Markup:
    """The pictures say it all but what they are of."""
    about = "; ".join(f"{name} weights: {words}" for name, words in results["pictures"].items())
    return element("p", f"{about}.")


def _classify(folder: Path, results: dict[str, Any]) -> Markup:
    about = f"{results['test_videos']:,} test videos of {len(results['class_names'])} classes ({results['task']}), "
    about += f"{where(results)}."
    classes = element("details", element("summary", "Classes"), element("p", ", ".join(results["class_names"])))
    curve = results["curve"]
    shown = [line_chart(label_chart(curve)), data_table(label_cells(curve), first=1), classes]
    parts = [element("p", about), _sentences(results["verdicts"]), *shown]
    other = folder / "classify-two-stream.json"
    if other.is_file():
        fused = read_json(other)
        parts += [element("h3", f"Averaged with {fused['other']}"), data_table(label_cells(fused["curve"]), first=1)]
    return join(parts)


def _probe(folder: Path, results: dict[str, Any]) -> Markup:
    about = f"{results['train_clips']:,} training and {results['test_clips']:,} test clips of {where(results)}. "
    about += "Classes: accuracy; values: R2; clustering: NMI."
    precision = next(iter(results["retrieval"].values()))
    near = f"Of the nearest training clips, {precision:.1%} are of the class of the test clip."
    return join([element("p", about), data_table(probe_cells(results)), element("p", near)])


def _anomaly(folder: Path, results: dict[str, Any]) -> Markup:
    about = f"{where(results)}; thresholds are the {results['quantile']:g} quantile of {results['normal_clips']:,} "
    about += "normal clips, in units of the normal error."
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


def _architecture(folder: Path, results: dict[str, Any]) -> Markup:
    return data_table([("", "parameters"), *((name, f"{count:,}") for name, count in results["parameters"].items())])


def _numbers(folder: Path, results: Any) -> Markup:
    """Any JSON: its numbers as facts, and parts that are alike as the rows of tables. Long lists are left out."""
    if not isinstance(results, dict):
        return Markup("")
    single = {name: value for name, value in results.items() if not isinstance(value, (dict, list))}
    tables = []
    for name, value in results.items():
        if isinstance(value, dict) and value:
            tables.append(guarded(_number_table, spaced(name), value))
    return join([fact_list(single), *tables])


def _number_table(name: str, value: dict[str, Any]) -> Markup:
    rows = {key: row for key, row in value.items() if isinstance(row, dict)}
    if len(rows) < len(value):
        rows = {"": value}
    flat = {key: {c: v for c, v in row.items() if isinstance(v, (int, float, str))} for key, row in rows.items()}
    columns = list(dict.fromkeys(column for row in flat.values() for column in row))
    if not columns:
        return Markup("")
    cells = [(spaced(key), *(as_text(row.get(column)) for column in columns)) for key, row in flat.items()]
    return data_table([(name, *map(spaced, columns)), *cells])


_SECTIONS: dict[str, Callable[[Path, dict[str, Any]], Markup]] = {
    "predict": _predictions,
    "rollout": _rollout,
    "ood": _ood,
    "features": _features,
    "classify": _classify,
    "probe": _probe,
    "anomaly": _anomaly,
    "architecture": _architecture,
}
