"""What to read, as plain values that a run can store, and their flags; `sources.py` opens it.

Imports nothing heavy at the top, so that `--help` stays instant.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .notes import note, some

if TYPE_CHECKING:
    import torch

    from .division import Division
    from .labelled import LabelledVideos
    from .moving_mnist import MovingMNIST
    from .video_clips import VideoClips

DIGITS = ("optical", "mnist", "fashion-mnist", "kmnist")
DIGIT_LABELS = ("identity", "direction")
_VIDEOS = ("image_size", "grey", "frame_stride", "fps", "max_lost_frames", "skip_unreadable", "follow_links")
# The data sets and the fields that each reads, beside `data_dir`.
_FIELDS = {
    "moving-mnist": ("digits", "num_digits", "image_size", "speed", "download"),
    "moving-mnist-file": ("download",),
    "array": ("layout",),
    "video-folder": (*_VIDEOS, "random_crop", "group", "split_file"),
    "ucf101": (*_VIDEOS, "random_crop", "annotation_path", "fold"),
    "hmdb51": (*_VIDEOS, "random_crop", "annotation_path", "fold"),
    "video-patches": (*_VIDEOS, "group", "split_file"),
    "percepts": ("annotation_path", "fold", "group", "split_file", "follow_links"),
    "sequences": ("id_column", "time_column", "ignore_columns", "columns", "offsets", "whole"),
}
DATASETS = tuple(_FIELDS)
PATHS = ("data_dir", "annotation_path", "split_file")


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from. A field that its data set does not read changes nothing, and its flag is refused."""

    dataset: str = "moving-mnist"
    data_dir: str | None = None
    digits: str = "optical"
    num_digits: int = 2
    image_size: int | tuple[int, int] = 64  # pixels; two numbers are height and width, of videos only
    speed: tuple[float, float] = (3.6, 3.6)  # pixels per frame, lowest and highest
    download: bool = False
    layout: str = ""  # the axes of an array, such as TNHW; "": as its shape says
    grey: bool = False
    frame_stride: int = 1
    fps: float | None = None  # frames per second that videos are read with; None: all frames
    max_lost_frames: int = 0  # of a video, before it is refused as damaged
    random_crop: bool = False  # of training clips; others are cropped in the centre
    group: str = ""  # regular expression for the part of a video's name that says who was filmed
    annotation_path: str | None = None  # folder of official train and test lists
    fold: int = 1
    split_file: str | None = None  # .csv file of the user's own division, see `parts_by_file`
    skip_unreadable: bool = False
    follow_links: bool = False  # also out of the folder of the videos
    id_column: str | None = None  # of a .csv file of sequences, as the next two; None: `id`, if it is there
    time_column: str | None = None  # None: `time` or another usual name, see `tables.py`
    ignore_columns: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()  # the features and their order; see `settled`
    offsets: tuple[float, ...] = ()  # subtracted from the features before they become float32; see `settled`
    whole: bool = False  # whether clips are whole sequences, not windows; see `settled`

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"unknown data set {self.dataset!r}: expected one of {', '.join(DATASETS)}")
        for name in ("speed", "ignore_columns", "columns", "offsets", "image_size"):  # JSON gives lists
            if not isinstance(value := getattr(self, name), int):
                object.__setattr__(self, name, tuple(value))
        if not isinstance(self.image_size, int) and "image_size" in self.fields:
            square = self.dataset in ("moving-mnist", "video-patches") or self.random_crop
            if square or len(self.image_size) != 2:
                kind = "--random-crop" if self.random_crop else f"--dataset {self.dataset}"
                kind = f"{kind}, whose frames are square" if square else "height and width"
                raise ValueError(
                    f"--image-size {' '.join(map(str, self.image_size))}: expected one number{' or two' * (not square)}"
                    f" for {kind}"
                )
        if self.fps is not None and self.fps <= 0:
            raise ValueError(f"--fps {self.fps:g}: expected more than 0")
        if self.fps is not None and self.frame_stride != 1:
            raise ValueError(f"--fps {self.fps:g} and --frame-stride {self.frame_stride}: expected one of them")

    @property
    def fields(self) -> set[str]:
        """Names of the fields that this data set reads."""
        fields = set(_FIELDS[self.dataset])
        if self.dataset != "moving-mnist" or self.digits != "optical":
            fields.add("data_dir")
        if self.dataset == "percepts" and self.annotation_path is None:
            fields.discard("fold")  # of lists that are not there
        if self.dataset == "sequences" and not str(self.data_dir).endswith(".csv"):
            fields -= {"id_column", "time_column", "ignore_columns", "columns"}
        return fields

    @property
    def generated(self) -> bool:
        """Whether clips are made when they are asked for, any number of them."""
        return self.dataset == "moving-mnist"

    def changed_by(self, given: dict[str, Any]) -> DataConfig:
        """This config with the flags that were given; other keys of `given` are ignored.

        Raises ValueError for a flag that would change nothing, so that nobody believes it did.
        """
        chosen = {field.name: given[field.name] for field in dataclasses.fields(self) if field.name in given}
        chosen |= {name: str(Path(chosen[name]).resolve()) for name in PATHS if name in chosen}
        if chosen.get("dataset", self.dataset) != self.dataset:
            chosen = dict.fromkeys(PATHS) | chosen  # places of another data set
            if chosen["dataset"] == "video-patches":
                chosen = {"image_size": 32} | chosen  # as in the paper
        config = dataclasses.replace(self, **chosen)
        if config.data_dir is None and "data_dir" in config.fields and "download" in config.fields:
            config = dataclasses.replace(config, data_dir=str(Path("data").resolve()))
        idle = [name for name in chosen if name not in ("dataset", *config.fields) and name in given]
        if idle:
            case = " with the bundled digits" if idle == ["data_dir"] else ""
            case = " but for .csv files" if config.dataset == "sequences" and "column" in idle[0] else case
            flag = "--" + idle[0].replace("_", "-")
            raise ValueError(f"{flag} changes nothing for --dataset {config.dataset}{case}; leave it out")
        return config

    def facts(self) -> dict[str, Any]:
        """This config for a report: None for what its data set does not read."""
        return {name: value if name in ("dataset", *self.fields) else None for name, value in vars(self).items()}

    def settled(self, *, windows: bool) -> DataConfig:
        """This config with what a file of sequences decides, so that other files are read as this one was.

        That is the order of the columns, the offsets of features that float32 cannot hold as they are, and, unless
        `windows` are asked for, whether clips are whole sequences: where there are enough of them to set whole ones
        aside. Other data sets decide nothing.
        """
        if self.dataset != "sequences":
            return self
        from .sequences import constant_features, divide, sequence_lengths, split_by_time
        from .sources import open_sequences
        from .video_arrays import cut_arrays

        sequences = open_sequences(self, settling=True)
        columns, offsets = tuple(sequences.facts["columns"]), sequences.facts["offsets"]
        whole = not windows and not split_by_time(sequences)
        steps = sorted(sequence_lengths(sequences.videos).values())
        each = "each stretch without a hole" if sequences.facts["segmented"] else "each"
        cut = f"{each} is a clip; --input-frames N cuts windows" if whole else "clips are windows"
        length = " to ".join(f"{count:,}" for count in dict.fromkeys([steps[0], steps[-1]]))
        note(f"{self.data_dir}: {len(steps):,} sequence{'s' * (len(steps) > 1)} of {length} steps; {cut}")
        if constant := constant_features(cut_arrays(sequences, divide(sequences.videos)["train"])):
            names = [columns[feature] if columns else f"feature {feature}" for feature in constant]
            note(
                f"{self.data_dir}: constant in training: {some(names, 9)}; what they do later cannot be judged by a"
                " model that never saw them move, --tasks anomaly names those that do"
            )
        return dataclasses.replace(self, columns=columns, offsets=offsets, whole=whole)

    def longest(self, shortest: int) -> int:
        """Steps of the longest sequence. Raises ValueError, naming it, where one has fewer than `shortest`."""
        from .sequences import longest
        from .sources import open_sequences

        return longest(open_sequences(self), shortest)

    def times(self) -> Mapping[str, Sequence[bytes]]:
        """By the names of the sequences, what the file says of the time of every step, in UTF-8; empty without that."""
        if self.dataset != "sequences":
            return {}
        from .sources import open_sequences

        times: Mapping[str, Sequence[bytes]] = open_sequences(self).facts["times"]
        return times

    def divide(self, frames: int) -> Division | None:
        """Which videos or sequences train, validate and test, by this data set's rule; None of generated clips.

        `frames` is the length of clips. Real videos are decoded into the user's cache the first time. Raises as `open`.
        """
        if self.generated:
            return None
        from .division import Division
        from .sources import divide, open_arrays

        arrays = open_arrays(self, frames)
        return Division.of(arrays, divide(self, arrays))

    def refuse_missing(self, frames: int, division: Division) -> None:
        """Raises ValueError where something that trains or validates is not there any more, or not what it was."""
        from .parts import refuse_missing
        from .sources import open_arrays

        refuse_missing(open_arrays(self, frames, division), division, self.data_dir)

    def open(
        self,
        split: str,
        frames: int,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        shortest: int | None = None,
        division: Division | None = None,
    ) -> MovingMNIST | VideoClips:
        """The clips of `split`, `frames` frames each. `seed` and `device` matter to generated clips, which are endless.

        split:    `train`, `validation`, `test` or `all`.
        shortest: sequences of fewer frames, but at least so many, end in NaN; None is for those that have all. Other
                  data are never padded.
        division: which videos or sequences a run has in its parts; None divides them by this data set's rule. Of other
                  data than those that were divided `test` is all that the run was not trained on.

        The clips' `split` says what they are, `all` in the last case: then, as of `all`, they reach to the last frame.
        Raises FileNotFoundError or ValueError with the way out where the data cannot be used.
        """
        from . import sources
        from .parts import choose
        from .sequences import sequence_clips
        from .video_clips import VideoClips

        if self.generated:
            return sources.open_digits(self, split, frames, self.num_digits, seed, device)
        if self.dataset == "moving-mnist-file" and split in ("train", "validation"):
            raise ValueError("the public Moving MNIST file is test data: train on moving-mnist, evaluate on this file")
        everything = sources.open_arrays(self, frames, division)
        part = choose(everything, split, division, partial(sources.divide, self), self.data_dir)
        if self.dataset == "sequences":
            least = shortest or frames
            return sequence_clips(
                part.arrays, part.split, frames, shortest=least, whole=self.whole, in_time=part.in_time
            )
        return VideoClips(
            part.arrays,
            range(len(part.arrays.videos)),
            frames,
            step=max(1, frames // 4) if split == "train" else frames,  # training clips overlap, others do not
            cover=part.split == "all",
            crop=self.side if self.random_crop else None,
            random_crop=split == "train" and self.random_crop,
            seed=seed,
            split=part.split,
        )

    def open_labelled(
        self,
        split: str,
        frames: int,
        *,
        task: str,
        clips: int,
        seed: int = 0,
        division: Division | None = None,
    ) -> LabelledVideos:
        """Videos with classes: to learn from, `development`, train and validation together, or for `test`.

        Of generated clips the first `clips`, of one digit each, labelled by `task`: `identity` or `direction`. Of real
        videos all, with their own classes. The `division` of a run on other data than these does not divide them.
        Raises ValueError for a data set without classes, and where the run of `division` trained on what would test.
        """
        from . import sources
        from .labelled import label_digits, label_videos
        from .parts import choose_labelled

        if self.generated:
            digits = "train" if split == "development" else split
            return label_digits(sources.open_digits(self, digits, frames, 1, seed, "cpu"), task, clips)
        if self.dataset in ("array", "moving-mnist-file", "video-patches", "sequences"):
            raise ValueError(
                f"--dataset {self.dataset} has no classes; evaluate on another data set of the same frames"
            )
        everything = sources.open_arrays(self, frames, division)
        if everything.class_names == [""]:
            raise ValueError(f"{self.data_dir}: videos without classes, expected a folder of them for each: CLASS/NAME")
        arrays = choose_labelled(everything, split, division, partial(sources.divide, self), self.data_dir)
        crop = self.side if self.random_crop else None
        return label_videos(arrays, range(len(arrays.videos)), frames, crop=crop)

    @property
    def side(self) -> int:
        """Height and width of square frames."""
        assert isinstance(self.image_size, int)  # see __post_init__
        return self.image_size


class _OneOrTwo(argparse.Action):
    """One number as it is, two as a pair."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        setattr(namespace, self.dest, values[0] if len(values) == 1 else tuple(values))


def add_data_flags(parser: argparse.ArgumentParser, description: str | None = None) -> None:
    """The flags of `DataConfig`. A flag that is not given is absent from the namespace, so that it can be inherited."""
    group = parser.add_argument_group("data", description, argument_default=argparse.SUPPRESS)
    group.add_argument("--dataset", choices=DATASETS, help="where clips come from (default: moving-mnist, generated)")
    group.add_argument("--data-dir", metavar="PATH", help="folder of MNIST/raw (default: data), of videos, or a file")
    group.add_argument("--digits", choices=DIGITS, help="images that move (default: optical, bundled, not MNIST)")
    group.add_argument("--num-digits", type=int, metavar="N", help="digits per clip (default: 2)")
    group.add_argument(
        "--image-size",
        type=int,
        nargs="+",
        action=_OneOrTwo,
        metavar="PX",
        help="height and width of frames, of videos the centre square (default: 64; video-patches: 32), or both, of"
        " videos the whole frame: 36 64",
    )
    group.add_argument(
        "--speed", type=float, nargs=2, metavar=("LOW", "HIGH"), help="pixels per frame, a range (default: 3.6 3.6)"
    )
    group.add_argument(
        "--download", action="store_true", help="fetch missing files; nothing is downloaded without this"
    )
    group.add_argument(
        "--layout",
        metavar="AXES",
        help="of an array, such as TNHW: N videos, T frames, H, W, C (default: by its shape)",
    )
    group.add_argument("--grey", action="store_true", help="read videos without colour")
    group.add_argument("--frame-stride", type=int, metavar="N", help="read every Nth frame of a video (default: 1)")
    group.add_argument(
        "--fps", type=float, metavar="F", help="read F frames of each second of a video, whatever its rate is"
    )
    group.add_argument(
        "--max-lost-frames", type=int, metavar="N", help="of a damaged video that is read nevertheless (default: 0)"
    )
    group.add_argument(
        "--random-crop", action="store_true", help="train on crops at random places of frames that are 1/7 larger"
    )
    group.add_argument(
        "--group", metavar="REGEX", help="the part of a video's name that says who was filmed (default: see the README)"
    )
    group.add_argument(
        "--annotation-path", metavar="FOLDER", help="official lists of ucf101, hmdb51 or percepts of them"
    )
    group.add_argument("--fold", type=int, choices=(1, 2, 3), help="official split (default: 1)")
    group.add_argument(
        "--split-file", metavar="FILE", help=".csv file that says which part every video is in (columns name and part)"
    )
    group.add_argument("--follow-links", action="store_true", help="follow links out of the folder of the videos, too")
    group.add_argument(
        "--skip-unreadable", action="store_true", help="list videos that cannot be read instead of stopping"
    )
    group.add_argument(
        "--id-column", metavar="NAME", help="which sequence of a .csv file a row is of (default: id, if it is there)"
    )
    group.add_argument(
        "--time-column",
        metavar="NAME",
        help="what orders its rows (default: time, timestamp, ds or another usual name, or date and time together,"
        " likewise)",
    )
    group.add_argument(
        "--ignore-columns",
        metavar="NAME",
        nargs="+",
        action="extend",
        help="what to leave out of it, such as labels (=-x for a name that begins with -)",
    )
