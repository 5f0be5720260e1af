"""HMDB-51 (Kuehne et al. 2011): 51 actions, clips cut from films and the web, three official splits."""

import re
from pathlib import Path, PurePosixPath

from .groups import split_development
from .source import register
from .video_folder import ListedVideos, OfficialFold, OfficialLists, check_official, find_videos, read_list
from .videos import Video

_TAGS = {"0": "unused", "1": "train", "2": "test"}


def hmdb51_videos(
    root: Path | str,
    annotation_path: Path | str,
    fold: int = 1,
    split: str = "development",
    *,
    follow_links: bool = False,
) -> ListedVideos:
    """The videos of an official split that are in `root`/CLASS, and the names of those that are not.

    `annotation_path` is the folder of the official CLASS_test_split1.txt and so on, or else of lists such as
    trainlist01.txt with a CLASS/NAME.avi per line. Files are known by their names alone, because such lists shorten
    the classes (`shake` for shake_hands). A video's group is its film. Splits and errors are those of `ucf101_videos`.
    """
    check_official(fold, split)
    official = "test" if split == "test" else "train"
    listed = {PurePosixPath(name).stem: name for name in _listed(Path(annotation_path), fold, official)}
    found = [video for video in find_videos(root, follow_links=follow_links) if video.path.stem in listed]
    if not found:
        raise ValueError(f"{root}: none of the {len(listed)} videos of the lists is there; expected CLASS/NAME.avi")
    videos = [video._replace(group=_film(video), official=official) for video in found]
    part = videos if split == "test" else split_development(videos, split)
    return ListedVideos(part, sorted(listed[name] for name in listed.keys() - {video.path.stem for video in videos}))


def official_parts(annotation_path: Path | str, fold: int) -> dict[str, set[str]]:
    """Names of the files of an official fold, by part, `train` and `test`; lists of UCF-101 serve as well."""
    check_official(fold, "test")
    folder = Path(annotation_path)
    return {part: _listed(folder, fold, part) for part in ("train", "test")}


def _listed(folder: Path, fold: int, part: str) -> set[str]:
    """Names of the files that belong to `part`, train or test."""
    per_class = sorted(folder.glob(f"*_test_split{fold}.txt"))
    if not per_class:
        lines = read_list(folder / f"{part}list{fold:02d}.txt", folders=True)
        return {words[0].split("/")[1] for words in lines}
    listed = set()
    for path in per_class:
        for words in read_list(path, folders=False):
            if len(words) != 2 or words[1] not in _TAGS:
                raise ValueError(f"{path}: found {' '.join(words)!r}, expected NAME.avi and 0, 1 (train) or 2 (test)")
            if _TAGS[words[1]] == part:
                listed.add(words[0])
    return listed


def _film(video: Video) -> str:
    """What FILM_1_ACTION_f_cm_np1_ba_med_3.avi was cut from; the parts 1, 2, ... of a film are one."""
    pattern = rf"(.+?)(?:_\d+)?_{re.escape(video.label)}(?:_[a-z]+)?_[a-z]_(?:cm|nm)_np\d+_[a-z]+_[a-z]+_\d+"
    if not (match := re.fullmatch(pattern, video.path.stem)):
        raise ValueError(f"{video.path}: not a name of HMDB-51, expected FILM_{video.label}_f_cm_np1_ba_med_0.avi")
    return match[1]


class HMDB51(OfficialFold):
    """Clips of an official fold, `train` or test: see `hmdb51_videos` and `OfficialFold`."""

    find = staticmethod(hmdb51_videos)


@register
class HMDB51Lists(OfficialLists):
    name = "hmdb51"
    find = staticmethod(hmdb51_videos)
