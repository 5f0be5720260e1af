"""Packages that only some users need, imported where they are used."""

from importlib import import_module
from typing import Any


def import_extra(module: str, extra: str) -> Any:
    """The module `module`. Raises ImportError with the extra to install where it is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # it is there, but something that it needs is not
        raise ImportError(f'{module} is not installed; pip install "video-ae[{extra}]"') from error
