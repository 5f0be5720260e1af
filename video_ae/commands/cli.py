"""What the commands share: exit codes, one-line errors, and flags that override a config."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import Interrupted, describe
from ..shell import as_typed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def command_parser(call: str, about: str, **how: Any) -> argparse.ArgumentParser:
    """The parser of a command: how it is called, its docstring, and what else `ArgumentParser` is told."""
    return argparse.ArgumentParser(
        prog=as_typed(call), description=as_typed(about), formatter_class=argparse.RawDescriptionHelpFormatter, **how
    )


def run(main: Callable[[], None], *, debug: bool) -> int:
    """Call `main` and turn how it ends into an exit code; errors are one line unless `debug`.

    0 done, 1 error, 128 + signal number after SIGINT or SIGTERM (130, 143).
    """
    try:
        main()
    except Interrupted as interrupted:
        print(f"\ninterrupted: {interrupted}", file=sys.stderr)
        return 128 + interrupted.signal_number
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        if debug:
            raise
        print(f"error: {error.name} is not installed; run make setup and use .venv/bin/python", file=sys.stderr)
        return 1
    except Exception as error:
        if debug:
            raise
        expected = isinstance(error, (ValueError, OSError, FloatingPointError, ImportError))
        kind = "error" if expected else f"error: {type(error).__name__}"
        line = f"{kind}: {describe(error)}{'' if expected else ' (--debug shows where)'}"
        print(line, file=sys.stderr)
        _tell_torchrun(line)
        return 1
    return 0


def _tell_torchrun(line: str) -> None:
    """What ended this process, for the report with which torchrun ends; its own lines are the last ones."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        with open(path, "w") as file:
            json.dump({"message": line}, file)


def override(config: Config, given: dict[str, Any]) -> Config:
    """`config` with the fields that flags were given for; flags not given are absent, or None, and inherit."""
    names = {field.name for field in dataclasses.fields(config)}
    chosen = {name: value for name, value in given.items() if name in names and value is not None}
    return dataclasses.replace(config, **chosen)


def positive(text: str) -> int:
    """A flag's whole number of at least 1, for `argparse`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)


def natural(text: str) -> int:
    """A flag's whole number from 0 to 2**63 - 1, for `argparse`."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 0 to 2**63 - 1")
    return int(text)
