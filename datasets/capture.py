"""OpenCV's video reader, for local files alone and without a word of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2


def open_capture(path: Path, parameters: list[int]) -> cv2.VideoCapture:
    """OpenCV's FFmpeg on a local file, without what it would print.

    The one backend, because others guess from the name (v_01.png is a series of images to them); the absolute path,
    because FFmpeg takes names such as concat:... for instructions.
    """
    with silent():
        return cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, parameters)


@contextmanager
def silent() -> Iterator[None]:
    """OpenCV without its warnings."""
    logging: Any = getattr(cv2.utils, "logging", cv2)  # up to 4.12 the functions are in cv2 itself
    level = logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(level)
