"""What `report.html` shows of one task of evaluate.py: its numbers, drawn, and its pictures.

A task without a section of its own gets the numbers of its JSON as tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import FUTURE, LOSS_NAMES, RECONSTRUCTION
from ..files import read_json
from ..pretrained import WEIGHTS
from ..results import result_files
from .charts import Line, line_chart
from .markup import Markup, element, join
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
from .tables import METRICS, metric_cells, metric_text

_DOTS = 40  # more of them in one line are a thick line
_GIFS = 2  # of a task that left no sheet
_TITLES = {
    "predict": "What it predicts",
    "rollout": "Far beyond training",
    "classify": "What the encoder is worth",
    "probe": "What the code contains",
    "anomaly": "What is odd",
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
    "anomaly": "Scores over the steps of the oddest sequences, with the threshold",
    "anomaly-curves": "ROC curve, and precision against recall",
    "anomaly-strip": "Frames of the oddest clips, the truth above what the model made of it",
    "architecture": "The model as boxes: encoder, code and decoders",
}
_PLAYED_TOGETHER = {"ood"}  # sheets that the task's own section shows
_BASELINES = {"floor": "floor", "copy_last": "copy", "mean_frame": "mean", "black": "black"}  # to styles of lines
_ARMS = {  # of the label-efficiency curve, to what they are called and to styles of lines
    "encoder_init": ("from the learned encoder", "reconstruction"),
    "scratch": ("from scratch", "future"),
    "frozen": ("encoder frozen", "third"),
    "single_frame": ("single frames", "copy"),
    "linear": ("linear, mean frame", "mean"),
}


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
    baselines = {spaced(name): values for name, values in results["baselines"].items()}
    head, *rows = metric_cells(made | baselines)
    loss = loss_name(made)
    lines = []
    inputs = results["frames"] - len(results[FUTURE]["per_step"][loss]) if "frames" in results and FUTURE in made else 0
    for name, values in made.items():
        lines.append(step_line(name, values, loss, inputs if name == FUTURE else 0, name, dots=True))
    for name, values in results["baselines"].items():
        if loss in values["per_step"]:
            lines.append(step_line(spaced(name), values, loss, inputs, _BASELINES.get(name, "mean")))
    judged = FUTURE if FUTURE in made else RECONSTRUCTION
    about = (
        f"{results['clips']:,} clips of {where(results)}. Per frame; the baselines are judged on the {judged} frames."
    )
    counted = "frame" if "frames" in results else "step after the input"
    chart = line_chart(lines, counted, f"{METRICS[loss]} per frame", from_zero=True)
    return join([element("p", about), data_table(head, rows, first=len(made)), chart])


def _rollout(folder: Path, results: dict[str, Any]) -> Markup:
    """As `_predictions`, and from which step on the prediction is worth nothing."""
    sentences = [
        f"{METRICS[metric]}: better than the mean frame to the end"
        if step is None
        else f"{METRICS[metric]}: no better than the mean frame from step {step} after the input on"
        for metric, step in results["no_better_than_mean_frame_from"].items()
    ]
    about = element("p", f"{results['steps']} steps; {results['trained_steps']} in training.")
    verdicts = element("ul", *(element("li", sentence) for sentence in sentences), class_="verdicts")
    return join([about, verdicts, _predictions(folder, results)])


def _ood(folder: Path, results: dict[str, Any]) -> Markup:
    """One row per setting: the loss of the model and of what costs nothing there."""
    judged, settings = results["judged"], results["settings"]
    some = next(iter(settings.values()))
    loss = loss_name({judged: some[judged]})
    others = [name for name, values in some["baselines"].items() if values.get(loss) is not None]
    rows = [
        (
            name,
            *(
                metric_text(loss, values[loss])
                for values in (row[judged], *(row["baselines"][other] for other in others))
            ),
        )
        for name, row in settings.items()
    ]
    about = f"{some['clips']:,} test clips of each setting; {METRICS[loss]} per frame of the {judged}."
    stems = {name: f"ood-{name.replace(' ', '-')}-sheet.png" for name in settings}
    sheets = [read_sheet(folder / stem, name) for name, stem in stems.items() if (folder / stem).is_file()]
    played = [player([sheet for sheet in sheets if sheet])] if sheets else []  # older results have none
    return join([*played, element("p", about), data_table(("", "model", *map(spaced, others)), rows, first=1)])


def _features(folder: Path, results: dict[str, Any]) -> Markup:
    """The pictures say it all but what they are of."""
    about = "; ".join(f"{name} weights: {words}" for name, words in results["pictures"].items())
    return element("p", f"{about}.")


def loss_name(made: Mapping[str, Any]) -> str:
    """The metric that the loss is of a model with these results."""
    some = next(iter(made.values()))
    return next(name for name in LOSS_NAMES.values() if name in some)


def step_line(name: str, values: Mapping[str, Any], loss: str, start: int, style: str, *, dots: bool = False) -> Line:
    curve = values["per_step"][loss]
    return Line(name, range(start + 1, start + 1 + len(curve)), curve, style, dots=dots and len(curve) <= _DOTS)


def _classify(folder: Path, results: dict[str, Any]) -> Markup:
    about = f"{results['test_videos']:,} test videos of {len(results['class_names'])} classes ({results['task']}), "
    about += f"{where(results)}."
    classes = element("details", element("summary", "Classes"), element("p", ", ".join(results["class_names"])))
    verdicts = element("ul", *(element("li", sentence) for sentence in results["verdicts"]), class_="verdicts")
    parts = [element("p", about), verdicts, _label_chart(results["curve"]), _label_table(results["curve"]), classes]
    other = folder / "classify-two-stream.json"
    if other.is_file():
        fused = read_json(other)
        parts += [element("h3", f"Averaged with {fused['other']}"), _label_table(fused["curve"])]
    return join(parts)


def _arms(curve: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name in curve[0] if name != "labels_per_class"]


def _label_chart(curve: Sequence[Mapping[str, Any]]) -> Markup:
    lines = [label_line(*_ARMS.get(arm, (spaced(arm), "mean")), curve, arm) for arm in _arms(curve)]
    return line_chart(lines, "labelled videos per class", "test accuracy", log_x=True)


def label_line(name: str, style: str, curve: Sequence[Mapping[str, Any]], arm: str) -> Line:
    xs = [row["labels_per_class"] for row in curve]
    spreads = [row[arm]["std"] or 0.0 for row in curve]
    return Line(name, xs, [row[arm]["mean"] for row in curve], style, spreads, dots=True)


def _label_table(curve: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [(_ARMS.get(arm, (spaced(arm),))[0], *(accuracy(row[arm]) for row in curve)) for arm in _arms(curve)]
    return data_table(("labels per class", *(str(row["labels_per_class"]) for row in curve)), rows, first=1)


def accuracy(values: Mapping[str, Any]) -> str:
    return f"{values['mean']:.3f}" + (f" ± {values['std']:.3f}" if values["std"] else "")


def _probe(folder: Path, results: dict[str, Any]) -> Markup:
    probes = results["code"].keys()
    kinds = [name for name, found in results.items() if isinstance(found, dict) and found.keys() == probes]
    rows = []
    for name, values in results["code"].items():
        for kind in values if isinstance(values, dict) else ("",):
            cells = (results[what][name] for what in kinds)
            numbers = (cell[kind] if kind else cell for cell in cells)
            rows.append((f"{name} {kind}".strip(), *(f"{number:.3f}" for number in numbers)))
    about = f"{results['train_clips']:,} training and {results['test_clips']:,} test clips of {where(results)}. "
    about += "Classes: accuracy; values: R2; clustering: NMI."
    precision = next(iter(results["retrieval"].values()))
    near = f"Of the nearest training clips, {precision:.1%} are of the class of the test clip."
    return join([element("p", about), data_table(("", *map(spaced, kinds)), rows), element("p", near)])


def _anomaly(folder: Path, results: dict[str, Any]) -> Markup:
    about = f"{where(results)}; thresholds are the {results['quantile']:g} quantile of {results['normal_clips']:,} "
    about += "normal clips, in units of the normal error."
    rows = []
    for level in ("clips", "steps"):
        values = list(results["thresholds"].get(level, {}).values())
        ends = "-" if not values else " to ".join(dict.fromkeys(f"{end:.2f}" for end in (min(values), max(values))))
        curve = results["detection"].get(level, {})
        flagged = f"{results[f'{level}_flagged']:,}" if values else "-"
        numbers = (f"{curve[name]:.3f}" if curve else "-" for name in ("roc_auc", "average_precision"))
        rows.append((level, f"{results[level]:,}", ends, flagged, *numbers))
    head = ("", "scored", "threshold", "above it", "ROC-AUC", "average precision")
    moved = [
        element("p", f"Constant in training, and not here: {one['feature']}, in {one['steps']:,} steps.")
        for one in results.get("moved_constants", [])
    ]
    return join([element("p", about), data_table(head, rows), *moved])


def _architecture(folder: Path, results: dict[str, Any]) -> Markup:
    rows = [(name, f"{count:,}") for name, count in results["parameters"].items()]
    return data_table(("", "parameters"), rows)


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
    return data_table((name, *map(spaced, columns)), cells)


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
