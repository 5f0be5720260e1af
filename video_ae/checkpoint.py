"""Weights and training state on disk: safetensors and JSON, never pickle.

A checkpoint is written beside its place and renamed when it is whole and on the disk; SHA-256 sums tell damage.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from .config import ModelConfig, from_json

if TYPE_CHECKING:
    from .classifier import LSTMClassifier
    from .models import LSTMAutoencoder

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_OPTIMIZER, _STATE = "optimizer.safetensors", "checkpoint.json"


@dataclass
class Progress:
    """How far a run has come. `best_loss` is the lowest validation loss, in units of the training loss."""

    step: int = 0
    sequences_seen: int = 0
    seconds: float = 0.0  # of training, interruptions not counted
    best_loss: float = float("inf")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    _sync(partial)
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of a value as JSON."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Raises FileNotFoundError, or ValueError where the file is not JSON."""
    try:
        return json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error}); the file is damaged") from error


def save_model(model: LSTMAutoencoder | LSTMClassifier, folder: Path, sequences_seen: int | None = None) -> None:
    """See `LSTMAutoencoder.save_pretrained`. What the model has seen is written into the header of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{WEIGHTS}.partial"
    metadata = {"format": "pt"} if sequences_seen is None else {"format": "pt", "sequences_seen": str(sequences_seen)}
    save_file(_contiguous(model.state_dict()), partial, metadata)
    _sync(partial)
    partial.replace(folder / WEIGHTS)
    write_json(folder / CONFIG, asdict(model.config))


def model_folder(folder: Path) -> Path:
    """Where the model lies: `folder`, or `model` inside the folder of a run. Raises FileNotFoundError."""
    for candidate in (folder, folder / "model"):
        if (candidate / WEIGHTS).is_file() and (candidate / CONFIG).is_file():
            return candidate
    on_hub = "" if folder.exists() else " (a model on the Hugging Face Hub needs download=True)"
    raise FileNotFoundError(
        f"{folder}: no {CONFIG} with {WEIGHTS}; expected a run of train.py or a saved model{on_hub}"
    )


def sequences_seen(folder: Path) -> int | None:
    """How many clips the model in `folder` was trained on; None where that was not written down."""
    with safe_open(model_folder(folder) / WEIGHTS, "pt") as file:
        seen = (file.metadata() or {}).get("sequences_seen")
    return None if seen is None else int(seen)


def load_model(cls: type[LSTMAutoencoder], folder: Path, *, download: bool = False) -> LSTMAutoencoder:
    """See `LSTMAutoencoder.from_pretrained`."""
    if download and not folder.exists():
        from .hub import download as download_model

        folder = download_model(folder.as_posix())
    folder = model_folder(folder)
    model = cls(from_json(ModelConfig, read_json(folder / CONFIG), str(folder / CONFIG)))
    load_weights(model, folder / WEIGHTS)
    return model


def load_classifier(cls: type[LSTMClassifier], folder: Path) -> LSTMClassifier:
    """See `LSTMClassifier.from_pretrained`."""
    from .classifier import ClassifierConfig

    folder = model_folder(folder)
    source, stored = str(folder / CONFIG), read_json(folder / CONFIG)
    if not isinstance(stored, dict) or not isinstance(stored.get("encoder"), dict):
        raise ValueError(f"{source}: found no encoder; expected what LSTMClassifier.save_pretrained wrote")
    model = cls(
        from_json(ClassifierConfig, stored | {"encoder": from_json(ModelConfig, stored["encoder"], source)}, source)
    )
    load_weights(model, folder / WEIGHTS)
    return model


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Load exactly the weights that `model` has. Raises ValueError that names every weight that differs."""
    weights, expected = _load_tensors(path), model.state_dict()
    differing = sorted(
        f"{name} ({_shape(weights.get(name))} in the file, {_shape(expected.get(name))} in the model)"
        for name in weights.keys() | expected.keys()
        if _shape(weights.get(name)) != _shape(expected.get(name))
    )
    if differing:
        raise ValueError(f"{path}: weights of another model: {'; '.join(differing)}")
    model.load_state_dict(weights)


class Checkpoints:
    """The folder `checkpoints` of a run: `step-NNNNNN` each; the files `last` and `best` hold two of these names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __bool__(self) -> bool:
        """Whether there is something to resume from."""
        return any(self.folder.glob("step-*"))

    def place(self, name: str) -> Path:
        """The folder of the checkpoint `last` or `best`. Raises FileNotFoundError where the name leads nowhere."""
        pointer = self.folder / name
        place = self.folder / (pointer.read_text().strip() if pointer.is_file() else "missing")
        if place.parent != self.folder or not (place / _STATE).is_file():
            raise FileNotFoundError(f"{pointer}: names no checkpoint; write the name of one beside it into this file")
        return place

    def last_step(self) -> int | None:
        """How far the checkpoint `last` is; None before there is one."""
        return int(self.place("last").name.removeprefix("step-")) if self else None

    def save(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, *, best: bool) -> None:
        """Write a checkpoint, make it `last` (and `best`), then remove all but those two and the last one before."""
        for leftover in self.folder.glob(".step-*.partial"):
            shutil.rmtree(leftover)
        place = self.folder / f"step-{progress.step:06d}"
        partial = self.folder / f".{place.name}.partial"
        partial.mkdir(parents=True)
        save_file(_contiguous(model.state_dict()), partial / WEIGHTS)
        save_file(_optimizer_tensors(model, optimizer), partial / _OPTIMIZER)
        sums = {name: _sha256(partial / name) for name in (WEIGHTS, _OPTIMIZER)}
        for name in sums:
            _sync(partial / name)
        write_json(partial / _STATE, {"progress": asdict(progress), "sha256": sums})
        shutil.rmtree(place, ignore_errors=True)
        partial.rename(place)
        _sync(self.folder)
        kept = {place.name} | {path.read_text().strip() for path in (self.folder / "last",) if path.is_file()}
        for name in ("last", "best") if best else ("last",):
            write_bytes(self.folder / name, f"{place.name}\n".encode())
        kept |= {path.read_text().strip() for path in (self.folder / "best",) if path.is_file()}
        for old in self.folder.glob("step-*"):
            if old.name not in kept:
                shutil.rmtree(old)

    def load_last(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        """Put the last checkpoint into `model` and `optimizer`. Raises ValueError where it is damaged."""
        place = self.place("last")
        state = read_json(place / _STATE)
        if not isinstance(state, dict) or not {"progress", "sha256"} <= state.keys():
            raise ValueError(f"{place / _STATE}: damaged, expected the keys progress and sha256; {self._way_out()}")
        for name in (WEIGHTS, _OPTIMIZER):
            if not (place / name).is_file() or _sha256(place / name) != state["sha256"].get(name):
                raise ValueError(f"{place / name}: damaged, its SHA-256 is not the one in {_STATE}; {self._way_out()}")
        load_weights(model, place / WEIGHTS)
        _restore_optimizer(model, optimizer, _load_tensors(place / _OPTIMIZER))
        return Progress(**state["progress"])

    def _way_out(self) -> str:
        return f"to go on from another checkpoint, write its name into {self.folder / 'last'}"


def _optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors under names such as `exp_avg/encoder.lstm.layers.0.bias`."""
    return {
        f"{key}/{name}": value.detach().contiguous()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def _restore_optimizer(model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            key.partition("/")[0]: value.to(parameter.device)
            for key, value in tensors.items()
            if key.partition("/")[2] == name
        }


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error}); it is damaged or of another kind") from error


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "scalar"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
