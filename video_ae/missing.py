"""Missing values: a mask beside the features, and losses and errors of what is there alone.

A series (T, F) is read as 2 F channels: the features, with their mean where one is missing, and which are missing, 0 or
1. Models put out as many; the last F of these are not looked at.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .lengths import inside, split_clips
from .models import LSTMAutoencoder
from .outliers import clip_outliers
from .series_input import Floats, Sequences

REFUSE, MASK = "refuse", "mask"


def means_of_present(given: Sequences) -> Floats:
    """(F,), of the values that are there. Raises ValueError for a feature that has none."""
    missing = np.isnan(given.steps)
    if (nothing := missing.all(axis=0)).any():
        raise ValueError(
            f"{given.feature(int(nothing.argmax()))} is missing throughout, expected numbers: leave it out"
        )
    means: Floats = np.nanmean(given.steps, axis=0)
    return means


def fill(given: Sequences, means: npt.NDArray[np.floating]) -> Sequences:
    """The sequences with `means` (F,) in place of what is missing, and where that is."""
    missing = np.isnan(given.steps)
    return replace(given, steps=np.where(missing, means, given.steps), missing=missing)


def beside_mask(steps: Tensor, given: Sequences) -> Tensor:
    """Steps (S, F) with their mask, (S, 2 F), where there is one."""
    return steps if given.missing is None else torch.cat([steps, torch.from_numpy(given.missing).float()], dim=1)


def scale_by_present(model: LSTMAutoencoder, steps: Tensor) -> None:
    """Let a new model standardise by the values that are there, of steps (S, 2 F), and leave masks as they are."""
    features = steps.shape[1] // 2
    for feature in range(features):
        present = steps[steps[:, features + feature] == 0, feature, None].numpy()
        deviation = float(clip_outliers(present).std()) if len(present) else 0.0
        if deviation > 0:
            model.encoder.std[feature] = deviation
    model.encoder.mean[features:], model.encoder.std[features:] = 0, 1


def masked_squared_error(outputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
    """As `losses.squared_error`, of features (B, T, F) beside their masks: the mean of what is there, times F."""
    features = targets.shape[-1] // 2
    present = 1 - targets[..., features:]
    if lengths is not None:
        present = present * inside(lengths, targets.shape[1])[..., None]
    wrong = (outputs[..., :features].to(targets.dtype) - targets[..., :features]).square() * present
    return features * wrong.sum() / present.sum().clamp(min=1)


def errors_of_present(errors: dict[str, Tensor], clips: Tensor, future_frames: int) -> dict[str, Tensor]:
    """Errors per feature of `step_errors`, (B, T, 2 F), to (B, T, F), NaN where a feature is missing."""
    inputs, future, _ = split_clips(clips, clips.shape[1] - future_frames)
    found = {}
    for name, values in errors.items():
        truth = (future if name == "future" else inputs).flatten(2)
        features = truth.shape[2] // 2
        own = values[..., :features].clone()
        own[:, : truth.shape[1]][truth[..., features:] > 0] = torch.nan
        found[name] = own
    return found
