"""What a report shows of the results of one task of evaluate.py: its numbers, drawn, and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

from markupsafe import Markup

from ..datasets.fields import DataFields
from ..datasets.flags import noted
from ..files import read_json
from ..results import result_files
from .markup import element, join
from .page import (
    as_text,
    data_table,
    embed_animation,
    embed_picture,
    fact_list,
    guarded,
    player,
    read_sheet,
    section,
    spaced,
)

_GIFS = 2  # of a task that left no sheet


class Section:
    """What a report shows of one task, here of one that it knows nothing else of: the numbers of its JSON as tables.

    name:  what its files are named after: `predict.json`, `predict-strip.png`.
    title: of the section; "" for the name.
    alt:   what is in its pictures, by their stems, or patterns of such; beside sheets, GIFs are shown if they have one.
    drawn: stems of pictures, or patterns of such, that `show` shows itself or draws again.
    """

    name: str = ""
    title: ClassVar[str] = ""
    alt: ClassVar[Mapping[str, str]] = {}
    drawn: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str = "") -> None:
        self.name = name or self.name

    def show(self, folder: Path, results: Any) -> Markup:
        """Of the JSON of the task, in `folder`, what comes above its pictures."""
        return numbers(results)

    def tiles(self, results: Any) -> dict[str, tuple[str, str]]:
        """A few numbers for the top of the page: what each is, itself, and what it has to be better than."""
        return {}


def section_of(folder: Path, known: Section, changes: str) -> Markup:
    """The section of a task that left results in `folder`, under what flags changed about it."""
    path = folder / f"{known.name}.json"
    own = result_files(folder, known.name)
    pictures = [
        picture
        for picture in sorted((*folder.glob("*.png"), *folder.glob("*.gif")))
        if (picture.name in own if own else task_of(picture) == known.name)
    ]
    sheets = [sheet for picture in pictures if picture.suffix == ".png" and (sheet := read_sheet(picture))]
    others = [picture for picture in pictures if all(picture != sheet.path for sheet in sheets)]
    still = [picture for picture in others if picture.suffix == ".png" and not _is_drawn(picture, known)]
    gifs = [picture for picture in others if picture.suffix == ".gif"]
    animations = [gif for gif in gifs if not sheets or gif.stem in known.alt]  # others show what sheets do
    parts = [player([sheet]) for sheet in sheets if not _is_drawn(sheet.path, known)]
    if path.is_file():
        parts.append(guarded(lambda: known.show(folder, read_json(path))))
    for embed, shown in ((embed_animation, animations[:_GIFS]), (embed_picture, still)):
        parts += [guarded(embed, picture, _alt(picture, known)) for picture in shown]
    return section(known.title or spaced(known.name), *parts, under=spaced(changes))


def task_of(path: Path) -> str:
    """Files are named after their task: `predict.json`, `predict-strip.png`."""
    return path.stem.partition("-")[0]


def _alt(picture: Path, known: Section) -> str:
    """What is in a picture; of those that share a pattern, or have no text, its name says which one it is."""
    name = spaced(picture.stem).removeprefix(f"{known.name} ")
    shared = (f"{name}: {text}" for stems, text in known.alt.items() if fnmatch(picture.stem, stems))
    return known.alt.get(picture.stem) or next(shared, name)


def _is_drawn(picture: Path, known: Section) -> bool:
    return any(fnmatch(picture.stem, pattern) for pattern in known.drawn)


def where(results: Mapping[str, Any]) -> str:
    """The data in words: `moving-mnist (test), 3 digits`."""
    text = str(results.get("dataset", "unknown data"))
    text += f" ({results['split']})" if results.get("split") else ""
    told = reversed(noted(DataFields, "told").items())  # the longest last
    return ", ".join([text, *(words(results[name]) for name, words in told if results.get(name))])


def sentences(found: list[str]) -> Markup:
    return element("ul", *(element("li", sentence) for sentence in found), class_="verdicts")


def numbers(results: Any) -> Markup:
    """Any JSON: its numbers as facts, and parts that are alike as the rows of tables. Long lists are left out."""
    if not isinstance(results, dict):
        return Markup("")
    single = {name: value for name, value in results.items() if not isinstance(value, (dict, list))}
    tables = []
    for name, value in results.items():
        if isinstance(value, dict) and value:
            tables.append(guarded(_number_table, spaced(name), value))
    return join([fact_list(single), *tables])


def _number_table(name: str, value: dict[str, Any]) -> Markup:
    rows = {key: row for key, row in value.items() if isinstance(row, dict)}
    if len(rows) < len(value):
        rows = {"": value}
    flat = {key: {c: v for c, v in row.items() if isinstance(v, (int, float, str))} for key, row in rows.items()}
    columns = list(dict.fromkeys(column for row in flat.values() for column in row))
    if not columns:
        return Markup("")
    cells = [(spaced(key), *(as_text(row.get(column)) for column in columns)) for key, row in flat.items()]
    return data_table([(name, *map(spaced, columns)), *cells])
