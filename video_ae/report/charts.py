"""Lines to SVG that follows the colours and the width of the page it is in. Knows no results and no files.

Matplotlib draws the pictures of a run; a page that is light or dark, wide or narrow, wants lines that a style sheet
reaches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .markup import Markup, element

_WIDTH, _HEIGHT = 480, 300  # units of the drawing, which is as wide as its place allows
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 42  # margins
_TICKS = 5  # about


class Line(NamedTuple):
    """One line. `style` names its colour and strokes, classes of the style sheet; values that are not finite are gaps.

    spreads: how far it may be off, up and down, at each point.
    dots:    whether the points are drawn.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: str
    spreads: Sequence[float] | None = None
    dots: bool = False


class _Axis(NamedTuple):
    """Values from `low` to `high` to places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]
    log: bool = False

    def place(self, value: float) -> float:
        low, high, here = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return round(self.start + (here - low) / (high - low) * (self.end - self.start), 1)


def line_chart(
    lines: Sequence[Line], x_label: str, y_label: str, *, log_x: bool = False, from_zero: bool = False
) -> Markup:
    """A figure of lines with a legend; `log_x` is for few, positive places, each of which gets a tick."""
    lines = [_finite(line) for line in lines]
    lines = [line for line in lines if line.xs]
    if not lines:
        return Markup("")
    x_axis = _x_axis([x for line in lines for x in line.xs], log_x)
    ends = [y + sign * spread for line in lines for y, spread in _with_spreads(line) for sign in (-1, 1)]
    y_ticks = _nice_ticks(min([0.0, *ends]) if from_zero else min(ends), max(ends))
    y_axis = _Axis(y_ticks[0], y_ticks[-1], _HEIGHT - _BOTTOM, _TOP, y_ticks)
    drawing = element(
        "svg",
        *_grid(x_axis, y_axis, x_label, y_label),
        *(_draw(line, x_axis, y_axis) for line in lines),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{y_label} against {x_label}. {' '.join(_say(line, x_label) for line in lines)}",
    )
    key = element("svg", element("path", d="M0 5H22"), viewBox="0 0 22 10", aria_hidden="true")
    legend = element("ul", *(element("li", key, line.name, class_=line.style) for line in lines), class_="legend")
    return element("figure", legend, drawing, class_="chart")


def short(value: float) -> str:
    """A number for a tick: 20,000 is 20 k."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size * (10 if size == 1e3 else 1):
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def _finite(line: Line) -> Line:
    """`line` without the points that are none: of a floor that has no error, or of a loss that overflowed."""
    kept = [
        place
        for place, (x, y) in enumerate(zip(line.xs, line.ys, strict=True))
        if y is not None and math.isfinite(x) and math.isfinite(y)
    ]
    spreads = None if line.spreads is None else [line.spreads[place] for place in kept]
    return line._replace(xs=[line.xs[place] for place in kept], ys=[line.ys[place] for place in kept], spreads=spreads)


def _with_spreads(line: Line) -> list[tuple[float, float]]:
    return list(zip(line.ys, line.spreads or [0.0] * len(line.ys), strict=True))


def _x_axis(values: Sequence[float], log: bool) -> _Axis:
    low, high = min(values), max(values)
    if low == high:  # one point, in the middle
        low, high = (low / 2, high * 2) if log else (low - 1, high + 1)
    ticks = sorted(set(values)) if log else [tick for tick in _nice_ticks(low, high) if low <= tick <= high]
    return _Axis(low, high, _LEFT + 8, _WIDTH - _RIGHT - 8, ticks, log)


def _nice_ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, from at most `low` to at least `high`."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / _TICKS))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= _TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _grid(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str) -> list[Markup]:
    bottom = _HEIGHT - _BOTTOM
    parts = []
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        parts.append(element("path", d=f"M{_LEFT} {y}H{_WIDTH - _RIGHT}", class_="grid"))
        parts.append(element("text", short(tick), x=_LEFT - 6, y=y + 4, text_anchor="end"))
    for tick in x_axis.ticks:
        x = x_axis.place(tick)
        parts.append(element("path", d=f"M{x} {bottom}v4", class_="grid"))
        parts.append(element("text", short(tick), x=x, y=bottom + 17, text_anchor="middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(element("text", x_label, x=middle, y=_HEIGHT - 6, text_anchor="middle", class_="label"))
    y = (_TOP + bottom) / 2
    turned = f"rotate(-90 12 {y})"
    return [*parts, element("text", y_label, x=12, y=y, text_anchor="middle", class_="label", transform=turned)]


def _draw(line: Line, x_axis: _Axis, y_axis: _Axis) -> Markup:
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in zip(line.xs, line.ys, strict=True)]
    parts = [element("path", d="M" + "L".join(f"{x} {y}" for x, y in places))]
    if line.spreads is not None:
        for (x, _), (value, spread) in zip(places, _with_spreads(line), strict=True):
            parts.append(
                element(
                    "path", d=f"M{x} {y_axis.place(value - spread)}V{y_axis.place(value + spread)}", class_="spread"
                )
            )
    if line.dots:
        for (x, y), x_value, y_value in zip(places, line.xs, line.ys, strict=True):
            about = element("title", f"{line.name}: {y_value:.4g} at {short(x_value)}")
            parts.append(element("circle", about, cx=x, cy=y, r=3))
    return element("g", *parts, class_=line.style)


def _say(line: Line, x_label: str) -> str:
    """A line in words, for those who do not see it."""
    first, last = (
        f"{y:.4g} at {x_label} {short(x)}" for x, y in ((line.xs[0], line.ys[0]), (line.xs[-1], line.ys[-1]))
    )
    return f"{line.name}: {first}." if len(line.xs) == 1 else f"{line.name}: from {first} to {last}."
