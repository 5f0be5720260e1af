"""A map of the clips: those whose codes are alike are near each other."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from markupsafe import Markup

from ...files import write_json
from ...report.markup import element
from ...report.sections import where
from ...results import replace_results
from .encode import encoded
from .opened import Opened
from .task import Task, register

if TYPE_CHECKING:
    import torch

    from ...datasets.clips import Clips

_CLIPS = 240  # more are thumbnails too small to see anything
_SEQUENCES = 10  # more of them are not told apart by colours


@register
class Map(Task):
    name = "map"
    title = "Which clips are alike"
    alt: ClassVar = {"map": "Map of the test clips: those whose codes are alike are near each other"}

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `map.json` and `map.png`, the middle frames of test clips, or dots, with colours for classes."""
        import numpy as np

        from ...patches import unit_range
        from ...probes import plane
        from ...visualize import save_map

        data, config, folder = opened.data, opened.model.config, opened.folder
        length = data.longest(1) if data.whole else config.input_frames
        clips, count = opened.test_clips(arguments, length, shortest=1, default=_CLIPS)
        codes = encoded(opened, folder / "map.json", clips, count, arguments.batch_size)
        places, method = plane(np.concatenate([*codes]))
        classes, kind = _classes(clips, count)
        frames = [unit_range(frame).numpy() for frame in _frames(opened, clips, count, length // 2)]
        results = {"clips": count, "method": method, "colours": kind} | opened.facts(arguments)
        with replace_results(folder, self.name) as place:
            write_json(place / "map.json", results)
            save_map(place / "map.png", places, classes, frames)
        print(f"map      {folder / 'map.png'}: {count} clips by {method} of their codes")
        return results

    def show(self, folder: Path, results: Any) -> Markup:
        about = f"{results['clips']:,} clips of {where(results)}, laid out by {results['method']} of their codes."
        about += f" Colours are {results['colours']}." if results["colours"] else ""
        return element("p", about)


def _frames(opened: Opened, clips: Clips, count: int, number: int) -> Iterable[torch.Tensor]:
    """A frame (C, H, W) uint8 of each clip, the `number`-th; none of features that are not of videos at hand."""
    import torch

    if opened.model.config.features:
        places = [clips.place(index) for index in range(count)]
        filmed = opened.data.filmed([(name, start + number) for name, start in places])
        return (torch.from_numpy(frame).movedim(-1, 0) for frame in filmed)
    return (clips.__getitems__([index])[0, number] for index in range(count))


def _classes(clips: Clips, count: int) -> tuple[list[str], str]:
    """What each clip is coloured by, and what that is: its class, or the sequence that it is of where these are few."""
    labels = [clips.label(index) for index in range(count)]
    if any(labels):
        return labels, "classes"
    ids = [clips.place(index)[0] for index in range(count)]
    return (ids, "sequences") if 1 < len(set(ids)) <= min(_SEQUENCES, count - 1) else ([""] * count, "")
