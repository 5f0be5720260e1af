"""Judge a trained model: what it predicts, and what its encoder is worth.

python evaluate.py runs/demo                                         # predict: metrics, GIFs, a strip, curves
python evaluate.py runs/demo --tasks rollout                         # 100 steps: until when is it better than nothing
python evaluate.py runs/demo --tasks ood                             # other numbers of digits, speeds, shapes
python evaluate.py runs/demo --tasks features                        # the weights of the strongest units as pictures
python evaluate.py runs/demo --tasks classify --labels direction     # accuracy against labelled clips per class
python evaluate.py runs/demo --tasks probe                           # what the code contains without fine-tuning
python evaluate.py runs/demo --tasks export                          # ONNX files, checked against PyTorch
python evaluate.py runs/series --tasks encode --data-dir series.csv --out codes.npz
python evaluate.py runs/series --tasks forecast --out forecasts.csv          # what comes, beside baselines
python evaluate.py runs/videos --tasks label --data-dir NEW --out labels.csv  # classes of new videos
python evaluate.py runs/videos --tasks retrieve --data-dir COLLECTION --query mine.mp4 --out found.csv
python evaluate.py runs/videos --data-dir mine.mp4 --out future.gif  # what follows the end of this one
python evaluate.py runs/one_digit --tasks anomaly --num-digits 2 --all-anomalous  # what is anomalous, and when
python evaluate.py --compare runs/one runs/other                     # which pretraining
torchrun --nproc-per-node 8 evaluate.py runs/demo                    # on eight GPUs, docs/scale.md
python evaluate.py runs/mnist --dataset moving-mnist-file --data-dir mnist_test_seq.npy
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import re
import sys
from contextlib import redirect_stdout
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import FineTuning, add_fine_tuning_flags, from_json
from ..datasets.config import DataConfig, add_data_flags
from ..datasets.names import DIGIT_LABELS, PATHS
from ..shell import as_typed
from . import cli
from .tasks.opened import FEW_CLIPS, GENERATED_CLIPS, SEEDS, Opened

if TYPE_CHECKING:
    from ..distributed import Ranks

# Modules of `tasks`, each with `run(opened, arguments)`.
TASKS = (
    "predict",
    "rollout",
    "ood",
    "features",
    "classify",
    "label",
    "probe",
    "anomaly",
    "forecast",
    "encode",
    "retrieve",
    "architecture",
    "export",
)
_OUT = {  # tasks that need `--out`, and such files
    "encode": "codes.npz",
    "label": "labels.csv",
    "forecast": "forecasts.csv",
    "retrieve": "found.csv",
}
_SHARED = ("predict", "anomaly", "encode", "label")  # tasks that several processes can share
_OF_WEIGHTS = {"features", "architecture"}  # tasks that open no data
_RECIPE = tuple(field.name for field in dataclasses.fields(FineTuning))
_TASKS_OF_FLAG = {  # the tasks that read a flag that not all of them read
    "clips": set(TASKS) - _OF_WEIGHTS,
    "future_frames": {"predict", "forecast"},
    "rollout_steps": {"rollout"},
    "labels": {"classify", "probe"},
    "out": {"predict", *_OUT},
    "unknown_below": {"label"},
    "query": {"retrieve"},
    **{
        name: {"anomaly"}
        for name in ("quantile", "source", "labels_file", "all_anomalous", "per_series", "no_spread", "threshold")
    },
    **{name: {"classify"} for name in ("labels_per_class", "num_seeds", "two_stream", *_RECIPE)},
}
_STANDARD = {"labels": DIGIT_LABELS[0], "num_seeds": SEEDS, "seed": 0}  # these values change nothing
_PATHS = ("_dir", "_path")  # ends of the names of flags that name files or folders
_LONGEST_NAME = 100  # bytes; file systems take 143 or more
_UNNAMED = (
    "download",
    "stream",
    "out",
    "two_stream",
    "labels_file",
)  # flags that folders of results are not named after


def _add_task_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that only some of the tasks read, see `_TASKS_OF_FLAG`."""
    group = parser.add_argument_group("classify, label and probe")
    group.add_argument(
        "--labels", choices=DIGIT_LABELS, help="what moving digits are classified by (default: identity)"
    )
    group.add_argument(
        "--labels-per-class",
        type=cli.positive,
        nargs="+",
        metavar="N",
        help="(default: 1 2 5 10 and, of up to 50, all)",
    )
    group.add_argument(
        "--num-seeds", type=cli.positive, metavar="N", help=f"repetitions of every training (default: {SEEDS})"
    )
    group.add_argument(
        "--two-stream", type=Path, metavar="RUN", help="average the scores with this run's, classified before"
    )
    group.add_argument(
        "--unknown-below", type=float, metavar="P", help="of label: a video whose best score is lower is unknown"
    )
    group = parser.add_argument_group("anomaly")
    group.add_argument(
        "--source", choices=("reconstruction", "future", "both"), help="of the scores (default: all there are)"
    )
    group.add_argument(
        "--quantile", type=float, metavar="Q", help="of the scores of normal data, the threshold (default: 0.99)"
    )
    group.add_argument(
        "--threshold",
        choices=("quantile", "peaks"),
        help="the quantile of the normal scores themselves (default), or of the distribution that fits their tail",
    )
    group.add_argument("--per-series", action="store_true", default=None, help="a threshold for each series or video")
    group.add_argument(
        "--no-spread", action="store_true", default=None, help="each step's own error, not the surroundings' as well"
    )
    group.add_argument(
        "--labels-file", type=Path, metavar="FILE.csv", help="id, label (1: anomalous), perhaps step: curves"
    )
    group.add_argument(
        "--all-anomalous",
        action="store_true",
        default=None,
        help="all clips of the data named here are anomalous: curves",
    )


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = cli.command_parser("evaluate.py", __doc__)
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help=as_typed("folder that train.py wrote"))
    parser.add_argument(
        "--compare", type=Path, nargs="+", metavar="RUN", help="predict and classify with each, in one table"
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, help="(default: predict)")
    parser.add_argument(
        "--clips",
        type=cli.positive,
        metavar="N",
        help=f"test clips (default: {GENERATED_CLIPS} generated ones, or all; {FEW_CLIPS} of rollout and ood)",
    )
    parser.add_argument(
        "--future-frames", type=cli.positive, metavar="N", help="how far to predict (default: as far as in training)"
    )
    parser.add_argument(
        "--rollout-steps",
        type=cli.positive,
        metavar="N",
        help="how far (default: 100 of generated clips, else as in training)",
    )
    parser.add_argument("--seed", type=cli.natural, default=0, help="of generated test clips (default: 0)")
    parser.add_argument("-b", "--batch-size", type=cli.positive, default=50, metavar="N", help="(default: 50)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="FOLDER",
        help="(default: RUN/evaluation, or a folder in it that is named after what the flags change about the task;"
        " runs/compare-<time>)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where encode writes codes and ids (.npz), label, forecast and retrieve a table (.csv), predict the"
        " future of one video (.gif, .mp4, .npy)",
    )
    parser.add_argument("--query", type=Path, metavar="VIDEO", help="what retrieve looks for in the data")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    _add_task_flags(parser)
    add_fine_tuning_flags(parser)
    add_data_flags(parser, as_typed("What is not given is as in training; the defaults are those of train.py."))
    arguments = parser.parse_args(words)
    if (arguments.run is None) == (arguments.compare is None):
        parser.error("name the RUN to evaluate, or several with --compare")
    if arguments.compare and (arguments.tasks or arguments.two_stream):
        parser.error("--compare predicts and classifies with every run: leave out --tasks and --two-stream")
    arguments.tasks = arguments.tasks or (["predict", "classify"] if arguments.compare else ["predict"])
    for task in arguments.tasks:
        if task in _OUT and arguments.out is None:
            parser.error(f"--tasks {task} needs a file to write: --out {_OUT[task]}")
    if arguments.out is not None and arguments.tasks != ["predict"] and len(_OUT.keys() & arguments.tasks) != 1:
        parser.error(f"--out is the file of one task: of {', '.join(_OUT)}, or of predict alone")
    if arguments.unknown_below is not None and not 0 <= arguments.unknown_below <= 1:
        parser.error(f"--unknown-below {arguments.unknown_below:g}: expected 0 to 1, as scores are")
    for name, tasks in _TASKS_OF_FLAG.items():
        if vars(arguments).get(name) is not None and not tasks & set(arguments.tasks):
            flag = "--" + name.replace("_", "-")
            parser.error(f"{flag} changes nothing for --tasks {' '.join(arguments.tasks)}; leave it out")
    return arguments


