"""Elements of HTML and SVG. Text that is not markup already is escaped, so no name of a run or class becomes a tag."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape


def element(tag: str, *children: str, **attributes: str | float | None) -> Markup:
    """`<tag ...>children</tag>`.

    An attribute's trailing underscore is dropped and others become hyphens (`class_`, `text_anchor`); "" is one without
    value, None one that is not there.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is not None:
            key = name.removesuffix("_").replace("_", "-")
            words.append(f'{key}="{escape(value)}"' if value != "" else key)
    return Markup(f"<{' '.join(words)}>{join(children)}</{tag}>")


def join(parts: Iterable[str]) -> Markup:
    """Parts after each other."""
    return Markup("").join(parts)
