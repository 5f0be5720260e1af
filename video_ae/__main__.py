"""`video-ae COMMAND ...`, which is `python -m video_ae COMMAND ...`, too."""

import argparse
import sys
from pkgutil import resolve_name

from .shell import as_typed

_COMMANDS = {  # where each is, imported when it is called, and what it does
    "demo": ("video_ae.commands.demo:command", "train on moving digits, and show what comes of it"),
    "train": ("video_ae.commands.train:command", "learn a representation of videos, features or series"),
    "evaluate": ("video_ae.commands.evaluate:command", "judge a trained model, and use it"),
    "watch": ("video_ae.commands.watch:command", "print scores as rows or frames arrive"),
    "percepts": ("video_ae.commands.percepts:command", "write down what is seen or moves in each frame of videos"),
    "cache": ("video_ae.commands.cache:command", "list or clear what is kept of videos that were read"),
    "hub": ("video_ae.commands.hub:command", "make a folder for the Hugging Face Hub, and upload it"),
}


def main(words: list[str] | None = None) -> int:
    """Hand the words after the first one to the command that it names; returns the exit code.

    words: those after the program's name; None takes them from this process.

    Raises SystemExit, 2 for a command that does not exist and 0 after `--help`.
    """
    words = sys.argv[1:] if words is None else words
    parser = argparse.ArgumentParser(
        prog=as_typed("python -m video_ae"), description="LSTM autoencoders of video. COMMAND --help says more."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, what) in _COMMANDS.items():
        commands.add_parser(name, help=what)
    place, _ = _COMMANDS[parser.parse_args(words[:1]).command]
    return int(resolve_name(place)(words[1:]))


if __name__ == "__main__":
    sys.exit(main())
