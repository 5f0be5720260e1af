"""An LSTM classifier that can start from a learned encoder (Srivastava et al., 2015, section 4.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from .config import ModelConfig, check_types, from_json
from .models import Encoder
from .pretrained import load_model, save_model
from .restored import mode, random_numbers_of

_NEW_WEIGHTS = {"head.weight", "head.bias", "hidden_mean", "hidden_std"}  # what no encoder has
_OF_SUMMARY = {f"summary.{name}" for name in ("mean", "std", "weight", "bias")}
_INVERSE_PENALTY = 0.01  # of the logistic regression; chosen on validation videos, docs/history.md
_LEAST_STD = 1e-4  # of a mean over positions: less is rounding


@dataclass(frozen=True)
class ClassifierConfig:
    """The shape of an `LSTMClassifier`.

    encoder: the config of the autoencoder whose encoder this is, or could be.
    memory:  False judges every frame alone, by the same network that forgets after each: the single-frame baseline.
    dropout: fraction of the inputs and of the hidden states that the head misses in training.
    summary: whether the class scores of a `Summary` are added to those of every step.
    """

    encoder: ModelConfig
    class_names: tuple[str, ...]
    memory: bool = True
    dropout: float = 0.0
    summary: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if len(set(self.class_names)) < 2 or len(set(self.class_names)) < len(self.class_names):
            raise ValueError(f"classes {self.class_names}: expected at least two different ones")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: expected 0 or more and less than 1")


class Summary(nn.Module):
    """Logistic regression on mean and deviation over time of what an encoder reads: it knows no order and no network.

    Both are standardised by many clips (`start_from`), of which few need labels (`fit`): of few clips alone deviations
    are too uncertain (docs/history.md).
    """

    def __init__(self, encoder: ModelConfig, classes: int) -> None:
        super().__init__()
        size = 2 * math.prod(encoder.frame_shape)
        for name, value in (("mean", torch.zeros(size)), ("std", torch.ones(size))):
            self.register_buffer(name, value)
        self.register_buffer("weight", torch.zeros(classes, size))
        self.register_buffer("bias", torch.zeros(classes))
        self.mean: Tensor
        self.std: Tensor
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits (B, classes) of what `Encoder.to_vectors` makes of clips."""
        return functional.linear((_over_time(vectors) - self.mean) / self.std, self.weight, self.bias)

    @torch.no_grad()
    def start_from(self, vectors: Tensor) -> None:
        """Standardise by these clips, as for `forward`, whatever is in them."""
        std, mean = torch.std_mean(_over_time(vectors), dim=0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(std.where(std > _LEAST_STD, 1))

    @torch.no_grad()
    def fit(self, vectors: Tensor, labels: Tensor) -> None:
        """Learn from clips as for `forward`, and the class of each, (B,) from 0 to classes - 1.

        Raises ValueError unless every class occurs.
        """
        if lacking := sorted(set(range(len(self.weight))) - set(labels.tolist())):
            raise ValueError(f"found no labelled clips of the classes {lacking}, expected some of every class")
        features = _over_time(vectors)
        model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=1000)
        model.fit(((features - self.mean) / self.std).cpu().numpy(), labels.cpu().numpy())
        weight, bias = model.coef_, model.intercept_
        if len(weight) < len(self.weight):  # of two classes, scikit-learn has the second one's alone
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        self.weight.copy_(torch.from_numpy(weight))
        self.bias.copy_(torch.from_numpy(bias))


def _over_time(vectors: Tensor) -> Tensor:
    """Mean and deviation of each value of (B, T, ...), one behind the other: (B, 2 * values)."""
    std, mean = torch.std_mean(vectors, dim=1, correction=0)
    return torch.cat([mean.flatten(1), std.flatten(1)], dim=1)


