"""What a training step computes as one CUDA graph: a GPU is given all kernels at once instead of waiting for Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

_WARM_UP = 3  # runs before it is recorded: libraries choose their algorithms in the first ones


class CudaGraphs:
    """Runs of a function that leaves gradients, recorded once for every shape of its inputs and replayed.

    A small recurrent model launches thousands of kernels of microseconds in every step. The function may not wait for
    the GPU, and must do the same whenever the shapes are the same; random numbers are new in every replay.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self._parameters = list(parameters)
        self._recorded: dict[tuple[tuple[torch.Size, torch.dtype], ...], _Recorded] = {}

    def __call__(self, compute: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Tensor:
        """What `compute` returns for `inputs`, with its gradients in parameters that have none before."""
        key = tuple((each.shape, each.dtype) for each in inputs)
        if key not in self._recorded:
            with torch.random.fork_rng([inputs[0].device]):  # a run that is resumed records anew, and must go on alike
                self._recorded[key] = _Recorded(compute, inputs, self._parameters)
        return self._recorded[key].replay(inputs)


class _Recorded:
    def __init__(self, compute: Callable[..., Tensor], inputs: Sequence[Tensor], parameters: list[Parameter]) -> None:
        self._inputs = [each.clone() for each in inputs]
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                compute(*self._inputs)
                _forget_gradients(parameters)
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = compute(*self._inputs)
        self._gradients = [(parameter, parameter.grad) for parameter in parameters]

    def replay(self, inputs: Sequence[Tensor]) -> Tensor:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return self._output


def _forget_gradients(parameters: list[Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None
