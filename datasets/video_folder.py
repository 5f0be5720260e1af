"""A folder of videos per class: which files there are, who was filmed, which part they belong to, clips of them."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from .videos import Video, count_frames, read_video

OFFICIAL_SPLITS = ("train", "validation", "development", "test")
SPLITS = (*OFFICIAL_SPLITS, "all")
_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".mpg", ".gif")
_TEST_SHARE = 0.25  # of all groups
_VALIDATION_SHARE = 0.2  # of the groups that are not for testing
_UCF_NAME = re.compile(r"v_.+_(g\d+)_c\d+")


class ListedVideos(NamedTuple):
    """The videos of an official list that are there, and what is not."""

    videos: list[Video]
    missing: list[str]  # names on the list without a file


def find_classes(root: Path | str) -> list[str]:
    """Names of the folders in `root`, sorted. Raises FileNotFoundError where there are none."""
    root = Path(root)
    classes = sorted(entry.name for entry in _visible(root) if entry.is_dir()) if root.is_dir() else []
    if not classes:
        found = "holds no folders" if root.is_dir() else "no such folder"
        raise FileNotFoundError(f"{root}: {found}; expected a folder of videos per class, {root}/CLASS/NAME.avi")
    return classes


def find_videos(root: Path | str, *, group: str = "") -> list[Video]:
    """The videos `root`/CLASS/NAME with a usual suffix, sorted by class and name; hidden files are not seen.

    `group` is a regular expression that is searched in each name without suffix: its first group, or else the whole
    match, is the video's group. Where empty, the group is `g01` for names such as v_PushUps_g01_c01; else what comes
    before the first "_" if several classes have videos that begin so (daria_bend, daria_jump); else the name itself.

    Raises FileNotFoundError for a folder without classes or a class without videos; ValueError for links that lead out
    of `root`, two files of one name, and where `group` is no expression or does not match.
    """
    root = Path(root)
    files: dict[str, list[Path]] = {}
    for label in find_classes(root):
        files[label] = sorted(path for path in _visible(root / label) if path.suffix.lower() in _SUFFIXES)
        if not files[label]:
            raise FileNotFoundError(
                f"{root / label}: no videos, expected some of {', '.join(_SUFFIXES)}; fill the folder or remove it"
            )
    paths = [(label, path) for label, of_class in files.items() for path in of_class]
    groups = groups_of([(label, path.stem) for label, path in paths], group)
    videos: dict[str, Video] = {}
    for (label, path), found in zip(paths, groups, strict=True):
        if not path.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{path}: a link out of {root}, expected a file inside; copy or move it there")
        name = f"{label}/{path.stem}"
        if name in videos:
            raise ValueError(f"{path} and {videos[name].path.name} have one name; remove or rename one of them")
        videos[name] = Video(path, name, label, found)
    return list(videos.values())


def groups_of(names: Sequence[tuple[str, str]], group: str = "") -> list[str]:
    """The group of every video, given its class and its name without suffix: see `find_videos`."""
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise ValueError(f"group {group!r}: not a regular expression ({error})") from error
    classes_of_prefix = Counter(prefix for _, prefix in {(label, _prefix(name)) for label, name in names})

    def group_of(name: str) -> str:
        if group:
            match = pattern.search(name)
            if not (found := match and match[min(pattern.groups, 1)]):
                raise ValueError(f"{name}: no group {group!r} in the name, expected it in every name")
            return found
        if match := _UCF_NAME.fullmatch(name):
            return match[1]
        return _prefix(name) if classes_of_prefix[_prefix(name)] > 1 else name

    return [group_of(name) for _, name in names]


def split_videos(videos: Sequence[Video], split: str) -> list[Video]:
    """The videos of one of `SPLITS`, in the order given; `development` is train and validation, `all` everything.

    Whole groups are set aside: the last quarter for `test`, the last fifth of the others (15 % of all) for
    `validation`, at least one each. See `hold_out` for what comes last. Raises ValueError for an unknown split, fewer
    than three groups, and a class without videos to train on.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if split == "all":
        return list(videos)
    groups = sorted({video.group for video in videos})
    if len(groups) < 3:
        raise ValueError(
            f"videos of {len(groups)} groups ({', '.join(groups)}), expected at least 3 to train, validate and test;"
            " add videos, or say with a regular expression which part of their names is the group"
        )
    development, test = hold_out(videos, _TEST_SHARE)
    return test if split == "test" else split_development(development, split)


def split_development(videos: Sequence[Video], split: str) -> list[Video]:
    """The `train` or `validation` part of videos that are not for testing, or all of them, `development`.

    The last fifth of the groups validates. Raises ValueError where a class would have no videos to train on.
    """
    if split == "development":
        return list(videos)
    train, validation = hold_out(videos, _VALIDATION_SHARE)
    return train if split == "train" else validation


def hold_out(videos: Sequence[Video], share: float) -> tuple[list[Video], list[Video]]:
    """Set the last `share` of the groups aside, at least one: the videos of the others, and theirs.

    Groups are ordered by how far down the sorted groups of their first class they are, then by name. That is the order
    of their names where every class has all of them, and takes from every class where each has groups of its own.

    Raises ValueError where a class has no videos left.
    """
    places: dict[str, float] = {}
    for label in sorted({video.label for video in videos}):
        groups = sorted({video.group for video in videos if video.label == label})
        for index, group in enumerate(groups):
            places.setdefault(group, index / len(groups))
    last = sorted(places, key=lambda group: (places[group], group))[-max(1, round(share * len(places))) :]
    rest = [video for video in videos if video.group not in last]
    held = [video for video in videos if video.group in last]
    if lost := sorted({video.label for video in held} - {video.label for video in rest}):
        raise ValueError(
            f"class {lost[0]}: no videos left to train on when the last {len(last)} of {len(places)} groups"
            f" ({last[0]} to {last[-1]}) are set aside, expected some of other groups; add some or leave the class out"
        )
    return rest, held


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


def _prefix(name: str) -> str:
    return name.split("_")[0]


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def divide(records):
    if any(record.official for record in records):
        marked = [r for r in records if r.official == "train"]
        parts = {
            "train": split_development(marked, "train"),
            "validation": split_development(marked, "validation"),
            "test": [r for r in records if r.official == "test"],
        }
    else:
        parts = {part: split_videos(records, part) for part in ("train", "validation", "test")}
    place = {record.name: index for index, record in enumerate(records)}
    return {part: [(place[r.name], 0, None) for r in rs] for part, rs in parts.items()}