class LSTMClassifier(nn.Module):
    """The encoder's layers and a softmax on the hidden state at every step; class scores are averaged over the steps.

    With a patch size, the head reads the mean of the hidden states over the patch positions, standardised: most
    positions see nothing of what moves, and their share of the mean is a constant beside which little else shows
    (docs/results.md).
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.encoder.hidden_sizes[-1], len(config.class_names))
        nn.init.zeros_(self.head.weight)  # every class is equally likely before the first step
        nn.init.zeros_(self.head.bias)
        self.register_buffer("hidden_mean", torch.zeros(self.head.in_features))
        self.register_buffer("hidden_std", torch.ones(self.head.in_features))
        self.hidden_mean: Tensor
        self.hidden_std: Tensor
        self.summary = Summary(config.encoder, len(config.class_names)) if config.summary else None

    @classmethod
    def from_encoder(
        cls, encoder: Encoder, class_names: Sequence[str], *, dropout: float = 0.0, summary: bool = False
    ) -> LSTMClassifier:
        """A classifier with a copy of the encoder's weights and a fresh head, the only weights that are new, and a
        fresh `Summary` where one is asked for.

        With patches or a summary, call `start_from` before training it.
        Raises ValueError where that is not so: where the encoder lacks a weight or has one too many.
        """
        config = ClassifierConfig(encoder.config, tuple(class_names), dropout=dropout, summary=summary)
        with random_numbers_of(0, torch.device("cpu")):  # fresh weights would take some from others
            classifier = cls(config)
        weights = {f"encoder.{name}": weight for name, weight in encoder.state_dict().items()}
        missing, unexpected = classifier.load_state_dict(weights, strict=False)
        new = _NEW_WEIGHTS | (_OF_SUMMARY if summary else set())
        if set(missing) != new or unexpected:
            raise ValueError(
                f"found {sorted(missing)} missing and {unexpected} left over; expected that only"
                f" {sorted(new)} are new: the encoder is not one of this package's"
            )
        return classifier

    @torch.no_grad()
    def start_from(self, clips: Tensor) -> None:
        """Fit what is new to the scale of what it reads, of clips as for `Encoder.to_vectors`; labels do not matter.

        Hidden states of whole frames have about the same scale, and stay as they are.
        """
        if self.config.encoder.patch_size is not None:
            std, mean = torch.std_mean(self._hidden(self.encoder.to_vectors(clips)), dim=(0, 1))  # (hidden_size,) each
            self.hidden_mean.copy_(mean)
            self.hidden_std.copy_(std.clamp(min=_LEAST_STD))
        if self.summary is not None:
            self.summary.start_from(self.encoder.to_vectors(clips))

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits (B, T, classes) of what `Encoder.to_vectors` makes of clips."""
        mask = self.dropout(torch.ones_like(vectors[:, :1]))  # the same inputs are missing at every step of a clip
        hidden = (self._hidden(vectors * mask) - self.hidden_mean) / self.hidden_std
        logits: Tensor = self.head(self.dropout(hidden))
        return logits if self.summary is None else logits + self.summary(vectors)[:, None]

    def _hidden(self, vectors: Tensor) -> Tensor:
        """The hidden states at every step, (B, T, hidden_size); with patches their means over the positions."""
        if self.config.memory:
            hidden, _ = self.encoder(vectors)  # (B, T, hidden_size) or (B, T, rows, columns, hidden_size)
        else:
            alone, _ = self.encoder(vectors.flatten(0, 1)[:, None])  # (B * T, 1, ...)
            hidden = alone[:, 0].unflatten(0, vectors.shape[:2])
        return hidden if hidden.ndim == 3 else hidden.mean(dim=(2, 3))

    def scores(self, clips: Tensor) -> Tensor:
        """Class probabilities (B, classes), averaged over the steps, of clips as for `Encoder.to_vectors`.

        Without dropout, whatever mode the classifier is in. Differentiable, as `Encoder.encode` is.
        """
        with mode(self, training=False):
            return self(self.encoder.to_vectors(clips)).softmax(dim=2).mean(dim=1)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json` and `model.safetensors` into `folder`."""
        save_model(self, Path(folder))

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, download: bool = False, revision: str | None = None, token: str | None = None
    ) -> LSTMClassifier:
        """The classifier that `save_pretrained` wrote, here or on the Hub; all as of `LSTMAutoencoder`."""

        def build(stored: Any, source: str) -> LSTMClassifier:
            return cls(_config_from_json(stored, source))

        return load_model(build, folder, download=download, revision=revision, token=token)


def _config_from_json(stored: Any, source: str) -> ClassifierConfig:
    if not isinstance(stored, dict) or not isinstance(stored.get("encoder"), dict):
        raise ValueError(f"{source}: found no encoder; expected what LSTMClassifier.save_pretrained wrote")
    encoder = from_json(ModelConfig, stored["encoder"], source)
    return from_json(ClassifierConfig, stored | {"encoder": encoder}, source)
