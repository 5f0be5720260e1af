"""What follows the end of one video, as a file: frames to look at, or numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...config import FUTURE
from ...datasets.video_arrays import save_rows
from ...files import free_place, new_file
from .opened import Opened

_RATE = 10.0  # frames per second
_SMALLEST = 256  # pixels of a picture's shorter side: smaller frames are enlarged by a whole number


def write_future(opened: Opened, arguments: argparse.Namespace) -> None:
    """Predict the frames that follow the last ones of the only video in the data, and write them to `--out`.

    `.npy` holds them as they are, (T, H, W, C) uint8; `.gif` and `.mp4` show the frames that were read before them, and
    are enlarged. Raises ValueError for a number of clips, more than one video, features, and other suffixes.
    """
    suffixes = (".gif", ".mp4", ".npy")
    if arguments.clips is not None:
        raise ValueError(f"--clips {arguments.clips}: --out writes the future of one video, its end; leave --clips out")
    out = free_place(arguments.out, *suffixes)
    model, config = opened.model, opened.model.config
    if FUTURE not in model.decoders or config.features:
        raise ValueError("--out needs a model of frames with a future decoder: train one with --composite or --predict")
    if opened.data.generated:
        raise ValueError(f"--out writes the future of one video, not of --dataset {opened.data.dataset}")
    clips = opened.data.open("all", config.input_frames, seed=arguments.seed, division=opened.division)
    names = {clips.place(index)[0] for index in range(len(clips))}
    if len(names) != 1:
        raise ValueError(
            f"--out writes the future of one video, found {len(names)} videos: name its file, --data-dir FILE"
        )
    last = clips.__getitems__([len(clips) - 1]).to(opened.device)  # ends with the video
    future = model.predict(last, arguments.future_frames)
    read, coming = (frames[0].permute(0, 2, 3, 1).cpu().numpy() for frames in (last, future))  # (T, H, W, C)
    shown = np.concatenate([read, coming])
    if out.suffix == ".npy":
        save_rows(out, coming)  # np.save says nothing of what does not fit on the disk
    elif out.suffix == ".gif":
        with new_file(out) as partial:
            _save_gif(partial, _enlarged(shown), first=len(read))
    else:
        with new_file(out) as partial:
            if not _save_video(partial, _enlarged(shown)):
                raise OSError(f"{out}: OpenCV writes no .mp4 here, or the disk is full; write a .gif or a .npy")
    print(f"{len(coming)} frames that follow the last {len(read)} of {names.pop()}\nfuture   {out}")


def _enlarged(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(T, H, W, 3), sides a whole multiple of what they were."""
    scale = -(-_SMALLEST // min(frames.shape[1:3])) if min(frames.shape[1:3]) < _SMALLEST else 1
    return np.broadcast_to(frames.repeat(scale, axis=1).repeat(scale, axis=2), (*_larger(frames, scale), 3))


def _larger(frames: npt.NDArray[np.uint8], scale: int) -> tuple[int, int, int]:
    return len(frames), frames.shape[1] * scale, frames.shape[2] * scale


def _save_gif(path: Path, frames: npt.NDArray[np.uint8], first: int) -> None:
    """An animation; what is predicted, from the frame `first` on, has an orange edge."""
    framed = np.pad(frames, ((0, 0), (4, 4), (4, 4), (0, 0)), constant_values=255)
    edge = np.array([230, 120, 20], np.uint8)
    for side in (np.s_[first:, :4], np.s_[first:, -4:], np.s_[first:, :, :4], np.s_[first:, :, -4:]):
        framed[side] = edge
    pictures = [Image.fromarray(frame) for frame in framed]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=round(1000 / _RATE), loop=0)


def _save_video(path: Path, frames: npt.NDArray[np.uint8]) -> bool:
    """Whether all of them are in the file; OpenCV says nothing of what it could not write."""
    import cv2

    from ...datasets.videos import count_frames

    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), _RATE, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))  # blue, green, red
    writer.release()
    try:
        return count_frames(path) == len(frames)
    except (OSError, ValueError):
        return False
