"""Line charts of results: drawn by Matplotlib, as pictures here and for pages in `report/`. Knows no models."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .config import FUTURE, RECONSTRUCTION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = {
    "nats": "nats",
    "squared_error": "squared error",
    "mse": "MSE",
    "mae": "MAE",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "ssim_range2": "SSIM (range 2)",
}
STYLES: dict[str, tuple[str, Any]] = {  # colours and dashes in pictures; on pages these are classes of the style sheet
    RECONSTRUCTION: ("tab:blue", "-"),
    FUTURE: ("tab:orange", "-"),
    "third": ("tab:green", "-"),
    "fourth": ("tab:purple", "-"),
    "fifth": ("tab:red", "-"),
    "floor": ("grey", ":"),
    "copy": ("grey", "--"),
    "mean": ("grey", "-."),
    "black": ("grey", (0, (1, 3))),
}
_RUNS = tuple(STYLES)[:5]
_BASELINES = {"floor": "floor", "copy_last": "copy", "mean_frame": "mean", "black": "black"}
ARMS = {  # of the label-efficiency curve: their names and styles
    "encoder_init": ("from the learned encoder", RECONSTRUCTION),
    "scratch": ("from scratch", FUTURE),
    "frozen": ("encoder frozen", "third"),
    "single_frame": ("single frames", "copy"),
    "linear": ("linear, mean and spread", "mean"),
}
_DOTS = 40  # more of them in one line are a thick line
_POINTS = 300  # of a training curve: more are narrower than a pixel


class Line(NamedTuple):
    """One line. `style` is one of `STYLES`, or that and " faint"; None and NaN among `ys` are gaps.

    spreads: standard deviation at each point, drawn as a bar up and down.
    dots:    whether the points are drawn.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    style: str
    spreads: Sequence[float] | None = None
    dots: bool = False

    @property
    def points(self) -> list[tuple[float, float]]:
        """Those that are no gaps."""
        return [(x, y) for x, y in zip(self.xs, self.ys, strict=True) if y is not None and math.isfinite(y)]


class Chart(NamedTuple):
    """Lines and what the axes are; `log_x` is for few, positive places, each of which gets a tick."""

    lines: Sequence[Line]
    x_label: str
    y_label: str
    log_x: bool = False
    from_zero: bool = False


def training_chart(rows: Sequence[Mapping[str, Any]], metric: str) -> Chart:
    """Training loss per decoder against sequences seen, with the validation results as points.

    rows: of metrics.jsonl. metric: the one that the loss is, `nats` or `squared_error`.
    """
    lines = [
        line
        for name in (RECONSTRUCTION, FUTURE)
        for line in _training_lines(rows, name, metric, (f"{name}, training", f"{name}, validation"), name)
    ]
    return Chart(lines, "sequences seen", f"{METRICS[metric]} per frame")


