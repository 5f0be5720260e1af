"""The clips of a collection that are most like one video, by the distances of their codes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...datasets.config import DataConfig
from ...datasets.flags import flag
from ...files import csv_writer, free_place, new_file
from .encode import encoded
from .label import when
from .opened import Opened
from .task import Task, register

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ...datasets.clips import Clips
    from ...datasets.video_clips import VideoClips

    Codes = npt.NDArray[np.float32]

_FOUND = 20
_FRAMES = 3  # of each clip on the contact sheet


@dataclass(frozen=True)
class RetrieveFlags:
    query: Path | None = flag(None, "what to look for in the data", metavar="VIDEO")


@register
class Retrieve(Task):
    name = "retrieve"
    flags = (RetrieveFlags,)
    out = "found.csv"

    def run(self, opened: Opened, arguments: argparse.Namespace) -> None:
        """Write `--out FILE.csv`, the 20 clips of the data that are nearest to the video `--query`, and of pictures
        `FILE.png`, a contact sheet.

        Codes are compared by their cosine, after the mean of the collection is subtracted; that of the query is the
        mean over its clips. Clips of the query itself are left out.

        Raises ValueError for data that are no videos, FileNotFoundError where there is no query.
        """
        import numpy as np

        from ...probes import nearest
        from ...visualize import save_retrieval

        if arguments.query is None:
            raise ValueError("say which video to look for: --query FILE")
        out = free_place(arguments.out, ".csv")
        sheet = None if opened.model.config.features else free_place(out.with_suffix(".png"), ".png")
        frames = opened.model.config.input_frames
        query = _query(opened.data, arguments.query).open("all", frames)  # before a large collection is decoded
        if others := {query.place(index)[0] for index in range(1, len(query))} - {query.place(0)[0]}:
            raise ValueError(f"--query {arguments.query}: found {len(others) + 1} videos, expected one; name its file")
        clips, count = opened.clips("all", arguments, frames, shortest=None)
        codes = np.concatenate([*encoded(opened, out, clips, count, arguments.batch_size)])
        asked = np.concatenate([*encoded(opened, out, query, len(query), arguments.batch_size)])
        mean = codes.mean(axis=0)
        target = (asked - mean).mean(axis=0, keepdims=True)
        other = np.array([_content(clips, index) != _content(query, 0) for index in range(count)])
        places = np.flatnonzero(other)
        if not len(places):
            raise ValueError("found nothing in the data but the query itself; name a collection, --data-dir FOLDER")
        found = places[nearest(codes[places] - mean, target, min(_FOUND, len(places)))[0]]
        times = opened.data.times()
        with new_file(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv_writer(file)
            writer.writerow(
                ("rank", "id", "first_frame", "last_frame", *(("start", "end") if times else ()), "similarity")
            )
            for rank, index in enumerate(found.tolist(), 1):
                name, start = clips.place(index)
                last = start + frames - 1
                similarity = f"{_cosine(codes[index] - mean, target[0]):.4f}"
                writer.writerow((rank, name, start, last, *when(times, name, start, last), similarity))
                if rank <= 5:
                    print(f"{rank}  {similarity}  {name}, frames {start} to {last}")
        print(f"clips    {out}")
        if sheet is not None:
            rows = [
                _pictures(query, len(query) // 2, "query"),
                *(_pictures(clips, i, clips.name(i)) for i in found.tolist()),
            ]
            with new_file(sheet) as partial:
                save_retrieval(partial, rows)
            print(f"sheet    {sheet}")


def _query(data: DataConfig, path: Path) -> DataConfig:
    """One video, read as `data` are."""
    if "image_size" not in data.fields and "percepts" not in data.fields:
        raise ValueError(f"--query is for videos, not for --dataset {data.dataset}")
    if not path.exists():
        raise FileNotFoundError(f"--query {path}: no such file")
    return data.changed_by({"dataset": "video-folder", "data_dir": str(path)})


def _content(clips: Clips, index: int) -> str:
    """The checksum of the file that a clip is of."""
    videos = cast("VideoClips", clips)
    return videos.arrays.videos[videos.chosen[videos.videos[index]]].fingerprint


def _cosine(one: Codes, other: Codes) -> float:
    return float(one @ other / max(float((one @ one) * (other @ other)) ** 0.5, 1e-12))


def _pictures(clips: Clips, index: int, name: str) -> list[tuple[npt.NDArray[np.float32], str, bool]]:
    import numpy as np

    from ...patches import unit_range

    frames = unit_range(clips.__getitems__([index])[0])
    chosen = np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int).tolist()
    return [(frames[place].numpy(), name if number == 0 else "", True) for number, place in enumerate(chosen)]
