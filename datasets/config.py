"""What to read, as plain values that a run can store, and the one place that turns them into a data set.

Imports nothing heavy at the top, so that `--help` stays instant.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from .arrays import FrameArray
    from .moving_mnist import MovingMNIST

DIGITS = ("optical", "mnist", "fashion-mnist", "kmnist")
_GENERATOR = ("digits", "num_digits", "image_size", "speed")  # what only `moving-mnist` reads
DATASETS = ("moving-mnist", "moving-mnist-file", "array")


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from. `digits`, `num_digits`, `image_size` and `speed` matter to `moving-mnist` alone."""

    dataset: str = "moving-mnist"
    data_dir: str | None = None
    digits: str = "optical"
    num_digits: int = 2
    image_size: int = 64  # pixels
    speed: tuple[float, float] = (3.6, 3.6)  # pixels per frame, lowest and highest
    download: bool = False

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"unknown data set {self.dataset!r}: expected one of {', '.join(DATASETS)}")
        object.__setattr__(self, "speed", tuple(self.speed))  # JSON gives a list

    def changed_by(self, given: dict[str, Any]) -> DataConfig:
        """This config with the flags that were given; other keys of `given` are ignored.

        Raises ValueError for a flag that would change nothing, so that nobody believes it did.
        """
        chosen = {field.name: given[field.name] for field in dataclasses.fields(self) if field.name in given}
        if "data_dir" in chosen:
            chosen["data_dir"] = str(Path(chosen["data_dir"]).resolve())
        elif chosen.get("dataset", self.dataset) != self.dataset:
            chosen["data_dir"] = None  # the place of another data set
        config = dataclasses.replace(self, **chosen)
        reads_files = config.dataset != "moving-mnist" or config.digits != "optical"
        if config.data_dir is None and reads_files and config.dataset != "array":
            config = dataclasses.replace(config, data_dir=str(Path("data").resolve()))
        idle: list[str] = []
        if config.dataset != "moving-mnist":
            idle = [name for name in _GENERATOR if name in chosen]
        elif config.digits == "optical" and "data_dir" in chosen:
            idle = ["data_dir"]
        if idle:
            digits = " with the bundled digits" if idle == ["data_dir"] else ""
            flag = "--" + idle[0].replace("_", "-")
            raise ValueError(f"{flag} changes nothing for --dataset {config.dataset}{digits}; leave it out")
        return config

    def facts(self) -> dict[str, Any]:
        """This config for a report: None for what its data set does not read."""
        facts = dataclasses.asdict(self)
        if self.dataset != "moving-mnist":
            facts |= dict.fromkeys(_GENERATOR)
        return facts

    def open(
        self, split: str, frames: int, *, seed: int = 0, device: torch.device | str = "cpu"
    ) -> MovingMNIST | FrameArray:
        """The clips of `split`, `frames` frames each. `seed` and `device` matter to generated clips, which are endless.

        Raises FileNotFoundError or ValueError with the way out where the data cannot be used.
        """
        from .arrays import FrameArray, open_moving_mnist_file, open_npy
        from .digits import load_digits
        from .moving_mnist import MovingMNIST

        if self.dataset == "moving-mnist":
            digits = load_digits(self.digits, split, self.data_dir or "data", download=self.download)
            return MovingMNIST(
                digits,
                split,
                seed=seed,
                frames=frames,
                num_digits=self.num_digits,
                image_size=self.image_size,
                speed=self.speed,
                device=device,
            )
        if self.dataset == "moving-mnist-file":
            if split in ("train", "validation"):
                raise ValueError(
                    "the public Moving MNIST file is test data: train on moving-mnist, evaluate on this file"
                )
            videos = open_moving_mnist_file(self.data_dir or "data", download=self.download)
            return FrameArray(videos, "all", frames=frames, name="mnist_test_seq.npy")
        if self.data_dir is None:
            raise ValueError("the data set 'array' needs its file: --data-dir FILE.npy")
        return FrameArray(open_npy(self.data_dir), split, frames=frames, name=Path(self.data_dir).name)


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `DataConfig`. A flag that is not given is absent from the namespace, so that it can be inherited."""
    group = parser.add_argument_group("data", argument_default=argparse.SUPPRESS)
    group.add_argument("--dataset", choices=DATASETS, help="where clips come from (default: moving-mnist, generated)")
    group.add_argument("--data-dir", metavar="PATH", help="folder of MNIST/raw (default: data) or .npy file")
    group.add_argument("--digits", choices=DIGITS, help="images that move (default: optical, bundled, not MNIST)")
    group.add_argument("--num-digits", type=int, metavar="N", help="digits per clip (default: 2)")
    group.add_argument(
        "--image-size", type=int, metavar="PX", help="height and width of generated frames (default: 64)"
    )
    group.add_argument(
        "--speed", type=float, nargs=2, metavar=("LOW", "HIGH"), help="pixels per frame, a range (default: 3.6 3.6)"
    )
    group.add_argument(
        "--download", action="store_true", help="fetch missing files; nothing is downloaded without this"
    )
