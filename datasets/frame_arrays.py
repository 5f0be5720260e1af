"""Frames that are already in one array: anybody's own, and the public Moving MNIST test file."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import open_npy
from .division import Cuts, Division
from .fields import DataFields
from .source import StoredSource, register
from .video_arrays import VideoArrays, VideoRecord

_CHANNELS = (1, 3)
_USUAL = "(T, H, W), (T, H, W, C), (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W) with C 1 or 3"
_SAMPLED = 16  # places along each axis at which frames are compared
_CLEARLY = 0.5  # neighbours along another axis differ by less than this share of those in time


def open_frames(path: Path | str, *, layout: str = "") -> VideoArrays:
    """The videos (T, H, W, C) of one uint8 array in a `.npy` file, read from disk as they are needed.

    Without `layout` the array is (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W) with C = 1 or 3, or a single video
    (T, H, W) or (T, H, W, C). `layout` names the axes of any other array in their order, such as `TNHW`; N and C may be
    missing. A video's name is its number.

    Raises FileNotFoundError, or ValueError for other types and shapes, and where frames seem to follow each other along
    the axis of videos.
    """
    path = Path(path)
    array = open_npy(path)
    if 0 in array.shape:
        raise ValueError(f"{path}: found shape {array.shape}, which holds nothing; expected at least one video")
    if array.dtype != np.uint8:
        raise ValueError(
            f"{path}: found {array.dtype} values, expected uint8, 0 to 255; save {_as_uint8(array)} instead"
        )
    axes = named = layout or _usual_axes(path, array.shape)
    if len(axes) != array.ndim or len(set(axes)) != len(axes) or not set("THW") <= set(axes) <= set("NTHWC"):
        raise ValueError(
            f"{path}: found shape {array.shape} and --layout {axes}, expected a letter for each axis: N (videos), T"
            " (frames), H, W, C (channels); all but N and C must be there"
        )
    for missing in set("NC") - set(axes):
        array, axes = array[None], missing + axes
    videos = array.transpose([axes.index(axis) for axis in "NTHWC"])
    if videos.shape[4] not in _CHANNELS:
        raise ValueError(
            f"{path}: found {videos.shape[4]} channels, expected 1 or 3; save the array without the others"
        )
    if not layout:
        _refuse_time_first(path, videos, named)
    records = [VideoRecord(str(index), "", str(index), videos.shape[1:], "uint8") for index in range(len(videos))]
    return VideoArrays(records, _Rows(videos).array)


class _Rows:
    """The rows of an array, one after the other."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array

    def array(self, index: int) -> npt.NDArray[Any]:
        return self._array[index]


def _usual_axes(path: Path, shape: tuple[int, ...]) -> str:
    """The letters of the axes of an array whose shape says them. Raises ValueError for one that does not."""
    if len(shape) == 3:
        return "THW"
    if len(shape) == 4 and shape[1] not in _CHANNELS:
        return "THWC" if shape[3] in _CHANNELS else "NTHW"
    if len(shape) == 5 and (shape[4] in _CHANNELS or shape[2] in _CHANNELS):
        return "NTHWC" if shape[4] in _CHANNELS else "NTCHW"
    advice = "; --layout TCHW reads pictures that follow each other as one video" if len(shape) == 4 else ""
    raise ValueError(f"{path}: found shape {shape}, expected {_USUAL}, or the letters of its axes (--layout){advice}")


def _as_uint8(array: npt.NDArray[Any]) -> str:
    """The call that turns frames of another type into uint8."""
    if array.dtype.kind == "b":
        return "255 * frames.astype('uint8')"
    if array.dtype.kind not in "uif":
        return "an array of numbers"
    sample = array[:: max(1, len(array) // _SAMPLED)]
    lowest, highest = float(sample.min()), float(sample.max())
    if not np.isfinite(highest - lowest):
        return "an array without NaN or infinite values"
    if lowest >= 0 and highest <= 255 and (array.dtype.kind in "ui" or highest > 1):
        return f"frames{'.round()' * (array.dtype.kind == 'f')}.clip(0, 255).astype('uint8')"
    if lowest >= 0 and highest <= 1:
        return "(255 * frames).round().clip(0, 255).astype('uint8')"
    scaled = f"255 * (frames - {lowest:g}) / {highest - lowest:g}" if lowest < 0 else f"frames * (255 / {highest:g})"
    return f"({scaled}).round().clip(0, 255).astype('uint8')"


def _refuse_time_first(path: Path, videos: npt.NDArray[Any], axes: str) -> None:
    """Raises ValueError where neighbours along the axis of videos (N, T, H, W, C) are more alike than those in time.

    The public Moving MNIST file is (T, N, H, W): read as videos, every frame would be of another one.
    """
    N, T = videos.shape[:2]
    if N < 2 or T < 2:
        return
    rows, columns = (np.unique(np.linspace(0, size - 2, _SAMPLED).astype(int)) for size in (N, T))
    here, later, beside = (
        videos[np.ix_(rows + down, columns + right)].astype(np.int16) for down, right in ((0, 0), (0, 1), (1, 0))
    )
    in_time, across = np.abs(later - here).mean(), np.abs(beside - here).mean()
    if across < _CLEARLY * in_time:
        swapped = axes.translate(str.maketrans("NT", "TN"))
        raise ValueError(
            f"{path}: its {N} videos change by {in_time:.3g} from frame to frame, and by {across:.3g} from video to"
            f" video: does time come first? --layout {swapped} reads it so, --layout {axes} as it was; the public"
            " Moving MNIST file is --dataset moving-mnist-file"
        )


def open_moving_mnist_file(data_dir: Path | str, *, download: bool = False) -> VideoArrays:
    """The public Moving MNIST test file: 10,000 videos (20, 64, 64, 1) uint8, memory-mapped.

    `data_dir` is the file itself or the folder that torchvision uses, with `MovingMNIST/mnist_test_seq.npy` in it. The
    file stores time first. All of it is test data: torchvision's "train" split is their first frames.
    """
    path = Path(data_dir)
    if path.suffix != ".npy":
        if download:
            import torchvision

            torchvision.datasets.MovingMNIST(path, download=True)
        path = path / "MovingMNIST" / "mnist_test_seq.npy"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; name it or the folder of MovingMNIST/mnist_test_seq.npy (--data-dir), or allow"
            " the download of 780 MB (--download)"
        )
    return open_frames(path, layout="TNHW")


@register
class Array(StoredSource):
    name = "array"
    fields = ("layout",)
    file = "FILE.npy"
    labelled = False

    def arrays(self, config: DataFields, frames: int, division: Division | None = None) -> VideoArrays:
        return open_frames(self.place(config), layout=config.layout)


@register
class MovingMNISTFile(StoredSource):
    name = "moving-mnist-file"
    fields = ("download",)
    test_only = True
    labelled = False

    def arrays(self, config: DataFields, frames: int, division: Division | None = None) -> VideoArrays:
        return open_moving_mnist_file(self.place(config), download=config.download)

    def cuts(self, config: DataFields, arrays: VideoArrays) -> Cuts:
        return {"train": [], "validation": [], "test": [(index, 0, None) for index in range(len(arrays.videos))]}
