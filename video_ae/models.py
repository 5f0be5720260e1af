"""The LSTM autoencoder: one encoder, and decoders that rebuild its input or predict what follows."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from .config import FUTURE, RECONSTRUCTION, ModelConfig
from .patches import frames_to_vectors, vectors_to_frames
from .recurrent import LSTM, State


class Encoder(nn.Module):
    """Reads a sequence of vectors; what it knows afterwards is its state."""

    def __init__(self, vector_size: int, hidden_size: int, layers: int = 1, *, peephole: bool = False) -> None:
        super().__init__()
        self.lstm = LSTM(vector_size, hidden_size, layers, peephole=peephole)

    def forward(self, vectors: Tensor) -> tuple[Tensor, list[State]]:
        """(B, T, D) to the top layer's hidden states (B, T, hidden_size) and every layer's last state."""
        hidden, states = self.lstm(vectors.transpose(0, 1), None, vectors.shape[1])
        return hidden.transpose(0, 1), states


class Decoder(nn.Module):
    """Unfolds a state into vectors, forwards in time or, with `reverse`, from the last frame to the first.

    An unconditional decoder has no input. A conditional one reads the vector before: in free running its own output,
    under teacher forcing the true one. Callers always see time order.
    """

    def __init__(
        self,
        vector_size: int,
        hidden_size: int,
        layers: int = 1,
        *,
        peephole: bool = False,
        conditional: bool = False,
        reverse: bool = False,
        output: str = "logistic",
    ) -> None:
        super().__init__()
        self.conditional, self.reverse, self.output = conditional, reverse, output
        self.lstm = LSTM(vector_size if conditional else 0, hidden_size, layers, peephole=peephole)
        self.readout = nn.Linear(hidden_size, vector_size)

    def forward(self, states: list[State], first_input: Tensor, steps: int, teacher: Tensor | None = None) -> Tensor:
        """`steps` output vectors (B, steps, D) before the output nonlinearity.

        states:      the encoder's last state of every layer.
        first_input: (B, D), what a conditional decoder reads before its first step.
        teacher:     the true vectors (B, steps, D) for teacher forcing; None lets a conditional decoder run free.
        """
        if not self.conditional:
            hidden, _ = self.lstm(None, states, steps)
            outputs = self.readout(hidden)  # (T, B, D)
        elif teacher is not None:
            targets = (teacher.flip(1) if self.reverse else teacher).transpose(0, 1)  # (T, B, D), in decoding order
            hidden, _ = self.lstm(torch.cat([first_input[None], targets[:-1]]), states, steps)
            outputs = self.readout(hidden)
        else:
            outputs = self._run_free(states, first_input, steps)
        in_order = outputs.transpose(0, 1)  # (B, T, D)
        return in_order.flip(1) if self.reverse else in_order

    def _run_free(self, states: list[State], vector: Tensor, steps: int) -> Tensor:
        outputs = []
        for _ in range(steps):
            hidden, states = self.lstm(vector[None], states, 1)
            output = self.readout(hidden[0])  # (B, D)
            outputs.append(output)
            vector = activate(output, self.output)
        return torch.stack(outputs)


def activate(outputs: Tensor, output: str) -> Tensor:
    """What the output units emit: probabilities for `logistic` units, the values themselves for `linear` ones."""
    return outputs.float().sigmoid() if output == "logistic" else outputs.float()


class LSTMAutoencoder(nn.Module):
    """Encoder and decoders of Srivastava et al. (2015), figures 2 to 4; both decoders make the composite model.

    With a patch size, every patch position is a sequence of its own and shares the weights with the others.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        size, hidden, layers = config.vector_size, config.hidden_size, config.layers
        self.encoder = Encoder(size, hidden, layers, peephole=config.peephole)
        self.decoders = nn.ModuleDict(
            {
                name: Decoder(
                    size,
                    hidden,
                    layers,
                    peephole=config.peephole,
                    conditional=name in config.conditional,
                    reverse=name == RECONSTRUCTION,
                    output=config.output,
                )
                for name in config.decoders
            }
        )

    def forward(
        self, inputs: Tensor, future: Tensor | None = None, *, teacher_forcing: bool, steps: int | None = None
    ) -> dict[str, Tensor]:
        """Encode, then decode in every way this model has.

        inputs: (B, T, D) vectors or (B, T, rows, columns, D) patch vectors, 0 to 1.
        future: what follows, of the same kind; only read by a conditional future decoder under teacher forcing.
        steps:  how many future vectors to predict (default: as many as `future` has, or the configured number).

        Returns, per decoder, its outputs in time order before the output nonlinearity, shaped as the inputs:
        `reconstruction` as many steps as `inputs` has, `future` `steps` of them.
        """
        grid = inputs.shape[2:-1]
        sequences = _fold_grid(inputs)  # (B', T, D)
        true_future = None if future is None else _fold_grid(future)
        _, states = self.encoder(sequences)
        outputs = {}
        if RECONSTRUCTION in self.decoders:
            nothing = torch.zeros_like(sequences[:, 0])
            teacher = sequences if teacher_forcing else None
            outputs[RECONSTRUCTION] = self.decoders[RECONSTRUCTION](states, nothing, sequences.shape[1], teacher)
        if FUTURE in self.decoders:
            if steps is None:
                steps = self.config.future_frames if true_future is None else true_future.shape[1]
            teacher = true_future if teacher_forcing else None
            outputs[FUTURE] = self.decoders[FUTURE](states, sequences[:, -1], steps, teacher)
        return {name: _unfold_grid(output, grid) for name, output in outputs.items()}

    @torch.no_grad()
    def start_from(self, clips: Tensor) -> None:
        """Fit a new model to the scale of its data, frames (B, T, C, H, W), before the first step of training.

        Gates see unit variance whatever the inputs' scale, and the outputs start at the mean frame.
        """
        vectors = self.frames_to_vectors(clips)
        scale = vectors.square().mean().sqrt().clamp(min=1e-6)
        mean = vectors.flatten(0, -2).mean(dim=0)  # (D,)
        start = mean.clamp(1e-3, 1 - 1e-3).logit() if self.config.output == "logistic" else mean
        for module in self.modules():
            if isinstance(module, LSTM):
                module.expect_inputs_of(scale)
            elif isinstance(module, Decoder):
                module.readout.bias.copy_(start)

    @torch.no_grad()
    def encode(self, clips: Tensor) -> Tensor:
        """The fixed-length code of every clip, (B, code_size): the top layer's last hidden state.

        clips: frames (B, T, C, H, W) or vectors, as for `predict`. With patches the positions' codes are concatenated.
        """
        vectors = self._to_vectors(clips)
        hidden, _ = self.encoder(_fold_grid(vectors))  # (B', T, hidden)
        return hidden[:, -1].reshape(len(clips), -1)

    @torch.no_grad()
    def reconstruct(self, clips: Tensor) -> Tensor:
        """The clips as rebuilt from their code, in time order and of the same kind as `clips` (see `predict`)."""
        self._require(RECONSTRUCTION)
        outputs = self(self._to_vectors(clips), teacher_forcing=False, steps=1)[RECONSTRUCTION]
        return self._to_kind_of(clips, outputs)

    @torch.no_grad()
    def predict(self, clips: Tensor, steps: int | None = None) -> Tensor:
        """The `steps` frames that follow (default: as many as in training), free running.

        clips: uint8 frames (B, T, C, H, W) in 0 to 255, float frames in 0 to 1, or float vectors (B, T, D). What comes
        back is of the same kind. Raises ValueError for other shapes and where there is no future decoder.
        """
        self._require(FUTURE)
        outputs = self(self._to_vectors(clips), teacher_forcing=False, steps=steps)[FUTURE]
        return self._to_kind_of(clips, outputs)

    def frames_to_vectors(self, frames: Tensor) -> Tensor:
        """uint8 frames (B, T, C, H, W) in 0 to 255, or float ones in 0 to 1, to this model's float32 vectors."""
        if frames.ndim != 5 or tuple(frames.shape[2:]) != self.config.frame_shape:
            raise ValueError(
                f"found frames of shape {tuple(frames.shape)}, expected (clips, frames, channels, height, width) with"
                f" {self.config.frame_shape} at the end, the frames that this model was built for"
            )
        if frames.dtype != torch.uint8 and not frames.is_floating_point():
            raise ValueError(f"found {frames.dtype} frames, expected uint8 (0 to 255) or floats (0 to 1); convert them")
        scaled = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
        return frames_to_vectors(scaled, self.config.patch_size)

    def outputs_to_frames(self, outputs: Tensor) -> Tensor:
        """What `forward` returns for one decoder to float frames (B, T, C, H, W), 0 to 1 (linear units: unclipped)."""
        return vectors_to_frames(activate(outputs, self.config.output), self.config.frame_shape, self.config.patch_size)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json` and `model.safetensors` into `folder`."""
        from .checkpoint import save_model

        save_model(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> LSTMAutoencoder:
        """The model in `folder`: what `save_pretrained` wrote, or a run of `train.py`.

        Raises FileNotFoundError where there is none, ValueError where it is damaged or of another shape.
        """
        from .checkpoint import load_model

        return load_model(cls, Path(folder))

    def _require(self, decoder: str) -> None:
        if decoder not in self.decoders:
            raise ValueError(
                f"this model has no {decoder} decoder, only {', '.join(self.decoders)}; train a composite one"
            )

    def _to_vectors(self, clips: Tensor) -> Tensor:
        if clips.ndim == 3 and clips.shape[2] == self.config.vector_size and clips.is_floating_point():
            return clips.float()
        return self.frames_to_vectors(clips)

    def _to_kind_of(self, clips: Tensor, outputs: Tensor) -> Tensor:
        if clips.ndim == 3:
            return activate(outputs, self.config.output)
        frames = self.outputs_to_frames(outputs)
        return (frames * 255).round().clamp(0, 255).to(torch.uint8) if clips.dtype == torch.uint8 else frames


def _fold_grid(vectors: Tensor) -> Tensor:
    """(B, T, rows, columns, D) to (B * rows * columns, T, D): a sequence per patch position. (B, T, D) stays."""
    return vectors if vectors.ndim == 3 else vectors.permute(0, 2, 3, 1, 4).flatten(0, 2)


def _unfold_grid(sequences: Tensor, grid: torch.Size) -> Tensor:
    """The inverse of `_fold_grid` for a grid (rows, columns)."""
    return sequences.unflatten(0, (-1, *grid)).permute(0, 3, 1, 2, 4) if grid else sequences
