"""How long is a training step on a GPU: kernel by kernel, as one CUDA graph, and of nn.LSTM (cuDNN)?

    python benchmarks/gpu.py                  # every model in bf16 and float32
    python benchmarks/gpu.py --device cpu     # whether it runs

Milliseconds of a step on clips that are on the GPU already, the median of rounds in which the contenders take turns;
`painting` is what it takes to make the next batch of moving digits there.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from plain import PlainAutoencoder, PlainConvAutoencoder

from video_ae import LSTMAutoencoder, ModelConfig, TrainConfig
from video_ae.cuda_graphs import CudaGraphs
from video_ae.datasets.config import DataConfig
from video_ae.losses import bernoulli_nats
from video_ae.memory import peak_memory
from video_ae.optimizer import Optimizer
from video_ae.patches import frames_to_vectors, unit_range
from video_ae.recurrent import compiled_steps
from video_ae.training_step import train_step

_MODELS = [  # name, fields, batch sizes
    ("conv", {"matching": True}, (16, 64, 256)),
    ("conv", {"matching": True, "hidden_size": 128, "layers": 2}, (64,)),
    ("dense", {}, (16, 128, 512)),
    ("paper", {}, (128, 512, 2048)),
    ("paper-2layer", {"conditional": ("future",)}, (512,)),
]
_ROUNDS = 5
_LR = 1e-3

Step = Callable[[], object]


def ours(config: ModelConfig, clips: torch.Tensor, amp: str, *, graphs: bool) -> Step:
    model = LSTMAutoencoder(config).to(clips.device)
    recorded = CudaGraphs(model.parameters()) if graphs else None
    optimizer, training, steps = Optimizer(model, _LR), TrainConfig(amp=amp), itertools.count(1)
    return lambda: train_step(model, optimizer, clips, _LR, training, next(steps), graphs=recorded)


def plain(config: ModelConfig, clips: torch.Tensor, amp: str) -> Step:
    model = (PlainConvAutoencoder if config.convolutional else PlainAutoencoder)(config).to(clips.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LR, fused=True)

    def step() -> float:
        vectors = frames_to_vectors(unit_range(clips), config.patch_size)
        past, future = vectors[:, : config.input_frames], vectors[:, config.input_frames :]
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=amp == "on"):
            outputs = model(past, future)
        loss = bernoulli_nats(outputs["reconstruction"], past) + bernoulli_nats(outputs["future"], future)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def milliseconds(contenders: dict[str, Step], steps: int) -> dict[str, float]:
    """Of a step of each, the median over rounds; every step ends with a number that the GPU was waited for."""
    for step in contenders.values():
        for _ in range(3):
            step()
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(_ROUNDS):
        for name, step in contenders.items():
            started = time.perf_counter()
            for _ in range(steps):
                step()
            rounds[name].append(1000 * (time.perf_counter() - started) / steps)
    return {name: statistics.median(times) for name, times in rounds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=10, help="in a round")
    parser.add_argument("--compile", action="store_true", help="with the gates' arithmetic compiled")
    parser.add_argument("--models", nargs="+", default=[name for name, *_ in _MODELS])
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    print(
        "on",
        torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "torch",
        torch.__version__,
        flush=True,
    )
    print(
        "model, units, layers, clips, precision: ms by kernels, by graph, plain; graph's clips/s; peak GB; painting ms"
    )
    with compiled_steps(arguments.compile):
        measure(arguments, device)


def measure(arguments: argparse.Namespace, device: torch.device) -> None:
    """A line for each model, batch size and precision."""
    on_gpu = device.type == "cuda"
    for name, fields, sizes in _MODELS:
        if name not in arguments.models:
            continue
        config = ModelConfig.preset(name, **fields)
        for batch, amp in itertools.product(sizes if on_gpu else (2,), ("on", "off")):
            data = DataConfig().open("train", config.frames, device=device)
            clips = data.__getitems__(range(batch)).to(device)
            contenders = {"kernels": ours(config, clips, amp, graphs=False)}
            if on_gpu:
                contenders["graph"] = ours(config, clips, amp, graphs=True)
            contenders["plain"] = plain(config, clips, amp)
            times = milliseconds(contenders, arguments.steps)
            first = itertools.count(batch, batch)
            painting = milliseconds({"": partial(paint, data, first, batch)}, arguments.steps)[""]
            rate = 1000 * batch / times["graph"] if on_gpu else float("nan")
            row = [f"{times.get(kind, float('nan')):8.2f}" for kind in ("kernels", "graph", "plain")]
            label = (
                f"{name:13} {config.hidden_sizes[0]:5} {config.layers} {batch:5} {'bf16' if amp == 'on' else 'f32 '}"
            )
            print(label, *row, f"{rate:10.0f} {peak_memory(device) / 1e9:6.1f} {painting:7.2f}", flush=True)


def paint(data: object, first: itertools.count[int], batch: int) -> None:
    start = next(first)
    data.__getitems__(range(start, start + batch)).sum().item()


if __name__ == "__main__":
    main()
