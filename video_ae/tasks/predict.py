"""Reconstruct and predict test clips, beside baselines that cost nothing."""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..checkpoint import write_json
from ..config import FUTURE, LOSS_NAMES, RECONSTRUCTION
from ..evaluation import evaluate, evaluate_baselines, mean_frame, predict_clips
from ..lengths import split_clips
from ..tables import table
from ..visualize import Series, save_clip_gif, save_error_curves, save_series, save_sheet, save_strip
from .opened import DRAWN_CLIPS, Clips, Opened, batches, start_folder

_DRAWN_SERIES = 4


def run(opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write `predict.json`, curves by step, GIFs and a strip or, of features, lines; print a table and their paths.

    Several processes share the metrics; the first one writes, draws and prints.
    """
    model, device, folder, ranks = opened.model, opened.device, opened.folder, opened.ranks
    if arguments.future_frames and FUTURE not in model.decoders:
        raise ValueError("--future-frames changes nothing for a model without future decoder; leave it out")
    future_frames = arguments.future_frames or model.config.future_frames
    future_frames = future_frames if FUTURE in model.decoders else 0
    frames = opened.whole_frames(opened.data, model.config.input_frames, future_frames)
    input_frames = frames - future_frames
    clips, count = opened.test_clips(arguments, frames, shortest=future_frames + 1)

    def loaded(what: str) -> Iterator[Tensor]:
        return batches(clips, ranks.share(range(count)), arguments.batch_size, what if ranks.first else "")

    results = evaluate(model, loaded("model"), device, ranks, input_frames=input_frames)
    if results["clips"] != count:
        raise ValueError(f"evaluated {results['clips']} clips, expected {count}: the data set is not what it says")
    judged = FUTURE if FUTURE in model.decoders else "reconstruction"
    mean = mean_frame(loaded("mean frame"), ranks)
    baselines = evaluate_baselines(model, loaded("baselines"), mean, judged, device, ranks, input_frames=input_frames)
    if not ranks.first:
        return results
    start_folder(folder, "predict")
    facts = {"baselines": baselines, "split": clips.split, "frames": frames, "clips_available": clips.available}
    results |= facts | opened.facts(arguments)
    write_json(folder / "predict.json", results)
    metric = LOSS_NAMES[model.config.output]
    save_error_curves(folder / "predict-steps.png", results, baselines, input_frames, metric)

    models = {name: results[name] for name in model.decoders}
    print(table(models | {name.replace("_", " "): values for name, values in baselines.items()}))
    of_all = "" if clips.available in (None, count) else f" of {clips.available}"
    clips_of = "clip" if count == 1 else "clips"
    where = f"{opened.data.dataset} ({clips.split})"
    print(f"\n{count}{of_all} {clips_of} of {where}; the baselines are judged on the {judged} frames")
    if model.config.features:
        _draw_series(opened, clips, count, input_frames)
    else:
        _draw(opened, clips, count)
    print(f"by step  {folder / 'predict-steps.png'}\nmetrics  {folder / 'predict.json'}")
    return results


def _draw(opened: Opened, clips: Clips, count: int) -> None:
    """GIFs of a few of the first `count` clips, evenly spread, and a strip of some of these."""
    shown = min(count, DRAWN_CLIPS)
    spread = [index * count // shown for index in range(shown)]
    drawn = predict_clips(opened.model, clips.__getitems__(spread), opened.device)
    for number, clip in enumerate(drawn):
        save_clip_gif(opened.folder / f"predict-{number:02d}.gif", clip)
    save_strip(opened.folder / "predict-strip.png", drawn[::2])
    save_sheet(opened.folder / "predict-sheet.png", drawn)
    print(f"GIFs     {opened.folder / 'predict-00.gif'} to {shown - 1:02d}")
    print(f"strip    {opened.folder / 'predict-strip.png'}")


@torch.inference_mode()
def _draw_series(opened: Opened, clips: Clips, count: int, input_frames: int) -> None:
    """A few of the first `count` sequences, evenly spread, and what the model made of them, in the data's units."""
    model, shown = opened.model, min(count, _DRAWN_SERIES)
    indices = [index * count // shown for index in range(shown)]
    batch = clips.__getitems__(indices).to(opened.device)
    inputs, future, lengths = split_clips(batch, input_frames)
    outputs = model(model.encoder.to_vectors(inputs), teacher_forcing=False, steps=future.shape[1], lengths=lengths)
    offsets = np.array(opened.data.offsets or 0.0)
    made = {name: _vectors(model.outputs_to_frames(output)) + offsets for name, output in outputs.items()}
    read, follows = _vectors(inputs) + offsets, _vectors(future) + offsets
    ends = [inputs.shape[1]] * shown if lengths is None else lengths.tolist()
    drawn = [
        Series(
            clips.name(index),
            read[row, : ends[row]],
            follows[row],
            made[RECONSTRUCTION][row, : ends[row]] if RECONSTRUCTION in made else None,
            made[FUTURE][row] if FUTURE in made else None,
        )
        for row, index in enumerate(indices)
    ]
    save_series(opened.folder / "predict-series.png", drawn, opened.data.columns)
    print(f"series   {opened.folder / 'predict-series.png'}")


def _vectors(frames: Tensor) -> npt.NDArray[np.float64]:
    """Frames (B, T, D, 1, 1) as (B, T, D)."""
    return frames.flatten(2).double().cpu().numpy()
