"""What can be called while a model is trained: see `callbacks` of `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

from .extras import import_extra
from .models import LSTMAutoencoder


class Callback(Protocol):
    """Any function of a step (from 1 on), its metrics and the model; one that returns True ends the training.

    It is called after every step, with `step`, `loss`, the loss of each decoder, `gradient_norm`, `lr`,
    `sequences_seen`, `seconds`, and after every validation, with `validation`, `validation_loss` and `best`, whether
    that is the lowest so far.
    """

    def __call__(self, step: int, metrics: Mapping[str, Any], model: LSTMAutoencoder) -> bool | None: ...


class EarlyStopping:
    """Ends the training when the validation loss has not improved for `patience` validations; without any, never."""

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"patience is {patience}: expected at least 1 validation")
        self.patience = patience
        self.waited = 0

    def __call__(self, step: int, metrics: Mapping[str, Any], model: LSTMAutoencoder) -> bool:
        if "validation" not in metrics:
            return False  # and not what an earlier training waited for
        self.waited = 0 if metrics["best"] else self.waited + 1
        return self.waited >= self.patience


class TensorBoard:
    """Writes all metrics into `folder`, for `tensorboard --logdir`; needs the extra `tensorboard`.

    What belongs to a validation has the prefix `validation/`, a decoder's metrics that of the decoder as well.
    """

    def __init__(self, folder: Path | str) -> None:
        import_extra("tensorboard", "tensorboard")
        self.folder = folder
        self.writer: Any = None  # that makes the folder, which may be one of a run that is not there yet

    def __call__(self, step: int, metrics: Mapping[str, Any], model: LSTMAutoencoder) -> None:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder))
        for name, value in _scalars(metrics):
            self.writer.add_scalar(name, value, step)
        if "validation" in metrics:
            self.writer.flush()


def _scalars(metrics: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Every number in nested metrics with its path; lists, such as values per step, are left out."""
    found = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            found += _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, Real):
            found.append((prefix + name, float(value)))
    return found
