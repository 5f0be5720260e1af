"""What to read, as plain values that a run can store, and the one place that turns them into a data set.

Imports nothing heavy at the top, so that `--help` stays instant.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .notes import note

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from .division import Cuts, Division, Match, Piece
    from .labelled import LabelledVideos
    from .moving_mnist import MovingMNIST
    from .video_arrays import VideoArrays, VideoClips, VideoRecord
    from .videos import Video

DIGITS = ("optical", "mnist", "fashion-mnist", "kmnist")
DIGIT_LABELS = ("identity", "direction")
_FILMS = ("image_size", "grey", "frame_stride", "fps", "max_lost_frames", "skip_unreadable")
# The data sets and the fields that each reads, beside `data_dir`.
_FIELDS = {
    "moving-mnist": ("digits", "num_digits", "image_size", "speed", "download"),
    "moving-mnist-file": ("download",),
    "array": ("layout",),
    "video-folder": (*_FILMS, "random_crop", "group"),
    "ucf101": (*_FILMS, "random_crop", "annotation_path", "fold"),
    "hmdb51": (*_FILMS, "random_crop", "annotation_path", "fold"),
    "video-patches": (*_FILMS, "group"),
    "percepts": ("annotation_path", "fold"),
    "sequences": ("id_column", "time_column", "ignore_columns", "columns", "offsets", "whole"),
}
DATASETS = tuple(_FIELDS)
PATHS = ("data_dir", "annotation_path")
_ROOM = 8 / 7  # of a frame to crop from, in units of the crop, as in networks of 224 pixels that see frames of 256
_NAMED = 9  # features in a message
_PATCHES = 10_000  # of all videos together, at least one of each


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
    skip_unreadable: bool = False
    id_column: str | None = None  # of a .csv file of sequences, as the next two; None: `id`, if it is there
    time_column: str | None = None  # None: the first of `time`, `timestamp`, `date`, `datetime`; or `date` and `time`
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
            chosen = {"data_dir": None, "annotation_path": None} | chosen  # places of another data set
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
        from .division import take
        from .sequences import constant_features, divide, sequence_lengths, split_by_time

        sequences = self._sequences(settling=True)
        columns, offsets = tuple(sequences.facts["columns"]), sequences.facts["offsets"]
        whole = not windows and not split_by_time(sequences)
        steps = sorted(sequence_lengths(sequences.videos).values())
        cut = "each is a clip; --input-frames N cuts windows" if whole else "clips are windows"
        note(f"{self.data_dir}: {len(steps)} sequences of {steps[0]} to {steps[-1]} steps; {cut}")
        if constant := constant_features(take(sequences, divide(sequences.videos)["train"])):
            names = ", ".join(columns[feature] if columns else f"feature {feature}" for feature in constant[:_NAMED])
            more = f" and {len(constant) - _NAMED} more" if len(constant) > _NAMED else ""
            note(
                f"{self.data_dir}: constant in training: {names}{more}; what they do later cannot be judged by a model"
                " that never saw them move, --tasks anomaly names those that do"
            )
        return dataclasses.replace(self, columns=columns, offsets=offsets, whole=whole)

    def longest(self, shortest: int) -> int:
        """Steps of the longest sequence. Raises ValueError, naming it, where one has fewer than `shortest`."""
        from .sequences import longest

        return longest(self._sequences(), shortest)

    def times(self) -> Mapping[str, Sequence[bytes]]:
        """By the names of the sequences, what the file says of the time of every step, in UTF-8; empty without that."""
        if self.dataset != "sequences":
            return {}
        times: Mapping[str, Sequence[bytes]] = self._sequences().facts["times"]
        return times

    def divide(self, frames: int) -> Division | None:
        """Which videos or sequences train, validate and test, by this data set's rule; None of generated clips.

        `frames` is the length of clips. Real videos are decoded into the user's cache the first time. Raises as `open`.
        """
        if self.generated:
            return None
        from .division import Division

        arrays = self._arrays(frames)
        return Division.of(arrays, self._cuts(arrays))

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
                  data than those that were divided `test` is all that is not in the division, to the last frame.

        The clips' `split` says what they are, `all` in the last case. What is missing, or new, is said on stderr.
        Raises FileNotFoundError or ValueError with the way out where the data cannot be used.
        """
        if self.generated:
            return self._digits(split, frames, self.num_digits, seed, device)
        from .video_arrays import VideoClips

        arrays, split, in_time = self._part(split, frames, division)
        arrays = self._long_enough(arrays, frames)
        step = max(1, frames // 4) if split == "train" else frames  # training clips overlap, others do not
        if self.dataset == "sequences":
            from .sequences import sequence_clips

            return sequence_clips(arrays, split, frames, shortest=shortest or frames, whole=self.whole, in_time=in_time)
        return VideoClips(
            arrays,
            range(len(arrays.videos)),
            frames,
            step=step,
            cover=split == "all",
            crop=self._crop,
            random_crop=split == "train" and self.random_crop,
            seed=seed,
            split=split,
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
        Raises ValueError for a data set without classes, and where `division` trained on what would test.
        """
        from .labelled import label_digits, label_videos

        if self.generated:
            digits = "train" if split == "development" else split
            return label_digits(self._digits(digits, frames, 1, seed, "cpu"), task, clips)
        if self.dataset in ("array", "moving-mnist-file", "video-patches", "sequences"):
            raise ValueError(
                f"--dataset {self.dataset} has no classes; evaluate on another data set of the same frames"
            )
        arrays = self._long_enough(self._labelled_part(split, frames, division), frames)
        return label_videos(arrays, range(len(arrays.videos)), frames, crop=self._crop)

    def refuse_missing(self, frames: int, division: Division) -> None:
        """Raises ValueError where something that trains or validates is not there any more, or not what it was."""
        match = division.match(self._arrays(frames))
        missing = match.missing["train"] + match.missing["validation"]
        if missing:
            raise ValueError(
                f"{self.data_dir}: {_named(missing)} of this run's training and validation data {_are(missing)} missing"
                " or changed; put them back, name their new place with --data-dir, or begin a new run"
            )

    def _part(self, split: str, frames: int, division: Division | None) -> tuple[VideoArrays, str, bool]:
        """What `open` cuts clips from, which split that is, and whether its videos or sequences are split in time."""
        from .division import in_time, take

        if self.dataset == "moving-mnist-file" and split in ("train", "validation"):
            raise ValueError("the public Moving MNIST file is test data: train on moving-mnist, evaluate on this file")
        arrays = self._arrays(frames)
        if split == "all":
            return arrays, split, False
        if division is None:
            own = self._cuts(arrays)
            return take(arrays, own[split]), split, in_time(arrays, own)
        match = division.match(arrays)
        if match.same_data:
            self._say_what_changed(match, split)
            return take(arrays, match.found[split]), split, division.in_time
        if split != "test":
            raise ValueError(
                f"{self.data_dir}: not the data that the run was trained on; put these back, or name their new place"
                " with --data-dir"
            )
        trained_on = match.found["train"] + match.found["validation"]
        if trained_on:
            note(f"{self.data_dir}: left out {_named(take(arrays, trained_on).videos)}: the run was trained on them")
        untrained = sorted(match.new + match.found["test"])
        if not untrained:
            raise ValueError(f"{self.data_dir}: the run was trained on all of it; name other data to evaluate on")
        return take(arrays, untrained), "all", False

    def _labelled_part(self, split: str, frames: int, division: Division | None) -> VideoArrays:
        """What `open_labelled` labels."""
        from .division import take

        arrays = self._arrays(frames)
        match = None if division is None else division.match(arrays)
        if match is None or not match.same_data:
            cuts = self._cuts(arrays)
            known = [] if match is None else match.found["train"] + match.found["validation"]
            both = {index for index, _, _ in known} & {index for index, _, _ in cuts["test"]}
            if split == "test" and both:
                raise ValueError(
                    f"{self.data_dir}: {_named([arrays.videos[index] for index in sorted(both)])} would test, and the"
                    " run was trained on them; train a run that has them in its test part"
                )
        else:
            cuts = match.found
            self._say_what_changed(match, split)
        parts = ("train", "validation") if split == "development" else (split,)
        return take(arrays, sorted(cut for part in parts for cut in cuts[part]))

    def _long_enough(self, arrays: VideoArrays, frames: int) -> VideoArrays:
        """With `skip_unreadable`, without the videos of fewer than `frames` frames."""
        from .division import take

        if not self.skip_unreadable:
            return arrays
        short = [video.name for video in arrays.videos if video.frames < frames]
        if short:
            note(f"left out {len(short)} videos of fewer than {frames} frames: {', '.join(short)}")
        return take(arrays, [(i, 0, None) for i, video in enumerate(arrays.videos) if video.frames >= frames])

    def _say_what_changed(self, match: Match, split: str) -> None:
        """Raises ValueError where nothing is left of the part."""
        parts = ("train", "validation") if split == "development" else (split,)
        missing = [piece for part in parts for piece in match.missing[part]]
        if not any(match.found[part] for part in parts):
            raise ValueError(
                f"{self.data_dir}: nothing is left of this run's {split} data ({_named(missing)}); put them back"
            )
        if missing:
            note(f"{self.data_dir}: {_named(missing)} of this run's {split} data {_are(missing)} missing or changed")
        if match.new:
            count = len({index for index, _, _ in match.new})
            note(
                f"{self.data_dir}: {count} {'is' if count == 1 else 'are'} new, or longer than in training; what is new"
                " is in no part of this run: a folder or file of it alone is evaluated whole (--data-dir)"
            )

    @property
    def _crop(self) -> int | None:
        """Height and width that clips of videos are cropped to, None for no cropping."""
        return self._side if self.random_crop else None

    @property
    def _side(self) -> int:
        """Height and width of square frames."""
        assert isinstance(self.image_size, int)  # see __post_init__
        return self.image_size

    def _digits(self, split: str, frames: int, num_digits: int, seed: int, device: torch.device | str) -> MovingMNIST:
        from .digits import load_digits
        from .moving_mnist import MovingMNIST

        return MovingMNIST(
            load_digits(self.digits, split, self.data_dir or "data", download=self.download),
            split,
            seed=seed,
            frames=frames,
            num_digits=num_digits,
            image_size=self._side,
            speed=self.speed,
            device=device,
        )

    def _arrays(self, frames: int) -> VideoArrays:
        """Everything that is there, of all parts."""
        if self.dataset == "sequences":
            return self._sequences()
        if self.dataset == "array":
            from .frame_arrays import open_frames

            return open_frames(self._place(), layout=self.layout)
        if self.dataset == "moving-mnist-file":
            from .frame_arrays import open_moving_mnist_file

            return open_moving_mnist_file(self._place(), download=self.download)
        return self._videos(frames)

    def _cuts(self, arrays: VideoArrays) -> Cuts:
        """This data set's rule for which of `arrays` are in which part."""
        from .division import cut_in_blocks

        if self.dataset == "sequences":
            from .sequences import divide

            return divide(arrays.videos)
        if self.dataset == "array":
            return cut_in_blocks(arrays.videos)
        if self.dataset == "moving-mnist-file":
            return {"train": [], "validation": [], "test": [(index, 0, None) for index in range(len(arrays.videos))]}
        from .video_folder import divide as divide_videos

        return divide_videos(arrays.videos)

    def _sequences(self, *, settling: bool = False) -> VideoArrays:
        from .sequences import open_sequences

        return open_sequences(
            self._place(),
            id_column=self.id_column,
            time_column=self.time_column,
            ignore_columns=self.ignore_columns,
            columns=self.columns,
            offsets=None if settling else self.offsets,
        )

    def _videos(self, frames: int) -> VideoArrays:
        """The arrays of all videos of this data set."""
        from .hmdb51 import hmdb51_videos, official_parts
        from .percept_files import open_percepts
        from .ucf101 import ucf101_videos
        from .video_folder import find_videos

        place = self._place()
        if self.dataset == "percepts":
            percepts = open_percepts(place)
            listed = None if self.annotation_path is None else official_parts(self.annotation_path, self.fold)
            official = {} if listed is None else {name: part for part, names in listed.items() for name in names}
            return percepts
        if self.dataset in ("ucf101", "hmdb51"):
            if self.annotation_path is None:
                raise ValueError(f"--dataset {self.dataset} needs the folder of its official lists: --annotation-path")
            read_lists = ucf101_videos if self.dataset == "ucf101" else hmdb51_videos
            parts = [read_lists(place, self.annotation_path, self.fold, part) for part in ("development", "test")]
            everything = [video for part in parts for video in part.videos]
            if missing := sum(len(part.missing) for part in parts):
                note(f"{place}: {len(everything)} of the {len(everything) + missing} listed videos are there")
        else:
            everything = find_videos(place, group=self.group)
        return self._decoded(everything, frames)

    def _decoded(self, videos: list[Video], frames: int) -> VideoArrays:
        """The videos' frames, decoded into the cache if they are not there yet."""
        from .video_arrays import cache_folder, cut_patches, open_arrays, write_arrays
        from .videos import read_video

        size = round(_ROOM * self._side) if self.random_crop else self.image_size
        how: dict[str, Any] = {"stride": self.frame_stride, "fps": self.fps, "grey": self.grey}
        how["max_lost_frames"] = self.max_lost_frames
        facts = {**how, "image_size": size}
        if self.dataset == "video-patches":
            patches = max(1, _PATCHES // len(videos))
            facts |= {"patches": patches, "frames": frames}

        def read(video: Video) -> npt.NDArray[np.uint8]:
            if self.dataset != "video-patches":
                return read_video(video.path, image_size=size, **how)
            filmed = read_video(video.path, **how)
            return cut_patches(filmed, video.name, frames=frames, size=self._side, count=patches)

        folder = cache_folder(facts, videos)
        if not any(folder.glob("index-*.json")):
            write_arrays(folder, videos, read, facts, skip_unreadable=self.skip_unreadable)
        arrays = open_arrays(folder)
        for name, error in arrays.unreadable:
            if not self.skip_unreadable:
                raise ValueError(f"{name}: {error}; --skip-unreadable leaves such videos out")
            note(f"left out {name}: {error}")
        return arrays

    def _place(self) -> Path:
        if self.data_dir is None:
            files = {"array": "FILE.npy", "sequences": "FILE.npy, .npz or .csv"}
            kind = f"file: --data-dir {files[self.dataset]}" if self.dataset in files else "folder: --data-dir FOLDER"
            raise ValueError(f"the data set {self.dataset!r} needs its {kind}")
        return Path(self.data_dir)


def _named(items: Sequence[Piece] | Sequence[VideoRecord]) -> str:
    """`3 videos or sequences (a, b, c)`"""
    names = list(dict.fromkeys(item.name for item in items))
    few = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} ({few})"


def _are(items: Sequence[Any]) -> str:
    return "is" if len(items) == 1 else "are"


class _OneOrTwo(argparse.Action):
    """One number as it is, two as a pair."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        setattr(namespace, self.dest, values[0] if len(values) == 1 else tuple(values))


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `DataConfig`. A flag that is not given is absent from the namespace, so that it can be inherited."""
    group = parser.add_argument_group("data", argument_default=argparse.SUPPRESS)
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
        "--skip-unreadable", action="store_true", help="list videos that cannot be read instead of stopping"
    )
    group.add_argument(
        "--id-column", metavar="NAME", help="which sequence of a .csv file a row is of (default: id, if it is there)"
    )
    group.add_argument(
        "--time-column",
        metavar="NAME",
        help="what orders its rows (default: time, timestamp, date or datetime, or date and time together, likewise)",
    )
    group.add_argument("--ignore-columns", metavar="NAME", nargs="+", help="what to leave out of it, such as labels")
