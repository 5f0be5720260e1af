"""HTML and SVG as text of a type of its own: other text is escaped, so no name of a run or class becomes a tag."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_EMPTY = {"img", "input", "meta", "link"}  # elements that have no end


class Markup(str):
    """Text that is markup already. Formatting and joining it give plain text again, which would be escaped."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | float | None) -> Markup:
    """`<tag ...>children</tag>`.

    An attribute's trailing underscore is dropped and others become hyphens (`class_`, `stroke_width`); "" is one
    without value, None one that is not there.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is not None:
            key = name.removesuffix("_").replace("_", "-")
            words.append(f'{key}="{escape(str(value))}"' if value != "" else key)
    head = f"<{' '.join(words)}>"
    return Markup(head if tag in _EMPTY else f"{head}{join(children)}</{tag}>")


def join(parts: Iterable[str]) -> Markup:
    """Parts after each other."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))
