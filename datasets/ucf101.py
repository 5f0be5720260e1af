"""UCF-101 (Soomro et al. 2012): 101 actions, 25 groups of clips each, three official splits by group."""

from pathlib import Path, PurePosixPath

from .groups import split_development
from .source import register
from .video_folder import ListedVideos, OfficialFold, OfficialLists, check_official, find_videos, read_list


def ucf101_videos(
    root: Path | str,
    annotation_path: Path | str,
    fold: int = 1,
    split: str = "development",
    *,
    follow_links: bool = False,
) -> ListedVideos:
    """The videos of an official list that are in `root`/CLASS, also as folders of images, and the names of the others.

    `annotation_path` is the folder of trainlist01.txt and so on, `fold` 1, 2 or 3. `test` is the official test list,
    `development` the train list: the last fifth of its groups that are there for `validation`, the others for `train`.
    `official` says which list it is. `missing` is about the whole list.

    Raises ValueError for an unknown fold or split, a list that names files outside of `root`, and where nothing of the
    list is there; FileNotFoundError for a missing list or folder.
    """
    check_official(fold, split)
    official = "test" if split == "test" else "train"
    path = Path(annotation_path) / f"{official}list{fold:02d}.txt"
    listed = {str(PurePosixPath(words[0]).with_suffix("")): words[0] for words in read_list(path, folders=True)}
    there = {f"{video.label}/{video.path.stem}": video for video in find_videos(root, follow_links=follow_links)}
    videos = [video._replace(official=official) for name, video in there.items() if name in listed]
    if not videos:
        raise ValueError(f"{root}: none of the {len(listed)} videos of {path} is there; expected CLASS/NAME.avi")
    part = videos if split == "test" else split_development(videos, split)
    return ListedVideos(part, sorted(listed[name] for name in listed.keys() - there.keys()))


class UCF101(OfficialFold):
    """Clips of an official fold, `train` or test: see `ucf101_videos` and `OfficialFold`."""

    find = staticmethod(ucf101_videos)


@register
class UCF101Lists(OfficialLists):
    name = "ucf101"
    find = staticmethod(ucf101_videos)
