"""Who takes part in benchmarks/training.py: each builds the same model and returns its tasks, functions to be timed.

All read the same uint8 clips, which none of them paints while it is timed; their content does not matter to the time.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from video_ae.config import FUTURE, RECONSTRUCTION, ModelConfig

Tasks = dict[str, Callable[[], object]]
_LR = 1e-3


def batches(config: ModelConfig, batch: int) -> Iterator[npt.NDArray[np.uint8]]:
    """A few batches of clips (B, T, C, H, W), over and over."""
    shape = (4, batch, config.frames, *config.frame_shape)
    return itertools.cycle(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def kernel(config: ModelConfig, batch: int) -> str:
    """What this package trains in here unless it is told to: `float32` or `bf16`."""
    import torch

    from video_ae import TrainConfig
    from video_ae.precision import uses_bf16

    return "bf16" if uses_bf16(TrainConfig().amp, config, batch, torch.device("cpu")) else "float32"


def video_ae(config: ModelConfig, batch: int, amp: str) -> Tasks:
    """What train.py and evaluate.py do, which chooses nothing but the precision of training.

    With `amp` "on" or "off" the rest is in that precision as well, and what does not depend on it is not timed again.
    """
    import torch

    from video_ae import LSTMAutoencoder, TrainConfig
    from video_ae.datasets.config import DataConfig
    from video_ae.evaluation import evaluate_batches
    from video_ae.memory import keep_freed_memory
    from video_ae.optimizer import Optimizer
    from video_ae.training_step import train_step

    keep_freed_memory()
    clips = (torch.from_numpy(clips) for clips in batches(config, batch))
    model, training, bf16 = LSTMAutoencoder(config), TrainConfig(amp=amp), amp == "on"
    optimizer = Optimizer(model, _LR)
    steps = itertools.count(1)
    data = DataConfig(image_size=config.frame_shape[1]).open("train", config.frames)

    @torch.no_grad()
    def predict() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model.predict(next(clips)[:, : config.input_frames])

    @torch.no_grad()
    def encode() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model.encode(next(clips)[:, : config.input_frames])

    tasks: Tasks = {
        "training": lambda: train_step(model, optimizer, next(clips), _LR, training, next(steps)),
        "encoding": encode,
        "prediction": predict,
    }
    if amp != "auto":
        return tasks
    first = itertools.count(step=batch)
    return tasks | {
        "evaluation": lambda: evaluate_batches(model, [next(clips)], torch.device("cpu")),
        "painting": lambda: data.__getitems__(range(start := next(first), start + batch)),
    }


def plain(config: ModelConfig, batch: int, bf16: bool) -> Tasks:
    """The same model as one would write it, see `plain.py`: three nn.LSTM, or loops over convolutions.

    AdamW steps all of it; for kernels this package takes a twentieth of a step more (`Optimizer`).
    """
    import torch
    from plain import PlainAutoencoder, PlainConvAutoencoder, loss

    from video_ae.losses import bernoulli_nats
    from video_ae.patches import frames_to_vectors, unit_range

    clips = (torch.from_numpy(clips) for clips in batches(config, batch))
    if config.convolutional:
        model, loss = PlainConvAutoencoder(config), bernoulli_nats
        model.to(memory_format=torch.channels_last)  # faster than without, float32 and bf16
    else:
        model = PlainAutoencoder(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LR, fused=True)

    def vectors() -> tuple[torch.Tensor, torch.Tensor]:
        read = frames_to_vectors(unit_range(next(clips)), config.patch_size)
        return read[:, : config.input_frames], read[:, config.input_frames :]

    def train() -> float:
        past, future = vectors()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            outputs = model(past, future)
        total = loss(outputs[RECONSTRUCTION], past) + loss(outputs[FUTURE], future)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return total.item()

    @torch.inference_mode()
    def encode() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model.code(vectors()[0])

    @torch.inference_mode()
    def predict() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model.predict(vectors()[0])

    return {"training": train, "encoding": encode, "prediction": predict}


def keras(config: ModelConfig, batch: int, backend: str, bf16: bool) -> Tasks:
    """The same model in Keras' functional interface; a conditional one is only trained."""
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    from keras import layers

    if bf16:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    clips, D = batches(config, batch), config.vector_size
    frames = keras.Input((config.input_frames, D))
    states, hidden = [], frames
    for size in config.hidden_sizes:
        hidden, *state = layers.LSTM(size, return_sequences=True, return_state=True)(hidden)
        states.append(state)
    lengths = {RECONSTRUCTION: config.input_frames, FUTURE: config.future_frames}
    teachers = {name: keras.Input((steps, D)) for name, steps in lengths.items() if name in config.conditional}
    outputs = {}
    for name, steps in lengths.items():
        hidden = teachers.get(name)
        if hidden is None:
            hidden = layers.RepeatVector(steps)(0 * frames[:, 0, :1])  # the layer cannot do without an input
        for size, state in zip(config.hidden_sizes, states, strict=True):
            hidden = layers.LSTM(size, return_sequences=True)(hidden, initial_state=state)
        outputs[name] = layers.Dense(D)(hidden)  # reversed, as the reconstruction's targets are
        if bf16:
            outputs[name] = layers.Activation("linear", dtype="float32")(outputs[name])  # for the loss
    model = keras.Model([frames, *teachers.values()], list(outputs.values()))
    # Its mean over a frame times D is the sum over it.
    model.compile(
        keras.optimizers.AdamW(_LR),
        [keras.losses.BinaryCrossentropy(from_logits=True) for _ in outputs],
        loss_weights=[D] * len(outputs),
    )
    encoder = keras.Model(frames, states[-1][0])
    predictor = None if teachers else keras.Model(frames, keras.ops.sigmoid(outputs[FUTURE]))

    def vectors() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        pixels = next(clips).reshape(batch, config.frames, D).astype(np.float32) / 255
        return pixels[:, : config.input_frames], pixels[:, config.input_frames :]

    def train() -> object:
        past, future = vectors()
        backwards = past[:, ::-1]
        before = {
            RECONSTRUCTION: np.concatenate([np.zeros_like(past[:, :1]), backwards[:, :-1]], axis=1),
            FUTURE: np.concatenate([past[:, -1:], future[:, :-1]], axis=1),
        }
        return model.train_on_batch([past, *(before[name] for name in teachers)], [backwards, future])

    tasks: Tasks = {"training": train, "encoding": lambda: encoder.predict_on_batch(vectors()[0])}
    if predictor is not None:
        tasks["prediction"] = lambda: predictor.predict_on_batch(vectors()[0])
    return tasks


