"""What comes of a training while it goes on: metrics and, in the folder of a run, checkpoints, pictures, models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .charts import save_chart, training_chart
from .checkpoint import Progress
from .config import FUTURE, LOSS_NAMES, RECONSTRUCTION, TrainConfig
from .distributed import Ranks
from .evaluation import evaluate_batches, predict_clips
from .memory import peak_memory
from .models import LSTMAutoencoder
from .pretrained import save_model
from .run_folder import RunFolder
from .visualize import save_clip_gif, save_sheet

Batches = Callable[[], Iterator[Tensor]]  # from the first one again at every call


class Record:
    """The metrics of a training, and what is kept of it in a run folder, if there is one.

    validation:   this rank's share of the validation clips; None judges nothing, and the last model is the best one.
    rows:         of metrics.jsonl, on the first rank.
    best_weights: of the lowest validation loss, where there is no folder that has them; None before there is one.
    """

    def __init__(
        self,
        model: LSTMAutoencoder,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        validation: Batches | None,
        run: RunFolder | None,
        ranks: Ranks,
    ) -> None:
        self.model, self.optimizer, self.config = model, optimizer, config
        self.validation, self.run, self.ranks = validation, run, ranks
        self.progress = Progress()
        self.rows: list[dict[str, Any]] = []
        self.best_weights: dict[str, Tensor] | None = None
        self._saved_step = 0

    def begin(self, resume_from: str | None) -> None:
        """Everything as it was at a checkpoint of the run, or else a first one: who is killed early goes on from the
        same weights."""
        run = self.run
        if run is None:
            return
        if resume_from is None:
            self.ranks.on_first(lambda: run.checkpoints.save(self.model, self.optimizer, self.progress, best=False))
            return
        self.progress = run.checkpoints.load(resume_from, self.model, self.optimizer)
        self._saved_step = self.progress.step
        self.ranks.on_first(lambda: run.restore_metrics(run.checkpoints.metrics(resume_from)))
        self.rows = run.metrics() if self.ranks.is_main else []

    def add(self, metrics: dict[str, Any], *, keep: bool = True) -> dict[str, Any]:
        """What there is to tell of the last step, with the `metrics`; to `keep`, on the first rank, as a row."""
        row = _progress_row(self.progress) | metrics
        if keep and self.ranks.is_main:
            self.rows.append(row)
            if self.run is not None:
                self.run.append_metrics(row)
        return row

    @property
    def due(self) -> bool:
        """Whether the model is to be judged and saved before the next step."""
        return self.progress.step % self.config.checkpoint_every == 0 and self.unjudged

    @property
    def unjudged(self) -> bool:
        """Whether there were steps since the model was judged, and anything comes of judging it."""
        return self.progress.step > self.progress.judged_step and not (self.run is None and self.validation is None)

    def judge(self) -> dict[str, Any]:
        """Judge the model on the validation clips of all ranks, and keep it: a row of metrics, pictures of the first
        clip, a checkpoint.

        Raises FloatingPointError where the validation loss is not finite.
        """
        progress, run = self.progress, self.run
        metrics: dict[str, Any] = {"best": True}
        if self.validation is not None:
            metrics = self._judged(evaluate_batches(self.model, self.validation(), self.ranks.device, self.ranks))
        progress.judged_step = self._saved_step = progress.step
        (memory,) = self.ranks.largest(peak_memory(self.ranks.device))
        metrics = {"peak_memory_bytes": int(memory)} | metrics

        def write() -> dict[str, Any]:
            row = self.add(metrics)
            if run is not None:
                self._draw(run)
                self._save(run, best=row["best"])
            return row

        return self.ranks.on_first(write)

    def _judged(self, results: dict[str, Any]) -> dict[str, Any]:
        """The results, and whether they are the best so far: by the losses that are trained, with their weights."""
        weights = {RECONSTRUCTION: self.config.reconstruction_weight, FUTURE: self.config.future_weight}
        metric = LOSS_NAMES[self.model.config.output]
        losses = [results[name][metric] for name in self.model.decoders]
        if None in losses:
            raise FloatingPointError(f"step {self.progress.step}: the validation loss is not finite")
        loss = sum(weights[name] * value for name, value in zip(self.model.decoders, losses, strict=True))
        best = loss < self.progress.best_loss
        if best and self.run is None:
            self.best_weights = {name: weight.clone() for name, weight in self.model.state_dict().items()}
        self.progress.best_loss = min(loss, self.progress.best_loss)
        return {"best": best, "validation_loss": loss, "validation": results}

    def _draw(self, run: RunFolder) -> None:
        if self.validation is not None and not self.model.config.features:
            clips = predict_clips(self.model, next(self.validation())[:1], self.ranks.device)
            save_clip_gif(run.samples / f"step-{self.progress.step:06d}.gif", clips[0])
            save_sheet(run.samples / f"step-{self.progress.step:06d}-sheet.png", clips)
        save_chart(run.curves, training_chart(self.rows, LOSS_NAMES[self.model.config.output]))

    def save_unjudged(self) -> None:
        """A checkpoint where there were steps since the last one, and a model to use where there is none yet.

        Judging takes time, and who goes on does it first where it is due.
        """
        run = self.run
        if run is not None and self.progress.step > self._saved_step:
            self.ranks.on_first(lambda: self._save(run, best=False))

    def _save(self, run: RunFolder, *, best: bool) -> None:
        if best or self.progress.best_loss == float("inf"):
            save_model(self.model, run.model, self.progress.sequences_seen)
        run.checkpoints.save(self.model, self.optimizer, self.progress, best=best)


def _progress_row(progress: Progress) -> dict[str, float]:
    return {
        "step": progress.step,
        "sequences_seen": progress.sequences_seen,
        "seconds": round(progress.seconds, 3),
        "sequences_per_second": round(progress.sequences_seen / progress.seconds, 1) if progress.seconds else 0.0,
    }
