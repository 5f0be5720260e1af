"""Checkpoints of a training run: safetensors and JSON, never pickle.

A checkpoint is written beside its place and renamed when it is whole and on the disk; SHA-256 checksums show damage.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .config import ModelConfig, from_json
from .files import file_checksum, read_json, sync, write_bytes, write_json
from .pretrained import CONFIG, WEIGHTS, differences, load_weights
from .tensor_files import read_tensors, write_tensors

if TYPE_CHECKING:
    from .models import LSTMAutoencoder

METRICS = "metrics.jsonl"
_OPTIMIZER, _RANDOM, _STATE, _SUMS = "optimizer.safetensors", "random.safetensors", "checkpoint.json", "SHA256SUMS"


@dataclass
class Progress:
    """How far a run has come. `best_loss` is the lowest validation loss, in units of the training loss."""

    step: int = 0
    sequences_seen: int = 0
    seconds: float = 0.0  # of training, interruptions not counted
    best_loss: float = float("inf")
    judged_step: int = 0  # the last one with a validation


class Checkpoints:
    """The folder `checkpoints` of a run: `step-NNNNNN` each; the files `last` and `best` name two of these.

    A checkpoint holds weights, optimiser, random generators and progress, copies of the run's config and metrics, and
    SHA256SUMS, which `sha256sum -c` reads too. The checksum of that file stands beside the name in `last` and `best`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = ""  # the name of the one that was saved or loaded last

    def newest_valid(self) -> str | None:
        """The name of the checkpoint to go on from: `last` or, where that is damaged, the newest one that is not.

        None before there is one. What is damaged is told in a line each. Raises ValueError where all of them are.
        """
        names = sorted((place.name for place in self._places()), reverse=True)
        if not names:
            return None
        found = [damage for damage in (self._pointer_damage("last"), self._pointer_damage("best")) if damage]
        if self._pointer_damage("last") is None:
            names.insert(0, self._named("last"))
        for name in names:
            damage = self.damage(name)
            if damage is None:
                for line in found:
                    print(f"warning: {line}; going on from {name}", file=sys.stderr)
                return name
            found.append(damage)
        raise ValueError(f"no valid checkpoint: {'; '.join(dict.fromkeys(found))}; nothing was removed")

    def damage(self, name: str) -> str | None:
        """What is wrong with a checkpoint, in a line; None where every file is what it was when it was saved."""
        place = self.folder / name
        try:
            stored = (place / _SUMS).read_bytes()
            names = [line.partition(b"  ")[2].decode() for line in stored.splitlines()]
            if lacking := [name for name in (WEIGHTS, _OPTIMIZER, _RANDOM, _STATE) if name not in names]:
                return f"{place / _SUMS}: damaged, it lists no {lacking[0]}"
            found = _checksums(place, names)
            lines = zip(names, stored.splitlines(), found.splitlines(), strict=True)
            if differing := [name for name, one, other in lines if one != other] or [_SUMS] * (stored != found):
                return f"{place / differing[0]}: damaged, its SHA-256 is not the one in {_SUMS}"
            step = read_json(place / _STATE)["step"]
        except OSError as error:
            return f"{error.filename}: damaged ({error.strerror})"
        except ValueError:
            return f"{place / _SUMS}: damaged"
        return None if name == _name(step) else f"{place}: damaged, it holds step {step}"

    def _named(self, pointer: str) -> str:
        """The name in `last` or `best`, right or wrong; empty where there is none."""
        path = self.folder / pointer
        return path.read_bytes().partition(b" ")[0].decode(errors="replace") if path.is_file() else ""

    def _pointer_damage(self, pointer: str) -> str | None:
        """What is wrong with `last` or `best` itself, in a line. Before a checkpoint is judged, there is no `best`."""
        path, name = self.folder / pointer, self._named(pointer)
        if pointer == "best" and not path.exists():
            return None
        sums = self.folder / name / _SUMS
        if not name.startswith("step-") or sums.parent.parent != self.folder or not sums.is_file():
            return f"{path}: names no checkpoint"
        if path.read_bytes() != _pointer_to(sums.parent):
            return f"{path}: damaged, or {name} is: its {_SUMS} has another checksum"
        return None

    def save(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, *, best: bool) -> None:
        """Write a checkpoint, make it `last` (and `best`), then remove all but those two and the last one before.

        Raises FloatingPointError, and writes nothing, where a number in it is not finite.
        """
        tensors = {WEIGHTS: model.state_dict(), _OPTIMIZER: _optimizer_tensors(model, optimizer)}
        for name, tensor in [named for part in tensors.values() for named in part.items()]:
            if not tensor.isfinite().all():
                raise FloatingPointError(f"step {progress.step}: {name} is not finite")
        for leftover in self.folder.glob(".step-*.partial"):
            shutil.rmtree(leftover)
        place = self.folder / _name(progress.step)
        partial = self.folder / f".{place.name}.partial"
        try:
            partial.mkdir(parents=True)
            for name, part in (tensors | {_RANDOM: _random_states(model)}).items():
                write_tensors(partial / name, part)
            for copied in (CONFIG, METRICS):
                if (self.folder.parent / copied).is_file():
                    shutil.copyfile(self.folder.parent / copied, partial / copied)
                    sync(partial / copied)
            write_json(partial / _STATE, asdict(progress))
            names = sorted(path.name for path in partial.iterdir())
            write_bytes(partial / _SUMS, _checksums(partial, names))
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)  # the disk may be full: leave no half of a checkpoint on it
            raise
        if place.exists():
            self._remove(place)
        partial.rename(place)
        sync(self.folder)
        kept = {place.name, self._before}
        for pointer in ("last", "best") if best else ("last",):
            write_bytes(self.folder / pointer, _pointer_to(place))
        self._before = place.name
        kept.add(self._named("best"))
        for old in self._places():
            if old.name not in kept:
                self._remove(old)

    def load(self, name: str, model: LSTMAutoencoder, optimizer: torch.optim.Optimizer) -> Progress:
        """Put a checkpoint into `model`, `optimizer` and the random generators.

        Raises ValueError where it is damaged or was made with another model config.
        """
        damage = self.damage(name)
        if damage is not None:
            raise ValueError(damage)
        place = self.folder / name
        if (place / CONFIG).is_file():
            _refuse_other_model(place / CONFIG, model.config)
        load_weights(model, place / WEIGHTS)
        _restore_optimizer(model, optimizer, read_tensors(place / _OPTIMIZER))
        _restore_random_states(model, read_tensors(place / _RANDOM))
        self._before = name
        return from_json(Progress, read_json(place / _STATE), str(place / _STATE))

    def metrics(self, name: str) -> bytes:
        """The run's metrics.jsonl as it was when the checkpoint was saved."""
        path = self.folder / name / METRICS
        return path.read_bytes() if path.is_file() else b""

    def _places(self) -> list[Path]:
        """The folders of checkpoints; `step-000100-mine` is somebody else's."""
        return [place for place in self.folder.glob("step-*") if place.name.removeprefix("step-").isdecimal()]

    def _remove(self, place: Path) -> None:
        """Away from its name first, so that a kill in between leaves no half of a checkpoint under it."""
        aside = self.folder / f".{place.name}.old.partial"
        place.rename(aside)
        shutil.rmtree(aside)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _pointer_to(place: Path) -> bytes:
    return f"{place.name} {file_checksum(place / _SUMS)}\n".encode()


def _checksums(folder: Path, names: list[str]) -> bytes:
    """What `sha256sum` writes about these files."""
    return "".join(f"{file_checksum(folder / name)}  {name}\n" for name in names).encode()


def _refuse_other_model(path: Path, config: ModelConfig) -> None:
    """Raises ValueError that names what differs between the model config in `path` and `config`."""
    differing = differences(from_json(ModelConfig, read_json(path)["model"], str(path)), config)
    if differing:
        raise ValueError(f"{path.parent}: a checkpoint of another model: {'; '.join(differing)}")


def _random_states(model: torch.nn.Module) -> dict[str, Tensor]:
    """Of the generators that anything but `train_step` draws from: its numbers are a function of the step."""
    device = next(model.parameters()).device
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def _restore_random_states(model: torch.nn.Module, states: dict[str, Tensor]) -> None:
    device = next(model.parameters()).device
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors under names such as `exp_avg/encoder.lstm.layers.0.bias`."""
    return {
        f"{key}/{name}": value.detach()
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
