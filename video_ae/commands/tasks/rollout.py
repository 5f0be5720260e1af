"""Prediction far beyond training (Srivastava et al., 2015, section 4.1, "generalization over time scales")."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from markupsafe import Markup

from ...charts import METRICS, error_chart, save_chart
from ...config import FUTURE, LOSS_NAMES
from ...datasets.flags import flag
from ...files import write_json
from ...report.markup import element, join
from ...report.sections import sentences
from ...report.tables import Cells, text_table
from ...results import replace_results
from .. import cli
from .opened import FEW_CLIPS, Opened, batches
from .task import Task, register, show_predictions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from ...datasets.clips import Clips
    from ...models import Decoder, LSTMAutoencoder

STEPS = 100  # as in the paper
_UNITS = 200  # as in the paper's figure
_GIFS = 2
_START_CLIPS = 50  # that set the scale of fresh weights


@dataclass(frozen=True)
class RolloutFlags:
    rollout_steps: int | None = flag(
        None, f"how far (default: {STEPS} of generated clips, else as in training)", type=cli.positive
    )


@register
class Rollout(Task):
    name = "rollout"
    title = "Far beyond training"
    alt: ClassVar = {
        "rollout-units": "Hidden units over the steps of a long prediction: of the trained decoder and of an untrained"
        " one",
        "rollout-mse": "Squared error by step, of the model and of the baselines",
    }
    drawn = ("rollout-nats", "rollout-squared-error")
    flags = (RolloutFlags,)

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `rollout.json`, errors by step, traces of hidden units and, of pictures, GIFs; print a table and paths.

        Generated clips are as long as is asked for. Others are predicted as far as in training, or `--rollout-steps`.
        Raises ValueError for a model without future decoder and for clips that are too short.
        """
        from ...evaluation import evaluate_baselines, evaluate_batches, mean_frame
        from ...visualize import save_traces

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
            print(
                f"; {steps} steps as in training: --rollout-steps N opens longer clips, as far as the data go", end=""
            )
        print()
        for name in animations:
            print(f"GIF      {folder / name}")
        names = " and ".join(str(folder / f"rollout-{metric.replace('_', '-')}.png") for metric in metrics)
        print(f"by step  {names}\nunits    {folder / 'rollout-units.png'}\nmetrics  {folder / 'rollout.json'}")
        return results

    def show(self, folder: Path, results: Any) -> Markup:
        """As of `predict`, and from which step on the prediction is worth nothing."""
        about = element("p", f"{results['steps']} steps; {results['trained_steps']} in training.")
        return join([about, sentences(rollout_verdicts(results)), show_predictions(results)])


def no_better_from(errors: Sequence[float], baseline: Sequence[float]) -> int | None:
    """The step, from 1, from which on the errors are never below the baseline's; None where the last one still is."""
    better = [step for step, (error, other) in enumerate(zip(errors, baseline, strict=True), 1) if error < other]
    from_step = better[-1] + 1 if better else 1
    return from_step if from_step <= len(errors) else None


def hidden_units(model: LSTMAutoencoder, clip: Tensor, steps: int) -> npt.NDArray[np.float32]:
    """The future decoder's top hidden state at every step, (steps, units), after the inputs of one clip (1, T, ...).

    On a grid of patches every position has units of its own.
    """
    import torch

    from ...lengths import split_clips

    states: list[Tensor] = []  # of a conditional decoder one for every step
    decoder = cast("Decoder", model.decoders[FUTURE])
    hook = decoder.lstm.register_forward_hook(lambda module, given, outputs: states.append(outputs[0]))
    try:
        inputs, _, lengths = split_clips(clip, clip.shape[1] - steps)
        with torch.inference_mode():
            model(model.encoder.to_vectors(inputs), teacher_forcing=False, steps=steps, lengths=lengths)
    finally:
        hook.remove()
    return torch.cat(states).flatten(1).float().cpu().numpy()


def _untrained(model: LSTMAutoencoder, clips: Clips, count: int) -> LSTMAutoencoder:
    """A model of the same shape before its first step of training."""
    import torch

    from ...models import LSTMAutoencoder
    from ...restored import random_numbers_of

    with random_numbers_of(0, torch.device("cpu")):
        fresh = LSTMAutoencoder(model.config)
    fresh.start_from(clips.__getitems__(range(count)))
    return fresh.to(model.encoder.mean.device).eval()


def _changes(traces: npt.NDArray[np.float32]) -> list[float]:
    """How far the units move from each step (from the second on) to the one before: mean absolute difference."""
    return abs(traces[1:] - traces[:-1]).mean(axis=1).astype(float).tolist()


def _most_active(traces: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of traces (steps, units) those of the units that vary the most over the steps, the most active first."""
    order = (-traces.std(axis=0)).argsort(kind="stable")
    return traces[:, order[:_UNITS]]


def _animate(opened: Opened, place: Path, clips: Clips, count: int) -> list[str]:
    """The truth beside the prediction, of the first of the clips; returns the names of the GIFs."""
    from ...evaluation import predict_clips
    from ...visualize import save_clip_gif, save_sheet

    drawn = predict_clips(opened.model, clips.__getitems__(range(min(count, _GIFS))), opened.device)
    names = [f"rollout-{number:02d}.gif" for number in range(len(drawn))]
    for name, clip in zip(names, drawn, strict=True):
        save_clip_gif(place / name, clip, milliseconds=120)
    save_sheet(place / "rollout-sheet.png", drawn)
    return names


def rollout_cells(results: Mapping[str, Any], metrics: Sequence[str]) -> Cells:
    """Errors at some steps beside those of the baselines, and how much the hidden units change."""
    steps, trained = results["steps"], results["trained_steps"]
    shown = sorted({1, *(step for step in (trained, 2 * trained, 5 * trained) if step <= steps), steps})
    cells: Cells = [("at step after the input", *map(str, shown))]
    for metric in metrics:
        for name, values in {"model": results[FUTURE], **results["baselines"]}.items():
            curve = values["per_step"].get(metric)
            if curve is not None and None not in curve:
                label = f"{METRICS[metric]}, {name.replace('_', ' ')}"
                cells.append((label, *(f"{curve[step - 1]:.4g}" for step in shown)))
    for name, changes in results["change_of_hidden_units"].items():  # there is none at the first step
        cells.append((f"change of units, {name}", *(f"{changes[step - 2]:.4f}" if step > 1 else "-" for step in shown)))
    return cells


def rollout_verdicts(results: Mapping[str, Any]) -> list[str]:
    """From which step on a long prediction is worth nothing, a sentence per metric."""
    return [
        f"{METRICS[metric]}: better than the mean frame to the end"
        if step is None
        else f"{METRICS[metric]}: no better than the mean frame from step {step} after the input on"
        for metric, step in results["no_better_than_mean_frame_from"].items()
    ]
