"""An LSTM classifier that can start from a learned encoder (Srivastava et al., 2015, section 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .config import ModelConfig, check_types, from_json
from .models import Encoder
from .pretrained import load_model, save_model
from .restored import mode, random_numbers_of

_NEW_WEIGHTS = {"head.weight", "head.bias", "hidden_mean", "hidden_std"}  # what no encoder has
_LEAST_STD = 1e-4  # of a mean over positions: less is rounding


@dataclass(frozen=True)
class ClassifierConfig:
    """The shape of an `LSTMClassifier`.

    encoder: the config of the autoencoder whose encoder this is, or could be.
    memory:  False judges every frame alone, by the same network that forgets after each: the single-frame baseline.
    dropout: fraction of the inputs and of the hidden states that the head misses in training.
    """

    encoder: ModelConfig
    class_names: tuple[str, ...]
    memory: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        if len(set(self.class_names)) < 2 or len(set(self.class_names)) < len(self.class_names):
            raise ValueError(f"classes {self.class_names}: expected at least two different ones")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: expected 0 or more and less than 1")


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

    @classmethod
    def from_encoder(cls, encoder: Encoder, class_names: Sequence[str], *, dropout: float = 0.0) -> LSTMClassifier:
        """A classifier with a copy of the encoder's weights and a fresh head, the only weights that are new.

        With patches, call `start_from` before training it.
        Raises ValueError where that is not so: where the encoder lacks a weight or has one too many.
        """
        config = ClassifierConfig(encoder.config, tuple(class_names), dropout=dropout)
        with random_numbers_of(0, torch.device("cpu")):  # fresh weights would take some from others
            classifier = cls(config)
        weights = {f"encoder.{name}": weight for name, weight in encoder.state_dict().items()}
        missing, unexpected = classifier.load_state_dict(weights, strict=False)
        if set(missing) != _NEW_WEIGHTS or unexpected:
            raise ValueError(
                f"found {sorted(missing)} missing and {unexpected} left over; expected that only"
                f" {sorted(_NEW_WEIGHTS)} are new: the encoder is not one of this package's"
            )
        return classifier

    @torch.no_grad()
    def start_from(self, clips: Tensor) -> None:
        """Fit a new head to the scale of what it reads, of clips as for `Encoder.to_vectors`; labels do not matter.

        Hidden states of whole frames have about the same scale, and stay as they are.
        """
        if self.config.encoder.patch_size is not None:
            std, mean = torch.std_mean(self._hidden(self.encoder.to_vectors(clips)), dim=(0, 1))  # (hidden_size,) each
            self.hidden_mean.copy_(mean)
            self.hidden_std.copy_(std.clamp(min=_LEAST_STD))

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits (B, T, classes) of what `Encoder.to_vectors` makes of clips."""
        mask = self.dropout(torch.ones_like(vectors[:, :1]))  # the same inputs are missing at every step of a clip
        hidden = (self._hidden(vectors * mask) - self.hidden_mean) / self.hidden_std
        return self.head(self.dropout(hidden))

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
    def from_pretrained(cls, folder: Path | str) -> LSTMClassifier:
        """The classifier that `save_pretrained` wrote. Raises FileNotFoundError or ValueError, as for autoencoders."""
        return load_model(lambda stored, source: cls(_config_from_json(stored, source)), Path(folder))


def _config_from_json(stored: Any, source: str) -> ClassifierConfig:
    if not isinstance(stored, dict) or not isinstance(stored.get("encoder"), dict):
        raise ValueError(f"{source}: found no encoder; expected what LSTMClassifier.save_pretrained wrote")
    encoder = from_json(ModelConfig, stored["encoder"], source)
    return from_json(ClassifierConfig, stored | {"encoder": encoder}, source)
