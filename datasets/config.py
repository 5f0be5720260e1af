"""What to read, as plain values that a run can store, and the one place that turns them into a data set.

Imports nothing heavy at the top, so that `--help` stays instant.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .notes import note, some

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from .arrays import FrameArray
    from .labelled import LabelledVideos
    from .moving_mnist import MovingMNIST
    from .video_arrays import VideoArrays, VideoClips
    from .videos import Video

DIGITS = ("optical", "mnist", "fashion-mnist", "kmnist")
DIGIT_LABELS = ("identity", "direction")
_FILMS = ("image_size", "grey", "frame_stride", "fps", "max_lost_frames", "skip_unreadable", "follow_links")
# The data sets and the fields that each reads, beside `data_dir`.
_FIELDS = {
    "moving-mnist": ("digits", "num_digits", "image_size", "speed", "download"),
    "moving-mnist-file": ("download",),
    "array": (),
    "video-folder": (*_FILMS, "random_crop", "group", "split_file"),
    "ucf101": (*_FILMS, "random_crop", "annotation_path", "fold"),
    "hmdb51": (*_FILMS, "random_crop", "annotation_path", "fold"),
    "video-patches": (*_FILMS, "group", "split_file"),
    "percepts": ("annotation_path", "fold", "group", "split_file", "follow_links"),
    "sequences": ("id_column", "time_column", "columns", "whole"),
}
DATASETS = tuple(_FIELDS)
_PATHS = ("data_dir", "annotation_path", "split_file")
_ROOM = 8 / 7  # of a frame to crop from, in units of the crop, as in networks of 224 pixels that see frames of 256
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
    time_column: str | None = None  # None: the first of `time`, `timestamp` and `date`
    columns: tuple[str, ...] = ()  # the features and their order; see `settled`
    whole: bool = False  # whether clips are whole sequences, not windows; see `settled`

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"unknown data set {self.dataset!r}: expected one of {', '.join(DATASETS)}")
        for name in ("speed", "columns", "image_size"):  # JSON gives lists
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
            fields -= {"id_column", "time_column", "columns"}
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
        chosen |= {name: str(Path(chosen[name]).resolve()) for name in _PATHS if name in chosen}
        if chosen.get("dataset", self.dataset) != self.dataset:
            chosen = dict.fromkeys(_PATHS) | chosen  # places of another data set
            if chosen["dataset"] == "video-patches":
                chosen = {"image_size": 32} | chosen  # as in the paper
        config = dataclasses.replace(self, **chosen)
        if config.data_dir is None and "data_dir" in config.fields and "download" in config.fields:
            config = dataclasses.replace(config, data_dir=str(Path("data").resolve()))
        idle = [name for name in chosen if name not in ("dataset", *config.fields) and name in given]
        if idle:
            case = " with the bundled digits" if idle == ["data_dir"] else ""
            case = " but for .csv files" if config.dataset == "sequences" and idle[0].endswith("column") else case
            flag = "--" + idle[0].replace("_", "-")
            raise ValueError(f"{flag} changes nothing for --dataset {config.dataset}{case}; leave it out")
        return config

    def facts(self) -> dict[str, Any]:
        """This config for a report: None for what its data set does not read."""
        return {name: value if name in ("dataset", *self.fields) else None for name, value in vars(self).items()}

    def settled(self, *, windows: bool) -> DataConfig:
        """This config with what a file of sequences decides, so that other files are read as this one was.

        That is the order of the columns and, unless `windows` are asked for, whether clips are whole sequences: where
        there are enough of them to set whole ones aside. Other data sets decide nothing.
        """
        if self.dataset != "sequences":
            return self
        from .sequences import split_by_time

        sequences = self._sequences()
        whole = not windows and not split_by_time(sequences)
        steps = sorted(record.frames for record in sequences.videos)
        cut = "each is a clip; --input-frames N cuts windows" if whole else "clips are windows"
        note(f"{self.data_dir}: {len(steps)} sequences of {steps[0]} to {steps[-1]} steps; {cut}")
        return dataclasses.replace(self, columns=tuple(sequences.facts["columns"]), whole=whole)

    def longest(self, shortest: int) -> int:
        """Steps of the longest sequence. Raises ValueError, naming it, where one has fewer than `shortest`."""
        from .sequences import longest

        return longest(self._sequences(), shortest)

    def open(
        self,
        split: str,
        frames: int,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        shortest: int | None = None,
    ) -> MovingMNIST | FrameArray | VideoClips:
        """The clips of `split`, `frames` frames each. `seed` and `device` matter to generated clips, which are endless.

        Sequences of fewer frames, but at least `shortest`, end in NaN; None is for those that have all. Other data are
        never padded. Real videos are decoded into the user's cache the first time.

        Raises FileNotFoundError or ValueError with the way out where the data cannot be used.
        """
        if self.generated:
            return self._digits(split, frames, self.num_digits, seed, device)
        if self.dataset in ("array", "moving-mnist-file"):
            return self._frame_array(split, frames)
        if self.dataset == "sequences":
            from .sequences import sequence_clips

            return sequence_clips(self._sequences(), split, frames, shortest=shortest or frames, whole=self.whole)
        from .video_arrays import VideoClips

        arrays, chosen = self._videos(split, frames)
        step = max(1, frames // 4) if split == "train" else frames  # training clips overlap, others do not
        return VideoClips(
            arrays,
            chosen,
            frames,
            step=step,
            crop=self._crop,
            random_crop=split == "train" and self.random_crop,
            seed=seed,
        )

    def open_labelled(self, split: str, frames: int, *, task: str, clips: int, seed: int = 0) -> LabelledVideos:
        """Videos with classes. `split` may be `development`, everything that is not for testing.

        Of generated clips the first `clips`, of one digit each, labelled by `task`: `identity` or `direction`. Of real
        videos all, with their own classes. Raises ValueError for a data set without classes.
        """
        from .labelled import label_digits, label_videos

        if self.generated:
            digits = "train" if split == "development" else split
            return label_digits(self._digits(digits, frames, 1, seed, "cpu"), task, clips)
        if self.dataset in ("array", "moving-mnist-file", "video-patches", "sequences"):
            raise ValueError(
                f"--dataset {self.dataset} has no classes; evaluate on another data set of the same frames"
            )
        arrays, chosen = self._videos(split, frames)
        if arrays.class_names == [""]:
            raise ValueError(f"{self.data_dir}: videos without classes, expected a folder of them for each: CLASS/NAME")
        return label_videos(arrays, chosen, frames, crop=self._crop)

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

    def _frame_array(self, split: str, frames: int) -> FrameArray:
        from .arrays import FrameArray, open_moving_mnist_file, open_npy

        if self.dataset == "moving-mnist-file":
            if split in ("train", "validation"):
                raise ValueError(
                    "the public Moving MNIST file is test data: train on moving-mnist, evaluate on this file"
                )
            videos = open_moving_mnist_file(self._place(), download=self.download)
            return FrameArray(videos, "all", frames=frames, name="mnist_test_seq.npy")
        path = self._place()
        return FrameArray(open_npy(path), split, frames=frames, name=path.name)

    def _sequences(self) -> VideoArrays:
        from .sequences import open_sequences

        return open_sequences(
            self._place(), id_column=self.id_column, time_column=self.time_column, columns=self.columns
        )

    def _videos(self, split: str, frames: int) -> tuple[VideoArrays, list[int]]:
        """The arrays of all videos of this data set, or parts in time of them, and which of them are in `split`."""
        from .groups import divide, division_notes, pieces_of
        from .video_arrays import cut_arrays

        arrays = self._arrays(frames)
        if split == "all":
            return arrays, list(range(len(arrays.videos)))
        division = divide(arrays.videos)
        for line in division_notes(arrays.videos, division):
            note(f"{self.data_dir}: {line}")
        pieces = pieces_of(division, split)
        if all(piece[1:] == (0, None) for piece in pieces):
            return arrays, [index for index, _, _ in pieces]
        return cut_arrays(arrays, pieces), list(range(len(pieces)))

    def _arrays(self, frames: int) -> VideoArrays:
        """The arrays of all videos that are there, with their classes, groups and official parts.

        Without videos of fewer frames, if those that cannot be used are to be skipped.
        """
        from .hmdb51 import official_parts
        from .percept_files import open_percepts, with_official
        from .split_file import parts_by_file
        from .video_arrays import cut_arrays

        if self.dataset != "percepts":
            arrays = self._decoded(self._found(), frames)
        else:
            if self.annotation_path is not None and self.split_file is not None:
                raise ValueError("--annotation-path and --split-file: expected one of them, as each divides the videos")
            arrays = open_percepts(self._place(), group=self.group, follow_links=self.follow_links)
            if self.annotation_path is not None:
                arrays = with_official(arrays, official_parts(self.annotation_path, self.fold))
            elif self.split_file is not None:
                parts = parts_by_file(self.split_file, [record.name for record in arrays.videos])
                records = [record._replace(official=part) for record, part in zip(arrays.videos, parts, strict=True)]
                arrays = dataclasses.replace(arrays, videos=records)
        short = {record.name: record.frames for record in arrays.videos if record.frames < frames}
        if short and self.skip_unreadable:
            note(f"left out {len(short)} videos of fewer than {frames} frames: {', '.join(short)}")
            long = [index for index, record in enumerate(arrays.videos) if record.name not in short]
            arrays = cut_arrays(arrays, [(index, 0, None) for index in long])
        return arrays

    def _found(self) -> list[Video]:
        """The videos to decode, marked as lists say; those that a list passes over are left out."""
        from .hmdb51 import hmdb51_videos
        from .split_file import parts_by_file
        from .ucf101 import ucf101_videos
        from .video_folder import find_videos

        place = self._place()
        if self.dataset in ("ucf101", "hmdb51"):
            if self.annotation_path is None:
                raise ValueError(f"--dataset {self.dataset} needs the folder of its official lists: --annotation-path")
            read_lists = ucf101_videos if self.dataset == "ucf101" else hmdb51_videos
            lists = [
                read_lists(place, self.annotation_path, self.fold, part, follow_links=self.follow_links)
                for part in ("development", "test")
            ]
            videos = sorted((video for part in lists for video in part.videos), key=lambda video: video.name)
            if missing := sum(len(part.missing) for part in lists):
                note(f"{place}: {len(videos)} of the {len(videos) + missing} listed videos are there")
            return videos
        videos = find_videos(place, group=self.group, follow_links=self.follow_links)
        if self.split_file is None:
            return videos
        parts = parts_by_file(self.split_file, [video.name for video in videos])
        if rest := [video.name for video, part in zip(videos, parts, strict=True) if not part]:
            note(f"{self.split_file}: {len(rest):,} videos are there but not listed, and left out: {some(rest)}")
        return [video._replace(official=part) for video, part in zip(videos, parts, strict=True) if part]

    def _decoded(self, videos: list[Video], frames: int) -> VideoArrays:
        """The videos' frames, decoded into the cache if they are not there yet."""
        from .video_arrays import cut_arrays, cut_patches
        from .video_cache import VideoCache
        from .videos import read_video, video_frames

        size = round(_ROOM * self._side) if self.random_crop else self.image_size
        how: dict[str, Any] = {"stride": self.frame_stride, "fps": self.fps, "grey": self.grey}
        how["max_lost_frames"] = self.max_lost_frames
        settings = {**how, "image_size": size}
        patches = None
        if self.dataset == "video-patches":
            settings["patches_of_frames"] = frames
            patches = max(1, _PATCHES // len(videos))

        def rows(video: Video, content: str) -> Iterator[npt.NDArray[np.uint8]]:
            if patches is None:
                yield from video_frames(video.path, image_size=size, **how)
            else:
                filmed = read_video(video.path, **how)
                yield from cut_patches(filmed, content, frames=frames, size=self._side, count=patches)

        def expected_bytes(video: Video) -> int | None:
            height, width = (size, size) if isinstance(size, int) else size
            count = self._expected_frames(video) if patches is None else patches * frames
            return None if count is None else count * height * width * (1 if self.grey else 3)

        arrays = VideoCache(settings).decode(
            videos,
            rows,
            least_rows=patches or 1,
            expected_bytes=expected_bytes,
            skip_unreadable=self.skip_unreadable,
        )
        for name, error in arrays.unreadable:
            note(f"left out {name}: {error}")
        if patches is None:
            return arrays
        return cut_arrays(arrays, [(index, 0, patches) for index in range(len(arrays.videos))])

    def _expected_frames(self, video: Video) -> int | None:
        """How many frames are read of a video, by its headers; None where they do not say."""
        from .containers import frames_in_container
        from .frame_folders import image_files
        from .videos import frame_rate

        try:
            if video.path.is_dir():
                return len(image_files(video.path)) // self.frame_stride
            count = frames_in_container(video.path)
            if count is None or self.fps is None:
                return None if count is None else count // self.frame_stride
            return round(count / frame_rate(video.path) * self.fps)
        except (OSError, ValueError):  # will be said when it is decoded
            return None

    def _place(self) -> Path:
        if self.data_dir is None:
            files = {"array": "FILE.npy", "sequences": "FILE.npy, .npz or .csv"}
            kind = f"file: --data-dir {files[self.dataset]}" if self.dataset in files else "folder: --data-dir FOLDER"
            raise ValueError(f"the data set {self.dataset!r} needs its {kind}")
        return Path(self.data_dir)


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
        "--time-column", metavar="NAME", help="what orders its rows (default: time, timestamp or date, likewise)"
    )
