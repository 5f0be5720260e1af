"""The LSTM, layer by layer: what encoder, decoders and classifier are made of.

Sequences are time-major here, so that every step reads and writes one contiguous block: (T, B, size) for the dense
LSTM, (T, B, rows, columns, size) for the convolutional one, whose every position has a state and sees its neighbours'.
Sequences of different lengths are sorted, longest first: those still running are the first rows at every step.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight
from torch.utils.checkpoint import checkpoint

from .first_order import first_order


class State(NamedTuple):
    """Hidden state and cell of one layer, both (B, hidden_size) or (B, rows, columns, hidden_size)."""

    hidden: Tensor
    cell: Tensor


class LSTMLayer(nn.Module):
    """One LSTM layer, gates in the order i, f, g, o of `nn.LSTM`. With `input_size` 0 it has no input, only a state.

    With a `kernel_size` the products with W are convolutions over rows and columns (Shi et al., 2015).

    With `peephole` the gates see the cell as well, through diagonal weights (Srivastava et al., 2015, section 2.1):

        i_t = sigmoid(W_xi x_t + W_hi h_{t-1} + W_ci c_{t-1} + b_i)
        f_t = sigmoid(W_xf x_t + W_hf h_{t-1} + W_cf c_{t-1} + b_f)
        c_t = f_t c_{t-1} + i_t tanh(W_xc x_t + W_hc h_{t-1} + b_c)
        o_t = sigmoid(W_xo x_t + W_ho h_{t-1} + W_co c_t + b_o)
        h_t = o_t tanh(c_t)
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, peephole: bool = False, kernel_size: int | None = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        kernel = () if kernel_size is None else (kernel_size, kernel_size)
        self.weight_input = nn.Parameter(torch.empty(4 * hidden_size, input_size, *kernel)) if input_size else None
        self.weight_hidden = nn.Parameter(torch.empty(4 * hidden_size, hidden_size, *kernel))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.peephole = nn.Parameter(torch.empty(3, hidden_size)) if peephole else None  # rows W_ci, W_cf, W_co
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every product starts with the variance of its input, forget bias 1: measured, see docs/history.md."""
        for weight in (self.weight_hidden, self.weight_input):
            if weight is not None:
                nn.init.normal_(weight, std=1 / math.sqrt(weight[0].numel()))
        if self.peephole is not None:
            nn.init.zeros_(self.peephole)
        nn.init.zeros_(self.bias)
        nn.init.ones_(self.bias[self.hidden_size : 2 * self.hidden_size])

    def forward(
        self, inputs: Tensor | None, state: State, steps: int, running: Sequence[int] | None = None
    ) -> tuple[Tensor, State]:
        """Run `steps` steps from `state` over `inputs` (T, B, ..., input_size), or over nothing where there is none.

        `running` says how many of the first rows take part in each step (default: all in all); the others keep their
        state, so that the last one of a sequence is that of its own end.

        Returns the hidden states (T, B, ..., hidden_size) and the state after the last step.
        """
        product = _Dense if self.weight_hidden.ndim == 2 else _Convolution
        hidden, cell = _Recurrence.apply(
            product, inputs, self.weight_input, self.weight_hidden, self.bias, self.peephole, *state, steps, running
        )
        return hidden, State(hidden[-1], cell)


class LSTM(nn.Module):
    """Layers on top of each other; the first reads the input (none with `input_size` 0), each next one the last.

    Two attributes are for training on long sequences, which are then cut into segments of equal length:

    recompute: steps at most whose activations are kept; those of other segments are computed anew in the backward pass.
    truncate:  steps at most that gradients go back (truncated back-propagation through time).
    """

    def __init__(
        self,
        input_size: int,
        hidden_sizes: Sequence[int],
        *,
        peephole: bool = False,
        kernel_size: int | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            LSTMLayer(size, hidden_size, peephole=peephole, kernel_size=kernel_size)
            for size, hidden_size in zip([input_size, *hidden_sizes], hidden_sizes, strict=False)
        )
        self.hidden_sizes = list(hidden_sizes)
        self.recompute: int | None = None
        self.truncate: int | None = None

    def expect_inputs_of(self, scale: Tensor) -> None:
        """Adapt fresh weights to inputs whose root mean square is `scale` instead of 1: of all, or (input_size,)."""
        first = self.layers[0]
        assert isinstance(first, LSTMLayer)
        if first.weight_input is not None:
            first.weight_input.transpose(1, -1).div_(scale)

    def forward(
        self, inputs: Tensor | None, states: list[State] | None, steps: int, lengths: Tensor | None = None
    ) -> tuple[Tensor, list[State]]:
        """Run over `inputs` (T, B, ..., input_size) from one state per layer (None: zeros).

        Returns the top layer's hidden states (T, B, ..., hidden_size) and every layer's last state. With `lengths` (B,)
        that is the state at each sequence's own end, and the hidden states stay what they are from there on.
        """
        if states is None:
            assert inputs is not None
            dtype = next(self.parameters()).dtype
            zeros = (inputs.new_zeros(*inputs.shape[1:-1], size, dtype=dtype) for size in self.hidden_sizes)
            states = [State(zero, zero) for zero in zeros]
        running = None
        if lengths is not None:
            order = lengths.argsort(descending=True, stable=True)
            running = (lengths[:, None] > torch.arange(steps, device=lengths.device)).sum(dim=0).tolist()
            inputs = None if inputs is None else inputs[:, order]
            states = [State(state.hidden[order], state.cell[order]) for state in states]
        hidden, states = self._in_segments(inputs, states, steps, running)
        if lengths is None:
            return hidden, states
        back = order.argsort()
        return hidden[:, back], [State(state.hidden[back], state.cell[back]) for state in states]

    def _in_segments(
        self, inputs: Tensor | None, states: list[State], steps: int, running: Sequence[int] | None
    ) -> tuple[Tensor, list[State]]:
        longest = min(self.recompute or steps, self.truncate or steps)
        if longest >= steps or not torch.is_grad_enabled():
            return self._run(inputs, states, steps, running)
        count = math.ceil(steps / longest)
        borders = [number * steps // count for number in range(count + 1)]
        hiddens = []
        for first, end in pairwise(borders):
            if first and self.truncate:
                states = [State(state.hidden.detach(), state.cell.detach()) for state in states]
            segment = (
                None if inputs is None else inputs[first:end],
                states,
                end - first,
                None if running is None else running[first:end],
            )
            if self.recompute:
                hidden, states = checkpoint(self._run, *segment, use_reentrant=False)
            else:
                hidden, states = self._run(*segment)
            hiddens.append(hidden)
        return torch.cat(hiddens), states

    def _run(
        self, hidden: Tensor | None, states: list[State], steps: int, running: Sequence[int] | None
    ) -> tuple[Tensor, list[State]]:
        last_states = []
        for layer, state in zip(self.layers, states, strict=True):
            hidden, last_state = layer(hidden, state, steps, running)
            last_states.append(last_state)
        assert hidden is not None
        return hidden, last_states


@contextmanager
def segmented(model: nn.Module, *, recompute: int | None, truncate: int | None) -> Iterator[None]:
    """Within it, the LSTMs of `model` go back as is said here, whatever their own attributes say."""
    lstms = [module for module in model.modules() if isinstance(module, LSTM)]
    before = [(lstm.recompute, lstm.truncate) for lstm in lstms]
    for lstm in lstms:
        lstm.recompute, lstm.truncate = recompute, truncate
    try:
        yield
    finally:
        for lstm, own in zip(lstms, before, strict=True):
            lstm.recompute, lstm.truncate = own


@contextmanager
def compiled_steps(wanted: bool) -> Iterator[None]:
    """Within it, if `wanted`, what is done to the gates in a step is compiled, one kernel forward and one back."""
    global _step, _step_back
    before = _step, _step_back
    if wanted:
        _step, _step_back = torch.compile(_step, dynamic=True), torch.compile(_step_back, dynamic=True)
    try:
        yield
    finally:
        _step, _step_back = before


class _Dense:
    """Products of vectors (..., size) with a weight (sums, size)."""

    @staticmethod
    def all_steps(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.linear(inputs, weight, bias)

    @staticmethod
    def add(sums: Tensor, inputs: Tensor, weight: Tensor) -> None:
        sums.addmm_(inputs, weight.T)

    @staticmethod
    def back(grad_sums: Tensor, weight: Tensor) -> Tensor:
        return grad_sums @ weight

    @staticmethod
    def weight_gradient(grad_sums: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
        return grad_sums.flatten(0, -2).T @ inputs.flatten(0, -2)


class _Convolution:
    """The same over rows and columns, of maps (..., rows, columns, size) with a weight (sums, size, k, k).

    The size is the fastest dimension in memory, which convolutions know as the channels-last format.
    """

    @staticmethod
    def all_steps(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        maps = _Convolution._channels_first(inputs)
        sums = functional.conv2d(maps, weight, bias, padding=weight.shape[-1] // 2)
        return sums.permute(0, 2, 3, 1).unflatten(0, inputs.shape[:-3])

    @staticmethod
    def add(sums: Tensor, inputs: Tensor, weight: Tensor) -> None:
        sums += _Convolution.all_steps(inputs, weight)

    @staticmethod
    def back(grad_sums: Tensor, weight: Tensor) -> Tensor:
        maps = _Convolution._channels_first(grad_sums)
        inputs = functional.conv_transpose2d(maps, weight, padding=weight.shape[-1] // 2)
        return inputs.permute(0, 2, 3, 1).unflatten(0, grad_sums.shape[:-3])

    @staticmethod
    def weight_gradient(grad_sums: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
        maps, grad_maps = _Convolution._channels_first(inputs), _Convolution._channels_first(grad_sums)
        return conv2d_weight(maps, weight.shape, grad_maps, padding=weight.shape[-1] // 2)

    @staticmethod
    def _channels_first(maps: Tensor) -> Tensor:
        """(..., rows, columns, size) as (N, size, rows, columns), without moving anything."""
        return maps.flatten(0, -4).permute(0, 3, 1, 2)


class _Recurrence(torch.autograd.Function):
    """All steps of one layer with a hand-written backward pass, which cannot be differentiated itself.

    Time lies in the matrix products: each step has one, forward and back, and everything that does not wait for the
    step before, the inputs' product and the gradients of the weights, is one product over all steps. Gates and hidden
    states have the type of the products (bf16 under autocast), cells stay float32. What is done to the gates is done
    in place, while they are still in the cache.
    """

    @staticmethod
    def forward(
        ctx: Any,
        product: type[_Dense] | type[_Convolution],
        inputs: Tensor | None,
        weight_input: Tensor | None,
        weight_hidden: Tensor,
        bias: Tensor,
        peephole: Tensor | None,
        hidden: Tensor,
        cell: Tensor,
        steps: int,
        running: Sequence[int] | None,
    ) -> tuple[Tensor, Tensor]:
        device, B = cell.device.type, cell.shape[0]
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_hidden.dtype
        running = running or [B] * steps
        weight, bias, given = weight_hidden.to(dtype), bias.to(dtype), inputs
        if weight_input is None:
            gates = bias.repeat(steps, *cell.shape[:-1], 1)  # (T, B, ..., 4 * hidden)
        else:
            assert inputs is not None
            # Contiguous: torch multiplies bf16 batches of other strides one by one, each with a copy of the weight.
            inputs, weight_input = inputs.to(dtype).contiguous(), weight_input.to(dtype)
            gates = product.all_steps(inputs, weight_input, bias)
        hiddens = gates.new_empty(steps + 1, *hidden.shape)  # h_0 to h_T
        cells = cell.new_empty(steps + 1, *cell.shape)  # c_0 to c_T
        hiddens[0], cells[0] = hidden, cell
        for t, n in enumerate(running):
            product.add(gates[t, :n], hiddens[t, :n], weight)
            _step(gates[t, :n], cells[t, :n], peephole, cells[t + 1, :n], hiddens[t + 1, :n])
            if n < B:
                hiddens[t + 1, n:], cells[t + 1, n:] = hiddens[t, n:], cells[t, n:]
        of_others = given, bias, hidden, cell  # for `first_order` alone
        ctx.save_for_backward(inputs, weight_input, weight, peephole, gates, hiddens, cells, *of_others)
        ctx.product, ctx.running = product, running
        return hiddens[1:], cells[steps]

    @staticmethod
    @first_order
    def backward(ctx: Any, grad_hiddens: Tensor, grad_last_cell: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_input, weight, peephole, gates, hiddens, cells, *_ = ctx.saved_tensors
        grad_gates = torch.empty_like(gates)  # before activation
        grad_hidden, grad_cell = torch.zeros_like(hiddens[0]), grad_last_cell.clone()
        for t, n in reversed(list(enumerate(ctx.running))):
            grad_hidden += grad_hiddens[t]
            now, before, after = gates[t, :n], cells[t, :n], cells[t + 1, :n]
            _step_back(now, before, peephole, after, grad_hidden[:n], grad_cell[:n], grad_gates[t, :n])
            grad_hidden[:n] = ctx.product.back(grad_gates[t, :n], weight)
            if n < len(grad_hidden):
                grad_gates[t, n:] = 0
        grad_inputs = grad_weight_input = grad_peephole = None
        if weight_input is not None:
            grad_weight_input = ctx.product.weight_gradient(grad_gates, inputs, weight_input)
            grad_inputs = ctx.product.back(grad_gates, weight_input) if ctx.needs_input_grad[1] else None
        if peephole is not None:
            grad_i, grad_f, _, grad_o = grad_gates.chunk(4, dim=-1)
            rows = (grad_i * cells[:-1], grad_f * cells[:-1], grad_o * cells[1:])
            grad_peephole = torch.stack([row.flatten(0, -2).sum(dim=0) for row in rows])
        grad_weight_hidden = ctx.product.weight_gradient(grad_gates, hiddens[:-1], weight)
        grad_bias = grad_gates.flatten(0, -2).sum(dim=0)
        weights = grad_weight_input, grad_weight_hidden, grad_bias, grad_peephole
        return None, grad_inputs, *weights, grad_hidden, grad_cell, None, None


def _step(gates: Tensor, before: Tensor, peephole: Tensor | None, after: Tensor, hidden: Tensor) -> None:
    """Activate the sums `gates` (n, ..., 4 * hidden) in place; write the cell `after` and the `hidden` state."""
    i, f, g, o = gates.chunk(4, dim=-1)
    if peephole is not None:
        i.addcmul_(peephole[0], before)
        f.addcmul_(peephole[1], before)
    gates[..., : 2 * before.shape[-1]].sigmoid_()  # i and f
    g.tanh_()
    torch.mul(f, before, out=after).addcmul_(i, g)
    if peephole is not None:
        o.addcmul_(peephole[2], after)
    o.sigmoid_()
    torch.tanh(after, out=hidden).mul_(o)


def _step_back(
    gates: Tensor,
    before: Tensor,
    peephole: Tensor | None,
    after: Tensor,
    grad_hidden: Tensor,
    grad_cell: Tensor,
    grad_gates: Tensor,
) -> None:
    """The derivative of `_step`: writes `grad_gates`, and turns `grad_cell` of the cell after into that before."""
    i, f, g, o = gates.chunk(4, dim=-1)
    grad_i, grad_f, grad_g, grad_o = grad_gates.chunk(4, dim=-1)
    through_sigmoid, through_tanh = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
    tanh_cell = after.tanh()
    through_sigmoid(grad_hidden * tanh_cell, o, grad_input=grad_o)
    grad_cell += through_tanh(grad_hidden * o, tanh_cell)
    if peephole is not None:
        grad_cell.addcmul_(peephole[2], grad_o)
    through_sigmoid(grad_cell * g, i, grad_input=grad_i)
    through_sigmoid(grad_cell * before, f, grad_input=grad_f)
    through_tanh(grad_cell * i, g, grad_input=grad_g)
    grad_cell *= f
    if peephole is not None:
        grad_cell.addcmul_(peephole[0], grad_i).addcmul_(peephole[1], grad_f)
