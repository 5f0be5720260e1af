"""Work that several processes share by way of one folder: each piece is done by one of them, or, if that one dies, by
another.

A process claims a piece by a lock on one byte of a file. The system takes the locks of a process back when it ends,
however it ends, so that nobody has to watch who is alive; processes need not have been started together, nor know of
each other.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from .notes import note

if sys.platform != "win32":
    import fcntl

PAUSE = 0.05  # seconds until a piece that another process has is asked for again
_TAKEN = (errno.EACCES, errno.EAGAIN)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is in such a block of `path`, a file that is there meanwhile, and keep them out.

    Raises OSError where the file cannot be written. Where there are no locks, nobody is kept out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        with path.open("ab") as file:
            # Whoever left may have removed the file between its being opened and locked here.
            if _lock(file, 0, path) and path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                try:
                    yield
                finally:
                    if sys.platform != "win32":  # where open files cannot be removed
                        path.unlink(missing_ok=True)
                return
        if not waited:
            note(f"{path.parent}: another process is writing the same there; this one waits for its end")
        waited = True
        time.sleep(PAUSE)


class Claims:
    """The pieces of work in `folder` that are this process's, until the end of a `with` block.

    Claims are between processes, not between the threads of one. Where a file system has no locks, and on Windows,
    every claim succeeds: the work is done more than once, which must do no harm.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "claims"
        self._file: IO[bytes] = self._path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    @contextmanager
    def claim(self, piece: str) -> Iterator[bool]:
        """Whether `piece` is this process's within the block: not while another process has it."""
        byte = int(hashlib.sha256(piece.encode()).hexdigest()[:15], 16)
        mine = _lock(self._file, byte, self._path)
        try:
            yield mine
        finally:
            if mine:
                self._unlock(byte)

    def each(self, pieces: Iterable[str]) -> Iterator[str]:
        """Every piece once, when it is this process's: those that others have last, when they are done or given up.

        Whoever gets one must look whether it is done already.
        """
        left = list(pieces)
        while left:
            others = []
            for piece in left:
                with self.claim(piece) as mine:
                    if mine:
                        yield piece
                    else:
                        others.append(piece)
            left = others
            time.sleep(PAUSE if left else 0)

    def _unlock(self, byte: int) -> None:
        if sys.platform != "win32":
            with suppress(OSError):  # where there are no locks
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)


def _lock(file: IO[bytes], byte: int, path: Path) -> bool:
    """Whether this process has the lock on one byte of a file now, or there are none."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        note(f"{path}: cannot be locked ({error.strerror}); several processes would repeat each other's work")
    return True
