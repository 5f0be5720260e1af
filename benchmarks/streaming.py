"""How fast are streams? On one thread, in processor time, which other work on the machine does not lengthen.

    python benchmarks/streaming.py

Prints frames per second of 64x64 frames through the default model with one predicted frame each, milliseconds of a step
of 1,000 series of 50 features, and how wrong the predicted frame is, in nats, the longer the stream runs: the default
model was trained on clips of ten frames to read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.datasets.config import DataConfig
from video_ae.stream import Stream

_FRAMES, _CLIPS = 300, 16
_SERIES, _FEATURES = 1000, 50
_BOUNDS = (1, 5, 10, 20, 50, 100, 200, _FRAMES)


def seconds_per_push(stream: Stream, steps: Iterable[Tensor]) -> float:
    """The median, in processor time."""
    spent = []
    for step in steps:
        started = time.process_time()
        stream.push(step)
        spent.append(time.process_time() - started)
    return float(np.median(spent))


def main() -> None:
    torch.set_num_threads(1)
    model = LSTMAutoencoder.from_pretrained("moving-digits")
    clips = DataConfig().open("test", _FRAMES)
    batch = torch.stack([clips[index] for index in range(_CLIPS)])
    print(f"64x64 frames: {1 / seconds_per_push(model.stream(), batch[0]):.0f} a second")
    config = ModelConfig(frame_shape=(_FEATURES, 1, 1), hidden_size=64, code_size=16, output="linear")
    steps = torch.randn(200, _SERIES, _FEATURES, generator=torch.Generator().manual_seed(0))
    milliseconds = 1000 * seconds_per_push(LSTMAutoencoder(config).stream(), steps)
    print(f"{_SERIES} series of {_FEATURES} features: {milliseconds:.1f} ms a step")
    stream = model.stream()
    scores = torch.stack([stream.push(frames).score for frames in batch.transpose(0, 1)])  # (T, B)
    nats = scores.mean(dim=1) * batch[0, 0].numel()
    for first, stop in pairwise(_BOUNDS):
        print(f"frames {first} to {stop - 1}: {nats[first:stop].mean():.0f} nats a frame above the floor")


if __name__ == "__main__":
    main()
