"""Two features of very different scales, and a code of three numbers from which they can be rebuilt.

python examples/two_features.py
"""

import numpy as np

from video_ae import SequenceAutoencoder


def main() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The data (N, T, 2), what is rebuilt from codes alone, and the codes (N, 3)."""
    random = np.random.default_rng(0)
    phase, time = random.uniform(0, 2 * np.pi, (400, 1)), np.arange(16)
    temperature = 20 + 5 * np.sin(phase + time / 3)  # degrees
    pressure = 101_300 + 80 * np.cos(phase + time / 3)  # pascal
    data = np.stack([temperature, pressure], axis=2)
    autoencoder = SequenceAutoencoder(code_size=3, max_iter=40, random_state=0).fit(data)
    codes = autoencoder.transform(data)
    return data, autoencoder.inverse_transform(codes), codes


if __name__ == "__main__":
    data, rebuilt, codes = main()
    print(f"{data.shape} as {codes.shape} codes; mean error per feature, in its own unit:")
    print(np.abs(rebuilt - data).mean(axis=(0, 1)))
