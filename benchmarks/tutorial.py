"""The tutorial's composite model: how long 300 steps take here and, where it is installed, in Keras.

python benchmarks/tutorial.py

Both read nine steps of one feature with 100 units, rebuild them with 100 and predict the eight that follow with 100
more: one sequence, 300 steps of an Adam, in turn, three times each; the fastest counts. Building and compiling is
part of it, as it is of what a reader of the tutorial waits for.
"""

import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from video_ae import SequenceAutoencoder

UNITS, STEPS, READ, AHEAD = 100, 300, 9, 8
SEQUENCE = np.arange(1, 1 + READ + AHEAD).reshape(1, -1, 1) / 10


def ours() -> float:
    """Trains, and returns the largest error of what is predicted."""
    model = SequenceAutoencoder(
        "composite",
        future_steps=AHEAD,
        hidden_size=UNITS,
        code_size=None,
        repeat_code=True,
        max_iter=STEPS,
        random_state=0,
    ).fit(SEQUENCE)
    return float(np.abs(model.predict(SEQUENCE[:, :READ]) - SEQUENCE[:, READ:]).max())


def in_keras() -> float:
    """The same as the tutorial writes it, with Keras' own tanh instead of its relu, which diverges now and then."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    visible = keras.Input((READ, 1))
    code = layers.LSTM(UNITS)(visible)
    outputs = [
        layers.TimeDistributed(layers.Dense(1))(
            layers.LSTM(UNITS, return_sequences=True)(layers.RepeatVector(steps)(code))
        )
        for steps in (READ, AHEAD)
    ]
    model = keras.Model(visible, outputs)
    model.compile(optimizer="adam", loss=["mse", "mse"])
    past, future = SEQUENCE[:, :READ], SEQUENCE[:, READ:]
    model.fit(past, [past, future], epochs=STEPS, verbose=0)
    return float(np.abs(model.predict(past, verbose=0)[1] - future).max())


def main() -> None:
    warnings.filterwarnings("ignore", message="a code of")
    contenders: dict[str, Callable[[], float]] = {"video-ae": ours}
    if find_spec("keras"):
        contenders["Keras"] = in_keras
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    errors = {}
    for _ in range(3):
        for name, train in contenders.items():
            start = time.perf_counter()
            errors[name] = train()
            seconds[name].append(time.perf_counter() - start)
    for name, times in seconds.items():
        all_times = ", ".join(f"{value:.2f}" for value in times)
        print(f"{name:<10}{min(times):6.2f} s (of {all_times}), largest error {errors[name]:.3f}")
    if "Keras" not in contenders:
        print("Keras is not installed: pip install keras with tensorflow, jax or torch to compare")


if __name__ == "__main__":
    main()
