"""Sequences of different lengths: no padding to choose, no mask to lose on the way to the decoder.

python examples/lengths.py
"""

import numpy as np

from video_ae import SequenceAutoencoder


def main() -> tuple[list[np.ndarray], list[np.ndarray], SequenceAutoencoder]:
    """Swings (T_i, 1) of 5 to 30 steps, what is rebuilt of them, and the model."""
    random = np.random.default_rng(0)
    swings = [
        np.sin(random.uniform(0, 6) + random.uniform(0.2, 0.6) * np.arange(length))[:, None]
        for length in random.integers(5, 31, 300)
    ]
    autoencoder = SequenceAutoencoder(code_size=4, max_iter=40, random_state=0).fit(swings)
    return swings, autoencoder.reconstruct(swings), autoencoder


if __name__ == "__main__":
    swings, rebuilt, _ = main()
    for swing, made in zip(swings[:5], rebuilt, strict=False):
        print(f"{len(swing):>3} steps, mean squared error {((swing - made) ** 2).mean():.4f}")
