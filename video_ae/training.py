"""The training loop."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from .checkpoint import Progress
from .config import FUTURE, LOSS_NAMES, RECONSTRUCTION, TrainConfig
from .distributed import ALONE, Ranks
from .errors import Interrupted, describe
from .evaluation import evaluate, predict_clips
from .lengths import clear_padding, split_clips
from .losses import LOSSES, total_loss
from .memory import peak_memory
from .models import LSTMAutoencoder
from .not_finite import first_cause
from .optimizer import Optimizer
from .precision import uses_bf16
from .pretrained import save_model
from .recurrent import segmented
from .restored import mode, random_numbers_of, same_gradients
from .run_folder import RunFolder
from .visualize import save_clip_gif, save_sheet, save_training_curves

_LOG_EVERY = 10  # steps between two rows of metrics.jsonl
_STEPS = 1000  # in a budget of minutes, as far as is known before the first one
_GO_ON = "the last checkpoint is intact: go on with --resume"
_WAY_OUT = (
    "the last checkpoint is intact: begin a new run with a smaller --lr, from the best weights so far with --init-from"
)


def fit(
    model: LSTMAutoencoder,
    config: TrainConfig,
    run: RunFolder,
    training_batches: Callable[[int], Iterator[Tensor]],
    validation_batches: Callable[[], Iterator[Tensor]],
    ranks: Ranks = ALONE,
    resume_from: str | None = None,
) -> Progress:
    """Train `model` until the budget is used up.

    training_batches:   given a step, the uint8 batches (B, T, C, H, W) from that step on, without end: this rank's
                        share of each.
    validation_batches: this rank's share of the validation clips, from the first again at every call.
    ranks:              all of them train and end together, by the first one's clock; the first one writes the files.
    resume_from:        the name of the run's checkpoint to go on from.

    Raises `Interrupted` after SIGINT or SIGTERM to any rank, once the step is finished and saved, FloatingPointError,
    with the cause named, where a number is not finite, and OSError where data cannot be read or files not be written.
    The last checkpoint stays as it is.
    """
    model.to(ranks.device)
    optimizer = Optimizer(model, config.lr, config.weight_decay)
    progress = _begin(model, optimizer, run, ranks, resume_from)
    parallel = ranks.parallel(model)
    saved_step = progress.step
    before, started = progress.seconds, time.monotonic()
    with (
        _stop_signals() as received,
        _progress_bar(config, progress, shown=ranks.first) as bar,
        _way_out(),
        same_gradients(model),
    ):

        def look_up() -> int:
            """Sets the time, and returns the signal to stop at, 0 if none: on all ranks the same, or some would wait
            for others that have stopped."""
            seconds = before + time.monotonic() - started if ranks.first else 0.0
            stop, progress.seconds = ranks.largest(received[0] if received else 0, seconds)
            return int(stop)

        stop = look_up()
        batches = training_batches(progress.step)
        while budget_used(config, progress) < 1 and not stop:
            if progress.step % config.checkpoint_every == 0 and progress.step > progress.judged_step:
                validate_and_save(model, optimizer, progress, run, validation_batches, ranks)
                saved_step = progress.step
                stop = look_up()
                continue
            lr = config.lr * schedule(next_fraction(config, progress), config.warmup)
            clips = next(batches).to(ranks.device)
            row = train_step(parallel, optimizer, clips, lr, config, progress.step + 1, ranks)
            progress.step += 1
            progress.sequences_seen += config.batch_size
            stop = look_up()
            if progress.step % _LOG_EVERY == 0 and ranks.first:
                run.append_metrics(_progress_row(progress) | row)
            speed = progress.sequences_seen / progress.seconds
            bar.set_postfix_str(f"step {progress.step}, {speed:.0f} sequences/s, loss {row['loss']:.1f}", refresh=False)
            bar.update(max(0.0, min(1.0, budget_used(config, progress)) - bar.n))
        if not stop and progress.step > progress.judged_step:
            validate_and_save(model, optimizer, progress, run, validation_batches, ranks)
        elif progress.step > saved_step:  # not judged: that takes time, and who goes on does it first where it is due
            ranks.on_first(lambda: _save_unjudged(model, optimizer, progress, run))
    if stop:
        raise Interrupted(stop, f"step {progress.step} is saved in {run.path}; go on with --resume")
    return progress


def _begin(
    model: LSTMAutoencoder, optimizer: torch.optim.Optimizer, run: RunFolder, ranks: Ranks, resume_from: str | None
) -> Progress:
    """Everything as it was at a checkpoint, or else a first one: who is killed early goes on from the same weights."""
    if resume_from is not None:
        progress = run.checkpoints.load(resume_from, model, optimizer)
        ranks.on_first(lambda: run.restore_metrics(run.checkpoints.metrics(resume_from)))
        return progress
    progress = Progress()
    ranks.on_first(lambda: run.checkpoints.save(model, optimizer, progress, best=False))
    return progress


@contextmanager
def _way_out() -> Iterator[None]:
    """Errors within it say what is left of the run, and what to do."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader"):  # torch's word for the processes that read data
            raise
        cause = "was silent for too long" if "timed out" in str(error) else "was killed, perhaps for want of memory"
        raise ChildProcessError(f"a process that reads data {cause}; {_GO_ON}, perhaps with fewer --workers") from error
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}; {_WAY_OUT}") from error
    except OSError as error:
        raise OSError(f"{describe(error)}; the last checkpoint is intact; mend it and go on with --resume") from error


