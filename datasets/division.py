"""The train/validation/test split of the videos or sequences of a run: decided once, stored, kept from then on.

What belongs to a part is recognised by name and content. So files may be added, moved to another folder or renamed,
and videos be read at another rate: what was trained on is never tested on, what is new is new, what is missing named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .video_arrays import Cut, VideoArrays, VideoRecord

PARTS = ("train", "validation", "test")
TO_CUT_BY_ITEM = 10  # minimum number of videos or sequences of which whole ones are held out
BOUNDS = {"train": (0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1)}
_SAMPLED = 64  # frames of a video that stand for all of them

Cuts = Mapping[str, Sequence[Cut]]  # by part


class Piece(NamedTuple):
    """A video or sequence, or a stretch of one. `first` counts its frames from the first of the whole."""

    name: str
    first: int
    frames: int
    fingerprint: str


class Match(NamedTuple):
    """What a data set has of a division.

    found:   the frames of each part.
    missing: the pieces of each part that are not there, or no longer what they were.
    new:     what is in no part.
    """

    found: dict[str, list[Cut]]
    missing: dict[str, list[Piece]]
    new: list[Cut]

    @property
    def same_data(self) -> bool:
        """Whether this is the data set that was divided, grown or shrunk perhaps, and not another one."""
        return sum(map(len, self.found.values())) >= max(1, sum(map(len, self.missing.values())))


@dataclass(frozen=True)
class Division:
    """The pieces of each of `PARTS`."""

    parts: dict[str, list[Piece]]

    @classmethod
    def of(cls, arrays: VideoArrays, cuts: Cuts) -> Division:
        """The division of `arrays` that `cuts` says."""
        pieces = {part: [_piece(arrays, cut) for cut in cuts[part]] for part in PARTS}
        return cls({part: [piece for piece in pieces[part] if piece.frames] for part in PARTS})

    @classmethod
    def from_json(cls, stored: Any, source: str) -> Division:
        """What `to_json` gave. Raises ValueError, naming `source`, for anything else."""
        try:
            parts = {part: [Piece(*piece) for piece in stored[part]] for part in PARTS}
            kinds = {tuple(map(type, piece)) for pieces in parts.values() for piece in pieces}
        except (TypeError, KeyError) as error:
            raise ValueError(f"{source}: not the parts of a data set ({error!r}); the file is damaged") from error
        if kinds - {(str, int, int, str)}:
            raise ValueError(f"{source}: not the parts of a data set; the file is damaged")
        return cls(parts)

    def to_json(self) -> dict[str, list[Piece]]:
        return self.parts

    @property
    def in_time(self) -> bool:
        """Whether videos or sequences are split in time, and not whole ones held out."""
        return _overlap({piece.name for piece in pieces} for pieces in self.parts.values())

    def wholes(self) -> dict[str, int]:
        """How many frames there were of what the pieces are of, by their fingerprints."""
        ends: dict[str, int] = {}
        for piece in (piece for pieces in self.parts.values() for piece in pieces):
            ends[piece.fingerprint] = max(ends.get(piece.fingerprint, 0), piece.first + piece.frames)
        return ends

    def match(self, arrays: VideoArrays) -> Match:
        """Finds every piece in `arrays` by name and content or, where the name is another one now, by content alone.

        A file of which more or fewer frames are read now has its pieces in proportion.
        """
        wholes = self.wholes()
        named: dict[str, list[int]] = {}
        for index, record in enumerate(arrays.videos):
            named.setdefault(record.name, []).append(index)
        found: dict[str, list[Cut]] = {part: [] for part in PARTS}
        missing = _sort(self.parts, found, lambda piece: _find(arrays, named.get(piece.name, ()), piece, wholes))
        known = {index for cuts in found.values() for index, _, _ in cuts}
        others = _ByContent(arrays, [index for index in range(len(arrays.videos)) if index not in known], wholes)
        missing = _sort(missing, found, others.find)
        return Match(found, missing, list(_uncovered(arrays.videos, found)))


def cut_in_blocks(records: Sequence[VideoRecord]) -> dict[str, list[Cut]]:
    """80/10/10 train/validation/test split by record, in their order; of fewer than ten records, in time."""
    count = len(records)
    if count < TO_CUT_BY_ITEM:
        return cut_in_time(records)
    return {
        part: [(index, 0, None) for index in range(round(count * first), round(count * stop))]
        for part, (first, stop) in BOUNDS.items()
    }


def cut_in_time(records: Sequence[VideoRecord]) -> dict[str, list[Cut]]:
    """Each record at 80 % and 90 % of its frames, so that no frame is in two parts whatever the length of the clips."""
    ends = [record.shape[0] for record in records]
    return {
        part: [(index, round(end * first), round(end * stop)) for index, end in enumerate(ends)]
        for part, (first, stop) in BOUNDS.items()
    }


def pieces_of(cuts: Cuts, split: str) -> list[Cut]:
    """Those of a part, in the order of the records; of both that are not for testing, for `development`."""
    return sorted(cut for part in parts_of(split) for cut in cuts[part])


def parts_of(split: str) -> tuple[str, ...]:
    """The parts that a split has: `development` has both that are not for testing."""
    return ("train", "validation") if split == "development" else (split,)


def in_time(arrays: VideoArrays, cuts: Cuts) -> bool:
    """Whether `cuts` have stretches of one video or sequence in several parts."""
    return _overlap({arrays.videos[index].name for index, _, _ in part} for part in cuts.values())


def _overlap(sets: Iterable[set[str]]) -> bool:
    every = [name for names in sets for name in names]
    return len(set(every)) < len(every)


def _sort(
    parts: dict[str, list[Piece]], found: dict[str, list[Cut]], find: Callable[[Piece], Cut | None]
) -> dict[str, list[Piece]]:
    """Adds what `find` finds to `found`, and returns the rest."""
    missing: dict[str, list[Piece]] = {}
    for part, pieces in parts.items():
        cuts = [find(piece) for piece in pieces]
        found[part] += [cut for cut in cuts if cut is not None]
        missing[part] = [piece for piece, cut in zip(pieces, cuts, strict=True) if cut is None]
    return missing


class _ByContent:
    """Records of which nothing was found under its name, by what is in them."""

    def __init__(self, arrays: VideoArrays, indices: list[int], wholes: Mapping[str, int]) -> None:
        self.arrays, self.wholes = arrays, wholes
        self.files = {arrays.videos[index].fingerprint: index for index in indices if arrays.videos[index].fingerprint}
        self.indices = [index for index in indices if not arrays.videos[index].fingerprint]
        self.tables: dict[tuple[int, int], dict[str, Cut]] = {}  # made when asked for: each reads all records

    def find(self, piece: Piece) -> Cut | None:
        if (index := self.files.get(piece.fingerprint)) is not None:
            return _place(self.arrays.videos[index], index, piece, self.wholes)
        where = piece.first, piece.frames
        if where not in self.tables:
            cuts = [_place(self.arrays.videos[index], index, piece, self.wholes) for index in self.indices]
            self.tables[where] = {_piece(self.arrays, cut).fingerprint: cut for cut in cuts if cut}
        return self.tables[where].get(piece.fingerprint)


def _find(arrays: VideoArrays, indices: Iterable[int], piece: Piece, wholes: Mapping[str, int]) -> Cut | None:
    """The one of the records `indices` that has exactly the piece's frames, and where."""
    for index in indices:
        cut = _place(arrays.videos[index], index, piece, wholes)
        if cut and _piece(arrays, cut).fingerprint == piece.fingerprint:
            return cut
    return None


