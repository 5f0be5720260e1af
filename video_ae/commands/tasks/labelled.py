"""Labelled videos for the tasks that ask what a code is good for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...datasets.flags import flag
from ...datasets.names import DIGIT_LABELS
from .opened import GENERATED_CLIPS, Opened

if TYPE_CHECKING:
    from ...datasets.labelled import LabelledVideos

LABELLED_CLIPS = 2000  # for training classifiers and probes, of a data set that has no end


@dataclass(frozen=True)
class Labels:
    """What classes are."""

    labels: str | None = flag(
        None,
        f"what moving digits are classified by (default: {DIGIT_LABELS[0]})",
        choices=DIGIT_LABELS,
        about={"standard": DIGIT_LABELS[0]},
    )


def open_labelled(opened: Opened, arguments: argparse.Namespace) -> tuple[LabelledVideos, LabelledVideos, str]:
    """Labelled videos to train on and to test on, and what the labels are.

    Raises ValueError for flags that change nothing about them, and where the two have other classes.
    """
    data, frames = opened.data, opened.model.config.input_frames
    if arguments.labels and not data.generated:
        raise ValueError(
            f"--labels changes nothing for --dataset {data.dataset}, which has its own classes; leave it out"
        )
    if "num_digits" in vars(arguments):
        raise ValueError("--num-digits changes nothing for labelled clips, which have one digit; leave it out")
    if arguments.clips and not data.generated:
        raise ValueError(f"--clips changes nothing for classes of --dataset {data.dataset}: all are used; leave it out")
    task = arguments.labels or DIGIT_LABELS[0]
    train = data.open_labelled("development", frames, task=task, clips=LABELLED_CLIPS, division=opened.division)
    test = data.open_labelled(
        "test",
        frames,
        task=task,
        clips=arguments.clips or GENERATED_CLIPS,
        seed=arguments.seed,
        division=opened.division,
    )
    if train.class_names != test.class_names:
        raise ValueError(f"found test classes {test.class_names}, expected those of training, {train.class_names}")
    return train, test, task if data.generated else "class"


def labelled_facts(opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
    """`Opened.facts` of labelled clips: of generated ones, a clip with a label has one digit."""
    return opened.facts(arguments) | ({"num_digits": 1} if opened.data.generated else {})
