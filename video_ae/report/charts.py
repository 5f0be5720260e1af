"""Charts and time lines as SVG in a page, whose style sheet colours them, light or dark; Matplotlib places charts."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup

from ..charts import STYLES, Chart, Line, draw, short
from .markup import element

_WIDTH, _HEIGHT = 480, 300  # units of the drawing, which is as wide as its place allows
_FONT = 15  # size of text on a narrow screen, see page.css: what fits there fits everywhere
_LABEL = 0.15  # of the width of a time line, that of a label on a narrow screen


def line_chart(chart: Chart) -> Markup:
    """A figure of lines with a legend; nothing where no line has points."""
    chart = chart._replace(lines=[line for line in chart.lines if line.points])
    if not chart.lines:
        return Markup("")
    drawing = element(
        "svg",
        *(_part(part, iter(chart.lines), iter(())) for part in ElementTree.fromstring(_svg(chart)).findall("{*}g")),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{chart.y_label} against {chart.x_label}. {' '.join(_say(line) for line in chart.lines)}",
    )
    key = element("svg", element("path", d="M0 5H22"), viewBox="0 0 22 10", aria_hidden="true")
    legend = element("ul", *(element("li", key, line.name, class_=line.style) for line in chart.lines), class_="legend")
    return element("figure", legend, drawing, class_="chart")


class Bar(NamedTuple):
    """Something that lasts from `first` to `last`, what there is to say about it, and a short `label`.

    The `weight` says whose labels are left out where there is no room for all of them.
    """

    first: float
    last: float
    label: str
    about: str
    weight: float


class Lane(NamedTuple):
    """A band of a time line: its name, from when to when it is, that in words, and the bars in it."""

    name: str
    first: float
    last: float
    about: str
    bars: Sequence[Bar]


def time_line(lanes: Sequence[Lane]) -> Markup:
    """Bands below each other on one axis, as wide as the page, with bars in them that say what they are."""
    start, end = min(lane.first for lane in lanes), max(lane.last for lane in lanes) + 1

    def rect(part: Lane | Bar, *title: Markup, class_: str | None = None) -> Markup:
        return element("rect", *title, x=x(part.first), width=x(part.last + 1 - part.first + start), class_=class_)

    def x(place: float) -> str:
        return f"{100 * (place - start) / (end - start):.2f}%"

    rows = []
    for lane in lanes:
        bars = (rect(bar, element("title", bar.about)) for bar in lane.bars)
        labels = (
            element("text", bar.label, x=x((bar.first + bar.last + 1) / 2), y="1em", text_anchor=anchor)
            for bar, anchor in _labelled(lane.bars, start, end)
        )
        words = f"{lane.name}: {'; '.join(bar.about for bar in lane.bars)}"
        drawing = element("svg", rect(lane, class_="band"), *bars, *labels, role="img", aria_label=words)
        rows.append(element("li", element("strong", lane.name), element("small", lane.about), drawing))
    return element("ul", *rows, class_="lanes")


def _labelled(bars: Sequence[Bar], start: float, end: float) -> list[tuple[Bar, str]]:
    """Those that have room for a label, the weightiest first, and where at it the label is anchored."""
    chosen: dict[float, tuple[Bar, str]] = {}
    for bar in sorted(bars, key=lambda bar: -bar.weight):
        middle = ((bar.first + bar.last + 1) / 2 - start) / (end - start)
        anchor = "start" if middle < _LABEL / 2 else "end" if middle > 1 - _LABEL / 2 else "middle"
        centre = middle + {"start": _LABEL / 2, "middle": 0, "end": -_LABEL / 2}[anchor]
        if all(abs(centre - other) >= _LABEL for other in chosen):
            chosen[centre] = bar, anchor
    return list(chosen.values())


def _svg(chart: Chart) -> str:
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "font.size": _FONT, "axes.labelsize": _FONT}):
        draw(chart, (_WIDTH / 72, _HEIGHT / 72)).savefig(file, format="svg")
    return file.getvalue()


def _part(node: ElementTree.Element, lines: Iterator[Line], dots: Iterator[str]) -> Markup:
    """A node of Matplotlib's without the styles in it: groups have classes of the page's style sheet instead.

    lines: those that are still to come, in their order. dots: what the next dots of the line at hand say of themselves.
    """
    tag, name = str(node.tag).rpartition("}")[2], node.get("id", "")
    if tag == "g" and not name.startswith("patch"):
        style = "grid" if "tick" in name else name if name.partition(" ")[0] in STYLES else None
        if style == name and not name.endswith("spread"):
            dots = _dots(next(lines))
        return element("g", *(_part(part, lines, dots) for part in node), class_=style)
    if tag == "path":
        path = re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.1f}", " ".join(node.get("d", "").split()))
        return element("path", d=path)
    if tag == "text":
        anchor = re.search(r"text-anchor: (\w+)", node.get("style", ""))
        place = {name: node.get(name) for name in ("x", "y", "transform")}
        return element("text", node.text or "", text_anchor=anchor and anchor[1], **place)
    if tag == "use" and (about := next(dots, None)):
        return element("circle", element("title", about), cx=node.get("x"), cy=node.get("y"), r=3)
    return Markup("")


def _dots(line: Line) -> Iterator[str]:
    """The value at each point that is no gap, in words."""
    return (f"{y:.4g} at {short(x)}" for x, y in line.points)


def _say(line: Line) -> str:
    """A line in words, for those who do not see it."""
    first, *_, last = [*_dots(line)] * 2
    return f"{line.name}: {first}." if first == last else f"{line.name}: from {first} to {last}."
