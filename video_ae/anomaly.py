"""How anomalous sequences are: errors of a trained model to scores. Trains nothing.

    scorer, normal = Scorer.fit(model, normal_batches)              # held-out normal data
    scores = scorer(clips)                                          # of steps and of sequences; see `thresholds`

A score is an error in units of the normal one: 1 is as wrong as the model usually is on normal data, 3 three
times that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from .config import DECODERS, FUTURE, LINEAR, RECONSTRUCTION
from .datasets.batches import consecutive_indices, load_batches
from .evaluation import clips_for
from .lengths import flip_time, inside, present_steps, split_clips
from .models import LSTMAutoencoder
from .patches import unit_range
from .restored import mode

BOTH = "both"
_TRIED, _REPLACEMENTS = 10, 6  # features, and how often each: chosen on seeds 100 and 101 of benchmarks/anomaly.py
SOURCES = (*DECODERS, BOTH)
_ROUNDING = 1e-6  # of a value, what float32 may make of it
_LEAST_LEVEL = 1e-3  # of the decoder's mean level: a step that is always right by luck must not inflate its scores

Floats = npt.NDArray[np.float64]


class Scores(NamedTuple):
    """`steps` (B, T), NaN where a step has no score and after each end, and `sequences` (B,)."""

    steps: Tensor
    sequences: Tensor


@torch.inference_mode()
def step_errors(
    model: LSTMAutoencoder, clips: Tensor, *, future_frames: int | None = None, per_feature: bool = False
) -> dict[str, Tensor]:
    """The error of every step, per decoder: `reconstruction` (B, T_in) and `future` (B, F), float32 on the CPU.

    Linear outputs: mean squared error per value, in standardised units. Logistic ones: nats per value above the
    entropy floor, the divergence between the true grey and the one put out. That is the loss that was trained, less
    what depends on the truth alone: a frame of much grey is not anomalous for being grey. 0 is perfect in both.

    clips:         frames (B, T, C, H, W); shorter ones end in NaN, see `split_clips`, and so do their errors.
    future_frames: F, how many of the last steps are to be predicted. None: those after the configured input frames,
                   and none without a future decoder: then sequences of any length are rebuilt.
    per_feature:   the squared error of every value instead, (B, T_in, D) and (B, F, D), whose mean is that of the step;
                   of linear outputs alone.

    Raises ValueError for clips that are too short, and for steps that are NaN in some channels only.
    """
    config = model.config
    clips = unit_range(clips.to(model.encoder.mean.device))
    T, future_frames = clips.shape[1], _predicted(model, clips, future_frames)
    inputs, future, lengths = split_clips(clips, T - future_frames)
    truth = {RECONSTRUCTION: inputs, FUTURE: future}
    steps = max(1, future_frames)
    with mode(model, training=False):
        outputs = model(model.encoder.to_vectors(inputs), teacher_forcing=False, steps=steps, lengths=lengths)
    errors = {}
    for name in config.decoders:
        if not truth[name].shape[1]:
            continue
        wrong = model.errors(outputs[name], truth[name], per_feature=per_feature)
        if not bool(wrong.isfinite().all()):
            raise ValueError(
                "found errors that are not finite: a step is NaN in some channels only, or infinite; fill in or leave"
                " out such steps"
            )
        if name == RECONSTRUCTION:
            if lengths is not None:
                there = inside(lengths, wrong.shape[1])
                wrong = wrong.where(there[..., None] if per_feature else there, torch.nan)
            wrong = _pad(wrong, T - future_frames)
        errors[name] = wrong.cpu()
    return errors


def _predicted(model: LSTMAutoencoder, clips: Tensor, future_frames: int | None) -> int:
    """How many of the last steps of clips (B, T, ...) are predicted, see `step_errors`."""
    config, T = model.config, clips.shape[1]
    if FUTURE not in config.decoders:
        future_frames = 0
    elif future_frames is None:
        future_frames = T - config.input_frames
    if not 0 <= future_frames < T or (future_frames == 0 and RECONSTRUCTION not in config.decoders):
        raise ValueError(
            f"found clips of {T} steps, the last {future_frames} of them to predict: expected steps that the model"
            f" reads, {config.input_frames} unless said otherwise, and after them some for a future decoder alone"
        )
    return future_frames


class Levels(NamedTuple):
    """What errors of one decoder are normal: `steps` (T,), in decoding order, times `features` (D,), of mean 1.

    Errors grow with the steps that a decoder has made, so each of these has its own level: `reconstruction` counts back
    from a sequence's last input step, `future` on from the first predicted. And some features are always harder.
    """

    steps: Tensor
    features: Tensor


def normal_levels(errors: Iterable[Mapping[str, Tensor]]) -> dict[str, Levels]:
    """The `Levels` of every decoder, means over all sequences.

    errors: (B, T, D) of `step_errors`, batch by batch; D is 1 where they are of whole steps.
    """
    return {name: levels_of(*sums) for name, sums in _sums(errors).items()}


def _sums(errors: Iterable[Mapping[str, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
    """Per decoder the sum (T, D) of all errors, in decoding order, and of how many sequences that is, (T,)."""
    gathered: dict[str, list[Tensor]] = {}
    for batch in errors:
        for name, values in batch.items():
            gathered.setdefault(name, []).append(_decoding_order(name, values))
    if not gathered:
        raise ValueError("found no normal sequences, expected at least one to tell what errors are normal")
    stacked = {name: _stack(parts) for name, parts in gathered.items()}
    return {name: (values.double().nansum(dim=0), _count(values).sum(dim=0)) for name, values in stacked.items()}


def _count(errors: Tensor) -> Tensor:
    """(B, T): 1 where errors (B, T, D) are there."""
    return (~errors[..., 0].isnan()).long()


def levels_of(total: Tensor, count: Tensor) -> Levels:
    """From sums (..., T, D) of the errors of so many sequences, (..., T): `steps` (..., T) and `features` (..., D).

    Steps that no sequence has, which are the last ones, have the level of the last that one has.
    """
    whole = total.sum(dim=-2)  # (..., D)
    features = whole / whole.mean(dim=-1, keepdim=True)
    features = features.nan_to_num(1.0).clamp(min=_LEAST_LEVEL)
    steps = (total / features[..., None, :]).mean(dim=-1) / count
    mean = steps.nanmean(dim=-1, keepdim=True)
    steps = steps.maximum((_LEAST_LEVEL * mean).clamp(min=torch.finfo(torch.float32).tiny))
    last = (count > 0).sum(dim=-1, keepdim=True) - 1
    there = torch.arange(steps.shape[-1]).expand_as(steps).minimum(last.clamp(min=0))
    return Levels(steps.gather(-1, there).float(), features.float())


def _at_steps(decoder: str, errors: Tensor, values: Tensor) -> Tensor:
    """Values (T',) or (B, T'), in decoding order, to the places of errors (B, T, D): (B, T, 1), NaN where these are.

    Steps beyond those that have a value have the last one.
    """
    ordered = _decoding_order(decoder, errors)[..., :1]
    steps = torch.arange(ordered.shape[1]).clamp(max=values.shape[-1] - 1)
    values = values[..., steps, None].expand_as(ordered)
    return _decoding_order(decoder, values.where(~ordered.isnan(), torch.nan))


def relative_errors(errors: Mapping[str, Tensor], levels: Mapping[str, Levels]) -> dict[str, Tensor]:
    """Errors (B, T, D) of `step_errors` in units of the normal level of their decoder, step and feature.

    Steps beyond those of the normal sequences have the level of the last one. Levels may differ for each sequence.
    """
    return {
        name: values / (_at_steps(name, values, levels[name].steps) * levels[name].features.unsqueeze(-2))
        for name, values in errors.items()
    }


def choose_source(source: str | None, decoders: Sequence[str]) -> str:
    """`source`, or both decoders where there are both. Raises ValueError for what these decoders cannot give."""
    possible = SOURCES if set(DECODERS) <= set(decoders) else tuple(decoders)
    if source is None:
        return possible[-1]
    if source not in possible:
        raise ValueError(f"source {source!r}: this model can be scored by {', '.join(possible)}")
    return source


def present(clips: Tensor) -> Tensor:
    """(B, T) bool on the CPU: which steps of clips (B, T, ...) are there, that is not NaN throughout."""
    if not clips.is_floating_point():
        return torch.ones(clips.shape[:2], dtype=torch.bool)
    return ~clips.flatten(2).isnan().all(dim=2).cpu()


def step_scores(errors: Mapping[str, Tensor], there: Tensor, source: str) -> Tensor:
    """Relative errors laid along the steps of the whole clips: (B, T, ...), NaN where `source` has no score.

    errors: (B, T_in, ...) and (B, F, ...), of steps or of each of their features.

    there: (B, T), of `present`. `reconstruction` scores the input steps, `future` those that follow; `both` scores all.
    """
    ends = there.sum(dim=1)  # (B,), of the whole sequences
    trailing = next(iter(errors.values())).shape[2:]
    scores = torch.full((*there.shape, *trailing), torch.nan)
    if source in (RECONSTRUCTION, BOTH):
        scores[:, : errors[RECONSTRUCTION].shape[1]] = errors[RECONSTRUCTION]
    if source in (FUTURE, BOTH):
        future = errors[FUTURE]
        steps = ends[:, None] - future.shape[1] + torch.arange(future.shape[1])  # (B, F)
        scores[torch.arange(len(scores))[:, None], steps] = future
    return scores


def sequence_scores(errors: Mapping[str, Tensor], source: str) -> Tensor:
    """The mean relative error of each sequence's steps, (B,); of `both`, the mean of the two decoders' means."""
    names = DECODERS if source == BOTH else (source,)
    return torch.stack([errors[name].flatten(1).nanmean(dim=1) for name in names]).mean(dim=0)


@dataclass(frozen=True)
class Scorer:
    """Clips (B, T, C, H, W) to `Scores`: what `step_errors`, `relative_errors` and the two above do, one after another.

    levels: of `normal_levels`. source: one of `SOURCES` that the model has. future_frames: see `step_errors`.
    """

    model: LSTMAutoencoder
    levels: Mapping[str, Levels]
    source: str
    future_frames: int | None = None

    @classmethod
    def fit(
        cls,
        model: LSTMAutoencoder,
        batches: Iterable[Tensor],
        source: str | None = None,
        *,
        future_frames: int | None = None,
    ) -> tuple[Scorer, Scores]:
        """A scorer whose levels are those of held-out normal clips, and their scores, for `Thresholds.fit`.

        Each of them is scored by the levels of the others: by its own, none of a few could be much worse than usual.

        source: None takes both decoders where the model has both. Raises ValueError for one that it lacks.
        """
        scorer = cls(model, {}, choose_source(source, model.config.decoders), future_frames)
        return scorer.fitted([(scorer.errors(clips), present(clips)) for clips in batches])

    def fitted(self, judged: Sequence[tuple[Mapping[str, Tensor], Tensor]]) -> tuple[Scorer, Scores]:
        """What `fit` returns, of the `errors` of batches of normal clips and the steps `present` in each."""
        sums = _sums(errors for errors, _ in judged)
        scorer = replace(self, levels={name: levels_of(*sums[name]) for name in sums})
        of_others = [(relative_errors(errors, _of_others(errors, sums)), there) for errors, there in judged]
        return scorer, join_scores([scorer._judged(*batch)[0] for batch in of_others])

    def __call__(self, clips: Tensor) -> Scores:
        """The scores of one batch, float32 on the CPU. Raises ValueError as `step_errors` does."""
        return self.judge(clips)[0]

    def features(self, clips: Tensor) -> Tensor:
        """What the features of one batch contribute to the scores of its steps, (B, T, D), of linear outputs: errors in
        units of their normal ones. Their mean is the score of the step."""
        return self.judge(clips)[1]

    def judge(self, clips: Tensor) -> tuple[Scores, Tensor]:
        """The scores of one batch and its `features`, by one pass of the model."""
        return self._judged(relative_errors(self.errors(clips), self.levels), present(clips))

    def attribute(self, clips: Tensor) -> Tensor:
        """Which features explain that clips are anomalous, (B, D): by how much the score of a sequence falls if one
        feature is replaced by what the model makes of the clip, again and again, so that it fits to the others.

        A faulty feature spoils what the model makes of the others, whose errors are then large as well; its own
        replacement mends them all (reconstruction-based contributions: Alcala and Qin, Automatica 2009, for PCA). Of
        more than 10 features those with the largest errors are tried, the others have 0. Of linear outputs.
        """
        clips = clips.cpu()  # as what the model makes of them
        scores, features = self.judge(clips)
        errors = features.nanmean(dim=1)  # (B, D)
        explained = torch.zeros_like(errors)
        for tried in errors.argsort(dim=1, descending=True)[:, :_TRIED].unbind(dim=1):
            chosen = functional.one_hot(tried, errors.shape[1]).bool()
            without = clips
            for _ in range(_REPLACEMENTS):
                made = rebuild(self.model, without, self.future_frames)
                without = torch.where(chosen[:, None, :, None, None] & ~made.isnan(), made, without)
            explained[chosen] = scores.sequences - self(without).sequences
        return explained

    def errors(self, clips: Tensor) -> dict[str, Tensor]:
        """(B, T, D) of every decoder; D is 1 of pictures, whose channels and pixels have no levels of their own."""
        per_feature = self.model.config.features and self.model.config.output == LINEAR
        errors = step_errors(self.model, clips, future_frames=self.future_frames, per_feature=per_feature)
        return errors if per_feature else {name: values[..., None] for name, values in errors.items()}

    def _judged(self, relative: Mapping[str, Tensor], there: Tensor) -> tuple[Scores, Tensor]:
        features = step_scores(relative, there, self.source)
        return Scores(features.mean(dim=2), sequence_scores(relative, self.source)), features


def _of_others(errors: Mapping[str, Tensor], sums: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Levels]:
    """For each of some sequences the levels of all others, (B, T) and (B, D); of a single one its own.

    errors: (B, T, D) of these. sums: of all, in which they are.
    """
    levels = {}
    for name, (total, count) in sums.items():
        if count.max() > 1:
            own = _pad(_decoding_order(name, errors[name]), len(count))
            total, count = total - own.double().nan_to_num(), count - _count(own)
        levels[name] = levels_of(total, count)
    return levels


@torch.inference_mode()
def rebuild(model: LSTMAutoencoder, clips: Tensor, future_frames: int | None = None) -> Tensor:
    """Clips (B, T, C, H, W) as the decoders make them, floats on the CPU, NaN where none does; see `step_errors`."""
    clips = unit_range(clips.to(model.encoder.mean.device))
    steps = clips.shape[1] - _predicted(model, clips, future_frames)
    inputs, _, lengths = split_clips(clips, steps)
    made = {}
    if RECONSTRUCTION in model.decoders:
        rebuilt = model.reconstruct(inputs, lengths).cpu()
        there = torch.ones(rebuilt.shape[:2], dtype=torch.bool) if lengths is None else inside(lengths, steps).cpu()
        made[RECONSTRUCTION] = rebuilt.where(there[..., None, None, None], torch.nan)
    if FUTURE in model.decoders:
        made[FUTURE] = model.predict(inputs, clips.shape[1] - steps, lengths).cpu()
    return step_scores(made, present(clips), choose_source(None, model.config.decoders))


def anomaly_scores(
    model: LSTMAutoencoder, clips: Any, normal: Any, source: str | None = None, *, batch_size: int = 50
) -> Scores:
    """How anomalous clips of your own are, beside `normal` ones that the model was not trained on.

    clips, normal: arrays or tensors (N, T, C, H, W), or data sets of clips, see `fit`. source: see `Scorer.fit`.

    Returns `steps` (N, T) and `sequences` (N,), in units of what is usual for normal clips: 1 is as wrong as that.
    """

    def batches(given: Any) -> Iterator[Tensor]:
        own = clips_for(model.config, given, finite=True)
        return load_batches(own, consecutive_indices(len(own), batch_size))

    scorer, _ = Scorer.fit(model, batches(normal), source)
    return join_scores([scorer(batch) for batch in batches(clips)])


def join_scores(parts: Sequence[Scores]) -> Scores:
    """The scores of several batches as those of one; shorter clips are filled up with NaN."""
    return Scores(_stack([part.steps for part in parts]), torch.cat([part.sequences for part in parts]))


def constant_channels(batches: Iterable[Tensor]) -> dict[int, float]:
    """The channels of clips (B, T, C, H, W) that have one value throughout, and that value; padding does not count.

    Nothing more is read once no channel is left.
    """
    low = high = torch.empty(0)
    for clips in batches:
        steps = present_steps(clips)  # (N, C, H, W)
        low = torch.stack([steps.amin(dim=(0, 2, 3)), *([low] if len(low) else [])]).amin(dim=0)
        high = torch.stack([steps.amax(dim=(0, 2, 3)), *([high] if len(high) else [])]).amax(dim=0)
        if bool((low < high).all()):
            break
    return {channel: float(low[channel]) for channel in torch.nonzero(low == high).flatten().tolist()}


def moved_constants(constants: Mapping[int, float], clips: Tensor) -> dict[int, Tensor]:
    """Where channels of clips (B, T, C, H, W) leave the value that they always had in training: (B, T) bool for each.

    A model has never seen them move, so that its errors say nothing about it. What rounding to float32 does is no move.
    constants: of `constant_channels`.
    """
    return {
        channel: (torch.abs(clips[:, :, channel] - value) > _ROUNDING * abs(value)).flatten(2).any(dim=2)
        for channel, value in constants.items()
    }


def window_starts(steps: int, width: int, stride: int) -> npt.NDArray[np.int64]:
    """Where windows of `width` steps begin in a series of `steps`: every `stride`, the last one at the series' end.

    Raises ValueError for a series that is shorter than a window.
    """
    if not 1 <= width <= steps or stride < 1:
        raise ValueError(f"found a series of {steps} steps, expected at least the {width} of a window; stride {stride}")
    return np.append(np.arange(0, steps - width, stride), steps - width)


def average_windows(scores: npt.ArrayLike, starts: npt.ArrayLike, steps: int) -> Floats:
    """One score per step of a long series, (steps,): the mean over the windows that cover it and have a score there.

    scores: (N, W) of N windows, NaN for no score. starts: (N,), the step of the series at which each begins. Steps that
    no window scores are NaN. Raises ValueError for windows that reach beyond the series.
    """
    values, first = np.asarray(scores, np.float64), np.asarray(starts, np.int64)
    places = first[:, None] + np.arange(values.shape[1])  # (N, W)
    there = ~np.isnan(values)
    places, values = places[there], values[there]
    if len(places) and not 0 <= places.min() <= places.max() < steps:
        raise ValueError(f"windows score steps {places.min()} to {places.max()}: expected 0 to {steps - 1}")
    total, count = np.bincount(places, values, steps), np.bincount(places, minlength=steps)
    return np.divide(total, count, out=np.full(steps, np.nan), where=count > 0)


def spread_scores(scores: npt.ArrayLike, width: int) -> Floats:
    """Scores along one series, (T,) or (T, F), spread over their surroundings: every window of `width` steps has the
    highest score in it, and a step the mean over the windows that cover it.

    Anomalies are stretches, of which single steps may look normal. NaN stays NaN, and no window crosses it; a stretch
    between two that is shorter than `width` is one window.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim == 2:
        return np.stack([spread_scores(column, width) for column in values.T], axis=1)
    spread = np.full(len(values), np.nan)
    known = np.diff(np.concatenate([[False], ~np.isnan(values), [False]]).astype(np.int8))
    for start, stop in zip(np.flatnonzero(known == 1), np.flatnonzero(known == -1), strict=True):
        ones = np.ones(min(width, int(stop - start)))
        peaks = np.lib.stride_tricks.sliding_window_view(values[start:stop], len(ones)).max(axis=1)
        spread[start:stop] = np.convolve(peaks, ones) / np.convolve(np.ones_like(peaks), ones)
    return spread


def _decoding_order(decoder: str, errors: Tensor) -> Tensor:
    """Errors (B, T, D) as their decoder made them, first step first, and back again: it is its own inverse."""
    return errors if decoder == FUTURE else flip_time(errors, _count(errors).sum(dim=1))


def _stack(parts: Sequence[Tensor]) -> Tensor:
    """Values (B, T, ...) of several batches as one, filled up with NaN to the longest T."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([_pad(part, longest) for part in parts])


def _pad(values: Tensor, steps: int) -> Tensor:
    """(B, T, ...) to (B, steps, ...), filled up with NaN."""
    return functional.pad(values, (0, 0) * (values.ndim - 2) + (0, steps - values.shape[1]), value=torch.nan)
