"""A long series by windows: a code of every window, and a forecast that lies strictly after everything it has seen.

python examples/long_series.py
"""

import numpy as np

from video_ae import SequenceAutoencoder


def main() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What follows the 1,000 steps that the model has seen (20,), its forecast of that (20,), and codes (N, 8)."""
    random, time = np.random.default_rng(0), np.arange(1020)
    series = np.sin(time / 8) + 0.5 * np.sin(time / 3) + 0.05 * random.normal(size=1020)
    seen, unseen = series[:1000], series[1000:]
    model = SequenceAutoencoder(
        "composite", window=40, future_steps=20, stride=5, code_size=8, max_iter=80, random_state=0
    ).fit(seen)
    forecast = model.predict(seen)[-1, :, 0]  # of the last window: from step 1,000 on
    return unseen, forecast, model.transform(seen)


if __name__ == "__main__":
    unseen, forecast, codes = main()
    print(f"{len(codes)} windows, {codes.shape[1]} numbers each")
    print(
        f"forecast of 20 steps: mean squared error {((forecast - unseen) ** 2).mean():.3f}, variance {unseen.var():.3f}"
    )
