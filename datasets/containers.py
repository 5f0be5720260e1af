"""How many frames a video file holds by the structure of its container: AVI, MP4 and MOV, Matroska and WebM, GIF.

FFmpeg passes over what it cannot read and tells the terminal alone: a film with a hole in it comes back as a shorter
film. So the structure is walked here, headers only, from the first byte to the last. Where it has a gap the file is
refused; where it has none, the number of frames is known, and with it whether all of them decoded.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

MAX_PIECES = 2**23  # that are looked at in one file; two hours of film and sound have less than a tenth
MAX_TABLE = 2**24  # bytes of a table of MP4: four million frames
_MAX_DEPTH = 8  # of lists in lists
_Integers = npt.NDArray[np.int64]


class DamagedError(ValueError):
    """What was found in a container and what was expected; the name of the file is for the caller to add."""


def frames_in_container(path: Path) -> int | None:
    """How many frames must decode if the file is whole; None for MPEG streams and MP4 in fragments, which do not say.

    Raises DamagedError where the structure has a gap, and for anything else: FFmpeg would read playlists and scripts,
    which name other files and addresses, whatever the file is called.
    """
    with path.open("rb") as opened:
        file = _File(opened)
        start = file.peek(0, 12)
        if start[:4] == b"RIFF" and start[8:] == b"AVI ":
            return _avi(file)
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _mp4(file)
        if start[:4] == b"\x1a\x45\xdf\xa3":
            return _matroska(file)
        if start[:3] == b"GIF":
            return _gif(file)
        if start[:3] == b"\0\0\1":
            return None
        raise DamagedError(
            f"not a video that can be read: found {start[:8]!r}, expected AVI, MP4, MOV, Matroska, WebM, GIF or MPEG"
        )


class _File:
    """Reads small pieces of a file, a limited number of them, which limits the time."""

    def __init__(self, file: BinaryIO) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self._file, self._pieces = file, 0

    def peek(self, at: int, count: int) -> bytes:
        """`count` bytes, or fewer where the file ends."""
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            raise DamagedError(f"found more than {MAX_PIECES:,} pieces, expected a film of fewer")
        self._file.seek(at)
        return self._file.read(count)

    def read(self, at: int, count: int) -> bytes:
        content = self.peek(at, count)
        if len(content) < count:
            raise DamagedError(f"cut off after {at + len(content):,} bytes, expected at least {at + count:,}")
        return content


def _refuse_beyond(stated: int, end: int, at: int) -> None:
    if stated > end:
        raise DamagedError(f"cut off or damaged: the piece at byte {at:,} ends at {stated:,}, expected at most {end:,}")


# AVI: chunks of a name, a size and content. RIFF and LIST hold chunks; `00dc` is a frame of stream 0.

_AVI_PIECES = {b"vids": (b"dc", b"db", b"pc"), b"auds": (b"wb",)}
_PLACEHOLDER = 16  # bytes; a frame of MPEG-4 up to this size may say "as before", and then decodes to nothing
_MPEG4_FRAME = b"\0\0\1\xb6"


def _avi(file: _File) -> int:
    streams: list[bytes] = []
    frames: dict[int, array[int]] = {}  # first byte and size of each, by stream
    for name, at, length, in_film in _chunks(file, 0, file.size):
        if name == b"strh":
            streams.append(file.read(at, 4))
            if streams[-1] == b"vids":
                frames[len(streams) - 1] = array("q")
        elif in_film and not (name.startswith(b"ix") or name.upper() == b"JUNK"):
            stream = int(name[:2]) if name[:2].isdigit() else len(streams)
            if stream >= len(streams) or name[2:] not in _AVI_PIECES.get(streams[stream], (name[2:],)):
                raise DamagedError(
                    f"found {name!r} at byte {at - 8:,}, expected a piece of one of {len(streams)} streams"
                )
            if stream in frames and name[2:] != b"pc":
                frames[stream].extend((at, length))
    return min((_decodable(file, places) for places in frames.values()), default=0)


def _decodable(file: _File, frames: array[int]) -> int:
    """How many frames decode: all but those that say "as before".

    But where one chunk has two frames ("packed" MPEG-4), the next such placeholder stands for the second.
    """
    sizes = frames[1::2]
    placeholders = sum(size <= _PLACEHOLDER for size in sizes)
    if not placeholders:
        return len(sizes)
    large = ((at, size) for at, size in zip(frames[::2], sizes, strict=True) if size > _PLACEHOLDER)
    packed = sum(max(0, file.read(at, size).count(_MPEG4_FRAME) - 1) for at, size in large)
    return len(sizes) - max(0, placeholders - packed)


def _chunks(
    file: _File, at: int, end: int, in_film: bool = False, depth: int = 0
) -> Iterator[tuple[bytes, int, int, bool]]:
    """Name, first byte and size of every chunk, and whether it is in a list `movi`, the film itself."""
    while at < end:
        name, length = struct.unpack("<4sI", file.read(at, 8).ljust(8))
        if depth == 0 and name != b"RIFF":
            return  # something that was left behind the film
        _refuse_beyond(at + 8 + length, end, at)
        if name in (b"RIFF", b"LIST"):
            if depth == _MAX_DEPTH or length < 4:
                raise DamagedError(f"found a list of {length} bytes at byte {at:,}, {depth} deep, expected an AVI file")
            film = in_film or file.read(at + 8, 4) == b"movi"
            yield from _chunks(file, at + 12, at + 8 + length, film, depth + 1)
        else:
            yield name, at + 8, length, in_film
        at += 8 + length + length % 2


# MP4 and MOV: boxes of a size, a name and content. Tables in `moov` have size and duration of every frame.

_MP4_LISTS = (b"mdia", b"minf", b"stbl", b"edts")
_MP4_TABLES = (b"hdlr", b"mdhd", b"stsz", b"stts", b"ctts", b"elst")


def _mp4(file: _File) -> int | None:
    tracks: list[dict[bytes, bytes]] = []
    clock, in_fragments = 0, False
    for name, at, end in _boxes(file, 0, file.size):
        in_fragments |= name == b"moof"
        for inner, inner_at, inner_end in _boxes(file, at, end) if name == b"moov" else ():
            if inner == b"mvhd":
                clock = _ticks_per_second(file.read(inner_at, inner_end - inner_at))
            elif inner == b"trak":
                tracks.append(dict(_tables(file, inner_at, inner_end)))
    films = [track for track in tracks if track.get(b"hdlr", b"")[8:12] == b"vide"]
    if not films:
        raise DamagedError(
            f"found {len(tracks)} tracks and no pictures, expected some; its moov box is missing or damaged"
        )
    # How many fragments there should be is stated nowhere.
    return None if in_fragments else min(_frames_of_track(film, clock) for film in films)


def _frames_of_track(film: dict[bytes, bytes], clock: int) -> int:
    size, frames = struct.unpack(">II", film.get(b"stsz", b"")[4:12].ljust(8, b"\0"))
    if frames > MAX_TABLE // 4:
        raise DamagedError(f"found {frames:,} frames, expected at most {MAX_TABLE // 4:,}")
    sizes = np.full(frames, size) if size else np.frombuffer(_entries(film[b"stsz"][4:], ">i"), ">i4")
    times = _repeated(film, b"stts", frames)
    times = np.cumsum(times) - times
    if b"ctts" in film:  # shown in another order than decoded
        times = times + _repeated(film, b"ctts", frames)
    return int((_edited(film, times, clock) & (sizes != 0)).sum())


def _repeated(film: dict[bytes, bytes], name: bytes, frames: int) -> _Integers:
    """A value for each frame, (frames,), from a table of runs."""
    counts, values = np.frombuffer(_entries(film.get(name, b""), ">ii"), ">i4").astype(np.int64).reshape(-1, 2).T
    if (counts < 0).any() or counts.sum() != frames:
        raise DamagedError(f"found {counts.sum():,} values in {name.decode()}, expected {frames:,} frames; damaged")
    return np.repeat(values, counts)


def _entries(table: bytes, form: str) -> bytes:
    """The part of a table that its entries take, after four bytes of flags and their number."""
    count, size = int.from_bytes(table[4:8], "big"), struct.calcsize(form)
    if len(table) < 8 + count * size:
        raise DamagedError(f"found a table of {len(table):,} bytes, expected {count:,} entries of {size}; damaged")
    return table[8 : 8 + count * size]


def _edited(film: dict[bytes, bytes], times: _Integers, clock: int) -> npt.NDArray[np.bool_]:
    """Which frames, (N,), the edit list leaves in the film for certain: a tool may cut without removing anything."""
    table, ticks = film.get(b"elst", b""), _ticks_per_second(film.get(b"mdhd", b""))
    form = ">QqI" if table[:1] == b"\1" else ">IiI"
    content = _entries(table, form) if table else b""
    edits = [(first, duration) for duration, first, _ in struct.iter_unpack(form, content) if first >= 0]
    if not edits or not clock:
        return np.ones(len(times), np.bool_)
    shown = np.zeros(len(times), np.bool_)
    for first, duration in edits:
        # Durations are rounded to ticks of the movie's clock, so the last frame may or may not be shown.
        shown |= (times >= first) & (times < first + (duration - 1) * ticks / clock)
    return shown


def _tables(file: _File, at: int, end: int, depth: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """The tables of one track by name."""
    for name, inner_at, inner_end in _boxes(file, at, end):
        if name in _MP4_LISTS and depth < _MAX_DEPTH:
            yield from _tables(file, inner_at, inner_end, depth + 1)
        elif name in _MP4_TABLES and (name != b"hdlr" or depth == 1):  # MOV has another one deeper down
            if inner_end - inner_at > MAX_TABLE:
                raise DamagedError(f"found a table of {inner_end - inner_at:,} bytes, expected at most {MAX_TABLE:,}")
            yield name, file.read(inner_at, inner_end - inner_at)


def _boxes(file: _File, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte of the content and end of the boxes that fill `at` to `end`."""
    while at < end:
        length, name = struct.unpack(">I4s", file.read(at, 8))
        content = at + 8
        if length == 1:
            length, content = int.from_bytes(file.read(at + 8, 8), "big"), at + 16
        stop = at + length if length else end
        _refuse_beyond(stop, end, at)
        if stop < content:
            raise DamagedError(
                f"found a box of {length} bytes at byte {at:,}, expected at least {content - at}; damaged"
            )
        yield name, content, stop
        at = stop


