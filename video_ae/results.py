"""The results of a task in a folder: new ones replace those that the last ones list as their own, and nothing else.

The list, `.TASK.sha256`, is what `sha256sum` writes and `sha256sum -c` reads. A file that it does not name, or that is
not what it was, belongs to somebody else.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .datasets.sharing import alone
from .files import file_checksum, names_full_disk, write_bytes

_PARTIAL = ".partial"
Listed = set[tuple[str, str]]  # names, relative to the folder, and SHA-256 checksums


def refuse_foreign(folder: Path) -> None:
    """Raises FileExistsError where `folder` holds anything, but no results of this package."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder}: not a folder; choose another --output-dir")
    found = sorted(path.name for path in folder.iterdir() if not path.name.endswith(_PARTIAL))
    if found and not any(folder.glob(".*.sha256")):
        raise FileExistsError(
            f"{folder}: holds {found[0]!r} and no results of evaluate.py; choose a new or an empty folder as"
            " --output-dir"
        )


@contextmanager
def replace_results(folder: Path, task: str) -> Iterator[Path]:
    """A new folder to write the results of `task` into, which become those in `folder` when the block ends well.

    Until then the last results stay as they are; after a kill at any moment the next call goes on from what is there.
    Another process that does the same is waited for. Raises FileExistsError, and replaces nothing, where a file that is
    not the last result's has the name of a new one.
    """
    partial = folder / f".{task}{_PARTIAL}"
    with alone(folder / f".{task}.lock{_PARTIAL}"):
        if partial.exists():  # left by a kill
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        try:
            with names_full_disk(folder):
                yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _publish(partial, folder, task)


def result_files(folder: Path, task: str) -> set[str]:
    """The names of the files of the last result."""
    return {name for name, _ in _read_list(folder, task)}


def _publish(partial: Path, folder: Path, task: str) -> None:
    new = {(path.relative_to(partial).as_posix(), file_checksum(path)) for path in partial.rglob("*") if path.is_file()}
    names = {name for name, _ in new}
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
