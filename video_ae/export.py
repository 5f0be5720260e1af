"""Models for places without this package: ONNX files and `torch.export` programs.

ONNX graphs are built operator by operator, one `LSTM` per layer. Tracing would unroll the recurrence, a loop in Python,
for one number of frames; here clips, frames, lengths and future steps may be as many as they like. In the graph
sequences are time-major, (T, B', D), and B' counts a sequence for every clip and patch position.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .checkpoint import write_bytes
from .config import FUTURE, LOGISTIC, RECONSTRUCTION, ModelConfig
from .extras import import_extra
from .models import Decoder, Encoder, LSTMAutoencoder
from .recurrent import LSTM, LSTMLayer

_OPSET, _IR_VERSION = 17, 8  # of 2022: nothing here needs newer ones, and older runtimes read the file too
_LARGEST = 2**31 - 2**20  # bytes of weights: a protobuf message has to stay below 2 GiB
_DOC = (
    "frames: float, in data range (pictures 0 to 1). lengths: how many frames each clip has, 1 to time; what follows"
    " does not matter. steps: how many future frames to predict, at least 1. code: the code of each clip."
    " reconstruction, future: frames in data range and in time order; zeros after the end of each reconstruction."
)


def export_onnx(model: LSTMAutoencoder, path: Path | str, *, encoder_only: bool = False) -> None:
    """Write `model`, or its encoder, as an ONNX file for any number of clips, frames and steps.

    Inputs: `frames` float32 (batch, time, C, H, W) in data range, (batch, time, D) of a model of features; `lengths`
    int64 (batch,), each 1 to time, where padding may hold anything; `steps` int64 scalar, how many future frames, at
    least 1, where there is a future decoder.

    Outputs: `code` (batch, code_size), what `model.encode` gives, of a variational model the mean; of the whole model
    also `reconstruction` (batch, time, ...) and `future` (batch, steps, ...), those that there are, as
    `model.reconstruct` and `model.predict` give them for float frames.

    Raises ImportError without the extra `export`, and ValueError for a convolutional LSTM and for weights of 2 GiB,
    too many for one file.
    """
    if model.config.convolutional:
        raise ValueError(f"{path}: a convolutional LSTM has no ONNX export; its encoder has torch.export (--help)")
    onnx = import_extra("onnx", "export")
    exported = model.encoder if encoder_only else model
    size = 4 * sum(parameter.numel() for parameter in exported.parameters())
    if size > _LARGEST:
        raise ValueError(f"{path}: the weights take {size / 2**30:.1f} GiB, an ONNX file holds less than 2 GiB")
    graph = _Graph(onnx)
    if encoder_only:
        _Clips.read(graph, model.encoder).encode(graph, model.encoder)
    else:
        _whole_model(graph, model)
    proto = onnx.helper.make_model(
        graph.proto("encoder" if encoder_only else "autoencoder", *_inputs_and_outputs(graph, model, encoder_only)),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="video-ae",
        doc_string=_DOC,
    )
    onnx.helper.set_model_props(proto, {"config": json.dumps(asdict(model.config))})
    onnx.checker.check_model(proto, full_check=True)
    write_bytes(Path(path), proto.SerializeToString())


def run_onnx(path: Path | str, frames: Tensor, lengths: Tensor, steps: int = 1) -> dict[str, Tensor]:
    """What onnxruntime makes of a file of `export_onnx`: tensors by the names of its outputs.

    Raises ImportError without the extra `export`.
    """
    onnxruntime = import_extra("onnxruntime", "export")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    values = {"frames": frames, "lengths": lengths, "steps": torch.tensor(steps)}
    given = {node.name: values[node.name].numpy() for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    return {name: torch.from_numpy(value) for name, value in zip(names, session.run(names, given), strict=True)}


def encoder_program(model: LSTMAutoencoder, frames: int) -> torch.export.ExportedProgram:
    """`model.encode` for `torch.export.save`: any number of float clips (B, frames, C, H, W) in data range, no lengths.

    The steps are unrolled, so that the number of frames is fixed. The program is on the model's device.
    """
    module = _Encode(copy.deepcopy(model.encoder).requires_grad_(False)).eval()
    example = torch.zeros(2, frames, *model.config.frame_shape, device=model.encoder.mean.device)
    return torch.export.export(module, (example,), dynamic_shapes={"clips": {0: torch.export.Dim.DYNAMIC}})


class _Encode(nn.Module):
    """`Encoder.encode` of clips of one length, without the switch of gradients that an export cannot follow."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, T, C, H, W) to codes (B, code_size)."""
        _, states = self.encoder(self.encoder.to_vectors(clips))
        return self.encoder.clip_code(states, clips.shape[0])


