"""One HTML file that asks for no other: its frame, tables, pictures, and clips to play. Knows no results.

`page.html` has the markup of its parts; `page.css` and `page.js` go into it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from ..files import write_bytes
from .markup import element, join

_LARGE = 1 << 20  # bytes of a picture: a larger one is compressed with loss, a larger animation is only named
_WIDEST = 1600  # pixels of a large picture


class Sheet(NamedTuple):
    """All frames of some clips in one picture, see `visualize.save_sheet`, and a name where there are several."""

    path: Path
    about: dict[str, int]
    name: str = ""


def write_page(path: Path, title: str, head: Sequence[Markup], sections: Iterable[Markup]) -> Path:
    """A page that can ask for nothing: its policy allows the style and the script inside, by checksum, alone."""
    style, script = (_packaged(f"page.{kind}") for kind in ("css", "js"))
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    policy = "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'".format(*digests)
    page = _macros().page(title, join(head), join(sections), Markup(style), Markup(script), policy)
    write_bytes(path, page.encode())
    return path


def _packaged(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


@functools.cache
def _macros() -> Any:
    """Those of `page.html`; their results are `Markup`."""
    from jinja2 import Environment

    return Environment(autoescape=True).from_string(_packaged("page.html")).module


def guarded(part: Callable[..., Markup], *arguments: Any) -> Markup:
    """A part of the page, or a note in its place: a file that is damaged, or older, does not take others along."""
    try:
        return part(*arguments)
    except Exception as error:
        return element("p", f"This part could not be shown: {type(error).__name__}: {error}", class_="note")


def section(title: str, *parts: Markup, under: str = "") -> Markup:
    return Markup(_macros().section(title, under, join(parts)))


def data_table(cells: Sequence[Sequence[str]], first: int = 0, best: Collection[tuple[int, int]] = ()) -> Markup:
    """Numbers in columns, under a row of titles; the `first` rows are those that matter. Wide tables scroll.

    best: the cells that are marked as such: rows and columns, without the titles, from 0.
    """
    return Markup(_macros().data_table(cells[0], cells[1:], first, best))


def fact_list(values: Mapping[str, Any]) -> Markup:
    """Names and values of what is set; what is not is left out."""
    known = [(spaced(name), as_text(value)) for name, value in values.items() if value not in (None, "", [], ())]
    return Markup(_macros().fact_list(known))


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
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
        plot = image.convert("L").getpixel((0, 0)) == 255
    return Markup(_macros().picture(_data_uri(path, _WIDEST), alt, width, height, plot))


def _data_uri(path: Path, widest: int | None = None) -> str:
    """A file as an address that holds it. A large picture is compressed and, if wider than `widest`, made smaller."""
    from PIL import Image

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
    from PIL import Image

    with Image.open(path) as image:
        about = image.info.get("sheet")
    return None if about is None else Sheet(path, json.loads(about), name)


def player(sheets: Sequence[Sheet]) -> Markup:
    """Clips that play together: all those of one sheet, or one clip of several sheets. Without script, the sheets."""
    clips = min(sheet.about["clips"] for sheet in sheets)
    return Markup(_macros().player(sheets, [_data_uri(sheet.path) for sheet in sheets], clips))
