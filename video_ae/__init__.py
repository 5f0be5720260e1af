"""Learn video representations without labels: LSTM encoders and decoders that reconstruct and predict frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config import ModelConfig, TrainConfig

if TYPE_CHECKING:
    from .classifier import LSTMClassifier
    from .models import LSTMAutoencoder

__version__ = "0.1.0"
__all__ = ["LSTMAutoencoder", "LSTMClassifier", "ModelConfig", "TrainConfig"]


def __getattr__(name: str) -> Any:
    """Load what needs torch only when it is asked for, so that `--help` and configs stay instant."""
    if name == "LSTMAutoencoder":
        from .models import LSTMAutoencoder

        return LSTMAutoencoder
    if name == "LSTMClassifier":
        from .classifier import LSTMClassifier

        return LSTMClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
