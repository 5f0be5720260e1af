"""The paper's table "which pretraining": every run predicts and classifies; one table, one plot."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checkpoint import write_json
from ..config import FUTURE
from ..tables import compare_table, curve_lines
from ..transfer import ARMS
from ..visualize import save_label_curves
from . import classify, predict
from .opened import Opened


def run(runs: Sequence[Opened], arguments: argparse.Namespace, folder: Path) -> None:
    """Write `compare.json` and a plot into `folder`, beside the results of every run in the folder of its own.

    Raises ValueError where a run is classified with other numbers of labels than the first.
    """
    rows: dict[str, dict[str, Any]] = {}
    controls: dict[Any, list[dict[str, Any]]] = {}  # what needs no pretraining is the same for encoders of one shape
    curves = {}
    for opened in runs:
        path, model = opened.run.path, opened.model.config
        print(f"\n{path}")
        kind = " + ".join(f"conditional {name}" if name in model.conditional else name for name in model.decoders)
        shape = dataclasses.replace(model, decoders=(FUTURE,), conditional=(), future_frames=1), opened.data
        known = shape in controls
        predicted = predict.run(opened, arguments)
        classified = classify.run(opened, arguments, ("encoder_init", "frozen") if known else tuple(ARMS))["curve"]
        controls.setdefault(shape, classified)
        rows[str(path)] = {"model": kind, "classify": classified} | {name: predicted[name] for name in model.decoders}
        curves[f"{path}: {kind}"] = curve_lines(classified, ("encoder_init",))["encoder_init"]
        if not known:
            curves[f"{path}: from scratch"] = curve_lines(classified, ("scratch",))["scratch"]
        first = next(iter(rows.values()))["classify"]
        if [row["labels_per_class"] for row in classified] != [row["labels_per_class"] for row in first]:
            raise ValueError(f"{path}: other numbers of labels than the first run has; say --labels-per-class for all")
    write_json(folder / "compare.json", {"runs": rows})
    save_label_curves(folder / "compare.png", curves)
    print(f"\n{compare_table(rows, list(controls.values()))}")
    print(f"plot     {folder / 'compare.png'}\nmetrics  {folder / 'compare.json'}")
