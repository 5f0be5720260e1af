"""Every choice that shapes a model or a training run, as frozen dataclasses that go into JSON and come back."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RECONSTRUCTION, FUTURE = "reconstruction", "future"
DECODERS = (RECONSTRUCTION, FUTURE)
LOGISTIC, LINEAR = "logistic", "linear"
DENSE, CONVOLUTIONAL = "lstm", "conv"
CELLS = (DENSE, CONVOLUTIONAL)
LOSS_NAMES = {LOGISTIC: "nats", LINEAR: "squared_error"}  # output units and the metric that is their loss
AMP = ("auto", "on", "off")

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
    input_frames: int = 10
    future_frames: int = 10
    patch_size: int | None = None
    cell: str = DENSE
    matching: bool = False
    hidden_size: int | tuple[int, ...] = 512
    layers: int = 1
    peephole: bool = False
    decoders: tuple[str, ...] = DECODERS
    conditional: tuple[str, ...] = ()
    output: str = LOGISTIC
    code_size: int | None = None
    repeat_code: bool = False
    variational: bool = False
    residual: bool = False

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
                fitting = [P for P in range(1, math.gcd(height, width) + 1) if height % P == width % P == 0]
                raise ValueError(
                    f"patch size {self.patch_size} does not divide the frame's sides of {height} and {width} pixels:"
                    f" expected one of {', '.join(map(str, fitting))} (--patch-size)"
                )

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
        return self.input_frames + (self.future_frames if FUTURE in self.decoders else 0)


# Unless a preset is asked for, pictures get `conv` and features `dense`, both chosen in docs/results.md; the others are
# the paper's sizes (its section 4.1).
PRESETS: dict[str, dict[str, Any]] = {
    "conv": {"cell": CONVOLUTIONAL, "patch_size": 8, "hidden_size": 64, "layers": 1, "matching": True},
    "dense": {"hidden_size": 512, "layers": 1},
    "paper": {"hidden_size": 2048, "layers": 1},
    "paper-2layer": {"hidden_size": 2048, "layers": 2},
}


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The budget is `steps` or `max_minutes`, whichever ends first; the learning rate follows it."""

    steps: int | None = None
    max_minutes: float | None = 6.5
    batch_size: int = 16  # of all processes together
    accumulate: int = 1  # parts in which each process computes its share of a batch
    lr: float = 3e-3
    weight_decay: float = 0.0
    clip_grad: float = 100.0  # largest norm; that of the gradient of nats per frame is near 75
    warmup: float = 0.05  # fraction of the budget
    checkpoint_every: int = 1000  # steps; each time the model is validated and drawn, too
    validation_clips: int = 200
    amp: str = "auto"  # bf16: auto, on or off
    recompute: int | None = None  # steps at most whose activations are kept; the others' are computed once more
    truncate: int | None = None  # steps at most that gradients go back
    reconstruction_weight: float = 1.0  # of the losses in their sum
    future_weight: float = 1.0
    beta: float = 1.0  # of a variational code's nats, per frame: 1 is the evidence lower bound
    noise: float = 0.0  # deviation of what is added to the vectors that the encoder reads
    drop_frames: float = 0.0  # fraction of them that the encoder reads as zeros
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.steps is None and self.max_minutes is None:
            raise ValueError("no budget: expected steps, max_minutes or both")
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
    """How to fine-tune. Nothing is selected in a run: the defaults were chosen on validation data, docs/results.md.

    steps:      at least; enough for every clip to be seen once.
    encoder_lr: of a learned encoder, as a share of `lr`, which the head and a fresh encoder have.
    frozen:     fraction of the steps during which a learned encoder stays as it is: 0 fine-tunes end to end, 1 never.
    dropout:    fraction of the inputs and of the hidden states that are missing in training.

    Raises ValueError for what is out of range.
    """

    steps: int = 40
    clips_per_step: int = 16
    lr: float = 3e-3
    encoder_lr: float = 0.1
    frozen: float = 0.0
    weight_decay: float = 1e-2
    dropout: float = 0.5
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
    """`--hidden-size 512 --layers 1 --matching`"""
    flags = {f"--{name.replace('_', '-')}": value for name, value in preset.items()}
    return " ".join(flag if value is True else f"{flag} {value}" for flag, value in flags.items())


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `ModelConfig`. A flag that is not given is absent from the namespace: presets are inherited."""
    default = ModelConfig()
    group = parser.add_argument_group("model", argument_default=argparse.SUPPRESS)
    kind = group.add_mutually_exclusive_group()
    for flag, decoders, text in (
        ("--composite", DECODERS, "reconstruct the input and predict the future"),
        ("--reconstruct", (RECONSTRUCTION,), "reconstruct the input only (autoencoder)"),
        ("--predict", (FUTURE,), "predict the future only"),
    ):
        kind.add_argument(flag, dest="decoders", action="store_const", const=decoders, help=text)
    group.add_argument(
        "--conditional", nargs="*", choices=DECODERS, help="decoders that read their last frame (none named: all)"
    )
    presets = "; ".join(f"{name}: {_in_words(preset)}" for name, preset in PRESETS.items())
    group.add_argument(
        "--preset",
        choices=PRESETS,
        help=f"model flags in one (default: conv for pictures, else dense), others override them. {presets}",
    )
    group.add_argument(
        "--input-frames",
        type=int,
        metavar="N",
        help=f"read (default: {default.input_frames}, or as usual for the data)",
    )
    group.add_argument(
        "--future-frames", type=int, metavar="N", help=f"predicted (default: {default.future_frames}, the same)"
    )
    group.add_argument(
        "--cell", choices=CELLS, help="dense LSTM, or convolutional over patches (default: conv for pictures)"
    )
    group.add_argument(
        "--patch-size",
        type=int,
        metavar="P",
        help="read PxP patches (default: of conv 8 or less, of lstm whole frames)",
    )
    group.add_argument(
        "--matching",
        action=argparse.BooleanOptionalAction,
        help="let the encoder read how patches match the frame before (default: of conv)",
    )
    group.add_argument(
        "--hidden-size",
        type=int,
        nargs="+",
        metavar="N",
        help="LSTM units, or per layer (default: the preset's)",
    )
    group.add_argument("--layers", type=int, metavar="N", help="LSTM layers (default: 1)")
    group.add_argument("--code-size", type=int, metavar="N", help="squeeze the code (default: the whole last state)")
    group.add_argument("--repeat-code", action="store_true", help="decoders read the code at every step")
    group.add_argument("--variational", action="store_true", help="draw the code from a Gaussian, see --beta")
    group.add_argument("--peephole", action="store_true", help="let the gates see the cell, as in the paper")
    group.add_argument(
        "--residual",
        action=argparse.BooleanOptionalAction,
        help="predict what is kept of the last frame and what is added (default: of percepts)",
    )
    group.add_argument(
        "--output", choices=LOSS_NAMES, help="output units (default: logistic for moving digits, else linear)"
    )


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `TrainConfig`, absent from the namespace where they are not given."""
    default = TrainConfig()
    group = parser.add_argument_group("training", argument_default=argparse.SUPPRESS)
    group.add_argument("--steps", type=int, metavar="N", help="budget in steps, instead of the default of minutes")
    group.add_argument("--max-minutes", type=float, metavar="M", help=f"budget (default: {default.max_minutes:g})")
    group.add_argument(
        "-b", "--batch-size", type=int, metavar="N", help=f"clips of all processes (default: {default.batch_size})"
    )
    group.add_argument(
        "--accumulate",
        type=int,
        metavar="N",
        help="compute them in N parts, one after the other, for less memory and the same result (default: 1)",
    )
    group.add_argument("--lr", type=float, help=f"peak learning rate (default: {default.lr:g})")
    group.add_argument("--weight-decay", type=float, metavar="W", help=f"(default: {default.weight_decay:g})")
    group.add_argument("--clip-grad", type=float, metavar="NORM", help=f"largest norm (default: {default.clip_grad:g})")
    group.add_argument(
        "--checkpoint-every",
        type=int,
        metavar="N",
        help=f"steps between validations, each with a GIF and a checkpoint (default: {default.checkpoint_every})",
    )
    group.add_argument("--validation-clips", type=int, metavar="N", help=f"(default: {default.validation_clips})")
    group.add_argument(
        "--amp",
        choices=AMP,
        help="bf16 matrix products (default: auto, timed at the start: where they are clearly faster)",
    )
    group.add_argument(
        "--recompute",
        type=int,
        metavar="N",
        help="keep the activations of N steps at a time, compute the others twice: for sequences of hundreds of steps",
    )
    group.add_argument("--truncate", type=int, metavar="N", help="let gradients go back N steps at most")
    group.add_argument("--reconstruction-weight", type=float, metavar="W", help="of its loss (default: 1)")
    group.add_argument("--future-weight", type=float, metavar="W", help="of its loss (default: 1)")
    group.add_argument("--beta", type=float, metavar="W", help="of a variational code's nats per frame (default: 1)")
    group.add_argument("--noise", type=float, metavar="STD", help="added to what the encoder reads (default: 0)")
    group.add_argument("--drop-frames", type=float, metavar="P", help="that the encoder reads as zeros (default: 0)")
    group.add_argument("--seed", type=int, help="of the weights and of the training clips (default: 0)")
    group.add_argument("--deterministic", action="store_true", help="refuse operations that do not repeat exactly")


def add_fine_tuning_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `FineTuning`, absent from the namespace where they are not given."""
    default = FineTuning()
    group = parser.add_argument_group("fine-tuning", argument_default=argparse.SUPPRESS)
    group.add_argument("--steps", type=int, metavar="N", help=f"(default: {default.steps})")
    group.add_argument("--lr", type=float, help=f"peak learning rate of the head (default: {default.lr:g})")
    group.add_argument(
        "--encoder-lr", type=float, metavar="X", help=f"as a share of it (default: {default.encoder_lr:g})"
    )
    group.add_argument(
        "--frozen",
        type=float,
        metavar="FRACTION",
        help="of the steps, from the first on, in which the encoder stays as it is (default: 0)",
    )
    group.add_argument("--dropout", type=float, metavar="P", help=f"of inputs and codes (default: {default.dropout:g})")
