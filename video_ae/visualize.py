"""Arrays to pictures: GIFs, strips, sheets and plots. Knows no models."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from .charts import new_figure, save_figure, tidy

Frames = npt.NDArray[np.float32]  # (T, C, H, W) in 0 to 1, C = 1 or 3

_BACKGROUND, _TEXT, _ABSENT = (24, 24, 27), (228, 228, 231), (63, 63, 70)
_INPUT, _FUTURE = (96, 165, 250), (251, 146, 60)  # blue: seen by the model; orange: not seen
_AGREES, _DIFFERS = (74, 222, 128), (248, 113, 113)  # green, red
_PANEL = 224  # minimum height of a GIF panel, pixels
_MARGIN = 10
_SHEET = 4096  # maximum width of a sheet, pixels: browsers limit the size of what they draw
_TRUTH = "0.45"  # a grey
_FEATURES = 4  # maximum number of rows of a series
_TILE = 48  # about, the height of a unit's weights, pixels
_MAP, _THUMBNAIL, _DOT = 940, 96, 6  # width of a map of clips, the largest cell in it, radius of a dot, pixels
_CELLS = 1.6  # of a map for each clip: groups are to stay apart
_NAMED, _KEY, _LETTERS = 20, 150, 18  # classes that are named in a picture, the width of a name, how much is written
_MANY = 8  # thresholds, beside which a threshold is near zero


class Clip(NamedTuple):
    """One clip and what a model made of it; a model without a decoder leaves its part None."""

    inputs: Frames
    future: Frames  # may have no frames
    reconstruction: Frames | None
    prediction: Frames | None


class Series(NamedTuple):
    """One sequence of features (T, D), and what a model made of it, as in `Clip`."""

    name: str
    inputs: npt.NDArray[np.float64]
    future: npt.NDArray[np.float64]  # may have no steps
    reconstruction: npt.NDArray[np.float64] | None
    prediction: npt.NDArray[np.float64] | None


class ScoredSeries(NamedTuple):
    """The anomaly score of each step of a sequence, and above which score a step is anomalous."""

    name: str
    steps: npt.NDArray[np.int64]  # (N,)
    scores: npt.NDArray[np.float64]  # (N,)
    threshold: float


class IncidentSeries(NamedTuple):
    """The features that explain an incident, around it, and its first and last step."""

    name: str
    steps: npt.NDArray[np.int64]  # (N,)
    values: Mapping[str, npt.NDArray[np.float64]]  # (N,) each
    first: int
    last: int


class Moment(NamedTuple):
    """A frame (C, H, W) in 0 to 1, and what a model made of it."""

    name: str
    truth: npt.NDArray[np.float32]
    made: npt.NDArray[np.float32]


def patch_errors(truth: npt.NDArray[np.float32], made: npt.NDArray[np.float32], patch: int) -> npt.NDArray[np.float32]:
    """The mean squared error in every patch of a frame (C, H, W): (H / patch, W / patch)."""
    error = np.square(truth - made).mean(axis=0)
    rows, columns = (side // patch for side in error.shape)
    return error.reshape(rows, patch, columns, patch).mean(axis=(1, 3))


def save_where_gif(path: Path, moments: Sequence[Moment], patch: int | None, *, milliseconds: int = 400) -> None:
    """An animation of frames, and beside each its patches in red, the more the larger their error; the brightest is the
    largest error of all. Without a patch size, about eight patches a side."""
    sides = moments[0].truth.shape[1:]
    size = patch or max(n for n in range(1, max(1, min(sides) // 8) + 1) if not any(side % n for side in sides))
    errors = [patch_errors(moment.truth, moment.made, size) for moment in moments]
    largest = max(float(error.max()) for error in errors) or 1.0
    pictures = []
    for moment, error in zip(moments, errors, strict=True):
        share = np.kron(error / largest, np.ones((size, size), np.float32))  # (H, W)
        grey = np.repeat(0.5 * moment.truth.mean(axis=0, keepdims=True), 3, axis=0)
        red = np.array([1, 0.2, 0.1], np.float32)[:, None, None]
        panels = [("frame", moment.truth.clip(0, 1)), ("where", (grey * (1 - share) + red * share).clip(0, 1))]
        pictures.append(_few_colours(_compose(panels, _DIFFERS, moment.name)))
    _save(path, pictures[0], save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)


def save_clip_gif(path: Path, clip: Clip, *, milliseconds: int = 250) -> None:
    """An animation of three panels: the truth, what the model made of it, and the absolute error.

    The input and its reconstruction come first, then the true future and the prediction.
    """
    made = _made(clip)
    total = len(clip.inputs) + len(clip.future)
    pictures = []
    for t, truth in enumerate([*clip.inputs, *clip.future]):
        seen = t < len(clip.inputs)
        error = None if made[t] is None else np.abs(made[t] - truth).mean(axis=0, keepdims=True)
        panels = [
            ("input" if seen else "true future", truth),
            ("reconstruction" if seen else "prediction", made[t]),
            ("error", error),
        ]
        caption = f"frame {t + 1} of {total}" + ("" if seen else f", step {t + 1 - len(clip.inputs)} after the input")
        pictures.append(_few_colours(_compose(panels, _INPUT if seen else _FUTURE, caption)))
    durations = [milliseconds] * (total - 1) + [4 * milliseconds]
    _save(path, pictures[0], save_all=True, append_images=pictures[1:], duration=durations, loop=0)


def save_strip(path: Path, clips: Sequence[Clip]) -> None:
    """All frames of some clips side by side, as in the paper's figures: the truth above what the model made of it."""
    rows = [frames for clip in clips for frames in ([*clip.inputs, *clip.future], _made(clip))]
    height, width = clips[0].inputs.shape[2:]
    scale = max(1, round(64 / height))
    cell_w, cell_h, gap = width * scale, height * scale, 3
    left, top, wide_gap = 110, 28, 12
    columns = len(rows[0])
    inputs = len(clips[0].inputs)
    size = (left + columns * (cell_w + gap) + wide_gap, top + len(rows) * (cell_h + gap) + len(clips) * wide_gap)
    picture, draw, font = _canvas(size, 13)
    for t in range(columns):
        x = left + t * (cell_w + gap) + (wide_gap if t >= inputs else 0)
        draw.text((x + cell_w // 2, 8), str(t + 1), fill=_INPUT if t < inputs else _FUTURE, font=font, anchor="mt")
    for r, row in enumerate(rows):
        y = top + r * (cell_h + gap) + (r // 2) * wide_gap
        name = "truth" if r % 2 == 0 else "model"
        draw.text((left - 10, y + cell_h // 2), name, fill=_TEXT, font=font, anchor="rm")
        for t, frame in enumerate(row):
            x = left + t * (cell_w + gap) + (wide_gap if t >= inputs else 0)
            picture.paste(_picture(frame, (cell_w, cell_h)), (x, y))
    _save(path, picture)


def save_sheet(path: Path, clips: Sequence[Clip]) -> None:
    """All frames of some clips at their own size, for `report.html` to play: every cell has the truth above the model.

    Cells follow each other row by row, clip by clip; the file itself says under `sheet` how many there are.
    """
    height, width = clips[0].inputs.shape[2:]
    frames = len(clips[0].inputs) + len(clips[0].future)
    columns = min(frames, max(1, _SHEET // width))
    size = (columns * width, -(-len(clips) * frames // columns) * 2 * height)
    picture = Image.new("L" if clips[0].inputs.shape[1] == 1 else "RGB", size)
    for number, clip in enumerate(clips):
        for t, pair in enumerate(zip([*clip.inputs, *clip.future], _made(clip), strict=True)):
            row, column = divmod(number * frames + t, columns)
            for below, frame in enumerate(pair):
                picture.paste(_picture(frame, (width, height)), (column * width, (2 * row + below) * height))
    first = clips[0]
    about = {"clips": len(clips), "frames": frames, "inputs": len(first.inputs), "width": width, "height": height}
    about |= {"rebuilt": int(first.reconstruction is not None), "predicted": int(first.prediction is not None)}
    text = PngInfo()
    text.add_text("sheet", json.dumps(about))
    _save(path, picture, pnginfo=text)


def save_series(path: Path, series: Sequence[Series], names: Sequence[str] = ()) -> None:
    """Lines over time, a column of panels per sequence, a row per feature: the truth and what the model made of it.

    names: of all D features; without, they are numbered. The first four are drawn.
    """
    width = series[0].inputs.shape[1]
    rows = min(width, _FEATURES)
    figure = new_figure(1 + 3.2 * len(series), 0.9 + 1.7 * rows)
    panels = figure.subplots(rows, len(series), sharex="col", sharey="row", squeeze=False)
    for column, one in enumerate(series):
        end = len(one.inputs)
        truth = np.concatenate([one.inputs, one.future])
        parts = [("truth", _TRUTH, truth, 0), ("reconstruction", "tab:blue", one.reconstruction, 0)]
        parts.append(("prediction", "tab:orange", one.prediction, end))
        for row in range(rows):
            axes = panels[row, column]
            for label, style, steps, first in parts:
                if steps is not None and len(steps):
                    dots = "o" if len(steps) == 1 else None  # one step is no line
                    xs = range(first + 1, first + 1 + len(steps))
                    axes.plot(xs, steps[:, row], color=style, marker=dots, markersize=3, linewidth=1.4, label=label)
            if len(one.future):
                axes.axvspan(end + 0.5, len(truth) + 0.5, color="tab:orange", alpha=0.08, linewidth=0)
            tidy(axes)
            if column == 0:
                axes.set_ylabel(names[row] if names else f"feature {row + 1} of {width}", parse_math=False)
        panels[0, column].set_title(one.name, fontsize=10, parse_math=False)  # a name may have a $
        panels[-1, column].set_xlabel("step")
    figure.align_ylabels(panels[:, 0])
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save_figure(path, figure)


def save_scored_series(path: Path, series: Sequence[ScoredSeries]) -> None:
    """A panel per sequence: its scores over the steps, the threshold, and dots where they are above it.

    Beside a score of many times the threshold nothing else would be seen: above the threshold the axis is logarithmic.
    """
    figure = new_figure(8, 0.8 + 1.6 * len(series))
    panels = figure.subplots(len(series), 1, squeeze=False)[:, 0]
    for axes, one in zip(panels, series, strict=True):
        flagged = one.scores > one.threshold
        axes.plot(one.steps, one.scores, color="tab:blue", linewidth=1.2, label="score")
        axes.plot(one.steps[flagged], one.scores[flagged], "o", color="tab:red", markersize=3.5, label="anomalous")
        axes.axhline(one.threshold, color="tab:red", linestyle="--", linewidth=1, label="threshold")
        axes.axhline(1, color="grey", linestyle=":", linewidth=1, label="mean of normal data")
        usual, largest = max(one.threshold, 1), max(one.threshold, 1, *one.scores)
        if largest > _MANY * usual:
            axes.set_yscale("symlog", linthresh=usual, linscale=2)
            axes.text(0, 0.98, " logarithmic above the threshold", transform=axes.transAxes, size=8, va="top")
        axes.set_ylim(0, (2 if largest > _MANY * usual else 1.08) * largest)
        tidy(axes)
        axes.set_title(one.name, fontsize=10, loc="left", parse_math=False)  # a name may have a $
    panels[-1].set_xlabel("step")
    figure.supylabel("times the normal error", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    save_figure(path, figure)


def save_incidents(path: Path, incidents: Sequence[IncidentSeries]) -> None:
    """A row per incident: the features that explain it, the most first, and the incident shaded."""
    columns = max(len(incident.values) for incident in incidents)
    figure = new_figure(3.2 * columns + 0.6, 0.5 + 1.7 * len(incidents))
    panels = figure.subplots(len(incidents), columns, squeeze=False)
    for row, incident in zip(panels, incidents, strict=True):
        for axes, (name, values) in zip(row, incident.values.items(), strict=False):
            axes.plot(incident.steps, values, color="tab:blue", linewidth=1)
            axes.axvspan(incident.first - 0.5, incident.last + 0.5, color="tab:red", alpha=0.2, linewidth=0)
            axes.set_ylabel(name, fontsize=9, parse_math=False)
            tidy(axes)
        row[0].set_title(incident.name, fontsize=10, loc="left", parse_math=False)
    for axes in panels[-1]:
        axes.set_xlabel("step")
    save_figure(path, figure)


def save_detection_curves(path: Path, curves: Mapping[str, Mapping[str, Any]]) -> None:
    """ROC and precision-recall curves side by side, of clips and of steps: per name what `anomaly.detection` gives."""
    figure = new_figure(8.4, 4.2)
    roc, pr = figure.subplots(1, 2)
    for name, curve in curves.items():
        roc.plot(*curve["roc"], label=f"{name}, area {curve['roc_auc']:.3f}")
        precision = f"{name}, average precision {curve['average_precision']:.3f}"
        pr.plot(*curve["pr"], drawstyle="steps-pre", label=precision)
        pr.axhline(curve["anomalous"] / curve["count"], color=pr.lines[-1].get_color(), linestyle=":", linewidth=1)
    roc.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    pr.set(xlabel="recall", ylabel="precision", title="precision and recall")
    for axes in (roc, pr):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        tidy(axes)
        axes.legend(frameon=False, loc="lower right" if axes is roc else "lower left")
    save_figure(path, figure)


def _made(clip: Clip) -> list[npt.NDArray[np.float32] | None]:
    """The model's frame for every frame of the clip, None where it has no decoder for it."""
    parts = ((clip.reconstruction, clip.inputs), (clip.prediction, clip.future))
    return [frame for made, truth in parts for frame in ([None] * len(truth) if made is None else made)]


def _compose(panels: Sequence[tuple[str, Any]], colour: tuple[int, int, int], caption: str) -> Image.Image:
    height, width = next(frame for _, frame in panels if frame is not None).shape[1:]
    scale = max(1, -(-_PANEL // height))
    size = (width * scale, height * scale)
    title, footer = 26, 24
    canvas_size = (len(panels) * (size[0] + _MARGIN) + _MARGIN, title + size[1] + footer + _MARGIN)
    picture, draw, font = _canvas(canvas_size, 15)
    for column, (name, frame) in enumerate(panels):
        x, y = _MARGIN + column * (size[0] + _MARGIN), title
        draw.text((x + size[0] // 2, title // 2), name, fill=colour, font=font, anchor="mm")
        draw.rectangle((x - 2, y - 2, x + size[0] + 1, y + size[1] + 1), outline=colour, width=2)
        picture.paste(_picture(frame, size), (x, y))
    draw.text((_MARGIN, title + size[1] + footer // 2 + 4), caption, fill=_TEXT, font=font, anchor="lm")
    return picture


def _few_colours(picture: Image.Image) -> Image.Image:
    """The 256 colours that a GIF frame can have, chosen from every fourth pixel of every fourth row.

    Pillow chooses them from all pixels, which took two thirds of a GIF's time; panels are enlarged frames anyway.
    """
    sample = picture.resize((picture.width // 4, picture.height // 4), Image.Resampling.NEAREST)
    return picture.quantize(palette=sample.quantize(), dither=Image.Dither.NONE)


def _canvas(size: tuple[int, int], font_size: int) -> tuple[Image.Image, ImageDraw.ImageDraw, Any]:
    """A dark picture, what draws on it, and a font."""
    picture = Image.new("RGB", size, _BACKGROUND)
    return picture, ImageDraw.Draw(picture), ImageFont.load_default(size=font_size)


def _save(path: Path, picture: Image.Image, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def _picture(frame: Any, size: tuple[int, int], how: Image.Resampling = Image.Resampling.NEAREST) -> Image.Image:
    """A frame (C, H, W) in 0 to 1, or None for one that the model does not make, enlarged to `size`."""
    if frame is None:
        return Image.new("RGB", size, _ABSENT)
    pixels = np.rint(np.asarray(frame) * 255).astype(np.uint8)  # (C, H, W)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    return image.convert("RGB").resize(size, how)


def save_traces(path: Path, traces: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Hidden units of a long prediction, a panel per name: traces (steps, units), a column per step, a row per unit.

    All panels share one scale of colours.
    """
    figure = new_figure(1.2 + 4.2 * len(traces), 5)
    panels = figure.subplots(1, len(traces), sharey=True, squeeze=False)[0]
    largest = max(float(np.abs(values).max()) for values in traces.values())
    for axes, (name, values) in zip(panels, traces.items(), strict=True):
        steps, units = values.shape
        place = (0.5, steps + 0.5, units + 0.5, 0.5)
        image = axes.imshow(
            values.T, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", extent=place, interpolation="nearest"
        )
        axes.set(title=name, xlabel="step after the input")
    panels[0].set_ylabel("hidden unit, the most active first")
    figure.colorbar(image, ax=list(panels), label="hidden state")
    save_figure(path, figure)


def save_weights(path: Path, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Weights (units, C, H, W) as pictures, a panel per name, two panels side by side, twenty units in a row.

    Zero is in the middle of the scale: grey. Every unit has a scale of its own, which its largest weight fills.
    """
    columns, gap, title = 20, 2, 26
    units, _, height, width = next(iter(weights.values())).shape
    scale = max(1, round(_TILE / height))
    cell_w, cell_h = width * scale + gap, height * scale + gap
    columns = min(columns, units)
    panel_w, panel_h = columns * cell_w + _MARGIN, -(-units // columns) * cell_h + title + _MARGIN
    across = min(2, len(weights))
    size = (across * panel_w + _MARGIN, -(-len(weights) // across) * panel_h)
    picture, draw, font = _canvas(size, 15)
    for panel, (name, of_units) in enumerate(weights.items()):
        left, top = _MARGIN + panel % across * panel_w, panel // across * panel_h
        draw.text((left, top + title // 2), name, fill=_TEXT, font=font, anchor="lm")
        for number, unit in enumerate(of_units):
            x, y = left + number % columns * cell_w, top + title + number // columns * cell_h
            shades = 0.5 + 0.5 * unit / max(float(np.abs(unit).max()), 1e-12)
            picture.paste(_picture(shades, (cell_w - gap, cell_h - gap)), (x, y))
    _save(path, picture)


def save_retrieval(path: Path, rows: Sequence[Sequence[tuple[Frames, str, bool]]]) -> None:
    """A row per query: its frame (C, H, W) and label, then those of its neighbours, framed by whether they agree."""
    cell, gap, caption = 96, 12, 18
    columns = max(len(row) for row in rows)
    size = (gap + columns * (cell + gap) + gap, gap + len(rows) * (cell + caption + gap))
    picture, draw, font = _canvas(size, 12)
    for r, row in enumerate(rows):
        for c, (frame, label, agrees) in enumerate(row):
            x, y = gap + c * (cell + gap) + (gap if c else 0), gap + r * (cell + caption + gap)
            colour = _TEXT if c == 0 else _AGREES if agrees else _DIFFERS
            picture.paste(_picture(frame, (cell, cell)), (x, y))
            draw.rectangle((x - 2, y - 2, x + cell + 1, y + cell + 1), outline=colour, width=2)
            draw.text((x + cell // 2, y + cell + caption // 2 + 2), label, fill=colour, font=font, anchor="mm")
    _save(path, picture)


def save_map(
    path: Path, places: npt.NDArray[np.float64], classes: Sequence[str], frames: Sequence[Frames] | None = None
) -> None:
    """Clips at their places (N, 2), in the colours of their classes: as thumbnails of frames (C, H, W), or as dots.

    Thumbnails are on a grid, so that none hides another: all together as near to their places as they can be.
    "" is no class. More than twenty classes are coloured, but not named.
    """
    names = sorted(set(classes) - {""}, key=lambda name: (len(name), name))
    colours: dict[str, Any] = dict(zip(names, _hues(len(names)), strict=True)) | {"": _ABSENT if frames else _INPUT}
    tall = frames[0].shape[1] / frames[0].shape[2] if frames else 1.0
    columns = math.ceil((_CELLS * len(places) * tall * 1.5) ** 0.5)  # half as wide again as high
    grid = np.array([columns, math.ceil(_CELLS * len(places) / columns)])
    width = min(_THUMBNAIL, _MAP // columns)
    cell = np.array([width, round(width * tall)])
    at = (places - places.min(axis=0)) / np.maximum(np.ptp(places, axis=0), 1e-12) * (grid - 1)
    corners = np.rint((_snap(at, grid) if frames else at) * cell).astype(int) + _MARGIN
    named = names if len(names) <= _NAMED else []
    across = max(1, int(grid[0] * cell[0]) // _KEY)
    size = grid * cell + 2 * _MARGIN + (0, -(-len(named) // across) * 24)
    picture, draw, font = _canvas((int(size[0]), int(size[1])), 13)
    thumbnail = (int(cell[0]) - 6, int(cell[1]) - 6)  # within a frame of 2 pixels, 2 apart
    for number, ((x, y), name) in enumerate(zip(corners.tolist(), classes, strict=True)):
        if frames:
            draw.rectangle((x, y, x + thumbnail[0] + 3, y + thumbnail[1] + 3), fill=colours[name])
            picture.paste(_picture(frames[number], thumbnail, Image.Resampling.BOX), (x + 2, y + 2))
        else:
            draw.circle((x + cell[0] // 2, y + cell[1] // 2), _DOT, fill=colours[name], outline=_BACKGROUND)
    for number, name in enumerate(named):
        x, y = _MARGIN + number % across * _KEY, int(grid[1] * cell[1]) + _MARGIN + 16 + number // across * 24
        draw.rectangle((x, y - 5, x + 10, y + 5), fill=colours[name])
        draw.text((x + 16, y), name[:_LETTERS], fill=_TEXT, font=font, anchor="lm")
    _save(path, picture)


def _hues(count: int) -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    few = count <= 10
    return [to_hex(colormaps["tab10" if few else "hsv"](index if few else index / count)) for index in range(count)]


def _snap(places: npt.NDArray[np.float64], grid: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """To each of the places (N, 2) one of a grid of (columns, rows), with the least sum of squared distances."""
    from scipy.optimize import linear_sum_assignment

    cells = np.indices(tuple(grid)).reshape(2, -1).T  # (columns * rows, 2)
    distances = ((places[:, None] - cells) ** 2).sum(axis=2)
    chosen: npt.NDArray[np.int64] = cells[linear_sum_assignment(distances)[1]]
    return chosen


def save_architecture(path: Path, encoder: Sequence[str], code: str, decoders: Mapping[str, Sequence[str]]) -> None:
    """A model as boxes from top to bottom: the encoder's parts, the code, the decoders' parts beside each other.

    A part is a title and, after line breaks, what there is to say about it.
    """
    width, height, gap, top = 3.3, 0.9, 0.35, 0.4  # inches
    figure_width = max(2, len(decoders)) * (width + gap) + gap
    depth = len(encoder) + 1 + max(len(parts) for parts in decoders.values())
    figure = new_figure(figure_width, depth * (height + gap) + 2 * top + 0.1)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, figure.get_figwidth()), ylim=(figure.get_figheight(), 0))
    axes.axis("off")

    middle = figure_width / 2

    def chain(parts: Sequence[str], x: float, y: float, colour: str, name: str) -> float:
        """Draws boxes below each other, centred at `x`, from `y` down; returns where the last one ends."""
        side, align = (1, "right") if x > middle else (-1, "left")  # the outer one, clear of the arrow
        axes.text(x + side * width / 2, y - 0.1, name, color=colour, weight="bold", size=10, ha=align)
        for number, part in enumerate(parts):
            if number:
                _arrow(axes, (x, y - gap), (x, y))
            _box(axes, part, (x - width / 2, y), (width, height), colour)
            y += height + gap
        return y - gap

    y = chain(encoder, middle, top, "tab:blue", "encoder")
    _arrow(axes, (middle, y), (middle, y + gap))
    y = chain([code], middle, y + gap, "tab:purple", "")
    for column, (name, parts) in enumerate(decoders.items()):
        x = middle + (column - (len(decoders) - 1) / 2) * (width + gap)
        _arrow(axes, (middle, y), (x, y + gap + top))
        chain(parts, x, y + gap + top, "tab:orange", f"{name} decoder")
    save_figure(path, figure)


def _box(axes: Any, text: str, corner: tuple[float, float], size: tuple[float, float], colour: str) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.1"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, fc=to_rgba(colour, 0.12), ec=colour))
    title, _, details = text.partition("\n")
    x, y = corner[0] + size[0] / 2, corner[1] + size[1] / 2 - 0.1 * details.count("\n")
    axes.text(x, y, title, ha="center", va="bottom" if details else "center", size=11)
    axes.text(x, y + 0.03, details, ha="center", va="top", size=8.5, color="0.3")


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.35", "shrinkA": 0, "shrinkB": 0})
