"""Classes of new videos, by the classifier that `classify` left in a run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets.flags import flag
from ...files import csv_writer, free_place, new_file
from ...shell import as_typed, shell_path
from .opened import Opened, share_batches
from .task import Task, register

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ...classifier import LSTMClassifier
    from ...datasets.clips import Clips
    from ...datasets.times import Clock

    Scores = npt.NDArray[np.float32]

UNKNOWN = "unknown"
_CLASSIFIER = "classifier"  # the folder that `classify` writes


def _probability(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"found {text}, expected 0 to 1, as scores are")
    return float(text)


@dataclass(frozen=True)
class LabelFlags:
    unknown_below: float | None = flag(
        None, "a video whose best score is lower is unknown", type=_probability, metavar="P"
    )


@register
class Label(Task):
    name = "label"
    shared = True
    flags = (LabelFlags,)
    out = "labels.csv"

    def run(self, opened: Opened, arguments: argparse.Namespace) -> None:
        """Write `--out FILE.csv`, a row for each video, and `FILE-clips.csv`, a row for each of its clips.

        A video's scores are the means over its clips (paper, section 4.4), which follow each other without overlap; one
        more ends with the video where frames are left over. A class with a score below `--unknown-below` is `unknown`.

        Raises FileNotFoundError where the run has no classifier, ValueError or FileExistsError where the files cannot
        be written.
        """
        import numpy as np

        out = free_place(arguments.out, ".csv")
        of_clips = free_place(out.with_name(f"{out.stem}-clips.csv"), ".csv")
        least = arguments.unknown_below or 0.0
        classifier = _classifier(opened.run.evaluation).to(opened.device)
        names = classifier.config.class_names
        split = "test" if opened.data.generated else "all"
        clips, count = opened.clips(split, arguments, opened.model.config.input_frames, shortest=None)
        scores = _scores(opened, classifier, out, clips, count, arguments.batch_size)
        if not opened.ranks.is_main:
            return
        places = [clips.place(index) for index in range(count)]
        videos, numbers = np.unique([name for name, _ in places], return_inverse=True)
        means = np.stack([scores[numbers == video].mean(axis=0) for video in range(len(videos))])
        times, frames = opened.data.times(), opened.model.config.input_frames

        head = ("label", "score", *names)
        with new_file(of_clips) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv_writer(file)
            writer.writerow(("id", "first_frame", "last_frame", *(("start", "end") if times else ()), *head))
            for (name, start), row in zip(places, scores, strict=True):
                clock = when(times, name, start, start + frames - 1)
                writer.writerow((name, start, start + frames - 1, *clock, *_judged(row, names, least)))
        with new_file(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv_writer(file)
            writer.writerow(("id", "clips", *head))
            for video, (name, row) in enumerate(zip(videos, means, strict=True)):
                writer.writerow((name, int((numbers == video).sum()), *_judged(row, names, least)))
        _print(means, names, least)
        print(f"videos   {out}\nclips    {of_clips}")


def _classifier(evaluation: Path) -> LSTMClassifier:
    """That of the standard evaluation, or the only one of others."""
    from ...classifier import LSTMClassifier

    found = [evaluation / _CLASSIFIER, *sorted(evaluation.glob(f"*/{_CLASSIFIER}"))]
    found = [folder for folder in found if folder.is_dir()]
    if not found:
        raise FileNotFoundError(
            f"{evaluation}: no classifier; first {as_typed('python evaluate.py')} {shell_path(evaluation.parent)}"
            " --tasks classify, with --data-dir LABELLED if the run's own videos have no classes"
        )
    if len(found) > 1 and found[0].parent != evaluation:
        raise ValueError(
            f"{evaluation}: found {len(found)} classifiers, in {', '.join(folder.parent.name for folder in found)},"
            " expected one: run --tasks classify without flags, whose classifier comes first"
        )
    return LSTMClassifier.from_pretrained(found[0]).eval()


def _scores(opened: Opened, classifier: LSTMClassifier, out: Path, clips: Clips, count: int, batch_size: int) -> Scores:
    """(N, classes) of the first `count` clips."""
    import torch

    def label(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return {"scores": classifier.scores(batch.to(opened.device)).float().cpu()}

    parts = share_batches(opened.ranks, out, clips, count, batch_size, "labelling", label)
    return torch.cat([part["scores"] for part in parts]).numpy()


def _judged(scores: Scores, names: Sequence[str], least: float) -> tuple[Any, ...]:
    """Label, its score, and the scores of all classes, as cells of a row."""
    best = int(scores.argmax())
    label = names[best] if scores[best] >= least else UNKNOWN
    return label, f"{scores[best]:.4f}", *(f"{score:.4f}" for score in scores)


def when(times: Mapping[str, Clock], name: str, first: int, last: int) -> tuple[str, ...]:
    """The times of the first and the last frame of a clip, as cells: none where the data have no times at all."""
    return (times[name][first].decode(), times[name][last].decode()) if name in times else ("", "") if times else ()


def _print(scores: Scores, names: Sequence[str], least: float) -> None:
    """How many videos got which label."""
    labels = [_judged(row, names, least)[0] for row in scores]
    width = max(map(len, (*names, UNKNOWN)))
    for name in (*names, UNKNOWN):
        if found := labels.count(name):
            print(f"{name:<{width}} {found:>8}")
    print(f"\n{len(labels)} videos")