def open_run(arguments: argparse.Namespace, path: Path, ranks: Ranks) -> Opened:
    """The run at `path` and the data that the flags ask for; results go into its folder `evaluation`."""
    from ..datasets.division import Division
    from ..models import LSTMAutoencoder
    from ..run_folder import RunFolder

    run = RunFolder(path)
    trained_on = from_json(DataConfig, run.data(), str(run.path / "config.json"))
    data = trained_on.changed_by(vars(arguments))
    refuse_other_split(trained_on, data)
    model = LSTMAutoencoder.from_pretrained(run.path).to(ranks.device).eval()
    division = None if trained_on.generated else Division.from_json(run.division(), str(run.path))
    return Opened(run, model, ranks, trained_on, data, division, "", run.evaluation)


def refuse_other_split(trained_on: DataConfig, data: DataConfig) -> None:
    """Raises ValueError where what tests here may have trained there: another division of the same videos."""
    if data.data_dir is None or data.generated or trained_on.generated:
        return  # a folder of digits, such as `data`, may hold the public test file too

    def has_moved(place: str | None) -> bool:
        return place is not None and not Path(place).exists()

    if data.data_dir != trained_on.data_dir and not (
        has_moved(trained_on.data_dir) and data.dataset == trained_on.dataset
    ):
        return
    for name in ("dataset", "annotation_path", "fold", "split_file", "group", "id_column", "time_column"):
        before = getattr(trained_on, name)
        if getattr(data, name) != before and not (name in PATHS and has_moved(before)):
            flag = "--" + name.replace("_", "-")
            raise ValueError(
                f"{flag} divides the videos of this run otherwise than its training did, which may have seen those that"
                " test; train a run with it"
            )