class _Graph:
    """An ONNX graph under construction; its methods return the names of what they add.

    The body of a loop is a graph with an `outer` one, which holds its constants. Names are unique in both together.
    """

    def __init__(self, onnx: Any, outer: _Graph | None = None) -> None:
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

    def value(self, name: str, shape: Sequence[int | str], kind: str = "FLOAT") -> Any:
        """An input or output: its name, its shape, with names for what is open, and its type."""
        return self.onnx.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, kind), shape)

    def proto(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any], constants: bool = True) -> Any:
        """The finished graph."""
        return self.onnx.helper.make_graph(self.nodes, name, inputs, outputs, self.constants if constants else [])


def _inputs_and_outputs(graph: _Graph, model: LSTMAutoencoder, encoder_only: bool) -> tuple[list[Any], list[Any]]:
    """What goes in and comes out, see `export_onnx`."""
    config, frame = model.config, _frame(model.config)
    inputs = [graph.value("frames", ["batch", "time", *frame]), graph.value("lengths", ["batch"], "INT64")]
    grid = _grid(config)
    code_size = grid.rows * grid.columns * (config.code_size or config.hidden_sizes[-1])
    outputs = [graph.value("code", ["batch", code_size])]
    if not encoder_only:
        if FUTURE in config.decoders:
            inputs.append(graph.value("steps", [], "INT64"))
        times = {RECONSTRUCTION: "time", FUTURE: "steps"}
        outputs += [graph.value(name, ["batch", times[name], *frame]) for name in config.decoders]
    return inputs, outputs


def _frame(config: ModelConfig) -> tuple[int, ...]:
    """The shape of one frame: (C, H, W), or (D,) of a model of features, as its data come."""
    return config.frame_shape[:1] if config.features and config.patch_size is None else config.frame_shape


class _Grid(NamedTuple):
    """Positions of patches and their sides in pixels; a whole frame is a patch of its own size."""

    rows: int
    columns: int
    height: int
    width: int


