"""What the API reference makes of this project's docstrings; `mkdocs.yml` names it.

Parameters are written as `name: text`, with the text's other lines indented: in Markdown, items of a list. The fields
of configs are documented by the help of their flags.
"""

import ast
import re
from typing import Any

import griffe

_NAMED = re.compile(r"^((?:\w+)(?:, \w+)*): +(?=\S)")
_DASHED = re.compile(r"^ +- ")
_UNDERLINED = re.compile(r"^(Parameters|Attributes)\n-+$", re.MULTILINE)


def as_markdown(docstring: str) -> str:
    """Lists with the blank lines and the indentation that Markdown wants, underlined headings in bold."""
    return "\n\n".join(map(_paragraph, _UNDERLINED.sub(r"**\1**\n", docstring).split("\n\n")))


def _paragraph(text: str) -> str:
    item, mark = (_NAMED, r"- `\1`: ") if _NAMED.match(text.lstrip("\n")) else (_DASHED, "- ")
    lines: list[str] = []
    listing = False
    for line in text.split("\n"):
        begins = item.match(line) is not None
        continues = listing and line.startswith(" ")
        if begins != listing and not continues:
            lines.append("")
        listing = begins or continues
        lines.append(item.sub(mark, line) if begins else f"    {line.strip()}" if continues else line)
    return "\n".join(lines)


class HouseStyle(griffe.Extension):
    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """`flag(default, help)` as a default and a docstring."""
        if attr.docstring is not None or not str(attr.value).startswith("flag("):
            return
        call = ast.parse(str(attr.value), mode="eval").body
        assert isinstance(call, ast.Call)
        if isinstance(call.args[1], ast.Constant) and call.args[1].value:
            attr.docstring = griffe.Docstring(str(call.args[1].value), parent=attr)
