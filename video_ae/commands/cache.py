"""What video-ae keeps of the videos that it has read: decoded frames, and percepts.

video-ae cache                      # list it
video-ae cache --clear              # remove all of it
video-ae cache --clear 23ec06a2bbbf # remove one entry

Nothing is lost: what is needed again is read from the videos again.
"""

from __future__ import annotations

import argparse
import shutil
from typing import Any

from . import cli


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = cli.command_parser("python -m video_ae cache", __doc__)
    parser.add_argument("--clear", nargs="*", metavar="ENTRY", help="remove these entries, or all")
    return parser.parse_args(words)


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: show(arguments.clear), debug=False)


def show(clear: list[str] | None) -> None:
    """List the cache or, unless `clear` is None, remove these entries of it, or all. Raises ValueError for others."""
    from ..datasets.video_cache import cache_entries, in_words

    entries = {entry.folder.name: entry for entry in cache_entries()}
    if unknown := sorted(set(clear or ()) - entries.keys()):
        raise ValueError(f"no entry {', '.join(unknown)} in the cache; list it without --clear")
    if clear is not None:
        chosen = [entries[name] for name in clear or entries]
        for entry in chosen:
            shutil.rmtree(entry.folder)
        print(f"removed {len(chosen)} entries, {in_words(sum(entry.size for entry in chosen))}")
        return
    for name, entry in entries.items():
        print(f"{name}  {in_words(entry.size):>10}  {entry.arrays:>7,} videos  {_described(entry.settings)}")
    where = next(iter(entries.values())).folder.parent if entries else "empty"
    print(f"{in_words(sum(entry.size for entry in entries.values()))} in {len(entries)} entries ({where})")


def _described(settings: dict[str, Any]) -> str:
    """The settings that differ from the usual ones: `image_size 64, grey`."""
    settings = {name: value for name, value in settings.items() if name != "version" and value not in (None, False, 0)}
    if isinstance(percepts := settings.get("percepts"), dict):
        settings["percepts"] = percepts.get("network", "percepts")
    if settings.get("stride") == 1:
        del settings["stride"]
    return ", ".join(name if value is True else f"{name} {value}" for name, value in settings.items())
