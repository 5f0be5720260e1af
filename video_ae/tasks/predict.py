"""Reconstruct and predict test clips, beside baselines that cost nothing."""

import argparse
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ..checkpoint import write_json
from ..config import FUTURE, LOSS_NAMES
from ..evaluation import evaluate, evaluate_baselines, mean_frame, predict_clips
from ..tables import table
from ..visualize import save_clip_gif, save_error_curves, save_strip
from .opened import DRAWN_CLIPS, Clips, Opened, batches, start_folder


def run(opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write `predict.json`, curves by step and, of pictures, GIFs and a strip; print a table and their paths."""
    model, device, folder = opened.model, opened.device, opened.folder
    if arguments.future_frames and FUTURE not in model.decoders:
        raise ValueError("--future-frames changes nothing for a model without future decoder; leave it out")
    future_frames = arguments.future_frames or model.config.future_frames
    frames = model.config.input_frames + (future_frames if FUTURE in model.decoders else 0)
    clips, count = opened.test_clips(arguments, frames)

    def loaded(what: str) -> Iterator[Tensor]:
        return batches(clips, range(count), arguments.batch_size, what)

    results = evaluate(model, loaded("model"), device)
    if results["clips"] != count:
        raise ValueError(f"evaluated {results['clips']} clips, expected {count}: the data set is not what it says")
    judged = FUTURE if FUTURE in model.decoders else "reconstruction"
    mean = mean_frame(loaded("mean frame"))
    baselines = evaluate_baselines(model, loaded("baselines"), mean, judged, device)
    start_folder(folder, "predict")
    available = None if clips.endless else len(clips)
    facts = {"baselines": baselines, "split": opened.split, "frames": frames, "clips_available": available}
    results |= facts | opened.facts(arguments)
    write_json(folder / "predict.json", results)
    metric = LOSS_NAMES[model.config.output]
    save_error_curves(folder / "predict-steps.png", results, baselines, model.config.input_frames, metric)

    models = {name: results[name] for name in model.decoders}
    print(table(models | {name.replace("_", " "): values for name, values in baselines.items()}))
    of_all = "" if available in (None, count) else f" of {available}"
    clips_of = "clip" if count == 1 else "clips"
    where = f"{opened.data.dataset} ({opened.split})"
    print(f"\n{count}{of_all} {clips_of} of {where}; the baselines are judged on the {judged} frames")
    if not model.config.features:
        _draw(opened, clips, min(count, DRAWN_CLIPS))
    print(f"by step  {folder / 'predict-steps.png'}\nmetrics  {folder / 'predict.json'}")
    return results


def _draw(opened: Opened, clips: Clips, count: int) -> None:
    """GIFs of the first `count` clips and a strip of a few of them."""
    drawn = predict_clips(opened.model, clips.__getitems__(range(count)), opened.device)
    for number, clip in enumerate(drawn):
        save_clip_gif(opened.folder / f"predict-{number:02d}.gif", clip)
    save_strip(opened.folder / "predict-strip.png", drawn[:4])
    print(f"GIFs     {opened.folder / 'predict-00.gif'} to {count - 1:02d}")
    print(f"strip    {opened.folder / 'predict-strip.png'}")
