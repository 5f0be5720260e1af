"""One evaluation of predictions, used by the training loop and by `evaluate.py` alike. Always free running."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .config import FUTURE, LINEAR, LOGISTIC, RECONSTRUCTION, ModelConfig
from .datasets.batches import consecutive_indices, load_batches
from .datasets.clips import Clips
from .datasets.own import as_clips
from .distributed import ALONE, Ranks
from .lengths import last_step, present_steps, split_clips
from .metrics import MetricAccumulator, entropy_floor, frame_errors, nats, picture_errors, squared_sum
from .models import LSTMAutoencoder
from .patches import unit_range
from .restored import mode
from .visualize import Clip

_OF_ANY_RANGE = ("copy_last", "mean_frame")  # baselines that need no probabilities


def clips_for(config: ModelConfig, clips: Any, *, finite: bool = False) -> Clips:
    """Clips of your own, see `fit`, for a model of `config`. `finite` ones are read to their end."""
    return as_clips(clips, config.frames, config.shortest, config.frame_shape, finite=finite)


def evaluate(model: LSTMAutoencoder, clips: Any, *, batch_size: int = 50) -> dict[str, Any]:
    """Every metric of every decoder over all clips, free running, on the device that the model is on.

    clips: an array or tensor (N, T, C, H, W), or any data set of clips, as for `fit`.

    Returns `{decoder: {metric: mean, per_step: {metric: [...]}}, clips: count}`: per frame `mse` and `mae` (summed over
    its pixels in 0 to 1), of pictures `psnr` and `ssim`, and the loss, `nats` or `squared_error`; see `metrics.py`.
    Raises ValueError for clips that do not fit the model.
    """
    held_out = clips_for(model.config, clips, finite=True)
    batches = load_batches(held_out, consecutive_indices(len(held_out), batch_size))
    return evaluate_batches(model, batches, model.encoder.mean.device)


@torch.inference_mode()
def evaluate_batches(
    model: LSTMAutoencoder,
    batches: Iterable[Tensor],
    device: torch.device,
    ranks: Ranks = ALONE,
    *,
    input_frames: int | None = None,
) -> dict[str, Any]:
    """Every metric of every decoder over all clips, `{decoder: {metric: mean, per_step: {...}}, clips: count}`.

    batches: frames (B, T, C, H, W), input frames first, then as many future frames as are to be judged; shorter clips
    end in NaN, see `split_clips`. With several ranks, each has its share of the clips, and all get the results.
    input_frames: as many as the model was trained for, unless said otherwise.
    """
    config = model.config
    read = config.input_frames if input_frames is None else input_frames
    accumulators = {name: MetricAccumulator() for name in model.decoders}
    for clips in batches:
        inputs, future, lengths = split_clips(unit_range(clips.to(device)), read)
        truth, ends = {RECONSTRUCTION: inputs, FUTURE: future}, {RECONSTRUCTION: lengths, FUTURE: None}
        vectors = model.encoder.to_vectors(inputs)
        with mode(model, training=False):
            outputs = model(vectors, teacher_forcing=False, steps=future.shape[1], lengths=lengths)
        for name, accumulator in accumulators.items():
            values = errors(model, model.outputs_to_frames(outputs[name]), truth[name])
            if config.output == LOGISTIC:
                logits = model.vectors_to_frames(outputs[name])
                values = {"nats": nats(logits, truth[name])} | values
            accumulator.add(values, ends[name])
    accumulators = _of_all(accumulators, ranks)
    results: dict[str, Any] = {name: accumulator.result() for name, accumulator in accumulators.items()}
    return results | {"clips": max(accumulator.clips for accumulator in accumulators.values())}


def _of_all(accumulators: dict[str, MetricAccumulator], ranks: Ranks) -> dict[str, MetricAccumulator]:
    """What the ranks have accumulated under each name, together."""
    parts = ranks.gather({name: accumulator.sums() for name, accumulator in accumulators.items()})
    return {name: MetricAccumulator.merge([part[name] for part in parts]) for name in accumulators}


def errors(model: LSTMAutoencoder, predicted: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Metrics (B, T) of predicted frames (B, T, C, H, W); only pictures have PSNR and SSIM.

    For linear outputs `squared_error` is the training loss: of standardised channels, summed over the frame.
    """
    values = frame_errors(predicted, truth)
    if not model.config.features:
        values |= picture_errors(predicted, truth)
    if model.config.output == LINEAR:
        values = {"squared_error": squared_sum((predicted - truth) / model.encoder.std[:, None, None])} | values
    return values


