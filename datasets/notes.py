"""What the data have to say to the user, beside errors."""

import sys
from collections.abc import Sequence
from functools import cache


@cache
def note(text: str) -> None:
    """Say something on stderr, once in a process: every part of the data is opened on its own."""
    print(text, file=sys.stderr)


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of `names`, and how many more there are: `a, b, c and 7 more`."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
