"""What `evaluate.py --compare` found, runs side by side, to `report.html` in its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..charts import compared_errors, compared_labels
from ..config import FUTURE, RECONSTRUCTION
from ..files import read_json
from ..run_folder import RunFolder
from .charts import line_chart
from .markup import element
from .page import as_text, data_table, guarded, player, read_sheet, section, spaced
from .run import duration, replace_report
from .sections import where
from .tables import compare_cells


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
    charts = (line_chart(compared_errors(rows, decoder, loss)) for decoder in (RECONSTRUCTION, FUTURE))
    table = data_table(compare_cells(rows, loss), first=len(rows))
    return section("Which pretraining", table, element("div", *charts, class_="charts"))


def _compared_clips(given: tuple[Path, Mapping[str, Any]]) -> Markup:
    folder, rows = given
    paths = {name: folder / name.replace(" ", "-", 1) / "predict-sheet.png" for name in rows}
    sheets = [sheet for name, path in paths.items() if path.is_file() and (sheet := read_sheet(path, name))]
    return section("The same clips", player(sheets)) if sheets else Markup("")


def _compared_labels(rows: Mapping[str, Any]) -> Markup:
    return section("What the encoders are worth", line_chart(compared_labels(rows)))


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
    return section("How they differ", data_table([("", *settings), *table])) if table else Markup("")
