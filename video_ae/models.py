"""The LSTM autoencoder: one encoder, and decoders that rebuild its input or predict what follows."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from .config import FUTURE, LINEAR, RECONSTRUCTION, ModelConfig
from .patches import fold_grid, frames_to_vectors, unfold_grid, unit_range, vectors_to_frames
from .recurrent import LSTM, State

_LEAST_STD = 1e-2  # of the largest channel's: a channel that hardly changes is not blown up to unit variance


class Encoder(nn.Module):
    """Reads frames; what it knows afterwards is its state.

    With a patch size, every patch position is a sequence of its own and shares the weights with the others. `mean` and
    `std` (C,) standardise the channels of models with linear outputs; for logistic ones frames stay in 0 to 1.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.lstm = LSTM(config.vector_size, config.hidden_size, config.layers, peephole=config.peephole)
        self.register_buffer("mean", torch.zeros(config.frame_shape[0]))
        self.register_buffer("std", torch.ones(config.frame_shape[0]))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, vectors: Tensor) -> tuple[Tensor, list[State]]:
        """The top layer's hidden state at every step, and every layer's last state.

        vectors: (B, T, D), or (B, T, rows, columns, D) patch vectors. The hidden states come back in the same shape,
        hidden_size instead of D; in the last states every patch position is a row of the batch.
        """
        sequences = fold_grid(vectors)  # (B', T, D)
        hidden, states = self.lstm(sequences.transpose(0, 1), None, sequences.shape[1])
        return unfold_grid(hidden.transpose(0, 1), vectors.shape[2:-1]), states

    @torch.no_grad()
    def start_from(self, clips: Tensor) -> None:
        """Fit a new encoder to the scale of its data, frames (B, T, C, H, W), before the first step of training.

        Channels are standardised for linear outputs, and gates see unit variance whatever the inputs' scale.
        """
        if self.config.output == LINEAR:
            std, mean = torch.std_mean(unit_range(clips), dim=(0, 1, 3, 4))  # (C,)
            self.mean.copy_(mean)
            self.std.copy_(std.clamp(min=_LEAST_STD * std.max()))
        self.lstm.expect_inputs_of(_scale(self.to_vectors(clips)))

    @torch.no_grad()
    def encode(self, clips: Tensor) -> Tensor:
        """The fixed-length code of every clip, (B, code_size): the top layer's last hidden state.

        clips: as for `to_vectors`. With patches, the positions' codes are concatenated.
        """
        hidden, _ = self(self.to_vectors(clips))
        return hidden[:, -1].flatten(1)

    def to_vectors(self, clips: Tensor) -> Tensor:
        """What `forward` reads, float32, of uint8 frames (B, T, C, H, W) in 0 to 255 or float ones in 0 to 1.

        Float vectors (B, T, D) of whole frames are taken as well. Frames of one pixel, such as features of a network,
        may have any range. Raises ValueError for other shapes and types.
        """
        shape = self.config.frame_shape
        if clips.ndim == 3 and self.config.patch_size is None and clips.shape[2] == self.config.vector_size:
            clips = clips.unflatten(2, shape)
        if clips.ndim != 5 or tuple(clips.shape[2:]) != shape:
            raise ValueError(
                f"found frames of shape {tuple(clips.shape)}, expected (clips, frames, channels, height, width) with"
                f" {shape} at the end, the frames that this model was built for"
            )
        frames = unit_range(clips)
        if self.config.output == LINEAR:
            frames = (frames - self.mean[:, None, None]) / self.std[:, None, None]
        return frames_to_vectors(frames, self.config.patch_size)


class Decoder(nn.Module):
    """Unfolds a state into vectors, forwards in time or, with `reverse`, from the last frame to the first.

    An unconditional decoder has no input. A conditional one reads the vector before: in free running its own output,
    under teacher forcing the true one. Callers always see time order.
    """

    def __init__(self, config: ModelConfig, *, conditional: bool = False, reverse: bool = False) -> None:
        super().__init__()
        self.conditional, self.reverse, self.output = conditional, reverse, config.output
        input_size = config.vector_size if conditional else 0
        self.lstm = LSTM(input_size, config.hidden_size, config.layers, peephole=config.peephole)
        self.readout = nn.Linear(config.hidden_size, config.vector_size)

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
    return outputs.float() if output == LINEAR else outputs.float().sigmoid()


