"""What the user is told about the data, on stderr."""

import sys
from functools import cache


@cache
def note(text: str) -> None:
    """Say something about the data on stderr, once in a process: every split is opened on its own."""
    print(text, file=sys.stderr)