def _grid(config: ModelConfig) -> _Grid:
    _, height, width = config.frame_shape
    if config.patch_size is None:
        return _Grid(1, 1, height, width)
    return _Grid(height // config.patch_size, width // config.patch_size, config.patch_size, config.patch_size)


class _State(NamedTuple):
    """Hidden state and cell of one layer, both (1, B', hidden)."""

    hidden: str
    cell: str


class _Clips(NamedTuple):
    """The names of what the graph was given, as its LSTMs read it."""

    sequences: str  # float (T, B', D), zeros after each end
    present: str  # bool (T, B', 1): whether a step is before its sequence's end
    lengths: str  # int64 (B')
    time: str  # int64 (1), T
    rows: str  # int64 (1), B'

    @classmethod
    def read(cls, graph: _Graph, encoder: Encoder) -> _Clips:
        """Frames to vectors; they are masked last, so that even NaN in the padding is gone."""
        grid, channels = _grid(encoder.config), encoder.config.frame_shape[0]
        cut = graph.constant([0, 0, channels, grid.rows, grid.height, grid.columns, grid.width])  # 0: as it was
        patches = graph.add("Transpose", graph.add("Reshape", "frames", cut), perm=[1, 0, 3, 5, 2, 4, 6])
        vectors = graph.add("Reshape", patches, graph.constant([0, -1, encoder.config.vector_size]))
        if encoder.config.output != LOGISTIC:
            mean, std = _scale(graph, encoder)
            vectors = graph.add("Div", graph.add("Sub", vectors, mean), std)
        time, rows = (graph.add("Shape", vectors, start=axis, end=axis + 1) for axis in (0, 1))

        of_clips = graph.add("Unsqueeze", "lengths", graph.constant([1]))
        of_positions = graph.add("Expand", of_clips, graph.constant([1, grid.rows * grid.columns]))
        lengths = graph.add("Reshape", of_positions, graph.constant([-1]))
        steps = graph.add("Range", graph.constant(0), graph.add("Squeeze", time), graph.constant(1))
        present = graph.add("Less", graph.add("Unsqueeze", steps, graph.constant([1])), lengths)  # (T, B')
        present = graph.add("Unsqueeze", present, graph.constant([2]))
        sequences = graph.add("Where", present, vectors, graph.constant(torch.zeros(1)))
        return cls(sequences, present, lengths, time, rows)

    def encode(self, graph: _Graph, encoder: Encoder) -> tuple[list[_State], str]:
        """Every layer's last state and the code (1, B', code_size); the graph's output `code` is made of it."""
        _, states = _lstm(graph, encoder.lstm, self.sequences, [_State("", "")] * len(encoder.lstm.layers), self)
        code = states[-1].hidden
        if encoder.bottleneck is not None:
            size = encoder.config.code_size  # the rest of a variational one is the variance
            code = _linear(graph, code, encoder.bottleneck.weight[:size], encoder.bottleneck.bias[:size])
        grid = _grid(encoder.config)
        size = encoder.config.code_size or encoder.config.hidden_sizes[-1]
        graph.add("Reshape", code, graph.constant([-1, grid.rows * grid.columns * size]), output="code")
        return states, code

    def last(self, graph: _Graph, size: int) -> str:
        """The last vector of every sequence, (1, B', D)."""
        ends = graph.add("Sub", self.lengths, graph.constant([1]))
        rows = graph.add("Unsqueeze", ends, graph.constant([0, 2]))  # (1, B', 1)
        return graph.add("GatherElements", self.sequences, graph.add("Expand", rows, graph.constant([1, 1, size])))


def _whole_model(graph: _Graph, model: LSTMAutoencoder) -> None:
    """Encoder and decoders; the outputs have the decoders' names."""
    encoder, size = model.encoder, model.config.vector_size
    clips = _Clips.read(graph, encoder)
    states, code = clips.encode(graph, encoder)
    for name, decoder in model.decoders.items():
        assert isinstance(decoder, Decoder)
        if name == RECONSTRUCTION:
            nothing = _zeros(graph, graph.constant([1]), clips.rows, size)
            outputs = _decode(graph, decoder, states, code, nothing, clips.time, clips)
            outputs = graph.add("ReverseSequence", outputs, clips.lengths, batch_axis=1, time_axis=0)
        else:
            steps = graph.add("Reshape", "steps", graph.constant([1]))
            outputs = _decode(graph, decoder, states, code, clips.last(graph, size), steps, clips)
        if model.config.output != LOGISTIC:
            mean, std = _scale(graph, encoder)
            outputs = graph.add("Add", graph.add("Mul", outputs, std), mean)
        if name == RECONSTRUCTION:
            outputs = graph.add("Where", clips.present, outputs, graph.constant(torch.zeros(1)))
        _to_frames(graph, model.config, outputs, name)


def _to_frames(graph: _Graph, config: ModelConfig, vectors: str, output: str) -> None:
    """Vectors (T, B', D) to the output (B, T, *frame): the inverse of what `_Clips.read` begins with."""
    grid = _grid(config)
    shape = [0, -1, grid.rows, grid.columns, config.frame_shape[0], grid.height, grid.width]
    patches = graph.add("Reshape", vectors, graph.constant(shape))
    in_place = graph.add("Transpose", patches, perm=[1, 0, 4, 2, 5, 3, 6])
    graph.add("Reshape", in_place, graph.constant([0, 0, *_frame(config)]), output=output)


def _scale(graph: _Graph, encoder: Encoder) -> tuple[str, str]:
    """Mean and deviation of every number in a vector, both (D,): each channel's as often as a patch has pixels."""
    grid = _grid(encoder.config)
    mean, std = (values.repeat_interleave(grid.height * grid.width) for values in (encoder.mean, encoder.std))
    return graph.constant(mean), graph.constant(std)


def _decode(
    graph: _Graph, decoder: Decoder, states: list[_State], code: str, first_input: str, steps: str, clips: _Clips
) -> str:
    """What the output units of a free-running decoder emit, (T, B', D), in the order in which it decodes."""
    states = _first_states(graph, decoder, states, code, clips)
    if decoder.conditional:
        return _run_free(graph, decoder, states, code, first_input, steps)
    if decoder.repeat_code:
        inputs = graph.add("Expand", code, graph.add("Concat", steps, graph.constant([1, 1]), axis=0))
    else:
        inputs = _zeros(graph, steps, clips.rows, 1)  # the operator must have an input: its weights are zeros
    hidden, _ = _lstm(graph, decoder.lstm, inputs, states, None)
    return _emit(graph, decoder, hidden)


def _first_states(graph: _Graph, decoder: Decoder, states: list[_State], code: str, clips: _Clips) -> list[_State]:
    """What the decoder starts from: zeros, the encoder's states, or states made of the code."""
    sizes = decoder.lstm.hidden_sizes
    if decoder.repeat_code:
        one = graph.constant([1])
        return [_State(*[_zeros(graph, one, clips.rows, size)] * 2) for size in sizes]
    if decoder.from_code is None:
        return states
    parts = [_State(graph.name("hidden"), graph.name("cell")) for _ in sizes]
    made = _linear(graph, code, decoder.from_code.weight, decoder.from_code.bias)
    widths = graph.constant([size for size in sizes for _ in _State._fields])
    graph.add_many("Split", [name for part in parts for name in part], made, widths, axis=2)
    return [_State(graph.add("Tanh", hidden), cell) for hidden, cell in parts]


def _run_free(graph: _Graph, decoder: Decoder, states: list[_State], code: str, first_input: str, steps: str) -> str:
    """A `Loop` whose body is one step that reads what the one before emitted, (T, B', D)."""
    body, size = _Graph(graph.onnx, graph), decoder.readout.out_features
    step, go_on, vector = body.name("step"), body.name("go_on"), body.name("vector")
    before = [_State(body.name("hidden"), body.name("cell")) for _ in states]
    inputs = body.add("Concat", vector, code, axis=2) if decoder.repeat_code else vector
    hidden, after = _lstm(body, decoder.lstm, inputs, before, None)
    emitted = _emit(body, decoder, hidden)  # (1, B', D)

    sizes = [size, *(layer_size for layer_size in decoder.lstm.hidden_sizes for _ in _State._fields)]
    read = [vector, *itertools.chain.from_iterable(before)]
    written = [emitted, *itertools.chain.from_iterable(after)]
    frame = body.add("Squeeze", emitted, body.constant([0]))  # outputs are stacked on a new axis
    going_on = body.add("Identity", go_on)

    def values(names: list[str]) -> list[Any]:
        return [body.value(name, [1, "sequences", width]) for name, width in zip(names, sizes, strict=True)]

    proto = body.proto(
        "step",
        [body.value(step, [], "INT64"), body.value(go_on, [], "BOOL"), *values(read)],
        [body.value(going_on, [], "BOOL"), *values(written), body.value(frame, ["sequences", size])],
        constants=False,
    )
    outputs = [graph.name("last") for _ in written] + [graph.name("outputs")]
    started = [first_input, *itertools.chain.from_iterable(states)]
    return graph.add_many("Loop", outputs, steps, "", *started, body=proto)[-1]


def _emit(graph: _Graph, decoder: Decoder, hidden: str) -> str:
    """The output units, (T, B', D), of hidden states (T, B', hidden)."""
    outputs = _linear(graph, hidden, decoder.readout.weight, decoder.readout.bias)
    return graph.add("Sigmoid", outputs) if decoder.output == LOGISTIC else outputs


def _lstm(
    graph: _Graph, lstm: LSTM, inputs: str, states: Sequence[_State], clips: _Clips | None
) -> tuple[str, list[_State]]:
    """All layers over inputs (T, B', D): the top one's hidden states (T, B', hidden) and every one's last state.

    With `clips` that is the state at each sequence's own end. States named "" are zeros.
    """
    lengths = "" if clips is None else graph.add("Cast", clips.lengths, to=graph.onnx.TensorProto.INT32)
    last_states = []
    for layer, state in zip(lstm.layers, states, strict=True):
        assert isinstance(layer, LSTMLayer)
        outputs = [graph.name("hidden") for _ in range(3)]
        weights = [graph.constant(tensor[None]) for tensor in _onnx_weights(layer)]
        operands = [inputs, *weights[:3], lengths, *state, *weights[3:]]
        hidden, *last = graph.add_many("LSTM", outputs, *operands, hidden_size=layer.hidden_size)
        inputs = graph.add("Squeeze", hidden, graph.constant([1]))  # (T, directions, B', hidden) has one direction
        last_states.append(_State(*last))
    return inputs, last_states


def _onnx_weights(layer: LSTMLayer) -> list[Tensor]:
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


def _linear(graph: _Graph, inputs: str, weight: Tensor, bias: Tensor) -> str:
    """(T, B', in) to (T, B', out)."""
    return graph.add("Add", graph.add("MatMul", inputs, graph.constant(weight.T)), graph.constant(bias))


def _zeros(graph: _Graph, steps: str, sequences: str, size: int) -> str:
    """(steps, sequences, size) zeros; the first two are names of tensors (1)."""
    shape = graph.add("Concat", steps, sequences, graph.constant([size]), axis=0)
    return graph.add("Expand", graph.constant(torch.zeros(1, 1, 1)), shape)
