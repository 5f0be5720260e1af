"""Every choice that shapes a model or a training run, as frozen dataclasses that go into JSON and come back."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from .datasets.flags import add_flags, flag

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RECONSTRUCTION, FUTURE = "reconstruction", "future"
DECODERS = (RECONSTRUCTION, FUTURE)
LOGISTIC, LINEAR = "logistic", "linear"
DENSE, CONVOLUTIONAL = "lstm", "conv"
CELLS = (DENSE, CONVOLUTIONAL)
LOSS_NAMES = {LOGISTIC: "nats", LINEAR: "squared_error"}  # output units and the metric that is their loss
AMP = ("auto", "on", "off")
DEFAULT_MINUTES = 6.5
BUDGET = ("steps", "max_minutes")
MAY_CHANGE = (*BUDGET, "accumulate")  # in a run that goes on: what changes nothing about the steps that were made

Config = TypeVar("Config", bound="DataclassInstance")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of an `LSTMAutoencoder`. Raises ValueError for what cannot be built.

    decoders:    which of `reconstruction` and `future` there are; both make the paper's composite model.
    conditional: which decoders read their previous frame as input.
    patch_size:  None reads a frame as one vector; P cuts it into P x P patches.
    cell:        `lstm`, in which every patch position is a sequence of its own, or `conv`, a convolutional LSTM over
                 the grid of patches, in which neighbours see each other.
    matching:    the encoder also reads how well each patch matches the frame before, at every shift (`matching.py`).
    hidden_size: LSTM units of every layer, or one number per layer; of `conv` at every patch position.
    code_size:   None hands the encoder's whole last state over to the decoders. A number squeezes it through a linear
                 layer of so many units, from which each decoder's first state is made.
    repeat_code: decoders start from zeros and read the code at every step instead.
    variational: the code is drawn from a Gaussian in training (Kingma and Welling, 2014); its mean otherwise.
    residual:    a future decoder keeps a share of every value of the last input frame or, where it is conditional, of
                 the frame before, and adds to it; for linear outputs of cell `lstm` (`conv` has `motion.py`).
    output:      `logistic` units with cross-entropy, or `linear` with squared error of standardised channels.
    """

    frame_shape: tuple[int, int, int] = (1, 64, 64)  # channels, height, width
    input_frames: int = flag(10, "read (default: 10, or as usual for the data)")
    future_frames: int = flag(10, "predicted (default: 10, or as usual for the data)")
    patch_size: int | None = flag(
        None, "read PxP patches (default: of conv 8 or less, of lstm whole frames)", metavar="P"
    )
    cell: str = flag(DENSE, "dense LSTM, or convolutional over patches (default: conv for pictures)", choices=CELLS)
    matching: bool = flag(
        False,
        "let the encoder read how patches match the frame before (default: of moving digits, with conv)",
        action=argparse.BooleanOptionalAction,
    )
    hidden_size: int | tuple[int, ...] = flag(
        512, "LSTM units, or per layer (default: the preset's)", nargs="+", metavar="N"
    )
    layers: int = flag(1, "LSTM layers")
    peephole: bool = flag(False, "let the gates see the cell, as in the paper")
    decoders: tuple[str, ...] = DECODERS
    conditional: tuple[str, ...] = flag(
        (), "decoders that read their last frame (none named: all)", nargs="*", choices=DECODERS
    )
    output: str = flag(
        LOGISTIC, "output units (default: logistic for moving digits, else linear)", choices=tuple(LOSS_NAMES)
    )
    code_size: int | None = flag(None, "squeeze the code (default: the whole last state)", metavar="N")
    repeat_code: bool = flag(False, "decoders read the code at every step")
    variational: bool = flag(False, "draw the code from a Gaussian, see --beta")
    residual: bool = flag(
        False,
        "predict what is kept of the last frame and what is added (default: of percepts)",
        action=argparse.BooleanOptionalAction,
    )

    def __post_init__(self) -> None:
        check_types(self)
        if not isinstance(self.hidden_size, int):
            sizes = self.hidden_size
            if not sizes or (len(sizes) > 1 and self.layers not in (1, len(sizes))):
                raise ValueError(f"hidden sizes {sizes} of {self.layers} layers: expected one size, or one per layer")
            object.__setattr__(self, "layers", max(self.layers, len(sizes)))
            object.__setattr__(self, "hidden_size", sizes[0] if len(set(sizes)) == 1 else sizes)
        if not self.decoders or not set(self.decoders) <= set(DECODERS):
            raise ValueError(f"decoders {self.decoders}: expected one or both of {', '.join(DECODERS)}")
        if not set(self.conditional) <= set(self.decoders):
            raise ValueError(f"conditional {self.conditional}: expected some of this model's decoders {self.decoders}")
        for name in ("decoders", "conditional"):  # one order, so that equal models have equal configs
            object.__setattr__(self, name, tuple(decoder for decoder in DECODERS if decoder in getattr(self, name)))
        if self.cell not in CELLS:
            raise ValueError(f"cell {self.cell!r}: expected one of {', '.join(CELLS)}")
        if self.cell == CONVOLUTIONAL and self.patch_size is None:
            raise ValueError("a convolutional LSTM needs a grid of patches: say patch_size (--patch-size 8)")
        if self.matching and self.cell != CONVOLUTIONAL:
            raise ValueError("matching is for convolutional LSTMs: use --cell conv, or --no-matching")
        if self.output not in LOSS_NAMES:
            raise ValueError(f"output {self.output!r}: expected one of {', '.join(LOSS_NAMES)}")
        if self.residual and (self.output != LINEAR or self.cell == CONVOLUTIONAL):
            raise ValueError("a residual decoder needs linear outputs and cell lstm: leave out --residual")
        for name in ("input_frames", "future_frames", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected at least 1")
        if min(self.hidden_sizes) < 1:
            raise ValueError(f"hidden_size is {self.hidden_size}: expected at least 1")
        if self.code_size is not None and self.code_size < 1:
            raise ValueError(f"code_size is {self.code_size}: expected at least 1")
        if self.variational and self.code_size is None:
            raise ValueError("a variational model needs the size of its code: say code_size")
        if len(self.frame_shape) != 3 or min(self.frame_shape) < 1:
            raise ValueError(f"frame shape {self.frame_shape}: expected channels, height, width")
        if self.convolutional and self.features:
            raise ValueError(
                f"a convolutional LSTM is for pictures, found vectors of {self.frame_shape[0]} features: use cell lstm"
                " (--cell lstm, another --preset)"
            )
        if self.patch_size is not None:
            _, height, width = self.frame_shape
            if self.patch_size < 1 or height % self.patch_size or width % self.patch_size:
                raise ValueError(
                    f"patch size {self.patch_size} does not divide the frame's sides of {height} and {width} pixels:"
                    f" expected one of {', '.join(map(str, _patch_sizes(height, width)))} (--patch-size)"
                )

    @classmethod
    def preset(cls, name: str, **fields: Any) -> ModelConfig:
        """A preset, `conv`, `dense`, `paper` or `paper-2layer`, with other `fields` beside those it has or instead."""
        if name not in PRESETS:
            raise ValueError(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
        return cls(**PRESETS[name] | fields)

    @property
    def vector_size(self) -> int:
        """D, the length of one frame or patch vector."""
        channels, height, width = self.frame_shape
        return channels * (height * width if self.patch_size is None else self.patch_size**2)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """The units of every layer, from the one that reads the input to the top."""
        return (self.hidden_size,) * self.layers if isinstance(self.hidden_size, int) else self.hidden_size

    @property
    def convolutional(self) -> bool:
        """Whether the recurrence runs over the grid of patches instead of one vector at a time."""
        return self.cell == CONVOLUTIONAL

    @property
    def kernel_size(self) -> int | None:
        """Patches that the convolutions of the recurrence span in either direction; None where it is dense."""
        return 3 if self.convolutional else None

    @property
    def grid(self) -> tuple[int, ...]:
        """Rows and columns of patches in a frame; empty where it is read as one vector."""
        return () if self.patch_size is None else tuple(side // self.patch_size for side in self.frame_shape[1:])

    @property
    def features(self) -> bool:
        """Whether a frame is a vector of features, of no picture: many channels of one pixel."""
        return self.frame_shape[1:] == (1, 1)

    @property
    def frames(self) -> int:
        """How many frames a training clip needs: the input and, with a future decoder, what follows it."""
        return self.input_frames + self.predicted_frames

    @property
    def shortest(self) -> int:
        """How many frames a clip has at least: one to read and, with a future decoder, what follows it."""
        return 1 + self.predicted_frames

    @property
    def predicted_frames(self) -> int:
        """How many of a clip's last frames are predicted: none without a future decoder."""
        return self.future_frames if FUTURE in self.decoders else 0


# Unless a preset is asked for, pictures get `conv` and features `dense`, both chosen in docs/history.md; the others are
# the paper's sizes (its section 4.1).
PRESETS: dict[str, dict[str, Any]] = {
    "conv": {"cell": CONVOLUTIONAL, "patch_size": 8, "hidden_size": 64, "layers": 1},
    "dense": {"hidden_size": 512, "layers": 1},
    "paper": {"hidden_size": 2048, "layers": 1},
    "paper-2layer": {"hidden_size": 2048, "layers": 2},
}
_MOST_POSITIONS = 1024  # of patches that nobody chose: more would take hours without a word


def fitting_patch_size(height: int, width: int) -> int:
    """The largest patch size, up to that of the preset `conv`, that divides the sides of frames.

    Raises ValueError where it leaves too many patches.
    """
    largest = PRESETS["conv"]["patch_size"]
    size = max(size for size in _patch_sizes(height, width) if size <= largest)
    if height * width > _MOST_POSITIONS * size**2:
        raise ValueError(
            f"frames of {height}x{width} pixels: found no patch size of up to {largest} that leaves few patches; choose"
            f" another --image-size, such as multiples of {largest}, a --patch-size, or --cell lstm"
        )
    return size


def _patch_sizes(height: int, width: int) -> list[int]:
    return [size for size in range(1, math.gcd(height, width) + 1) if height % size == width % size == 0]


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The budget, which the learning rate follows, is `steps` or `max_minutes`, whichever ends first; 6.5
    minutes where there is neither."""

    steps: int | None = flag(None, "budget in steps, instead of the default of minutes", metavar="N")
    max_minutes: float | None = flag(None, f"budget in minutes (default: {DEFAULT_MINUTES:g})", metavar="M")
    batch_size: int = flag(16, "clips of all processes", "-b")
    accumulate: int = flag(1, "compute them in N parts, one after the other, for less memory and the same result")
    lr: float = flag(3e-3, "peak learning rate", metavar="LR")
    weight_decay: float = flag(0.0, "", metavar="W")
    clip_grad: float = flag(100.0, "largest norm", metavar="NORM")  # of nats per frame it is near 75
    warmup: float = 0.05  # fraction of the budget
    checkpoint_every: int = flag(1000, "steps between validations, each with a GIF and a checkpoint")
    validation_clips: int = flag(200, "")
    amp: str = flag(
        "auto", "bf16 matrix products (default: auto, timed at the start: where they are clearly faster)", choices=AMP
    )
    recompute: int | None = flag(
        None,
        "keep the activations of N steps at a time, compute the others twice: for sequences of hundreds of steps",
        metavar="N",
    )
    truncate: int | None = flag(None, "let gradients go back N steps at most", metavar="N")
    reconstruction_weight: float = flag(1.0, "of its loss", metavar="W")
    future_weight: float = flag(1.0, "of its loss", metavar="W")
    beta: float = flag(1.0, "of a variational code's nats per frame: 1 is the evidence lower bound", metavar="W")
    noise: float = flag(0.0, "standard deviation of what is added to the vectors that the encoder reads", metavar="STD")
    drop_frames: float = flag(0.0, "fraction of them that the encoder reads as zeros", metavar="P")
    seed: int = flag(0, "of the weights and of the training clips")
    deterministic: bool = flag(False, "refuse operations that do not repeat exactly")

    def __post_init__(self) -> None:
        check_types(self)
        if self.steps is None and self.max_minutes is None:
            object.__setattr__(self, "max_minutes", DEFAULT_MINUTES)
        for name in ("recompute", "truncate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: expected at least 1 step")
        for name in ("steps", "max_minutes", "batch_size", "lr", "clip_grad", "checkpoint_every", "validation_clips"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value}: expected a finite number above 0")
        if not 1 <= self.accumulate <= self.batch_size:
            raise ValueError(f"accumulate is {self.accumulate}: expected 1 to {self.batch_size}, the clips of a batch")
        for name in ("weight_decay", "reconstruction_weight", "future_weight", "beta", "noise"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}: expected a finite number, 0 or more")
        for name in ("drop_frames", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 or more and less than 1")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}: expected 0 to 2**63 - 1")
        _check_amp(self.amp)


def _check_amp(amp: str) -> None:
    if amp not in AMP:
        raise ValueError(f"amp {amp!r}: expected one of {', '.join(AMP)}")


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune. Nothing is selected in a run: the defaults were chosen on validation data, docs/history.md.

    steps:      at least; enough for every clip to be seen once.
    encoder_lr: of a learned encoder, as a share of `lr`, which the head and a fresh encoder have.
    frozen:     fraction of the steps during which a learned encoder stays as it is: 0 fine-tunes end to end, 1 never.
    dropout:    fraction of the inputs and of the hidden states that are missing in training.

    Raises ValueError for what is out of range.
    """

    steps: int = flag(40, "")
    clips_per_step: int = 16
    lr: float = flag(3e-3, "peak learning rate of the head", metavar="LR")
    encoder_lr: float = flag(0.1, "as a share of it", metavar="X")
    frozen: float = flag(
        0.0, "of the steps, from the first on, in which the encoder stays as it is", metavar="FRACTION"
    )
    weight_decay: float = 1e-2
    dropout: float = flag(0.5, "of inputs and codes", metavar="P")
    amp: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        if self.steps < 1 or self.clips_per_step < 1:
            raise ValueError(f"{self.steps} steps of {self.clips_per_step} clips: expected at least one of each")
        if not (0 < self.lr < float("inf") and 0 <= self.encoder_lr < float("inf")):
            raise ValueError(f"rates {self.lr} and {self.encoder_lr}: expected finite numbers, the first above 0")
        if not 0 <= self.frozen <= 1:
            raise ValueError(f"frozen is {self.frozen}: expected a fraction, 0 to 1")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay is {self.weight_decay}: expected a finite number, 0 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: expected 0 or more and less than 1")
        _check_amp(self.amp)


_TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "none"}


def check_types(config: DataclassInstance) -> None:
    """Raises ValueError for a field of another type than its annotation says; NumPy's numbers become Python's, lists
    tuples. JSON and other programs give what they like, and a batch of 3.0 clips fails far from here."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        for option in options:
            try:
                object.__setattr__(config, name, _converted(value, option))
                break
            except TypeError:
                continue
        else:
            expected = " or ".join(map(_type_in_words, options))
            raise ValueError(f"{name} is {value!r}: expected {expected}")


def _converted(value: Any, kind: Any) -> Any:
    """Raises TypeError where `value` is not of the type `kind`."""
    if get_origin(kind) is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise TypeError
        return tuple(_converted(each, get_args(kind)[0]) for each in value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of NumPy's
        value = value.item()
    right = (int, float) if kind is float else kind
    if not isinstance(value, right) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value


def _type_in_words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a list, each {_type_in_words(get_args(kind)[0])}"
    return _TYPES.get(kind, getattr(kind, "__name__", str(kind)))


def from_json(cls: type[Config], values: dict[str, Any], source: str) -> Config:
    """The config whose `dataclasses.asdict` went into JSON. Raises ValueError, naming `source`, for unknown keys."""
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(
            f"{source}: unknown keys {', '.join(unknown)}; {cls.__name__} knows {', '.join(sorted(known))}"
        )
    return cls(**values)


def _in_words(preset: dict[str, Any]) -> str:
    """`--hidden-size 512 --layers 1`"""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in preset.items())


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `ModelConfig`. A flag that is not given is absent from the namespace: presets are inherited."""
    group = parser.add_argument_group("model", argument_default=argparse.SUPPRESS)
    kind = group.add_mutually_exclusive_group()
    for name, decoders, text in (
        ("--composite", DECODERS, "reconstruct the input and predict the future"),
        ("--reconstruct", (RECONSTRUCTION,), "reconstruct the input only (autoencoder)"),
        ("--predict", (FUTURE,), "predict the future only"),
    ):
        kind.add_argument(name, dest="decoders", action="store_const", const=decoders, help=text)
    presets = "; ".join(f"{name}: {_in_words(preset)}" for name, preset in PRESETS.items())
    group.add_argument(
        "--preset",
        choices=PRESETS,
        help=f"model flags in one (default: conv for pictures, else dense), others override them. {presets}",
    )
    add_flags(group, ModelConfig)


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `TrainConfig`, absent from the namespace where they are not given."""
    add_flags(parser.add_argument_group("training", argument_default=argparse.SUPPRESS), TrainConfig)
