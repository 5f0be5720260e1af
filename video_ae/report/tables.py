"""Results as text: what evaluate.py prints. Knows no models and no files."""

from collections.abc import Sequence
from typing import Any

from ..config import FUTURE

METRICS = {
    "nats": "nats",
    "squared_error": "squared error",
    "mse": "MSE",
    "mae": "MAE",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "ssim_range2": "SSIM (range 2)",
}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """One line per model and baseline, a column per metric that one of them has; a dash for what is not finite."""
    return "\n".join(f"{name:<16}" + "".join(f"{text:>16}" for text in texts) for name, *texts in metric_cells(rows))


def metric_cells(rows: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    """`table` as cells: a row of titles, then each row's name and its numbers."""
    metrics = [metric for metric in METRICS if any(values.get(metric) is not None for values in rows.values())]
    cells = [("per frame", *(METRICS[metric] for metric in metrics))]
    for name, values in rows.items():
        cells.append((name, *(metric_text(metric, values.get(metric)) for metric in metrics)))
    return cells


def metric_text(metric: str, value: float | None) -> str:
    """A number as precise as it is of use: the small errors of features are more than 0.0."""
    if value is None:
        return "-"
    if metric.startswith("ssim"):
        return f"{value:.3f}"
    return f"{value:.1f}" if value == 0 or abs(value) >= 1 else f"{value:.3g}"


def curve_lines(
    curve: list[dict[str, Any]], arms: Sequence[str]
) -> dict[str, tuple[list[int], list[float], list[float]]]:
    """Of every arm the numbers of labels, the mean accuracies and their spreads."""
    labels = [row["labels_per_class"] for row in curve]
    return {
        arm: (labels, [row[arm]["mean"] for row in curve], [row[arm]["std"] or 0.0 for row in curve]) for arm in arms
    }


def curve_table(curve: list[dict[str, Any]], arms: Sequence[str]) -> str:
    """One line per number of labels: mean accuracy and spread of every arm."""
    lines = [f"{'labels per class':<18}" + "".join(f"{arm.replace('_', ' '):>18}" for arm in arms)]
    for row in curve:
        cells = (f"{row[arm]['mean']:.3f}" + (f" +- {row[arm]['std']:.3f}" if row[arm]["std"] else "") for arm in arms)
        lines.append(f"{row['labels_per_class']:<18}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def compare_table(rows: dict[str, dict[str, Any]], controls: list[list[dict[str, Any]]], loss: str) -> str:
    """One line per run: its `loss` per frame, its accuracy at every number of labels, and its model."""
    some = next(iter(rows.values()))["classify"]
    decoders = {"reconstruction": 16, FUTURE: 10}  # and the width of their columns
    head = f"{METRICS[loss]:<24}" + "".join(f"{name:>{width}}" for name, width in decoders.items())
    lines = [head + "".join(f"{'acc. at ' + str(row['labels_per_class']):>12}" for row in some) + "  model"]
    for name, row in rows.items():
        losses = (f"{row[decoder][loss]:.1f}" if decoder in row else "-" for decoder in decoders)
        cells = "".join(f"{text:>{width}}" for text, width in zip(losses, decoders.values(), strict=True))
        accuracies = "".join(f"{entry['encoder_init']['mean']:>12.3f}" for entry in row["classify"])
        lines.append(f"{name:<24}{cells}{accuracies}  {row['model']}")
    for number, curve in enumerate(controls):
        accuracies = "".join(f"{entry['scratch']['mean']:>12.3f}" for entry in curve)
        which = "" if len(controls) == 1 else f", shape {number}"
        lines.append(f"{'from scratch' + which:<24}{'-':>16}{'-':>10}{accuracies}  none")
    return "\n".join(lines)


def probe_table(results: dict[str, Any], kinds: Sequence[str]) -> str:
    """One line per probe, a column per kind of features."""
    lines = [f"{'':<24}" + "".join(f"{what:>16}" for what in kinds)]
    for name, values in results["code"].items():
        for kind in values if isinstance(values, dict) else ("",):
            cells = (results[what.replace(" ", "_")][name] for what in kinds)
            numbers = (cell[kind] if kind else cell for cell in cells)
            lines.append(f"{f'{name} {kind}':<24}" + "".join(f"{number:>16.3f}" for number in numbers))
    return "\n".join(lines)


def rollout_table(results: dict[str, Any], metrics: Sequence[str]) -> str:
    """Errors at some steps beside the baselines', and from which step on the model is no better than the mean frame."""
    steps, trained = results["steps"], results["trained_steps"]
    shown = sorted({1, *(step for step in (trained, 2 * trained, 5 * trained) if step <= steps), steps})
    lines = [f"{'at step after the input':<28}" + "".join(f"{step:>10}" for step in shown)]
    for metric in metrics:
        for name, values in {"model": results[FUTURE], **results["baselines"]}.items():
            curve = values["per_step"].get(metric)
            if curve is not None and None not in curve:
                label = f"{metric}, {name}".replace("_", " ")
                lines.append(f"{label:<28}" + "".join(f"{curve[step - 1]:>10.4g}" for step in shown))
    for name, changes in results["change_of_hidden_units"].items():  # there is none at the first step
        cells = (f"{changes[step - 2]:>10.4f}" if step > 1 else f"{'-':>10}" for step in shown)
        lines.append(f"{f'change of units, {name}':<28}" + "".join(cells))
    for metric, step in results["no_better_than_mean_frame_from"].items():
        lost = f"no better than the mean frame from step {step} on"
        what = "better than the mean frame to the end" if step is None else lost
        lines.append(f"{metric.replace('_', ' ')}: {what}")
    return "\n".join(lines)


def ood_table(rows: dict[str, dict[str, Any]], judged: str, metrics: Sequence[str]) -> str:
    """One line per setting: the error of the `judged` decoder and of every baseline, for every metric."""
    some = next(iter(rows.values()))["baselines"]
    columns = [(metric, judged) for metric in metrics]
    columns += [(metric, name) for metric in metrics for name, values in some.items() if values.get(metric) is not None]
    columns.sort(key=lambda column: metrics.index(column[0]))  # the model, then its baselines
    heads = ((metric for metric, _ in columns), (name for _, name in columns))
    lines = [f"{'':<24}" + "".join(f"{text.replace('_', ' '):>15}" for text in head) for head in heads]
    for name, row in rows.items():
        values = (row[which] if which == judged else row["baselines"][which] for _, which in columns)
        cells = (value[metric] for value, (metric, _) in zip(values, columns, strict=True))
        lines.append(f"{name:<24}" + "".join(f"{cell:>15.1f}" for cell in cells))
    return "\n".join(lines)


def norms_table(norms: dict[str, Sequence[float]]) -> str:
    """One line per set of units with the `norms` of their weights: the largest, the one in the middle, the smallest."""
    lines = [
        f"{'L2 norm of weights':<28}" + "".join(f"{text:>12}" for text in ("units", "strongest", "median", "weakest"))
    ]
    for name, some in norms.items():
        values = sorted(some, reverse=True)
        shown = (values[0], values[len(values) // 2], values[-1])
        lines.append(f"{name:<28}{len(values):>12}" + "".join(f"{value:>12.3f}" for value in shown))
    return "\n".join(lines)
