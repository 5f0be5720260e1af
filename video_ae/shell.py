"""What the user is told to type."""

import shlex
from pathlib import Path


def shell_path(path: Path | str) -> str:
    """A path as a word of a shell's, which no command takes for a flag."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))
