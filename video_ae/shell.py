"""What the user is told to type."""

import re
import shlex
import sys
from pathlib import Path


def shell_path(path: Path | str) -> str:
    """A path as a word of a shell's, which no command takes for a flag."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def command_line(words: list[str]) -> str:
    """The `sys.argv` of a process as a line for a shell: `python -m video_ae` for `__main__.py`, which is no script."""
    program = _program(words) or f"python {shlex.join(words[:1])}"
    return " ".join([program, *map(shlex.quote, words[1:])])


def _program(words: list[str]) -> str | None:
    """How the commands begin where they are no scripts of a checkout."""
    called = Path(*words[:1])
    if called.stem == "video-ae":
        return "video-ae"
    return "python -m video_ae" if called.parts[-2:] == ("video_ae", "__main__.py") else None


def as_typed(text: str) -> str:
    """`text`, written for a checkout, with the scripts called as this process was: `video-ae train` for `train.py`."""
    program = _program(sys.argv)
    if program is None:
        return text
    text = re.sub(r"(torchrun .*?)\b(train|evaluate)\.py", r"\1-m video_ae \2", text)
    text = re.sub(r"(python )?\b(train|evaluate)\.py", rf"{program} \2", text)
    return text.replace("python -m video_ae", program)
