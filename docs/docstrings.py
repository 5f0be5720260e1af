"""What the API reference makes of this project's docstrings; `mkdocs.yml` names it.

Parameters are written as `name: text`, with the text's other lines indented: in Markdown, items of a list. The fields
of configs are documented by the help of their flags.
"""

import ast
import re
from typing import Any

import griffe

_ITEM = re.compile(r"^((?:\w+)(?:, \w+)*): +(?=\S)")
_UNDERLINE = re.compile(r"^(Parameters|Attributes)\n-+$", re.MULTILINE)


def as_markdown(docstring: str) -> str:
    """Paragraphs that consist of `name: text` as lists, underlined headings in bold."""
    text = _UNDERLINE.sub(r"**\1**\n", docstring)
    return "\n\n".join(_list(part) if _ITEM.match(part) else part for part in text.split("\n\n"))


def _list(paragraph: str) -> str:
    lines = paragraph.strip("\n").split("\n")
    return "\n" + "\n".join(
        _ITEM.sub(lambda found: f"- `{found[1]}`: ", line) if _ITEM.match(line) else f"    {line.strip()}"
        for line in lines
    )


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
