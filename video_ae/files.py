"""Files that are there whole or not at all, and their checksums."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    sync(partial)
    partial.replace(path)
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of a value as JSON."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """The JSON of a value as this package writes it into files."""
    return (json.dumps(value, indent=2) + "\n").encode()


def read_json(path: Path) -> Any:
    """Raises FileNotFoundError, or ValueError where the file is not JSON."""
    try:
        return json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error}); the file is damaged") from error


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def csv_writer(file: Any) -> Any:
    """`csv.writer` whose lines end in one character: to awk and cut a carriage return is part of the last cell."""
    return csv.writer(file, lineterminator="\n")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file to write into, of the same suffix, that becomes `path` when the block ends well, and else is removed."""
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with names_full_disk(path):
            yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # after an error or Ctrl-C; a whole file is not there any more


@contextmanager
def names_full_disk(path: Path) -> Iterator[None]:
    """Writing to a full disk, of which the system names no file, is an error of `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = str(path)
        raise


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk; Windows can be asked of files alone."""
    windows = os.name == "nt"
    if windows and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_place(out: Path, *suffixes: str) -> Path:
    """`out`, for a file that is not there yet, in a folder that is there afterwards.

    Raises ValueError for another suffix than one of `suffixes`, FileExistsError where something has that name.
    """
    if out.suffix not in suffixes:
        raise ValueError(f"--out {out}: expected a file with the suffix {' or '.join(suffixes)}")
    if out.exists():
        raise FileExistsError(f"{out}: exists already; choose another name for --out, or delete it")
    out.parent.mkdir(parents=True, exist_ok=True)
    return out
