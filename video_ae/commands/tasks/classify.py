"""Accuracy against labelled videos per class of the fine-tuned encoder and of what needs no pretraining."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ...charts import ARMS, label_chart, save_chart
from ...config import FineTuning
from ...datasets.flags import flag
from ...files import read_json, write_json
from ...report.charts import line_chart
from ...report.markup import element, join
from ...report.page import data_table
from ...report.sections import sentences, where
from ...report.tables import Cells, accuracy_text, text_table
from ...results import replace_results
from .. import cli
from .labelled import Labels, labelled_facts, open_labelled
from .opened import SEEDS, Opened
from .task import Task, register

if TYPE_CHECKING:
    from ...datasets.labelled import LabelledVideos
    from ...transfer import Scores

_SMALL_SET = 50  # videos per class, up to which the curve ends with all of them


@dataclass(frozen=True)
class ClassifyFlags:
    labels_per_class: list[int] | None = flag(
        None, "(default: 1 2 5 10 and, of up to 50, all)", type=cli.positive, nargs="+"
    )
    num_seeds: int | None = flag(
        None, f"repetitions of every training (default: {SEEDS})", type=cli.positive, about={"standard": SEEDS}
    )
    two_stream: Path | None = flag(
        None, "average the scores with this run's, classified before", metavar="RUN", about={"unnamed": True}
    )


@register
class Classify(Task):
    name = "classify"
    title = "What the encoder is worth"
    drawn = ("classify",)
    flags = (Labels, ClassifyFlags, FineTuning)

    def run(self, opened: Opened, arguments: argparse.Namespace, arms: Sequence[str] = tuple(ARMS)) -> dict[str, Any]:
        """Write `classify.json`, the scores of every test video, a plot, and the classifier of the most labels."""
        import numpy as np
        from tqdm import tqdm

        from ... import transfer

        model, folder = opened.model, opened.folder
        train, test, task = open_labelled(opened, arguments)
        recipe = cli.override(FineTuning(), vars(arguments))
        labels = _label_counts(arguments.labels_per_class, train)
        seeds = arguments.num_seeds or SEEDS
        about: dict[str, Any] = {"labels_per_class": labels, "arms": arms, "truth": test.labels, "names": test.names}
        about |= {"seeds": seeds, "labelled_names": train.names, "recipe": str(recipe)}
        other_stream = _stream_scores(opened, arguments, about) if arguments.two_stream else None
        trainings = len(labels) * len(arms) * seeds
        every = 0.1 if sys.stderr.isatty() else 60  # seconds between two states of the bar; a log file wants few
        with tqdm(total=trainings, desc="fine-tuning", unit=" classifiers", mininterval=every, delay=1) as bar:
            scores = transfer.label_efficiency(
                model.encoder,
                train,
                test,
                labels,
                seeds=seeds,
                recipe=recipe,
                arms=arms,
                batch_size=arguments.batch_size,
                progress=bar.update,
            )
        curve = transfer.curve_of(scores, test.labels, labels, arms)
        words = transfer.verdicts(curve, len(test.labels)) if "scratch" in arms else []
        results: dict[str, Any] = {"curve": curve, "verdicts": words, "task": task, "class_names": train.class_names}
        results |= {"labelled_videos": len(train.labels), "test_videos": len(test.labels)}
        results |= {"arms": {arm: transfer.ARMS[arm] for arm in arms}, "recipe": dataclasses.asdict(recipe)}
        results |= labelled_facts(opened, arguments)
        classifier = transfer.build("encoder_init", model.encoder, train, recipe, seed=0)
        transfer.fine_tune_videos(classifier, train, transfer.choose_videos(train, labels[-1], 0), recipe, seed=0)
        with replace_results(folder, "classify") as place:
            write_json(place / "classify.json", results)
            np.savez_compressed(place / "classify-scores.npz", scores=scores, **about)
            save_chart(place / "classify.png", label_chart(curve))
            classifier.save_pretrained(place / "classifier")
            if other_stream is not None:
                fused = transfer.curve_of(np.add(scores, other_stream), test.labels, labels, arms)
                about_both = {"curve": fused, "other": str(arguments.two_stream)}
                write_json(place / "classify-two-stream.json", about_both)

        print(text_table(label_cells(curve)))
        print(f"\n{len(test.labels)} test videos of {len(train.class_names)} classes ({task}), {seeds} seeds")
        print("\n".join(words))
        print(f"plot       {folder / 'classify.png'}\nmetrics    {folder / 'classify.json'}")
        print(f"classifier {folder / 'classifier'} ({labels[-1]} labels per class, seed 0)")
        if other_stream is not None:
            print(f"\nscores averaged with those of {arguments.two_stream}:\n{text_table(label_cells(fused))}")
        return results

    def show(self, folder: Path, results: Any) -> Markup:
        about = f"{results['test_videos']:,} test videos of {len(results['class_names'])} classes ({results['task']}), "
        about += f"{where(results)}."
        classes = element("details", element("summary", "Classes"), element("p", ", ".join(results["class_names"])))
        curve = results["curve"]
        shown = [line_chart(label_chart(curve)), data_table(label_cells(curve), first=1), classes]
        parts = [element("p", about), sentences(results["verdicts"]), *shown]
        other = folder / "classify-two-stream.json"
        if other.is_file():
            fused = read_json(other)
            title = element("h3", f"Averaged with {fused['other']}")
            parts += [title, data_table(label_cells(fused["curve"]), first=1)]
        return join(parts)

    def tiles(self, results: Any) -> dict[str, tuple[str, str]]:
        row = results["curve"][0]
        beside = f"from scratch {row['scratch']['mean']:.3f}" if "scratch" in row else ""
        few = f"accuracy, {row['labels_per_class']} labelled per class"
        return {few: (f"{row['encoder_init']['mean']:.3f}", beside)}


def _label_counts(given: list[int] | None, train: LabelledVideos) -> list[int]:
    """Numbers of labels per class: those given or, as far as there are videos, 1, 2, 5, 10 and all of a small set."""
    from ...transfer import fewest_videos

    most = fewest_videos(train)
    if most == 0:
        lacking = [name for label, name in enumerate(train.class_names) if label not in train.labels]
        raise ValueError(f"no labelled videos of {', '.join(lacking)} to train on; add some or leave the class out")
    if given:
        return sorted(set(given))
    return sorted({count for count in (1, 2, 5, 10) if count <= most} | ({most} if most <= _SMALL_SET else set()))


def _stream_scores(opened: Opened, arguments: argparse.Namespace, about: dict[str, Any]) -> Scores:
    """The scores that another run, such as one of optical flow, got in the same classification.

    Raises FileNotFoundError where it was not classified yet, ValueError where anything differs but the stream.
    """
    import numpy as np

    from ...run_folder import RunFolder

    path = RunFolder(arguments.two_stream).evaluation / opened.changes / "classify-scores.npz"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no scores; run the same classify task for {arguments.two_stream} first")
    with np.load(path, allow_pickle=False) as other:
        differing = [name for name, value in about.items() if not np.array_equal(other[name], np.asarray(value))]
        if differing:
            raise ValueError(f"{path}: other {', '.join(differing)}; classify both runs with the same flags")
        scores: Scores = other["scores"]
    return scores


def label_cells(curve: Sequence[Mapping[str, Any]]) -> Cells:
    """A row per arm, a column per number of labels: mean accuracy and standard deviation over seeds."""
    arms = [name for name in curve[0] if name != "labels_per_class"]
    cells: Cells = [("labels per class", *(str(row["labels_per_class"]) for row in curve))]
    for arm in arms:
        name = ARMS[arm][0] if arm in ARMS else arm.replace("_", " ")
        cells.append((name, *(accuracy_text(row[arm]) for row in curve)))
    return cells
