"""The LSTM, layer by layer: what encoder, decoders and classifier are made of.

Sequences are time-major here, (T, B, size), so that every step reads and writes one contiguous block. Those of
different lengths are sorted, longest first: the ones that are still running are the first rows at every step.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class State(NamedTuple):
    """Hidden state and cell of one layer, both (B, hidden_size)."""

    hidden: Tensor
    cell: Tensor


class LSTMLayer(nn.Module):
    """One LSTM layer, gates in the order i, f, g, o of `nn.LSTM`. With `input_size` 0 it has no input, only a state.

    With `peephole` the gates see the cell as well, through diagonal weights (Srivastava et al., 2015, section 2.1):

        i_t = sigmoid(W_xi x_t + W_hi h_{t-1} + W_ci c_{t-1} + b_i)
        f_t = sigmoid(W_xf x_t + W_hf h_{t-1} + W_cf c_{t-1} + b_f)
        c_t = f_t c_{t-1} + i_t tanh(W_xc x_t + W_hc h_{t-1} + b_c)
        o_t = sigmoid(W_xo x_t + W_ho h_{t-1} + W_co c_t + b_o)
        h_t = o_t tanh(c_t)
    """

    def __init__(self, input_size: int, hidden_size: int, *, peephole: bool = False) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.weight_input = nn.Parameter(torch.empty(4 * hidden_size, input_size)) if input_size else None
        self.weight_hidden = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.peephole = nn.Parameter(torch.empty(3, hidden_size)) if peephole else None  # rows W_ci, W_cf, W_co
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every product starts with the variance of its input, forget bias 1: measured, see docs/results.md."""
        nn.init.normal_(self.weight_hidden, std=1 / math.sqrt(self.hidden_size))
        if self.weight_input is not None:
            nn.init.normal_(self.weight_input, std=1 / math.sqrt(self.input_size))
        if self.peephole is not None:
            nn.init.zeros_(self.peephole)
        nn.init.zeros_(self.bias)
        nn.init.ones_(self.bias[self.hidden_size : 2 * self.hidden_size])

    def forward(
        self, inputs: Tensor | None, state: State, steps: int, running: Sequence[int] | None = None
    ) -> tuple[Tensor, State]:
        """Run `steps` steps from `state` over `inputs` (T, B, input_size), or over nothing where there is no input.

        `running` says how many of the first rows take part in each step (default: all in all); the others keep their
        state, so that the last one of a sequence is that of its own end.

        Returns the hidden states (T, B, hidden_size) and the state after the last step.
        """
        # Everything that does not wait for the step before is one matrix product over all steps.
        if self.weight_input is None:
            bias = self.bias.to(_compute_dtype(self.bias))
            driven = bias.expand(steps, state.hidden.shape[0], -1)  # (T, B, 4 * hidden), no memory of its own
        else:
            assert inputs is not None
            driven = functional.linear(inputs, self.weight_input, self.bias)  # (T, B, 4 * hidden)
        hidden, cell = _Recurrence.apply(driven, self.weight_hidden, self.peephole, state.hidden, state.cell, running)
        return hidden, State(hidden[-1], cell)


class LSTM(nn.Module):
    """Layers on top of each other; the first reads the input (none with `input_size` 0), each next one the last."""

    def __init__(self, input_size: int, hidden_sizes: Sequence[int], *, peephole: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            LSTMLayer(size, hidden_size, peephole=peephole)
            for size, hidden_size in zip([input_size, *hidden_sizes], hidden_sizes, strict=False)
        )
        self.hidden_sizes = list(hidden_sizes)

    def expect_inputs_of(self, scale: Tensor) -> None:
        """Adapt fresh weights to inputs whose root mean square is `scale` instead of 1."""
        first = self.layers[0]
        assert isinstance(first, LSTMLayer)
        if first.weight_input is not None:
            first.weight_input.div_(scale)

    def forward(
        self, inputs: Tensor | None, states: list[State] | None, steps: int, lengths: Tensor | None = None
    ) -> tuple[Tensor, list[State]]:
        """Run over `inputs` (T, B, input_size) from one state per layer (None: zeros).

        Returns the top layer's hidden states (T, B, hidden_size) and every layer's last state. With `lengths` (B,) that
        is the state at each sequence's own end, and the hidden states stay what they are from there on.
        """
        if states is None:
            assert inputs is not None
            dtype = next(self.parameters()).dtype
            zeros = (inputs.new_zeros(inputs.shape[1], size, dtype=dtype) for size in self.hidden_sizes)
            states = [State(zero, zero) for zero in zeros]
        running = None
        if lengths is not None:
            order = lengths.argsort(descending=True, stable=True)
            running = (lengths[:, None] > torch.arange(steps, device=lengths.device)).sum(dim=0).tolist()
            inputs = None if inputs is None else inputs[:, order]
            states = [State(state.hidden[order], state.cell[order]) for state in states]
        last_states = []
        hidden = inputs
        for layer, state in zip(self.layers, states, strict=True):
            hidden, last_state = layer(hidden, state, steps, running)
            last_states.append(last_state)
        assert hidden is not None
        if lengths is None:
            return hidden, last_states
        back = order.argsort()
        return hidden[:, back], [State(state.hidden[back], state.cell[back]) for state in last_states]


