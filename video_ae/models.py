"""The LSTM autoencoder: one encoder, and decoders that rebuild its input or predict what follows."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .config import FUTURE, LINEAR, RECONSTRUCTION, ModelConfig, from_json
from .lengths import check_lengths, clear_padding, flip_time, last_step, present_steps
from .matching import Matching
from .metrics import entropy_floor, nats
from .motion import Motion
from .patches import fold_grid, fold_lengths, frames_to_vectors, unfold_grid, unit_range, vectors_to_frames
from .pretrained import load_model, save_model
from .recurrent import LSTM, State
from .restored import mode
from .stream import Stream

_HIGHEST = 16.0  # of float frames, which may be standardised
_LEAST_STD = 1e-2  # of the largest channel's: a channel that hardly changes is not blown up to unit variance


class Encoder(nn.Module):
    """Reads frames; what it knows afterwards is its state.

    With a patch size, every patch position is a sequence of its own and shares the weights with the others, or, with a
    convolutional cell, reads its neighbours' states as well. `mean` and `std` (C,) standardise the channels of models
    with linear outputs; for logistic ones frames stay in 0 to 1.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.matching = Matching(config) if config.matching else None
        features = 0 if self.matching is None else self.matching.features
        self.lstm = LSTM(config.vector_size + features, config.hidden_sizes, **_cell(config))
        self.bottleneck: nn.Linear | None = None
        if config.code_size is not None:
            self.bottleneck = nn.Linear(config.hidden_sizes[-1], config.code_size * (2 if config.variational else 1))
        self.register_buffer("mean", torch.zeros(config.frame_shape[0]))
        self.register_buffer("std", torch.ones(config.frame_shape[0]))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, list[State]]:
        """The top layer's hidden state at every step, and every layer's last state, at each sequence's own end.

        vectors: (B, T, D), or (B, T, rows, columns, D) patch vectors. The hidden states come back in the same shape,
        hidden_size instead of D; in the last states of a dense LSTM every patch position is a row of the batch.
        """
        return self._run(self._inputs(clear_padding(vectors, lengths)), None, lengths)

    def read_on(self, vectors: Tensor, states: list[State] | None, before: Tensor | None) -> list[State]:
        """Every layer's last state after vectors (B, T, ..., D) that follow those which left `states`.

        before: (B, ..., D), the last of those. Both None: nothing was read yet.
        """
        if states is None or before is None:
            return self(vectors)[1]
        beside = self._inputs(torch.cat([before[:, None], vectors], dim=1))
        return self._run([part[:, 1:] for part in beside], states, None)[1]

    def _run(
        self, parts: list[Tensor], states: list[State] | None, lengths: Tensor | None
    ) -> tuple[Tensor, list[State]]:
        """What `forward` returns, of `_inputs` and the states before them."""
        grid = self.positions(parts[0])
        sequences = fold_grid(torch.cat(parts, dim=-1), grid)  # (B', T, ..., input_size)
        hidden, states = self.lstm(sequences.transpose(0, 1), states, sequences.shape[1], fold_lengths(lengths, grid))
        return unfold_grid(hidden.transpose(0, 1), grid), states

    def _inputs(self, vectors: Tensor) -> list[Tensor]:
        """What the LSTM reads beside each other: the vectors and, where the encoder has matching, how they match."""
        return [vectors] if self.matching is None else [vectors, self.matching(vectors, self.std)]

    def positions(self, vectors: Tensor) -> torch.Size:
        """The grid of patches (rows, columns) whose positions are sequences of their own; empty where they are not."""
        return torch.Size() if self.config.convolutional else vectors.shape[2:-1]

    @torch.no_grad()
    def start_from(self, clips: Tensor, *, least_std: float = _LEAST_STD) -> None:
        """Fit a new encoder to the scale of its data, frames (B, T, C, H, W), before the first step of training.

        Shorter clips end in NaN, see `split_clips`. Channels are standardised for linear outputs, and gates see unit
        variance whatever the inputs' scale. No channel's deviation counts as less than `least_std` of the largest
        one's; constant ones are only centred.
        """
        if self.config.output == LINEAR:
            frames = present_steps(unit_range(self.to_frames(clips)))  # (N, C, H, W)
            std, mean = torch.std_mean(frames, dim=(0, 2, 3), correction=0)  # (C,)
            std = std.clamp(min=least_std * std.max())
            self.mean.copy_(mean)
            self.std.copy_(std.where(std > 1e-6 * mean.abs(), 1))  # less is rounding, not deviation
        parts = [present_steps(part) for part in self._inputs(self.to_vectors(clips))]
        self.lstm.expect_inputs_of(torch.cat([_scale(part).expand(part.shape[-1]) for part in parts]))

    def code(self, states: list[State]) -> Tensor:
        """What decoders are told, (B', ..., code_size): the top layer's last hidden state, or the bottleneck's output.

        A variational model gives mean and logarithm of the variance, (B', ..., 2 * code_size).
        """
        hidden = states[-1].hidden
        return hidden if self.bottleneck is None else self.bottleneck(hidden)

    def encode(self, clips: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The fixed-length code of every clip, (B, code_size): the top layer's last hidden state, or the bottleneck.

        Gradients go back to the weights and to float clips; `with torch.no_grad():` saves the memory that this takes.

        clips: as for `to_vectors`. With patches, the positions' codes are concatenated; those of a convolutional LSTM
        are averaged, whatever the size of the frames. `lengths` (B,) says where each sequence ends, if not at T; what
        follows does not matter.
        """
        vectors = self.to_vectors(clips)
        _, states = self(vectors, check_lengths(lengths, vectors.shape))
        return self.clip_code(states, len(vectors))

    def clip_code(self, states: list[State], clips: int) -> Tensor:
        """What `encode` gives for `clips` clips that left `states`."""
        code = self.code(states)[..., : self.config.code_size]  # of a variational code the mean
        if self.config.convolutional:
            return code.mean(dim=(1, 2))  # (B, rows, columns, code_size) to (B, code_size)
        return code.unflatten(0, (clips, -1)).flatten(1)

    def to_frames(self, clips: Tensor) -> Tensor:
        """(B, T, C, H, W) of what `to_vectors` takes. Raises ValueError for other shapes.

        A convolutional LSTM takes frames of any height and width that the patch size divides.
        """
        shape = self.config.frame_shape
        if not isinstance(clips, Tensor):
            raise TypeError(f"found {type(clips).__name__}, expected a tensor: torch.from_numpy(...) of an array")
        if self.config.convolutional and clips.ndim == 5 and clips.shape[2] == shape[0]:
            return clips
        if clips.ndim == 3 and self.config.patch_size is None and clips.shape[2] == self.config.vector_size:
            clips = clips.unflatten(2, shape)
        if clips.ndim != 5 or tuple(clips.shape[2:]) != shape:
            raise ValueError(
                f"found frames of shape {tuple(clips.shape)}, expected (clips, frames, channels, height, width) with"
                f" {shape} at the end, the frames that this model was built for"
            )
        return clips

    def to_vectors(self, clips: Tensor) -> Tensor:
        """What `forward` reads, float32, of uint8 frames (B, T, C, H, W) in 0 to 255 or float ones in 0 to 1.

        Float vectors (B, T, D) of whole frames are taken as well, in the same range. Frames of one pixel, such as
        features of a network, may have any range. Raises ValueError for other shapes, types and ranges.
        """
        self._refuse_unscaled(clips)
        time_major = self.to_frames(clips).transpose(0, 1).contiguous()  # in memory as the recurrence reads it
        frames = unit_range(time_major)
        if self.config.output == LINEAR:
            frames = (frames - self.mean[:, None, None]) / self.std[:, None, None]
        return frames_to_vectors(frames, self.config.patch_size).transpose(0, 1)

    def _refuse_unscaled(self, clips: Tensor) -> None:
        """Raises ValueError for float frames that are clearly not in 0 to 1, such as 0 to 255."""
        if self.config.features or not clips.is_floating_point() or torch.compiler.is_compiling():
            return
        if clips.numel() and (highest := float(clips.detach().amax())) > _HIGHEST:
            raise ValueError(
                f"found float frames of up to {highest:g}, expected 0 to 1: give uint8 frames, or divide by 255"
            )


class Decoder(nn.Module):
    """Unfolds a state into vectors, forwards in time or, with `reverse`, from the last frame to the first.

    An unconditional decoder has no input. A conditional one reads the vector before: in free running its own output,
    under teacher forcing the true one. Callers always see time order.

    It starts from the encoder's states, from states made of the code, or, with `repeat_code`, from zeros and reads the
    code at every step.
    """

    def __init__(self, config: ModelConfig, *, conditional: bool = False, reverse: bool = False) -> None:
        super().__init__()
        self.conditional, self.reverse, self.output = conditional, reverse, config.output
        self.repeat_code, sizes = config.repeat_code, config.hidden_sizes
        code_size = sizes[-1] if config.code_size is None else config.code_size
        input_size = (config.vector_size if conditional else 0) + (code_size if config.repeat_code else 0)
        self.lstm = LSTM(input_size, sizes, **_cell(config))
        self.from_code: nn.Linear | None = None
        if config.code_size is not None and not config.repeat_code:
            self.from_code = nn.Linear(code_size, 2 * sum(sizes))
        self.shape: nn.Module = nn.Identity()
        self.motion: Motion | None = None
        width = sizes[-1]
        if config.kernel_size is not None:
            # Its few units say which shape is where, and not pixel by pixel what is seen of it.
            width *= 2
            self.shape = nn.Sequential(_Convolution(sizes[-1], width, config.kernel_size, padding="same"), nn.SiLU())
            self.motion = None if reverse else Motion(width, config)
        self.readout = nn.Linear(width, config.vector_size)
        self.keep: nn.Linear | None = None
        if config.residual and not reverse:
            self.keep = nn.Linear(width, config.vector_size)
            nn.init.zeros_(self.keep.bias)

    def forward(
        self,
        states: list[State] | None,
        code: Tensor,
        first_input: Tensor,
        steps: int,
        teacher: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """`steps` output vectors (B, steps, ..., D) before the output nonlinearity, zeros after each sequence's end.

        states:      the encoder's last state of every layer; not read where decoders start from the code alone.
        code:        (B, ..., code_size), of `Encoder.code`, sampled where the model is variational.
        first_input: (B, ..., D), what a conditional decoder reads before its first step, what motion starts from, and
                     what a residual decoder keeps a share of.
        teacher:     the true vectors (B, steps, ..., D) for teacher forcing; None lets a conditional decoder run free.
        lengths:     (B,), how many of the steps each sequence has; None: all of them.
        """
        states = self._first_states(states, code)
        before = first_input[None]  # of the first step, or of every one
        if not self.conditional:
            repeated = code.expand(steps, *code.shape) if self.repeat_code else None  # (T, B, ..., code_size)
            hidden, _ = self.lstm(repeated, states, steps, lengths)
        elif teacher is not None:
            targets = self._turned(teacher.transpose(0, 1), lengths)  # in decoding order
            before = torch.cat([before, targets[:-1]])
            hidden, _ = self.lstm(self._beside_code(before, code), states, steps, lengths)
        else:
            hidden, before = self._run_free(states, code, first_input, steps)
        outputs = self._emit(self._turned(hidden, lengths), before)  # (T, B, ..., D)
        return clear_padding(outputs.transpose(0, 1), lengths)

    def _emit(self, hidden: Tensor, before: Tensor) -> Tensor:
        """Outputs (T, B, ..., D) of hidden states (T, B, ..., size) and the vectors before (T or 1, B, ..., D)."""
        features = self.shape(hidden)
        content = self.readout(features)
        if self.keep is not None:
            return self.keep(features).float().sigmoid() * before + content
        return content if self.motion is None else self.motion(content, features, before)

    def _turned(self, sequences: Tensor, lengths: Tensor | None) -> Tensor:
        """(T, B, ...) from time order to decoding order or back."""
        return flip_time(sequences.transpose(0, 1), lengths).transpose(0, 1) if self.reverse else sequences

    def _first_states(self, states: list[State] | None, code: Tensor) -> list[State]:
        if self.repeat_code:
            zeros = (code.new_zeros(*code.shape[:-1], size, dtype=torch.float32) for size in self.lstm.hidden_sizes)
            return [State(zero, zero) for zero in zeros]
        if self.from_code is None:
            assert states is not None
            return states
        sizes = [size for size in self.lstm.hidden_sizes for _ in State._fields]
        parts = self.from_code(code).float().split(sizes, dim=-1)
        return [State(hidden.tanh(), cell) for hidden, cell in zip(parts[::2], parts[1::2], strict=True)]

    def _beside_code(self, inputs: Tensor, code: Tensor) -> Tensor:
        """Inputs (T, B, ..., D) and, if it is repeated, the code at every step: (T, B, ..., D + code_size)."""
        return torch.cat([inputs, code.expand(len(inputs), *code.shape)], dim=-1) if self.repeat_code else inputs

    def _run_free(self, states: list[State], code: Tensor, vector: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """The top layer's hidden states (T, B, ..., size) where every output is the next input, and the inputs."""
        hiddens, read = [], []
        for _ in range(steps):
            read.append(vector)
            hidden, states = self.lstm(self._beside_code(vector[None], code), states, 1)
            vector = activate(self._emit(hidden, vector[None])[0], self.output)  # (B, ..., D)
            hiddens.append(hidden)
        return torch.cat(hiddens), torch.stack(read)


class _Convolution(nn.Conv2d):
    """Over the rows and columns of maps (T, B, rows, columns, size)."""

    def forward(self, maps: Tensor) -> Tensor:
        channels_first = super().forward(maps.flatten(0, 1).permute(0, 3, 1, 2))
        return channels_first.permute(0, 2, 3, 1).unflatten(0, maps.shape[:2])


def _cell(config: ModelConfig) -> dict[str, Any]:
    """The kind of recurrence that encoder and decoders share."""
    return {"peephole": config.peephole, "kernel_size": config.kernel_size}


def activate(outputs: Tensor, output: str) -> Tensor:
    """What the output units emit: probabilities for `logistic` units, the values themselves for `linear` ones."""
    return outputs.float() if output == LINEAR else outputs.float().sigmoid()


def _scale(vectors: Tensor) -> Tensor:
    """Root mean square of all values."""
    return vectors.square().mean().sqrt().clamp(min=1e-6)


def _mark_as_started(model: LSTMAutoencoder, _: object) -> None:
    model.started = True


def _kept(sequences: Tensor) -> Tensor:
    """The share (D,) of each value of standardised sequences (B, T, ..., D) that is left a step later: least squares.

    Less is left after more steps, so that at every one of them this alone is better than a copy. Missing steps are NaN.
    """
    before, after = (part.flatten(0, -2) for part in (sequences[:, :-1], sequences[:, 1:]))
    there = after.isfinite()
    share = (before * after).where(there, 0).sum(0) / before.square().where(there, 0).sum(0).clamp(min=1e-6)
    return share.clamp(0.02, 0.98)  # where gradients are not lost


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
        self.started = False  # whether it is more than new: see `start_from`
        self.register_load_state_dict_post_hook(_mark_as_started)

    def forward(
        self,
        inputs: Tensor,
        future: Tensor | None = None,
        *,
        teacher_forcing: bool,
        steps: int | None = None,
        lengths: Tensor | None = None,
        decoders: Collection[str] | None = None,
    ) -> dict[str, Tensor]:
        """Encode, then decode in every way this model has, or with the named `decoders` alone.

        inputs:  (B, T, D) vectors or (B, T, rows, columns, D) patch vectors, as `Encoder.to_vectors` makes them.
        future:  what follows, of the same kind; only read by a conditional future decoder under teacher forcing.
        steps:   how many future vectors to predict (default: as many as `future` has, or the configured number).
        lengths: (B,), where each input ends if not at T; its future follows there.

        Returns, per decoder, its outputs in time order before the output nonlinearity, shaped as the inputs:
        `reconstruction` as many steps as `inputs` has, zeros after each end, `future` `steps` of them. A variational
        model in training mode decodes a sample of its code, in evaluation mode the mean, and in training adds `kl`,
        (B',): nats between the distribution of each code and a standard Gaussian.
        """
        grid = self.encoder.positions(inputs)
        lengths = fold_lengths(lengths, grid)
        past = fold_grid(inputs, grid)  # (B', T, ..., D)
        following = None if future is None else fold_grid(future, grid)
        past = clear_padding(past, lengths)
        wanted = self.config.decoders if decoders is None else decoders
        steps = steps or (self.config.future_frames if following is None else following.shape[1])

        states, code, divergence = self._encode(past, lengths)
        outputs = {}
        if RECONSTRUCTION in wanted:
            outputs[RECONSTRUCTION] = self._rebuild(states, code, past, lengths, teacher_forcing)
        if FUTURE in wanted:
            outputs[FUTURE] = self._predict(states, code, last_step(past, lengths), steps, following, teacher_forcing)

        outputs = {name: unfold_grid(output, grid) for name, output in outputs.items()}
        return outputs if divergence is None else outputs | {"kl": divergence}

    def _encode(self, past: Tensor, lengths: Tensor | None) -> tuple[list[State], Tensor, Tensor | None]:
        """The encoder's last states, the code and, of a variational model in training, whose code is drawn, its
        divergence from a standard Gaussian, (B',)."""
        _, states = self.encoder(past, lengths)
        code = self.encoder.code(states)
        if not self.config.variational:
            return states, code, None
        mean, log_variance = code.float().chunk(2, dim=-1)
        if not self.training:
            return states, mean, None
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(dim=1)
        return states, mean + torch.randn_like(mean) * (0.5 * log_variance).exp(), divergence

    def _rebuild(
        self, states: list[State], code: Tensor, past: Tensor, lengths: Tensor | None, teacher_forcing: bool
    ) -> Tensor:
        """Outputs (B', T, ..., D) of the reconstruction decoder, whose first input is zeros."""
        teacher = past if teacher_forcing else None
        first_input, steps = torch.zeros_like(past[:, 0]), past.shape[1]
        outputs: Tensor = self.decoders[RECONSTRUCTION](states, code, first_input, steps, teacher, lengths)
        return outputs

    def _predict(
        self, states: list[State], code: Tensor, last: Tensor, steps: int, future: Tensor | None, teacher_forcing: bool
    ) -> Tensor:
        """Outputs (B', steps, ..., D) of the future decoder, whose first input is the last vector."""
        outputs: Tensor = self.decoders[FUTURE](states, code, last, steps, future if teacher_forcing else None)
        return outputs

    @torch.no_grad()
    def start_from(self, clips: Tensor, *, least_std: float = _LEAST_STD) -> None:
        """Fit a new model to its data, frames (B, T, C, H, W): `Encoder.start_from`, and outputs at the mean frame;
        residual decoders keep what lasts of every value."""
        self.started = True
        self.encoder.start_from(clips, least_std=least_std)
        sequences = self.encoder.to_vectors(clips)
        vectors = present_steps(sequences)  # (N, ..., D)
        mean = vectors.flatten(0, -2).mean(dim=0)  # (D,)
        start = mean if self.config.output == LINEAR else mean.clamp(1e-3, 1 - 1e-3).logit()
        for decoder in self.decoders.values():
            assert isinstance(decoder, Decoder)
            if decoder.conditional and not decoder.repeat_code:
                decoder.lstm.expect_inputs_of(_scale(vectors))
            decoder.readout.bias.copy_(start)
            if decoder.keep is not None:
                decoder.keep.bias.copy_(_kept(sequences).logit())

    def encode(self, clips: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The fixed-length code of every clip, (B, code_size), differentiable; see `Encoder.encode`."""
        return self.encoder.encode(clips, lengths)

    def decode(self, codes: Tensor, steps: int) -> Tensor:
        """Float frames (B, steps, C, H, W) rebuilt from what `encode` gave, (B, code_size), without the clips.

        Differentiable, as `encode` is. Raises ValueError for models whose decoders start from more than the code, and
        for patches.
        """
        self._require(RECONSTRUCTION)
        config = self.config
        if (config.code_size is None and not config.repeat_code) or config.patch_size is not None:
            raise ValueError(
                "the decoders of this model start from the encoder's whole state, of which the code is a part; build it"
                " with code_size or repeat_code, without patches, to decode from codes alone"
            )
        width = config.hidden_sizes[-1] if config.code_size is None else config.code_size
        if steps < 1 or codes.ndim != 2 or codes.shape[1] != width:
            raise ValueError(
                f"found codes {tuple(codes.shape)} and {steps} steps, expected (N, {width}) and at least 1"
            )
        nothing = codes.new_zeros(len(codes), config.vector_size)
        return self.outputs_to_frames(self.decoders[RECONSTRUCTION](None, codes, nothing, steps))

    def reconstruct(self, clips: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The clips as rebuilt from their code, in time order and of the same kind as `clips` (see `predict`).

        With `lengths` (B,), what comes after the end of a sequence is zero. Float frames are differentiable, as codes
        are.
        """
        self._require(RECONSTRUCTION)
        return clear_padding(self._decode(RECONSTRUCTION, clips, 1, lengths), lengths)

    def predict(self, clips: Tensor, steps: int | None = None, lengths: Tensor | None = None) -> Tensor:
        """The `steps` frames that follow (default: as many as in training), free running.

        clips: frames or vectors, as for `Encoder.to_vectors`; `lengths` (B,) says where each sequence ends, if not at
        T. What comes back is of the same kind and in the range of the data; float frames are differentiable, as
        codes are. Raises ValueError for other shapes and where there is no future decoder.
        """
        self._require(FUTURE)
        return self._decode(FUTURE, clips, steps, lengths)

    def stream(self, steps: int = 1) -> Stream:
        """Frames as they arrive: `push(frame)` gives the code, the next `steps` frames and the score; see `Stream`."""
        return Stream(self, steps)

    def predict_from(self, states: list[State], last: Tensor, steps: int) -> Tensor:
        """Outputs (B, steps, ..., D) of the future decoder, free running, after an encoder that ended in `states`.

        last: (B, ..., D), the last vectors that it read. Of a variational code the mean is decoded.
        """
        grid = self.encoder.positions(last[:, None])
        code = self.encoder.code(states)[..., : self.config.code_size]
        return unfold_grid(self._predict(states, code, fold_grid(last[:, None], grid)[:, 0], steps, None, False), grid)

    def errors(self, outputs: Tensor, frames: Tensor, *, per_feature: bool = False) -> Tensor:
        """How wrong what `forward` returns for one decoder is, (B, T) or, of linear outputs and `per_feature`,
        (B, T, D): see `step_errors`.

        frames: the truth (B, T, C, H, W), floats in the range of the data.
        """
        if self.config.output == LINEAR:
            wrong = (outputs.float() - self.encoder.to_vectors(frames)).square().flatten(2)
            return wrong if per_feature else wrong.mean(dim=2)
        wrong = nats(self.vectors_to_frames(outputs.float()), frames) - entropy_floor(frames)
        return wrong.clamp(min=0) / frames[0, 0].numel()  # below it is rounding

    def outputs_to_frames(self, outputs: Tensor) -> Tensor:
        """What `forward` returns for one decoder to frames (B, T, C, H, W) in the range of the data, not clipped."""
        config = self.config
        frames = self.vectors_to_frames(activate(outputs, config.output))
        if config.output == LINEAR:
            return frames * self.encoder.std[:, None, None] + self.encoder.mean[:, None, None]
        return frames

    def vectors_to_frames(self, vectors: Tensor) -> Tensor:
        """(B, T, D) or (B, T, rows, columns, D) to (B, T, C, H, W), as they are."""
        channels, height, width = self.config.frame_shape
        P = self.config.patch_size
        if P is not None:
            height, width = vectors.shape[2] * P, vectors.shape[3] * P
        return vectors_to_frames(vectors, (channels, height, width), P)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json` and `model.safetensors` into `folder`."""
        save_model(self, Path(folder))

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, download: bool = False, revision: str | None = None, token: str | None = None
    ) -> LSTMAutoencoder:
        """The model in `folder`: what `save_pretrained` wrote, or a run of `train.py`.

        `moving-digits` is one that comes with the package: the default model after 18,832 clips of two bundled digits.
        With `download` a name that is no folder here, `user/name`, is fetched from the Hugging Face Hub: a `revision`
        (branch, tag or commit; default: the main branch), with a `token` (default: what `hf auth login` stored).

        Raises FileNotFoundError where there is none, ValueError where it is damaged or of another shape, and where
        `revision` or `token` would change nothing.
        """

        def build(stored: Any, source: str) -> LSTMAutoencoder:
            return cls(from_json(ModelConfig, stored, source))

        return load_model(build, folder, download=download, revision=revision, token=token)

    def _require(self, decoder: str) -> None:
        if decoder not in self.decoders:
            raise ValueError(
                f"this model has no {decoder} decoder, only {', '.join(self.decoders)}; train a composite one"
            )

    def _decode(self, decoder: str, clips: Tensor, steps: int | None, lengths: Tensor | None) -> Tensor:
        if steps is not None and steps < 1:
            raise ValueError(f"{steps} steps to predict: expected at least 1")
        vectors = self.encoder.to_vectors(clips)
        lengths = check_lengths(lengths, vectors.shape)
        with mode(self, training=False):  # of a variational code the mean, whatever the model is doing besides
            outputs = self(vectors, teacher_forcing=False, steps=steps, lengths=lengths, decoders=[decoder])
        return self.as_given(self.outputs_to_frames(outputs[decoder]), clips)

    @staticmethod
    def as_given(frames: Tensor, clips: Tensor) -> Tensor:
        """Float frames (B, T, C, H, W) as what `clips` are: vectors, uint8 frames or float ones."""
        if clips.ndim == 3:
            return frames.flatten(2)
        return (frames * 255).round().clamp(0, 255).to(torch.uint8) if clips.dtype == torch.uint8 else frames
