"""Every choice that shapes a model or a training run, as frozen dataclasses that go into JSON and come back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

RECONSTRUCTION, FUTURE = "reconstruction", "future"
DECODERS = (RECONSTRUCTION, FUTURE)
OUTPUTS = ("logistic", "linear")
AMP = ("auto", "on", "off")

Config = TypeVar("Config")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of an `LSTMAutoencoder`. Raises ValueError for what cannot be built.

    decoders:    which of `reconstruction` and `future` there are; both make the paper's composite model.
    conditional: which decoders read their previous frame as input.
    patch_size:  None reads a frame as one vector; P cuts it into P x P patches, each position a sequence of its own.
    output:      `logistic` units with cross-entropy, or `linear` with squared error.
    """

    frame_shape: tuple[int, int, int] = (1, 64, 64)  # channels, height, width
    input_frames: int = 10
    future_frames: int = 10
    patch_size: int | None = None
    hidden_size: int = 1024
    layers: int = 1
    peephole: bool = False
    decoders: tuple[str, ...] = DECODERS
    conditional: tuple[str, ...] = ()
    output: str = "logistic"

    def __post_init__(self) -> None:
        for name in ("frame_shape", "decoders", "conditional"):  # JSON gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.decoders or not set(self.decoders) <= set(DECODERS):
            raise ValueError(f"decoders {self.decoders}: expected one or both of {', '.join(DECODERS)}")
        if not set(self.conditional) <= set(self.decoders):
            raise ValueError(f"conditional {self.conditional}: expected some of this model's decoders {self.decoders}")
        if self.output not in OUTPUTS:
            raise ValueError(f"output {self.output!r}: expected one of {', '.join(OUTPUTS)}")
        for name in ("input_frames", "future_frames", "hidden_size", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected at least 1")
        if len(self.frame_shape) != 3 or min(self.frame_shape) < 1:
            raise ValueError(f"frame shape {self.frame_shape}: expected channels, height, width")
        if self.patch_size is not None:
            _, height, width = self.frame_shape
            if self.patch_size < 1 or height % self.patch_size or width % self.patch_size:
                raise ValueError(
                    f"patch size {self.patch_size}: expected a divisor of {height} and {width}, the frame's sides"
                )

    @property
    def vector_size(self) -> int:
        """D, the length of one frame or patch vector."""
        channels, height, width = self.frame_shape
        return channels * (height * width if self.patch_size is None else self.patch_size**2)

    @property
    def frames(self) -> int:
        """How many frames a training clip needs: the input and, with a future decoder, what follows it."""
        return self.input_frames + (self.future_frames if FUTURE in self.decoders else 0)


# `default` is what `make demo` trains, chosen in docs/results.md; the others are the paper's sizes (its section 4.1).
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {"hidden_size": 2048},
    "paper-2layer": {"hidden_size": 2048, "layers": 2},
}


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The budget is `steps` or `max_minutes`, whichever ends first; the learning rate follows it."""

    steps: int | None = None
    max_minutes: float | None = 6.0
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.0
    clip_grad: float = 1.0
    warmup: float = 0.02  # fraction of the budget
    checkpoint_every: int = 250  # steps; each time the model is validated and drawn, too
    validation_clips: int = 200
    amp: str = "auto"  # bf16: auto, on or off
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.steps is None and self.max_minutes is None:
            raise ValueError("no budget: expected steps, max_minutes or both")
        for name in ("steps", "max_minutes", "batch_size", "lr", "clip_grad", "checkpoint_every", "validation_clips"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value}: expected more than 0")
        if self.amp not in AMP:
            raise ValueError(f"amp {self.amp!r}: expected one of {', '.join(AMP)}")


def to_json(config: Any) -> dict[str, Any]:
    """A config as a dictionary that `json.dump` takes."""
    return dataclasses.asdict(config)


def from_json(cls: type[Config], values: dict[str, Any], source: str) -> Config:
    """The config that `to_json` wrote. Raises ValueError, naming `source`, for keys that `cls` does not know."""
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(
            f"{source}: unknown keys {', '.join(unknown)}; {cls.__name__} knows {', '.join(sorted(known))}"
        )
    return cls(**values)
