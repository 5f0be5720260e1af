"""Results as cells of tables, for the terminal and for pages alike. Knows no models and no files."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..charts import ARMS, METRICS
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


def label_cells(curve: Sequence[Mapping[str, Any]]) -> Cells:
    """A row per arm, a column per number of labels: mean accuracy and standard deviation over seeds."""
    arms = [name for name in curve[0] if name != "labels_per_class"]
    cells: Cells = [("labels per class", *(str(row["labels_per_class"]) for row in curve))]
    for arm in arms:
        name = ARMS[arm][0] if arm in ARMS else arm.replace("_", " ")
        cells.append((name, *(accuracy_text(row[arm]) for row in curve)))
    return cells


def accuracy_text(values: Mapping[str, Any]) -> str:
    return f"{values['mean']:.3f}" + (f" ± {values['std']:.3f}" if values["std"] else "")


def compare_cells(rows: Mapping[str, Mapping[str, Any]], loss: str) -> Cells:
    """A row per run, then one per control from scratch, which runs of one shape share: losses and accuracies."""
    decoders = (RECONSTRUCTION, FUTURE)
    counts = [entry["labels_per_class"] for entry in next(iter(rows.values()))["classify"]]
    losses = (f"{decoder}, {METRICS[loss]}" for decoder in decoders)
    cells: Cells = [("", "model", *losses, *(f"accuracy at {count}" for count in counts))]
    for name, row in rows.items():
        found = (metric_text(loss, row[decoder][loss]) if decoder in row else "-" for decoder in decoders)
        cells.append((name, row["model"], *found, *(accuracy_text(entry["encoder_init"]) for entry in row["classify"])))
    for name, row in rows.items():
        if "scratch" in row["classify"][0]:
            accuracies = (accuracy_text(entry["scratch"]) for entry in row["classify"])
            cells.append((f"from scratch, as {name}", "none", "-", "-", *accuracies))
    return cells


def probe_cells(results: Mapping[str, Any]) -> Cells:
    """A row per probe, a column per kind of features."""
    probes = results["code"].keys()
    kinds = [name for name, found in results.items() if isinstance(found, dict) and found.keys() == probes]
    cells: Cells = [("", *(kind.replace("_", " ") for kind in kinds))]
    for name, values in results["code"].items():
        for part in values if isinstance(values, dict) else ("",):
            found = (results[kind][name] for kind in kinds)
            numbers = (value[part] if part else value for value in found)
            cells.append((f"{name} {part}".strip(), *(f"{number:.3f}" for number in numbers)))
    return cells


def rollout_cells(results: Mapping[str, Any], metrics: Sequence[str]) -> Cells:
    """Errors at some steps beside those of the baselines, and how much the hidden units change."""
    steps, trained = results["steps"], results["trained_steps"]
    shown = sorted({1, *(step for step in (trained, 2 * trained, 5 * trained) if step <= steps), steps})
    cells: Cells = [("at step after the input", *map(str, shown))]
    for metric in metrics:
        for name, values in {"model": results[FUTURE], **results["baselines"]}.items():
            curve = values["per_step"].get(metric)
            if curve is not None and None not in curve:
                label = f"{METRICS[metric]}, {name.replace('_', ' ')}"
                cells.append((label, *(f"{curve[step - 1]:.4g}" for step in shown)))
    for name, changes in results["change_of_hidden_units"].items():  # there is none at the first step
        cells.append((f"change of units, {name}", *(f"{changes[step - 2]:.4f}" if step > 1 else "-" for step in shown)))
    return cells


def rollout_verdicts(results: Mapping[str, Any]) -> list[str]:
    """From which step on a long prediction is worth nothing, a sentence per metric."""
    return [
        f"{METRICS[metric]}: better than the mean frame to the end"
        if step is None
        else f"{METRICS[metric]}: no better than the mean frame from step {step} after the input on"
        for metric, step in results["no_better_than_mean_frame_from"].items()
    ]


def ood_cells(results: Mapping[str, Any], metrics: Iterable[str]) -> Cells:
    """A row per setting: the error of the judged decoder and of every baseline, for every metric."""

    def errors(row: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": row[results["judged"]], **row["baselines"]}

    first = errors(next(iter(results["settings"].values())))
    columns = [(metric, name) for metric in metrics for name, values in first.items() if values.get(metric) is not None]
    cells: Cells = [("", *(f"{METRICS[metric]}, {name.replace('_', ' ')}" for metric, name in columns))]
    for setting, row in results["settings"].items():
        cells.append((setting, *(metric_text(metric, errors(row)[name][metric]) for metric, name in columns)))
    return cells


def norm_cells(norms: Mapping[str, Sequence[float]]) -> Cells:
    """A row per set of units with the `norms` of their weights: the largest, the median, the smallest."""
    cells: Cells = [("L2 norm of weights", "units", "largest", "median", "smallest")]
    for name, some in norms.items():
        values = sorted(some, reverse=True)
        shown = (values[0], values[len(values) // 2], values[-1])
        cells.append((name, str(len(values)), *(f"{value:.3f}" for value in shown)))
    return cells
