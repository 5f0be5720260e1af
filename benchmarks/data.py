"""Is the generator faithful, and does it ever limit training?

    python benchmarks/data.py                                      # bundled digits
    python benchmarks/data.py --digits mnist --data-dir data

Prints, for one, two and three digits, the entropy floor of 3,000 test clips in nats per frame (the paper's generator
with two MNIST test digits: 86 to 88) and how many clips of 20 frames one core paints per second.
"""

import argparse
import time

import torch

from video_ae.datasets.digits import load_digits
from video_ae.datasets.moving_mnist import MovingMNIST
from video_ae.datasets.names import DIGITS
from video_ae.metrics import entropy_floor

_CLIPS, _BATCH = 3000, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", choices=DIGITS, default="optical")
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    digits = load_digits(arguments.digits, "test", arguments.data_dir)
    for num_digits in (1, 2, 3):
        dataset = MovingMNIST(digits, "test", num_digits=num_digits)
        floor, rates = 0.0, {}
        for batch in (16, 100):
            started = time.perf_counter()
            for first in range(0, _CLIPS, batch):
                dataset.__getitems__(range(first, first + batch))
            rates[batch] = _CLIPS / (time.perf_counter() - started)
        for first in range(0, _CLIPS, _BATCH):
            future = dataset.__getitems__(range(first, first + _BATCH))[:, 10:].float() / 255
            floor += entropy_floor(future).mean().item() * _BATCH / _CLIPS
        speed = ", ".join(f"{rate:,.0f} clips/s in batches of {batch}" for batch, rate in rates.items())
        print(f"{num_digits} {arguments.digits} digits: floor {floor:.1f} nats per frame; {speed}")


if __name__ == "__main__":
    main()
