"""Sequences that never end, step by step: what an encoder has read so far is its state, and nothing else is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .config import FUTURE
from .patches import unit_range
from .recurrent import State
from .restored import mode
from .tensor_files import SEAL, read_tensors, write_tensors

if TYPE_CHECKING:
    from .models import LSTMAutoencoder

_BEFORE, _EXPECTED, _HIDDEN, _CELL = "before", "expected", "hidden", "cell"


class Pushed(NamedTuple):
    """What is known after a step. Of a batch of B streams:

    code:   (B, code_size), what `encode` gives for all steps so far.
    coming: the next frames or vectors, (B, steps, ...), what `predict` gives for all steps so far; None without a
            future decoder.
    score:  (B,), the error of what was predicted for this step before it was there, as in `step_errors`: 0 is perfect,
            more is more anomalous. NaN for the first step, which nothing predicted; None without a future decoder.
    """

    code: Tensor
    coming: Tensor | None
    score: Tensor | None


class Stream:
    """One or several sequences of one model, a step at a time, in constant memory and time.

    Everything equals what the model computes for the whole sequence so far. A sequence that is much longer than those
    of the training asks more of a state than it has learnt: `reset` begins anew.
    """

    def __init__(self, model: LSTMAutoencoder, steps: int = 1) -> None:
        """steps: how many frames to predict at every push."""
        if steps < 1:
            raise ValueError(f"{steps} steps to predict: expected at least 1")
        self.model, self.steps = model, steps
        self.reset()

    def reset(self) -> None:
        """Forget all steps."""
        self._states: list[State] | None = None
        self._before: Tensor | None = None
        self._expected: Tensor | None = None

    @torch.no_grad()
    def push(self, step: Tensor) -> Pushed:
        """Read one more step of every stream: frames (B, C, H, W) or vectors (B, D), as for `LSTMAutoencoder.encode`.

        A single stream is pushed without B, and gets its results without. Raises ValueError for another shape or range,
        for numbers that are not finite, which a state would never forget, and for another number of streams or size of
        frames than before.
        """
        alone = step.ndim in (1, 3)
        clips = (step[None] if alone else step)[:, None]  # (B, 1, ...)
        clips = clips.to(self.model.encoder.mean.device)
        vectors = self.model.encoder.to_vectors(clips)
        if not bool(vectors.isfinite().all()):
            raise ValueError("found numbers in a step that are not finite, expected finite ones: leave out such steps")
        if self._before is not None and self._before.shape != vectors[:, 0].shape:
            raise ValueError(
                f"found {tuple(vectors[:, 0].shape)} vectors in a step, expected {tuple(self._before.shape)} as in the"
                " one before: take a stream of its own for others, or reset()"
            )
        with mode(self.model, training=False):
            code, coming, score = self._read(clips, vectors)
        if not alone:
            return Pushed(code, coming, score)
        return Pushed(code[0], None if coming is None else coming[0], None if score is None else score[0])

    def _read(self, clips: Tensor, vectors: Tensor) -> Pushed:
        model, expected = self.model, self._expected
        states = model.encoder.read_on(vectors, self._states, self._before)
        self._states, self._before = states, vectors[:, 0]
        code = model.encoder.clip_code(states, len(vectors))
        if FUTURE not in model.decoders:
            return Pushed(code, None, None)
        outputs = model.predict_from(states, self._before, self.steps)
        self._expected = outputs[:, :1]
        score = code.new_full((len(code),), torch.nan)
        if expected is not None:
            score = model.errors(expected, unit_range(model.encoder.to_frames(clips)))[:, 0]
        return Pushed(code, model.as_given(model.outputs_to_frames(outputs), clips), score)

    def state_dict(self) -> dict[str, Tensor]:
        """What has to be kept for another stream of the same model to go on from here; empty before the first step."""
        if self._states is None or self._before is None:
            return {}
        found = {_BEFORE: self._before} | ({} if self._expected is None else {_EXPECTED: self._expected})
        for layer, state in enumerate(self._states):
            found |= {f"{layer}.{_HIDDEN}": state.hidden, f"{layer}.{_CELL}": state.cell}
        return {name: tensor.clone() for name, tensor in found.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave. Raises ValueError for that of another model."""
        sizes = self.model.encoder.lstm.hidden_sizes
        names = {f"{layer}.{part}" for layer in range(len(sizes)) for part in (_HIDDEN, _CELL)} | {_BEFORE}
        names |= {_EXPECTED} if FUTURE in self.model.decoders else set()
        if state and (
            state.keys() != names
            or state[_BEFORE].shape[-1] != self.model.config.vector_size
            or any(
                state[f"{layer}.{part}"].shape[-1] != size
                for layer, size in enumerate(sizes)
                for part in (_HIDDEN, _CELL)
            )
        ):
            raise ValueError("the state is that of a stream of another model: load it into one of the model it is from")
        self.reset()
        if not state:
            return
        device = self.model.encoder.mean.device
        own = {name: tensor.to(device, copy=True) for name, tensor in state.items()}
        self._states = [State(own[f"{layer}.{_HIDDEN}"], own[f"{layer}.{_CELL}"]) for layer in range(len(sizes))]
        self._before, self._expected = own[_BEFORE], own.get(_EXPECTED)

    def save(self, path: Path | str) -> None:
        """Write `state_dict` into a safetensors file, whole or not at all."""
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial")
        write_tensors(partial, self.state_dict(), {"format": "pt", SEAL: ""})
        partial.replace(path)

    def load(self, path: Path | str) -> None:
        """Go on from where `save` was called. Raises ValueError where the file is damaged or of another model."""
        self.load_state_dict(read_tensors(Path(path)))