def _compute_dtype(tensor: Tensor) -> torch.dtype:
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype


class _Recurrence(torch.autograd.Function):
    """All steps of one layer with a hand-written backward pass.

    Autograd would add up the weight gradient once per step; here it is one matrix product over all steps. Gates and
    hidden states have the type of `driven` (bf16 under autocast), cells stay float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        driven: Tensor,
        weight_hidden: Tensor,
        peephole: Tensor | None,
        hidden: Tensor,
        cell: Tensor,
        running: Sequence[int] | None,
    ) -> tuple[Tensor, Tensor]:
        T, B, _ = driven.shape
        running = running or [B] * T
        weight = weight_hidden.to(driven.dtype)
        gates = torch.empty(driven.shape, dtype=driven.dtype, device=driven.device)  # (T, B, 4 * hidden), activated
        hiddens = driven.new_empty(T + 1, B, hidden.shape[1])  # h_0 to h_T
        cells = cell.new_empty(T + 1, *cell.shape)  # c_0 to c_T
        hiddens[0], cells[0] = hidden, cell
        for t, n in enumerate(running):
            before, after = cells[t, :n], cells[t + 1, :n]
            torch.addmm(driven[t, :n], hiddens[t, :n], weight.T, out=gates[t, :n])
            i, f, g, o = gates[t, :n].chunk(4, dim=1)
            if peephole is not None:
                i += peephole[0] * before
                f += peephole[1] * before
            i.sigmoid_(), f.sigmoid_(), g.tanh_()
            torch.addcmul(f * before, i, g, out=after)
            if peephole is not None:
                o += peephole[2] * after
            o.sigmoid_()
            hiddens[t + 1, :n] = o * after.tanh()
            if n < B:
                hiddens[t + 1, n:], cells[t + 1, n:] = hiddens[t, n:], cells[t, n:]
        ctx.save_for_backward(weight, peephole, gates, hiddens, cells)
        ctx.running = running
        return hiddens[1:], cells[T]

    @staticmethod
    def backward(ctx: Any, grad_hiddens: Tensor, grad_last_cell: Tensor) -> tuple[Tensor | None, ...]:
        weight, peephole, gates, hiddens, cells = ctx.saved_tensors
        grad_gates = torch.empty_like(gates)  # before activation
        grad_hidden, grad_cell = torch.zeros_like(hiddens[0]), grad_last_cell.clone()
        for t, n in reversed(list(enumerate(ctx.running))):
            i, f, g, o = gates[t, :n].chunk(4, dim=1)
            grad_i, grad_f, grad_g, grad_o = grad_gates[t, :n].chunk(4, dim=1)
            grad_gates[t, n:] = 0
            tanh_cell = cells[t + 1, :n].tanh()
            grad_hidden += grad_hiddens[t]
            grad_h, grad_c = grad_hidden[:n], grad_cell[:n]
            grad_o.copy_(grad_h * tanh_cell * o * (1 - o))
            grad_c += grad_h * o * (1 - tanh_cell * tanh_cell)
            if peephole is not None:
                grad_c += peephole[2] * grad_o
            grad_i.copy_(grad_c * g * i * (1 - i))
            grad_f.copy_(grad_c * cells[t, :n] * f * (1 - f))
            grad_g.copy_(grad_c * i * (1 - g * g))
            grad_c *= f
            if peephole is not None:
                grad_c += peephole[0] * grad_i + peephole[1] * grad_f
            torch.mm(grad_gates[t, :n], weight, out=grad_h)
        flat = grad_gates.flatten(0, 1)  # (T * B, 4 * hidden)
        grad_weight = flat.T @ hiddens[:-1].flatten(0, 1)
        grad_peephole = None
        if peephole is not None:
            grad_i, grad_f, _, grad_o = grad_gates.chunk(4, dim=2)
            rows = (grad_i * cells[:-1], grad_f * cells[:-1], grad_o * cells[1:])
            grad_peephole = torch.stack([row.sum(dim=(0, 1)) for row in rows])
        return grad_gates, grad_weight, grad_peephole, grad_hidden, grad_cell, None
