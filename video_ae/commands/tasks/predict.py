"""Reconstruct and predict test clips, beside baselines that need no training."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from markupsafe import Markup

from ...charts import METRICS, error_chart, save_chart
from ...config import FUTURE, LOSS_NAMES, RECONSTRUCTION
from ...files import write_json
from ...report.page import spaced
from ...report.tables import loss_name, metric_cells, metric_text, text_table
from ...results import replace_results
from .opened import DRAWN_CLIPS, Opened, as_vectors, batches
from .task import Horizon, Task, register, show_predictions

if TYPE_CHECKING:
    from torch import Tensor

    from ...datasets.clips import Clips

_DRAWN_SERIES = 4


@register
class Predict(Task):
    name = "predict"
    title = "What it predicts"
    alt: ClassVar = {
        "predict-strip": "Frames of some clips side by side, the truth above what the model made of it",
        "predict-series": "Lines of some sequences over time: the truth, its reconstruction and the prediction",
    }
    drawn = ("predict-steps",)
    flags = (Horizon,)
    out = "future.gif"
    needs_out = False
    shared = True

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `predict.json`, curves by step, GIFs and a strip or, of features, lines; print a table and their paths.

        Several processes share the metrics; the first one writes, draws and prints. Alone with `--out`, it judges
        nothing: see `write_future`.
        """
        if arguments.out and arguments.tasks == ["predict"]:
            from .future import write_future

            write_future(opened, arguments)
            return {}
        from ...evaluation import evaluate_baselines, evaluate_batches, mean_frame

        model, device, folder, ranks = opened.model, opened.device, opened.folder, opened.ranks
        if arguments.future_frames and FUTURE not in model.decoders:
            raise ValueError("--future-frames changes nothing for a model without future decoder; leave it out")
        future_frames = arguments.future_frames or model.config.predicted_frames
        frames = opened.whole_frames(opened.data, model.config.input_frames, future_frames)
        input_frames = frames - future_frames
        clips, count = opened.test_clips(arguments, frames, shortest=future_frames + 1)

        def loaded(what: str) -> Iterator[Tensor]:
            return batches(clips, ranks.share(range(count)), arguments.batch_size, what if ranks.is_main else "")

        results = evaluate_batches(model, loaded("model"), device, ranks, input_frames=input_frames)
        if results["clips"] != count:
            raise ValueError(f"evaluated {results['clips']} clips, expected {count}: the data set is not what it says")
        judged = FUTURE if FUTURE in model.decoders else "reconstruction"
        mean = mean_frame(loaded("mean frame"), ranks)
        baselines = evaluate_baselines(
            model, loaded("baselines"), mean, judged, device, ranks, input_frames=input_frames
        )
        if not ranks.is_main:
            return results
        facts = {"baselines": baselines, "split": clips.split, "frames": frames, "clips_available": clips.available}
        results |= facts | opened.facts(arguments)
        metric = LOSS_NAMES[model.config.output]
        with replace_results(folder, "predict") as place:
            write_json(place / "predict.json", results)
            save_chart(place / "predict-steps.png", error_chart(results, metric))
            if model.config.features:
                pictures = _draw_series(opened, place, clips, count, input_frames)
            else:
                pictures = _draw(opened, place, clips, count)

        models = {name: results[name] for name in model.decoders}
        print(text_table(metric_cells(models | baselines)))
        of_all = "" if clips.available in (None, count) else f" of {clips.available}"
        clips_of = "clip" if count == 1 else "clips"
        where = f"{opened.data.dataset} ({clips.split})"
        print(f"\n{count}{of_all} {clips_of} of {where}; the baselines are judged on the {judged} frames")
        print(pictures)
        print(f"by step  {folder / 'predict-steps.png'}\nmetrics  {folder / 'predict.json'}")
        return results

    def show(self, folder: Path, results: Any) -> Markup:
        return show_predictions(results)

    def tiles(self, results: Any) -> dict[str, tuple[str, str]]:
        made = {name: results[name] for name in (FUTURE, RECONSTRUCTION) if name in results}
        loss = loss_name(made)
        others = {name: row[loss] for name, row in results["baselines"].items() if row.get(loss)}
        beside = [", ".join(f"{spaced(name)} {metric_text(loss, value)}" for name, value in others.items()), ""]
        found = (f"{metric_text(loss, values[loss])} {METRICS[loss]}" for values in made.values())
        return dict(zip(made, zip(found, beside, strict=False), strict=True))


def _draw(opened: Opened, place: Path, clips: Clips, count: int) -> str:
    """GIFs of a few of the first `count` clips, evenly spread, and a strip of some of these; returns where they are."""
    from ...evaluation import predict_clips
    from ...visualize import save_clip_gif, save_sheet, save_strip

    shown = min(count, DRAWN_CLIPS)
    spread = [index * count // shown for index in range(shown)]
    drawn = predict_clips(opened.model, clips.__getitems__(spread), opened.device)
    for number, clip in enumerate(drawn):
        save_clip_gif(place / f"predict-{number:02d}.gif", clip)
    save_strip(place / "predict-strip.png", drawn[::2])
    save_sheet(place / "predict-sheet.png", drawn)
    gifs = f"GIFs     {opened.folder / 'predict-00.gif'} to {shown - 1:02d}"
    return f"{gifs}\nstrip    {opened.folder / 'predict-strip.png'}"


def _draw_series(opened: Opened, place: Path, clips: Clips, count: int, input_frames: int) -> str:
    """A few of the first `count` sequences, evenly spread, and what the model made of them, in the data's units.

    Returns where they are.
    """
    import numpy as np
    import torch

    from ...lengths import split_clips
    from ...visualize import Series, save_series

    model, shown = opened.model, min(count, _DRAWN_SERIES)
    indices = [index * count // shown for index in range(shown)]
    batch = clips.__getitems__(indices).to(opened.device)
    inputs, future, lengths = split_clips(batch, input_frames)
    with torch.inference_mode():
        outputs = model(model.encoder.to_vectors(inputs), teacher_forcing=False, steps=future.shape[1], lengths=lengths)
    offsets = np.array(opened.data.offsets or 0.0)
    made = {name: as_vectors(model.outputs_to_frames(output)) + offsets for name, output in outputs.items()}
    read, follows = as_vectors(inputs) + offsets, as_vectors(future) + offsets
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
    save_series(place / "predict-series.png", drawn, opened.data.columns)
    return f"series   {opened.folder / 'predict-series.png'}"
