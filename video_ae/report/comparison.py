"""What `evaluate.py --compare` found, runs side by side, to `report.html` in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..charts import compared_errors, compared_labels, compared_training
from ..config import FUTURE, RECONSTRUCTION
from ..files import read_json
from ..pretrained import WEIGHTS
from ..run_folder import RunFolder
from .charts import line_chart
from .markup import element
from .page import as_text, data_table, embed_picture, guarded, player, read_sheet, section, spaced
from .run import duration, replace_report, weights_size
from .sections import where
from .tables import best_cells, compare_cells


def write_comparison(folder: Path) -> Path:
    """The report of what `evaluate.py --compare` wrote into `folder`, in that folder."""
    results = read_json(folder / "compare.json")
    rows: dict[str, dict[str, Any]] = results["runs"]
    runs = {name: run for name, row in rows.items() if (run := RunFolder(row["run"])).exists()}
    parts: list[tuple[Callable[..., Markup], Any]] = [
        (_compared_settings, runs),
        (_compared_metrics, results),
        (_compared_clips, (folder, rows)),
        (_compared_labels, rows),
        (_compared_training, (runs, results["loss"])),
    ]
    about = f"{len(rows)} runs, side by side, on {where(results)}."
    head = [element("h1", folder.resolve().name), element("p", about, class_="lede")]
    return replace_report(folder, f"{folder.resolve().name}: comparison", head, [guarded(*part) for part in parts])


def _compared_metrics(results: dict[str, Any]) -> Markup:
    rows, loss = results["runs"], results["loss"]
    charts = (line_chart(compared_errors(rows, decoder, loss)) for decoder in (RECONSTRUCTION, FUTURE))
    cells = compare_cells(rows, loss)
    note = element("p", "Per frame. The best of each column is marked: the lowest error, the highest accuracy.")
    return section("Which is better", note, data_table(cells, best=best_cells(cells)), _beside(charts))


def _beside(charts: Iterable[Markup]) -> Markup:
    return element("div", *charts, class_="charts")


def _compared_clips(given: tuple[Path, Mapping[str, Any]]) -> Markup:
    folder, rows = given
    folders = {name: folder / name.replace(" ", "-", 1) for name in rows}
    paths = {name: path / "predict-sheet.png" for name, path in folders.items()}
    sheets = [sheet for name, path in paths.items() if path.is_file() and (sheet := read_sheet(path, name))]
    parts = [player(sheets)] if sheets else []
    parts += [
        embed_picture(path / "predict-series.png", f"{name}: sequences, their reconstructions and predictions")
        for name, path in folders.items()
        if (path / "predict-series.png").is_file()
    ]
    return section("The same clips", *parts) if parts else Markup("")


def _compared_labels(rows: Mapping[str, Any]) -> Markup:
    if not all("classify" in row for row in rows.values()):
        return Markup("")
    return section("What the encoders are worth", line_chart(compared_labels(rows)))


def _compared_training(given: tuple[Mapping[str, RunFolder], str]) -> Markup:
    runs, loss = given
    metrics = {name: run.metrics() for name, run in runs.items()}
    charts = (line_chart(compared_training(metrics, decoder, loss)) for decoder in (RECONSTRUCTION, FUTURE))
    return section("Training", _beside(charts)) if any(metrics.values()) else Markup("")


def _compared_settings(runs: Mapping[str, RunFolder]) -> Markup:
    """How the models and their trainings differ, of the runs that are still there."""
    settings: dict[str, dict[str, Any]] = {}
    for name, run in runs.items():
        parts = {part: values for part, values in run.config().items() if isinstance(values, dict)}
        settings[name] = {f"{part}: {key}": value for part, values in parts.items() for key, value in values.items()}
        settings[name]["parameters"] = weights_size(run.model / WEIGHTS)
        if metrics := run.metrics():
            settings[name]["sequences seen"] = metrics[-1]["sequences_seen"]
            settings[name]["time of training"] = duration(metrics[-1]["seconds"])
    table = []
    for key in dict.fromkeys(key for values in settings.values() for key in values):
        cells = [as_text(values.get(key)) for values in settings.values()]
        if len(set(cells)) > 1:
            table.append((spaced(key), *cells))
    return section("How they differ", data_table([("", *settings), *table])) if table else Markup("")