def _scale(vectors: Tensor) -> Tensor:
    """Root mean square of all values."""
    return vectors.square().mean().sqrt().clamp(min=1e-6)


class LSTMAutoencoder(nn.Module):
    """Encoder and decoders of Srivastava et al. (2015), figures 2 to 4; both decoders make the composite model."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoders = nn.ModuleDict(
            {
                name: Decoder(config, conditional=name in config.conditional, reverse=name == RECONSTRUCTION)
                for name in config.decoders
            }
        )

    def forward(
        self, inputs: Tensor, future: Tensor | None = None, *, teacher_forcing: bool, steps: int | None = None
    ) -> dict[str, Tensor]:
        """Encode, then decode in every way this model has.

        inputs: (B, T, D) vectors or (B, T, rows, columns, D) patch vectors, as `Encoder.to_vectors` makes them.
        future: what follows, of the same kind; only read by a conditional future decoder under teacher forcing.
        steps:  how many future vectors to predict (default: as many as `future` has, or the configured number).

        Returns, per decoder, its outputs in time order before the output nonlinearity, shaped as the inputs:
        `reconstruction` as many steps as `inputs` has, `future` `steps` of them.
        """
        grid = inputs.shape[2:-1]
        _, states = self.encoder(inputs)
        sequences = fold_grid(inputs)  # (B', T, D)
        true_future = None if future is None else fold_grid(future)
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
        return {name: unfold_grid(output, grid) for name, output in outputs.items()}

    @torch.no_grad()
    def start_from(self, clips: Tensor) -> None:
        """Fit a new model to its data, frames (B, T, C, H, W): `Encoder.start_from`, and outputs at the mean frame."""
        self.encoder.start_from(clips)
        vectors = self.encoder.to_vectors(clips)
        mean = vectors.flatten(0, -2).mean(dim=0)  # (D,)
        start = mean if self.config.output == LINEAR else mean.clamp(1e-3, 1 - 1e-3).logit()
        for decoder in self.decoders.values():
            assert isinstance(decoder, Decoder)
            decoder.lstm.expect_inputs_of(_scale(vectors))
            decoder.readout.bias.copy_(start)

    def encode(self, clips: Tensor) -> Tensor:
        """The fixed-length code of every clip, (B, code_size); see `Encoder.encode`."""
        return self.encoder.encode(clips)

    @torch.no_grad()
    def reconstruct(self, clips: Tensor) -> Tensor:
        """The clips as rebuilt from their code, in time order and of the same kind as `clips` (see `predict`)."""
        self._require(RECONSTRUCTION)
        outputs = self(self.encoder.to_vectors(clips), teacher_forcing=False, steps=1)[RECONSTRUCTION]
        return self._to_kind_of(clips, outputs)

    @torch.no_grad()
    def predict(self, clips: Tensor, steps: int | None = None) -> Tensor:
        """The `steps` frames that follow (default: as many as in training), free running.

        clips: frames or vectors, as for `Encoder.to_vectors`. What comes back is of the same kind and in the range of
        the data. Raises ValueError for other shapes and where there is no future decoder.
        """
        self._require(FUTURE)
        outputs = self(self.encoder.to_vectors(clips), teacher_forcing=False, steps=steps)[FUTURE]
        return self._to_kind_of(clips, outputs)

    def outputs_to_frames(self, outputs: Tensor) -> Tensor:
        """What `forward` returns for one decoder to frames (B, T, C, H, W) in the range of the data, not clipped."""
        config = self.config
        frames = vectors_to_frames(activate(outputs, config.output), config.frame_shape, config.patch_size)
        if config.output == LINEAR:
            return frames * self.encoder.std[:, None, None] + self.encoder.mean[:, None, None]
        return frames

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

    def _to_kind_of(self, clips: Tensor, outputs: Tensor) -> Tensor:
        frames = self.outputs_to_frames(outputs)
        if clips.ndim == 3:
            return frames.flatten(2)
        return (frames * 255).round().clamp(0, 255).to(torch.uint8) if clips.dtype == torch.uint8 else frames
