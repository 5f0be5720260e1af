"""Random configurations of `SequenceAutoencoder`: every training ends with finite losses or with a named cause.

python benchmarks/robustness.py                  # 200 of them; minutes
python benchmarks/robustness.py --count 20 --seed 1
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from video_ae import SequenceAutoencoder

_STEPS = 50  # of training, each
_MOST_VALUES = 60_000  # of a configuration's data, so that long sequences come in small numbers


def configuration(random: np.random.Generator) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Parameters and data: lengths 1 to 2,000, scales 1e-3 to 1e3, rates up to 1e-2, all kinds of models."""
    longest = round(10 ** random.uniform(0, np.log10(2000)))
    features = int(random.integers(1, 9))
    count = int(np.clip(_MOST_VALUES // (longest * features), 1, random.integers(1, 33)))
    shortest = int(random.integers(1, longest + 1))
    scales = 10 ** random.uniform(-3, 3, features)
    offsets = scales * random.choice([0, 1, 100], features)
    kind = random.choice(["noise", "walk", "wave", "constant", "spikes"])
    data = [_sequence(kind, int(random.integers(shortest, longest + 1)), features, random) for _ in range(count)]
    data = [sequence * scales + offsets for sequence in data]
    least = min(len(sequence) for sequence in data)
    objective = str(random.choice(["reconstruct", "predict", "composite"])) if least > 1 else "reconstruct"
    code_size = None if random.random() < 0.4 else int(random.integers(1, 33))
    options = {
        "objective": objective,
        "future_steps": int(random.integers(1, least)) if least > 1 else 1,
        "hidden_size": [int(size) for size in 2 ** random.integers(0, 8, random.integers(1, 4))],
        "code_size": code_size,
        "repeat_code": bool(random.random() < 0.3),
        "conditional": bool(random.random() < 0.3),
        "beta": float(random.uniform(0, 2)) if code_size and random.random() < 0.3 else None,
        "noise": float(random.choice([0, 0.1, 1])),
        "drop_frames": float(random.choice([0, 0.2, 0.8])),
        "batch_size": int(random.integers(1, 33)),
        "learning_rate": float(10 ** random.uniform(-5, -2)),
        "random_state": int(random.integers(2**31)),
    }
    options["max_iter"] = -(-_STEPS // -(-count // min(options["batch_size"], count)))
    return options, data


def _sequence(kind: str, length: int, features: int, random: np.random.Generator) -> np.ndarray:
    noise = random.normal(size=(length, features))
    if kind == "walk":
        return noise.cumsum(axis=0)
    if kind == "wave":
        return np.sin(np.arange(length)[:, None] * random.uniform(0.01, 1, features)) + 0.1 * noise
    if kind == "constant":
        return np.ones_like(noise)
    return noise * (random.random(noise.shape) < 0.05) * 30 if kind == "spikes" else noise


def trained(options: dict[str, Any], data: list[np.ndarray]) -> str:
    """How a training ended: `finite`, `stopped: <cause>`, or what is wrong."""
    try:
        estimator = SequenceAutoencoder(**options).fit(data)
    except FloatingPointError as error:
        return f"stopped: {error}"
    values = [estimator.loss_curve_, estimator.transform(data), estimator.score_samples(data)]
    return "finite" if all(np.isfinite(value).all() for value in values) else "NOT FINITE"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="configurations (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="a code of")
    random = np.random.default_rng(arguments.seed)
    ends: Counter[str] = Counter()
    for number in tqdm(range(arguments.count), desc="training", disable=None):
        options, data = configuration(random)
        end = trained(options, data)
        ends[end.split(":")[0]] += 1
        if end != "finite":
            print(
                f"configuration {number}: {end}\n  {options}, {len(data)} sequences, the longest {max(map(len, data))}"
            )
    print(f"{arguments.count} configurations of {_STEPS} steps or more, seed {arguments.seed}: {dict(ends)}")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