def difference(given: dict[str, Any], task: str) -> str:
    """A folder name for what the flags that `task` reads change about it, empty where they change nothing.

    Other changes have another name, and a folder or file one name, however it was written.
    """
    names = [] if task in _OF_WEIGHTS else [*(field.name for field in dataclasses.fields(DataConfig)), "seed"]
    names += [name for name, tasks in _TASKS_OF_FLAG.items() if task in tasks]
    changes = {
        name: str(Path(given[name]).resolve()) if name.endswith(_PATHS) else given[name]
        for name in names
        if name not in _UNNAMED and given.get(name) not in (None, _STANDARD.get(name))
    }
    return _folder_name(changes)


def _folder_name(changes: dict[str, Any]) -> str:
    """`num-digits-3-clips-20`, with a hash after `_` where it is too long or does not tell all of the values.

    Numbers and words of small letters and digits are told: some file systems take `A` for `a`.
    """
    words = {
        name: [str(each) for each in (value if isinstance(value, (list, tuple)) else [value])]
        for name, value in changes.items()
    }
    parts = [
        "-".join([name, *(Path(word).name if name.endswith(_PATHS) else word for word in each)])
        for name, each in words.items()
    ]
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")
    if all(map(_is_told, changes.values())) and len(slug) <= _LONGEST_NAME:
        return slug
    told = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:10]
    return f"{slug[: _LONGEST_NAME - 11].rstrip('-.')}_{told}"


def _is_told(value: Any) -> bool:
    """Whether a value can be read from its folder's name: one word or number, or several numbers."""
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(isinstance(each, (int, float)) and _is_told(each) for each in value)
    return isinstance(value, bool) or re.fullmatch(r"[a-z0-9]+(\.[a-z0-9]+)*", str(value)) is not None


def main(arguments: argparse.Namespace) -> None:
    from ..distributed import join

    with join(arguments.device) as ranks, redirect_stdout(sys.stdout if ranks.is_main else None):
        judge(arguments, ranks)


def refuse_sharing(arguments: argparse.Namespace) -> None:
    """Raises ValueError for what several processes cannot share."""
    future = arguments.tasks == ["predict"] and arguments.out
    if arguments.compare or len(arguments.tasks) > 1 or arguments.tasks[0] not in _SHARED or future:
        found = "--compare" if arguments.compare else f"--tasks {' '.join(arguments.tasks)}"
        found += " with --out" * bool(future)
        raise ValueError(
            f"{found} under torchrun: its processes share one task of {', '.join(_SHARED)}; run it without torchrun"
        )


def judge(arguments: argparse.Namespace, ranks: Ranks) -> None:
    from ..report.run import try_to_write, write_run
    from ..results import refuse_foreign

    if ranks.size > 1:
        ranks.on_first(lambda: refuse_sharing(arguments))
    if arguments.output_dir:
        ranks.on_first(lambda: refuse_foreign(arguments.output_dir))
    if arguments.compare:
        from ..report.comparison import write_comparison
        from .tasks import compare

        folder = arguments.output_dir or Path("runs") / f"compare-{datetime.now():%Y%m%d-%H%M%S}"
        names = [f"{number}-{path.resolve().name}" for number, path in enumerate(arguments.compare)]
        short = [os.fsencode(name)[:_LONGEST_NAME].decode(errors="ignore") for name in names]
        runs = [
            open_run(arguments, path, ranks)._replace(folder=folder / name)
            for path, name in zip(arguments.compare, short, strict=True)
        ]
        for opened in runs:
            refuse_foreign(opened.folder)
        compare.run(runs, arguments, folder)
        try_to_write(lambda: write_comparison(folder))
        return
    opened = open_run(arguments, arguments.run, ranks)
    failed = run_tasks(opened, arguments)
    if ranks.is_main and len(failed) < len(arguments.tasks):
        try_to_write(lambda: write_run(opened.run, arguments.output_dir))
    if failed:
        reasons = "; ".join(f"{task} ({reason})" for task, reason in failed.items())
        raise ValueError(f"not possible: {reasons}")


def run_tasks(opened: Opened, arguments: argparse.Namespace) -> dict[str, str]:
    """Run every task; returns those of several that were not possible, and why. With `--debug` they are raised."""
    failed: dict[str, str] = {}
    for task in arguments.tasks:
        changes = difference(vars(arguments), task)
        folder = arguments.output_dir or opened.run.evaluation / changes
        try:
            module = import_module(f".tasks.{task}", __package__)  # not before: each needs other heavy packages
            module.run(opened._replace(changes=changes, folder=folder), arguments)
        except Exception as error:
            if arguments.debug or len(arguments.tasks) == 1:
                raise
            expected = isinstance(error, (ValueError, OSError, ImportError, FloatingPointError))
            failed[task] = str(error) if expected else f"{type(error).__name__}: {error}; --debug shows where"
    return failed


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)
