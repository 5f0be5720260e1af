"""Errors of clips of series, and of every step of the series that these are of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch import Tensor

from .anomaly import choose_source, present, spread_scores, step_errors, step_scores
from .clips import SequenceClips
from .missing import errors_of_present
from .models import LSTMAutoencoder
from .series_input import Floats, Sequences


def errors_of_clips(
    model: LSTMAutoencoder, clips: SequenceClips, *, per_feature: bool, masked: bool
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Batch by batch the `step_errors` of clips, and which of their steps are there, (B, T).

    masked: whether the model reads a mask of missing values, which then have no error.
    """
    follow = model.config.predicted_frames
    for batch in clips.batches():
        errors = step_errors(model, batch, future_frames=follow, per_feature=per_feature or masked)
        if masked:
            errors = errors_of_present(errors, batch, follow)
            errors = errors if per_feature else {name: values.nanmean(dim=2) for name, values in errors.items()}
        yield errors, present(batch)


def errors_of_steps(
    model: LSTMAutoencoder, given: Sequences, clips: SequenceClips, *, per_feature: bool, masked: bool, spread: bool
) -> Floats:
    """The errors of every step, (S, 1), or (S, F) of every feature, float32: means over the clips that cover a step.

    spread: whether those of windows are spread over their surroundings, see `spread_scores`. NaN where there is none.
    """
    source = choose_source(None, model.config.decoders)
    judged = errors_of_clips(model, clips, per_feature=per_feature, masked=masked)
    errors = clips.mean_of_steps(step_scores(of_batch, there, source).numpy() for of_batch, there in judged)
    if spread:
        begins = [start + first for index, start in enumerate(given.starts) for first, _ in given.stretches(index)]
        nothing = _missing_beside(given, errors)
        errors[nothing] = 0  # which is never the largest: windows go on across it
        errors = np.concatenate([spread_scores(part, clips.longest) for part in np.split(errors, begins[1:])])
        errors[nothing] = np.nan
    return errors.astype(np.float32)


def _missing_beside(given: Sequences, errors: Floats) -> npt.NDArray[np.bool_]:
    """Where errors (S, 1) of steps, or (S, F) of features, are none because the values are missing."""
    if given.missing is None:
        return np.zeros(errors.shape, bool)
    missing = given.missing if errors.shape == given.missing.shape else given.missing.all(axis=1, keepdims=True)
    return missing & np.isnan(errors)
