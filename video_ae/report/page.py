"""One HTML file that asks for no other: its frame, tables, pictures, and clips to play. Knows no results.

`page.css` and `page.js` go into it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ..files import write_bytes
from .markup import Markup, element

_LARGE = 1 << 20  # bytes of a picture: a larger one is compressed with loss, a larger animation is only named
_WIDEST = 1600  # pixels of a large picture


class Sheet(NamedTuple):
    """All frames of some clips in one picture, see `visualize.save_sheet`, and a name where there are several."""

    path: Path
    about: dict[str, int]
    name: str = ""


def write_page(path: Path, title: str, head: Sequence[Markup], sections: Iterable[Markup]) -> Path:
    """A page that can ask for nothing: its policy allows the style and the script inside, by their sums, alone."""
    style, script = (files(__package__).joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    sums = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    policy = "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'".format(*sums)
    top = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Markup(style)),
    ]
    body = [element("header", *head), element("main", *sections), element("script", Markup(script))]
    page = element("html", element("head", *top), element("body", *body), lang="en")
    write_bytes(path, f"<!DOCTYPE html>\n{page}\n".encode())
    return path


def guarded(part: Callable[..., Markup], *arguments: Any) -> Markup:
    """A part of the page, or a note in its place: a file that is damaged, or older, does not take others along."""
    try:
        return part(*arguments)
    except Exception as error:
        return element("p", f"This part could not be shown: {type(error).__name__}: {error}", class_="note")


def section(title: str, *parts: Markup, under: str = "") -> Markup:
    small = [element("small", under)] if under else []
    return element("section", element("h2", title, *small), *parts)


def data_table(cells: Sequence[Sequence[str]], first: int = 0) -> Markup:
    """Numbers in columns, under a row of titles; the `first` rows are those that matter. Wide tables scroll."""
    head, *rows = cells
    top = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(element("td", cell) for cell in cells),
            class_="first" if number < first else None,
        )
        for number, (name, *cells) in enumerate(rows)
    ]
    return _scrolling(element("table", element("thead", top), element("tbody", *body)), "table")


def _scrolling(part: Markup, what: str) -> Markup:
    return element("div", part, class_="scroll", tabindex=0, role="region", aria_label=what)


def fact_list(values: Mapping[str, Any]) -> Markup:
    """Names and values of what is set; what is not is left out."""
    known = {name: as_text(value) for name, value in values.items() if value not in (None, "", [], ())}
    return element(
        "dl", *(element("div", element("dt", spaced(name)), element("dd", text)) for name, text in known.items())
    )


def spaced(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(as_text, value)) if isinstance(value, list) else str(value)


def embed_picture(path: Path, alt: str) -> Markup:
    """A picture inside the page; a plot on white is marked as one, so that a dark page can turn it dark."""
    with Image.open(path) as image:
        width, height = image.size
        plot = image.convert("L").getpixel((0, 0)) == 255
    wide = width > 1000 and not plot
    shown = element(
        "img", src=_data_uri(path, _WIDEST), alt=alt, width=width, height=height, class_="plot" if plot else None
    )
    caption = element("figcaption", alt)
    return element("figure", _scrolling(shown, alt) if wide else shown, caption, class_="wide" if wide else None)


def _data_uri(path: Path, widest: int | None = None) -> str:
    """A file as an address that holds it. A large picture is compressed and, if wider than `widest`, made smaller."""
    content, kind = path.read_bytes(), path.suffix[1:]
    if len(content) > _LARGE:
        with Image.open(path) as image:
            small, buffer = image.convert("RGB"), io.BytesIO()
            if widest and small.width > widest:
                small = small.resize((widest, small.height * widest // small.width))
            small.save(buffer, "WEBP", quality=80, method=2)
        content, kind = buffer.getvalue(), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def embed_animation(path: Path, alt: str) -> Markup:
    """A GIF that is not in a sheet. It cannot be stopped, but put away."""
    size = path.stat().st_size
    if size > _LARGE:
        return element("p", f"{path.name} ({size / 1e6:.1f} MB) lies beside the results.", class_="note")
    return element("details", element("summary", "Animation"), embed_picture(path, alt), open="")


def read_sheet(path: Path, name: str = "") -> Sheet | None:
    """`path` as a sheet of clips, None where it is another picture."""
    with Image.open(path) as image:
        about = image.info.get("sheet")
    return None if about is None else Sheet(path, json.loads(about), name)


def player(sheets: Sequence[Sheet]) -> Markup:
    """Clips that play together: all those of one sheet, or one clip of several sheets. Without script, the sheets."""
    frames = max(sheet.about["frames"] for sheet in sheets)
    inputs = sheets[0].about["inputs"]
    clips = min(sheet.about["clips"] for sheet in sheets)
    pictures, views = [], []
    for number, sheet in enumerate(sheets):
        alt = f"All frames of {clips} clips{sheet.name and f' of {sheet.name}'}, the truth above the model"
        about = {f"data-{key}": value for key, value in sheet.about.items()}
        pictures.append(element("img", src=_data_uri(sheet.path), alt=alt, class_="sheet", **about))
        for clip in range(clips):
            which = f"clip {clip + 1}"
            panels = [
                element("div", element("canvas", role="img", aria_label=f"{which}, {part}"), element("span", part))
                for part in ("truth", "model", "difference")
            ]
            caption = element("figcaption", sheet.name or which)
            views.append(
                element("figure", *panels, caption, class_="view", data_sheet=number, data_clip=clip, hidden="")
            )
    choices = [element("option", f"clip {clip + 1}", value=clip) for clip in range(clips)]
    if len(sheets) == 1 and clips > 1:
        choices.insert(0, element("option", "all clips", value="all"))
    controls = [
        element("button", "Pause", type="button", class_="play"),
        element("button", Markup("&lsaquo;"), type="button", class_="back", aria_label="one frame back"),
        element("button", Markup("&rsaquo;"), type="button", class_="on", aria_label="one frame on"),
        element("input", type="range", min=1, max=frames, value=1, aria_label="frame"),
        element("select", *choices, aria_label="clip"),
        element("output"),
    ]
    return element(
        "div",
        element("div", *controls, class_="controls", hidden=""),
        element("div", *views, class_="views"),
        *pictures,
        class_="player",
        data_frames=frames,
        data_inputs=inputs,
    )
