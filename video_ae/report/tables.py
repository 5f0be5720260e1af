"""Results as cells of tables, for the terminal and for pages alike. Knows no models and no files."""

from collections.abc import Mapping
from typing import Any

from ..charts import METRICS
from ..config import FUTURE, LOSS_NAMES, RECONSTRUCTION

Cells = list[tuple[str, ...]]  # a row of titles, then rows that begin with their name


def text_table(cells: Cells) -> str:
    """Names at the left, numbers in columns as wide as they must be."""
    widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
    return "\n".join(
        f"{name:<{widths[0]}}" + "".join(f"{text:>{width}}" for text, width in zip(row, widths[1:], strict=True))
        for name, *row in cells
    )


def metric_cells(rows: Mapping[str, Mapping[str, Any]]) -> Cells:
    """A row per model and baseline, a column per metric that one of them has; a dash for what is not finite."""
    metrics = [metric for metric in METRICS if any(values.get(metric) is not None for values in rows.values())]
    cells: Cells = [("per frame", *(METRICS[metric] for metric in metrics))]
    for name, values in rows.items():
        cells.append((name.replace("_", " "), *(metric_text(metric, values.get(metric)) for metric in metrics)))
    return cells


def metric_text(metric: str, value: float | None) -> str:
    """A number as precise as it is of use: the small errors of features are more than 0.0."""
    if value is None:
        return "-"
    if metric.startswith("ssim"):
        return f"{value:.3f}"
    return f"{value:.1f}" if value == 0 or abs(value) >= 1 else f"{value:.3g}"


def loss_name(made: Mapping[str, Any]) -> str:
    """The metric that the loss is of a model with these results, by decoder."""
    some = next(iter(made.values()))
    return next(name for name in LOSS_NAMES.values() if name in some)


def accuracy_text(values: Mapping[str, Any]) -> str:
    return f"{values['mean']:.3f}" + (f" ± {values['std']:.3f}" if values["std"] else "")


def compare_cells(rows: Mapping[str, Mapping[str, Any]], loss: str) -> Cells:
    """A row per run, then one per control from scratch, which runs of one shape share: losses and accuracies.

    Data without classes have no accuracies, and then there are no controls.
    """
    made = [decoder for decoder in (RECONSTRUCTION, FUTURE) if any(decoder in row for row in rows.values())]
    counts = [entry["labels_per_class"] for entry in next(iter(rows.values())).get("classify", [])]
    losses = (f"{decoder}, {METRICS[loss]}" for decoder in made)
    cells: Cells = [("", "model", *losses, *(f"accuracy at {count}" for count in counts))]
    for name, row in rows.items():
        found = (metric_text(loss, row[decoder][loss]) if decoder in row else "-" for decoder in made)
        accuracies = (accuracy_text(entry["encoder_init"]) for entry in row.get("classify", []))
        cells.append((name, row["model"], *found, *accuracies))
    for name, row in rows.items():
        if counts and "scratch" in row["classify"][0]:
            accuracies = (accuracy_text(entry["scratch"]) for entry in row["classify"])
            cells.append((f"from scratch, as {name}", "none", *("-" for _ in made), *accuracies))
    return cells


def best_cells(cells: Cells) -> set[tuple[int, int]]:
    """Of `compare_cells`, the rows and columns, from 0, of the lowest losses and the highest accuracies, as written."""
    best = set()
    for column, (title, *texts) in enumerate(list(zip(*cells, strict=True))[2:], 1):
        sign = 1 if title.startswith("accuracy") else -1
        values = {row: sign * float(text.split()[0]) for row, text in enumerate(texts) if text != "-"}
        if len(values) > 1:
            best |= {(row, column) for row, value in values.items() if value == max(values.values())}
    return best
