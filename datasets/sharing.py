"""Work that several processes share by way of one folder: each piece is done by one of them, or, if that one dies, by
another.

A process claims a piece by a lock on one byte of a file. The system takes the locks of a process back when it ends,
however it ends, so that nobody has to watch who is alive; processes need not have been started together, nor know of
each other.
"""

from __future__ import annotations

import errno
import hashlib
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
        mine = self._lock(byte)
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

    def _lock(self, byte: int) -> bool:
        if sys.platform == "win32":
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            note(f"{self._path}: cannot be locked ({error.strerror}); several processes would repeat each other's work")
        return True

    def _unlock(self, byte: int) -> None:
        if sys.platform != "win32":
            with suppress(OSError):  # where there are no locks
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)
