"""How many frames a video file holds by the structure of its container: AVI, MP4 and MOV, Matroska and WebM, FLV, GIF.

FFmpeg skips what it cannot read and reports that on the terminal only: a video with a hole in it comes back shorter. So
the structure is walked here, headers only, from the first byte to the last. Where it has a gap it is refused; where it
has none, the number of frames is known, and with it whether all of them decoded.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

MAX_PIECES = 2**23  # that are looked at in one file; two hours of video and sound have less than a tenth
MAX_TABLE = 2**24  # bytes of a table of MP4: four million frames
MAX_PIXELS_PER_FRAME = 2**24  # twice 4K; a decoder holds a dozen such frames
MAX_GIF = 2**29  # bytes, all of which are in memory
_START = 412  # bytes that tell what a file is
_MAX_DEPTH = 8  # of lists in lists
_Integers = npt.NDArray[np.int64]


class DamagedError(ValueError):
    """What was found in a container and what was expected; the name of the file is for the caller to add."""


def frames_in_container(path: Path) -> int | None:
    """How many frames must decode if the file is whole; None where its container does not say.

    It does not for MPEG program and elementary streams and for MP4 in fragments, of which nothing is checked; nor for
    MPEG transport streams, ASF (WMV), Ogg, MXF and DV, whose structure is.

    Raises DamagedError where the structure has a gap, and for anything else: FFmpeg would read playlists and scripts,
    which name other files and addresses, whatever the file is called.
    """
    with path.open("rb") as opened:
        file = _File(opened)
        start = file.peek(0, _START)
        for is_its_start, frames in _CONTAINERS:
            if is_its_start(start):
                return frames(file)
        raise DamagedError(
            f"not a video that can be read: found {start[:8]!r}, expected AVI, MP4, MOV, Matroska, WebM, MPEG,"
            " ASF, FLV, Ogg, MXF, DV or GIF"
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
            raise DamagedError(f"found more than {MAX_PIECES:,} pieces, expected a video of fewer")
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
    for name, at, length, in_movie in _chunks(file, 0, file.size):
        if name == b"strh":
            streams.append(file.read(at, 4))
            if streams[-1] == b"vids":
                frames[len(streams) - 1] = array("q")
        elif in_movie and not (name.startswith(b"ix") or name.upper() == b"JUNK"):
            stream = int(name[:2]) if name[:2].isdigit() else len(streams)
            if stream >= len(streams) or name[2:] not in _AVI_PIECES.get(streams[stream], (name[2:],)):
                raise DamagedError(f"found {name!r} at byte {at - 8:,}, expected a piece of a stream; damaged")
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
    file: _File, at: int, end: int, in_movie: bool = False, depth: int = 0
) -> Iterator[tuple[bytes, int, int, bool]]:
    """Name, first byte and size of every chunk, and whether it is in a list `movi`, the frames and sound."""
    while at < end:
        name, length = struct.unpack("<4sI", file.read(at, 8).ljust(8))
        if depth == 0 and name != b"RIFF":
            return  # something that was appended to the video
        _refuse_beyond(at + 8 + length, end, at)
        if name in (b"RIFF", b"LIST"):
            if depth == _MAX_DEPTH or length < 4:
                raise DamagedError(f"found a list of {length} bytes at byte {at:,}, {depth} deep, expected an AVI file")
            movie = in_movie or file.read(at + 8, 4) == b"movi"
            yield from _chunks(file, at + 12, at + 8 + length, movie, depth + 1)
        else:
            yield name, at + 8, length, in_movie
        at += 8 + length + length % 2


# MP4 and MOV: boxes of a size, a name and content. Tables in `moov` have size and duration of every frame.

_MP4_STARTS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"sidx", b"uuid", b"pnot")
_MP4_WHOLE = {b"moov", b"mdat"}
_MP4_OUTER = {*_MP4_STARTS, b"moof", b"mfra", b"meta", b"udta", b"ssix", b"prft", b"pdin", b"emsg", b"PICT"}
_MP4_LISTS = (b"mdia", b"minf", b"stbl", b"edts")
_MP4_TABLES = (b"hdlr", b"mdhd", b"stsz", b"stts", b"ctts", b"elst")


def _mp4(file: _File) -> int | None:
    tracks: list[dict[bytes, bytes]] = []
    clock, in_fragments = 0, False
    for name, at, end in _boxes(file, 0, file.size, outer=True):
        in_fragments |= name == b"moof"
        for inner, inner_at, inner_end in _boxes(file, at, end) if name == b"moov" else ():
            if inner == b"mvhd":
                clock = _ticks_per_second(file.read(inner_at, inner_end - inner_at))
            elif inner == b"trak":
                tracks.append(dict(_tables(file, inner_at, inner_end)))
    videos = [track for track in tracks if track.get(b"hdlr", b"")[8:12] == b"vide"]
    if not videos:
        raise DamagedError(f"found {len(tracks)} tracks without video; the moov box is missing or damaged")
    # How many fragments there should be is stated nowhere.
    return None if in_fragments else min(_frames_of_track(video, clock) for video in videos)


def _frames_of_track(track: dict[bytes, bytes], clock: int) -> int:
    size, frames = struct.unpack(">II", track.get(b"stsz", b"")[4:12].ljust(8, b"\0"))
    if frames > MAX_TABLE // 4:
        raise DamagedError(f"found {frames:,} frames, expected at most {MAX_TABLE // 4:,}")
    sizes = np.full(frames, size) if size else np.frombuffer(_entries(track[b"stsz"][4:], ">i"), ">i4")
    times = _repeated(track, b"stts", frames)
    times = np.cumsum(times) - times
    if b"ctts" in track:  # shown in another order than decoded
        times = times + _repeated(track, b"ctts", frames)
    return int((_edited(track, times, clock) & (sizes != 0)).sum())


def _repeated(track: dict[bytes, bytes], name: bytes, frames: int) -> _Integers:
    """A value for each frame, (frames,), from a table of runs."""
    counts, values = np.frombuffer(_entries(track.get(name, b""), ">ii"), ">i4").astype(np.int64).reshape(-1, 2).T
    if (counts < 0).any() or counts.sum() != frames:
        raise DamagedError(f"found {counts.sum():,} values in {name.decode()}, expected {frames:,} frames; damaged")
    return np.repeat(values, counts)


def _entries(table: bytes, form: str) -> bytes:
    """The part of a table that its entries take, after four bytes of flags and their number."""
    count, size = int.from_bytes(table[4:8], "big"), struct.calcsize(form)
    if len(table) < 8 + count * size:
        raise DamagedError(f"found a table of {len(table):,} bytes, expected {count:,} entries of {size}; damaged")
    return table[8 : 8 + count * size]


def _edited(track: dict[bytes, bytes], times: _Integers, clock: int) -> npt.NDArray[np.bool_]:
    """Which frames, (N,), the edit list certainly leaves in the video: a tool may cut without removing anything."""
    table, ticks = track.get(b"elst", b""), _ticks_per_second(track.get(b"mdhd", b""))
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


def _boxes(file: _File, at: int, end: int, *, outer: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte of the content and end of the boxes that fill `at` to `end`.

    Behind the `outer` boxes of a whole video may be something else, which players pass over.
    """
    seen: set[bytes] = set()
    while at < end:
        header = file.peek(at, 8)
        if outer and seen >= _MP4_WHOLE and header[4:] not in _MP4_OUTER:
            return
        length, name = struct.unpack(">I4s", file.read(at, 8))
        seen.add(name)
        content = at + 8
        if length == 1:
            length, content = int.from_bytes(file.read(at + 8, 8), "big"), at + 16
        stop = at + length if length else end
        _refuse_beyond(stop, end, at)
        if stop < content:
            raise DamagedError(f"found a box of {length} bytes at byte {at:,}; damaged")
        yield name, content, stop
        at = stop


