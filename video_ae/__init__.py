"""Learn video representations without labels: LSTM encoders and decoders that reconstruct and predict frames."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import FineTuning, ModelConfig, TrainConfig
from .threads import settle_threads

if TYPE_CHECKING:
    from .anomaly import anomaly_scores
    from .callbacks import EarlyStopping, TensorBoard
    from .classifier import LSTMClassifier
    from .estimator import SequenceAutoencoder
    from .evaluation import evaluate
    from .models import LSTMAutoencoder
    from .probes import probe
    from .training import fit
    from .transfer import fine_tune, label_clips, label_efficiency
    from .video_estimators import VideoAutoencoder, VideoClassifier

settle_threads()  # before torch is loaded
__version__ = "0.1.0"
_HOMES = {
    "EarlyStopping": "callbacks",
    "LSTMAutoencoder": "models",
    "LSTMClassifier": "classifier",
    "SequenceAutoencoder": "estimator",
    "TensorBoard": "callbacks",
    "VideoAutoencoder": "video_estimators",
    "VideoClassifier": "video_estimators",
    "anomaly_scores": "anomaly",
    "evaluate": "evaluation",
    "fine_tune": "transfer",
    "fit": "training",
    "label_clips": "transfer",
    "label_efficiency": "transfer",
    "probe": "probes",
}
__all__ = [
    "EarlyStopping",
    "FineTuning",
    "LSTMAutoencoder",
    "LSTMClassifier",
    "ModelConfig",
    "SequenceAutoencoder",
    "TensorBoard",
    "TrainConfig",
    "VideoAutoencoder",
    "VideoClassifier",
    "anomaly_scores",
    "evaluate",
    "fine_tune",
    "fit",
    "label_clips",
    "label_efficiency",
    "probe",
]


def __getattr__(name: str) -> Any:
    """Load what needs torch only when it is asked for, so that `--help` and configs stay instant."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
