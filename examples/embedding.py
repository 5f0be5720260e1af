"""Codes in scikit-learn: cluster sequences without labels, and look at them with t-SNE.

python examples/embedding.py    # writes embedding.png
"""

from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score

from video_ae import SequenceAutoencoder

KINDS = ("bump", "step", "ramp")


def events(count: int = 240, steps: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Noisy sequences (N, T) of three kinds, each at any place and of any size, and which kind each is (N,)."""
    random, time = np.random.default_rng(0), np.arange(steps)
    kinds = np.arange(count) % 3
    place, size = random.uniform(6, 18, (count, 1)), random.uniform(0.7, 1.3, (count, 1))
    bumps, steps_up = np.exp(-(((time - place) / 2) ** 2)), (time > place) * 1.0
    ramps = np.clip(1 - time / place, 0, 1)
    sequences = size * np.stack([bumps, steps_up, ramps])[kinds, np.arange(count)]
    return sequences + 0.05 * random.normal(size=sequences.shape), kinds


def main(picture: Path | None = None) -> float:
    """How well clusters of the codes agree with the kinds: the adjusted Rand index, 0 by chance, 1 at best."""
    sequences, kinds = events()
    codes = SequenceAutoencoder(code_size=4, max_iter=60, random_state=0).fit_transform(sequences)
    clusters = KMeans(3, n_init=10, random_state=0).fit_predict(codes)
    if picture is not None:
        from matplotlib.figure import Figure

        points = TSNE(random_state=0).fit_transform(codes)
        axes = Figure(figsize=(5, 4), layout="constrained").add_subplot(
            title="t-SNE of the codes", xticks=[], yticks=[]
        )
        for kind, name in enumerate(KINDS):
            axes.scatter(*points[kinds == kind].T, s=10, label=name)
        axes.legend(frameon=False)
        axes.figure.savefig(picture, dpi=130)
    return float(adjusted_rand_score(kinds, clusters))


if __name__ == "__main__":
    print(f"agreement of the clusters with the kinds of event: {main(Path('embedding.png')):.2f}; see embedding.png")
