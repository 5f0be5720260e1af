"""Moving MNIST, generated: digits that bounce inside a frame (Srivastava et al., 2015, section 4.1).

A clip is a pure function of (seed, split, index). Neither the batch it is made in, nor the number of workers, nor a
resumed run can change it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .clips import Clips
from .digits import DIGIT_SIZE, SPLITS, Digits, load_digits
from .fields import DataFields
from .labelled import LabelledVideos
from .names import DIGIT_LABELS, MOVING_MNIST
from .source import GeneratedSource, register

_SECTORS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")  # y grows downwards
_RANDOM_NUMBERS_PER_DIGIT = 8  # five are used; a multiple of four keeps every clip on a Philox counter of its own


class Trajectories(NamedTuple):
    """What the D digits of every clip are and where they go, frame by frame.

    digits:     (B, D) int64, index of the digit image.
    positions:  (B, T, D, 2) float32, x and y in pixels of the digit's top left corner; painted truncated to integers.
    velocities: (B, T, D, 2) float32, x and y in pixels per frame with which the digit leaves this frame.
    """

    digits: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float32]
    velocities: npt.NDArray[np.float32]


class Labels(NamedTuple):
    """classes: (B, D) int64, 0 to 9. positions and velocities: as in `Trajectories`."""

    classes: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float32]
    velocities: npt.NDArray[np.float32]


class MovingMNIST(Clips):
    """Clips of bouncing digits: item `i` is a uint8 tensor (T, 1, H, W), 0 to 255.

    Each digit starts anywhere in the free box (image size - 28 pixels), moves in any direction at a constant speed
    (3.6 px per frame is a tenth of the paper's box) and is reflected by the walls. Where digits overlap, the brighter
    pixel shows. `len` is `clips`, or unlimited (`endless`) where `clips` is None.

    Raises ValueError for an image smaller than a digit, an impossible speed or an unknown split.
    """

    def __init__(
        self,
        digits: Digits,
        split: str,
        *,
        seed: int = 0,
        clips: int | None = None,
        frames: int = 20,
        num_digits: int = 2,
        image_size: int = 64,
        speed: tuple[float, float] = (3.6, 3.6),
        device: torch.device | str = "cpu",
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
        if image_size < DIGIT_SIZE:
            raise ValueError(f"image size {image_size}: expected at least {DIGIT_SIZE}, the size of a digit")
        if not 0 <= speed[0] <= speed[1] < float("inf"):
            raise ValueError(f"speed {speed}: expected 0 <= lowest <= highest, in pixels per frame")
        if frames < 1 or num_digits < 1:
            raise ValueError(f"{frames} frames of {num_digits} digits: expected at least one of each")
        self.digits, self.split, self.seed, self.clips = digits, split, seed, clips
        self.frames, self.num_digits, self.image_size, self.speed = frames, num_digits, image_size, speed
        self.available = clips
        self.device = torch.device(device)
        self._images_on_device = torch.from_numpy(digits.images).to(self.device)

    @property
    def endless(self) -> bool:
        return self.clips is None

    def sample(self, clips: int) -> MovingMNIST:
        """The first `clips` of these clips, or as many as there are: they are in no order."""
        sampled = copy.copy(self)
        sampled.clips = clips if self.clips is None else min(clips, self.clips)
        return sampled

    def __len__(self) -> int:
        if self.clips is None:
            raise TypeError("an endless MovingMNIST has no length: give `clips`")
        return self.clips

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        """Clips `indices` as one batch (B, T, 1, H, W) uint8, painted on `device`."""
        trajectories = self.trajectories(indices)
        if self.device.type == "cpu":
            return torch.from_numpy(paint(self.digits.images, trajectories, self.image_size))
        return paint_on_device(self._images_on_device, trajectories, self.image_size)

    def label(self, index: int) -> str:
        """The digit, where a clip has one."""
        return str(self.labels([index]).classes[0, 0]) if self.num_digits == 1 else ""

    def labels(self, indices: Sequence[int]) -> Labels:
        """The truth behind clips `indices`: which digits, where, how fast."""
        trajectories = self.trajectories(indices)
        return Labels(self.digits.labels[trajectories.digits], trajectories.positions, trajectories.velocities)

    def trajectories(self, indices: Sequence[int]) -> Trajectories:
        """Which digits move where in clips `indices`."""
        uniform = self._uniform(np.asarray(indices, np.int64))  # (B, D, 5)
        digits = (uniform[..., 0] * len(self.digits.images)).astype(np.int64)
        box = float(self.image_size - DIGIT_SIZE)
        lowest, highest = self.speed
        speed = lowest + (highest - lowest) * uniform[..., 3]
        angle = 2 * np.pi * uniform[..., 4]
        position = box * uniform[..., 1:3]
        velocity = speed[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # (B, D, 2)
        positions = np.empty((len(indices), self.frames, self.num_digits, 2), np.float32)
        velocities = np.empty_like(positions)
        for t in range(self.frames):
            # As in the authors' generator, the first frame comes after the first move, and a digit that would
            # leave the box stops at the wall and turns round.
            position = position + velocity
            velocity = np.where(position <= 0, np.abs(velocity), np.where(position >= box, -np.abs(velocity), velocity))
            position = position.clip(0, box)
            positions[:, t], velocities[:, t] = position, velocity
        return Trajectories(digits, positions, velocities)

    def _uniform(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """(B, D, 8) numbers in [0, 1). Clip `i` owns a fixed stretch of one counter-based random stream."""
        per_clip = self.num_digits * _RANDOM_NUMBERS_PER_DIGIT
        key = np.array([self.seed, SPLITS.index(self.split)], np.uint64)
        runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)  # consecutive clips share one draw
        raw = [
            np.random.Philox(key=key).advance(int(run[0]) * per_clip // 4).random_raw(len(run) * per_clip)
            for run in runs
            if len(run)
        ]
        uniform = (np.concatenate(raw) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return uniform.reshape(len(indices), self.num_digits, _RANDOM_NUMBERS_PER_DIGIT)


def paint(images: npt.NDArray[np.uint8], trajectories: Trajectories, image_size: int) -> npt.NDArray[np.uint8]:
    """Paint digit images (N, 28, 28) along their trajectories: (B, T, 1, H, W) uint8, overlaid by maximum."""
    batch, frames, num_digits, _ = trajectories.positions.shape
    canvas = np.zeros((batch * frames, image_size, image_size), np.uint8)
    # (B * T, H - 27, W - 27, 28, 28): windows[n, y, x] is the place on frame n whose top left corner is (x, y)
    windows = np.lib.stride_tricks.sliding_window_view(canvas, (DIGIT_SIZE, DIGIT_SIZE), axis=(1, 2), writeable=True)
    x, y = np.moveaxis(trajectories.positions.astype(np.int64), -1, 0).reshape(2, batch * frames, num_digits)
    every_frame = np.arange(batch * frames)
    for digit in range(num_digits):
        place = (every_frame, y[:, digit], x[:, digit])
        image = np.repeat(images[trajectories.digits[:, digit]], frames, axis=0)  # (B * T, 28, 28)
        windows[place] = np.maximum(windows[place], image)
    return canvas.reshape(batch, frames, 1, image_size, image_size)


def paint_on_device(images: Tensor, trajectories: Trajectories, image_size: int) -> Tensor:
    """`paint`, bit for bit, on the device where `images` (N, 28, 28) uint8 lie; on the CPU, numpy is faster."""
    batch, frames, num_digits, _ = trajectories.positions.shape
    canvas = images.new_zeros(batch * frames * image_size * image_size)
    positions = torch.from_numpy(trajectories.positions).to(images.device).long().reshape(batch * frames, num_digits, 2)
    digits = torch.from_numpy(trajectories.digits).to(images.device)
    side = torch.arange(DIGIT_SIZE, device=images.device)
    pixels = side[:, None] * image_size + side  # (28, 28), of a digit in the corner of the first frame
    first_pixel = torch.arange(batch * frames, device=images.device) * image_size**2
    for digit in range(num_digits):
        corner = first_pixel + positions[:, digit, 1] * image_size + positions[:, digit, 0]  # (B * T,)
        place = corner[:, None, None] + pixels  # (B * T, 28, 28)
        image = images[digits[:, digit]].repeat_interleave(frames, dim=0)
        canvas[place] = torch.maximum(canvas[place], image)
    return canvas.reshape(batch, frames, 1, image_size, image_size)


def label_digits(clips: MovingMNIST, task: str, count: int) -> LabelledVideos:
    """The first `count` clips of a single moving digit, every clip a video of its own.

    `identity` is the digit's class. `direction` is the eighth of the circle, around right, down right, ..., into which
    the digit leaves the last frame. A single frame hardly knows it: only that a digit at a wall comes back from there.

    Raises ValueError for an unknown task and for clips of more than one digit.
    """
    if task not in DIGIT_LABELS:
        raise ValueError(f"unknown labels {task!r}: expected one of {', '.join(DIGIT_LABELS)}")
    if clips.num_digits != 1:
        raise ValueError(f"found clips of {clips.num_digits} digits, expected 1: a clip has one label")
    truth = clips.labels(range(count))
    every = np.arange(count)
    names = tuple(map(str, every))
    values = {"position": truth.positions[:, -1, 0], "velocity": truth.velocities[:, -1, 0]}
    if task == "identity":
        return LabelledVideos(clips, every, truth.classes[:, 0], tuple(map(str, range(10))), names, values)
    x, y = truth.velocities[:, -1, 0].T  # (N,) each, px per frame
    sectors = np.rint(np.arctan2(y, x) / (2 * np.pi / len(_SECTORS))).astype(np.int64) % len(_SECTORS)
    return LabelledVideos(clips, every, sectors, _SECTORS, names, values)


@register
class MovingDigits(GeneratedSource):
    name = MOVING_MNIST
    fields = ("digits", "num_digits", "image_size", "speed", "download")
    square = True
    convolutional: ClassVar[Mapping[str, Any]] = {"matching": True}

    def fields_read(self, config: DataFields) -> set[str]:
        return {"data_dir", *self.fields} if config.digits != "optical" else {*self.fields}

    def unless(self, config: DataFields, field: str) -> str:
        return " with the bundled digits" if field == "data_dir" else ""

    def generate(
        self, config: DataFields, split: str, frames: int, seed: int, device: torch.device | str
    ) -> MovingMNIST:
        return MovingMNIST(
            load_digits(config.digits, split, config.data_dir or "data", download=config.download),
            split,
            seed=seed,
            frames=frames,
            num_digits=config.num_digits,
            image_size=config.side,
            speed=config.speed,
            device=device,
        )

    def generate_labelled(
        self, config: DataFields, split: str, frames: int, seed: int, *, task: str, clips: int
    ) -> LabelledVideos:
        return label_digits(self.generate(replace(config, num_digits=1), split, frames, seed, "cpu"), task, clips)
