"""Learn video representations without labels: LSTM encoders and decoders that reconstruct and predict frames."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import ModelConfig, TrainConfig
from .threads import settle_threads

if TYPE_CHECKING:
    from .classifier import LSTMClassifier
    from .estimator import SequenceAutoencoder
    from .models import LSTMAutoencoder

settle_threads()  # before torch is loaded
__version__ = "0.1.0"
__all__ = ["LSTMAutoencoder", "LSTMClassifier", "ModelConfig", "SequenceAutoencoder", "TrainConfig"]
_HOMES = {"LSTMAutoencoder": "models", "LSTMClassifier": "classifier", "SequenceAutoencoder": "estimator"}


def __getattr__(name: str) -> Any:
    """Load what needs torch only when it is asked for, so that `--help` and configs stay instant."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
