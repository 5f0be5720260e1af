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
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import from_json
from ..datasets.config import DataConfig, add_data_flags
from ..datasets.fields import PATHS
from ..datasets.flags import add_flags, as_flag, noted
from ..shell import as_typed
from . import cli
from .tasks.opened import FEW_CLIPS, GENERATED_CLIPS, Opened
from .tasks.task import TASKS, Task

if TYPE_CHECKING:
    from ..distributed import Ranks

_STANDARD = {"seed": 0}  # this value changes nothing
_LONGEST_NAME = 100  # bytes; file systems take 143 or more


def _add_task_flags(parser: argparse.ArgumentParser) -> None:
    """In groups under the names of the tasks that read them; None where they are not given."""
    readers: dict[type, list[str]] = {}
    for task in TASKS.values():
        for flags in task.flags:
            readers.setdefault(flags, []).append(task.name)
    groups = {" and ".join(names): parser.add_argument_group(" and ".join(names)) for names in readers.values()}
    for flags, names in readers.items():
        add_flags(groups[" and ".join(names)], flags)
        parser.set_defaults(**dict.fromkeys(noted(flags, "how")))


def _flags_of(task: Task) -> list[str]:
    """The names of the flags that `task` reads, of those that not all of them read."""
    own = [field.name for flags in task.flags for field in dataclasses.fields(flags)]
    return ["clips"] * task.opens_data + ["out"] * bool(task.out) + own


def _standard(task: Task) -> dict[str, Any]:
    """Values of flags that change nothing."""
    return _STANDARD | {name: value for flags in task.flags for name, value in noted(flags, "standard").items()}


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    writers = [task for task in TASKS.values() if task.out]
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
        help=f"test clips (default: {GENERATED_CLIPS} generated ones, or all; {FEW_CLIPS} of tasks that take longest)",
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
        help=f"the file that a task writes: {', '.join(f'{task.name} {task.out}' for task in writers)}",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    _add_task_flags(parser)
    add_data_flags(parser, as_typed("What is not given is as in training; the defaults are those of train.py."))
    arguments = parser.parse_args(words)
    _check(parser, arguments)
    return arguments


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Ends the process with 2 for flags that do not go together; settles which tasks there are."""
    writers = [task for task in TASKS.values() if task.out]
    if (arguments.run is None) == (arguments.compare is None):
        parser.error("name the RUN to evaluate, or several with --compare")
    if arguments.compare and (arguments.tasks or arguments.two_stream):
        parser.error("--compare predicts and classifies with every run: leave out --tasks and --two-stream")
    arguments.tasks = arguments.tasks or (["predict", "classify"] if arguments.compare else ["predict"])
    tasks = [TASKS[name] for name in arguments.tasks]
    for task in tasks:
        if task.out and task.needs_out and arguments.out is None:
            parser.error(f"--tasks {task.name} needs a file to write: --out {task.out}")
    if arguments.out is not None and sum(bool(task.out) and (task.needs_out or len(tasks) == 1) for task in tasks) != 1:
        parser.error(f"--out is the file of one task: of {_listed(writers)}")
    read = {name for task in tasks for name in _flags_of(task)}
    for name in [name for task in TASKS.values() for name in _flags_of(task)]:
        if name not in read and vars(arguments).get(name) is not None:
            parser.error(f"{as_flag(name)} changes nothing for --tasks {' '.join(arguments.tasks)}; leave it out")


def _listed(tasks: Sequence[Task]) -> str:
    """Of those that write a file, with what is special about them."""
    return ", ".join(task.name if task.needs_out else f"{task.name} alone" for task in tasks)


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
    for name in noted(DataConfig, "divides"):
        before = getattr(trained_on, name)
        if getattr(data, name) != before and not (name in PATHS and has_moved(before)):
            raise ValueError(
                f"{as_flag(name)} divides the videos of this run otherwise than its training did, which may have seen"
                " those that test; train a run with it"
            )


def difference(given: dict[str, Any], task: str) -> str:
    """A folder name for what the flags that `task` reads change about it, empty where they change nothing.

    Other changes have another name, and a folder or file one name, however it was written.
    """
    known = TASKS[task]
    data = [*(field.name for field in dataclasses.fields(DataConfig)), "seed"] if known.opens_data else []
    unnamed = {"out", *(name for flags in (DataConfig, *known.flags) for name in noted(flags, "unnamed"))}
    standard = _standard(known)
    changes = {
        name: str(Path(given[name]).resolve()) if name in PATHS else given[name]
        for name in (*data, *_flags_of(known))
        if name not in unnamed and given.get(name) not in (None, standard.get(name))
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
        "-".join([name, *(Path(word).name if name in PATHS else word for word in each)]) for name, each in words.items()
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
    first, *others = (TASKS[name] for name in arguments.tasks)
    alone = arguments.out and not first.needs_out  # does something else than what is shared
    if arguments.compare or others or alone or not first.shared:
        found = "--compare" if arguments.compare else f"--tasks {' '.join(arguments.tasks)}"
        found += " with --out" * bool(arguments.out)
        shared = ", ".join(task.name for task in TASKS.values() if task.shared)
        raise ValueError(f"{found} under torchrun: its processes share one task of {shared}; run it without torchrun")


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
        try_to_write(lambda: write_run(opened.run, TASKS, arguments.output_dir))
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
            TASKS[task].run(opened._replace(changes=changes, folder=folder), arguments)
        except Exception as error:
            if arguments.debug or len(arguments.tasks) == 1:
                raise
            expected = isinstance(error, (ValueError, OSError, ImportError, FloatingPointError))
            failed[task] = str(error) if expected else f"{type(error).__name__}: {error}; --debug shows where"
    return failed


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)