@torch.inference_mode()
def predict_clips(model: LSTMAutoencoder, clips: Tensor, device: torch.device) -> list[Clip]:
    """What the model makes of clips (B, T, C, H, W), as pictures beside the truth."""
    frames = unit_range(clips)
    inputs, future = frames[:, : model.config.input_frames], frames[:, model.config.input_frames :]
    with mode(model, training=False):
        outputs = model(model.encoder.to_vectors(inputs.to(device)), teacher_forcing=False, steps=future.shape[1])
    made = {name: model.outputs_to_frames(output).clamp(0, 1).cpu().numpy() for name, output in outputs.items()}
    return [
        Clip(
            inputs[index].numpy(),
            future[index].numpy(),
            made[RECONSTRUCTION][index] if RECONSTRUCTION in made else None,
            made[FUTURE][index] if FUTURE in made else None,
        )
        for index in range(len(clips))
    ]


@torch.inference_mode()
def evaluate_baselines(
    model: LSTMAutoencoder,
    batches: Iterable[Tensor],
    mean_frame: Tensor,
    decoder: str,
    device: torch.device,
    ranks: Ranks = ALONE,
    *,
    input_frames: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Baselines without training, on the frames that `decoder` is judged by: what to hold the model beside.

    `copy_last` (the last input frame) and `mean_frame` (C, H, W). For logistic outputs also `black`, all zeros, and
    `floor`, the truth itself: it has nats, because it is grey, and no error.
    Ranks share the clips as in `evaluate_batches`, and `input_frames` is the same.
    """
    names = ("floor", "copy_last", "mean_frame", "black") if model.config.output == LOGISTIC else _OF_ANY_RANGE
    accumulators = {name: MetricAccumulator() for name in names}
    read = model.config.input_frames if input_frames is None else input_frames
    for clips in batches:
        inputs, future, lengths = split_clips(unit_range(clips.to(device)), read)
        truth, ends = (future, None) if decoder == FUTURE else (inputs, lengths)
        last_input = last_step(inputs, lengths)[:, None]
        mean = mean_frame.to(device).expand_as(truth)
        accumulators["copy_last"].add(errors(model, last_input.expand_as(truth), truth), ends)
        mean_errors = errors(model, mean, truth)
        if model.config.output == LOGISTIC:
            accumulators["floor"].add({"nats": entropy_floor(truth)}, ends)
            accumulators["black"].add(errors(model, torch.zeros_like(truth), truth), ends)
            mean_errors = {"nats": nats(torch.logit(mean, 1e-6), truth)} | mean_errors
        accumulators["mean_frame"].add(mean_errors, ends)
    return {name: accumulator.result() for name, accumulator in _of_all(accumulators, ranks).items()}


def mean_frame(batches: Iterable[Tensor], ranks: Ranks = ALONE) -> Tensor:
    """The mean of all frames of all clips, (C, H, W) in the range of the data: the best constant picture."""
    total, count = torch.zeros(()), 0
    for clips in batches:
        frames = present_steps(unit_range(clips))  # (N, C, H, W)
        total = total + frames.cpu().double().sum(dim=0)
        count += len(frames)
    parts = [part for part in ranks.gather((total.tolist(), count)) if part[1]]  # fewer clips than ranks: some had none
    totals = torch.tensor([total for total, _ in parts], dtype=torch.float64)
    return (totals.sum(dim=0) / sum(count for _, count in parts)).float()
