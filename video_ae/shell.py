"""What the user is told to type."""

import re
import shlex
import sys
from pathlib import Path


def shell_path(path: Path | str) -> str:
    """A path as a word of a shell's, which no command takes for a flag."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def as_typed(text: str) -> str:
    """`text`, written for a checkout, with the scripts called as this process was: `video-ae train` for `train.py`."""
    called = Path(*sys.argv[:1])
    if called.stem == "video-ae":
        program = "video-ae"
    elif called.parts[-2:] == ("video_ae", "__main__.py"):
        program = "python -m video_ae"
    else:
        return text
    text = re.sub(r"(torchrun .*?)\b(train|evaluate)\.py", r"\1-m video_ae \2", text)
    text = re.sub(r"(python )?\b(train|evaluate)\.py", rf"{program} \2", text)
    return text.replace("python -m video_ae", program)
