"""Which videos lie in a folder, however deep; what is passed over is counted, and links are followed with care."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .frame_folders import image_series
from .videos import SUFFIXES

_STORES = (".git/annex/objects", ".dvc/cache")  # of git-annex and DVC, in the folder of a repository
_HUGGING_FACE = ("datasets--", "models--", "spaces--")  # how the names of repositories in its cache begin


class VideoFile(NamedTuple):
    """A video file or a folder of numbered images, and the names of the folders between the root and it."""

    path: Path
    folders: tuple[str, ...]

    @property
    def stem(self) -> str:
        return self.path.stem if self.path.suffix.lower() in SUFFIXES else self.path.name


class _Folder(NamedTuple):
    path: Path
    real: Path  # without links
    names: tuple[str, ...]  # of it and the folders above, below the root


class _Content(NamedTuple):
    files: dict[str, bool]  # names, and whether they are links
    folders: dict[str, bool]


def video_files(root: Path | str, *, follow_links: bool = False) -> tuple[list[VideoFile], Counter[str]]:
    """The videos below `root`, and how many entries of which kind are none: `.txt`, `hidden`, `empty folder`, ...

    These are files with a suffix of `SUFFIXES`, or else, where there is none, folders of numbered images.
    Hidden folders are not entered, nor is a folder that a link leads to a second time. Links inside of `root` are
    followed, and those into the store of the repository that it is in: the blobs of Hugging Face's cache, git-annex's
    objects, DVC's cache. Raises ValueError for other links unless `follow_links`: nothing outside of a stranger's
    folder is opened.
    """
    root = Path(root)
    found: list[VideoFile] = []
    of_images: list[VideoFile] = []
    others: Counter[str] = Counter()
    visited: set[Path] = set()
    waiting, linked = [_Folder(root, root.resolve(), ())], list[_Folder]()
    inside = _inside(root, follow_links)
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop()  # links last, so that folders keep their own names
        if folder.real in visited:
            others["link to a folder that is read anyway"] += 1
            continue
        visited.add(folder.real)
        content = _content(folder.path, others)
        videos = [name for name in content.files if Path(name).suffix.lower() in SUFFIXES]
        images = [] if videos else image_series(content.files)
        used = {*videos, *images}
        others.update(Path(name).suffix.lower() or "without suffix" for name in content.files if name not in used)
        for name in used:
            if content.files[name]:
                _check_link(folder.path / name, root, inside)
        found += [VideoFile(folder.path / name, folder.names) for name in videos]
        if images:
            of_images.append(VideoFile(folder.path, folder.names[:-1]))
        for name, link in content.folders.items():
            path, names = folder.path / name, (*folder.names, name)
            if name.lower().endswith("_gt") and name[:-3] in content.folders:
                others["folder of ground truth (_gt)"] += 1
            elif link:
                linked.append(_Folder(path, _check_link(path, root, inside), names))
            else:
                waiting.append(_Folder(path, folder.real / name, names))
    if found and of_images:  # these are previews, or frames of the others
        others["folder of images"] += len(of_images)
    return found or of_images, others


def refuse_links_out(root: Path, paths: Iterable[Path], *, follow_links: bool = False) -> None:
    """Raises ValueError for a link among `paths` that `video_files` would not follow."""
    inside = _inside(root, follow_links)
    for path in paths:
        _check_link(path, root, inside)


def _content(folder: Path, others: Counter[str]) -> _Content:
    """The files and folders in `folder`, by name; what is neither, hidden or nothing is added to `others`."""
    content = _Content({}, {})
    with os.scandir(folder) as entries:
        there = sorted(entries, key=lambda entry: entry.name)
    for entry in there:
        link = entry.is_symlink()
        if entry.name.startswith("."):
            others["hidden"] += 1
        elif os.path.isdir(entry) if link else entry.is_dir():  # unlike the entry's own, without error for a loop
            content.folders[entry.name] = link
        elif os.path.isfile(entry) if link else entry.is_file():
            content.files[entry.name] = link
        else:
            others["broken link" if link else "neither file nor folder"] += 1
    if not there:
        others["empty folder"] += 1
    return content


def _inside(root: Path, follow_links: bool) -> tuple[Path, ...] | None:
    """The folders into which links may lead, None for any."""
    home = root.resolve()
    stores = [folder / store for folder in (home, *home.parents) for store in _STORES if (folder / store).is_dir()]
    blobs = [
        snapshots.parent / "blobs"
        for snapshots in (home, *home.parents)
        if snapshots.name == "snapshots" and snapshots.parent.name.startswith(_HUGGING_FACE)
    ]
    return None if follow_links else (home, *stores[:1], *blobs[:1])


def _check_link(path: Path, root: Path, inside: tuple[Path, ...] | None) -> Path:
    """Where a link leads in the end."""
    target = path.resolve()
    if inside is not None and not any(target.is_relative_to(folder) for folder in inside):
        raise ValueError(
            f"{path}: a link out of {root}, expected a file inside; --follow-links (follow_links=True) follows the"
            " links of a folder that you trust"
        )
    return target
