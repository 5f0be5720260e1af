"""One step of training: losses, their gradient, and the change of the weights that it makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from .config import FUTURE, RECONSTRUCTION, TrainConfig
from .cuda_graphs import CudaGraphs
from .distributed import ALONE, Ranks
from .lengths import clear_padding, split_clips
from .losses import LOSSES, Loss, total_loss
from .models import LSTMAutoencoder
from .not_finite import first_cause
from .precision import uses_bf16
from .recurrent import segmented
from .restored import mode, random_numbers_of


def train_step(
    model: LSTMAutoencoder | DistributedDataParallel,
    optimizer: torch.optim.Optimizer,
    clips: Tensor,
    lr: float,
    config: TrainConfig,
    step: int,
    ranks: Ranks = ALONE,
    loss_function: Loss | None = None,
    graphs: CudaGraphs | None = None,
) -> dict[str, float]:
    """One step on clips (B, T, C, H, W); returns the losses per frame, the gradient norm and the learning rate.

    Shorter clips end in NaN, see `split_clips`. The batch is that of all ranks together, which may have different
    numbers of clips, and every rank computes its clips in `config.accumulate` parts: losses are means over the frames
    of all of them, so that neither changes what is learnt. What is random depends on the seed, the step, the rank and
    the part. `loss_function` replaces that of the model's output units. `graphs` are for a GPU, see `graphs_for`, and
    keep the first step's `config`.

    Raises FloatingPointError on all ranks, which names the cause, before a loss or gradient that is not
    finite can reach the weights.
    """
    trained = model.module if isinstance(model, DistributedDataParallel) else model
    loss_function = loss_function or LOSSES[trained.config.output]
    parts = [split_clips(part, trained.config.input_frames) for part in clips.tensor_split(config.accumulate)]
    weights = {RECONSTRUCTION: config.reconstruction_weight, FUTURE: config.future_weight, "kl": config.beta}
    bf16 = uses_bf16(config.amp, trained.config, max(len(part) for part, _, _ in parts), clips.device)
    names = [*trained.decoders, *["kl"] * trained.config.variational, "loss"]
    optimizer.zero_grad()
    losses = []
    for number, (part, share) in enumerate(zip(parts, _shares(parts, ranks), strict=True)):
        more = number + 1 < len(parts)
        lengths = part[-1]

        def backward(*targets: Tensor, share: dict[str, float] = share, lengths: Tensor | None = lengths) -> Tensor:
            """Adds the gradients of a part to the others; returns the values of `names`."""
            with (
                torch.autocast(clips.device.type, torch.bfloat16, enabled=bf16),
                segmented(trained, recompute=config.recompute, truncate=config.truncate),
                mode(trained, training=True),
            ):
                means = _losses(trained, model, targets, lengths, config, loss_function)
                terms = {name: share[name] * mean for name, mean in means.items()}
                loss = total_loss(terms, weights)
            (ranks.size * loss).backward()  # DistributedDataParallel takes the mean over the ranks, the sum is wanted
            return torch.stack([*terms.values(), loss]).detach()

        with (
            model.no_sync() if more and isinstance(model, DistributedDataParallel) else nullcontext(),
            random_numbers_of(_seed_of(config.seed, step, ranks.rank, number), clips.device),
        ):
            targets = _targets(trained, part)
            losses.append(backward(*targets) if graphs is None or lengths is not None else graphs(backward, targets))
    gradients = [parameter.grad for parameter in trained.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    found = ranks.total(torch.stack(losses).sum(dim=0))
    *values, gradient_norm = torch.cat([found, norm[None]]).tolist()  # the one time that the step waits for a GPU
    if math.isinf(gradient_norm):  # squares overflow long before gradients do, and these can still be clipped
        largest = torch.stack([gradient.abs().max() for gradient in gradients]).max()
        norm = torch.nn.utils.get_total_norm([gradient / largest for gradient in gradients])
        gradient_norm = largest.item() * norm.item()  # not on the device: MPS has no float64
    row = dict(zip(names, values, strict=True))
    if not math.isfinite(row["loss"]) or not math.isfinite(gradient_norm):
        raise FloatingPointError(f"step {step}: {_cause(trained, parts, row, config, loss_function, ranks)}")
    if gradient_norm > config.clip_grad:
        torch._foreach_mul_(gradients, config.clip_grad / gradient_norm)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return row | {"gradient_norm": gradient_norm, "lr": lr}


def graphs_for(
    model: LSTMAutoencoder, config: TrainConfig, ranks: Ranks, loss_function: Loss | None
) -> CudaGraphs | None:
    """For all steps of one training on a GPU; None where what a step does depends on more than shapes."""
    alike = config.accumulate == 1 and config.recompute is None and loss_function is None and ranks.size == 1
    return CudaGraphs(model.parameters()) if alike and ranks.device.type == "cuda" else None


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


def _targets(model: LSTMAutoencoder, part: Part) -> tuple[Tensor, Tensor]:
    """The vectors that the model reads and rebuilds, and those that follow."""
    inputs, future, lengths = part
    return clear_padding(model.encoder.to_vectors(inputs), lengths), model.encoder.to_vectors(future)


def _losses(
    model: LSTMAutoencoder,
    forward: Callable[..., Any],
    targets: Sequence[Tensor],
    lengths: Tensor | None,
    config: TrainConfig,
    loss_function: Loss,
) -> dict[str, Tensor]:
    """The mean of every loss over the frames of a part, of its `_targets`; `forward` is the model's."""
    now, future = targets
    outputs = forward(_corrupted(now, config), future, teacher_forcing=True, lengths=lengths)
    of = {RECONSTRUCTION: (now, lengths), FUTURE: (future, None)}
    terms = {name: loss_function(outputs[name], *of[name]) for name in model.decoders}
    if "kl" in outputs:
        frames = now.shape[0] * now.shape[1] if lengths is None else lengths.sum()
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


def _cause(
    model: LSTMAutoencoder,
    parts: list[Part],
    row: dict[str, float],
    config: TrainConfig,
    loss_function: Loss,
    ranks: Ranks,
) -> str:
    """What stopped being finite first, in any of the ranks."""

    def repeat() -> None:
        for part in parts:
            _losses(model, model, _targets(model, part), part[-1], config, loss_function)

    read = [(clear_padding(inputs, lengths), future) for inputs, future, lengths in parts]
    return str(min(ranks.gather(list(first_cause(model, read, row, repeat))))[1])