def _training_lines(
    rows: Sequence[Mapping[str, Any]], decoder: str, metric: str, names: tuple[str, str], style: str
) -> list[Line]:
    """The training loss of a decoder, and its validation results as points."""
    steps = [row for row in rows if "loss" in row]
    steps = steps[:: max(1, len(steps) // _POINTS)]
    losses = [(row["sequences_seen"], row[decoder]) for row in steps if decoder in row]
    judged = [(row["sequences_seen"], row.get("validation", {}).get(decoder)) for row in rows]
    results = [(seen, values[metric]) for seen, values in judged if values]
    loss, validation = names
    return [
        Line(loss, *_xs_and_ys(losses), f"{style} faint"),
        Line(validation, *_xs_and_ys(results), style, dots=True),
    ]


def error_chart(results: Mapping[str, Any], metric: str) -> Chart:
    """The error of every decoder and baseline at each time step, as in `predict.json` and `rollout.json`.

    Frames are numbered as in the clip; without `frames` in the results, from the end of the input.
    """
    starts = {RECONSTRUCTION: 0, FUTURE: 0}
    if "frames" in results and FUTURE in results:
        starts[FUTURE] = results["frames"] - len(results[FUTURE]["per_step"][metric])
    made = [name for name in starts if name in results]
    lines = [_step_line(name, results[name], metric, name, starts[name], dots=True) for name in made]
    lines += [
        _step_line(name.replace("_", " "), values, metric, _BASELINES.get(name, "mean"), starts[FUTURE])
        for name, values in results["baselines"].items()
        if metric in values["per_step"]
    ]
    x_label = "frame" if "frames" in results else "step after the input"
    return Chart(lines, x_label, f"{METRICS[metric]} per frame", from_zero=True)


def label_chart(curve: Sequence[Mapping[str, Any]]) -> Chart:
    """Test accuracy against labelled videos per class, a line for every arm."""
    arms = [name for name in curve[0] if name != "labels_per_class"]
    return _accuracy_chart(_label_line(*ARMS.get(arm, (arm.replace("_", " "), "mean")), curve, arm) for arm in arms)


def compared_labels(runs: Mapping[str, Mapping[str, Any]]) -> Chart:
    """`label_chart` of runs side by side, and of their controls from scratch, which runs of one shape share."""
    styles = dict(zip(runs, _RUNS * len(runs), strict=False))
    lines = [_label_line(name, styles[name], run["classify"], "encoder_init") for name, run in runs.items()]
    lines += [
        _label_line(f"from scratch, as {name}", f"{styles[name]} faint", run["classify"], "scratch")
        for name, run in runs.items()
        if "scratch" in run["classify"][0]
    ]
    return _accuracy_chart(lines)


def compared_errors(runs: Mapping[str, Mapping[str, Any]], decoder: str, metric: str) -> Chart:
    """The errors of one decoder of several runs at each time step."""
    styles = zip(runs.items(), _RUNS * len(runs), strict=False)
    lines = [
        _step_line(name, run[decoder], metric, style, dots=True) for (name, run), style in styles if decoder in run
    ]
    return Chart(lines, f"{decoder} step", f"{METRICS[metric]} per frame", from_zero=True)


def compared_training(metrics: Mapping[str, Sequence[Mapping[str, Any]]], decoder: str, metric: str) -> Chart:
    """`training_chart` of one decoder of several runs; by run, the rows of its metrics.jsonl."""
    styles = zip(metrics.items(), _RUNS * len(metrics), strict=False)
    lines = [
        line
        for (name, rows), style in styles
        for line in _training_lines(rows, decoder, metric, (name, f"{name}, validation"), style)
    ]
    return Chart(lines, "sequences seen", f"{decoder}, {METRICS[metric]} per frame")


def _step_line(name: str, values: Any, metric: str, style: str, start: int = 0, *, dots: bool = False) -> Line:
    """The errors at each step, of which the first is number `start` + 1."""
    curve = values["per_step"][metric]
    return Line(name, range(start + 1, start + 1 + len(curve)), curve, style, dots=dots and len(curve) <= _DOTS)


def _label_line(name: str, style: str, curve: Sequence[Mapping[str, Any]], arm: str) -> Line:
    means, spreads = [row[arm]["mean"] for row in curve], [row[arm]["std"] or 0.0 for row in curve]
    return Line(name, [row["labels_per_class"] for row in curve], means, style, spreads, dots=True)


def _accuracy_chart(lines: Iterable[Line]) -> Chart:
    return Chart(list(lines), "labelled videos per class", "test accuracy", log_x=True)


def _xs_and_ys(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def draw(chart: Chart, size: tuple[float, float]) -> Figure:
    """The chart without a legend, `size` in inches; every line has its style as its `gid`."""
    figure = new_figure(*size)
    axes = figure.add_subplot(xlabel=chart.x_label, ylabel=chart.y_label)
    for line in chart.lines:
        style, _, faint = line.style.partition(" ")
        colour, dashes = STYLES[style]
        ys = [math.nan if y is None else y for y in line.ys]
        look: dict[str, Any] = {
            "color": colour,
            "alpha": 0.5 if faint else 1,
            "linewidth": 1 if faint else 1.5,
            "clip_on": False,
        }
        marker = "o" if line.dots else None
        axes.plot(line.xs, ys, ls=dashes, marker=marker, markersize=4, label=line.name, gid=line.style, **look)
        if line.spreads is not None:
            low, high = ([y + way * spread for y, spread in zip(ys, line.spreads, strict=True)] for way in (-1, 1))
            axes.vlines(line.xs, low, high, gid=f"{line.style} spread", **look)
    tidy(axes)
    axes.yaxis.set_major_formatter(lambda value, _: short(value))
    if chart.log_x:
        axes.set_xscale("log")
        axes.set_xticks(sorted({x for line in chart.lines for x in line.xs}))
        axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    if chart.from_zero:
        axes.set_ylim(bottom=0)
    return figure


def save_chart(path: Path, chart: Chart) -> None:
    """The chart as a picture, with a legend of the lines that have points."""
    figure = draw(chart, (7, 4.2))
    handles, names = figure.axes[0].get_legend_handles_labels()
    kept = [(handle, name) for handle, name, line in zip(handles, names, chart.lines, strict=True) if line.xs]
    if kept:
        for text in figure.axes[0].legend(*zip(*kept, strict=True), frameon=False).get_texts():
            text.set_parse_math(False)  # a name may have a $
    save_figure(path, figure)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that makes room for its labels by itself."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Any) -> None:
    """A faint grid, no frame above and at the right, and whole numbers below."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure. Signs in other people's names that the font lacks become boxes, without a warning for each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(path, dpi=120)


def short(value: float) -> str:
    """A number for a tick: 20,000 is 20 k."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size * (10 if size == 1e3 else 1):
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"
