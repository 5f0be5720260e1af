"""What the code contains: probes, clusters and neighbours, beside raw frames and an untrained encoder."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from markupsafe import Markup

from ...config import FineTuning
from ...files import write_json
from ...report.markup import element, join
from ...report.page import data_table
from ...report.sections import where
from ...report.tables import Cells, text_table
from ...results import replace_results
from .labelled import LABELLED_CLIPS, Labels, labelled_facts, open_labelled
from .opened import DRAWN_CLIPS, GENERATED_CLIPS, Opened, batches
from .task import Task, register

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from ...datasets.labelled import LabelledVideos
    from ...models import Encoder

    Indices = npt.NDArray[np.int64]

_NEIGHBOURS = 5
_GRIDS = ("grid", "untrained grid")


@register
class Probe(Task):
    name = "probe"
    title = "What the code contains"
    alt: ClassVar = {
        "probe-retrieval": "Test clips, each beside the training clips of the nearest codes; green frames agree"
    }
    flags = (Labels,)

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `probe.json` and, of pictures, test clips beside the training clips of the nearest codes; print them.

        The code of a convolutional model is a mean over positions, so that its codes before the mean are asked as well.
        """
        import torch
        from tqdm import tqdm

        from ...patches import unit_range
        from ...probes import nearest, probe
        from ...transfer import build
        from ...visualize import save_retrieval

        model, folder = opened.model, opened.folder
        train, test, task = open_labelled(opened, arguments)
        untrained = build("scratch", model.encoder, train, FineTuning(), seed=0).encoder
        train_clips = _spread(len(train.videos), LABELLED_CLIPS)
        test_clips = _spread(len(test.videos), arguments.clips or GENERATED_CLIPS)
        train_truth, test_truth = _truth(train, train_clips), _truth(test, test_clips)

        def features(what: str, videos: LabelledVideos, clips: Indices) -> npt.NDArray[np.float32]:
            rows = []
            for batch in batches(videos.clips, clips.tolist(), arguments.batch_size, what):
                if what == "raw frames":
                    rows.append(unit_range(batch).flatten(1))
                else:
                    encoder = untrained if what.startswith("untrained") else model.encoder
                    encode = _grid if what.endswith("grid") else type(encoder).encode
                    with torch.no_grad():
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

    def show(self, folder: Path, results: Any) -> Markup:
        about = f"{results['train_clips']:,} training and {results['test_clips']:,} test clips of {where(results)}. "
        about += "Classes: accuracy; values: R2; clustering: NMI."
        precision = next(iter(results["retrieval"].values()))
        near = f"Of the nearest training clips, {precision:.1%} are of the class of the test clip."
        return join([element("p", about), data_table(probe_cells(results)), element("p", near)])


def _grid(encoder: Encoder, clips: Tensor) -> Tensor:
    """The codes of every position of a convolutional encoder side by side, (B, rows * columns * code_size)."""
    _, states = encoder(encoder.to_vectors(clips))
    return encoder.code(states)[..., : encoder.config.code_size].flatten(1)


def _spread(clips: int, wanted: int) -> Indices:
    """`wanted` of the indices below `clips`, or all of them, evenly spread: a sample of every part of a data set."""
    import numpy as np

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
    from ...patches import unit_range

    def picture(videos: LabelledVideos, clip: int, expected: int) -> tuple[npt.NDArray[np.float32], str, bool]:
        label = int(videos.labels[videos.videos[clip]])
        frame = unit_range(videos.clips.__getitems__([clip])[0, -1]).numpy()
        return frame, videos.class_names[label], label == expected

    rows = []
    for query, found in zip(queries.tolist(), neighbours.tolist(), strict=False):
        expected = int(test.labels[test.videos[query]])
        rows.append([picture(test, query, expected), *(picture(train, clip, expected) for clip in found)])
    return rows


def probe_cells(results: Mapping[str, Any]) -> Cells:
    """A row per probe, a column per kind of features."""
    probes = results["code"].keys()
    kinds = [name for name, found in results.items() if isinstance(found, dict) and found.keys() == probes]
    cells: Cells = [("", *(kind.replace("_", " ") for kind in kinds))]
    for name, values in results["code"].items():
        for part in values if isinstance(values, dict) else ("",):
            found = (results[kind][name] for kind in kinds)
            numbers = (value[part] if part else value for value in found)
            cells.append((f"{name} {part}".strip(), *(f"{number:.3f}" for number in numbers)))
    return cells
