"""Video files: read into arrays or frame by frame, with every bound checked that a file could overstep.

`decoders.py` decodes. What headers state is used to refuse a file before anything is decoded, and for nothing else:
frames are counted as they decode. Where the container says how many there are, fewer are an error, not a shorter video.
"""

import itertools
import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .containers import MAX_PIXELS_PER_FRAME, DamagedError, frames_in_container
from .decoders import Decoder, Frame, Place, has_av, open_decoder
from .frame_folders import ImageFolder, size_on_disk
from .interlaced import EXTRA

# What is looked for in folders; a file is known by its content, whatever it is called.
SUFFIXES = (
    ".avi", ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v",
    ".vob", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogg", ".dv", ".mxf", ".divx", ".gif",
)  # fmt: skip
MAX_PIXELS = 2**42  # of all frames that are decoded: six hours of 4K at 25 frames per second
MAX_SECONDS, SECONDS_PER_MEGABYTE = 3600, 10  # for one file: an hour, and more for large ones
# Of the array that one call returns: a video of 200 KB can decode to 10 GB. Small files may fill less.
MAX_BYTES, MAX_BYTES_OF_ANY, MAX_BYTES_PER_BYTE = 2**32, 2**28, 2**11
_SAME_TIME = 0.001  # seconds; Matroska's times are whole milliseconds

Size = int | tuple[int, int]


class Video(NamedTuple):
    """A video file, or a folder of numbered images, and what is known about it."""

    path: Path
    name: str  # unique within its data set: the path below the root without suffix, such as PushUps/v_PushUps_g01_c01
    label: str  # the class
    group: str  # who or what was filmed; videos of one group are never in two parts
    official: str = ""  # the part that its folder or a list put it in: train, validation or test


