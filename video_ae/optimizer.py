"""What turns gradients into steps: AdamW, and for the kernels of convolutions orthogonalised momentum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .recurrent import LSTMLayer

_MOMENTUM = 0.95
_ITERATIONS = 5
_STEP_SIZE = 0.4  # root mean square of a step's elements, as a share of the learning rate; AdamW's is between 0.2 and 1


class Optimizer(torch.optim.AdamW):
    """AdamW, but kernels (outputs, inputs, k, k) are stepped as in Muon (Jordan et al., 2024).

    Their momentum is replaced by the nearest matrix with orthogonal rows, of a recurrence for each of the four gates:
    all directions that the gradients have in common move alike, not the strongest ones first. That is worth twice the
    training of a convolutional LSTM, for a twentieth of its time (docs/history.md). With the root mean square of the
    steps matched (Liu et al., 2025) both live with one learning rate. For the large matrices of a dense LSTM it would
    cost more than the training itself.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)
        recurrent = (module for module in model.modules() if isinstance(module, LSTMLayer))
        self._gates: dict[Tensor, int] = {parameter: 4 for layer in recurrent for parameter in layer.parameters()}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # the loop has no closures
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim == 4 and parameter.grad is not None:
                    self._step_kernel(parameter, parameter.grad, group["lr"], group["weight_decay"])
                    parameter.grad = None  # so that AdamW passes it by
        super().step()

    def _step_kernel(self, kernel: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        momentum = state["momentum"].mul_(_MOMENTUM).add_(gradient)
        ahead = gradient.add(momentum, alpha=_MOMENTUM)  # Nesterov's
        gates = ahead.flatten(1).unflatten(0, (self._gates.get(kernel, 1), -1))  # (gates, outputs, inputs * k * k)
        direction = orthogonal(gates) * max(gates.shape[1:]) ** 0.5  # elements of root mean square 1
        kernel.mul_(1 - lr * weight_decay).sub_(direction.reshape(kernel.shape), alpha=_STEP_SIZE * lr)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with their singular values brought near 1, all to between about 0.7 and 1.2.

    Newton-Schulz iterations with the coefficients of Jordan et al. (2024), products only. Every iterate is a polynomial
    of the first one's gram matrix times the first: only small matrices are multiplied until the end.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT
    eye = torch.eye(len(gram[0]), dtype=x.dtype, device=x.device)
    product = eye.expand_as(gram)
    for _ in range(_ITERATIONS):
        factor = 3.4445 * eye - 4.7750 * gram + 2.0315 * gram @ gram
        product, gram = factor @ product, factor @ gram @ factor
    return product @ x
