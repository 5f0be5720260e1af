"""What the code contains: probes, clusters and neighbours, beside raw frames and an untrained encoder."""

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from ...config import FineTuning
from ...datasets.labelled import LabelledVideos
from ...files import write_json
from ...models import Encoder
from ...patches import unit_range
from ...probes import nearest, probe
from ...report.tables import probe_cells, text_table
from ...results import replace_results
from ...transfer import build
from ...visualize import save_retrieval
from .labelled import LABELLED_CLIPS, labelled_facts, open_labelled
from .opened import DRAWN_CLIPS, GENERATED_CLIPS, Opened, batches

_NEIGHBOURS = 5
_GRIDS = ("grid", "untrained grid")

Indices = npt.NDArray[np.int64]


def run(opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write `probe.json` and, of pictures, test clips beside the training clips of the nearest codes; print a table.

    The code of a convolutional model is a mean over positions, so that its codes before the mean are asked as well.
    """
    model, folder = opened.model, opened.folder
    train, test, task = open_labelled(opened, arguments)
    untrained = build("scratch", model.encoder, train, FineTuning(), seed=0).encoder
    train_clips = _spread(len(train.videos), LABELLED_CLIPS)
    test_clips = _spread(len(test.videos), arguments.clips or GENERATED_CLIPS)
    train_truth, test_truth = _truth(train, train_clips), _truth(test, test_clips)

    @torch.no_grad()
    def features(what: str, videos: LabelledVideos, clips: Indices) -> npt.NDArray[np.float32]:
        rows = []
        for batch in batches(videos.clips, clips.tolist(), arguments.batch_size, what):
            if what == "raw frames":
                rows.append(unit_range(batch).flatten(1))
            else:
                encoder = untrained if what.startswith("untrained") else model.encoder
                encode = _grid if what.endswith("grid") else Encoder.encode
                rows.append(encode(encoder, batch.to(opened.device)).cpu())
        return torch.cat(rows).numpy()

    results: dict[str, Any] = {}
    kinds = ("code", "untrained", *(_GRIDS if model.config.convolutional else ()), "raw frames")
    for what in tqdm(kinds, desc="probing", leave=False, disable=None):
        train_features, test_features = features(what, train, train_clips), features(what, test, test_clips)
        results[what.replace(" ", "_")] = probe(train_features, train_truth, test_features, test_truth)
        if what == "code":
            neighbours = nearest(train_features, test_features, _NEIGHBOURS)
    agree = train_truth["class"][neighbours] == test_truth["class"][:, None]
    results |= {"retrieval": {f"precision_at_{_NEIGHBOURS}": float(agree.mean())}, "task": task}
    results |= {"train_clips": len(train_clips), "test_clips": len(test_clips)}
    results |= labelled_facts(opened, arguments)
    with replace_results(folder, "probe") as place:
        write_json(place / "probe.json", results)
        if not model.config.features:
            drawn = _spread(len(test_clips), DRAWN_CLIPS)
            rows = _retrieved(train, test, test_clips[drawn], train_clips[neighbours[drawn]])
            save_retrieval(place / "probe-retrieval.png", rows)
    print(text_table(probe_cells(results)))
    counts = f"{len(train_clips)} training, {len(test_clips)} test clips"
    print(f"\nclasses: accuracy; values: R2; clustering: NMI; {counts}")
    print(f"of the {_NEIGHBOURS} nearest codes, {agree.mean():.3f} are of the same class")
    if not model.config.features:
        print(f"retrieval {folder / 'probe-retrieval.png'}")
    print(f"metrics   {folder / 'probe.json'}")
    return results


def _grid(encoder: Encoder, clips: Tensor) -> Tensor:
    """The codes of every position of a convolutional encoder side by side, (B, rows * columns * code_size)."""
    _, states = encoder(encoder.to_vectors(clips))
    return encoder.code(states)[..., : encoder.config.code_size].flatten(1)


def _spread(clips: int, wanted: int) -> Indices:
    """`wanted` of the indices below `clips`, or all of them, evenly spread: a sample of every part of a data set."""
    count = min(wanted, clips)
    return np.arange(count) * clips // count


def _truth(videos: LabelledVideos, clips: Indices) -> dict[str, npt.NDArray[Any]]:
    """What there is to find in the code of each clip: its class and whatever else is known about it."""
    values = {name: known[clips] for name, known in videos.values.items()}
    return {"class": videos.labels[videos.videos[clips]], **values}


def _retrieved(
    train: LabelledVideos, test: LabelledVideos, queries: Indices, neighbours: Indices
) -> list[list[tuple[npt.NDArray[np.float32], str, bool]]]:
    """Some test clips and their neighbours among the training clips: last frames, labels, whether they agree."""

    def picture(videos: LabelledVideos, clip: int, expected: int) -> tuple[npt.NDArray[np.float32], str, bool]:
        label = int(videos.labels[videos.videos[clip]])
        frame = unit_range(videos.clips.__getitems__([clip])[0, -1]).numpy()
        return frame, videos.class_names[label], label == expected

    rows = []
    for query, found in zip(queries.tolist(), neighbours.tolist(), strict=False):
        expected = int(test.labels[test.videos[query]])
        rows.append([picture(test, query, expected), *(picture(train, clip, expected) for clip in found)])
    return rows
