"""Runs side by side, as in the paper's table "which pretraining": every run predicts and, with classes, classifies."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...charts import compared_labels, save_chart
from ...config import FUTURE, LOSS_NAMES
from ...datasets.notes import note
from ...files import write_json
from ...report.tables import compare_cells, text_table
from ...results import replace_results
from ...transfer import ARMS
from .classify import Classify
from .opened import Opened
from .predict import Predict


def run(runs: Sequence[Opened], arguments: argparse.Namespace, folder: Path) -> None:
    """Write `compare.json` and a plot into `folder`, beside the results of every run in the folder of its own.

    Raises ValueError, before anything is computed, for runs of other data or of another loss than the first.
    """
    _check_comparable(runs)
    first = runs[0]
    classes = _flagged(arguments) or first.data.has_classes(first.model.config.input_frames)
    if not classes:
        note(f"--dataset {first.data.dataset} has no classes: the runs are compared by what they predict")
    rows: dict[str, dict[str, Any]] = {}
    shapes: set[Any] = set()  # what needs no pretraining is the same for encoders of one shape
    for opened in runs:
        path, model = opened.run.path, opened.model.config
        print(f"\n{path}")
        kind = " + ".join(f"conditional {name}" if name in model.conditional else name for name in model.decoders)
        shape = dataclasses.replace(model, decoders=(FUTURE,), conditional=(), future_frames=1), opened.data
        arms = ("encoder_init", "frozen") if shape in shapes else tuple(ARMS)
        name = opened.folder.name.replace("-", " ", 1)  # two runs may have one name; the report finds the folder by it
        classified = {"classify": Classify().run(opened, arguments, arms)["curve"]} if classes else {}
        predicted = Predict().run(opened, arguments)
        shapes.add(shape)
        losses = {decoder: predicted[decoder] for decoder in model.decoders}
        rows[name] = {"run": str(path), "model": kind} | classified | losses
    loss = LOSS_NAMES[runs[0].model.config.output]
    with replace_results(folder, "compare") as place:
        write_json(place / "compare.json", {"runs": rows, "loss": loss} | runs[0].data.facts())
        if classes:
            save_chart(place / "compare.png", compared_labels(rows))
    print(f"\n{text_table(compare_cells(rows, loss))}")
    if classes:
        print(f"plot     {folder / 'compare.png'}")
    print(f"metrics  {folder / 'compare.json'}")


def _flagged(arguments: argparse.Namespace) -> bool:
    """Whether a flag says how to classify, which is then done, or refused for data without classes."""
    fields = (field.name for flags in Classify.flags for field in dataclasses.fields(flags))
    return any(vars(arguments).get(name) is not None for name in fields)


def _check_comparable(runs: Sequence[Opened]) -> None:
    first = runs[0]
    for other in runs[1:]:
        differing = [
            f"{name} {value}, not {first.data.facts()[name]}"
            for name, value in other.data.facts().items()
            if value != first.data.facts()[name]
        ]
        if other.data.dataset != first.data.dataset:
            differing = [f"dataset {other.data.dataset}, not {first.data.dataset}"]  # no field means the same there
        if other.model.config.output != first.model.config.output:
            differing.append(f"{other.model.config.output} outputs, not {first.model.config.output}")
        if differing:
            raise ValueError(
                f"{other.run.path}: {'; '.join(differing)} as {first.run.path} has; compare like with like"
            )
