"""Train on digits that move, judge the model, draw what it predicts, and classify with few labels.

video-ae demo                       # eight minutes on two cores, into runs/demo
video-ae demo --max-minutes 1       # a first look

The same command goes on with a demonstration that was interrupted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..shell import as_typed
from . import evaluate, train

_MINUTES = 5.5
_CLASSIFY = "--tasks classify --labels direction --labels-per-class 5 50 --steps 25 --num-seeds 2 --clips 200"


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=as_typed("python -m video_ae demo"),
        description=as_typed(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--max-minutes", type=float, default=_MINUTES, metavar="M", help=f"of training (default: {_MINUTES:g})"
    )
    parser.add_argument(
        "--output-dir", type=Path, default=Path("runs/demo"), metavar="FOLDER", help="(default: runs/demo)"
    )
    return parser.parse_args(words)


def command(words: list[str] | None = None) -> int:
    """Exit code of the first of its parts that fails, or 0."""
    arguments = parse_arguments(words)
    run = str(arguments.output_dir)
    budget = ["--max-minutes", f"{arguments.max_minutes:g}"]
    return (
        train.command(["--composite", *budget, "--output-dir", run, "--resume"])
        or evaluate.command([run])
        or evaluate.command([run, *_CLASSIFY.split()])
    )
