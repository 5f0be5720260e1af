"""Accuracy against labelled videos per class of the fine-tuned encoder and of what needs no pretraining."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from ...charts import label_chart, save_chart
from ...config import FineTuning
from ...datasets.labelled import LabelledVideos
from ...files import write_json
from ...report.tables import label_cells, text_table
from ...results import replace_results
from ...run_folder import RunFolder
from ...transfer import (
    ARMS,
    Scores,
    build,
    choose_videos,
    curve_of,
    fewest_videos,
    fine_tune_videos,
    label_efficiency,
    verdicts,
)
from .. import cli
from .labelled import labelled_facts, open_labelled
from .opened import SEEDS, Opened

_SMALL_SET = 50  # videos per class, up to which the curve ends with all of them


def run(opened: Opened, arguments: argparse.Namespace, arms: Sequence[str] = tuple(ARMS)) -> dict[str, Any]:
    """Write `classify.json`, the scores of every test video, a plot, and the classifier of the most labels."""
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
        scores = label_efficiency(
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
    curve = curve_of(scores, test.labels, labels, arms)
    words = verdicts(curve, len(test.labels)) if "scratch" in arms else []
    results: dict[str, Any] = {"curve": curve, "verdicts": words, "task": task, "class_names": train.class_names}
    results |= {"labelled_videos": len(train.labels), "test_videos": len(test.labels)}
    results |= {"arms": {arm: ARMS[arm] for arm in arms}, "recipe": dataclasses.asdict(recipe)}
    results |= labelled_facts(opened, arguments)
    classifier = build("encoder_init", model.encoder, train, recipe, seed=0)
    fine_tune_videos(classifier, train, choose_videos(train, labels[-1], 0), recipe, seed=0)
    with replace_results(folder, "classify") as place:
        write_json(place / "classify.json", results)
        np.savez_compressed(place / "classify-scores.npz", scores=scores, **about)
        save_chart(place / "classify.png", label_chart(curve))
        classifier.save_pretrained(place / "classifier")
        if other_stream is not None:
            fused = curve_of(np.add(scores, other_stream), test.labels, labels, arms)
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


def _label_counts(given: list[int] | None, train: LabelledVideos) -> list[int]:
    """Numbers of labels per class: those given or, as far as there are videos, 1, 2, 5, 10 and all of a small set."""
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
    path = RunFolder(arguments.two_stream).evaluation / opened.changes / "classify-scores.npz"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no scores; run the same classify task for {arguments.two_stream} first")
    with np.load(path, allow_pickle=False) as other:
        differing = [name for name, value in about.items() if not np.array_equal(other[name], np.asarray(value))]
        if differing:
            raise ValueError(f"{path}: other {', '.join(differing)}; classify both runs with the same flags")
        scores: Scores = other["scores"]
    return scores