def products(config: ModelConfig, batch: int, bf16: bool) -> Tasks:
    """One recurrent matrix product forwards and one backwards, without anything around them."""
    import torch
    from torch.nn import functional

    size, dtype = config.hidden_sizes[0], torch.bfloat16 if bf16 else torch.float32
    if config.convolutional:
        assert config.patch_size is not None
        grid = [side // config.patch_size for side in config.frame_shape[1:]]
        taps = torch.randn(4 * size, size, 3, 3).to(dtype)
        maps, sums = (
            torch.randn(batch, channels, *grid).to(dtype, memory_format=torch.channels_last)
            for channels in (size, 4 * size)
        )

        @torch.no_grad()
        def convolve_both() -> None:
            functional.conv2d(maps, taps, padding=1)
            functional.conv_transpose2d(sums, taps, padding=1)

        return {"training": convolve_both}
    weight = torch.randn(4 * size, size).to(dtype)
    hidden, gates = torch.randn(batch, size).to(dtype), torch.randn(batch, 4 * size).to(dtype)
    gates_out, hidden_out = torch.empty_like(gates), torch.empty_like(hidden)

    def both() -> None:
        torch.mm(hidden, weight.T, out=gates_out)
        torch.mm(gates, weight, out=hidden_out)

    return {"training": both}


_BF16 = {"float32": False, "bf16": True}
MAKERS: dict[str, Callable[[ModelConfig, int], Tasks]] = {
    "video-ae": partial(video_ae, amp="auto"),
    **{f"video-ae, {kind}": partial(video_ae, amp="on" if bf16 else "off") for kind, bf16 in _BF16.items()},
    **{f"products, {kind}": partial(products, bf16=bf16) for kind, bf16 in _BF16.items()},
    **{
        f"{name}, {kind}": partial(plain, bf16=bf16)
        for name in ("nn.LSTM", "plain loop")
        for kind, bf16 in _BF16.items()
    },
    **{
        f"Keras on {backend}, {kind}": partial(keras, backend=backend, bf16=bf16)
        for backend in ("tensorflow", "jax")
        for kind, bf16 in _BF16.items()
    },
}
