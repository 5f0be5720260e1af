"""Everything that a run folder, or a comparison, has to show: `report.html`, one file that asks for no other.

Reads what train.py and evaluate.py wrote, knows no models, and shows what it finds: a task without a drawing of its own
gets the numbers of its JSON as tables, and its pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from .charts import Line, line_chart, short
from .checkpoint import WEIGHTS, read_json
from .config import FUTURE, LOSS_NAMES, RECONSTRUCTION
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
    write_page,
)
from .run_folder import RunFolder
from .tables import METRICS, metric_cells, metric_text

REPORT = "report.html"
_POINTS = 300  # of a training curve: more are narrower than a pixel
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
_BASELINES = {"floor": "floor", "copy_last": "copy", "mean_frame": "mean", "black": "black"}  # to styles of lines
_ARMS = {  # of the label-efficiency curve, to what they are called and to styles of lines
    "encoder_init": ("from the learned encoder", "reconstruction"),
    "scratch": ("from scratch", "future"),
    "frozen": ("encoder frozen", "third"),
    "single_frame": ("single frames", "copy"),
    "linear": ("linear, mean frame", "mean"),
}
_RUNS = ("reconstruction", "future", "third", "fourth", "fifth")  # styles of the lines of runs side by side


def try_to_write(write: Callable[[], Path]) -> None:
    """Write a report and print where. What goes wrong is said in a line, no more: the results themselves are there."""
    try:
        print(f"report   {write()}")
    except Exception as error:
        print(f"no report: {type(error).__name__}: {error}", file=sys.stderr)


def write_run(run: RunFolder, results: Path | None = None) -> Path:
    """The report of a run and all its evaluations, in its folder.

    Results that lie elsewhere have a report beside them, of them alone: the folder of the run may be somebody else's.
    Raises FileNotFoundError or ValueError where this is no run.
    """
    elsewhere = results is not None and not results.resolve().is_relative_to(run.path.resolve())
    evaluation, place = (results, results) if results and elsewhere else (run.evaluation, run.path)
    config, name = run.config(), run.path.resolve().name
    folders = [folder for folder in (evaluation, *_subfolders(evaluation)) if _tasks(folder)]
    sections = []
    for folder in folders:
        changes = "" if folder == evaluation else folder.name
        sections += [guarded(_task, folder, task, changes) for task in _tasks(folder)]
    if not folders:
        sections.append(guarded(_samples, run))
    sections += [guarded(_training, run), guarded(_repeat, run, config)]
    head = [element("h1", name), guarded(_summary, run, config), guarded(_key_numbers, folders)]
    return write_page(place / REPORT, name, head, sections)


def write_comparison(folder: Path) -> Path:
    """The report of what `evaluate.py --compare` wrote into `folder`, in that folder."""
    results = read_json(folder / "compare.json")
    rows: dict[str, dict[str, Any]] = results["runs"]
    parts: list[tuple[Callable[..., Markup], Any]] = [
        (_compared_metrics, results),
        (_compared_clips, (folder, rows)),
        (_compared_labels, rows),
        (_compared_settings, rows),
    ]
    about = f"{len(rows)} runs, side by side, on {_where(results)}."
    head = [element("h1", folder.resolve().name), element("p", about, class_="lede")]
    return write_page(folder / REPORT, f"{folder.resolve().name}: comparison", head, [guarded(*part) for part in parts])


# What a folder of results holds


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _tasks(folder: Path) -> list[str]:
    """The tasks that left JSON or pictures, known ones first. A folder of a model holds no results."""
    if not folder.is_dir() or (folder / WEIGHTS).exists():
        return []
    found = {_task_of(path) for path in folder.iterdir() if path.suffix in (".json", ".png", ".gif")}
    return sorted(found, key=lambda task: (list(_TITLES).index(task) if task in _TITLES else len(_TITLES), task))


def _task_of(path: Path) -> str:
    """Files are named after their task: `predict.json`, `predict-strip.png`."""
    return path.stem.partition("-")[0]


def _task(folder: Path, task: str, changes: str) -> Markup:
    path = folder / f"{task}.json"
    parts: list[Markup] = []
    pictures = [
        picture
        for picture in sorted((*folder.glob("*.png"), *folder.glob("*.gif")))
        if _task_of(picture) == task and picture.stem not in _DRAWN_HERE
    ]
    sheets = [sheet for picture in pictures if picture.suffix == ".png" and (sheet := read_sheet(picture))]
    parts += [player([sheet]) for sheet in sheets]
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


def _where(results: Mapping[str, Any]) -> str:
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
    loss = _loss(made)
    lines = []
    inputs = results["frames"] - len(results[FUTURE]["per_step"][loss]) if "frames" in results and FUTURE in made else 0
    for name, values in made.items():
        lines.append(_by_step(name, values, loss, inputs if name == FUTURE else 0, name, dots=True))
    for name, values in results["baselines"].items():
        if loss in values["per_step"]:
            lines.append(_by_step(spaced(name), values, loss, inputs, _BASELINES.get(name, "mean")))
    judged = FUTURE if FUTURE in made else RECONSTRUCTION
    about = (
        f"{results['clips']:,} clips of {_where(results)}. Per frame; the baselines are judged on the {judged} frames."
    )
    chart = line_chart(lines, "frame" if inputs else "step", f"{METRICS[loss]} per frame", from_zero=True)
    return join([element("p", about), data_table(head, rows, first=len(made)), chart])


def _rollout(folder: Path, results: dict[str, Any]) -> Markup:
    """As `_predictions`, and from which step on the prediction is worth nothing."""
    sentences = [
        f"{METRICS[metric]}: better than the mean frame to the end"
        if step is None
        else f"{METRICS[metric]}: no better than the mean frame from step {step} on"
        for metric, step in results["no_better_than_mean_frame_from"].items()
    ]
    about = element("p", f"{results['steps']} steps; {results['trained_steps']} in training.")
    verdicts = element("ul", *(element("li", sentence) for sentence in sentences), class_="verdicts")
    return join([about, verdicts, _predictions(folder, results)])


def _ood(folder: Path, results: dict[str, Any]) -> Markup:
    """One row per setting: the loss of the model and of what costs nothing there."""
    judged, settings = results["judged"], results["settings"]
    some = next(iter(settings.values()))
    loss = _loss({judged: some[judged]})
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
    return join([element("p", about), data_table(("", "model", *map(spaced, others)), rows, first=1)])


def _features(folder: Path, results: dict[str, Any]) -> Markup:
    """The pictures say it all but what they are of."""
    about = "; ".join(f"{name} weights: {words}" for name, words in results["pictures"].items())
    return element("p", f"{about}.")


def _loss(made: Mapping[str, Any]) -> str:
    """The metric that the loss is of a model with these results."""
    some = next(iter(made.values()))
    return next(name for name in LOSS_NAMES.values() if name in some)


def _by_step(name: str, values: Mapping[str, Any], loss: str, start: int, style: str, *, dots: bool = False) -> Line:
    curve = values["per_step"][loss]
    return Line(name, range(start + 1, start + 1 + len(curve)), curve, style, dots=dots and len(curve) <= _DOTS)


def _classify(folder: Path, results: dict[str, Any]) -> Markup:
    about = f"{results['test_videos']:,} test videos of {len(results['class_names'])} classes ({results['task']}), "
    about += f"{_where(results)}."
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
    lines = [_label_line(*_ARMS.get(arm, (spaced(arm), "mean")), curve, arm) for arm in _arms(curve)]
    return line_chart(lines, "labelled videos per class", "test accuracy", log_x=True)


def _label_line(name: str, style: str, curve: Sequence[Mapping[str, Any]], arm: str) -> Line:
    xs = [row["labels_per_class"] for row in curve]
    spreads = [row[arm]["std"] or 0.0 for row in curve]
    return Line(name, xs, [row[arm]["mean"] for row in curve], style, spreads, dots=True)


def _label_table(curve: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [(_ARMS.get(arm, (spaced(arm),))[0], *(_accuracy(row[arm]) for row in curve)) for arm in _arms(curve)]
    return data_table(("labels per class", *(str(row["labels_per_class"]) for row in curve)), rows, first=1)


def _accuracy(values: Mapping[str, Any]) -> str:
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
    about = f"{results['train_clips']:,} training and {results['test_clips']:,} test clips of {_where(results)}. "
    about += "Classes: accuracy; values: R2; clustering: NMI."
    precision = next(iter(results["retrieval"].values()))
    near = f"Of the nearest training clips, {precision:.1%} are of the class of the test clip."
    return join([element("p", about), data_table(("", *map(spaced, kinds)), rows), element("p", near)])


def _anomaly(folder: Path, results: dict[str, Any]) -> Markup:
    about = f"{_where(results)}; thresholds are the {results['quantile']:g} quantile of {results['normal_clips']:,} "
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
    return join([element("p", about), data_table(head, rows)])


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


# The run


def _summary(run: RunFolder, config: dict[str, Any]) -> Markup:
    """What was trained, in a sentence."""
    model, rows = config["model"], run.metrics()
    kind = "composite" if len(model["decoders"]) > 1 else model["decoders"][0]
    about = f"A {kind} LSTM autoencoder"
    if (run.model / WEIGHTS).is_file():
        about += f" with {short(_size(run.model / WEIGHTS))} parameters"
    about += ", trained"
    if rows:
        about += f" for {_duration(rows[-1]['seconds'])} on {rows[-1]['sequences_seen']:,} sequences"
    return element("p", f"{about} of {_where(config['data'])}.", class_="lede")


def _size(weights: Path) -> int:
    """How many numbers there are in a file of weights; those that are not parameters are two for each channel."""
    with safe_open(weights, "np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - not a dictionary
    total = 0
    for shape in shapes:
        count = 1
        for length in shape:
            count *= length
        total += count
    return total


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _key_numbers(folders: Sequence[Path]) -> Markup:
    """A few numbers of the first folder that has them, each beside what it has to be better than."""
    tiles: dict[str, tuple[str, str]] = {}
    for folder in folders:
        if "predict" in _tasks(folder) and FUTURE not in tiles and RECONSTRUCTION not in tiles:
            results = read_json(folder / "predict.json")
            made = {name: results[name] for name in (FUTURE, RECONSTRUCTION) if name in results}
            loss = _loss(made)
            for name, values in made.items():
                others = {key: row[loss] for key, row in results["baselines"].items() if row.get(loss)}
                beside = ", ".join(f"{spaced(key)} {metric_text(loss, value)}" for key, value in others.items())
                tiles[name] = (
                    f"{metric_text(loss, values[loss])} {METRICS[loss]}",
                    beside if name == next(iter(made)) else "",
                )
        if "classify" in _tasks(folder) and "accuracy" not in tiles:
            row = read_json(folder / "classify.json")["curve"][0]
            few = f"accuracy, {row['labels_per_class']} labelled per class"
            beside = f"from scratch {row['scratch']['mean']:.3f}" if "scratch" in row else ""
            tiles[few] = f"{row['encoder_init']['mean']:.3f}", beside
    return element(
        "ul",
        *(
            element("li", element("span", name), element("strong", number), element("small", beside))
            for name, (number, beside) in tiles.items()
        ),
        class_="tiles",
    )


def _samples(run: RunFolder) -> Markup:
    """The last GIF of the training, where nothing was evaluated yet."""
    samples = sorted(run.samples.glob("*.gif"))
    advice = element("p", f"Not evaluated yet: python evaluate.py {run.path}", class_="note")
    alt = "A validation clip: truth, model, error"
    return section("A validation clip", advice, *(embed_animation(path, alt) for path in samples[-1:]))


def _training(run: RunFolder) -> Markup:
    rows = run.metrics()
    steps = [row for row in rows if "loss" in row]
    steps = steps[:: max(1, len(steps) // _POINTS)]
    judged = [row for row in rows if "validation" in row]
    if not judged:
        return section("Training", element("p", "No validation yet.", class_="note"))
    loss = _loss({name: judged[-1]["validation"][name] for name in judged[-1]["validation"] if name != "clips"})
    lines = []
    for name in (RECONSTRUCTION, FUTURE):
        points = [(row["sequences_seen"], row[name]) for row in steps if name in row]
        lines.append(Line(f"{name}, training", [x for x, _ in points], [y for _, y in points], f"{name} faint"))
        points = [(row["sequences_seen"], row["validation"][name][loss]) for row in judged if name in row["validation"]]
        lines.append(Line(f"{name}, validation", [x for x, _ in points], [y for _, y in points], name, dots=True))
    last = judged[-1]
    facts = {"steps": last["step"], "sequences seen": last["sequences_seen"], "time": _duration(last["seconds"])}
    facts["sequences per second"] = last["sequences_per_second"]
    memory = last.get("peak_memory_bytes")
    facts |= {"memory at most": f"{memory / 1e9:.2f} GB"} if memory else {}
    return section("Training", line_chart(lines, "sequences seen", f"{METRICS[loss]} per frame"), fact_list(facts))


def _repeat(run: RunFolder, config: dict[str, Any]) -> Markup:
    """The commands, the machine and the config."""
    path = run.path / "env.json"
    starts = read_json(path) if path.is_file() else []
    parts = []
    for number, start in enumerate(starts):
        parts.append(element("h3", f"{'Resumed' if number else 'Started'} {start.get('started', '')}"))
        parts.append(element("pre", element("code", f"python {start.get('command', '')}")))
        parts.append(fact_list({name: value for name, value in start.items() if name not in ("command", "started")}))
    for name, values in config.items():
        parts.append(element("details", element("summary", f"Config: {name}"), fact_list(values)))
    return section("How to repeat it", *parts)


# Runs side by side


def _compared_metrics(results: dict[str, Any]) -> Markup:
    rows, loss = results["runs"], results["loss"]
    counts = [entry["labels_per_class"] for entry in next(iter(rows.values()))["classify"]]
    table = []
    for name, row in rows.items():
        losses = [
            metric_text(loss, row[decoder][loss]) if decoder in row else "-" for decoder in (RECONSTRUCTION, FUTURE)
        ]
        table.append((name, row["model"], *losses, *(_accuracy(entry["encoder_init"]) for entry in row["classify"])))
    for name, row in _with_scratch(rows):
        table.append((f"from scratch, as {name}", "none", "-", "-", *(_accuracy(entry["scratch"]) for entry in row)))
    accuracies = (f"accuracy at {count}" for count in counts)
    unit = METRICS[loss]
    head = ("", "model", f"{RECONSTRUCTION}, {unit}", f"{FUTURE}, {unit}", *accuracies)
    charts = []
    for decoder in (RECONSTRUCTION, FUTURE):
        lines = [
            _by_step(name, row[decoder], loss, 0, _RUNS[number % len(_RUNS)], dots=True)
            for number, (name, row) in enumerate(rows.items())
            if decoder in row
        ]
        charts.append(line_chart(lines, f"{decoder} step", f"{unit} per frame", from_zero=True))
    return section(
        "Which pretraining", data_table(head, table, first=len(rows)), element("div", *charts, class_="charts")
    )


def _with_scratch(rows: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The runs that have a control from scratch; the others share one of these."""
    return [(name, row["classify"]) for name, row in rows.items() if "scratch" in row["classify"][0]]


