"""The composite models as one writes them with what torch has, for benchmarks/training.py."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from video_ae.config import FUTURE, RECONSTRUCTION, ModelConfig
from video_ae.matching import Matching
from video_ae.motion import Motion

State = tuple[Tensor, Tensor]  # hidden and cell: of nn.LSTM (layers, B, size), of a map (B, size, rows, columns)


class PlainAutoencoder(nn.Module):
    """nn.LSTM encoder and decoders, linear readouts; a decoder that is not conditional reads one zero per step."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D, size, layers = config.vector_size, config.hidden_sizes[0], config.layers
        self.config = config
        self.encoder = nn.LSTM(D, size, layers, batch_first=True)
        self.decoders = nn.ModuleDict(
            {
                name: nn.LSTM(D if name in config.conditional else 1, size, layers, batch_first=True)
                for name in config.decoders
            }
        )
        self.readouts = nn.ModuleDict({name: nn.Linear(size, D) for name in config.decoders})

    def encode(self, past: Tensor) -> State:
        """The state after frames (B, T, D)."""
        return self.encoder(past)[1]

    def code(self, past: Tensor) -> Tensor:
        """(B, hidden_size) of frames (B, T, D)."""
        return self.encode(past)[0][-1]

    def forward(self, past: Tensor, future: Tensor) -> dict[str, Tensor]:
        """Logits of the frames (B, T, D) that were read, and of those that follow, under teacher forcing."""
        state, backwards = self.encode(past), past.flip(1)
        before = {
            RECONSTRUCTION: torch.cat([torch.zeros_like(past[:, :1]), backwards[:, :-1]], dim=1),
            FUTURE: torch.cat([past[:, -1:], future[:, :-1]], dim=1),
        }
        outputs = {}
        for name, inputs in before.items():
            if name not in self.config.conditional:
                inputs = torch.zeros_like(inputs[..., :1])
            outputs[name] = self.readouts[name](self.decoders[name](inputs, state)[0])
        return {RECONSTRUCTION: outputs[RECONSTRUCTION].flip(1), FUTURE: outputs[FUTURE]}

    def predict(self, past: Tensor) -> Tensor:
        """The frames (B, T, D) that follow, each made of the one before where the decoder is conditional."""
        state, decoder, readout = self.encode(past), self.decoders[FUTURE], self.readouts[FUTURE]
        steps = self.config.future_frames
        if FUTURE not in self.config.conditional:
            return readout(decoder(past.new_zeros(len(past), steps, 1), state)[0]).sigmoid()
        frames = [past[:, -1:]]
        for _ in range(steps):
            hidden, state = decoder(frames[-1], state)
            frames.append(readout(hidden).sigmoid())
        return torch.cat(frames[1:], dim=1)


class PlainConvLSTM(nn.Module):
    """A convolutional layer as a loop over the steps that autograd follows. Maps are (T, B, size, rows, columns)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input = nn.Conv2d(input_size, 4 * hidden_size, 3, padding=1, bias=False) if input_size else None
        self.recurrent = nn.Conv2d(hidden_size, 4 * hidden_size, 3, padding=1)

    def forward(self, inputs: Tensor | None, state: State, steps: int) -> tuple[Tensor, State]:
        """The hidden states of `steps` steps, and the state after the last."""
        hidden, cell = state
        driven = None  # what all inputs add to the gates, at once
        if self.input is not None and inputs is not None:
            driven = self.input(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
        hiddens = []
        for step in range(steps):
            sums = self.recurrent(hidden)
            if driven is not None:
                sums = sums + driven[step]
            i, f, g, o = sums.chunk(4, dim=1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            hiddens.append(hidden)
        return torch.stack(hiddens), (hidden, cell)


class PlainConvAutoencoder(nn.Module):
    """ConvLSTM encoder and unconditional decoders over patches; what is around them is this package's own."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D, top = config.vector_size, config.hidden_sizes[-1]
        self.config = config
        self.matching = Matching(config) if config.matching else None
        self.encoder = self._layers(D + (self.matching.features if self.matching else 0))
        self.decoders = nn.ModuleDict({name: self._layers(0) for name in config.decoders})
        self.shapes = nn.ModuleDict({name: nn.Conv2d(top, 2 * top, 3, padding=1) for name in config.decoders})
        self.readouts = nn.ModuleDict({name: nn.Linear(2 * top, D) for name in config.decoders})
        self.motion = Motion(2 * top, config)

    def encode(self, past: Tensor) -> list[State]:
        """Every layer's state after patch vectors (B, T, rows, columns, D)."""
        inputs = past
        if self.matching is not None:
            inputs = torch.cat([past, self.matching(past, past.new_ones(self.config.frame_shape[0]))], dim=-1)
        maps = inputs.permute(1, 0, 4, 2, 3)  # (T, B, size, rows, columns)
        zeros = (maps.new_zeros(maps.shape[1], size, *maps.shape[3:]) for size in self.config.hidden_sizes)
        return self._run(self.encoder, maps, [(zero, zero) for zero in zeros], len(maps))[1]

    def code(self, past: Tensor) -> Tensor:
        """(B, hidden_size) of patch vectors, the mean over the grid."""
        return self.encode(past)[-1][0].mean(dim=(2, 3))

    def forward(self, past: Tensor, future: Tensor) -> dict[str, Tensor]:
        """Logits of the patch vectors that were read, and of as many more as `future` has, which is not read."""
        states = self.encode(past)
        backwards = self._decode(RECONSTRUCTION, states, past, past.shape[1])
        return {RECONSTRUCTION: backwards.flip(1), FUTURE: self._decode(FUTURE, states, past, future.shape[1])}

    def predict(self, past: Tensor) -> Tensor:
        """The patch vectors that follow."""
        return self._decode(FUTURE, self.encode(past), past, self.config.future_frames).sigmoid()

    def _decode(self, name: str, states: list[State], past: Tensor, steps: int) -> Tensor:
        """Logits (B, steps, rows, columns, D) in decoding order."""
        hiddens, _ = self._run(self.decoders[name], None, states, steps)
        shapes = functional.silu(self.shapes[name](hiddens.flatten(0, 1))).unflatten(0, hiddens.shape[:2])
        features = shapes.permute(0, 1, 3, 4, 2)  # (T, B, rows, columns, 2 * hidden_size)
        outputs = self.readouts[name](features)
        if name == FUTURE:
            outputs = self.motion(outputs, features, past[None, :, -1])
        return outputs.transpose(0, 1)

    def _layers(self, input_size: int) -> nn.ModuleList:
        sizes = pairwise([input_size, *self.config.hidden_sizes])
        return nn.ModuleList(PlainConvLSTM(below, size) for below, size in sizes)

    @staticmethod
    def _run(
        layers: nn.ModuleList, maps: Tensor | None, states: Sequence[State], steps: int
    ) -> tuple[Tensor, list[State]]:
        """The top layer's hidden states, and every layer's last state."""
        last_states = []
        for layer, state in zip(layers, states, strict=True):
            maps, last_state = layer(maps, state, steps)
            last_states.append(last_state)
        assert maps is not None
        return maps, last_states


def loss(logits: Tensor, frames: Tensor) -> Tensor:
    """Cross-entropy summed over a frame, its mean over (B, T)."""
    B, T = frames.shape[:2]
    return functional.binary_cross_entropy_with_logits(logits.float(), frames, reduction="sum") / (B * T)