def _ticks_per_second(header: bytes) -> int:
    at = 20 if header[:1] == b"\1" else 12
    return int.from_bytes(header[at : at + 4], "big")


# Matroska and WebM: elements of a name, a size and content, both of variable length. Clusters hold the frames.

_SEGMENT, _TRACKS, _CLUSTER, _ENTRY = 0x18538067, 0x1654AE6B, 0x1F43B675, 0xAE
_NUMBER, _TYPE, _CODEC = 0xD7, 0x83, 0x86
_SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0xA3, 0xA0, 0xA1
_PADDING, _ANY = {0xEC, 0xBF}, 2**56
_IN_SEGMENT = {_TRACKS, _CLUSTER, 0x114D9B74, 0x1549A966, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
# What a cluster may hold and how many bytes of it: a number has at most 8.
_IN_CLUSTER = {_SIMPLE_BLOCK: _ANY, _BLOCK_GROUP: _ANY, 0xE7: 8, 0xA7: 8, 0xAB: 8, 0x5854: _ANY, 0xEC: _ANY, 0xBF: 4}


def _matroska(file: _File) -> int:
    frames: dict[int, int] = {}
    tracks: dict[int, dict[int, bytes]] = {}
    for name, at, end in _elements(file, 0, file.size):
        if name != _SEGMENT:
            continue
        for inner, inner_at, inner_end in _elements(file, at, end):
            if inner not in _IN_SEGMENT | _PADDING:
                raise DamagedError(
                    f"found the element {inner:X} at byte {inner_at:,}, expected one of Matroska; damaged"
                )
            if inner == _TRACKS:
                for kind, entry_at, entry_end in _elements(file, inner_at, inner_end):
                    if kind != _ENTRY:
                        continue
                    entry = {
                        key: file.read(a, z - a)
                        for key, a, z in _elements(file, entry_at, entry_end)
                        if key in (_NUMBER, _TYPE, _CODEC) and z - a < 64
                    }
                    tracks[int.from_bytes(entry.get(_NUMBER, b""), "big")] = entry
            elif inner == _CLUSTER:
                for number in _blocks(file, inner_at, inner_end, tracks):
                    frames[number] = frames.get(number, 0) + 1
    films = [number for number, entry in tracks.items() if int.from_bytes(entry.get(_TYPE, b""), "big") == 1]
    if not films:
        raise DamagedError(f"found {len(tracks)} tracks and no pictures, expected some; damaged")
    return min(frames.get(number, 0) for number in films)


def _blocks(file: _File, at: int, end: int, tracks: dict[int, dict[int, bytes]]) -> Iterator[int]:
    """The track of every frame of a cluster that is shown."""
    for name, inner_at, inner_end in _elements(file, at, end):
        if inner_end - inner_at > _IN_CLUSTER.get(name, -1):
            raise DamagedError(
                f"found the element {name:X} at byte {inner_at:,}, expected a frame of Matroska; damaged"
            )
        pieces = [(name, inner_at, inner_end)]
        if name == _BLOCK_GROUP:
            pieces = list(_elements(file, inner_at, inner_end))
            if [piece[0] for piece in pieces].count(_BLOCK) != 1:
                raise DamagedError(f"found a group of frames without frame at byte {inner_at:,}; damaged")
        for kind, block_at, block_end in pieces:
            if kind not in (_SIMPLE_BLOCK, _BLOCK):
                continue
            content = file.peek(block_at, min(12, block_end - block_at))
            number, header = _variable(content, 0, block_at)
            frame = content[header + 3 :]  # behind time and flags
            if number not in tracks or not frame:
                raise DamagedError(
                    f"found a frame of track {number} at byte {block_at:,}, expected one of {len(tracks)}"
                )
            # VP8 has frames that only others look at.
            if not tracks[number].get(_CODEC, b"").startswith(b"V_VP8") or frame[0] & 0x10:
                yield number


def _elements(file: _File, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Name, first byte of the content and end of the elements that fill `at` to `end`.

    Live recordings leave the size of a segment and of its clusters open; a cluster then ends where the next begins.
    """
    while at < end:
        name, length, content = _element(file, at)
        if length is not None:
            stop = content + length
        else:
            stop = end if name == _SEGMENT else _next_in_segment(file, content, end)
        _refuse_beyond(stop, end, at)
        yield name, content, stop
        at = stop


def _next_in_segment(file: _File, at: int, end: int) -> int:
    while at < end:
        name, length, content = _element(file, at)
        if name in _IN_SEGMENT:
            break
        at = content + (length or 0)
    return at


def _element(file: _File, at: int) -> tuple[int, int | None, int]:
    """Name and size of the element at byte `at`, and where its content begins; the size is None where it is open."""
    header = file.peek(at, 16)
    name, name_length = _variable(header, 0, at, marker=True)
    length, size_length = _variable(header, name_length, at)
    is_open = length == 2 ** (7 * size_length) - 1 and name in (_SEGMENT, _CLUSTER)
    return name, None if is_open else length, at + name_length + size_length


def _variable(header: bytes, first: int, at: int, *, marker: bool = False) -> tuple[int, int]:
    """A number of variable length and how many bytes it takes: as many as the first has leading zeros, and one."""
    length = 9 - header[first].bit_length() if len(header) > first else 9
    if length > 8 or len(header) < first + length:
        raise DamagedError(f"found {header.hex() or 'the end'} at byte {at:,}, expected an element; cut off or damaged")
    value = int.from_bytes(header[first : first + length], "big")
    return (value if marker else value & (2 ** (7 * length) - 1)), length


# GIF: a header, then extensions and pictures, each in blocks of at most 255 bytes, then an end mark. Blocks are so much
# alike that a gap may leave the structure whole, so the pixels of every picture are counted as well.


def _gif(file: _File) -> int:
    flags = file.read(0, 13)[10]
    at, frames = 13 + _palette(flags), 0
    while (kind := file.read(at, 1)) != b";":
        if kind == b",":
            width, height, flags = struct.unpack("<4xHHB", file.read(at + 1, 9))
            begin = at + 10 + _palette(flags)
            codes, at = _blocks_of_gif(file, begin + 1)
            if _pixels(codes, file.read(begin, 1)[0]) != width * height:
                raise DamagedError(f"found other than {width}x{height} pixels in picture {frames}; damaged")
            frames += 1
        elif kind == b"!":
            _, at = _blocks_of_gif(file, at + 2)
        else:
            raise DamagedError(f"found {kind!r} at byte {at:,}, expected a picture, an extension or the end; damaged")
    return frames


def _blocks_of_gif(file: _File, at: int) -> tuple[bytes, int]:
    """The content of blocks, and where what follows them begins."""
    content = []
    while length := file.read(at, 1)[0]:
        content.append(file.read(at + 1, length))
        at += 1 + length
    return b"".join(content), at + 1


def _pixels(content: bytes, bits: int) -> int:
    """How many pixels a picture's LZW codes stand for; -1 where a code has no meaning."""
    if not 1 <= bits <= 8:
        return -1
    clear = 1 << bits
    lengths: list[int] = []  # of what each code stands for
    width, before, pixels, buffer, filled = bits + 1, 0, 0, 0, 0
    for byte in content:
        buffer |= byte << filled
        filled += 8
        while filled >= width:
            code = buffer & ((1 << width) - 1)
            buffer >>= width
            filled -= width
            if code == clear:
                lengths, width, before = [1] * (clear + 2), bits + 1, 0
                continue
            if code == clear + 1:
                return pixels
            if before and len(lengths) < 4096:
                lengths.append(before + 1)
            if code >= len(lengths):
                return -1
            before = lengths[code]
            pixels += before
            if len(lengths) == 1 << width and width < 12:
                width += 1
    return pixels


def _palette(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
