"""Fields of dataclasses that are flags of a command as well: default, type and help are written once."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, TypeVar, get_args, get_type_hints

Value = TypeVar("Value")


def flag(default: Value, text: str, *names: str, **how: Any) -> Value:
    """A field with a flag: its help, short `names` beside the long one, and what else `add_argument` is told.

    The help says the default, unless the text does.
    """
    described: Value = dataclasses.field(default=default, metadata={"help": text, "names": names, **how})
    return described


def add_flags(group: argparse._ArgumentGroup, config: type, **more: dict[str, Any]) -> None:
    """The flags of a dataclass, `--like-this` of a field `like_this`; `more` is what only the caller knows of some."""
    kinds = get_type_hints(config)
    for field in dataclasses.fields(config):
        if not (how := dict(field.metadata)):
            continue
        how |= more.get(field.name, {})
        kind = kinds[field.name]
        while get_args(kind):  # of `tuple[float, float]` float, of `int | None` int
            kind = get_args(kind)[0]
        if kind is bool:
            how.setdefault("action", "store_true")
        else:
            how["type"] = kind
            if field.default not in (None, "", ()) and "(default" not in how["help"]:
                usual = field.default if isinstance(field.default, tuple) else (field.default,)
                said = " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in usual)
                how["help"] = f"{how['help']} (default: {said})".strip()
        if kind in (int, float) and not {"choices", "metavar"} & how.keys():
            how["metavar"] = "N"
        group.add_argument(*how.pop("names"), "--" + field.name.replace("_", "-"), **how)
