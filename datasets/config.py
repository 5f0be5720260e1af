"""What to read, as plain values that a run can store, and its flags. What is known of each data set is in its module.

Imports nothing heavy at the top, so that `--help` stays instant.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fields import PATHS, DataFields
from .flags import add_flags, as_flag
from .names import DATASETS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from .clips import Clips
    from .division import Division
    from .labelled import LabelledVideos
    from .source import GeneratedSource, StoredSource
    from .times import Clock
    from .video_arrays import VideoArrays


@dataclass(frozen=True)
class DataConfig(DataFields):
    """Where clips come from. A field that its data set does not read changes nothing, and its flag is refused."""

    def __post_init__(self) -> None:
        source = self.source
        for name in ("speed", "ignore_columns", "columns", "offsets", "image_size"):  # JSON gives lists
            if not isinstance(value := getattr(self, name), int):
                object.__setattr__(self, name, tuple(value))
        if not isinstance(self.image_size, int) and "image_size" in self.fields:
            square = source.square or self.random_crop
            if square or len(self.image_size) != 2:
                kind = "--random-crop" if self.random_crop else f"--dataset {self.dataset}"
                kind = f"{kind}, whose frames are square" if square else "height and width"
                raise ValueError(
                    f"--image-size {' '.join(map(str, self.image_size))}: expected one number{' or two' * (not square)}"
                    f" for {kind}"
                )
        if self.fps is not None and self.fps <= 0:
            raise ValueError(f"--fps {self.fps:g}: expected more than 0")
        if self.fps is not None and self.frame_stride != 1:
            raise ValueError(f"--fps {self.fps:g} and --frame-stride {self.frame_stride}: expected one of them")

    @property
    def source(self) -> StoredSource | GeneratedSource:
        """What is known of this data set. Raises ValueError where there is none of its name."""
        return _source_named(self.dataset)

    @property
    def fields(self) -> set[str]:
        """Names of the fields that this data set reads."""
        return self.source.fields_read(self)

    @property
    def generated(self) -> bool:
        """Whether clips are made when they are asked for, any number of them."""
        from .source import GeneratedSource

        return isinstance(self.source, GeneratedSource)

    def changed_by(self, given: dict[str, Any]) -> DataConfig:
        """This config with the flags that were given; other keys of `given` are ignored.

        Raises ValueError for a flag that would change nothing, so that nobody believes it did.
        """
        chosen = {field.name: given[field.name] for field in dataclasses.fields(self) if field.name in given}
        chosen |= {name: str(Path(chosen[name]).resolve()) for name in PATHS if name in chosen}
        if chosen.get("dataset", self.dataset) != self.dataset:  # these are places of another one
            chosen = dict.fromkeys(PATHS) | dict(_source_named(chosen["dataset"]).defaults) | chosen
        config = dataclasses.replace(self, **chosen)
        if config.data_dir is None and "data_dir" in config.fields and "download" in config.source.fields:
            config = dataclasses.replace(config, data_dir=str(Path("data").resolve()))
        idle = [name for name in chosen if name not in ("dataset", *config.fields) and name in given]
        if idle:
            flag, case = as_flag(idle[0]), config.source.unless(config, idle[0])
            raise ValueError(f"{flag} changes nothing for --dataset {config.dataset}{case}; leave it out")
        return config

    def facts(self) -> dict[str, Any]:
        """This config for a report: None for what its data set does not read."""
        return {name: value if name in ("dataset", *self.fields) else None for name, value in vars(self).items()}

    def settled(self, *, windows: bool) -> DataConfig:
        """This config with what the data decide, so that others are read as these were: of a file of sequences the
        order of the columns, the offsets of large values, and, unless `windows` are asked for, whether clips are whole.
        """
        return dataclasses.replace(self, **self.source.settled(self, windows=windows))

    def longest(self, shortest: int) -> int:
        """Steps of the longest sequence. Raises ValueError, naming it, where one has fewer than `shortest`."""
        from .sequences import longest

        return longest(self.arrays(shortest), shortest)

    def times(self) -> Mapping[str, Clock]:
        """By the names of the sequences, what the file says of the time of every step, in UTF-8; empty without that."""
        return self.source.times(self)

    def filmed(self, places: Sequence[tuple[str, int]]) -> list[npt.NDArray[np.uint8]]:
        """Of percepts of videos, small frames (H, W, 3) to look at, of videos by their names and of which number there.

        Nothing of other data.
        """
        return self.source.filmed(self, places)

    def divide(self, frames: int) -> Division | None:
        """Which videos or sequences train, validate and test, by this data set's rule; None of generated clips.

        `frames` is the length of clips. Real videos are decoded into the user's cache the first time. Raises as `open`.
        """
        from .division import Division
        from .source import GeneratedSource

        if isinstance(self.source, GeneratedSource):
            return None
        arrays = self.arrays(frames)
        return Division.of(arrays, self.source.cuts(self, arrays))

    def refuse_missing(self, frames: int, division: Division) -> None:
        """Raises ValueError where something that trains or validates is not there any more, or not what it was."""
        from .parts import refuse_missing

        refuse_missing(self.arrays(frames, division), division, self.data_dir)

    def arrays(self, frames: int, division: Division | None = None) -> VideoArrays:
        """Everything that is stored, see `StoredSource.arrays`."""
        from .source import StoredSource

        assert isinstance(self.source, StoredSource)
        return self.source.arrays(self, frames, division)

    def open(
        self,
        split: str,
        frames: int,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        shortest: int | None = None,
        division: Division | None = None,
    ) -> Clips:
        """The clips of `split`, `frames` frames each. `seed` and `device` matter to generated clips, which are endless.

        split:    `train`, `validation`, `test` or `all`.
        shortest: sequences of fewer frames, but at least so many, end in NaN; None is for those that have all. Other
                  data are never padded.
        division: which videos or sequences a run has in its parts; None divides them by this data set's rule. Of other
                  data than those that were divided `test` is all that the run was not trained on.

        The clips' `split` says what they are, `all` in the last case: then, as of `all`, they reach to the last frame.
        Raises FileNotFoundError or ValueError with the way out where the data cannot be used.
        """
        from .parts import choose
        from .source import GeneratedSource

        source = self.source
        if isinstance(source, GeneratedSource):
            return source.generate(self, split, frames, seed, device)
        if source.test_only and split in ("train", "validation"):
            raise ValueError(f"--dataset {source.name} is test data: train on moving-mnist, evaluate on this file")
        everything = source.arrays(self, frames, division)
        part = choose(everything, split, division, partial(source.cuts, self), self.data_dir)
        return source.clips(self, part, split, frames, shortest=shortest, seed=seed)

    def has_classes(self, frames: int) -> bool:
        """Whether `open_labelled` has something to open, clips of `frames` frames."""
        from .source import GeneratedSource

        source = self.source
        if isinstance(source, GeneratedSource):
            return True
        return source.labelled and self.arrays(frames).class_names != [""]

    def open_labelled(
        self,
        split: str,
        frames: int,
        *,
        task: str,
        clips: int,
        seed: int = 0,
        division: Division | None = None,
    ) -> LabelledVideos:
        """Videos with classes: to learn from, `development`, train and validation together, or for `test`.

        Of generated clips the first `clips`, of one digit each, labelled by `task`: `identity` or `direction`. Of real
        videos all, with their own classes. The `division` of a run on other data than these does not divide them.
        Raises ValueError for a data set without classes, and where the run of `division` trained on what would test.
        """
        from .labelled import label_videos
        from .parts import choose_labelled
        from .source import GeneratedSource

        source = self.source
        if isinstance(source, GeneratedSource):
            split = "train" if split == "development" else split
            return source.generate_labelled(self, split, frames, seed, task=task, clips=clips)
        if not source.labelled:
            raise ValueError(f"--dataset {source.name} has no classes; evaluate on another data set of the same frames")
        everything = source.arrays(self, frames, division)
        if everything.class_names == [""]:
            raise ValueError(f"{self.data_dir}: videos without classes, expected a folder of them for each: CLASS/NAME")
        arrays = choose_labelled(everything, split, division, partial(source.cuts, self), self.data_dir)
        crop = self.side if self.random_crop else None
        return label_videos(arrays, range(len(arrays.videos)), frames, crop=crop)


def _source_named(name: str) -> StoredSource | GeneratedSource:
    from .source import SOURCES

    if name in DATASETS and name not in SOURCES:
        import_module(f".{DATASETS[name]}", __package__)
    if name not in SOURCES:
        raise ValueError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}")
    return SOURCES[name]


def add_data_flags(parser: argparse.ArgumentParser, description: str | None = None) -> None:
    """The flags of `DataConfig`. A flag that is not given is absent from the namespace, so that it can be inherited."""
    group = parser.add_argument_group("data", description, argument_default=argparse.SUPPRESS)
    add_flags(group, DataConfig, dataset={"choices": DATASETS})
