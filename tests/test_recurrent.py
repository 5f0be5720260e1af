"""The recurrence against `nn.LSTM`, the paper's equations written out, and numerical gradients."""

import shutil

import pytest
import torch
from torch import nn
from torch.nn import functional

from video_ae import recurrent
from video_ae.recurrent import LSTM, LSTMLayer, State


def copied_from(reference: nn.LSTM) -> LSTM:
    ours = LSTM(reference.input_size, [reference.hidden_size] * reference.num_layers, peephole=True)
    with torch.no_grad():
        for number, layer in enumerate(ours.layers):
            layer.weight_input.copy_(getattr(reference, f"weight_ih_l{number}"))
            layer.weight_hidden.copy_(getattr(reference, f"weight_hh_l{number}"))
            layer.bias.copy_(getattr(reference, f"bias_ih_l{number}") + getattr(reference, f"bias_hh_l{number}"))
            layer.peephole.zero_()
    return ours


@pytest.mark.parametrize("layers", [1, 3])
def test_without_peephole_weights_it_is_nn_lstm(layers):
    """Outputs, last states and gradients; catches swapped gates and a state handed to the wrong layer."""
    reference = nn.LSTM(5, 7, layers)
    ours = copied_from(reference)
    inputs = torch.randn(6, 4, 5)
    hidden, cell = torch.randn(layers, 4, 7), torch.randn(layers, 4, 7)
    expected, (last_hidden, last_cell) = reference(inputs, (hidden, cell))
    outputs, states = ours(inputs, [State(h, c) for h, c in zip(hidden, cell, strict=True)], 6)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.stack([state.hidden for state in states]), last_hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.stack([state.cell for state in states]), last_cell, rtol=0, atol=1e-5)

    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (outputs * weights).sum().backward()
    for number, layer in enumerate(ours.layers):
        for name, theirs in (("weight_input", "weight_ih"), ("weight_hidden", "weight_hh"), ("bias", "bias_ih")):
            expected_gradient = getattr(reference, f"{theirs}_l{number}").grad
            torch.testing.assert_close(getattr(layer, name).grad, expected_gradient, rtol=1e-4, atol=1e-5)


def test_peepholes_follow_the_papers_equations():
    layer = LSTMLayer(3, 4, peephole=True)
    inputs, h, c = torch.randn(5, 2, 3), torch.randn(2, 4), torch.randn(2, 4)
    outputs, state = layer(inputs, State(h, c), 5)
    w_ci, w_cf, w_co = layer.peephole
    for t in range(5):
        i, f, g, o = (inputs[t] @ layer.weight_input.T + h @ layer.weight_hidden.T + layer.bias).chunk(4, dim=1)
        i, f = torch.sigmoid(i + w_ci * c), torch.sigmoid(f + w_cf * c)
        c = f * c + i * torch.tanh(g)
        h = torch.sigmoid(o + w_co * c) * torch.tanh(c)
        torch.testing.assert_close(outputs[t], h)
    torch.testing.assert_close(state.cell, c)


def test_the_convolutional_layer_is_the_equations_with_convolutions():
    """Torch's own convolutions and autograd, channels first; catches a turned kernel, and rows read as columns."""
    layer = LSTMLayer(2, 3, kernel_size=3).double()
    inputs = torch.randn(4, 2, 5, 6, 2, dtype=torch.float64)  # (T, B, rows, columns, size)
    state = torch.randn(2, 2, 5, 6, 3, dtype=torch.float64)
    outputs, last = layer(inputs, State(*state), 4)
    outputs.square().sum().backward()
    gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]

    weights = [parameter.detach().requires_grad_() for parameter in layer.parameters()]
    w_x, w_h, bias = weights
    h, c = state.permute(0, 1, 4, 2, 3)
    hiddens = []
    for x in inputs.permute(0, 1, 4, 2, 3):
        sums = functional.conv2d(x, w_x, bias, padding=1) + functional.conv2d(h, w_h, padding=1)
        i, f, g, o = sums.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        hiddens.append(h)
    expected = torch.stack(hiddens).permute(0, 1, 3, 4, 2)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last.cell, c.permute(0, 2, 3, 1))
    torch.testing.assert_close(gradients, list(torch.autograd.grad(expected.square().sum(), weights)))


