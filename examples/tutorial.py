"""The sequence 0.1 .. 0.9 of the well-known LSTM autoencoder tutorial: rebuilt, predicted, both, and as a code.

python examples/tutorial.py    # ten seconds

It warns that 100 units for nine numbers compress nothing: that is the tutorial's size, not one to take for real data.
"""

import numpy as np

from video_ae import SequenceAutoencoder

SEQUENCE = np.arange(1, 10).reshape(1, 9, 1) / 10  # one sequence of nine steps with one feature
MODEL = {"hidden_size": 100, "code_size": None, "repeat_code": True, "max_iter": 300, "random_state": 0}


def main() -> dict[str, np.ndarray]:
    autoencoder = SequenceAutoencoder("reconstruct", **MODEL).fit(SEQUENCE)
    # Reads 0.1 and predicts 0.2 .. 0.9: the tutorial's targets, of which its own model has already read all but one.
    predictor = SequenceAutoencoder("predict", future_steps=8, **MODEL).fit(SEQUENCE)
    # Reads 0.1 .. 0.5, rebuilds them and predicts 0.6 .. 0.9, which it has never read.
    composite = SequenceAutoencoder("composite", future_steps=4, **MODEL).fit(SEQUENCE)
    return {
        "reconstruction": autoencoder.reconstruct(SEQUENCE)[0, :, 0],
        "prediction": predictor.predict(SEQUENCE[:, :1])[0, :, 0],
        "composite, reconstruction": composite.reconstruct(SEQUENCE[:, :5])[0, :, 0],
        "composite, prediction": composite.predict(SEQUENCE[:, :5])[0, :, 0],
        "code": autoencoder.transform(SEQUENCE)[0],  # 100 numbers that stand for the sequence
    }


if __name__ == "__main__":
    np.set_printoptions(precision=3, suppress=True, threshold=8)
    for name, values in main().items():
        print(f"{name:<27}{values}")