def _place(record: VideoRecord, index: int, piece: Piece, wholes: Mapping[str, int]) -> Cut | None:
    """Where in a record the piece's frames would be, None where it does not reach that far."""
    first, stop = piece.first - record.first, piece.first + piece.frames - record.first
    if record.fingerprint == piece.fingerprint:
        frames, whole = record.shape[0], wholes[piece.fingerprint]
        return index, -(-first * frames // whole), -(-stop * frames // whole)
    return (index, first, stop) if first >= 0 and stop <= record.shape[0] else None


def _uncovered(records: Sequence[VideoRecord], found: Cuts) -> Iterable[Cut]:
    """What no part has of each record, from one end of it to the other."""
    covered: dict[int, list[tuple[int, int]]] = {}
    for cuts in found.values():
        for index, first, stop in cuts:
            covered.setdefault(index, []).append((first, records[index].shape[0] if stop is None else stop))
    for index, record in enumerate(records):
        at = 0
        for first, stop in sorted(covered.get(index, [])):
            if first > at:
                yield index, at, first
            at = max(at, stop)
        if at < record.shape[0]:
            yield index, at, record.shape[0]


def _piece(arrays: VideoArrays, cut: Cut) -> Piece:
    index, first, stop = cut
    record = arrays.videos[index]
    stop = record.shape[0] if stop is None else stop
    fingerprint = record.fingerprint or _content(arrays.array(index)[first:stop])
    return Piece(record.name, record.first + first, stop - first, fingerprint)


def _content(array: npt.NDArray[Any]) -> str:
    """SHA-256 of shape, type and values: of features all of them, of frames `_SAMPLED`, evenly spread."""
    total = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    if array.ndim > 2 and len(array) > _SAMPLED:
        array = array[np.linspace(0, len(array) - 1, _SAMPLED).astype(int)]
    total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
