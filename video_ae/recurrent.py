"""The LSTM, layer by layer: what encoder, decoders and classifier are made of.

Sequences are time-major here, (T, B, size), so that every step reads and writes one contiguous block.
"""

import math
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

    def forward(self, inputs: Tensor | None, state: State, steps: int) -> tuple[Tensor, State]:
        """Run `steps` steps from `state` over `inputs` (T, B, input_size), or over nothing where there is no input.

        Returns the hidden states (T, B, hidden_size) and the state after the last step.
        """
        # Everything that does not wait for the step before is one matrix product over all steps.
        if self.weight_input is None:
            bias = self.bias.to(_compute_dtype(self.bias))
            driven = bias.expand(steps, state.hidden.shape[0], -1)  # (T, B, 4 * hidden), no memory of its own
        else:
            assert inputs is not None
            driven = functional.linear(inputs, self.weight_input, self.bias)  # (T, B, 4 * hidden)
        hidden, cell = _Recurrence.apply(driven, self.weight_hidden, self.peephole, state.hidden, state.cell)
        return hidden, State(hidden[-1], cell)


class LSTM(nn.Module):
    """Layers on top of each other; the first reads the input (none with `input_size` 0), each next one the last."""

    def __init__(self, input_size: int, hidden_size: int, layers: int = 1, *, peephole: bool = False) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        sizes = [input_size] + [hidden_size] * (layers - 1)
        self.layers = nn.ModuleList(LSTMLayer(size, hidden_size, peephole=peephole) for size in sizes)

    def expect_inputs_of(self, scale: Tensor) -> None:
        """Adapt fresh weights to inputs whose root mean square is `scale` instead of 1."""
        first = self.layers[0]
        assert isinstance(first, LSTMLayer)
        if first.weight_input is not None:
            first.weight_input.div_(scale)

    def forward(self, inputs: Tensor | None, states: list[State] | None, steps: int) -> tuple[Tensor, list[State]]:
        """Run over `inputs` (T, B, input_size) from one state per layer (None: zeros).

        Returns the top layer's hidden states (T, B, hidden_size) and every layer's last state.
        """
        if states is None:
            assert inputs is not None
            zeros = inputs.new_zeros(inputs.shape[1], self.hidden_size, dtype=next(self.parameters()).dtype)
            states = [State(zeros, zeros)] * len(self.layers)
        last_states = []
        hidden = inputs
        for layer, state in zip(self.layers, states, strict=True):
            hidden, last_state = layer(hidden, state, steps)
            last_states.append(last_state)
        assert hidden is not None
        return hidden, last_states


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
        ctx: Any, driven: Tensor, weight_hidden: Tensor, peephole: Tensor | None, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        T, B, _ = driven.shape
        weight = weight_hidden.to(driven.dtype)
        gates = torch.empty(driven.shape, dtype=driven.dtype, device=driven.device)  # (T, B, 4 * hidden), activated
        hiddens = driven.new_empty(T + 1, B, hidden.shape[1])  # h_0 to h_T
        cells = cell.new_empty(T + 1, *cell.shape)  # c_0 to c_T
        hiddens[0], cells[0] = hidden, cell
        for t in range(T):
            torch.addmm(driven[t], hiddens[t], weight.T, out=gates[t])
            i, f, g, o = gates[t].chunk(4, dim=1)
            if peephole is not None:
                i += peephole[0] * cells[t]
                f += peephole[1] * cells[t]
            i.sigmoid_(), f.sigmoid_(), g.tanh_()
            torch.addcmul(f * cells[t], i, g, out=cells[t + 1])
            if peephole is not None:
                o += peephole[2] * cells[t + 1]
            o.sigmoid_()
            hiddens[t + 1] = o * cells[t + 1].tanh()
        ctx.save_for_backward(weight, peephole, gates, hiddens, cells)
        return hiddens[1:], cells[T]

    @staticmethod
    def backward(ctx: Any, grad_hiddens: Tensor, grad_cell: Tensor) -> tuple[Tensor | None, ...]:
        weight, peephole, gates, hiddens, cells = ctx.saved_tensors
        T = len(gates)
        grad_gates = torch.empty_like(gates)  # before activation
        grad_hidden = torch.zeros_like(hiddens[0])
        for t in reversed(range(T)):
            i, f, g, o = gates[t].chunk(4, dim=1)
            grad_i, grad_f, grad_g, grad_o = grad_gates[t].chunk(4, dim=1)
            tanh_cell = cells[t + 1].tanh()
            grad_hidden = grad_hidden + grad_hiddens[t]
            grad_o.copy_(grad_hidden * tanh_cell * o * (1 - o))
            grad_cell = grad_cell + grad_hidden * o * (1 - tanh_cell * tanh_cell)
            if peephole is not None:
                grad_cell = grad_cell + peephole[2] * grad_o
            grad_i.copy_(grad_cell * g * i * (1 - i))
            grad_f.copy_(grad_cell * cells[t] * f * (1 - f))
            grad_g.copy_(grad_cell * i * (1 - g * g))
            grad_cell = grad_cell * f
            if peephole is not None:
                grad_cell = grad_cell + peephole[0] * grad_i + peephole[1] * grad_f
            grad_hidden = grad_gates[t] @ weight
        flat = grad_gates.flatten(0, 1)  # (T * B, 4 * hidden)
        grad_weight = flat.T @ hiddens[:-1].flatten(0, 1)
        grad_peephole = None
        if peephole is not None:
            grad_i, grad_f, _, grad_o = grad_gates.chunk(4, dim=2)
            rows = (grad_i * cells[:-1], grad_f * cells[:-1], grad_o * cells[1:])
            grad_peephole = torch.stack([row.sum(dim=(0, 1)) for row in rows])
        return grad_gates, grad_weight, grad_peephole, grad_hidden, grad_cell
