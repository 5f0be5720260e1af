"""One evaluation of predictions, used by the training loop and by `evaluate.py` alike. Always free running."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .config import FUTURE, RECONSTRUCTION
from .metrics import MetricAccumulator, entropy_floor, frame_errors, nats
from .models import LSTMAutoencoder
from .patches import vectors_to_frames
from .visualize import Clip


@torch.inference_mode()
def evaluate(model: LSTMAutoencoder, batches: Iterable[Tensor], device: torch.device) -> dict[str, Any]:
    """Every metric of every decoder over all clips, `{decoder: {metric: mean, per_step: {...}}, clips: count}`.

    batches: uint8 frames (B, T, C, H, W), input frames first, then as many future frames as are to be judged.
    """
    config = model.config
    accumulators = {name: MetricAccumulator() for name in model.decoders}
    model.eval()
    for clips in batches:
        frames = clips.to(device).float() / 255
        truth = {RECONSTRUCTION: frames[:, : config.input_frames], FUTURE: frames[:, config.input_frames :]}
        inputs = model.frames_to_vectors(truth[RECONSTRUCTION])
        outputs = model(inputs, teacher_forcing=False, steps=truth[FUTURE].shape[1])
        for name, accumulator in accumulators.items():
            values = frame_errors(model.outputs_to_frames(outputs[name]), truth[name])
            if config.output == "logistic":
                logits = vectors_to_frames(outputs[name], config.frame_shape, config.patch_size)
                values = {"nats": nats(logits, truth[name])} | values
            accumulator.add(values)
    results: dict[str, Any] = {name: accumulator.result() for name, accumulator in accumulators.items()}
    return results | {"clips": max(accumulator.clips for accumulator in accumulators.values())}


@torch.inference_mode()
def predict_clips(model: LSTMAutoencoder, clips: Tensor, device: torch.device) -> list[Clip]:
    """What the model makes of uint8 clips (B, T, C, H, W), as pictures beside the truth."""
    frames = clips.float() / 255
    inputs, future = frames[:, : model.config.input_frames], frames[:, model.config.input_frames :]
    model.eval()
    outputs = model(model.frames_to_vectors(inputs.to(device)), teacher_forcing=False, steps=future.shape[1])
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
    batches: Iterable[Tensor], mean_frame: Tensor, input_frames: int, decoder: str
) -> dict[str, dict[str, Any]]:
    """What costs nothing, on the frames that `decoder` is judged by: the numbers to hold beside a model's.

    `floor` (the truth itself: nats because it is grey, and no error), `copy_last` (the last input frame),
    `mean_frame` (C, H, W) and `black`.
    """
    accumulators = {name: MetricAccumulator() for name in ("floor", "copy_last", "mean_frame", "black")}
    for clips in batches:
        frames = clips.float() / 255
        last_input = frames[:, input_frames - 1 : input_frames]
        truth = frames[:, input_frames:] if decoder == FUTURE else frames[:, :input_frames]
        mean = mean_frame.expand_as(truth)
        accumulators["floor"].add({"nats": entropy_floor(truth)})
        accumulators["copy_last"].add(frame_errors(last_input.expand_as(truth), truth))
        accumulators["mean_frame"].add({"nats": nats(torch.logit(mean, 1e-6), truth)} | frame_errors(mean, truth))
        accumulators["black"].add(frame_errors(torch.zeros_like(truth), truth))
    return {name: accumulator.result() for name, accumulator in accumulators.items()}


def mean_frame(batches: Iterable[Tensor]) -> Tensor:
    """The mean of all frames of all clips, (C, H, W) in 0 to 1: the best constant picture."""
    total, count = torch.zeros(()), 0
    for clips in batches:
        total = total + clips.double().sum(dim=(0, 1))
        count += clips.shape[0] * clips.shape[1]
    return (total / (255 * count)).float()