def read_video(
    path: Path | str,
    *,
    image_size: Size | None = None,
    stride: int = 1,
    fps: float | None = None,
    grey: bool = False,
    first: int = 0,
    frames: int | None = None,
    least: int = 1,
    max_lost_frames: int = 0,
) -> npt.NDArray[np.uint8]:
    """The frames of a video as one array (T, H, W, C) uint8, C = 3 (RGB) or 1: see `video_frames`.

    Raises FileNotFoundError, or ValueError that names the file where `video_frames` does, where the array would exceed
    `MAX_BYTES`, or less for a small file, and where there are fewer frames than `least`.
    """
    wanted = _Wanted(image_size, stride, fps, grey, first, frames, max_lost_frames)
    with _opened(path) as video:
        shape: tuple[int, ...] = wanted.shape(video.decoder)
        most = _most_frames(video, shape)
        expected = wanted.expected(video.frames)
        _refuse_more(path, expected, most, shape)
        kept = np.empty((0, *shape), np.uint8)
        count = 0
        for _, frame in _frames(video, wanted):
            if count == 0:
                shape = frame.shape  # of a video on its side, turned
                kept = np.empty((min(most, max(expected, 16)), *shape), np.uint8)
            _refuse_more(path, count + 1, most, shape)
            if count == len(kept):
                kept.resize((min(most, count + count // 4 + 1), *shape), refcheck=False)  # in place: no second copy
            kept[count] = frame
            count += 1
    if count < max(least, 1):
        taken = f"stride {stride}" if fps is None else f"{fps:g} per second"
        raise ValueError(
            f"{path}: {count} frames decode (from frame {first}, {taken}), expected at least"
            f" {max(least, 1)}; leave the file out or ask for fewer"
        )
    kept.resize((count, *shape), refcheck=False)
    return kept


def video_frames(
    path: Path | str,
    *,
    image_size: Size | None = None,
    stride: int = 1,
    fps: float | None = None,
    grey: bool = False,
    first: int = 0,
    frames: int | None = None,
    max_lost_frames: int = 0,
) -> Iterator[npt.NDArray[np.uint8]]:
    """The frames of a video one by one, (H, W, C) uint8, C = 3 (RGB) or 1, in memory for a few of them.

    Every `stride`-th frame is given, or, with `fps`, that many in a second: at each moment the last frame shown until
    then, by the times in the file. `first` of those are left out, and at most `frames` are given; of strides, `first`
    counts frames of the file.

    With `image_size` S the centre square of each frame is scaled to S x S, with (H, W) the whole frame to H x W:
    averaged when it shrinks, interpolated when it grows. Without, frames are as filmed, turned as the file says.

    Raises FileNotFoundError, or ValueError that names the file where it is no whole video, where its frames exceed
    `MAX_PIXELS_PER_FRAME`, `MAX_PIXELS` or `MAX_SECONDS` or change their size. More than `max_lost_frames` frames that
    are in the file and do not decode are an error at its end. But not the frames before the first that can be shown,
    of a video that was cut without encoding it anew; without PyAV these cannot be told from lost ones. With `frames`,
    what comes behind them is not decoded, so that nothing is known of it.
    """
    wanted = _Wanted(image_size, stride, fps, grey, first, frames, max_lost_frames)

    def opened() -> Iterator[npt.NDArray[np.uint8]]:
        with _opened(path) as video:
            for _, frame in _frames(video, wanted):
                yield frame

    return opened()


def placed_frames(path: Path | str, **how: Any) -> Iterator[tuple[Place | None, npt.NDArray[np.uint8]]]:
    """What `video_frames(path, **how)` gives and raises, each frame with where it is in the file: see `frames_at`."""
    with _opened(path) as video:
        yield from _frames(video, _Wanted(**how))


def frames_at(
    path: Path, stamps: Collection[int], start: int | None, *, image_size: Size | None, grey: bool
) -> dict[int, npt.NDArray[np.uint8]]:
    """The frames with these stamps as `placed_frames` gives them, by their stamps, decoded from `start` on or, if it is
    None, from the first frame. Those that are not found there are left out. The file must have been read before.

    Raises ValueError where `start` is not found, OSError or ValueError for a file that is not there or no video now.
    """
    wanted = set(stamps)
    found = {}
    decoder = ImageFolder(path) if path.is_dir() else open_decoder(path, MAX_PIXELS_PER_FRAME, threads=1)
    try:
        for frame in decoder.frames(lasting=False, start=start):
            if frame.place is not None and frame.place.stamp in wanted and (image := frame.image()) is not None:
                found[frame.place.stamp] = prepare(image, image_size, grey)
                if len(found) == len(wanted):
                    break
    finally:
        decoder.close()
    return found


def count_frames(path: Path | str, *, fps: float | None = None, max_lost_frames: int = 0) -> int:
    """How many frames of a video decode, possibly none, or how many `fps` in a second give.

    Raises as `video_frames` does for files that are not whole.
    """
    with _opened(path) as video:
        return sum(1 for _ in at_rate(_decoded(video, max_lost_frames), fps))


def frame_rate(path: Path | str) -> float:
    """Frames in a second by the header of a video, on average. Raises as `video_frames` for what is no video."""
    with _opened(path) as video:
        return video.decoder.rate


@dataclass(frozen=True)
class _Wanted:
    """What is asked of a video: see `video_frames`."""

    image_size: Size | None = None
    stride: int = 1
    fps: float | None = None
    grey: bool = False
    first: int = 0
    frames: int | None = None
    max_lost_frames: int = 0

    def __post_init__(self) -> None:
        sides = self.image_size if isinstance(self.image_size, tuple) else (self.image_size,)
        bounds = [("image size", side, 1) for side in sides]
        bounds += [("stride", self.stride, 1), ("first frame", self.first, 0), ("frames", self.frames, 1)]
        for what, value, lowest in [*bounds, ("lost frames", self.max_lost_frames, 0)]:
            if value is not None and value < lowest:
                raise ValueError(f"{what} {value}: expected at least {lowest}")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"{self.fps} frames per second: expected more than 0")
        if self.fps is not None and self.stride != 1:
            raise ValueError(f"stride {self.stride} and {self.fps:g} frames per second: expected one of them")

    def shape(self, decoder: Decoder) -> tuple[int, int, int]:
        """Of the frames that are returned; of a video on its side height and width may be the other way around."""
        height, width = decoder.height, decoder.width
        if self.image_size is not None:
            height, width = (self.image_size,) * 2 if isinstance(self.image_size, int) else self.image_size
        return height, width, 1 if self.grey else 3

    def expected(self, in_file: int | None) -> int:
        """How many frames will be returned at least, as far as that is known beforehand."""
        if in_file is None or self.fps is not None:
            return 0
        expected = max(0, -(-(in_file - self.first) // self.stride))
        return expected if self.frames is None else min(expected, self.frames)


class _OpenVideo(NamedTuple):
    """An open video. `frames` is how many must decode, None where its container does not say."""

    path: Path
    decoder: Decoder
    frames: int | None


def _frames(video: _OpenVideo, wanted: _Wanted) -> Iterator[tuple[Place | None, npt.NDArray[np.uint8]]]:
    """See `placed_frames`."""
    first, stride, count, fps = wanted.first, wanted.stride, wanted.frames, wanted.fps
    decoded = at_rate(_decoded(video, wanted.max_lost_frames, lasting=fps is not None), fps)
    stop = None if count is None else first + stride * (count - 1) + 1
    shape = None
    for number, frame in enumerate(itertools.islice(decoded, first, stop, stride)):
        image = frame.image()
        if image is None or image.shape != (shape := shape or image.shape):
            found = "does not decode" if image is None else f"is {image.shape[1]}x{image.shape[0]}"
            expected = "a picture" if shape is None else f"{shape[1]}x{shape[0]} pixels throughout"
            raise ValueError(f"{video.path}: frame {first + number * stride} {found}, expected {expected}")
        yield frame.place, prepare(image, wanted.image_size, wanted.grey)


def at_rate(frames: Iterator[Frame], fps: float | None) -> Iterator[Frame]:
    """The frame shown at each of `fps` moments in a second, from the first frame on; all frames where `fps` is None.

    The last frame is shown as long as frames were on average.
    """
    if fps is None:
        yield from frames
        return
    before = next(frames, None)
    if before is None:
        return
    start, moment, number = before.seconds, 0, 1
    for frame in frames:
        while start + moment / fps < frame.seconds - _SAME_TIME:
            yield before
            moment += 1
        before, number = frame, number + 1
    end = before.seconds + (before.seconds - start) / max(1, number - 1)
    while moment == 0 or start + moment / fps < end - _SAME_TIME:
        yield before
        moment += 1


def _decoded(video: _OpenVideo, max_lost_frames: int, *, lasting: bool = False) -> Iterator[Frame]:
    """The frames as they decode. Raises ValueError where they take too long, are too many or, at the end, too few."""
    count, started = 0, time.monotonic()
    pixels, seconds = video.decoder.height * video.decoder.width, _most_seconds(video.path)
    for count, frame in enumerate(video.decoder.frames(lasting=lasting), start=1):
        if time.monotonic() - started > seconds or count * pixels > MAX_PIXELS:
            raise ValueError(
                f"{video.path}: found no end after {count:,} frames, expected at most {MAX_PIXELS:,} pixels in all"
                f" and {seconds:,.0f} seconds; cut the video"
            )
        yield frame
    lost = video.decoder.broken
    if video.frames is not None:
        lost = max(0, video.frames - count - video.decoder.leading)
    if lost > max_lost_frames:
        found = f"{lost} pieces of it do not" if video.frames is None else f"{count} of its {video.frames} frames"
        allow = f" or allow for it (--max-lost-frames {lost})" if count else ""
        other = "" if has_av() else f"; {EXTRA} tells these apart"
        raise ValueError(
            f"{video.path}: {found} decode, expected all; it is damaged, or was cut without encoding it anew{other}:"
            f" fetch it again, convert it, leave it out{allow}"
        )


def _most_seconds(path: Path) -> float:
    return MAX_SECONDS + SECONDS_PER_MEGABYTE * path.stat().st_size / 2**20


def _most_frames(video: _OpenVideo, shape: tuple[int, ...]) -> int:
    """How many frames of `shape` one call may return."""
    of_this_file = MAX_BYTES_PER_BYTE * size_on_disk(video.path)
    return max(1, min(MAX_BYTES, max(MAX_BYTES_OF_ANY, of_this_file)) // math.prod(shape))


def _refuse_more(path: Path | str, frames: int, most: int, shape: tuple[int, ...]) -> None:
    if frames > most:
        raise ValueError(
            f"{path}: {frames:,} or more frames of {shape[1]}x{shape[0]}x{shape[2]}, expected at most {most:,} from a"
            " file of this size; ask for smaller or fewer frames (image size, stride)"
        )


def prepare(image: npt.NDArray[np.uint8], image_size: Size | None, grey: bool) -> npt.NDArray[np.uint8]:
    """One frame (H, W, 3) cropped, coloured and scaled: (H, W, C)."""
    if isinstance(image_size, int):
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        image = image[top : top + side, left : left + side]
        image_size = (image_size, image_size)
    if grey:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    if image_size is not None:
        by = cv2.INTER_AREA if math.prod(image_size) < math.prod(image.shape[:2]) else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, image_size[::-1], interpolation=by), np.uint8)
    return image.reshape(*image.shape[:2], -1)


def _folder_or_file(path: Path) -> tuple[Decoder, int | None]:
    """The decoder, and how many frames must decode, None where the container does not say."""
    if path.is_dir():
        images = ImageFolder(path)
        return images, images.stated
    try:
        in_container = frames_in_container(path)
    except DamagedError as error:
        raise ValueError(f"{path}: {error}; fetch or convert it again") from error
    try:
        return open_decoder(path, MAX_PIXELS_PER_FRAME), in_container
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@contextmanager
def _opened(path: Path | str) -> Iterator[_OpenVideo]:
    """The video with its decoder, refused where no frame of it should be decoded."""
    path = Path(path)
    if not path.is_file() and not path.is_dir():
        raise FileNotFoundError(f"{path}: no such file; expected a video file")
    decoder, in_container = _folder_or_file(path)
    try:
        height, width = decoder.height, decoder.width
        if width * height == 0:
            raise ValueError(
                f"{path}: nothing of it can be shown, expected pictures; it may be cut from a longer video"
            )
        if width * height > MAX_PIXELS_PER_FRAME or width * height * decoder.stated > MAX_PIXELS:
            raise ValueError(
                f"{path}: states {decoder.stated} frames of {width}x{height}, expected at most"
                f" {MAX_PIXELS_PER_FRAME:,} pixels per frame and {MAX_PIXELS:,} in all; cut or scale the video"
            )
        yield _OpenVideo(path, decoder, in_container)
    finally:
        decoder.close()
