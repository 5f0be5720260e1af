"""Damaged videos and decompression bombs, each read by `read_video` in a process that may crash, hang or swell."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.outcome import count as outcome_of
from video_ae.datasets.videos import count_frames, read_video
from video_ae.memory import resident_peak

ROOT = Path(__file__).parent.parent.parent
MEMORY = 2**30  # bytes that a reading process may hold
CODECS = ("mjpg.avi", "xvid.avi", "mp4v.mp4", "mp4v.mov", "vp80.webm", "vp90.webm", "vp90.mp4", "ffv1.mkv")
REAL = (
    "ucf101/videos/PushUps/v_PushUps_g01_c01.avi",
    "weizmann/bend/daria_bend.avi",
    "misc_natural/realshort.mp4",
    "misc_natural/newtonscradle.gif",
)
DAMAGES = ("bits flipped", "cut off", "a page zeroed", "a middle removed", "blocks swapped")
_BATCH = 50  # files that one process reads
_SECONDS = 120  # that one file may take, the start of Python included
_BLOCK = 4096


class Reading(NamedTuple):
    """What came of a file: how many frames and the CRC of their pixels, or the error."""

    frames: int
    crc: int
    error: str
    seconds: float
    memory: int  # the most that the process has held so far


def videos(count: int, seed: int, folder: Path) -> Outcome:
    """Damage videos of all `CODECS`, and of `REAL` where VIDEO_AE_DATA has them, in turn."""
    whole = {path: path.read_bytes() for path in _sources(folder)}
    originals = dict(zip(whole, read_apart(list(whole)), strict=True))
    kinds: Counter[str] = Counter()
    results: list[str | None] = []
    memory, slowest = 0, 0.0
    for first in range(0, count, _BATCH):
        batch = []
        for number in range(first, min(first + _BATCH, count)):
            source = list(whole)[number % len(whole)]
            damage = DAMAGES[number // len(whole) % len(DAMAGES)]
            path = folder / f"{number}-{damage.replace(' ', '-')}-{source.name}"
            path.write_bytes(damaged(whole[source], damage, np.random.default_rng((seed, number))))
            batch.append((path, originals[source]))
        for (path, original), found in zip(batch, read_apart([path for path, _ in batch]), strict=True):
            kind, failure = judged(path, original, found)
            kinds[kind] += 1
            results.append(failure)
            memory, slowest = max(memory, found.memory), max(slowest, found.seconds)
            path.unlink()
    told = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    return outcome_of(
        f"videos of {len(whole)} kinds with {', '.join(DAMAGES)}",
        "no crash, no hang, no silently shorter film, under 1 GB; an error is a line that names the file",
        results,
        f"{told}; at most {memory / 2**20:,.0f} MB and {slowest:.1f} s",
    )


def judged(path: Path, original: Reading, found: Reading) -> tuple[str, str | None]:
    """What happened, and what is wrong with that."""
    if found.error:
        named = found.error.startswith(f"ValueError: {path}: ") and "\n" not in found.error
        return ("refused", None) if named else ("failed", f"{path.name}: {found.error}")
    if found.frames < original.frames:
        return "silently shorter", f"{path.name}: {found.frames} of {original.frames} frames without an error"
    if found.memory > MEMORY:
        return "too large", f"{path.name}: {found.memory:,} bytes of memory"
    return ("unharmed" if found.crc == original.crc else "of full length with other pixels"), None


def damaged(content: bytes, damage: str, random: np.random.Generator) -> bytes:
    changed, size = bytearray(content), len(content)
    start = int(random.integers(size))
    if damage == "bits flipped":
        for bit in random.integers(8 * size, size=random.integers(1, 20)):
            changed[bit // 8] ^= 1 << (bit % 8)
    elif damage == "cut off":
        del changed[start:]
    elif damage == "a page zeroed":
        page = slice(start // _BLOCK * _BLOCK, min(size, (start // _BLOCK + 1) * _BLOCK))
        changed[page] = bytes(page.stop - page.start)
    elif damage == "a middle removed":
        del changed[start : start + int(random.integers(1, size // 3))]
    else:
        blocks = [content[at : at + _BLOCK] for at in range(0, size, _BLOCK)]
        one, other = random.choice(len(blocks), 2, replace=False)
        blocks[one], blocks[other] = blocks[other], blocks[one]
        return b"".join(blocks)
    return bytes(changed)


def bombs(count: int, seed: int, folder: Path) -> Outcome:
    """Small files that decode to 2.7 GB and more, or say so."""
    makers = [*BOMBS.items()][:count]
    results: list[str | None] = []
    told, memory, slowest = [], 0, 0.0
    for name, make in makers:
        path = make(folder / name)
        for size in (None, 64):
            found = read_apart([path], size)[0]
            named = found.error.startswith(f"ValueError: {path}: ")
            if size is None or found.error:
                failure = None if named else f"{name}: {found.error or f'{found.frames} frames of full size were read'}"
            results.append(failure if found.memory < MEMORY else f"{name}: {found.memory:,} bytes of memory")
            memory, slowest = max(memory, found.memory), max(slowest, found.seconds)
        told.append(f"{name} {path.stat().st_size / 1000:,.0f} KB")
        path.unlink()
    return outcome_of(
        "decompression bombs, read in full size and scaled to 64 pixels",
        "refused in full size, in a line that names the file; under 1 GB and a minute either way",
        results,
        f"{', '.join(told)}; at most {memory / 2**20:,.0f} MB and {slowest:.1f} s",
    )


def read_apart(paths: list[Path], image_size: int | None = None) -> list[Reading]:
    """What reading each file comes to, in processes that may die."""
    answers = answers_apart("benchmarks.torture.videos", [json.dumps(image_size)], list(map(str, paths)))
    return [Reading(0, 0, answer, 0, 0) if isinstance(answer, str) else Reading(*answer) for answer in answers]


def answers_apart(module: str, first: list[str], words: list[str]) -> list[Any]:
    """A module's answers in JSON, a line for each of `words`, or, as text, how the process ended over it.

    One that dies or hangs is followed by another, which goes on behind the word that it ended over.
    """
    answers: list[Any] = []
    while len(answers) < len(words):
        rest = words[len(answers) :]
        command = [sys.executable, "-m", module, *first, *rest]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            seen = list(_lines(child))
            answers += map(json.loads, seen)
            if len(seen) < len(rest):
                code = child.poll()
                child.kill()
                answers.append(f"no answer after {_SECONDS} s" if code is None else f"the process ended with {code}")
    return answers


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """Lines as they come, for as long as each comes in time."""
    import select

    assert child.stdout
    while select.select([child.stdout], [], [], _SECONDS)[0]:
        line = child.stdout.readline()
        if not line:
            child.wait()
            return
        yield line


def _read_here(image_size: int | None, paths: list[str]) -> None:
    """The child: a line for each file."""
    for path in paths:
        started = time.monotonic()
        frames, crc, error = 0, 0, ""
        try:
            film = read_video(path, image_size=image_size)
            frames, crc = len(film), zlib.crc32(film)
            if image_size is None and frames != count_frames(path):
                error = "read_video and count_frames disagree"
            del film
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        memory = resident_peak()
        print(json.dumps([frames, crc, error, round(time.monotonic() - started, 2), memory]), flush=True)


def _sources(folder: Path) -> list[Path]:
    written = [write_film(folder / name, _moving(45)) for name in CODECS]
    data = Path(os.environ.get("VIDEO_AE_DATA", "nowhere"))
    return [path for path in written if path] + [path for name in REAL if (path := data / name).is_file()]


def _moving(frames: int) -> Iterator[np.ndarray]:
    """A pattern that drifts and a disc that flies over it, 160x112."""
    pattern = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (224, 320, 3), np.uint8), (0, 0), 3)
    for number in range(frames):
        frame = np.roll(pattern, (2 * number, 3 * number), (0, 1))[:112, :160].copy()
        yield cv2.circle(frame, (20 + 2 * number, 40), 12, (255, 4 * number % 256, 30), -1)


def write_film(path: Path, frames: Iterator[np.ndarray]) -> Path | None:
    """A film with the codec in the file's name, such as mjpg.avi; None where this OpenCV cannot write it."""
    codecs = {
        "mjpg": "MJPG",
        "xvid": "XVID",
        "mp4v": "mp4v",
        "vp80": "VP80",
        "vp90": "VP90",
        "ffv1": "FFV1",
        "i420": "I420",
    }
    code = cv2.VideoWriter_fourcc(*codecs[path.stem[-4:]])
    first = next(frames)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25, first.shape[1::-1])
    if not writer.isOpened():
        return None
    for frame in (first, *frames):
        writer.write(frame)
    writer.release()
    return path


