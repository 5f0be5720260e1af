"""Video files: read into arrays, with every bound checked that a small or broken file could overstep.

OpenCV decodes. What a header states is used to refuse a file and for nothing else: frames are counted as they decode.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

MAX_PIXELS_PER_FRAME = 8192 * 8192
MAX_PIXELS = 2**42  # of all frames that a header states: six hours of 4K at 25 frames per second
MAX_BYTES = 2**32  # of the array that one call returns: a film of 200 KB can decode to 10 GB


class Video(NamedTuple):
    """A video file and what is known about it."""

    path: Path
    name: str  # unique within its data set: the path below the root without suffix, such as PushUps/v_PushUps_g01_c01
    label: str  # the class
    group: str  # who or what was filmed; videos of one group are never in two parts


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

    With `image_size` S the centre square of each frame is scaled to S x S: averaged when it shrinks, interpolated when
    it grows. Without, frames are as filmed.

    Raises FileNotFoundError, or ValueError that names the file where it is no whole video, where its frames exceed
    `MAX_PIXELS_PER_FRAME`, `MAX_PIXELS` or `MAX_BYTES`, change their size or are fewer than `least`.
    """
    bounds = (("image size", image_size, 1), ("stride", stride, 1), ("first frame", first, 0), ("frames", frames, 1))
    for what, value, lowest in bounds:
        if value is not None and value < lowest:
            raise ValueError(f"{what} {value}: expected at least {lowest}")
    kept: list[npt.NDArray[np.uint8]] = []
    kept_bytes = 0
    with _opened(path) as capture:
        shape = (int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), 3)
        index = -1
        while len(kept) != frames and capture.grab():
            index += 1
            if index < first or (index - first) % stride:
                continue
            decoded, frame = capture.retrieve()
            if not decoded or frame.shape != shape:
                found = f"is {frame.shape[1]}x{frame.shape[0]}" if decoded else "does not decode"
                raise ValueError(f"{path}: frame {index} {found}, expected {shape[1]}x{shape[0]} pixels throughout")
            kept.append(_prepare(frame.astype(np.uint8, copy=False), image_size, grey))
            kept_bytes += kept[-1].nbytes
            if kept_bytes > MAX_BYTES:
                raise ValueError(
                    f"{path}: the first {len(kept)} frames fill {kept_bytes:,} bytes, expected at most {MAX_BYTES:,};"
                    " ask for smaller or fewer frames (image size, stride)"
                )
    if len(kept) < max(least, 1):
        raise ValueError(
            f"{path}: {len(kept)} frames decode (from frame {first}, stride {stride}), expected at least"
            f" {max(least, 1)}; leave the file out or ask for fewer"
        )
    return np.stack(kept)


def count_frames(path: Path | str) -> int:
    """How many frames of a video decode, possibly none. Raises as `read_video` does for files that it cannot open."""
    frames = 0
    with _opened(path) as capture:
        while capture.grab():
            frames += 1
    return frames


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
def _opened(path: Path | str) -> Iterator[cv2.VideoCapture]:
    """The video as an open capture, refused where no frame of it should be decoded."""
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {found}; expected a video file")
    _refuse_cut_off(path)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it would print is raised below
    # The one backend, because others guess from the name (v_01.png is a series of images to them); the absolute path,
    # because FFmpeg takes names such as concat:... for instructions.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise ValueError(f"{path}: not a video that OpenCV can read; expected one such as .avi or .mp4")
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)  # zero or less where the header states none
        if width * height > MAX_PIXELS_PER_FRAME or width * height * frames > MAX_PIXELS:
            raise ValueError(
                f"{path}: states {frames:.0f} frames of {width:.0f}x{height:.0f}, expected at most"
                f" {MAX_PIXELS_PER_FRAME:,} pixels per frame and {MAX_PIXELS:,} in all; cut or scale the video"
            )
        yield capture
    finally:
        capture.release()


def _refuse_cut_off(path: Path) -> None:
    """FFmpeg makes up the missing part of a half-written last frame in these two formats; in others it drops it."""
    content = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(max(content - 2, 0))
        end = file.read()
    stated = 8 + int.from_bytes(start[4:], "little")
    if (start[:4] == b"RIFF" and content < stated) or (start[:4] == b"GIF8" and end != b"\0;"):
        expected = f"{stated:,} as its header states" if start[:4] == b"RIFF" else "an end mark"
        raise ValueError(f"{path}: cut off after {content:,} bytes, expected {expected}; fetch or convert it again")
