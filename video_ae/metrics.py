"""How far predicted frames are from the truth, in the conventions of the published tables.

Functions take frames (B, T, C, H, W) in 0 to 1 and return one value per clip and time step, (B, T).
"""

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from .lengths import inside

PSNR_CAP = 100.0  # dB, given to a frame that is exact
_SSIM_WINDOW = 7  # pixels


def nats(logits: Tensor, truth: Tensor) -> Tensor:
    """Bernoulli cross-entropy with the grey truth as probability, summed over the frame: (B, T, ...) to (B, T)."""
    return functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").flatten(2).sum(dim=2)


def entropy_floor(truth: Tensor) -> Tensor:
    """The nats of the truth itself, below which no prediction can come, because the targets are grey."""
    return (torch.special.entr(truth) + torch.special.entr(1 - truth)).sum(dim=(2, 3, 4))


def frame_errors(predicted: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """`mse`, `mae`: summed over the frame, not clipped."""
    difference = predicted - truth
    return {"mse": squared_sum(difference), "mae": difference.abs().sum(dim=(2, 3, 4))}


def squared_sum(difference: Tensor) -> Tensor:
    """Squares summed over the frame: (B, T, C, H, W) to (B, T)."""
    return difference.square().sum(dim=(2, 3, 4))


def picture_errors(predicted: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """`psnr` in dB, `ssim` and `ssim_range2` of predictions clipped to 0 to 1.

    `ssim` takes the true data range 1; `ssim_range2` the range 2 under which many published tables were computed,
    and which flatters by .02 to .05. Frames smaller than the 7x7 window have no SSIM: NaN.
    """
    clipped = predicted.clamp(0, 1)
    mean_squared = (clipped - truth).square().mean(dim=(2, 3, 4))
    ssim, ssim_range2 = _ssim(clipped, truth)
    return {
        "psnr": (-10 * mean_squared.log10()).clamp(max=PSNR_CAP),
        "ssim": ssim,
        "ssim_range2": ssim_range2,
    }


def _ssim(predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM (Wang et al., 2004) for data ranges 1 and 2, as scikit-image computes it by default.

    A 7x7 uniform window, K1 = .01, K2 = .03, sample covariance, mean over all windows that lie inside the frame.
    """
    B, T, _, H, W = truth.shape
    if min(H, W) < _SSIM_WINDOW:
        nothing = truth.new_full((B, T), torch.nan)
        return nothing, nothing
    x, y = predicted, truth
    moments = torch.stack([x, y, x * x, y * y, x * y]).reshape(-1, 1, H, W)
    windows = moments.unfold(2, _SSIM_WINDOW, 1).sum(-1).unfold(3, _SSIM_WINDOW, 1).sum(-1) / _SSIM_WINDOW**2
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = windows.reshape(5, B, T, -1)  # C * (H - 6) * (W - 6) windows
    to_sample = _SSIM_WINDOW**2 / (_SSIM_WINDOW**2 - 1)
    variances = to_sample * (mean_xx - mean_x**2 + mean_yy - mean_y**2)
    covariance = to_sample * (mean_xy - mean_x * mean_y)

    def for_range(data_range: float) -> Tensor:
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        return (luminance * (2 * covariance + c2) / (variances + c2)).mean(dim=2)

    return for_range(1), for_range(2)


class MetricAccumulator:
    """Sums metrics over batches and counts the frames, so that a smaller last batch weighs what it should."""

    def __init__(self) -> None:
        self.clips = 0
        self._frames = torch.zeros(0, dtype=torch.int64)  # (T,), clips that have a frame at each step
        self._sums: dict[str, Tensor] = {}  # (T,) each, float64

    def add(self, values: dict[str, Tensor], lengths: Tensor | None = None) -> None:
        """Add per-frame values (B, T) of one batch, of each clip as many as `lengths` (B,) says."""
        some = next(iter(values.values()))
        there = torch.ones(some.shape, dtype=torch.bool) if lengths is None else inside(lengths, some.shape[1]).cpu()
        self._frames = _add(self._frames, there.sum(dim=0))
        for name, value in values.items():
            summed = value.cpu().double().where(there, 0).sum(dim=0)  # not on the device: MPS has no float64
            self._sums[name] = _add(self._sums.get(name, summed.new_zeros(0)), summed)
        self.clips += len(some)

    def sums(self) -> dict[str, Any]:
        """All that it has seen, in numbers that JSON can hold."""
        totals = {name: total.tolist() for name, total in self._sums.items()}
        return {"clips": self.clips, "frames": self._frames.tolist(), "sums": totals}

    @classmethod
    def merge(cls, parts: Iterable[dict[str, Any]]) -> Self:
        """One accumulator of the `sums` of several, such as those of processes that shared the clips."""
        whole = cls()
        for part in parts:
            whole.clips += part["clips"]
            whole._frames = _add(whole._frames, torch.tensor(part["frames"], dtype=torch.int64))
            for name, numbers in part["sums"].items():
                total = torch.tensor(numbers, dtype=torch.float64)
                whole._sums[name] = _add(whole._sums.get(name, total.new_zeros(0)), total)
        return whole

    def result(self) -> dict[str, Any]:
        """The mean of every metric, and under `per_step` its mean at each time step. What is not finite is None."""
        frames = int(self._frames.sum())
        means: dict[str, Any] = {name: _finite(total.sum().item() / frames) for name, total in self._sums.items()}
        curves = {name: (total / self._frames).tolist() for name, total in self._sums.items()}
        means["per_step"] = {name: [_finite(value) for value in curve] for name, curve in curves.items()}
        return means


def _add(total: Tensor, some: Tensor) -> Tensor:
    """The sum of two vectors, the shorter one filled up with zeros."""
    steps = max(len(total), len(some))
    return functional.pad(total, (0, steps - len(total))) + functional.pad(some, (0, steps - len(some)))


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
