"""What `evaluate.py --compare` found, runs side by side, to `report.html` in its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..config import FUTURE, RECONSTRUCTION
from ..files import read_json
from ..run_folder import RunFolder
from .charts import line_chart
from .markup import Markup, element
from .page import as_text, data_table, guarded, player, read_sheet, section, spaced
from .run import duration, replace_report
from .tables import METRICS, metric_text
from .tasks import accuracy, label_line, step_line, where

_RUNS = ("reconstruction", "future", "third", "fourth", "fifth")  # styles of the lines of runs side by side


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
    about = f"{len(rows)} runs, side by side, on {where(results)}."
    head = [element("h1", folder.resolve().name), element("p", about, class_="lede")]
    return replace_report(folder, f"{folder.resolve().name}: comparison", head, [guarded(*part) for part in parts])


def _compared_metrics(results: dict[str, Any]) -> Markup:
    rows, loss = results["runs"], results["loss"]
    counts = [entry["labels_per_class"] for entry in next(iter(rows.values()))["classify"]]
    table = []
    for name, row in rows.items():
        losses = [
            metric_text(loss, row[decoder][loss]) if decoder in row else "-" for decoder in (RECONSTRUCTION, FUTURE)
        ]
        table.append((name, row["model"], *losses, *(accuracy(entry["encoder_init"]) for entry in row["classify"])))
    for name, row in _with_scratch(rows):
        table.append((f"from scratch, as {name}", "none", "-", "-", *(accuracy(entry["scratch"]) for entry in row)))
    accuracies = (f"accuracy at {count}" for count in counts)
    unit = METRICS[loss]
    head = ("", "model", f"{RECONSTRUCTION}, {unit}", f"{FUTURE}, {unit}", *accuracies)
    charts = []
    for decoder in (RECONSTRUCTION, FUTURE):
        lines = [
            step_line(name, row[decoder], loss, 0, _RUNS[number % len(_RUNS)], dots=True)
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
    lines = [label_line(name, styles[name], row["classify"], "encoder_init") for name, row in rows.items()]
    lines += [
        label_line(f"from scratch, as {name}", f"{styles[name]} faint", row, "scratch")
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
                f"{part}: {key}": value
                for part, values in run.config().items()
                if isinstance(values, dict)
                for key, value in values.items()
            }
            if metrics:
                settings[name]["sequences seen"] = metrics[-1]["sequences_seen"]
                settings[name]["time of training"] = duration(metrics[-1]["seconds"])
    keys = dict.fromkeys(key for values in settings.values() for key in values)
    table = []
    for key in keys:
        cells = [as_text(values.get(key)) for values in settings.values()]
        if len(set(cells)) > 1:
            table.append((spaced(key), *cells))
    return section("How they differ", data_table(("", *settings), table)) if table else Markup("")