@pytest.mark.parametrize("kernel_size", [None, 3])
@pytest.mark.parametrize("running", [None, [3, 3, 2, 2, 1]])
@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize("input_size", [0, 3])
def test_the_hand_written_backward_pass_is_the_derivative(input_size, peephole, running, kernel_size):
    """Numerical differentiation in float64 of everything that takes a gradient, last cell included."""
    size, grid = (4, ()) if kernel_size is None else (2, (2, 3))
    layer = LSTMLayer(input_size, size, peephole=peephole, kernel_size=kernel_size).double()
    state = torch.randn(2, 3, *grid, size, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(5, 3, *grid, 3, dtype=torch.float64, requires_grad=True) if input_size else None

    def outputs(*_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, last = layer(inputs, State(*state), 5, running)
        return hidden, last.cell

    tracked = [state, *layer.parameters()] + ([inputs] if input_size else [])
    assert torch.autograd.gradcheck(outputs, tracked)


def test_steps_one_by_one_are_the_sequence():
    """Free running goes step by step; it must be the function that was trained as a sequence."""
    lstm = LSTM(3, [4, 4], peephole=True)
    inputs = torch.randn(6, 2, 3)
    whole, _ = lstm(inputs, None, 6)
    hidden, states = lstm(inputs[:1], None, 1)
    steps = [hidden]
    for t in range(1, 6):
        hidden, states = lstm(inputs[t : t + 1], states, 1)
        steps.append(hidden)
    torch.testing.assert_close(torch.cat(steps), whole)


@pytest.mark.parametrize("layers", [1, 2])
def test_different_lengths_are_the_packed_sequences_of_nn_lstm(layers):
    """Every sequence's last state is that of its own end, in every layer, whatever follows in the batch."""
    reference = nn.LSTM(5, 7, layers)
    ours = copied_from(reference)
    lengths, inputs = [6, 4, 4, 1], torch.randn(6, 4, 5)
    packed = nn.utils.rnn.pack_padded_sequence(inputs, torch.tensor(lengths))
    expected, (last_hidden, last_cell) = reference(packed)
    padded, _ = nn.utils.rnn.pad_packed_sequence(expected)  # zeros after the end
    mixed = torch.tensor([2, 0, 3, 1])  # the batch need not be sorted
    outputs, states = ours(inputs[:, mixed], None, 6, torch.tensor(lengths)[mixed])
    outputs = outputs[:, mixed.argsort()]
    states = [State(state.hidden[mixed.argsort()], state.cell[mixed.argsort()]) for state in states]
    torch.testing.assert_close(torch.stack([state.hidden for state in states]), last_hidden)
    torch.testing.assert_close(torch.stack([state.cell for state in states]), last_cell)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(outputs[:length, row], padded[:length, row])


def test_without_input_there_are_no_input_weights():
    """An unconditional decoder spends no parameters and no arithmetic on an input it does not have."""
    lstm = LSTM(0, [8, 8])
    assert lstm.layers[0].weight_input is None
    as_zeros = copied_from(nn.LSTM(1, 8, 2))
    with torch.no_grad():
        for ours, other in zip(lstm.layers, as_zeros.layers, strict=True):
            ours.weight_hidden.copy_(other.weight_hidden)
            ours.bias.copy_(other.bias)
        lstm.layers[1].weight_input.copy_(as_zeros.layers[1].weight_input)
    states = [State(torch.randn(3, 8), torch.randn(3, 8)) for _ in range(2)]
    outputs, _ = lstm(None, states, 5)
    torch.testing.assert_close(outputs, as_zeros(torch.zeros(5, 3, 1), states, 5)[0])


def test_bf16_autocast_stays_close_to_float32():
    """Cells stay float32 under autocast; catches rounding that grows over the steps."""
    lstm = LSTM(16, [32, 32], peephole=True)
    inputs = torch.randn(20, 4, 16)
    exact, _ = lstm(inputs, None, 20)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, states = lstm(inputs, None, 20)
        unconditional, _ = LSTM(0, [32])(None, states[:1], 5)
    assert rounded.dtype == unconditional.dtype == torch.bfloat16
    assert states[0].cell.dtype == torch.float32
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.02)
    rounded.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in lstm.parameters())


def a_long_sequence(lengths):
    torch.manual_seed(0)
    lstm = LSTM(3, [4, 4], peephole=True).double()
    inputs = torch.randn(11, 2, 3, dtype=torch.float64)
    return lstm, inputs, None if lengths is None else torch.tensor(lengths)


@pytest.mark.parametrize("lengths", [None, [11, 4]])
def test_recomputed_segments_change_nothing(lengths):
    """Outputs, last states and gradients are those of the whole sequence; catches steps lost at a segment's border."""
    lstm, inputs, lengths = a_long_sequence(lengths)
    results = []
    for lstm.recompute in (None, 4):
        zeros = [State(*torch.zeros(2, 2, 4, dtype=torch.float64)) for _ in range(2)]
        hidden, states = lstm(inputs, zeros, 11, lengths)
        loss = hidden.square().sum() + states[0].cell.sum()
        results.append((hidden, states[1].cell, *torch.autograd.grad(loss, list(lstm.parameters()))))
    torch.testing.assert_close(*results)


def test_truncated_gradients_stop_at_the_border():
    """The last step's output depends on inputs of its own segment only, and forwards nothing changes."""
    lstm, inputs, _ = a_long_sequence(None)
    inputs.requires_grad_()
    zeros = [State(*torch.zeros(2, 2, 4, dtype=torch.float64)) for _ in range(2)]
    whole, _ = lstm(inputs, zeros, 11)
    lstm.truncate = 4  # three segments of 11 steps: 3, 4 and 4
    hidden, _ = lstm(inputs, zeros, 11)
    torch.testing.assert_close(hidden, whole)
    (gradient,) = torch.autograd.grad(hidden[-1].sum(), inputs)
    assert gradient[:7].count_nonzero() == 0
    assert gradient[7:].count_nonzero() == gradient[7:].numel()


def test_compiled_steps_are_the_steps():
    """Forward and back; catches a compiler that loses what is written in place. It takes its time."""
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler, g++")
    plain = recurrent._step, recurrent._step_back
    layer, inputs = LSTMLayer(3, 4, peephole=True), torch.randn(3, 2, 3)
    results = []
    for compiled in (False, True):
        with recurrent.compiled_steps(compiled):
            outputs, _ = layer(inputs, State(*torch.zeros(2, 2, 4)), 3)
            results.append((outputs, *torch.autograd.grad(outputs.square().sum(), list(layer.parameters()))))
    assert (recurrent._step, recurrent._step_back) == plain
    torch.testing.assert_close(*results)
