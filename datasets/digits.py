"""Digit images: the raw material of Moving MNIST.

`optical` needs no files and no network: the 1,797 optical digits of 8x8 pixels inside scikit-learn, enlarged. The
others are MNIST and its look-alikes, read by torchvision from files that are already there or from a download that
was asked for. In every case the train, validation and test digits are different images.
"""

import gzip
import hashlib
import os
import shutil
import stat
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .names import DIGITS

DIGIT_SIZE = 28  # pixels, height and width of every digit image, as in MNIST
SPLITS = ("train", "validation", "test")
TORCHVISION_CLASSES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}

_VALIDATION_DIGITS = 5_000  # the last of torchvision's 60,000 training digits


class Digits(NamedTuple):
    """images: (N, 28, 28) uint8, 0 is background. labels: (N,) int64, 0 to 9."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def load_digits(
    name: str = "optical", split: str = "train", data_dir: Path | str = "data", *, download: bool = False
) -> Digits:
    """The digit images of one split; no image is in two splits.

    `data_dir` is the folder that contains torchvision's `MNIST/raw` (or `FashionMNIST/raw`, `KMNIST/raw`); the
    compressed files alone suffice. Raises ValueError for an unknown name or split and for damaged files,
    FileNotFoundError where the files are missing and `download` is false.
    """
    if name not in DIGITS:
        raise ValueError(f"unknown digits {name!r}: expected one of {', '.join(DIGITS)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if name == "optical":
        return _optical_digits(split)
    return _torchvision_digits(TORCHVISION_CLASSES[name], split, Path(data_dir), download)


def _optical_digits(split: str) -> Digits:
    """Consecutive blocks of the bundled set, because neighbours were written by the same hand.

    Each 8x8 image (values 0 to 16) is enlarged to 20x20 in the middle of 28x28, the box that MNIST digits fill, and
    its contrast doubled, which leaves edges as narrow as MNIST's (entropy 47 nats per digit, MNIST 45).
    """
    images_8x8, labels = _bundled_digits()
    block = {"train": slice(0, 1257), "validation": slice(1257, 1437), "test": slice(1437, 1797)}[split]
    images = np.zeros((block.stop - block.start, DIGIT_SIZE, DIGIT_SIZE), np.uint8)
    for canvas, small in zip(images, images_8x8[block], strict=True):
        enlarged = cv2.resize(small / 16, (20, 20), interpolation=cv2.INTER_CUBIC)  # about 0 to 1
        canvas[4:24, 4:24] = np.rint(255 * np.clip(2 * enlarged - 0.5, 0, 1))
    return Digits(images, labels[block])


def _bundled_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """`sklearn.datasets.load_digits`, images (N, 8, 8) and labels (N,), without the second that importing it takes."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("scikit-learn, which brings the digits, is not installed", name="sklearn")
    table = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", dtype=np.uint8, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def _torchvision_digits(class_name: str, split: str, data_dir: Path, download: bool) -> Digits:
    import torchvision

    torchvision_class = getattr(torchvision.datasets, class_name)
    if data_dir.name == class_name:  # the folder `MNIST` itself was given instead of its parent
        data_dir = data_dir.resolve().parent
    if download:
        try:
            torchvision_class(data_dir, download=True)
        except (OSError, RuntimeError) as error:
            raise OSError(f"{class_name} cannot be downloaded into {data_dir}: {error}") from error
    root = _unpacked_root(torchvision_class, data_dir)
    for name, _ in torchvision_class.resources:
        _check_size(root / class_name / "raw" / name.removesuffix(".gz"))
    try:
        dataset = torchvision_class(root, train=split != "test")
    except (ValueError, AssertionError, RuntimeError) as error:
        raise ValueError(
            f"{root / class_name}: torchvision cannot read these files ({error}); unpack them again"
        ) from error
    images, labels = dataset.data.numpy(), dataset.targets.numpy()
    if split == "train":
        images, labels = images[:-_VALIDATION_DIGITS], labels[:-_VALIDATION_DIGITS]
    elif split == "validation":
        images, labels = images[-_VALIDATION_DIGITS:], labels[-_VALIDATION_DIGITS:]
    return Digits(images, labels)


def _check_size(path: Path) -> None:
    """Raises ValueError where an idx file is not as large as its header says: bytes, in one or three dimensions."""
    with path.open("rb") as file:
        start = file.read(16)
    dimensions = start[3] if len(start) > 3 else 0
    sizes = [int.from_bytes(start[at : at + 4], "big") for at in range(4, 4 + 4 * dimensions, 4)]
    if start[:3] != b"\0\0\x08" or dimensions not in (1, 3) or 4 + 4 * dimensions + prod(sizes) != path.stat().st_size:
        raise ValueError(f"{path}: its header is not that of {path.stat().st_size:,} bytes of digits; unpack it again")


def _unpacked_root(torchvision_class: Any, data_dir: Path) -> Path:
    """A root folder in which torchvision finds unpacked files, unpacking them first if need be.

    Unpacks beside the compressed files or, where that folder is read-only, in the user's cache.
    """
    from torchvision.datasets.utils import check_integrity

    class_name = torchvision_class.__name__
    raw = data_dir / class_name / "raw"
    archives = {raw / name: md5 for name, md5 in torchvision_class.resources}
    if all(archive.with_suffix("").is_file() for archive in archives):
        return data_dir
    missing = [archive.name for archive in archives if not archive.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{raw}: no {', '.join(missing)}; name the folder that contains {class_name}/raw (--data-dir), or allow"
            " the download of about 12 to 30 MB (--download)"
        )
    for archive, md5 in archives.items():
        if not check_integrity(str(archive), md5):
            raise ValueError(f"{archive}: damaged, its MD5 is not {md5}; fetch the file again (--download)")
    # The mode is asked too, because root may write where the owner of the files wished nobody to.
    if os.access(raw, os.W_OK) and raw.stat().st_mode & stat.S_IWUSR:
        root = data_dir
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        root = cache / "video_ae" / hashlib.sha256("".join(archives.values()).encode()).hexdigest()[:12]
    target_folder = root / class_name / "raw"
    target_folder.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        target = target_folder / archive.stem
        if target.is_file():
            continue
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")  # renamed when whole: a kill leaves no stump
        with gzip.open(archive) as packed, partial.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        partial.replace(target)
    return root