# Bombs


def _black(path: Path) -> Path:
    """3,000 frames of 1280x720, 8.3 GB."""
    made = write_film(path, iter([np.zeros((720, 1280, 3), np.uint8)] * 3000))
    assert made, f"OpenCV cannot write {path.name}"
    return made


def _patched(path: Path, mark: bytes, offset: int, new: bytes) -> Path:
    """A short film in which the bytes behind a mark are others."""
    made = write_film(path, _moving(12))
    assert made, f"OpenCV cannot write {path.name}"
    content = path.read_bytes()
    at = content.find(mark) + offset
    path.write_bytes(content[:at] + new + content[at + len(new) :])
    return path


def _large_gif(path: Path) -> Path:
    """1,000 pictures of one pixel on a screen of 4,000x4,000: 48 GB."""
    picture = b",\0\0\0\0\1\0\1\0\0" + b"\2\2\x44\1\0"
    path.write_bytes(b"GIF89a" + struct.pack("<HH", 4000, 4000) + b"\x80\0\0" + bytes(6) + 1000 * picture + b";")
    return path


def _one_frame_often(path: Path) -> Path:
    """An MP4 file that lists its first frame 50,000 times: 2.7 GB."""
    write_film(path, _moving(1))
    content = path.read_bytes()
    media = content.find(b"mdat") + 4
    size = int.from_bytes(content[content.find(b"stsz") + 12 :][:4], "big") or int.from_bytes(
        content[content.find(b"stsz") + 8 :][:4], "big"
    )
    frames = 50_000
    tables = {
        b"stsz": struct.pack(">III", 0, size, frames),
        b"stts": struct.pack(">IIII", 0, 1, frames, 512),
        b"stsc": struct.pack(">IIIII", 0, 1, 1, 1, 1),
        b"stco": struct.pack(">II", 0, frames) + struct.pack(">I", media) * frames,
        b"elst": None,
    }
    path.write_bytes(b"".join(_rebuilt(content, tables)))
    return path


