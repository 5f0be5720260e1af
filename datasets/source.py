"""What a data set says of itself: what it is called, what it reads, how it is opened, what it asks of a model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from .clips import Clips
from .division import Cuts, Division, cut_in_blocks
from .fields import DataFields
from .groups import divide, division_notes
from .labelled import LabelledVideos
from .names import DATASETS
from .notes import note
from .parts import Part
from .times import Clock
from .video_arrays import VideoArrays
from .video_clips import VideoClips

VIDEO_MODEL: Mapping[str, Any] = {"output": "linear"}  # what suits models of real videos and features,
PAPER_CLIPS = {**VIDEO_MODEL, "input_frames": 16, "future_frames": 13}  # and the paper's clips of these, its section 4
PERCEPT_CLIPS = {**PAPER_CLIPS, "residual": True}


class Source:
    """What any data set says of itself: one that is stored, or one that is generated.

    name:      what `--dataset` calls it.
    fields:    the `DataFields` that it reads beside `data_dir`; the flags of all others are refused.
    defaults:  of fields, where they are not those of `DataFields`.
    square:    whether `image_size` is one number.
    model:     fields of the model that suit it, where no preset or flag says otherwise.
    convolutional: further ones of a convolutional model.
    start:     how a new model is fitted to its scale.
    """

    name: ClassVar[str]
    fields: ClassVar[Sequence[str]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    square = False
    model: ClassVar[Mapping[str, Any]] = {}
    convolutional: ClassVar[Mapping[str, Any]] = {}
    start: ClassVar[Mapping[str, Any]] = {}

    def fields_read(self, config: DataFields) -> set[str]:
        """Names of the fields that matter where the others are as in `config`."""
        return {"data_dir", *self.fields}

    def model_for(self, config: DataFields) -> Mapping[str, Any]:
        """`model`, where it depends on the fields."""
        return self.model

    def unless(self, config: DataFields, field: str) -> str:
        """Why a field is not read where the others are as in `config`, in words behind the name of the data set."""
        return ""

    def settled(self, config: DataFields, *, windows: bool) -> dict[str, Any]:
        """Fields that the data decide, see `DataConfig.settled`."""
        return {}

    def times(self, config: DataFields) -> Mapping[str, Clock]:
        """See `DataConfig.times`."""
        return {}

    def filmed(self, config: DataFields, places: Sequence[tuple[str, int]]) -> list[npt.NDArray[np.uint8]]:
        """See `DataConfig.filmed`."""
        return []


class GeneratedSource(Source, ABC):
    """A data set whose clips are made when they are asked for, any number of them."""

    @abstractmethod
    def generate(self, config: DataFields, split: str, frames: int, seed: int, device: torch.device | str) -> Clips:
        """Clips without end."""

    @abstractmethod
    def generate_labelled(
        self, config: DataFields, split: str, frames: int, seed: int, *, task: str, clips: int
    ) -> LabelledVideos:
        """See `DataConfig.open_labelled`."""


class StoredSource(Source, ABC):
    """A data set of arrays, which `arrays` opens.

    file:      how the file that `data_dir` has to name is called; "" for a folder.
    test_only: whether nothing of it may train.
    labelled:  whether its videos have classes.
    """

    file = ""
    test_only = False
    labelled = True

    @abstractmethod
    def arrays(self, config: DataFields, frames: int, division: Division | None = None) -> VideoArrays:
        """Everything that is there, of all parts, with what says which part it is of: classes, groups, official parts.

        `frames` is the length of clips, `division` the parts of the run that this is for.
        """

    def cuts(self, config: DataFields, arrays: VideoArrays) -> Cuts:
        """Which of `arrays` train, validate and test, by the rule of this data set."""
        return cut_in_blocks(arrays.videos)

    def clips(
        self, config: DataFields, part: Part, split: str, frames: int, *, shortest: int | None, seed: int
    ) -> Clips:
        """The clips of a part that was opened as `split`: training clips overlap, others do not."""
        return VideoClips(
            part.arrays,
            range(len(part.arrays.videos)),
            frames,
            step=max(1, frames // 4) if split == "train" else frames,
            cover=part.split == "all",
            crop=config.side if config.random_crop else None,
            random_crop=split == "train" and config.random_crop,
            seed=seed,
            split=part.split,
        )

    def place(self, config: DataFields) -> Path:
        """The file or folder. Raises ValueError where none is named, FileNotFoundError where it is not there."""
        kind = "file" if self.file else "folder"
        if config.data_dir is None:
            raise ValueError(f"the data set {self.name!r} needs its {kind}: --data-dir {self.file or 'FOLDER'}")
        place = Path(config.data_dir)
        if not place.exists() and "download" not in self.fields:
            raise FileNotFoundError(f"{place}: no such {kind}; --data-dir says where it is, or was moved to")
        return place


class VideoSource(StoredSource):
    """Videos, or what was made of them: no one who was filmed is in two parts."""

    def cuts(self, config: DataFields, arrays: VideoArrays) -> Cuts:
        cuts = divide(arrays.videos)
        for line in division_notes(arrays.videos, cuts):
            note(f"{config.data_dir}: {line}")
        return cuts


Kind = TypeVar("Kind", bound=type[StoredSource] | type[GeneratedSource])
SOURCES: dict[str, StoredSource | GeneratedSource] = {}


def register(kind: Kind) -> Kind:
    """Let `DataConfig` and `--dataset` know a data set: `@register` above its class, in a module that is imported."""
    SOURCES[kind.name] = kind()
    DATASETS.setdefault(kind.name, kind.__module__)
    return kind
