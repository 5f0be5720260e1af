"""Folders of numbered images, such as Train001/001.tif or walk/clip3/img_00001.jpg: each is a video."""

import functools
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from .decoders import Frame, Picture, Place
from .notes import note

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


def size_on_disk(path: Path) -> int:
    """Bytes of a video file, or of all images of a folder."""
    return sum(file.stat().st_size for file in image_files(path)) if path.is_dir() else path.stat().st_size


class ImageFolder:
    """The `Decoder` of a folder of numbered images; images that are left out are not opened.

    Notes numbers that are missing in the series. Raises FileNotFoundError as `image_files`, and ValueError that names
    an image that is none, or not of the size of the first.
    """

    broken = leading = 0
    rate = 25.0  # which nobody stated

    def __init__(self, path: Path) -> None:
        self._path, self._files = path, image_files(path)
        _note_gaps(self._files)
        self.stated = len(self._files)
        self.width, self.height = _stated_size(self._files[0])

    def frames(self, *, lasting: bool, start: int | None = None) -> Iterator[Frame]:
        if lasting:
            raise ValueError(f"{self._path}: images have no times; leave --fps out, or take every Nth (--frame-stride)")
        for number, file in enumerate(self._files[start:], start or 0):
            yield Frame(number / self.rate, functools.partial(self._image, file), Place(number, number))

    def _image(self, file: Path) -> Picture:
        width, height = _stated_size(file)  # before anything is decoded
        if (width, height) != (self.width, self.height):
            raise ValueError(
                f"{file}: found {width}x{height} pixels, expected {self.width}x{self.height} as {self._files[0].name};"
                " scale it or leave it out"
            )
        image = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None or image.shape[:2] != (height, width):
            raise ValueError(f"{file}: not a whole image that can be read; fetch it again, or leave it out")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    def close(self) -> None:
        pass


def _note_gaps(paths: Sequence[Path]) -> None:
    """Note where numbers are missing; every third number, say, is as regular as every one."""
    numbers = [int(match[2]) for path in paths if (match := _NUMBERED.fullmatch(path.name))]
    steps = [after - before for before, after in pairwise(numbers)]
    (step, regular), *_ = Counter(steps).most_common(1)
    gaps = [index for index, found in enumerate(steps) if found > step]
    if gaps and 2 * regular > len(steps):  # where most differ, the numbers are times
        between = f"{paths[gaps[0]].name} and {paths[gaps[0] + 1].name}"
        note(f"{paths[0].parent}: {len(gaps)} gaps in the numbers of its images, the first between {between}")


def _stated_size(path: Path) -> tuple[int, int]:
    """Width and height by the header of an image."""
    from PIL import Image  # not at the top: who has no images needs no Pillow

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused by our own bound
            with Image.open(path) as image:
                return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not an image that can be read ({error}); fetch it again, or leave it out") from error