def _rebuilt(content: bytes, tables: dict[bytes, bytes | None]) -> Iterator[bytes]:
    """The boxes of an MP4 file, some with other content and some left out."""
    while content:
        size, name = struct.unpack(">I4s", content[:8])
        inside, content = content[8:size], content[size:]
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            inside = b"".join(_rebuilt(inside, tables))
        elif name in tables:
            replaced = tables[name]
            if replaced is None:
                continue
            inside = replaced
        yield struct.pack(">I4s", 8 + len(inside), name) + inside


BOMBS: dict[str, Any] = {
    "mp4v.mp4": _black,
    "xvid.avi": _black,
    "vp80.webm": _black,
    "ffv1.mkv": _black,
    "screen.gif": _large_gif,
    "repeated-mp4v.mp4": _one_frame_often,
    "count-mjpg.avi": lambda path: _patched(path, b"strh", 40, struct.pack("<I", 2**31 - 1)),
    "size-i420.avi": lambda path: _patched(path, b"strf", 12, struct.pack("<ii", 60_000, 60_000)),
    "jpeg-mjpg.avi": lambda path: _patched(path, b"\xff\xc0", 5, struct.pack(">HH", 60_000, 60_000)),
    "table-mp4v.mp4": lambda path: _patched(path, b"stts", 12, struct.pack(">I", 2**31 - 1)),
}


if __name__ == "__main__":
    _read_here(json.loads(sys.argv[1]), sys.argv[2:])
