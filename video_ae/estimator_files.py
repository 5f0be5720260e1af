"""A fitted `SequenceAutoencoder` in a folder: numbers as JSON and safetensors, nothing that is run when it is read."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .files import file_checksum, read_json, write_json
from .models import LSTMAutoencoder
from .pretrained import WEIGHTS

ESTIMATOR = "estimator.json"
_FORMAT = 1
_CHECKSUM = "weights_sha256"


def save_estimator(
    folder: Path, model: LSTMAutoencoder, parameters: Mapping[str, Any], learnt: Mapping[str, Any]
) -> None:
    """Write the model's `config.json` and `model.safetensors`, then `estimator.json`, which has the checksum of these.

    parameters, learnt: whatever JSON has words for, or NumPy's numbers and arrays of one dimension. Raises ValueError
    for anything else, with nothing written.
    """
    content = {
        "format": _FORMAT,
        "parameters": {name: _plain(f"the parameter {name}", value) for name, value in parameters.items()},
        "learnt": {name: _plain(name, value) for name, value in learnt.items()},
    }
    model.save_pretrained(folder)
    write_json(folder / ESTIMATOR, content | {_CHECKSUM: file_checksum(folder / WEIGHTS)})


def load_estimator(folder: Path) -> tuple[LSTMAutoencoder, dict[str, Any], dict[str, Any]]:
    """The model, the parameters and what was learnt besides, of `save_estimator`.

    Raises FileNotFoundError, or ValueError where the files are damaged, of another version or do not belong together.
    """
    path = folder / ESTIMATOR
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a folder of SequenceAutoencoder.save")
    content = read_json(path)
    parts = ("parameters", "learnt")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), dict) for part in parts):
        raise ValueError(f"{path}: expected {' and '.join(parts)}, as SequenceAutoencoder.save writes them")
    if content.get("format") != _FORMAT:
        raise ValueError(
            f"{path}: found the format {content.get('format')!r}, expected {_FORMAT}: load it with the version of"
            " video_ae that saved it"
        )
    model = LSTMAutoencoder.from_pretrained(folder)
    if content.get(_CHECKSUM) != file_checksum(folder / WEIGHTS):
        raise ValueError(f"{path}: {WEIGHTS} beside it is another one; it was changed, or a save was interrupted")
    return model, content["parameters"], content["learnt"]


def _plain(name: str, value: Any) -> Any:
    """`value` as JSON has it. Raises ValueError for what JSON has no words for."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(name, each) for each in value]
    raise ValueError(
        f"{name} holds a {type(value).__name__}, expected numbers and text, which load without running code"
    )