def _compared_clips(given: tuple[Path, Mapping[str, Any]]) -> Markup:
    folder, rows = given
    paths = {name: folder / name.replace(" ", "-", 1) / "predict-sheet.png" for name in rows}
    sheets = [sheet for name, path in paths.items() if path.is_file() and (sheet := read_sheet(path, name))]
    return section("The same clips", player(sheets)) if sheets else Markup("")


def _compared_labels(rows: Mapping[str, Any]) -> Markup:
    styles = dict(zip(rows, _RUNS * len(rows), strict=False))
    lines = [_label_line(name, styles[name], row["classify"], "encoder_init") for name, row in rows.items()]
    lines += [
        _label_line(f"from scratch, as {name}", f"{styles[name]} faint", row, "scratch")
        for name, row in _with_scratch(rows)
    ]
    chart = line_chart(lines, "labelled videos per class", "test accuracy", log_x=True)
    return section("What the encoders are worth", chart)


def _compared_settings(rows: Mapping[str, Any]) -> Markup:
    """How the trainings differed, of the runs that are still there."""
    settings: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        run = RunFolder(row["run"])
        if run.exists():
            metrics = run.metrics()
            settings[name] = {
                f"{part}: {key}": value for part, values in run.config().items() for key, value in values.items()
            }
            if metrics:
                settings[name]["sequences seen"] = metrics[-1]["sequences_seen"]
                settings[name]["time of training"] = _duration(metrics[-1]["seconds"])
    keys = dict.fromkeys(key for values in settings.values() for key in values)
    table = []
    for key in keys:
        cells = [as_text(values.get(key)) for values in settings.values()]
        if len(set(cells)) > 1:
            table.append((spaced(key), *cells))
    return section("How they differ", data_table(("", *settings), table)) if table else Markup("")
