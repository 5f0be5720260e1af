"""A folder of videos per class: which files there are, who was filmed, which part they belong to, clips of them."""

import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from .decoding import decoded, perceived
from .division import Division
from .fields import VIDEO_FIELDS, DataFields
from .groups import OFFICIAL_SPLITS, PART_NAMES, doubtful_people, groups_of, split_videos
from .names import DOWNLOADED, NO_PERCEPTS
from .notes import note, some
from .source import PAPER_CLIPS, PERCEPT_CLIPS, VIDEO_MODEL, VideoSource, register
from .split_file import parts_by_file
from .times import Clock
from .video_arrays import VideoArrays
from .video_files import VideoFile, video_files
from .video_times import VideoTimes
from .videos import SUFFIXES, Video, count_frames, read_video, video_frames

_KIND = re.compile(r"[\W_]*(set|split|data|videos?|clips|frames|images)$")  # behind the part in a folder's name
_OF_PIXELS = ("image_size", "grey", "random_crop", "stream")  # fields that percepts do not read

_SMALL = 64  # pixels of frames that are only looked at


class ListedVideos(NamedTuple):
    """The videos of an official list that are there, and what is not."""

    videos: list[Video]
    missing: list[str]  # names on the list without a file


def find_videos(root: Path | str, *, group: str = "", follow_links: bool = False) -> list[Video]:
    """The videos below `root`, files with a usual suffix or folders of numbered images, sorted by class and name.

    A video's name is its path below `root` without suffix, its class the first folder in that; where a video lies in
    `root` itself there are no classes, and all are "". Folders called `train`, `val` and `test`, or `training`,
    `validation`, `valid` and `testing`, also with a word behind them (`train_set`, `TestVideos`), are no classes but
    parts (`official`), at any depth: the class is the folder below, or else above them. A single one of them says
    nothing. See `groups_of` for the groups, `video_files` for links and for what is passed over, which is counted on
    stderr.

    Raises FileNotFoundError for a folder without videos; ValueError for links that lead out of `root`, two videos of
    one name, videos beside the parts, and where `group` is no expression or does not match.
    """
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise FileNotFoundError(f"{root}: {found}; expected a folder of videos, or with a folder of them per class")
    files, others = video_files(root, follow_links=follow_links)
    files.sort(key=lambda file: str(file.path))
    if others:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common())
        note(f"{root}: {others.total():,} file{'s' * (others.total() > 1)} passed over: {kinds}")
    if not files:
        raise FileNotFoundError(
            f"{root}: no videos; expected {', '.join(SUFFIXES[:4])}, ... files or folders of numbered images, all in"
            f" {root} or in a folder per class, {root}/CLASS/NAME.avi"
        )
    videos: dict[str, Video] = {}
    places = _places(root, files)
    names = [(place.label, place.name) for place in places]
    groups = groups_of(names, group)
    if not group and (people := doubtful_people(names)):
        note(
            f"{root}: every file is a group of its own; if {some(people)} are people, --group '^[^_]+' keeps each of"
            " them in one part"
        )
    for file, place, found in zip(files, places, groups, strict=True):
        name = "/".join((*file.folders, file.stem))
        if name in videos:
            raise ValueError(f"{file.path} and {videos[name].path.name} have one name; remove or rename one of them")
        videos[name] = Video(file.path, name, place.label, found, place.part)
    return sorted(videos.values(), key=lambda video: (video.label, video.name))


def find_classes(root: Path | str) -> list[str]:
    """The classes of the videos below `root`, sorted. Raises as `find_videos` does."""
    return sorted({video.label for video in find_videos(root)})


class _Place(NamedTuple):
    """What the folders that a video is in say: its class, its name below that, and its part."""

    label: str
    name: str
    part: str


def _places(root: Path, files: Sequence[VideoFile]) -> list[_Place]:
    depth, division = _depth_of_parts(root, files)
    below = [file.folders[depth + 1 :] for file in files]
    classes = all(below)
    places = []
    for file, folders in zip(files, below, strict=True):
        above = file.folders[depth - 1] if depth > 0 else ""
        part = _part_at(file, depth) if division else ""
        label = folders[0] if classes else above
        places.append(_Place(label, "/".join((*folders[classes:], file.stem)), part))
    return places


def _depth_of_parts(root: Path, files: Sequence[VideoFile]) -> tuple[int, bool]:
    """How deep the folders are that are called after parts, -1 where there are none, and whether they divide the files.

    Raises ValueError where they do, but not all of them.
    """
    for depth in range(max(len(file.folders) for file in files)):
        parts = {_part_at(file, depth) for file in files}
        if "train" in parts and len(parts - {""}) > 1:
            if "" in parts:
                beside = next(file for file in files if not _part_at(file, depth))
                raise ValueError(
                    f"{beside.path}: a video beside folders for {', '.join(sorted(parts - {''}))}, expected all videos"
                    f" of {root} in folders for a part; move it, or rename the folders if they are no parts"
                )
            return depth, True
        if depth == 0 and "" not in parts:
            return 0, False
    return -1, False