def train_step(
    model: LSTMAutoencoder | DistributedDataParallel,
    optimizer: torch.optim.Optimizer,
    clips: Tensor,
    lr: float,
    config: TrainConfig,
    step: int,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """One step on clips (B, T, C, H, W); returns the losses per frame, the gradient norm and the rate.

    Shorter clips end in NaN, see `split_clips`. The batch is that of all ranks together, which may have different
    numbers of clips, and every rank computes its clips in `config.accumulate` parts: losses are means over the frames
    of all of them, so that neither changes what is learnt. What is random depends on the seed, the step, the rank and
    the part. Raises FloatingPointError on all ranks, which names the cause, before a loss or gradient that is not
    finite can reach the weights.
    """
    trained = model.module if isinstance(model, DistributedDataParallel) else model
    parts = [split_clips(part, trained.config.input_frames) for part in clips.tensor_split(config.accumulate)]
    weights = {RECONSTRUCTION: config.reconstruction_weight, FUTURE: config.future_weight, "kl": config.beta}
    bf16 = uses_bf16(config.amp, trained.config, max(len(part) for part, _, _ in parts), clips.device)
    optimizer.zero_grad()
    losses = []
    for number, (part, share) in enumerate(zip(parts, _shares(parts, ranks), strict=True)):
        more = number + 1 < len(parts)
        with model.no_sync() if more and isinstance(model, DistributedDataParallel) else nullcontext():
            with (
                torch.autocast(clips.device.type, torch.bfloat16, enabled=bf16),
                random_numbers_of(_seed_of(config.seed, step, ranks.rank, number), clips.device),
                segmented(trained, recompute=config.recompute, truncate=config.truncate),
                mode(trained, training=True),
            ):
                terms = {name: share[name] * term for name, term in _losses(trained, model, part, config).items()}
                loss = total_loss(terms, weights)
            (ranks.size * loss).backward()  # DistributedDataParallel takes the mean over the ranks, the sum is wanted
        losses.append(torch.stack([*terms.values(), loss]).detach())
    gradients = [parameter.grad for parameter in trained.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    found = ranks.total(torch.stack(losses).sum(dim=0))
    *values, gradient_norm = torch.cat([found, norm[None]]).tolist()  # the one time that the step waits for a GPU
    if math.isinf(gradient_norm):  # squares overflow long before gradients do, and these can still be clipped
        largest = torch.stack([gradient.abs().max() for gradient in gradients]).max()
        norm = torch.nn.utils.get_total_norm([gradient / largest for gradient in gradients])
        gradient_norm = largest.item() * norm.item()  # not on the device: MPS has no float64
    row = dict(zip([*terms, "loss"], values, strict=True))
    if not math.isfinite(row["loss"]) or not math.isfinite(gradient_norm):
        raise FloatingPointError(f"step {step}: {_cause(trained, parts, row, config, ranks)}")
    if gradient_norm > config.clip_grad:
        torch._foreach_mul_(gradients, config.clip_grad / gradient_norm)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return row | {"gradient_norm": gradient_norm, "lr": lr}


Part = tuple[Tensor, Tensor, Tensor | None]  # what `split_clips` returns


def _shares(parts: list[Part], ranks: Ranks) -> list[dict[str, float]]:
    """What each part's mean of a loss weighs in the mean over the parts of all ranks."""
    counts = [
        (inputs.shape[0] * inputs.shape[1] if lengths is None else int(lengths.sum()), len(inputs))
        for inputs, _, lengths in parts
    ]
    all_frames, all_clips = ranks.sums(*(sum(column) for column in zip(*counts, strict=True)))
    shares = [(frames / all_frames, clips / all_clips) for frames, clips in counts]
    return [{RECONSTRUCTION: of_frames, FUTURE: of_clips, "kl": of_frames} for of_frames, of_clips in shares]


def _losses(model: LSTMAutoencoder, forward: Callable[..., Any], part: Part, config: TrainConfig) -> dict[str, Tensor]:
    """The mean of every loss over the frames of a part; `forward` is the model's."""
    inputs, future, lengths = part
    targets = {
        RECONSTRUCTION: clear_padding(model.encoder.to_vectors(inputs), lengths),
        FUTURE: model.encoder.to_vectors(future),
    }
    read = _corrupted(targets[RECONSTRUCTION], config)
    outputs = forward(read, targets[FUTURE], teacher_forcing=True, lengths=lengths)
    loss_function = LOSSES[model.config.output]
    ends = {RECONSTRUCTION: lengths, FUTURE: None}
    terms = {name: loss_function(outputs[name], targets[name], ends[name]) for name in model.decoders}
    if "kl" in outputs:
        frames = inputs.shape[0] * inputs.shape[1] if lengths is None else lengths.sum()
        terms["kl"] = outputs["kl"].sum() / frames
    return terms


def _corrupted(vectors: Tensor, config: TrainConfig) -> Tensor:
    """What a denoising encoder reads instead of `vectors` (B, T, ...): with noise, and some steps missing."""
    if config.noise:
        vectors = vectors + config.noise * torch.randn_like(vectors)
    if config.drop_frames:
        kept = torch.rand(vectors.shape[:2], device=vectors.device) >= config.drop_frames  # (B, T)
        vectors = vectors * kept[(..., *[None] * (vectors.ndim - 2))]
    return vectors


def _seed_of(*where: int) -> int:
    """A seed for (seed, step, rank, part): a resumed run draws what it would have drawn, and no two clips of a batch
    get the same random numbers."""
    return int(np.random.SeedSequence(where).generate_state(1, np.uint64)[0] >> 1)


def validate_and_save(
    model: LSTMAutoencoder,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    run: RunFolder,
    validation_batches: Callable[[], Iterator[Tensor]],
    ranks: Ranks,
) -> None:
    """Judge the model on the validation clips of all ranks, draw the first of them, and write a checkpoint."""
    results = evaluate(model, validation_batches(), ranks.device, ranks)
    metric = LOSS_NAMES[model.config.output]
    losses = [results[name][metric] for name in model.decoders]
    if None in losses:
        raise FloatingPointError(f"step {progress.step}: the validation loss is not finite")
    loss = sum(losses)
    best = loss < progress.best_loss
    progress.best_loss, progress.judged_step = min(loss, progress.best_loss), progress.step
    (memory,) = ranks.largest(peak_memory(ranks.device))
    row = _progress_row(progress) | {"peak_memory_bytes": int(memory), "best": best, "validation": results}

    def write() -> None:
        if not model.config.features:
            clips = predict_clips(model, next(validation_batches())[:1], ranks.device)
            save_clip_gif(run.samples / f"step-{progress.step:06d}.gif", clips[0])
            save_sheet(run.samples / f"step-{progress.step:06d}-sheet.png", clips)
        run.append_metrics(row)
        save_training_curves(run.curves, run.metrics(), metric)
        if best:
            save_model(model, run.model, progress.sequences_seen)
        run.checkpoints.save(model, optimizer, progress, best=best)

    ranks.on_first(write)


def _save_unjudged(
    model: LSTMAutoencoder, optimizer: torch.optim.Optimizer, progress: Progress, run: RunFolder
) -> None:
    """A checkpoint, and a model to use where there is none yet."""
    run.checkpoints.save(model, optimizer, progress, best=False)
    if progress.best_loss == float("inf"):
        save_model(model, run.model, progress.sequences_seen)


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


def _cause(model: LSTMAutoencoder, parts: list[Part], row: dict[str, float], config: TrainConfig, ranks: Ranks) -> str:
    """What stopped being finite first, in any of the ranks."""

    def repeat() -> None:
        for part in parts:
            _losses(model, model, part, config)

    read = [(clear_padding(inputs, lengths), future) for inputs, future, lengths in parts]
    return str(min(ranks.gather(list(first_cause(model, read, row, repeat))))[1])


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects the first SIGINT or SIGTERM into the list it yields; the second one acts at once."""
    received: list[int] = []
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


def _progress_row(progress: Progress) -> dict[str, float]:
    return {
        "step": progress.step,
        "sequences_seen": progress.sequences_seen,
        "seconds": round(progress.seconds, 3),
        "sequences_per_second": round(progress.sequences_seen / progress.seconds, 1),
    }
