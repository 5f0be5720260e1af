"""The composite model as one writes it with torch's own layers, for benchmarks/training.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from video_ae.config import FUTURE, RECONSTRUCTION, ModelConfig

State = tuple[Tensor, Tensor]  # hidden and cell, both (layers, B, hidden_size)


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


def loss(logits: Tensor, frames: Tensor) -> Tensor:
    """Cross-entropy summed over a frame, its mean over (B, T)."""
    B, T = frames.shape[:2]
    return functional.binary_cross_entropy_with_logits(logits.float(), frames, reduction="sum") / (B * T)