def _part_at(file: VideoFile, depth: int) -> str:
    """The part that a folder is called after, "" where it is called otherwise or not there."""
    name = file.folders[depth].lower() if depth < len(file.folders) else ""
    return PART_NAMES.get(_KIND.sub("", name), "")


def check_official(fold: int, split: str) -> None:
    """Raises ValueError where an official data set has no such fold or split."""
    if fold not in (1, 2, 3) or split not in OFFICIAL_SPLITS:
        raise ValueError(
            f"fold {fold}, split {split!r}: expected fold 1, 2 or 3 and one of {', '.join(OFFICIAL_SPLITS)}"
        )


def read_list(path: Path, *, folders: bool) -> list[list[str]]:
    """The lines of an official list as words, the first of them a file: CLASS/NAME, or NAME where not `folders`.

    Raises FileNotFoundError, and ValueError with list and line for a file that could be outside the data set's folder.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list; expected the folder of the official train and test lists")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file, expected an official list ({error})") from error
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not (words := line.split()):
            continue
        parts = words[0].split("/")
        if len(parts) != 1 + folders or not {"", ".", ".."}.isdisjoint(parts) or "\\" in words[0]:
            raise ValueError(f"{path}:{number}: found {words[0]!r}, expected {'CLASS/NAME' if folders else 'NAME'}.avi")
        lines.append(words)
    return lines


class LabelledClips(Dataset[tuple[Tensor, Tensor, int]]):
    """Clips of `frames_per_clip` consecutive frames with their classes; one begins every `step_between_clips` frames.

    Item `i` is torchvision's triple: the video (T, C, H, W) uint8 after `transform`; the audio, which is not read, an
    empty (1, 0) float tensor; the class as index into `classes`. `image_size` and `grey` are those of `read_video`.
    As in torchvision, videos of fewer frames have no clip. The frames of every video are counted once, at the start.

    Raises ValueError for impossible numbers, files that are no videos, and where no video is long enough.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        classes: Sequence[str],
        frames_per_clip: int,
        step_between_clips: int,
        *,
        transform: Callable[[Tensor], Any] | None,
        image_size: int | None,
        grey: bool,
    ) -> None:
        if frames_per_clip < 1 or step_between_clips < 1:
            raise ValueError(
                f"{frames_per_clip} frames per clip, {step_between_clips} between clips: expected 1 or more"
            )
        self.videos, self.classes = list(videos), list(classes)
        self.class_to_idx = {label: index for index, label in enumerate(classes)}
        self.frames_per_clip, self.step_between_clips = frames_per_clip, step_between_clips
        self.transform, self.image_size, self.grey = transform, image_size, grey
        progress = tqdm(self.videos, desc="counting frames", unit=" videos", leave=False, disable=None)
        frames = [count_frames(video.path) for video in progress]
        clips = [max(0, 1 + (count - frames_per_clip) // step_between_clips) for count in frames]
        self._clips_before = [0, *accumulate(clips)]  # of each video, and last of all together
        if len(self) == 0:
            raise ValueError(
                f"{len(frames)} videos of at most {max(frames, default=0)} frames, expected some of at least"
                f" {frames_per_clip}; ask for fewer frames per clip"
            )

    def __len__(self) -> int:
        return self._clips_before[-1]

    def __getitem__(self, index: int) -> tuple[Any, Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index}: expected 0 to {len(self) - 1}")
        which = bisect_right(self._clips_before, index) - 1
        video = self.videos[which]
        frames = read_video(
            video.path,
            image_size=self.image_size,
            grey=self.grey,
            first=(index - self._clips_before[which]) * self.step_between_clips,
            frames=self.frames_per_clip,
            least=self.frames_per_clip,
        )
        clip = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()
        return self.transform(clip) if self.transform else clip, torch.empty(1, 0), self.class_to_idx[video.label]


class VideoFolder(LabelledClips):
    """Clips of the videos in `root`, a folder per class: see `find_videos`, `split_videos` and `LabelledClips`."""

    def __init__(
        self,
        root: Path | str,
        frames_per_clip: int,
        step_between_clips: int = 1,
        *,
        transform: Callable[[Tensor], Any] | None = None,
        image_size: int | None = None,
        grey: bool = False,
        split: str = "all",
    ) -> None:
        super().__init__(
            split_videos(find_videos(root), split),
            find_classes(root),
            frames_per_clip,
            step_between_clips,
            transform=transform,
            image_size=image_size,
            grey=grey,
        )


class OfficialFold(LabelledClips):
    """Clips of a data set with official train and test lists, which `find` reads: see `LabelledClips`.

    The arguments are those of torchvision's class, without `frame_rate`. `missing` names the listed videos that are
    not in `root`.
    """

    find: "ClassVar[staticmethod[[Path | str, Path | str, int, str], ListedVideos]]"

    def __init__(
        self,
        root: Path | str,
        annotation_path: Path | str,
        frames_per_clip: int,
        step_between_clips: int = 1,
        fold: int = 1,
        train: bool = True,
        transform: Callable[[Tensor], Any] | None = None,
        *,
        image_size: int | None = None,
        grey: bool = False,
    ) -> None:
        videos, self.missing = self.find(root, annotation_path, fold, "development" if train else "test")
        super().__init__(
            videos,
            find_classes(root),
            frames_per_clip,
            step_between_clips,
            transform=transform,
            image_size=image_size,
            grey=grey,
        )


def _own_videos(config: DataFields, place: Path) -> list[Video]:
    """Anybody's own videos, marked as the list says if there is one; those that it passes over are left out."""
    if place.is_file():
        return [Video(place, place.stem, "", place.stem)]
    videos = find_videos(place, group=config.group, follow_links=config.follow_links)
    if config.split_file is None:
        return videos
    parts = parts_by_file(config.split_file, [video.name for video in videos])
    if rest := [video.name for video, part in zip(videos, parts, strict=True) if not part]:
        note(f"{config.split_file}: {len(rest):,} videos are there but not listed, and left out: {some(rest)}")
    return [video._replace(official=part) for video, part in zip(videos, parts, strict=True) if part]


class WholeVideos(VideoSource, ABC):
    """Videos, which `videos` lists, read as pixels or as percepts."""

    fields: ClassVar[Sequence[str]] = (*VIDEO_FIELDS, "random_crop", "percepts", "stream")
    model = VIDEO_MODEL

    def fields_read(self, config: DataFields) -> set[str]:
        if config.percepts == NO_PERCEPTS:
            return super().fields_read(config)
        fetched = {"download"} if config.percepts in DOWNLOADED else set()
        return super().fields_read(config) - {*_OF_PIXELS} | fetched

    def unless(self, config: DataFields, field: str) -> str:
        return f" with --percepts {config.percepts}" if field in (*_OF_PIXELS, "download") else ""

    def model_for(self, config: DataFields) -> Mapping[str, Any]:
        return self.model if config.percepts == NO_PERCEPTS else PERCEPT_CLIPS

    @abstractmethod
    def videos(self, config: DataFields) -> list[Video]:
        """The videos to read, with their classes, groups and official parts."""

    def times(self, config: DataFields) -> Mapping[str, Clock]:
        return VideoTimes(self.videos(config), config.frame_stride, config.fps)

    def filmed(self, config: DataFields, places: Sequence[tuple[str, int]]) -> list[npt.NDArray[np.uint8]]:
        if config.percepts == NO_PERCEPTS:
            return []
        paths = {video.name: video.path for video in self.videos(config)}

        def frame(name: str, number: int) -> npt.NDArray[np.uint8]:
            first = number * config.frame_stride
            (found,) = video_frames(paths[name], image_size=_SMALL, fps=config.fps, first=first, frames=1)
            return found

        return [frame(*place) for place in places]

    def arrays(self, config: DataFields, frames: int, division: Division | None = None) -> VideoArrays:
        read = decoded if config.percepts == NO_PERCEPTS else perceived
        return read(config, self.videos(config), frames)


@register
class Folder(WholeVideos):
    name = "video-folder"
    fields = (*WholeVideos.fields, "group", "split_file")

    def videos(self, config: DataFields) -> list[Video]:
        return _own_videos(config, self.place(config))


@register
class Patches(VideoSource):
    name = "video-patches"
    fields = (*VIDEO_FIELDS, "group", "split_file")
    defaults: ClassVar[Mapping[str, Any]] = {"image_size": 32}  # as in the paper, its section 4
    square = True
    labelled = False
    model = PAPER_CLIPS

    def arrays(self, config: DataFields, frames: int, division: Division | None = None) -> VideoArrays:
        return decoded(config, _own_videos(config, self.place(config)), frames, of_patches=True, division=division)


class OfficialLists(WholeVideos):
    """Videos with official train and test lists, which `find` reads."""

    find: "ClassVar[staticmethod[..., ListedVideos]]"
    fields = (*WholeVideos.fields, "annotation_path", "fold")

    def videos(self, config: DataFields) -> list[Video]:
        if config.annotation_path is None:
            raise ValueError(f"--dataset {self.name} needs the folder of its official lists: --annotation-path")
        place = self.place(config)
        lists = [
            self.find(place, config.annotation_path, config.fold, part, follow_links=config.follow_links)
            for part in ("development", "test")
        ]
        if missing := sum(len(part.missing) for part in lists):
            there = sum(len(part.videos) for part in lists)
            note(f"{place}: {there} of the {there + missing} listed videos are there")
        return sorted((video for part in lists for video in part.videos), key=lambda video: video.name)
