"""The training loop, and `fit`: a model and clips to a trained model."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from .callbacks import Callback
from .checkpoint import Progress
from .config import MAY_CHANGE, ModelConfig, TrainConfig
from .datasets.batches import consecutive_indices, load_batches, training_indices
from .datasets.clips import Clips
from .distributed import ALONE, Ranks, join
from .errors import Interrupted, describe
from .evaluation import clips_for
from .losses import Loss
from .memory import denormals_as_zero
from .models import LSTMAutoencoder
from .optimizer import Optimizer
from .precision import uses_bf16
from .pretrained import WEIGHTS, load_weights
from .record import Record
from .restored import deterministic, same_gradients
from .run_folder import RunFolder
from .training_step import graphs_for, train_step

_LOG_EVERY = 10  # steps between two rows of metrics.jsonl
_ENDED = 1  # by a callback: no signal that is caught has this number
_STEPS = 1000  # in a budget of minutes, as far as is known before the first one
START_CLIPS = 200  # training clips that set the scale of the first weights
_RESUME = "go on with --resume (in Python, resume=True)"
_WAY_OUT = (
    "the last checkpoint is intact: begin a new run with a smaller --lr, from the best weights so far with --init-from"
    " (in Python, lr and from_pretrained)"
)


def fit(
    model: LSTMAutoencoder,
    clips: Any,
    config: TrainConfig | None = None,
    *,
    validation: Any = None,
    output_dir: Path | str | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    loss: Loss | None = None,
    device: str = "auto",
    workers: int = 0,
    verbose: bool = True,
) -> list[dict[str, Any]]:
    """Train `model` on clips of your own.

    A model that is new is fitted to the scale of its data first (`LSTMAutoencoder.start_from`). With `validation`, it
    ends with the weights of its lowest validation loss, otherwise with the last ones. Under `torchrun`, every process
    calls it alike.

    clips:      an array or tensor (N, T, C, H, W), or any `torch.utils.data.Dataset` of clips (T, C, H, W), map-style
                or iterable: uint8 frames in 0 to 255, float ones in 0 to 1. T is `model.config.frames`; where clips
                have different lengths, the longest. Vectors of features, of any range, may be (T, D).
    config:     the budget, the batch size, the learning rate, ... (default: 6.5 minutes in batches of 16).
    validation: clips of the same kind that are not trained on; every `config.checkpoint_every` steps, and after the
                last one, `config.validation_clips` of them are judged.
    output_dir: a folder for metrics, checkpoints, pictures and the best model, as of `train.py`. None writes nothing.
    resume:     go on with the run in `output_dir`, or begin it.
    callbacks:  called after every step, and after every validation, with (step, metrics, model), on the first process;
                one that returns True ends the training.
    loss:       a function of outputs before their nonlinearity, targets (both (B, T, ..., D)) and lengths ((B,), or
                None where all are T) to a scalar (default: that of `model.config.output`, see `losses.py`).
    device:     auto, cpu, cuda, ...; the model is there afterwards.
    workers:    processes that read a map-style data set.
    verbose:    whether to show a progress bar.

    Returns the metrics: a row every 10 steps (`step`, `sequences_seen`, `seconds`, the losses, ...) and one for every
    validation, which has `validation`, as of `evaluate`, `validation_loss` and `best`.

    Raises ValueError for clips that do not fit the model, FloatingPointError where the training diverges,
    FileExistsError where `output_dir` holds anything that is not to be resumed, and, of a run with `output_dir`,
    `Interrupted` once it is saved after Ctrl-C.
    """
    if resume and output_dir is None:
        raise ValueError("resume=True needs the run to go on with: give its output_dir")
    config = TrainConfig() if config is None else config
    training = clips_for(model.config, clips)
    held_out: Clips | None = None
    if validation is not None:
        held_out = clips_for(model.config, validation, finite=True).sample(config.validation_clips)
    for part in (training, held_out):
        if part is not None:
            first = part.sample(1).__getitems__([0])  # what is no clip is refused before a folder is made
            model.encoder.to_vectors(first.to(model.encoder.mean.device))
    with (
        denormals_as_zero(),
        join(device) as ranks,
        deterministic(config.deterministic or torch.are_deterministic_algorithms_enabled()),
        _closing(None if output_dir is None else RunFolder(output_dir)) as run,
    ):
        config = dataclasses.replace(config, amp=_precision(model.config, config, ranks, run if resume else None))
        resume_from = None if run is None else ranks.on_first(lambda: _open(run, model.config, config, resume))
        if not model.started and resume_from is None:
            sample = training.sample(START_CLIPS)
            model.start_from(sample.__getitems__(range(len(sample))).to(model.encoder.mean.device))
        record = train(
            model,
            training,
            config,
            held_out,
            ranks,
            run=run,
            resume_from=resume_from,
            callbacks=callbacks,
            loss=loss,
            workers=workers,
            verbose=verbose,
        )
        if record.best_weights is not None:
            model.load_state_dict(record.best_weights)
        elif run is not None and held_out is not None:
            load_weights(model, run.model / WEIGHTS)  # perhaps of a step before the run was resumed
    return record.rows


def _precision(model: ModelConfig, config: TrainConfig, ranks: Ranks, begun: RunFolder | None) -> str:
    """`on` or `off` for the `amp` of a run: stored with it, so that it goes on as it began."""
    if config.amp == "auto" and begun is not None and begun.exists():
        return ranks.on_first(lambda: str(begun.config()["training"]["amp"]))
    clips = math.ceil(config.batch_size / ranks.size / config.accumulate)
    return ranks.on_first(lambda: "on" if uses_bf16(config.amp, model, clips, ranks.device) else "off")


@contextmanager
def _closing(run: RunFolder | None) -> Iterator[RunFolder | None]:
    try:
        yield run
    finally:
        if run is not None:
            run.close()


def _open(run: RunFolder, model: ModelConfig, config: TrainConfig, resume: bool) -> str | None:
    """The checkpoint to go on from, or else a folder for a new run. Raises ValueError for a run of other configs."""
    wanted = {"model": dataclasses.asdict(model), "data": None, "training": dataclasses.asdict(config)}
    if not (resume and run.exists()):
        run.create(wanted)
        return None
    stored = run.config()
    if stored["data"] is not None:
        raise ValueError(
            f"{run.path}: the run learns from {stored['data'].get('dataset', 'data')} that a command names; go on with"
            " train.py --resume, or choose another output_dir"
        )
    for part in ("model", "training"):
        for name, value in json.loads(json.dumps(wanted[part])).items():
            before = stored[part].get(name)
            if before != value and name not in MAY_CHANGE:
                raise ValueError(
                    f"{run.path}: the run has {name} {before}, not {value}; resume with that, or start anew"
                )
    resume_from = run.take_up()
    run.update(stored | wanted)
    return resume_from


def train(
    model: LSTMAutoencoder,
    clips: Clips,
    config: TrainConfig,
    validation: Clips | None,
    ranks: Ranks = ALONE,
    *,
    run: RunFolder | None = None,
    resume_from: str | None = None,
    callbacks: Sequence[Callback] = (),
    loss: Loss | None = None,
    workers: int = 0,
    verbose: bool = True,
) -> Record:
    """Train `model` until the budget is used up; what `fit` and `train.py` do once everything is open.

    ranks:       all of them train and end together, by the first one's clock; the first one writes the files.
    resume_from: the name of the run's checkpoint to go on from.

    Raises `Interrupted` after SIGINT or SIGTERM to any rank, once the step is finished and saved, of a run that has a
    folder; FloatingPointError, with the cause named, where a number is not finite, and OSError where data cannot be
    read or files not be written. The last checkpoint stays as it is.
    """

    def training_batches(first_step: int) -> Iterator[Tensor]:
        indices = training_indices(clips, config.batch_size, seed=config.seed, first_step=first_step)
        return load_batches(clips, map(ranks.share, indices), workers=workers)

    def validation_batches() -> Iterator[Tensor]:
        assert validation is not None
        held_out = ranks.share(range(len(validation)))
        at_a_time = math.ceil(config.batch_size / ranks.size)
        indices = ([held_out[place] for place in batch] for batch in consecutive_indices(len(held_out), at_a_time))
        return load_batches(validation, indices)

    model.to(ranks.device)
    optimizer = Optimizer(model, config.lr, config.weight_decay)
    judged_by = None if validation is None else validation_batches
    record = Record(model, optimizer, config, judged_by, run, ranks)
    record.begin(resume_from)
    progress = record.progress
    parallel, graphs = ranks.parallel(model), graphs_for(model, config, ranks, loss)
    before, started = progress.seconds, time.monotonic()
    shown = verbose and ranks.is_main
    with (
        _stop_signals(run is not None) as received,
        _progress_bar(config, progress, shown=shown) as bar,
        _way_out(run),
        same_gradients(model),
    ):

        def clock() -> float:
            return before + time.monotonic() - started

        def agree(ends: bool = False) -> int:
            """Sets the time, and returns the signal to stop at, `_ENDED` where a callback has ended the training, or 0:
            on all ranks the same, or some would wait for others that have stopped."""
            found = received[0] if received else _ENDED * ends
            stop, progress.seconds = ranks.largest(found, clock() if ranks.is_main else 0.0)
            return int(stop)

        def tell(metrics: dict[str, Any]) -> bool:
            """Whether a callback ends the training."""
            answers = [callback(progress.step, metrics, model) for callback in callbacks]  # all of them are called
            return True in answers

        def judge() -> int:
            metrics = record.judge()
            return agree(ranks.is_main and tell(metrics))

        stop = agree()
        if record.due and not stop:
            stop = judge()
        batches = training_batches(progress.step)
        for fraction in () if stop else steps(config, progress):
            lr = config.lr * schedule(fraction, config.warmup)
            batch = next(batches).to(ranks.device)
            losses = train_step(parallel, optimizer, batch, lr, config, progress.step, ranks, loss, graphs)
            progress.seconds = clock()
            ends = ranks.is_main and tell(record.add(losses, keep=progress.step % _LOG_EVERY == 0))
            stop = agree(ends)
            speed = progress.sequences_seen / progress.seconds
            postfix = f"step {progress.step}, {speed:.0f} sequences/s, loss {losses['loss']:.1f}"
            bar.set_postfix_str(postfix, refresh=False)
            bar.update(max(0.0, min(1.0, budget_used(config, progress)) - bar.n))
            if record.due and not stop:
                stop = judge()
            if stop:
                break
        if record.unjudged and stop in (0, _ENDED):
            judge()
        record.save_unjudged()
    if stop > _ENDED:
        assert run is not None
        raise Interrupted(stop, f"step {progress.step} is saved in {run.path}; {_RESUME}")
    return record


def steps(config: TrainConfig, progress: Progress) -> Iterator[float]:
    """The steps until the budget is used up, counted as they begin: of each, where in the schedule it lies."""
    while budget_used(config, progress) < 1:
        fraction = next_fraction(config, progress)
        progress.step += 1
        progress.sequences_seen += config.batch_size
        yield fraction


def budget_used(config: TrainConfig, progress: Progress) -> float:
    """The fraction of the budget, steps or minutes, that is used up."""
    by_steps = progress.step / config.steps if config.steps else 0.0
    by_time = progress.seconds / (60 * config.max_minutes) if config.max_minutes else 0.0
    return max(by_steps, by_time)


def fraction_at(done: float, budget: float, step: float = 1) -> float:
    """Where in a schedule the next step lies, which takes `step` of the budget: it counts itself, so that neither the
    first nor the last one has a rate of zero."""
    return (done + step) / (budget + step)


def next_fraction(config: TrainConfig, progress: Progress) -> float:
    """Where in the schedule the next step lies; of a budget of minutes, a step takes as long as those before it did."""
    by_steps = fraction_at(progress.step, config.steps) if config.steps else 0.0
    if not config.max_minutes:
        return by_steps
    budget = 60 * config.max_minutes
    step = progress.seconds / progress.step if progress.step else budget / _STEPS
    return max(by_steps, fraction_at(progress.seconds, budget, step))


def schedule(fraction: float, warmup: float) -> float:
    """Share of the peak learning rate after `fraction` of the budget: linear warm-up, then half a cosine to zero."""
    if fraction < warmup:
        return fraction / warmup
    return 0.5 * (1 + math.cos(math.pi * (fraction - warmup) / (1 - warmup)))


@contextmanager
def _stop_signals(saved: bool) -> Iterator[list[int]]:
    """Collects the first SIGINT or SIGTERM into the list it yields; the second one acts at once.

    Where nothing is saved, or in a thread, which Python allows no handlers, they act at once as well.
    """
    received: list[int] = []
    if not saved or threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for handled in previous:
            signal.signal(handled, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, handle)
    try:
        yield received
    finally:
        for handled, handler in previous.items():
            signal.signal(handled, handler)


def _progress_bar(config: TrainConfig, progress: Progress, *, shown: bool) -> tqdm:
    """A bar over the budget, so that the time left is right for steps and for minutes; none where nothing is left."""
    return tqdm(
        disable=not shown or budget_used(config, progress) >= 1,
        total=1.0,
        mininterval=0.1 if sys.stderr.isatty() else 30,  # seconds; a log file wants few lines
        initial=min(1.0, budget_used(config, progress)),
        bar_format="training {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}",
    )


@contextmanager
def _way_out(run: RunFolder | None) -> Iterator[None]:
    """Errors within it say what is left of the run, and what to do."""
    if run is None:
        yield
        return
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader"):  # torch's word for the processes that read data
            raise
        cause = "was silent for too long" if "timed out" in str(error) else "was killed, perhaps for want of memory"
        raise ChildProcessError(
            f"a process that reads data {cause}; the last checkpoint is intact: {_RESUME}, perhaps with fewer --workers"
        ) from error
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}; {_WAY_OUT}") from error
    except OSError as error:
        raise OSError(f"{describe(error)}; the last checkpoint is intact; mend it and {_RESUME}") from error
