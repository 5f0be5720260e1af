"""Prediction far beyond training (Srivastava et al., 2015, section 4.1, "generalization over time scales")."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...charts import error_chart, save_chart
from ...config import FUTURE, LOSS_NAMES
from ...datasets.clips import Clips
from ...evaluation import evaluate_baselines, evaluate_batches, mean_frame, predict_clips
from ...files import write_json
from ...lengths import split_clips
from ...models import Decoder, LSTMAutoencoder
from ...report.tables import rollout_cells, rollout_verdicts, text_table
from ...restored import random_numbers_of
from ...results import replace_results
from ...visualize import save_clip_gif, save_sheet, save_traces
from .opened import FEW_CLIPS, Opened, batches

STEPS = 100  # as in the paper
_UNITS = 200  # as in the paper's figure
_GIFS = 2
_START_CLIPS = 50  # that set the scale of fresh weights


def run(opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write `rollout.json`, errors by step, traces of hidden units and, of pictures, GIFs; print a table and the paths.

    Generated clips are as long as is asked for. Others are predicted as far as in training, or `--rollout-steps`.
    Raises ValueError for a model without future decoder and for clips that are too short.
    """
    model, folder, device = opened.model, opened.folder, opened.device
    if FUTURE not in model.decoders:
        raise ValueError("rollout predicts, and this model has no future decoder; train one with --composite")
    steps = arguments.rollout_steps or (STEPS if opened.data.generated else model.config.future_frames)
    frames = opened.whole_frames(opened.data, model.config.input_frames, steps)
    read = frames - steps
    clips, count = opened.test_clips(arguments, frames, shortest=steps + 1, default=FEW_CLIPS)

    at_a_time = max(1, arguments.batch_size * model.config.frames // frames)  # of memory

    def loaded(what: str) -> Iterator[Tensor]:
        return batches(clips, range(count), at_a_time, what)

    future = evaluate_batches(model, loaded("model"), device, input_frames=read)[FUTURE]
    mean = mean_frame(loaded("mean frame"))
    baselines = evaluate_baselines(model, loaded("baselines"), mean, FUTURE, device, input_frames=read)
    metrics = tuple(dict.fromkeys([LOSS_NAMES[model.config.output], "mse"]))
    lost_from = {
        metric: no_better_from(future["per_step"][metric], baselines["mean_frame"]["per_step"][metric])
        for metric in metrics
    }
    first = clips.__getitems__([0]).to(device)
    hidden = {
        "trained": hidden_units(model, first, steps),
        "untrained": hidden_units(_untrained(model, clips, min(count, _START_CLIPS)), first, steps),
    }
    results: dict[str, Any] = {FUTURE: future, "baselines": baselines, "steps": steps, "clips": count}
    results |= {"trained_steps": model.config.future_frames, "no_better_than_mean_frame_from": lost_from}
    results |= {"change_of_hidden_units": {name: _changes(traces) for name, traces in hidden.items()}}
    with replace_results(folder, "rollout") as place:
        write_json(place / "rollout.json", results | {"split": clips.split} | opened.facts(arguments))
        for metric in metrics:
            save_chart(place / f"rollout-{metric.replace('_', '-')}.png", error_chart(results, metric))
        save_traces(place / "rollout-units.png", {name: _most_active(traces) for name, traces in hidden.items()})
        animations = [] if model.config.features else _animate(opened, place, clips, count)

    print(text_table(rollout_cells(results, metrics)))
    print("\n".join(rollout_verdicts(results)))
    print(f"\n{count} clips of {opened.data.dataset} ({clips.split})", end="")
    if not arguments.rollout_steps and not opened.data.generated:
        print(f"; {steps} steps as in training: --rollout-steps N opens longer clips, as far as the data go", end="")
    print()
    for name in animations:
        print(f"GIF      {folder / name}")
    names = " and ".join(str(folder / f"rollout-{metric.replace('_', '-')}.png") for metric in metrics)
    print(f"by step  {names}\nunits    {folder / 'rollout-units.png'}\nmetrics  {folder / 'rollout.json'}")
    return results


def no_better_from(errors: Sequence[float], baseline: Sequence[float]) -> int | None:
    """The step, from 1, from which on the errors are never below the baseline's; None where the last one still is."""
    better = [step for step, (error, other) in enumerate(zip(errors, baseline, strict=True), 1) if error < other]
    from_step = better[-1] + 1 if better else 1
    return from_step if from_step <= len(errors) else None


@torch.inference_mode()
def hidden_units(model: LSTMAutoencoder, clip: Tensor, steps: int) -> npt.NDArray[np.float32]:
    """The future decoder's top hidden state at every step, (steps, units), after the inputs of one clip (1, T, ...).

    On a grid of patches every position has units of its own.
    """
    states: list[Tensor] = []  # of a conditional decoder one for every step
    decoder = model.decoders[FUTURE]
    assert isinstance(decoder, Decoder)
    hook = decoder.lstm.register_forward_hook(lambda module, given, outputs: states.append(outputs[0]))
    try:
        inputs, _, lengths = split_clips(clip, clip.shape[1] - steps)
        model(model.encoder.to_vectors(inputs), teacher_forcing=False, steps=steps, lengths=lengths)
    finally:
        hook.remove()
    return torch.cat(states).flatten(1).float().cpu().numpy()


def _untrained(model: LSTMAutoencoder, clips: Clips, count: int) -> LSTMAutoencoder:
    """A model of the same shape before its first step of training."""
    with random_numbers_of(0, torch.device("cpu")):
        fresh = LSTMAutoencoder(model.config)
    fresh.start_from(clips.__getitems__(range(count)))
    return fresh.to(model.encoder.mean.device).eval()


def _changes(traces: npt.NDArray[np.float32]) -> list[float]:
    """How far the units move from each step (from the second on) to the one before: mean absolute difference."""
    return np.abs(np.diff(traces, axis=0)).mean(axis=1).astype(float).tolist()


def _most_active(traces: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of traces (steps, units) those of the units that vary the most over the steps, the most active first."""
    order = np.argsort(-traces.std(axis=0), kind="stable")
    return traces[:, order[:_UNITS]]


def _animate(opened: Opened, place: Path, clips: Clips, count: int) -> list[str]:
    """The truth beside the prediction, of the first of the clips; returns the names of the GIFs."""
    drawn = predict_clips(opened.model, clips.__getitems__(range(min(count, _GIFS))), opened.device)
    names = [f"rollout-{number:02d}.gif" for number in range(len(drawn))]
    for name, clip in zip(names, drawn, strict=True):
        save_clip_gif(place / name, clip, milliseconds=120)
    save_sheet(place / "rollout-sheet.png", drawn)
    return names
