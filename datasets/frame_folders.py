"""Folders of numbered images, such as Train001/001.tif or walk/clip3/img_00001.jpg: each is a video."""

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from .notes import note
from .videos import MAX_BYTES, MAX_BYTES_OF_ANY, MAX_BYTES_PER_BYTE, MAX_PIXELS_PER_FRAME, _prepare

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)")
_FRAMES = re.compile(r"(img|image|im|frame|rgb)[^a-z]*", re.IGNORECASE)  # among others, such as fields of optical flow


def is_frame_folder(path: Path | str) -> bool:
    """Whether `path` is a folder that holds a series of numbered images."""
    path = Path(path)
    return path.is_dir() and bool(image_series(entry.name for entry in path.iterdir()))


def image_series(names: Iterable[str]) -> list[str]:
    """Those of the names that are one series of two or more images, by their numbers: img_2.jpg before img_10.jpg.

    Where there are several, such as flow_x_1.jpg beside img_1.jpg, it is the one of frames. Empty where there is none
    or where that does not say which.
    """
    series: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for name in names:
        if (match := _NUMBERED.fullmatch(name)) and match[3].lower() in IMAGE_SUFFIXES and name[0] != ".":
            series[match[1], match[3].lower()].append((int(match[2]), name))
    found = {key: images for key, images in series.items() if len(images) > 1}
    if len(found) > 1:
        found = {(prefix, suffix): images for (prefix, suffix), images in found.items() if _FRAMES.fullmatch(prefix)}
    return [name for _, name in sorted(*found.values())] if len(found) == 1 else []


def image_files(path: Path | str) -> list[Path]:
    """The images of a folder in their order. Raises FileNotFoundError where it holds no series of them."""
    path = Path(path)
    names = image_series(entry.name for entry in path.iterdir())
    if not names:
        raise FileNotFoundError(
            f"{path}: a folder; expected a video file, or a folder of numbered images such as img_00001.jpg"
        )
    return [path / name for name in names]


def folder_frames(
    path: Path | str,
    *,
    image_size: int | None = None,
    stride: int = 1,
    grey: bool = False,
    first: int = 0,
    frames: int | None = None,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Every `stride`-th image of a folder from image `first` on, at most `frames`, each (H, W, C) as in `read_video`.

    Numbers that are missing in the series are noted. Raises as `image_files` and `_decoded` do.
    """
    files = image_files(path)
    _say_gaps(files)
    last = None if frames is None else first + frames * stride
    for image in _decoded(files[first:last:stride]):
        yield _prepare(image, image_size, grey)


def read_frame_folder(
    path: Path | str,
    *,
    image_size: int | None = None,
    stride: int = 1,
    grey: bool = False,
    first: int = 0,
    frames: int | None = None,
    least: int = 1,
) -> npt.NDArray[np.uint8]:
    """The images of a folder as `read_video` reads the frames of a file: (T, H, W, C), with its bounds and errors."""
    size = sum(file.stat().st_size for file in image_files(path))
    most = min(MAX_BYTES, max(MAX_BYTES_OF_ANY, MAX_BYTES_PER_BYTE * size))
    kept: list[npt.NDArray[np.uint8]] = []
    for frame in folder_frames(path, image_size=image_size, stride=stride, grey=grey, first=first, frames=frames):
        kept.append(frame)
        if len(kept) * frame.nbytes > most:
            raise ValueError(
                f"{path}: {len(kept):,} or more frames of {frame.nbytes:,} bytes, expected at most {most:,} bytes; ask"
                " for smaller or fewer frames (image size, stride)"
            )
    if len(kept) < max(least, 1):
        raise ValueError(
            f"{path}: {len(kept)} images (from {first}, stride {stride}), expected at least {max(least, 1)}; leave the"
            " folder out or ask for fewer"
        )
    return np.stack(kept)


def _decoded(paths: Sequence[Path]) -> Iterator[npt.NDArray[np.uint8]]:
    """The images as OpenCV gives them, blue first: (H, W, 3) uint8, all of one size.

    Raises ValueError that names the image that is none, is larger than `MAX_PIXELS_PER_FRAME`, or of another size than
    the first.
    """
    expected: tuple[int, int] | None = None
    for path in paths:
        width, height = _stated_size(path)
        expected = expected or (width, height)
        if (width, height) != expected or width * height > MAX_PIXELS_PER_FRAME:
            most = f"{expected[0]}x{expected[1]} as {paths[0].name}, and at most {MAX_PIXELS_PER_FRAME:,} pixels"
            raise ValueError(f"{path}: an image of {width}x{height}, expected {most}; scale or leave it out")
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None or image.shape[:2] != (height, width):
            raise ValueError(f"{path}: not an image that OpenCV can read; fetch it again, or leave it out")
        yield np.asarray(image, np.uint8)


def _say_gaps(paths: Sequence[Path]) -> None:
    """Note where numbers are missing in a series; every third number, say, is as regular as every one."""
    numbers = [int(match[2]) for path in paths if (match := _NUMBERED.fullmatch(path.name))]
    steps = np.diff(numbers)
    (step, regular), *_ = Counter(steps.tolist()).most_common(1)
    gaps = np.flatnonzero(steps > step)
    if len(gaps) and 2 * regular > len(steps):  # where most differ, the numbers are times
        between = f"{paths[gaps[0]].name} and {paths[gaps[0] + 1].name}"
        note(f"{paths[0].parent}: {len(gaps)} gaps in the numbers of its images, the first between {between}")


def _stated_size(path: Path) -> tuple[int, int]:
    """Width and height by the header of an image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused by our own bound
            with Image.open(path) as image:
                return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not an image that can be read ({error}); fetch it again, or leave it out") from error
