"""The results of a task in a folder: new ones replace those that the last ones list as their own, and nothing else.

The list, `.TASK.sha256`, is what `sha256sum` writes and `sha256sum -c` reads. A file that it does not name, or that is
not what it was, belongs to somebody else.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .files import file_checksum, read_json, write_bytes

_PARTIAL = ".partial"
_REPORT_HEAD = (
    b'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy"'
)
_KEYS = {  # of the JSON of each task, by which results of versions that wrote no list are recognised
    "predict": "baselines",
    "rollout": "no_better_than_mean_frame_from",
    "ood": "settings",
    "features": "pictures",
    "classify": "curve",
    "probe": "retrieval",
    "anomaly": "thresholds",
    "architecture": "parameters",
    "export": "tolerance",
    "compare": "runs",
}
Listed = set[tuple[str, str]]  # names, relative to the folder, and SHA-256 checksums


def refuse_foreign(folder: Path) -> None:
    """Raises FileExistsError where `folder` holds anything, but no results of this package."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder}: not a folder; choose another --output-dir")
    found = sorted(path.name for path in folder.iterdir() if not path.name.endswith(_PARTIAL))
    ours = any(folder.glob(".*.sha256")) or any(_left_by_older_version(folder, task) for task in _KEYS)
    if found and not ours:
        raise FileExistsError(
            f"{folder}: holds {found[0]!r} and no results of evaluate.py; choose a new or an empty folder as"
            " --output-dir"
        )


@contextmanager
def replace_results(folder: Path, task: str) -> Iterator[Path]:
    """A new folder to write the results of `task` into, which become those in `folder` when the block ends well.

    Until then the last results stay as they are; after a kill at any moment the next call goes on from what is there.
    Results of a version that wrote no list are replaced where names are the same; what else is left of them is told.
    Raises FileExistsError, and replaces nothing, where a file that is not the last result's has the name of a new one.
    """
    partial = folder / f".{task}{_PARTIAL}"
    if partial.exists():  # left by a kill
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _publish(partial, folder, task)


def result_files(folder: Path, task: str) -> set[str] | None:
    """The names of the files of the last result; None where it was written by a version that wrote no list."""
    return {name for name, _ in _read_list(folder, task)} if _list_of(folder, task).is_file() else None


def _publish(partial: Path, folder: Path, task: str) -> None:
    new = {(path.relative_to(partial).as_posix(), file_checksum(path)) for path in partial.rglob("*") if path.is_file()}
    names = {name for name, _ in new}
    if not _list_of(folder, task).exists() and _left_by_older_version(folder, task):
        old = {
            (name, file_checksum(folder / name))
            for name in names
            if _is_inside(folder, name) and (folder / name).is_file()
        }
        _tell_of_leftovers(folder, task, names)
    else:
        old = _read_list(folder, task)
    own = {name for name, checksum in old if _is_inside(folder, name) and _has_checksum(folder / name, checksum)}
    for name in sorted(names - own):
        if not _is_free(folder, name):
            raise FileExistsError(
                f"{folder / name}: not a file that the last {task} wrote there; move it away and repeat, or choose"
                f" another --output-dir (the new results are in {partial})"
            )
    # From here on a kill leaves files that are old or new ones, and a list that has both.
    _write_list(folder, task, old | new)
    for name in own:
        (folder / name).unlink()
    for name, _ in sorted(new, key=lambda file: (file[0] == f"{task}.json", file)):  # by which a result is found: last
        (folder / name).parent.mkdir(exist_ok=True)
        (partial / name).replace(folder / name)
    _write_list(folder, task, new)
    shutil.rmtree(partial)


def _list_of(folder: Path, task: str) -> Path:
    return folder / f".{task}.sha256"


def _read_list(folder: Path, task: str) -> Listed:
    """What the list says, true or not; lines that are none of ours say nothing."""
    path = _list_of(folder, task)
    lines = os.fsdecode(path.read_bytes()).split("\n") if path.is_file() else []
    return {(name, checksum) for checksum, separator, name in (line.partition("  ") for line in lines) if separator}


def _write_list(folder: Path, task: str, files: Listed) -> None:
    write_bytes(
        _list_of(folder, task), os.fsencode("".join(f"{checksum}  {name}\n" for name, checksum in sorted(files)))
    )


def _is_inside(folder: Path, name: str) -> bool:
    """Whether a name leads to a place in the folder itself: not out of it, and through no link."""
    inside = folder.resolve()
    try:
        path = (folder / name).resolve()
    except (ValueError, OSError):  # what no file can be called
        return False
    return path == inside / name and path.is_relative_to(inside)


def _has_checksum(path: Path, checksum: str) -> bool:
    return path.is_file() and file_checksum(path) == checksum


def _is_free(folder: Path, name: str) -> bool:
    path = folder / name
    taken = os.path.lexists(path) or (path.parent.exists() and not path.parent.is_dir())
    return _is_inside(folder, name) and not taken


def _left_by_older_version(folder: Path, task: str) -> bool:
    """Whether a version that wrote no list left results of `task`, or a report, here."""
    if task == "report":
        page = folder / "report.html"
        return page.is_file() and page.read_bytes().startswith(_REPORT_HEAD)
    path = folder / f"{task}.json"
    try:
        results = read_json(path) if task in _KEYS and path.is_file() else None
    except (ValueError, RecursionError):
        return False
    return isinstance(results, dict) and _KEYS[task] in results


def _tell_of_leftovers(folder: Path, task: str, replaced: set[str]) -> None:
    found = {path.name for pattern in (f"{task}.*", f"{task}-*") for path in folder.glob(pattern)}
    left = sorted(found - replaced)
    if left:
        print(
            f"note: {folder}: results of an older version; left as they are, and not part of the new ones:"
            f" {', '.join(left)}",
            file=sys.stderr,
        )
