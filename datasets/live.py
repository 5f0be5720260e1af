"""Frames of cameras and of addresses as they come: nothing is known of how many there will be."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from .capture import silent
from .containers import MAX_PIXELS_PER_FRAME
from .decoders import captured
from .videos import Size, at_rate, prepare

_ADDRESS = re.compile(r"(https?|rtsps?|rtmps?)://.+")  # of FFmpeg's protocols those that read no local file
_CAMERA = re.compile(r"[0-9]{1,9}")
_WAIT = 10_000  # milliseconds, for an address to answer
_RATE = 25.0  # frames per second, where a camera does not say it


def is_live(source: str) -> bool:
    """Whether it is the number of a camera or the address of a video."""
    return _is_camera(source) or _ADDRESS.fullmatch(source) is not None


def _is_camera(source: str) -> bool:
    return _CAMERA.fullmatch(source) is not None


def live_frames(
    source: str, *, image_size: Size | None = None, stride: int = 1, fps: float | None = None, grey: bool = False
) -> Iterator[npt.NDArray[np.uint8]]:
    """The frames of a camera by its number, or of an address, as `video_frames` gives those of a file, until they end.

    Raises ValueError for what OpenCV cannot open, and where a camera stops.
    """
    capture = _open(source)
    try:
        every = captured(capture, capture.get(cv2.CAP_PROP_FPS) or _RATE, lasting=fps is not None)
        for frame in itertools.islice(at_rate(every, fps), 0, None, stride):
            if (image := frame.image()) is None:
                raise ValueError(f"{source}: gives a frame that does not decode")
            yield prepare(image, image_size, grey)
    finally:
        capture.release()
    if _is_camera(source):
        raise ValueError(f"camera {source}: gives no more frames; see whether it is still connected")


def _open(source: str) -> cv2.VideoCapture:
    with silent():
        if _is_camera(source):
            capture = cv2.VideoCapture(int(source))
        else:
            times = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _WAIT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _WAIT]
            capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, times)
    what = f"camera {source}" if _is_camera(source) else source
    if not capture.isOpened():
        raise ValueError(
            f"{what}: OpenCV cannot open it; expected the number of a camera, from 0, or the address of a video"
        )
    width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MAX_PIXELS_PER_FRAME:
        raise ValueError(f"{what}: found frames of {width}x{height}, expected at most {MAX_PIXELS_PER_FRAME:,} pixels")
    return capture
