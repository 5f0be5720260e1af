"""Models on disk: `config.json` and `model.safetensors`, never pickle. Which class a model is of, its caller knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from .config import ModelConfig, from_json
from .extras import import_extra
from .files import file_checksum, json_bytes, read_json, sync, write_bytes
from .restored import random_numbers_of
from .tensor_files import SEAL, read_metadata, read_tensors, write_tensors

if TYPE_CHECKING:
    from .classifier import LSTMClassifier
    from .models import LSTMAutoencoder

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SHIPPED = Path(__file__).parent / "shipped"  # models that come with the package, a folder each
_CONFIG_CHECKSUM = "config_sha256"  # in the header of the weights

Model = TypeVar("Model", bound=nn.Module)


def save_model(model: LSTMAutoencoder | LSTMClassifier, folder: Path, sequences_seen: int | None = None) -> None:
    """See `LSTMAutoencoder.save_pretrained`. What the model has seen is written into the header of the weights.

    The weights come last, in one piece, and their header holds the checksum of the config: whatever happens in between,
    two files that do not belong together are noticed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = json_bytes(asdict(model.config))
    if not (folder / CONFIG).is_file() or (folder / CONFIG).read_bytes() != config:
        write_bytes(folder / CONFIG, config)
    metadata = {"format": "pt", SEAL: "", _CONFIG_CHECKSUM: file_checksum(folder / CONFIG)}
    if sequences_seen is not None:
        metadata["sequences_seen"] = str(sequences_seen)
    partial = folder / f".{WEIGHTS}.partial"
    write_tensors(partial, model.state_dict(), metadata)
    partial.replace(folder / WEIGHTS)
    sync(folder)


def _read_config(folder: Path) -> Any:
    """The config that the weights in `folder` were saved with. Raises ValueError where it is another one.

    Weights without checksums, of other programs or older versions, are taken as they are.
    """
    metadata = read_metadata(folder / WEIGHTS)
    if (SEAL in metadata) != (_CONFIG_CHECKSUM in metadata):
        raise ValueError(f"{folder / WEIGHTS}: damaged, its header has only one of {SEAL} and {_CONFIG_CHECKSUM}")
    config = read_json(folder / CONFIG)
    if metadata.get(_CONFIG_CHECKSUM) not in (None, file_checksum(folder / CONFIG)):
        raise ValueError(f"{folder / CONFIG}: not the one that {WEIGHTS} was saved with; it was changed or is damaged")
    return config


def model_folder(folder: Path) -> Path:
    """Where the model lies: `folder`, `model` inside the folder of a run or, where that is the name of one, a model of
    `SHIPPED`. Raises FileNotFoundError."""
    for candidate in (folder, folder / "model", SHIPPED / folder):
        if (candidate / WEIGHTS).is_file() and (candidate / CONFIG).is_file():
            return candidate
    on_hub = "" if folder.exists() else " (a model on the Hugging Face Hub needs download=True)"
    raise FileNotFoundError(
        f"{folder}: no {CONFIG} with {WEIGHTS}; expected a run of train.py or a saved model{on_hub}"
    )


def sequences_seen(folder: Path) -> int | None:
    """How many clips the model in `folder` was trained on; None where that was not written down."""
    seen = read_metadata(model_folder(folder) / WEIGHTS).get("sequences_seen")
    return None if seen is None else int(seen)


def load_model(
    build: Callable[[Any, str], Model],
    folder: Path | str,
    *,
    download: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> Model:
    """The model in `folder`, as `build` makes it of the config in its JSON and the name of that file, for messages.

    The other arguments, and what is raised: see `LSTMAutoencoder.from_pretrained`; ImportError without the extra `hub`.
    """
    folder = Path(folder)
    if download and not folder.exists():
        hub, files = import_extra("huggingface_hub", "hub"), [CONFIG, WEIGHTS]
        place = hub.snapshot_download(folder.as_posix(), revision=revision, token=token, allow_patterns=files)
        folder = Path(place)
    elif revision is not None or token is not None:
        why = "there is a folder of this name here" if download else "give download=True"
        raise ValueError(f"{folder}: revision and token are of the Hugging Face Hub, and {why}")
    folder = model_folder(folder)
    config = _read_config(folder)
    with random_numbers_of(0, torch.device("cpu")):  # fresh weights would take some from others
        model = build(config, str(folder / CONFIG))
    load_weights(model, folder / WEIGHTS)
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Load exactly the weights that `model` has. Raises ValueError that names every weight that differs."""
    weights, expected = read_tensors(path), model.state_dict()
    differing = sorted(
        f"{name} ({_shape(weights.get(name))} in the file, {_shape(expected.get(name))} in the model)"
        for name in weights.keys() | expected.keys()
        if _shape(weights.get(name)) != _shape(expected.get(name))
    )
    if differing:
        raise ValueError(f"{path}: weights of another model: {'; '.join(differing)}")
    model.load_state_dict(weights)


def load_initial_weights(model: LSTMAutoencoder, folder: Path) -> None:
    """Put the weights of a run or a saved model into a new `model`, and the scale of the data of their training.

    Clips may be of other lengths and, where the model is convolutional, frames of other sizes. Raises ValueError that
    names what else differs: weights fit that mean something else, such as those of logistic and linear outputs.
    """
    folder = model_folder(folder)
    stored, config = from_json(ModelConfig, _read_config(folder), str(folder / CONFIG)), model.config
    same = replace(stored, input_frames=config.input_frames, future_frames=config.future_frames)
    if stored.convolutional and config.convolutional and stored.patch_size == config.patch_size:
        same = replace(same, frame_shape=(stored.frame_shape[0], *config.frame_shape[1:]))
    differing = differences(same, config)
    if differing:
        raise ValueError(
            f"{folder}: weights of another model, with {'; '.join(differing)}; give the flags of the run that they are"
            " from, or leave out --init-from"
        )
    load_weights(model, folder / WEIGHTS)


def differences(stored: ModelConfig, config: ModelConfig) -> list[str]:
    """In words, field by field."""
    before = asdict(stored)
    return [f"{key} {before[key]}, not {value}" for key, value in asdict(config).items() if before[key] != value]


def _shape(tensor: torch.Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "scalar"
