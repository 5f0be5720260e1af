"""ONNX graphs under construction, and the layers of this package in them.

Sequences are time-major, (T, B', D), and B' counts a sequence for every clip and patch position. A dense layer is the
operator `LSTM`. A convolutional one, for which there is none, is a `Scan` whose body is a step; its maps are the same
sequences, put back on their grid for each convolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..matching import Matching
from ..motion import LEAST, MOVES, Motion
from ..recurrent import LSTM, LSTMLayer

Operand = str | Tensor | Sequence[int | str] | float  # a name, or what becomes a constant


class Graph:
    """An ONNX graph under construction. `graph.Add(x, [1])` adds the operator `Add` and returns its output's name.

    Inputs are names, or values that become constants: tensors as float32, whole numbers as int64. A list with names in
    it is a shape, of which the named sizes are int64 (1). Attributes are keywords; `output` names the output.

    The body of a loop is a graph with an `outer` one, which holds its constants. Names are unique in both together.
    """

    def __init__(self, onnx: Any, outer: Graph | None = None) -> None:
        self.onnx, self.outer = onnx, outer
        self.nodes: list[Any] = []
        self.constants: list[Any] = outer.constants if outer else []
        self.numbers: Iterator[int] = outer.numbers if outer else itertools.count()

    def __getattr__(self, operator: str) -> Callable[..., str]:
        if not operator[0].isupper():
            raise AttributeError(operator)

        def add(*inputs: Operand, output: str | None = None, **attributes: Any) -> str:
            return self._add(operator, [output or self.name(operator.lower())], inputs, attributes)[0]

        return add

    def add(self, operator: str, outputs: int, *inputs: Operand, **attributes: Any) -> list[str]:
        """An operator with several outputs; returns their names."""
        return self._add(operator, [self.name(operator.lower()) for _ in range(outputs)], inputs, attributes)

    def _add(
        self, operator: str, outputs: list[str], inputs: Sequence[Operand], attributes: dict[str, Any]
    ) -> list[str]:
        operands = [self.constant(value) for value in inputs]
        self.nodes.append(self.onnx.helper.make_node(operator, operands, outputs, self.name(operator), **attributes))
        return outputs

    def name(self, what: str) -> str:
        return f"{what}_{next(self.numbers)}"

    def constant(self, value: Operand) -> str:
        """The name of an operand."""
        if isinstance(value, str):
            return value
        if isinstance(value, Sequence) and any(isinstance(size, str) for size in value):
            return self.Concat(*(size if isinstance(size, str) else [size] for size in value), axis=0)
        tensor = value.detach().cpu().float() if isinstance(value, Tensor) else torch.tensor(value)
        name = self.name("constant")
        self.constants.append(self.onnx.numpy_helper.from_array(tensor.contiguous().numpy(), name))
        return name

    def size(self, tensor: str, axis: int) -> str:
        """int64 (1), the size of one axis."""
        return self.Shape(tensor, start=axis, end=axis + 1)

    def value(self, name: str, shape: Sequence[int | str], kind: str = "FLOAT") -> Any:
        """An input or output: its name, its shape, with names for sizes that vary, and its type."""
        return self.onnx.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, kind), shape)

    def proto(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """The finished graph."""
        return self.onnx.helper.make_graph(self.nodes, name, inputs, outputs, [] if self.outer else self.constants)


class Grid(NamedTuple):
    """Positions of patches, names of int64 (1), and their sides in pixels; a whole frame is a patch of its own size."""

    rows: str
    columns: str
    height: int
    width: int


class State(NamedTuple):
    """Hidden state and cell of one layer, both (1, B', hidden)."""

    hidden: str
    cell: str


def linear(graph: Graph, inputs: str, layer: nn.Linear, outputs: int | None = None) -> str:
    """(T, B', in) to (T, B', out), or to the first `outputs` of these."""
    weight, bias = layer.weight[:outputs], layer.bias[:outputs]
    return graph.Add(graph.MatMul(inputs, weight.T), bias)


def zeros(graph: Graph, *shape: int | str) -> str:
    """Zeros of a shape of numbers and of names of int64 (1)."""
    return graph.Expand(0.0, list(shape))


def matching(graph: Graph, layer: Matching, vectors: str, std: str, grid: Grid) -> str:
    """What `Matching` makes of patch vectors (T, B', D), (T, B', features)."""
    P, reach, shifts, channels = layer.patch_size, layer.reach, layer.shifts, layer.channels
    patches = graph.Reshape(graph.Mul(vectors, std), [0, -1, grid.rows, grid.columns, channels, P, P])
    in_place = graph.Transpose(patches, perm=[0, 1, 4, 2, 5, 3, 6])
    height, width = (graph.Mul(side, [P]) for side in (grid.rows, grid.columns))
    frames = graph.Reshape(in_place, [0, -1, channels, height, width])  # (T, B, C, H, W)
    first, earlier = (graph.Slice(frames, [0], [stop], [0]) for stop in (1, -1))
    before = graph.Concat(first, earlier, axis=0)  # the first frame stands in for what came before it
    as_maps = [-1, 1, height, width]
    kernels = torch.eye(shifts**2).unflatten(1, (1, shifts, shifts))  # one for each shift
    moved = graph.Conv(graph.Reshape(before, as_maps), kernels, pads=[reach] * 4)
    error = graph.Sub(moved, graph.Reshape(frames, as_maps))  # (T * B * C, features, H, W)
    squares = graph.Reshape(graph.Mul(error, error), [-1, channels, layer.features, height, width])
    means = graph.AveragePool(graph.ReduceSum(squares, [1], keepdims=0), kernel_shape=[P, P], strides=[P, P])
    costs = graph.Transpose(means, perm=[0, 2, 3, 1])  # (T * B, rows, columns, features)
    shares = graph.Softmax(graph.Mul(costs, float(-layer.sharpness * P**2)), axis=-1)
    found = graph.Mul(graph.Sub(shares, 1 / layer.features), float(shifts))
    time, sequences = (graph.size(vectors, axis) for axis in (0, 1))
    by_step = graph.Reshape(found, [time, sequences, layer.features])
    return graph.Concat(zeros(graph, 1, sequences, layer.features), graph.Slice(by_step, [1], time, [0]), axis=0)


def recurrence(
    graph: Graph, lstm: LSTM, inputs: str, states: Sequence[State], grid: Grid, lengths: str | None = None
) -> tuple[str, list[State]]:
    """All layers over inputs (T, B', D): the top one's hidden states (T, B', hidden) and every one's last state.

    With `lengths` int64 (B') that is the state at each sequence's own end. Layers without input are given zeros
    (T, B', 1).
    """
    last_states = []
    for layer, state in zip(lstm.layers, states, strict=True):
        assert isinstance(layer, LSTMLayer)
        if layer.weight_hidden.ndim == 2:
            inputs, last = _dense(graph, layer, inputs, state, lengths)
        else:
            inputs, last = _convolutional(graph, layer, inputs, state, grid, lengths)
        last_states.append(last)
    return inputs, last_states


def _dense(graph: Graph, layer: LSTMLayer, inputs: str, state: State, lengths: str | None) -> tuple[str, State]:
    ends = "" if lengths is None else graph.Cast(lengths, to=graph.onnx.TensorProto.INT32)
    weights = [tensor[None] for tensor in onnx_weights(layer)]
    operands: list[Operand] = [inputs, *weights[:3], ends, *state, *weights[3:]]
    hidden, *last = graph.add("LSTM", 3, *operands, hidden_size=layer.hidden_size)
    return graph.Squeeze(hidden, [1]), State(*last)  # (T, directions, B', hidden) has one direction


def onnx_weights(layer: LSTMLayer) -> list[Tensor]:
    """The operator's W, R, B and, with peepholes, P. Its gates are in the order i, o, f, c, ours in i, f, g, o."""

    def gates(rows: Tensor) -> Tensor:
        i, f, g, o = rows.detach().chunk(4)
        return torch.cat([i, o, f, g])

    bias = gates(layer.bias)
    weight_input = bias.new_zeros(len(bias), 1) if layer.weight_input is None else gates(layer.weight_input)
    weights = [weight_input, gates(layer.weight_hidden), torch.cat([bias, torch.zeros_like(bias)])]
    if layer.peephole is not None:
        i, f, o = layer.peephole.detach()
        weights.append(torch.cat([i, o, f]))
    return weights


def _convolutional(
    graph: Graph, layer: LSTMLayer, inputs: str, state: State, grid: Grid, lengths: str | None
) -> tuple[str, State]:
    """`LSTMLayer` step by step; the inputs' convolution is one over all steps, as there."""
    size = layer.hidden_size
    if layer.weight_input is None:
        gates = graph.Add(inputs, layer.bias)  # zeros (T, B', 1) to (T, B', 4 * hidden)
    else:
        gates = convolution(graph, inputs, layer.weight_input, grid, layer.bias)
    body = Graph(graph.onnx, graph)
    before = State(body.name("hidden"), body.name("cell"))
    of_step, present = body.name("gates"), body.name("present")
    after = _step(body, layer, body.Add(of_step, _convolved(body, before.hidden, layer.weight_hidden, grid)), before)
    scanned = [body.value(of_step, ["sequences", 4 * size])]
    slices = [gates]
    if lengths is not None:  # the state of a sequence that has ended stays what it is
        after = State(*(body.Where(present, new, old) for new, old in zip(after, before, strict=True)))
        scanned.append(body.value(present, ["sequences", 1], "BOOL"))
        slices.append(inside(graph, lengths, graph.size(inputs, 0)))
    emitted = body.Identity(after.hidden)
    proto = body.proto(
        "step",
        [*(body.value(name, ["sequences", size]) for name in before), *scanned],
        [body.value(name, ["sequences", size]) for name in (*after, emitted)],
    )
    start = [graph.Squeeze(name, [0]) for name in state]
    *last, hidden = graph.add("Scan", 3, *start, *slices, body=proto, num_scan_inputs=len(slices))
    return hidden, State(*(graph.Unsqueeze(name, [0]) for name in last))


def inside(graph: Graph, lengths: str, time: str) -> str:
    """bool (T, B', 1): whether a step is before its sequence's end; `time` names T, int64 (1)."""
    steps = graph.Range(0, graph.Squeeze(time), 1)
    present = graph.Less(graph.Unsqueeze(steps, [1]), lengths)  # (T, B')
    return graph.Unsqueeze(present, [2])


def convolution(graph: Graph, sequences: str, weight: Tensor, grid: Grid, bias: Tensor | None = None) -> str:
    """(T, B', in) to (T, B', out)."""
    flat = [graph.size(sequences, 0), graph.size(sequences, 1), -1]
    return graph.Reshape(_convolved(graph, sequences, weight, grid, bias), flat)


def _convolved(graph: Graph, sequences: str, weight: Tensor, grid: Grid, bias: Tensor | None = None) -> str:
    """(..., B', in), on the grid that the positions in B' are of, to (N, out), N counting all but the last."""
    outputs, size, reach = len(weight), weight.shape[1], weight.shape[-1] // 2
    maps = graph.Reshape(sequences, [-1, grid.rows, grid.columns, size])
    channels_first = graph.Transpose(maps, perm=[0, 3, 1, 2])
    operands = [tensor for tensor in (weight, bias) if tensor is not None]
    convolved = graph.Conv(channels_first, *operands, pads=[reach] * 4)
    return graph.Reshape(graph.Transpose(convolved, perm=[0, 2, 3, 1]), [-1, outputs])


def _step(graph: Graph, layer: LSTMLayer, gates: str, before: State) -> State:
    """The equations of `LSTMLayer`: gates (B', 4 * hidden) and the state before, (B', hidden), to the one after."""
    i, f, g, o = graph.add("Split", 4, gates, axis=1)

    def peeped(gate: str, cell: str, row: int) -> str:
        if layer.peephole is None:
            return gate
        return graph.Add(gate, graph.Mul(layer.peephole[row], cell))

    i, f = (graph.Sigmoid(peeped(gate, before.cell, row)) for row, gate in enumerate((i, f)))
    cell = graph.Add(graph.Mul(f, before.cell), graph.Mul(i, graph.Tanh(g)))
    o = graph.Sigmoid(peeped(o, cell, 2))
    return State(graph.Mul(o, graph.Tanh(cell)), cell)


def motion(graph: Graph, layer: Motion, own: str, features: str, before: str, grid: Grid) -> str:
    """`Motion` of activated content (T, B', D), features (T, B', features) and the frame before all, (1, B', D)."""
    P, size = layer.patch_size, layer.patch_size + 2 * layer.reach  # of a patch, and with what lies around it
    channels, reach = layer.channels, layer.reach
    masks = graph.Reshape(linear(graph, features, layer.masks), [0, 0, 1 + MOVES, 1, P, P])
    shares = graph.Reshape(linear(graph, features, layer.shifts), [0, 0, 2, MOVES, len(layer.bands)])
    moves = graph.MatMul(graph.Softmax(shares, axis=4), layer.bands.flatten(1))
    moves = graph.Reshape(moves, [0, 0, 2, MOVES, P, size])
    halves = graph.add("Split", 2, moves, axis=2)
    slices = [
        graph.Reshape(own, [0, 0, 1, channels, P, P]),
        graph.Softmax(masks, axis=2),
        *(graph.Reshape(half, [0, 0, MOVES, 1, P, size]) for half in halves),
    ]
    pixels = [_pixels_around(graph, count, layer) for count in (grid.rows, grid.columns)]

    body = Graph(graph.onnx, graph)
    frame, own_now, masks_now, of_rows, of_columns = (body.name("now") for _ in range(5))
    patches = body.Reshape(frame, [-1, grid.rows, grid.columns, channels, P, P])
    height, width = (body.Mul(count, [P]) for count in (grid.rows, grid.columns))
    in_place = body.Transpose(patches, perm=[0, 3, 1, 4, 2, 5])
    frames = body.Reshape(in_place, [-1, channels, height, width])
    padded = body.Pad(frames, [0, 0, reach, reach] * 2)
    cut = body.Gather(body.Gather(padded, pixels[0], axis=2), pixels[1], axis=4)
    around = body.Transpose(cut, perm=[0, 2, 4, 1, 3, 5])  # (B, rows, columns, C, size, size)
    around = body.Reshape(around, [-1, 1, channels, size, size])
    moved = body.MatMul(of_rows, around)  # (B', moves, C, P, size)
    moved = body.MatMul(moved, body.Transpose(of_columns, perm=[0, 1, 2, 4, 3]))
    choices = body.Mul(body.Concat(own_now, moved, axis=1), masks_now)  # (B', 1 + moves, C, P, P)
    mixed = body.ReduceSum(choices, [1], keepdims=0)
    after = body.Reshape(mixed, [0, channels * P * P])
    if layer.logistic:
        after = body.Clip(after, LEAST, 1 - LEAST)
    shapes = [[channels * P * P], [1, channels, P, P], [1 + MOVES, 1, P, P], *[[MOVES, 1, P, size]] * 2]
    names = (frame, own_now, masks_now, of_rows, of_columns)
    proto = body.proto(
        "step",
        [body.value(name, ["sequences", *shape]) for name, shape in zip(names, shapes, strict=True)],
        [body.value(name, ["sequences", *shapes[0]]) for name in (after, body.Identity(after))],
    )
    start = graph.Squeeze(before, [0])
    return graph.add("Scan", 2, start, *slices, body=proto, num_scan_inputs=len(slices))[-1]


def _pixels_around(graph: Graph, patches: str, layer: Motion) -> str:
    """Which rows, or columns, of a padded frame each of its patches sees: int64 (patches, P + 2 * reach)."""
    count = graph.Squeeze(patches)
    first = graph.Mul(graph.Range(0, count, 1), layer.patch_size)
    offsets = list(range(layer.patch_size + 2 * layer.reach))
    return graph.Add(graph.Unsqueeze(first, [1]), offsets)
