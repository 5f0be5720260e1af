"""Fields of dataclasses that are flags of a command as well: default, type and help are written once."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_type_hints

Value = TypeVar("Value")


def flag(default: Value, text: str, *names: str, about: Mapping[str, Any] | None = None, **how: Any) -> Value:
    """A field with a flag: its help, short `names` beside the long one, and what else `add_argument` is told.

    The help says the default, unless the text does. `about` is what else there is to know of the field, see `noted`.
    """
    told = {"names": names, "how": {"help": text, **how}}
    described: Value = dataclasses.field(default=default, metadata={**(about or {}), **told})
    return described


def noted(config: type, what: str) -> dict[str, Any]:
    """By the names of the fields that say something `about` this, what they say."""
    return {field.name: field.metadata[what] for field in dataclasses.fields(config) if what in field.metadata}


def add_flags(group: argparse._ArgumentGroup, config: type, **more: dict[str, Any]) -> None:
    """The flags of a dataclass, `--like-this` of a field `like_this`; `more` is what only the caller knows of some."""
    kinds = get_type_hints(config)
    for field in dataclasses.fields(config):
        if "how" not in field.metadata:
            continue
        how = field.metadata["how"] | more.get(field.name, {})
        kind = kinds[field.name]
        while get_args(kind):  # of `tuple[float, float]` float, of `int | None` int
            kind = get_args(kind)[0]
        if kind is bool:
            how.setdefault("action", "store_true")
        else:
            how.setdefault("type", kind)
            if field.default not in (None, "", ()) and "(default" not in how["help"]:
                usual = field.default if isinstance(field.default, tuple) else (field.default,)
                said = " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in usual)
                how["help"] = f"{how['help']} (default: {said})".strip()
        if kind in (int, float) and not {"choices", "metavar"} & how.keys():
            how["metavar"] = "N"
        group.add_argument(*field.metadata["names"], as_flag(field.name), **how)


def as_flag(name: str) -> str:
    """`--like-this` of a field `like_this`."""
    return "--" + name.replace("_", "-")
