"""The paper's table "which pretraining": every run predicts and classifies; one table, one plot."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...charts import compared_labels, save_chart
from ...config import FUTURE, LOSS_NAMES
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
    rows: dict[str, dict[str, Any]] = {}
    shapes: set[Any] = set()  # what needs no pretraining is the same for encoders of one shape
    for opened in runs:
        path, model = opened.run.path, opened.model.config
        print(f"\n{path}")
        kind = " + ".join(f"conditional {name}" if name in model.conditional else name for name in model.decoders)
        shape = dataclasses.replace(model, decoders=(FUTURE,), conditional=(), future_frames=1), opened.data
        known = shape in shapes
        name = opened.folder.name.replace("-", " ", 1)  # two runs may have one name; the report finds the folder by it
        classified = Classify().run(opened, arguments, ("encoder_init", "frozen") if known else tuple(ARMS))["curve"]
        predicted = Predict().run(opened, arguments)
        shapes.add(shape)
        losses = {decoder: predicted[decoder] for decoder in model.decoders}
        rows[name] = {"run": str(path), "model": kind, "classify": classified} | losses
    loss = LOSS_NAMES[runs[0].model.config.output]
    with replace_results(folder, "compare") as place:
        write_json(place / "compare.json", {"runs": rows, "loss": loss} | runs[0].data.facts())
        save_chart(place / "compare.png", compared_labels(rows))
    print(f"\n{text_table(compare_cells(rows, loss))}")
    print(f"plot     {folder / 'compare.png'}\nmetrics  {folder / 'compare.json'}")


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