def _ticks_per_second(header: bytes) -> int:
    at = 20 if header[:1] == b"\1" else 12
    return int.from_bytes(header[at : at + 4], "big")


# Matroska and WebM: elements of a name, a size and content, both of variable length. Clusters hold the frames.

_SEGMENT, _TRACKS, _CLUSTER, _ENTRY = 0x18538067, 0x1654AE6B, 0x1F43B675, 0xAE
_OUTER = {0x1A45DFA3, _SEGMENT}
_NUMBER, _TYPE, _CODEC = 0xD7, 0x83, 0x86
_SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0xA3, 0xA0, 0xA1
_PADDING, _ANY = {0xEC, 0xBF}, 2**56
_IN_SEGMENT = {_TRACKS, _CLUSTER, 0x114D9B74, 0x1549A966, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
# What a cluster may hold and how many bytes of it: a number has at most 8.
_IN_CLUSTER = {_SIMPLE_BLOCK: _ANY, _BLOCK_GROUP: _ANY, 0xE7: 8, 0xA7: 8, 0xAB: 8, 0x5854: _ANY, 0xEC: _ANY, 0xBF: 4}


def _matroska(file: _File) -> int:
    frames: dict[int, int] = {}
    tracks: dict[int, dict[int, bytes]] = {}
    for at, end in _segments(file):
        for inner, inner_at, inner_end in _elements(file, at, end):
            if inner not in _IN_SEGMENT | _PADDING:
                raise DamagedError(f"found the element {inner:X} at byte {inner_at:,}; damaged")
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
    videos = [number for number, entry in tracks.items() if int.from_bytes(entry.get(_TYPE, b""), "big") == 1]
    if not videos:
        raise DamagedError(f"found {len(tracks)} tracks without video; damaged")
    return min(frames.get(number, 0) for number in videos)


def _segments(file: _File) -> Iterator[tuple[int, int]]:
    """First byte of the content and end of the segments. What is behind them and no element is passed over."""
    found, at = False, 0
    while at < file.size:
        try:
            name, at, end = next(_elements(file, at, file.size))
        except DamagedError:
            if found and at != file.size and _element_name(file, at) not in _OUTER:
                return
            raise
        if name == _SEGMENT:
            found = True
            yield at, end
        at = end


def _blocks(file: _File, at: int, end: int, tracks: dict[int, dict[int, bytes]]) -> Iterator[int]:
    """The track of every frame of a cluster that is shown."""
    for name, inner_at, inner_end in _elements(file, at, end):
        if inner_end - inner_at > _IN_CLUSTER.get(name, -1):
            raise DamagedError(f"found {name:X} at byte {inner_at:,}, expected a frame; damaged")
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
                raise DamagedError(f"found a frame of track {number} at byte {block_at:,}; damaged")
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


def _element_name(file: _File, at: int) -> int:
    return int.from_bytes(file.peek(at, 4), "big")


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
# alike that a gap may leave the structure whole, so every picture must have all of its pixels as well.

_GIF_PICTURE, _GIF_EXTENSION, _GIF_END = b",!;"


def _gif(file: _File) -> int:
    content = file.peek(0, MAX_GIF + 1)  # blocks are too many to read one by one
    if len(content) > MAX_GIF:
        raise DamagedError(f"found a GIF of {file.size:,} bytes, expected at most {MAX_GIF:,}; convert it")
    frames, before = 0, 0
    try:
        screen = struct.unpack_from("<HH", content, 6)
        if screen[0] * screen[1] > MAX_PIXELS_PER_FRAME:
            raise DamagedError(f"states {screen[0]}x{screen[1]} pixels, expected at most {MAX_PIXELS_PER_FRAME:,}")
        at = 13 + _palette(content[10])
        while (kind := content[at]) != _GIF_END:
            begin = at
            if kind == _GIF_PICTURE:
                at += 11 + _palette(content[at + 9])
            elif kind == _GIF_EXTENSION:
                at += 2
            else:
                raise DamagedError(f"found {kind:#x} at byte {at:,}, expected a picture or extension; damaged")
            while length := content[at]:
                at += 1 + length
            at += 1
            if kind == _GIF_PICTURE:
                if before == kind:  # FFmpeg shows the two as one
                    raise DamagedError(f"picture {frames} has no delay of its own, so that it is no frame; give it one")
                _check_picture(content[begin:at], screen, frames)
                frames += 1
            before = kind
    except (IndexError, struct.error):
        raise DamagedError(f"cut off after {file.size:,} bytes, expected its end mark") from None
    return frames


def _check_picture(picture: bytes, screen: tuple[int, ...], number: int) -> None:
    """Raises DamagedError where it lies outside of the screen or Pillow does not find all of its pixels."""
    from PIL import Image

    left, top, width, height, flags = struct.unpack_from("<HHHHB", picture, 1)
    if left + width > screen[0] or top + height > screen[1]:
        raise DamagedError(f"picture {number} does not lie within the {screen[0]}x{screen[1]} pixels; damaged")
    codes = 10 + _palette(flags)
    try:
        Image.frombytes("L", (width, height), picture[codes + 1 :], "gif", picture[codes], 0)
    except (ValueError, OSError) as error:
        raise DamagedError(f"found not all of the pixels of picture {number} ({error}); damaged") from error


def _palette(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


# MPEG transport streams: packets of 188 bytes, which some recorders put a time or a checksum around. Each is numbered
# within its stream, modulo 16. A jump at the beginning of a frame may be a seam of two recordings; elsewhere it is a
# hole.

_PACKET, _PACKETS_AT_ONCE, _PADDING_STREAM = 188, 2**16, 0x1FFF
_SPACINGS = {188: 0, 192: 4, 204: 0}  # and the first byte of the first packet


def _spacing(start: bytes) -> int | None:
    for spacing, first in _SPACINGS.items():
        marks = start[first::spacing]
        if len(marks) > 2 and set(marks) == {0x47}:
            return spacing
    return None


def _transport(file: _File) -> None:
    spacing = _spacing(file.peek(0, _START)) or _PACKET
    if file.size % spacing:
        raise DamagedError(f"cut off: found {file.size:,} bytes, expected whole packets of {spacing}")
    numbers: dict[int, int] = {}
    for at in range(0, file.size, spacing * _PACKETS_AT_ONCE):
        content = np.frombuffer(file.peek(at, spacing * _PACKETS_AT_ONCE), np.uint8)
        packets = content.reshape(-1, spacing)[:, _SPACINGS[spacing] :]
        if (packets[:, 0] != 0x47).any():
            lost = at + spacing * int((packets[:, 0] != 0x47).argmax())
            raise DamagedError(f"found no packet at byte {lost:,}, expected one every {spacing} bytes; damaged")
        streams = (packets[:, 1].astype(np.int64) & 0x1F) << 8 | packets[:, 2]
        for stream in np.unique(streams):
            if stream != _PADDING_STREAM:
                places = np.flatnonzero(streams == stream)
                numbers[stream] = _follow(packets[places], numbers.get(stream), at + spacing * places)


def _follow(packets: npt.NDArray[np.uint8], before: int | None, places: _Integers) -> int:
    """The number of the last packet of a stream. Raises DamagedError where one is missing."""
    has_content = (packets[:, 3] & 0x10) != 0
    steps = has_content.astype(np.int64)  # only packets with content count on
    found = packets[:, 3].astype(np.int64) & 15
    last = np.concatenate(([found[0] - steps[0] if before is None else before], found[:-1]))
    begins = (packets[:, 1] & 0x40) != 0
    resets = ((packets[:, 3] & 0x20) != 0) & (packets[:, 4] > 0) & ((packets[:, 5] & 0x80) != 0)
    holes = ((found - last) % 16 != steps) & (found != last) & has_content & ~begins & ~resets
    if holes.any():
        raise DamagedError(f"found a hole before the packet at byte {places[holes.argmax()]:,}; damaged")
    return int(found[-1])


# ASF (WMV): objects of a name, a size and content, of which the header says how large the whole file is.

_ASF, _ASF_FILE = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _asf(file: _File) -> None:
    at, end = 30, int.from_bytes(file.read(16, 8), "little")
    _refuse_beyond(end, file.size, 0)
    while at < end:
        name, length = file.read(at, 16), int.from_bytes(file.read(at + 16, 8), "little")
        if length < 24:
            raise DamagedError(f"found an object of {length} bytes at byte {at:,}, expected at least 24; damaged")
        if name == _ASF_FILE:
            size, flags = struct.unpack("<Q40xI", file.read(at + 40, 52))
            if not flags & 1:  # a recording that nobody closed says nothing
                _refuse_beyond(size, file.size, 0)
        at += length


# FLV: tags of a kind, a size and content, each followed by its size.

_FLV_PICTURE, _FLV_H264 = 9, 7
_FLV_NO_FRAME = 5  # a kind of picture: a command to the player


def _flv(file: _File) -> int | None:
    frames, at = 0, int.from_bytes(file.read(5, 4), "big") + 4
    told = True
    while at < file.size:
        header = file.read(at, 11)
        length = int.from_bytes(header[1:4], "big")
        if int.from_bytes(file.read(at + 11 + length, 4), "big") != 11 + length:
            raise DamagedError(f"found a piece of {length} bytes at byte {at:,} that ends otherwise; damaged")
        if header[0] & 31 == _FLV_PICTURE and length:
            kind, packet = file.read(at + 11, 2) if length > 1 else (*file.read(at + 11, 1), 1)
            told &= kind < 128  # newer codecs say it elsewhere
            frames += kind >> 4 != _FLV_NO_FRAME and (kind & 15 != _FLV_H264 or packet == 1)
        at += 15 + length
    return frames if told else None


# Ogg: pages that are numbered within their stream, the last of each marked.

_OGG_LAST = 4


def _ogg(file: _File) -> None:
    at = 0
    pages: dict[bytes, int] = {}
    open_streams: set[bytes] = set()
    while at < file.size:
        header = file.read(at, 27)
        if header[:4] != b"OggS":
            raise DamagedError(f"found {header[:4]!r} at byte {at:,}, expected a page; damaged")
        stream, number = header[14:18], int.from_bytes(header[18:22], "little")
        if stream in pages and number != pages[stream] + 1:
            raise DamagedError(f"found page {number} at byte {at:,}, expected {pages[stream] + 1}; damaged")
        pages[stream] = number
        (open_streams.discard if header[5] & _OGG_LAST else open_streams.add)(stream)
        at += 27 + header[26] + sum(file.read(at + 27, header[26]))
    _refuse_beyond(at, file.size, 0)
    if open_streams:
        raise DamagedError(f"cut off after {file.size:,} bytes, expected a last page of every stream")


# MXF: pieces of a name of 16 bytes, a size of variable length and content.

_MXF = bytes.fromhex("060e2b34")


def _mxf(file: _File) -> None:
    at = 0
    while at < file.size:
        header = file.read(at, 17)
        if header[:4] != _MXF:
            raise DamagedError(f"found {header[:4]!r} at byte {at:,}, expected a piece of MXF; damaged")
        length = header[16]
        long = length - 128 if length > 128 else 0
        size = int.from_bytes(file.read(at + 17, long), "big") if long else length
        _refuse_beyond(at + 17 + long + size, file.size, at)
        at += 17 + long + size


# DV: frames of one size, for one of two television systems.

_DV = b"\x1f\x07\x00"
_DV_FRAMES = {0: 120_000, 0x80: 144_000}


def _dv(file: _File) -> None:
    size = _DV_FRAMES[file.read(3, 1)[0] & 0x80]
    if file.size % size:
        raise DamagedError(f"cut off: found {file.size:,} bytes, expected whole frames of {size:,}")


_CONTAINERS: list[tuple[Callable[[bytes], bool], Callable[[_File], int | None]]] = [
    (lambda start: start[:4] == b"RIFF" and start[8:12] == b"AVI ", _avi),
    (lambda start: start[4:8] in _MP4_STARTS, _mp4),
    (lambda start: start[:4] == b"\x1a\x45\xdf\xa3", _matroska),
    (lambda start: start[:3] == b"GIF", _gif),
    (lambda start: start[:16] == _ASF, _asf),
    (lambda start: start[:4] == b"FLV\x01", _flv),
    (lambda start: start[:4] == b"OggS", _ogg),
    (lambda start: start[:4] == _MXF, _mxf),
    (lambda start: start[:3] == _DV, _dv),
    (lambda start: start[:3] == b"\0\0\1" or start[:4] == b"\0\0\0\1", lambda file: None),  # MPEG
    (lambda start: _spacing(start) is not None, _transport),
]
