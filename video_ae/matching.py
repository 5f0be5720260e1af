"""How well every patch of a frame matches the frame before it, at every shift: what moves, and where it came from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import ModelConfig
from .motion import around, reach

_SHARPNESS = 32.0  # a patch that is off by 1 in a 32nd of its values has 1 / e of the share


class Matching(nn.Module):
    """A local cost volume (Dosovitskiy et al., 2015, section 3; Sun et al., 2018, section 3) as input of an encoder.

    For each of the shifts of up to `reach` pixels in either direction, the sum of squared differences between a patch
    and what was there in the frame before. A softmax over the shifts makes a distribution of the negative costs, scaled
    to about unit variance. It has no parameters, and gradients do not go through it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.patch_size is not None
        self.patch_size, self.channels = config.patch_size, config.frame_shape[0]
        self.reach = reach(self.patch_size)
        self.shifts = 2 * self.reach + 1
        self.features = self.shifts**2
        self.sharpness = _SHARPNESS / config.vector_size
        places = torch.ones(self.shifts, self.patch_size + 2 * self.reach)
        self.register_buffer("sums", places.triu().tril(self.patch_size - 1), persistent=False)  # of P pixels in a row
        self.sums: Tensor

    @torch.no_grad()
    def forward(self, vectors: Tensor, std: Tensor) -> Tensor:
        """(B, T, rows, columns, features) of patch vectors (B, T, rows, columns, C * P * P), zeros for the first frame.

        std: (C,), by which the channels of the vectors were divided.
        """
        P, (B, T) = self.patch_size, vectors.shape[:2]
        nothing = vectors.new_zeros(B, 1, *vectors.shape[2:-1], self.features)
        if T == 1:
            return nothing
        patches = vectors.float().unflatten(-1, (-1, P, P)) * std[:, None, None]  # (B, T, rows, columns, C, P, P)
        costs = self._costs(patches[:, 1:].flatten(0, 1), around(patches[:, :-1].flatten(0, 1), self.reach))
        shares = (-self.sharpness * costs).softmax(dim=-1)
        scaled = (shares - 1 / self.features) * self.shifts
        return torch.cat([nothing, scaled.unflatten(0, (B, T - 1)).to(vectors.dtype)], dim=1)

    def _costs(self, patches: Tensor, before: Tensor) -> Tensor:
        """Squared differences of patches (N, rows, columns, C, P, P) to each place in what was around them,
        (N, rows, columns, C, Q, Q), less what is the same for all shifts: (N, rows, columns, shifts * shifts).
        """
        size, n = before.shape[-2:], self.shifts
        spectrum = torch.fft.rfft2(before) * torch.fft.rfft2(patches, s=size).conj()
        products = torch.fft.irfft2(spectrum.sum(dim=-3), s=size)[..., :n, :n]
        squares = self.sums @ before.square().sum(dim=-3) @ self.sums.T
        return (squares - 2 * products).flatten(-2)
