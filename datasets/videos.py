"""Video files: read into arrays, with every bound checked that a small or broken file could overstep.

OpenCV decodes. What headers state is used to refuse a file before anything is decoded, and for nothing else: frames are
counted as they decode. Where the container says how many there are, fewer are an error, not a shorter film.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .containers import DamagedError, frames_in_container

MAX_PIXELS_PER_FRAME = 2**24  # twice 4K; a decoder holds a dozen such frames
MAX_PIXELS = 2**42  # of all frames that are decoded: six hours of 4K at 25 frames per second
MAX_SECONDS = 3600  # for one file
# Of the array that one call returns: a film of 200 KB can decode to 10 GB. Small files may fill less.
MAX_BYTES, MAX_BYTES_OF_ANY, MAX_BYTES_PER_BYTE = 2**32, 2**28, 2**11
SUFFIXES = (
    *(".avi", ".mp4", ".m4v", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".wmv"),
    *(".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".dv", ".mxf", ".gif"),
)
_THREADS = 4  # of a decoder; each holds frames


class Video(NamedTuple):
    """A video file and what is known about it."""

    path: Path
    name: str  # unique within its data set: the path below the root without suffix, such as PushUps/v_PushUps_g01_c01
    label: str  # the class
    group: str  # who or what was filmed; videos of one group are never in two parts
    official: str = ""  # the part that its folder or a list put it in: train, validation or test


def read_video(
    path: Path | str,
    *,
    image_size: int | None = None,
    stride: int = 1,
    grey: bool = False,
    first: int = 0,
    frames: int | None = None,
    least: int = 1,
) -> npt.NDArray[np.uint8]:
    """Every `stride`-th frame of a video from frame `first` on, at most `frames`: (T, H, W, C) uint8, C = 3 (RGB) or 1.

    A folder of numbered images is a video, too: see `frame_folders`.
    With `image_size` S the centre square of each frame is scaled to S x S: averaged when it shrinks, interpolated when
    it grows. Without, frames are as filmed.

    Raises FileNotFoundError, or ValueError that names the file where it is no whole video, where its frames exceed
    `MAX_PIXELS_PER_FRAME`, `MAX_PIXELS`, `MAX_SECONDS` or `MAX_BYTES`, change their size or are fewer than `least`.
    With `frames`, what comes behind them is not decoded, so that nothing is known of it.
    """
    bounds = (("image size", image_size, 1), ("stride", stride, 1), ("first frame", first, 0), ("frames", frames, 1))
    for what, value, lowest in bounds:
        if value is not None and value < lowest:
            raise ValueError(f"{what} {value}: expected at least {lowest}")
    if Path(path).is_dir():
        from .frame_folders import read_frame_folder

        return read_frame_folder(
            path, image_size=image_size, stride=stride, grey=grey, first=first, frames=frames, least=least
        )
    with _opened(path) as film:
        height, width, _ = film.shape
        shape = (image_size or height, image_size or width, 1 if grey else 3)
        most = _most_frames(film, shape)
        expected = 0 if film.frames is None else max(0, -(-(film.frames - first) // stride))
        if frames is not None:
            expected = min(expected, frames)
        _refuse_more(path, expected, most, shape)
        kept = np.empty((min(most, max(expected, 16)), *shape), np.uint8)
        count = 0
        for index in _decoded(film):
            if index < first or (index - first) % stride:
                continue
            decoded, frame = film.capture.retrieve()
            if not decoded or frame.shape != film.shape:
                found = f"is {frame.shape[1]}x{frame.shape[0]}" if decoded else "does not decode"
                raise ValueError(f"{path}: frame {index} {found}, expected {width}x{height} pixels throughout")
            _refuse_more(path, count + 1, most, shape)
            if count == len(kept):
                kept.resize((min(most, count + count // 4 + 1), *shape), refcheck=False)  # in place: no second copy
            kept[count] = _prepare(frame.astype(np.uint8, copy=False), image_size, grey)
            count += 1
            if count == frames:
                break
    if count < max(least, 1):
        raise ValueError(
            f"{path}: {count} frames decode (from frame {first}, stride {stride}), expected at least"
            f" {max(least, 1)}; leave the file out or ask for fewer"
        )
    kept.resize((count, *shape), refcheck=False)
    return kept


def count_frames(path: Path | str) -> int:
    """How many frames of a video decode, possibly none. Raises as `read_video` does for files that are not whole."""
    if Path(path).is_dir():
        from .frame_folders import image_files

        return len(image_files(path))
    with _opened(path) as film:
        return sum(1 for _ in _decoded(film))


class _Film(NamedTuple):
    """An open video. `frames` is how many must decode, None where its container does not say."""

    path: Path
    capture: cv2.VideoCapture
    shape: tuple[int, int, int]
    frames: int | None


def _decoded(film: _Film) -> Iterator[int]:
    """The numbers of the frames as they decode, each to be retrieved or not.

    Raises ValueError where they take too long, are too many or, at the end, too few.
    """
    index, started = -1, time.monotonic()
    while film.capture.grab():
        index += 1
        if time.monotonic() - started > MAX_SECONDS or (index + 1) * film.shape[0] * film.shape[1] > MAX_PIXELS:
            raise ValueError(
                f"{film.path}: found no end after {index + 1:,} frames, expected at most {MAX_PIXELS:,} pixels in all"
                f" and {MAX_SECONDS:,} seconds; cut the video"
            )
        yield index
    if film.frames is not None and index + 1 < film.frames:
        raise ValueError(
            f"{film.path}: {index + 1} of its {film.frames} frames decode, expected all; it is damaged: fetch it again,"
            " convert it, or leave it out"
        )


def _most_frames(film: _Film, shape: tuple[int, int, int]) -> int:
    """How many frames of `shape` one call may return."""
    of_this_file = MAX_BYTES_PER_BYTE * film.path.stat().st_size
    return max(1, min(MAX_BYTES, max(MAX_BYTES_OF_ANY, of_this_file)) // (shape[0] * shape[1] * shape[2]))


def _refuse_more(path: Path | str, frames: int, most: int, shape: tuple[int, int, int]) -> None:
    if frames > most:
        raise ValueError(
            f"{path}: {frames:,} or more frames of {shape[1]}x{shape[0]}x{shape[2]}, expected at most {most:,} from a"
            " file of this size; ask for smaller or fewer frames (image size, stride)"
        )


def _prepare(bgr: npt.NDArray[np.uint8], image_size: int | None, grey: bool) -> npt.NDArray[np.uint8]:
    """One frame (H, W, 3) as OpenCV gives it, cropped, coloured and scaled: (H, W, C)."""
    height, width = bgr.shape[:2]
    side = min(height, width)
    if image_size is not None:
        top, left = (height - side) // 2, (width - side) // 2
        bgr = bgr[top : top + side, left : left + side]
    frame = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY if grey else cv2.COLOR_BGR2RGB)
    if image_size is not None:
        by = cv2.INTER_AREA if image_size < side else cv2.INTER_LINEAR
        frame = cv2.resize(frame, (image_size, image_size), interpolation=by)
    return np.asarray(frame, np.uint8).reshape(*frame.shape[:2], -1)


@contextmanager
def _opened(path: Path | str) -> Iterator[_Film]:
    """The video as an open capture, refused where no frame of it should be decoded."""
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {found}; expected a video file")
    try:
        in_container = frames_in_container(path)
    except DamagedError as error:
        raise ValueError(f"{path}: {error}; fetch or convert it again") from error
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it would print is raised below
    # The one backend, because others guess from the name (v_01.png is a series of images to them); the absolute path,
    # because FFmpeg takes names such as concat:... for instructions.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, _THREADS])
    cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise ValueError(f"{path}: not a video that OpenCV can read; expected one such as .avi or .mp4")
        width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)  # zero or less where the header states none
        if not 0 < width * height <= MAX_PIXELS_PER_FRAME or width * height * frames > MAX_PIXELS:
            raise ValueError(
                f"{path}: states {frames:.0f} frames of {width}x{height}, expected at most"
                f" {MAX_PIXELS_PER_FRAME:,} pixels per frame and {MAX_PIXELS:,} in all; cut or scale the video"
            )
        yield _Film(path, capture, (height, width, 3), in_container)
    finally:
        capture.release()
