"""Train an LSTM autoencoder of video.

python train.py --composite                                          # bundled digits, six minutes
python train.py --composite --digits mnist --data-dir data --download
python train.py --predict --conditional --steps 5000 --output-dir runs/future
python train.py --composite --dataset sequences --data-dir series.csv --hidden-size 64
python train.py --resume --output-dir runs/future                    # go on where it stopped
torchrun --nproc-per-node 8 train.py --composite -b 1024             # on eight GPUs, docs/scale.md
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import (
    BUDGET,
    CONVOLUTIONAL,
    DENSE,
    FUTURE,
    LINEAR,
    MAY_CHANGE,
    PRESETS,
    ModelConfig,
    TrainConfig,
    add_model_flags,
    add_training_flags,
    fitting_patch_size,
    from_json,
)
from ..datasets.config import DataConfig, add_data_flags
from ..datasets.fields import PATHS
from ..shell import as_typed, shell_path
from . import cli
from .tasks.task import TASKS

if TYPE_CHECKING:
    from ..datasets.division import Division
    from ..distributed import Ranks
    from ..run_folder import RunFolder


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Flags that are not given are absent, so that presets and resumed runs are inherited, not overridden."""
    parser = cli.command_parser("train.py", __doc__, argument_default=argparse.SUPPRESS)
    add_model_flags(parser)
    add_data_flags(parser)
    add_training_flags(parser)
    group = parser.add_argument_group("run")
    group.add_argument("--init-from", metavar="FOLDER", help="start from the weights of this run or saved model")
    group.add_argument("--output-dir", type=Path, metavar="FOLDER", help="(default: runs/<kind>-<time>)")
    group.add_argument(
        "--resume", action="store_true", default=False, help="go on with the run in --output-dir, or begin it"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    group.add_argument(
        "-j",
        "--workers",
        type=int,
        choices=range(65),
        default=0,
        metavar="N",
        help="processes that read data, for each of torchrun's (default: 0)",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        default=False,
        help="fuse the gates' arithmetic with torch.compile: for GPUs, on CPUs it is slower",
    )
    group.add_argument(
        "--tensorboard", action="store_true", default=False, help="write the metrics for TensorBoard into the run, too"
    )
    group.add_argument("--debug", action="store_true", default=False, help="show where an error came from")

    arguments = parser.parse_args(words)
    given = vars(arguments)
    if "decoders" not in given and not arguments.resume:
        parser.error("say what to train: --composite, --reconstruct or --predict")
    if arguments.resume and "output_dir" not in given:
        parser.error("--resume needs the run to go on with: --output-dir")
    if arguments.resume and "init_from" in given:
        parser.error("--resume goes on with the run's own weights: leave out --init-from")
    budget = {name for name in BUDGET if name in given}
    if len(budget) == 1:  # the one that was given replaces the default, or the stored one, of the other kind
        (other,) = set(BUDGET) - budget
        given[other] = None
    return arguments


def configure(given: dict[str, Any]) -> tuple[ModelConfig, DataConfig, TrainConfig]:
    """The configs of a new run. Raises ValueError for choices that do not fit together or are out of range."""
    data = DataConfig().changed_by(given)
    suitable = dict(data.source.model_for(data))
    lengths: dict[str, Any] = {
        name: given[name] for name in ("decoders", "input_frames", "future_frames") if name in given
    }
    asked = change_model(ModelConfig(**suitable), lengths)
    future = asked.frames - asked.input_frames
    frames = asked.frames
    data = data.settled(windows="input_frames" in given)
    if data.whole:
        frames = data.longest(future + 1)
        suitable = suitable | {"input_frames": frames - future}
    channels, height, width = data.open("train", frames, shortest=future + 1)[0].shape[1:]
    preset = choose_preset(given, height, width)
    if given.get("cell", preset.get("cell")) == CONVOLUTIONAL:
        suitable |= data.source.convolutional
    model = change_model(ModelConfig(frame_shape=(channels, height, width), **suitable | preset), given)
    if model.features and model.output != LINEAR:
        raise ValueError(f"--output {model.output} is for pictures, from 0 to 1: {data.dataset} need linear outputs")
    if "future_frames" in given and FUTURE not in model.decoders:
        raise ValueError("--future-frames changes nothing for a model without future decoder; leave it out")
    return model, dataclasses.replace(data, download=False), cli.override(TrainConfig(), given)


def choose_preset(given: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """The preset that was asked for, or else `conv` for pictures and `dense` for features and with `--cell lstm`.

    Where `conv` was not asked for, its patches are as large as divides the frame's sides, up to the preset's. Raises
    ValueError where that leaves too many.
    """
    if "preset" in given:
        return PRESETS[given["preset"]]
    if given.get("cell") == DENSE or height == width == 1:
        return PRESETS["dense"]
    size = given["patch_size"] if "patch_size" in given else fitting_patch_size(height, width)
    return PRESETS["conv"] | {"patch_size": size}


def change_model(model: ModelConfig, given: dict[str, Any]) -> ModelConfig:
    """`model` with the flags that were given; `--conditional` without names means every decoder."""
    if given.get("conditional") == []:
        given = given | {"conditional": given.get("decoders", model.decoders)}
    return cli.override(model, given)


def inherit(stored: dict[str, Any], given: dict[str, Any], source: str) -> tuple[ModelConfig, DataConfig, TrainConfig]:
    """The configs of a run to resume. Raises ValueError for a flag that contradicts them, but for `MAY_CHANGE`."""
    model = from_json(ModelConfig, stored["model"], source)
    data = from_json(DataConfig, stored["data"], source)
    training = from_json(TrainConfig, stored["training"], source)
    wanted = {key: given[key] for key in given if key not in MAY_CHANGE}
    if wanted.get("amp") == "auto":  # what the run chose, when it began
        wanted["amp"] = training.amp
    if "preset" in given:
        wanted = PRESETS[given["preset"]] | wanted
    moved = dataclasses.replace(data.changed_by(given), download=False)
    changes: list[tuple[Any, Any]] = [
        (model, change_model(model, wanted)),
        (data, moved),
        (training, cli.override(training, wanted)),
    ]
    for config, changed in changes:
        for field in dataclasses.fields(config):
            before, after = getattr(config, field.name), getattr(changed, field.name)
            if before != after and field.name not in PATHS:  # what lies there now is compared with what was there
                by = f" as --preset {given['preset']} has" if "preset" in given and field.name not in given else ""
                raise ValueError(
                    f"{source}: the run has {field.name} {before}, not {after}{by}; leave out the flag or start anew"
                )
    return model, moved, cli.override(training, {key: given[key] for key in MAY_CHANGE if key in given})


def refuse_empty_parts(training: TrainConfig, processes: int) -> None:
    """Raises ValueError where a batch has too few clips for all parts of all processes."""
    parts = processes * training.accumulate
    if training.batch_size < parts:
        raise ValueError(
            f"a batch of {training.batch_size} clips for {processes} processes in {training.accumulate} parts each:"
            f" expected a clip for every part; choose --batch-size {parts} or more"
        )


def main(arguments: argparse.Namespace) -> None:
    from contextlib import redirect_stdout

    from ..distributed import join
    from ..memory import denormals_as_zero

    with (
        denormals_as_zero(),
        join(arguments.device) as ranks,
        redirect_stdout(sys.stdout if ranks.is_main else None),
    ):
        run_training(arguments, ranks)


def run_training(arguments: argparse.Namespace, ranks: Ranks) -> None:
    from ..memory import keep_freed_memory
    from ..recurrent import compiled_steps
    from ..run_folder import RunFolder

    keep_freed_memory()
    chosen = ranks.on_first(lambda: choose(arguments, ranks))
    with closing(RunFolder(chosen["run"])) as run, compiled_steps(arguments.compile):
        carry_out(chosen, run, arguments, ranks)


def choose(arguments: argparse.Namespace, ranks: Ranks) -> dict[str, Any]:
    """What is going to be done, in what JSON can hold: the run's folder and configs, which of its data are in which
    part, and whether it has begun."""
    from ..precision import uses_bf16
    from ..run_folder import RunFolder

    given = vars(arguments)
    default_name = f"{_kind(given.get('decoders', ()))}-{datetime.now():%Y%m%d-%H%M%S}"
    run = RunFolder(given.get("output_dir", Path("runs") / default_name))
    stored = run.config() if arguments.resume and run.exists() else None
    if stored is not None:
        model, data, training = inherit(stored | {"data": run.data()}, given, str(run.path / "config.json"))
        division = kept_division(run, data, model.frames)
    elif "decoders" in given:
        run.refuse_used()  # before hours of decoding
        model, data, training = configure(given)
        division = data.divide(model.frames)
    else:
        raise FileNotFoundError(f"{run.path}: no run to resume; say what to train, such as --composite")
    refuse_empty_parts(training, ranks.size)
    clips = math.ceil(training.batch_size / ranks.size / training.accumulate)
    bf16 = uses_bf16(training.amp, model, clips, ranks.device)  # stored, so that the run goes on as it began
    training = dataclasses.replace(training, amp="on" if bf16 else "off")
    config: dict[str, Any] = {"model": dataclasses.asdict(model), "data": dataclasses.asdict(data)}
    config["training"] = dataclasses.asdict(training)
    init_from = (stored or given).get("init_from")  # of a run that was killed before its first checkpoint, once more
    if init_from is not None:
        config["init_from"] = init_from
    parts = None if division is None else division.to_json()
    return {"run": str(run.path), "begun": stored is not None, "config": config, "division": parts}


def kept_division(run: RunFolder, data: DataConfig, frames: int) -> Division | None:
    """The parts of the data that the run began with. Raises ValueError where they are not all there any more."""
    from ..datasets.division import Division

    if data.generated:
        return None
    division = Division.from_json(run.division(), str(run.path))
    data.refuse_missing(frames, division)
    return division


def carry_out(chosen: dict[str, Any], run: RunFolder, arguments: argparse.Namespace, ranks: Ranks) -> None:
    """Train as `choose` says, from the run's last checkpoint if it has one, and tell what came of it."""
    import torch

    from ..callbacks import TensorBoard
    from ..datasets.division import Division
    from ..memory import peak_memory
    from ..models import LSTMAutoencoder
    from ..pretrained import load_initial_weights
    from ..report.run import try_to_write, write_run
    from ..restored import deterministic
    from ..training import START_CLIPS, train

    # Everything that can be wrong shows before the first file is written.
    config, begun, source = chosen["config"], chosen["begun"], str(run.path / "config.json")
    division = None if chosen["division"] is None else Division.from_json(chosen["division"], str(run.path))
    model_config = from_json(ModelConfig, config["model"], source)
    data = from_json(DataConfig, config["data"], source)
    training = from_json(TrainConfig, config["training"], source)
    resume_from = ranks.on_first(run.take_up) if begun else None
    device = ranks.device
    painted_on = "cpu" if arguments.workers else device
    shortest, frames = model_config.shortest, model_config.frames
    clips = data.open("train", frames, seed=training.seed, device=painted_on, shortest=shortest, division=division)
    every_validation_clip = data.open("validation", frames, shortest=shortest, division=division)
    validation_clips = every_validation_clip.sample(training.validation_clips)
    torch.manual_seed(training.seed)
    model = LSTMAutoencoder(model_config)
    if resume_from is None and "init_from" in config:
        load_initial_weights(model, Path(config["init_from"]))
    elif resume_from is None:
        sample = clips.sample(START_CLIPS)
        model.start_from(sample.__getitems__(range(len(sample))).cpu(), **data.source.start)
    ranks.on_first(lambda: run.update(config) if begun else run.create(config, chosen["division"]))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    precision = "bf16" if training.amp == "on" else "float32"
    where = f"{device.type}, {ranks.size} processes" if ranks.size > 1 else device
    print(f"{_kind(model_config.decoders)} model, {parameters:,} parameters, {precision} on {where}")
    if not clips.endless:
        print(f"{len(clips)} training clips, {len(validation_clips)} to validate")

    callbacks = [TensorBoard(run.path / "tensorboard")] if arguments.tensorboard and ranks.is_main else []
    with deterministic(training.deterministic):
        progress = train(
            model,
            clips,
            training,
            validation_clips,
            ranks,
            run=run,
            resume_from=resume_from,
            callbacks=callbacks,
            workers=arguments.workers,
        ).progress
    if resume_from is not None and progress.step == int(resume_from.removeprefix("step-")):
        print("nothing was left to do: the budget is used up; raise --steps or --max-minutes to train longer")
    minutes, seconds = divmod(round(progress.seconds), 60)
    print(f"{progress.step} steps, {progress.sequences_seen} sequences in {minutes} min {seconds} s of training")
    (memory,) = ranks.largest(peak_memory(device))
    if memory:
        print(f"memory   {memory / 1e9:.2f} GB at most{' of every process' if ranks.size > 1 else ''}")
    print(f"model    {run.model}\ncurves   {run.curves}")
    if not model_config.features:
        print(f"samples  {run.samples}")
    if ranks.is_main:
        try_to_write(lambda: write_run(run, TASKS))
    print(f"next     {as_typed('python evaluate.py')} {shell_path(run.path)}")


def _kind(decoders: tuple[str, ...]) -> str:
    return "composite" if len(decoders) > 1 else "".join(decoders)


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)
