"""ONNX graphs under construction, and the layers of this package in them.

Sequences are time-major, (T, B', D), and B' counts a sequence for every clip and patch position. A dense layer is the
operator `LSTM`. A convolutional one, for which there is none, is a `Scan` whose body is a step; its maps are the same
sequences, put back on their grid for each convolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..matching import Matching
from ..motion import LEAST, MOVES, Motion
from ..recurrent import LSTM, LSTMLayer


class Graph:
    """An ONNX graph under construction; its methods return the names of what they add.

    The body of a loop is a graph with an `outer` one, which holds its constants. Names are unique in both together.
    """

    def __init__(self, onnx: Any, outer: Graph | None = None) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = outer.constants if outer else []
        self.numbers: Iterator[int] = outer.numbers if outer else itertools.count()

    def name(self, what: str) -> str:
        return f"{what}_{next(self.numbers)}"

    def constant(self, value: Tensor | Sequence[int] | int) -> str:
        """Weights, as float32, or whole numbers, as int64."""
        tensor = value.detach().cpu().float() if isinstance(value, Tensor) else torch.tensor(value)
        name = self.name("constant")
        self.constants.append(self.onnx.numpy_helper.from_array(tensor.contiguous().numpy(), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """An operator with one output."""
        return self.add_many(operator, [output or self.name(operator.lower())], *inputs, **attributes)[0]

    def add_many(self, operator: str, outputs: Sequence[str], *inputs: str, **attributes: Any) -> Sequence[str]:
        """An operator with several outputs, whose names are given."""
        node = self.onnx.helper.make_node(operator, inputs, outputs, self.name(operator), **attributes)
        self.nodes.append(node)
        return outputs

    def shape(self, *sizes: int | str) -> str:
        """A shape of numbers, -1 for what follows from the others, and of names of int64 (1)."""
        return self.add("Concat", *(size if isinstance(size, str) else self.constant([size]) for size in sizes), axis=0)

    def value(self, name: str, shape: Sequence[int | str], kind: str = "FLOAT") -> Any:
        """An input or output: its name, its shape, with names for what is open, and its type."""
        return self.onnx.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, kind), shape)

    def proto(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any], constants: bool = True) -> Any:
        """The finished graph."""
        return self.onnx.helper.make_graph(self.nodes, name, inputs, outputs, self.constants if constants else [])


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
    return graph.add("Add", graph.add("MatMul", inputs, graph.constant(weight.T)), graph.constant(bias))


def zeros(graph: Graph, steps: str, sequences: str, size: int) -> str:
    """(steps, sequences, size) zeros; the first two are names of int64 (1)."""
    return graph.add("Expand", graph.constant(torch.zeros(1, 1, 1)), graph.shape(steps, sequences, size))


def matching(graph: Graph, layer: Matching, vectors: str, std: str, grid: Grid) -> str:
    """What `Matching` makes of patch vectors (T, B', D), (T, B', features)."""
    P, reach, shifts = layer.patch_size, layer.reach, layer.shifts
    channels = layer.channels
    scaled = graph.add("Mul", vectors, std)
    cut = graph.shape(0, -1, grid.rows, grid.columns, channels, P, P)
    in_place = graph.add("Transpose", graph.add("Reshape", scaled, cut), perm=[0, 1, 4, 2, 5, 3, 6])
    height, width = (graph.add("Mul", side, graph.constant([P])) for side in (grid.rows, grid.columns))
    frames = graph.add("Reshape", in_place, graph.shape(0, -1, channels, height, width))  # (T, B, C, H, W)
    one = graph.constant([1])
    first = graph.add("Slice", frames, graph.constant([0]), one, graph.constant([0]))
    earlier = graph.add("Slice", frames, graph.constant([0]), graph.constant([-1]), graph.constant([0]))
    before = graph.add("Concat", first, earlier, axis=0)  # of the first frame itself, for a moment
    as_maps = graph.shape(-1, 1, height, width)
    kernels = torch.eye(shifts**2).unflatten(1, (1, shifts, shifts))  # one for each shift
    moved = graph.add("Conv", graph.add("Reshape", before, as_maps), graph.constant(kernels), pads=[reach] * 4)
    off = graph.add("Sub", moved, graph.add("Reshape", frames, as_maps))  # (T * B * C, features, H, W)
    squares = graph.add("Mul", off, off)
    apart = graph.add("Reshape", squares, graph.shape(-1, channels, layer.features, height, width))
    of_pixels = graph.add("ReduceSum", apart, graph.constant([1]), keepdims=0)
    means = graph.add("AveragePool", of_pixels, kernel_shape=[P, P], strides=[P, P])
    costs = graph.add("Transpose", means, perm=[0, 2, 3, 1])  # (T * B, rows, columns, features)
    shares = graph.add(
        "Softmax", graph.add("Mul", costs, graph.constant(torch.tensor(-layer.sharpness * P**2))), axis=-1
    )
    centred = graph.add("Sub", shares, graph.constant(torch.tensor(1 / layer.features)))
    found = graph.add("Mul", centred, graph.constant(torch.tensor(float(shifts))))
    time, sequences = (graph.add("Shape", vectors, start=axis, end=axis + 1) for axis in (0, 1))
    by_step = graph.add("Reshape", found, graph.shape(time, sequences, layer.features))
    nothing = zeros(graph, one, sequences, layer.features)
    later = graph.add("Slice", by_step, one, time, graph.constant([0]))
    return graph.add("Concat", nothing, later, axis=0)


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
    ends = "" if lengths is None else graph.add("Cast", lengths, to=graph.onnx.TensorProto.INT32)
    outputs = [graph.name("hidden") for _ in range(3)]
    weights = [graph.constant(tensor[None]) for tensor in onnx_weights(layer)]
    operands = [inputs, *weights[:3], ends, *state, *weights[3:]]
    hidden, *last = graph.add_many("LSTM", outputs, *operands, hidden_size=layer.hidden_size)
    # (T, directions, B', hidden) has one direction
    return graph.add("Squeeze", hidden, graph.constant([1])), State(*last)


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
        sums = graph.add("Add", inputs, graph.constant(layer.bias))  # zeros (T, B', 1) to (T, B', 4 * hidden)
    else:
        sums = convolution(graph, inputs, layer.weight_input, grid, layer.bias)
    body = Graph(graph.onnx, graph)
    before = State(body.name("hidden"), body.name("cell"))
    of_step, present = body.name("sums"), body.name("present")
    hidden_sums = _convolved(body, before.hidden, layer.weight_hidden, grid)
    after = _step(body, layer, body.add("Add", of_step, hidden_sums), before)
    scanned = [body.value(of_step, ["sequences", 4 * size])]
    slices = [sums]
    if lengths is not None:  # the state of a sequence that has ended stays what it is
        after = State(*(body.add("Where", present, new, old) for new, old in zip(after, before, strict=True)))
        scanned.append(body.value(present, ["sequences", 1], "BOOL"))
        slices.append(inside(graph, lengths, graph.add("Shape", inputs, start=0, end=1)))
    emitted = body.add("Identity", after.hidden)
    proto = body.proto(
        "step",
        [*(body.value(name, ["sequences", size]) for name in before), *scanned],
        [body.value(name, ["sequences", size]) for name in (*after, emitted)],
        constants=False,
    )
    one = graph.constant([0])
    start = [graph.add("Squeeze", name, one) for name in state]
    outputs = [graph.name("last"), graph.name("last"), graph.name("hidden")]
    *last, hidden = graph.add_many("Scan", outputs, *start, *slices, body=proto, num_scan_inputs=len(slices))
    return hidden, State(*(graph.add("Unsqueeze", name, one) for name in last))


def inside(graph: Graph, lengths: str, time: str) -> str:
    """bool (T, B', 1): whether a step is before its sequence's end; `time` names T, int64 (1)."""
    steps = graph.add("Range", graph.constant(0), graph.add("Squeeze", time), graph.constant(1))
    present = graph.add("Less", graph.add("Unsqueeze", steps, graph.constant([1])), lengths)  # (T, B')
    return graph.add("Unsqueeze", present, graph.constant([2]))


def convolution(graph: Graph, sequences: str, weight: Tensor, grid: Grid, bias: Tensor | None = None) -> str:
    """(T, B', in) to (T, B', out)."""
    flat = graph.shape(graph.add("Shape", sequences, start=0, end=1), graph.add("Shape", sequences, start=1, end=2), -1)
    return graph.add("Reshape", _convolved(graph, sequences, weight, grid, bias), flat)


def _convolved(graph: Graph, sequences: str, weight: Tensor, grid: Grid, bias: Tensor | None = None) -> str:
    """(..., B', in), on the grid that the positions in B' are of, to (N, out), N counting all but the last."""
    sums, size, reach = len(weight), weight.shape[1], weight.shape[-1] // 2
    maps = graph.add("Reshape", sequences, graph.shape(-1, grid.rows, grid.columns, size))
    channels_first = graph.add("Transpose", maps, perm=[0, 3, 1, 2])
    operands = [graph.constant(tensor) for tensor in (weight, bias) if tensor is not None]
    convolved = graph.add("Conv", channels_first, *operands, pads=[reach] * 4)
    return graph.add("Reshape", graph.add("Transpose", convolved, perm=[0, 2, 3, 1]), graph.constant([-1, sums]))


def _step(graph: Graph, layer: LSTMLayer, sums: str, before: State) -> State:
    """The equations of `LSTMLayer`: sums (B', 4 * hidden) and the state before, (B', hidden), to the one after."""
    i, f, g, o = graph.add_many("Split", [graph.name("gate") for _ in range(4)], sums, axis=1)

    def peeped(gate: str, cell: str, row: int) -> str:
        if layer.peephole is None:
            return gate
        return graph.add("Add", gate, graph.add("Mul", graph.constant(layer.peephole[row]), cell))

    i, f = (graph.add("Sigmoid", peeped(gate, before.cell, row)) for row, gate in enumerate((i, f)))
    cell = graph.add("Add", graph.add("Mul", f, before.cell), graph.add("Mul", i, graph.add("Tanh", g)))
    o = graph.add("Sigmoid", peeped(o, cell, 2))
    return State(graph.add("Mul", o, graph.add("Tanh", cell)), cell)


def motion(graph: Graph, layer: Motion, own: str, features: str, before: str, grid: Grid) -> str:
    """`Motion` of activated content (T, B', D), features (T, B', features) and the frame before all, (1, B', D)."""
    P, size = layer.patch_size, layer.patch_size + 2 * layer.reach  # of a patch, and with what lies around it
    channels = layer.channels
    masks = graph.add("Reshape", linear(graph, features, layer.masks), graph.constant([0, 0, 1 + MOVES, 1, P, P]))
    shares = graph.add(
        "Reshape", linear(graph, features, layer.shifts), graph.constant([0, 0, 2, MOVES, len(layer.bands)])
    )
    moves = graph.add("MatMul", graph.add("Softmax", shares, axis=4), graph.constant(layer.bands.flatten(1)))
    moves = graph.add("Reshape", moves, graph.constant([0, 0, 2, MOVES, P, size]))
    halves = graph.add_many("Split", [graph.name("moves") for _ in range(2)], moves, axis=2)
    slices = [
        graph.add("Reshape", own, graph.constant([0, 0, 1, channels, P, P])),
        graph.add("Softmax", masks, axis=2),
        *(graph.add("Reshape", half, graph.constant([0, 0, MOVES, 1, P, size])) for half in halves),
    ]
    pixels = [_pixels_around(graph, count, layer) for count in (grid.rows, grid.columns)]

    body = Graph(graph.onnx, graph)
    frame, own_now, masks_now, of_rows, of_columns = (body.name("now") for _ in range(5))
    patches = body.add("Reshape", frame, body.shape(-1, grid.rows, grid.columns, channels, P, P))
    height, width = (body.add("Mul", count, body.constant([P])) for count in (grid.rows, grid.columns))
    in_place = body.add("Transpose", patches, perm=[0, 3, 1, 4, 2, 5])
    frames = body.add("Reshape", in_place, body.shape(-1, channels, height, width))
    padded = body.add("Pad", frames, body.constant([0, 0, layer.reach, layer.reach] * 2))
    cut = body.add("Gather", body.add("Gather", padded, pixels[0], axis=2), pixels[1], axis=4)
    around = body.add("Transpose", cut, perm=[0, 2, 4, 1, 3, 5])  # (B, rows, columns, C, size, size)
    around = body.add("Reshape", around, body.constant([-1, 1, channels, size, size]))
    moved = body.add("MatMul", of_rows, around)  # (B', moves, C, P, size)
    moved = body.add("MatMul", moved, body.add("Transpose", of_columns, perm=[0, 1, 2, 4, 3]))
    choices = body.add("Mul", body.add("Concat", own_now, moved, axis=1), masks_now)  # (B', 1 + moves, C, P, P)
    mixed = body.add("ReduceSum", choices, body.constant([1]), keepdims=0)
    after = body.add("Reshape", mixed, body.constant([0, channels * P * P]))
    if layer.logistic:
        after = body.add("Clip", after, *(body.constant(torch.tensor(limit)) for limit in (LEAST, 1 - LEAST)))
    shapes = [[channels * P * P], [1, channels, P, P], [1 + MOVES, 1, P, P], *[[MOVES, 1, P, size]] * 2]
    names = (frame, own_now, masks_now, of_rows, of_columns)
    proto = body.proto(
        "step",
        [body.value(name, ["sequences", *shape]) for name, shape in zip(names, shapes, strict=True)],
        [body.value(name, ["sequences", *shapes[0]]) for name in (after, body.add("Identity", after))],
        constants=False,
    )
    start = graph.add("Squeeze", before, graph.constant([0]))
    outputs = [graph.name("last"), graph.name("frames")]
    return graph.add_many("Scan", outputs, start, *slices, body=proto, num_scan_inputs=len(slices))[-1]


def _pixels_around(graph: Graph, patches: str, layer: Motion) -> str:
    """Which rows, or columns, of a padded frame each of its patches sees: int64 (patches, P + 2 * reach)."""
    count = graph.add("Squeeze", patches)
    first = graph.add(
        "Mul", graph.add("Range", graph.constant(0), count, graph.constant(1)), graph.constant(layer.patch_size)
    )
    offsets = graph.constant(list(range(layer.patch_size + 2 * layer.reach)))
    return graph.add("Add", graph.add("Unsqueeze", first, graph.constant([1])), offsets)
