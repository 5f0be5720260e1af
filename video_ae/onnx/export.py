"""Models for places without this package: ONNX files and `torch.export` programs.

ONNX graphs are built operator by operator, see `layers.py`. Tracing would unroll the recurrence, a loop in
Python, for one number of frames; here clips, frames, lengths and future steps may be as many as they like.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..config import FUTURE, LOGISTIC, RECONSTRUCTION, ModelConfig, from_json
from ..extras import import_extra
from ..files import write_bytes
from ..models import Decoder, Encoder, LSTMAutoencoder
from ..recurrent import LSTM
from .layers import Graph, Grid, State, convolution, inside, linear, matching, motion, recurrence, zeros

_OPSET, _IR_VERSION = 17, 8  # of 2022: nothing here needs newer ones, and older runtimes read the file too
_LARGEST = 2**31 - 2**20  # bytes of weights: a protobuf message has to stay below 2 GiB
ENCODER, MODEL, STEP = PARTS = ("encoder", "model", "step")
_DOC = (
    "frames: float, in data range (pictures 0 to 1), of at least one clip. lengths: how many frames each clip has, 1 to"
    " time; what follows does not matter. steps: how many future frames to predict, at least 1. code: the code of each"
    " clip. reconstruction, future: frames in data range and in time order; zeros after the end of each reconstruction."
)
_DOC_OF_STEP = (
    "frames: one more frame of each stream, float, in data range. Every other input, but steps, is a part of the state:"
    " zeros at first, and then what the output of the same name with _after was. sequences: batch, times the patches of"
    " a frame. code: the code of all frames so far. future: the coming frames."
)
_AFTER, _BEFORE, _BEGUN = "_after", "before", "begun"


def export_onnx(model: LSTMAutoencoder, path: Path | str, part: str = MODEL) -> None:
    """Write one of `PARTS` of `model` as an ONNX file: its encoder or all of it, for any number of clips, frames and
    steps, or one step of `model.stream()`.

    Inputs: `frames` float32 (batch, time, C, H, W) in data range, (batch, time, D) of a model of features, of any H and
    W that the patch size divides where the model is convolutional; `lengths`
    int64 (batch,), each 1 to time, where padding may hold anything; `steps` int64 scalar, how many future frames, at
    least 1, where there is a future decoder.

    Outputs: `code` (batch, code_size), what `model.encode` gives, of a variational model the mean; of the whole model
    also `reconstruction` (batch, time, ...) and `future` (batch, steps, ...), those that there are, as
    `model.reconstruct` and `model.predict` give them for float frames.

    Of a step, `frames` have a time of 1, there are no `lengths`, and the state comes in and goes out: zeros at first,
    and then what the outputs with `_after` at the end of their names were. See `stream_onnx`.

    Raises ImportError without the extra `export`, and ValueError for weights of 2 GiB, too many for one file.
    """
    onnx = import_extra("onnx", "export")
    exported = model.encoder if part == ENCODER else model
    size = 4 * sum(parameter.numel() for parameter in exported.parameters())
    if size > _LARGEST:
        raise ValueError(f"{path}: the weights take {size / 2**30:.1f} GiB, an ONNX file holds less than 2 GiB")
    graph = Graph(onnx)
    inputs, outputs = _inputs_and_outputs(graph, model, part)
    if part == ENCODER:
        clips = _Clips.read(graph, model.encoder)
        clips.encode(graph, model.encoder, clips.no_states(graph, model.encoder.lstm))
    elif part == STEP:
        _step_of_stream(graph, model)
    else:
        _whole_model(graph, model)
    proto = onnx.helper.make_model(
        graph.proto(part, inputs, outputs),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="video-ae",
        doc_string=_DOC_OF_STEP if part == STEP else _DOC,
    )
    onnx.helper.set_model_props(proto, {"config": json.dumps(asdict(model.config))})
    onnx.checker.check_model(proto, full_check=True)
    write_bytes(Path(path), proto.SerializeToString())


def run_onnx(path: Path | str, frames: Tensor, lengths: Tensor, steps: int = 1) -> dict[str, Tensor]:
    """What onnxruntime makes of a file of `export_onnx`: tensors by the names of its outputs.

    Raises ImportError without the extra `export`, and ValueError without clips.
    """
    if not len(frames):
        raise ValueError("found no clips, expected at least one: the LSTM of onnxruntime ends the process without")
    onnxruntime = import_extra("onnxruntime", "export")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    values = {"frames": frames, "lengths": lengths, "steps": torch.tensor(steps)}
    given = {node.name: values[node.name].numpy() for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    return {name: torch.from_numpy(value) for name, value in zip(names, session.run(names, given), strict=True)}


def stream_onnx(path: Path | str, frames: Tensor, steps: int = 1) -> dict[str, Tensor]:
    """What onnxruntime makes of frames (batch, time, ...) in a file with one step, one after another: its outputs after
    each of them, (time, ...). Raises ImportError without the extra `export`."""
    onnxruntime = import_extra("onnxruntime", "export")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    config = from_json(ModelConfig, json.loads(session.get_modelmeta().custom_metadata_map["config"]), str(path))
    pixels = math.prod(frames.shape[3:]) if config.patch_size else 1
    rows = len(frames) * pixels // (config.patch_size or 1) ** 2
    shapes = {node.name: node.shape for node in session.get_inputs() if node.name not in ("frames", "steps")}
    state = {
        name: torch.zeros([rows if side == "sequences" else side for side in shape]) for name, shape in shapes.items()
    }
    names = [node.name for node in session.get_outputs()]
    takes_steps = any(node.name == "steps" for node in session.get_inputs())
    found: dict[str, list[Tensor]] = {name: [] for name in names if not name.endswith(_AFTER)}
    for frame in frames.split(1, dim=1):
        given = state | {"frames": frame} | ({"steps": torch.tensor(steps)} if takes_steps else {})
        made = session.run(names, {name: value.numpy() for name, value in given.items()})
        after = {name: torch.from_numpy(value) for name, value in zip(names, made, strict=True)}
        state = {name: after[name + _AFTER] for name in state}
        for name, values in found.items():
            values.append(after[name])
    return {name: torch.stack(values) for name, values in found.items()}


def encoder_program(model: LSTMAutoencoder, frames: int) -> torch.export.ExportedProgram:
    """`model.encode` for `torch.export.save`: any number of float clips (B, frames, C, H, W) in data range, no lengths.

    The steps are unrolled, so that the number of frames is fixed. The program is on the model's device.
    """
    module = _Encode(copy.deepcopy(model.encoder).requires_grad_(False)).eval()
    example = torch.zeros(2, frames, *model.config.frame_shape, device=model.encoder.mean.device)
    return torch.export.export(module, (example,), dynamic_shapes={"clips": {0: torch.export.Dim.DYNAMIC}})


class _Encode(nn.Module):
    """`Encoder.encode` of any number of clips, all of one length."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, T, C, H, W) to codes (B, code_size)."""
        _, states = self.encoder(self.encoder.to_vectors(clips))
        return self.encoder.clip_code(states, clips.shape[0])


def _inputs_and_outputs(graph: Graph, model: LSTMAutoencoder, part: str) -> tuple[list[Any], list[Any]]:
    """What goes in and comes out, see `export_onnx`."""
    config, frame = model.config, _frame(model.config)
    inputs = [graph.value("frames", ["batch", 1 if part == STEP else "time", *frame])]
    inputs += [graph.value("lengths", ["batch"], "INT64")] if part != STEP else []
    code_size = config.code_size or config.hidden_sizes[-1]
    if not config.convolutional and config.patch_size is not None:
        code_size *= math.prod(config.frame_shape[1:]) // config.patch_size**2
    outputs = [graph.value("code", ["batch", code_size])]
    if part == ENCODER:
        return inputs, outputs
    if FUTURE in config.decoders:
        inputs.append(graph.value("steps", [], "INT64"))
    times = {RECONSTRUCTION: "time", FUTURE: "steps"}
    made = [name for name in config.decoders if part == MODEL or name == FUTURE]
    outputs += [graph.value(name, ["batch", times[name], *frame]) for name in made]
    if part == STEP:
        state = _state(model)
        inputs += [graph.value(name, shape) for name, shape in state.items()]
        outputs += [graph.value(name + _AFTER, shape) for name, shape in state.items()]
    return inputs, outputs


def _state(model: LSTMAutoencoder) -> dict[str, list[int | str]]:
    """The names and shapes of a stream's state: of each layer, and where frames are matched the vectors of the frame
    before and whether there was one."""
    state: dict[str, list[int | str]] = {}
    for layer, size in enumerate(model.encoder.lstm.hidden_sizes):
        state |= {f"{name}_{layer}": [1, "sequences", size] for name in State._fields}
    if model.encoder.matching is not None:
        state |= {_BEFORE: [1, "sequences", model.config.vector_size], _BEGUN: [1]}
    return state


def _step_of_stream(graph: Graph, model: LSTMAutoencoder) -> None:
    """One frame, read after those that left the state."""
    encoder, size = model.encoder, model.config.vector_size
    graph.Expand(1, graph.size("frames", 0), output="lengths")
    clips = _Clips.read(graph, encoder)
    layers = range(len(encoder.lstm.hidden_sizes))
    states = [State(*(f"{name}_{layer}" for name in State._fields)) for layer in layers]
    after, code = clips.encode(graph, encoder, states, goes_on=True)
    for layer, state in enumerate(after):
        for name, value in zip(State._fields, state, strict=True):
            graph.Identity(value, output=f"{name}_{layer}{_AFTER}")
    if encoder.matching is not None:
        graph.Identity(clips.sequences, output=_BEFORE + _AFTER)
        graph.Identity(torch.ones(1), output=_BEGUN + _AFTER)
    if FUTURE in model.decoders:
        decoder = model.decoders[FUTURE]
        assert isinstance(decoder, Decoder)
        steps = graph.Reshape("steps", [1])
        outputs = _decode(graph, decoder, after, code, clips.last(graph, size), steps, clips)
        _to_frames(graph, model, clips.grid, outputs, FUTURE)


def _frame(config: ModelConfig) -> tuple[int | str, ...]:
    """The shape of one frame: (C, H, W), or (D,) of a model of features, as its data come."""
    if config.convolutional:
        return config.frame_shape[0], "height", "width"
    return config.frame_shape[:1] if config.features and config.patch_size is None else config.frame_shape


def _grid(graph: Graph, config: ModelConfig) -> Grid:
    """Of a convolutional model that of the frames that come, else the one that it was built for."""
    _, height, width = config.frame_shape
    P = config.patch_size
    if P is None:
        return Grid(graph.constant([1]), graph.constant([1]), height, width)
    if not config.convolutional:
        return Grid(graph.constant([height // P]), graph.constant([width // P]), P, P)
    rows, columns = (graph.Div(graph.size("frames", axis), [P]) for axis in (3, 4))
    return Grid(rows, columns, P, P)


class _Clips(NamedTuple):
    """The names of what the graph was given, as its LSTMs read it."""

    grid: Grid
    sequences: str  # float (T, B', D), zeros after each end
    present: str  # bool (T, B', 1): whether a step is before its sequence's end
    lengths: str  # int64 (B')
    time: str  # int64 (1), T
    rows: str  # int64 (1), B'

    @classmethod
    def read(cls, graph: Graph, encoder: Encoder) -> _Clips:
        """Frames to vectors; they are masked last, so that even NaN in the padding is gone."""
        grid, channels = _grid(graph, encoder.config), encoder.config.frame_shape[0]
        cut = [0, 0, channels, grid.rows, grid.height, grid.columns, grid.width]  # 0: as it was
        patches = graph.Transpose(graph.Reshape("frames", cut), perm=[1, 0, 3, 5, 2, 4, 6])
        vectors = graph.Reshape(patches, [0, -1, encoder.config.vector_size])
        if encoder.config.output != LOGISTIC:
            mean, std = _scale(graph, encoder, grid)
            vectors = graph.Div(graph.Sub(vectors, mean), std)
        time, rows = (graph.size(vectors, axis) for axis in (0, 1))

        of_positions = graph.Expand(graph.Unsqueeze("lengths", [1]), [1, graph.Mul(grid.rows, grid.columns)])
        lengths = graph.Reshape(of_positions, [-1])
        present = inside(graph, lengths, time)
        sequences = graph.Where(present, vectors, 0.0)
        return cls(grid, sequences, present, lengths, time, rows)

    def encode(
        self, graph: Graph, encoder: Encoder, states: list[State], *, goes_on: bool = False
    ) -> tuple[list[State], str]:
        """Every layer's last state, after what left `states`, and the code (1, B', code_size), of which the graph's
        output `code` is made.

        goes_on: whether the frame `before` these, if any has `begun`, is matched with the first.
        """
        config, lstm = encoder.config, encoder.lstm
        inputs = self.sequences
        if encoder.matching is not None:
            _, std = _scale(graph, encoder, self.grid)
            matched = graph.Concat(_BEFORE, inputs, axis=0) if goes_on else inputs
            matches = matching(graph, encoder.matching, matched, std, self.grid)
            if goes_on:
                matches = graph.Mul(graph.Slice(matches, [1], [2], [0]), _BEGUN)
            inputs = graph.Concat(inputs, matches, axis=2)
        _, states = recurrence(graph, lstm, inputs, states, self.grid, self.lengths)
        code = states[-1].hidden
        if encoder.bottleneck is not None:  # of a variational one the rest is the variance
            code = linear(graph, code, encoder.bottleneck, config.code_size)
        positions = graph.Mul(self.grid.rows, self.grid.columns)
        size = config.code_size or config.hidden_sizes[-1]
        of_clips = graph.Reshape(code, [-1, positions, size])
        if config.convolutional:
            graph.ReduceMean(of_clips, axes=[1], keepdims=0, output="code")
        else:
            graph.Flatten(of_clips, output="code")
        return states, code

    def no_states(self, graph: Graph, lstm: LSTM) -> list[State]:
        """Zeros."""
        return [State(*[zeros(graph, 1, self.rows, size)] * 2) for size in lstm.hidden_sizes]

    def last(self, graph: Graph, size: int) -> str:
        """The last vector of every sequence, (1, B', D)."""
        rows = graph.Unsqueeze(graph.Sub(self.lengths, [1]), [0, 2])  # (1, B', 1)
        return graph.GatherElements(self.sequences, graph.Expand(rows, [1, 1, size]))


def _whole_model(graph: Graph, model: LSTMAutoencoder) -> None:
    """Encoder and decoders; the outputs have the decoders' names."""
    encoder, size = model.encoder, model.config.vector_size
    clips = _Clips.read(graph, encoder)
    states, code = clips.encode(graph, encoder, clips.no_states(graph, encoder.lstm))
    for name, decoder in model.decoders.items():
        assert isinstance(decoder, Decoder)
        if name == RECONSTRUCTION:
            nothing = zeros(graph, 1, clips.rows, size)
            outputs = _decode(graph, decoder, states, code, nothing, clips.time, clips)
            outputs = graph.ReverseSequence(outputs, clips.lengths, batch_axis=1, time_axis=0)
        else:
            steps = graph.Reshape("steps", [1])
            outputs = _decode(graph, decoder, states, code, clips.last(graph, size), steps, clips)
        ends = clips.present if name == RECONSTRUCTION else None
        _to_frames(graph, model, clips.grid, outputs, name, ends)


def _to_frames(
    graph: Graph, model: LSTMAutoencoder, grid: Grid, vectors: str, output: str, present: str | None = None
) -> None:
    """Standardised vectors (T, B', D) to the output (B, T, *frame), zeros where they are not `present`: the inverse of
    what `_Clips.read` does."""
    if model.config.output != LOGISTIC:
        mean, std = _scale(graph, model.encoder, grid)
        vectors = graph.Add(graph.Mul(vectors, std), mean)
    if present is not None:
        vectors = graph.Where(present, vectors, 0.0)
    shape = [0, -1, grid.rows, grid.columns, model.config.frame_shape[0], grid.height, grid.width]
    in_place = graph.Transpose(graph.Reshape(vectors, shape), perm=[1, 0, 4, 2, 5, 3, 6])
    graph.Reshape(in_place, [0, 0, graph.Shape("frames", start=2)], output=output)


def _scale(graph: Graph, encoder: Encoder, grid: Grid) -> tuple[str, str]:
    """Mean and standard deviation of every number in a vector, both (D,): a channel's for each pixel of a patch."""
    mean, std = (values.repeat_interleave(grid.height * grid.width) for values in (encoder.mean, encoder.std))
    return graph.constant(mean), graph.constant(std)


def _decode(
    graph: Graph, decoder: Decoder, states: list[State], code: str, first_input: str, steps: str, clips: _Clips
) -> str:
    """What the output units of a free-running decoder emit, (T, B', D), in the order in which it decodes."""
    states = _first_states(graph, decoder, states, code, clips)
    if decoder.conditional:
        return _run_free(graph, decoder, states, code, first_input, steps, clips.grid)
    inputs = graph.Expand(code, [steps, 1, 1]) if decoder.repeat_code else zeros(graph, steps, clips.rows, 1)
    hidden, _ = recurrence(graph, decoder.lstm, inputs, states, clips.grid)
    return _emit(graph, decoder, hidden, first_input, clips.grid)


def _first_states(graph: Graph, decoder: Decoder, states: list[State], code: str, clips: _Clips) -> list[State]:
    """What the decoder starts from: zeros, the encoder's states, or states made of the code."""
    sizes = decoder.lstm.hidden_sizes
    if decoder.repeat_code:
        return clips.no_states(graph, decoder.lstm)
    if decoder.from_code is None:
        return states
    widths = [size for size in sizes for _ in State._fields]
    parts = graph.add("Split", len(widths), linear(graph, code, decoder.from_code), widths, axis=2)
    return [State(graph.Tanh(hidden), cell) for hidden, cell in zip(parts[::2], parts[1::2], strict=True)]


def _run_free(
    graph: Graph, decoder: Decoder, states: list[State], code: str, first_input: str, steps: str, grid: Grid
) -> str:
    """A `Loop` whose body is one step that reads what the one before emitted, (T, B', D)."""
    body, size = Graph(graph.onnx, graph), decoder.readout.out_features
    step, go_on, vector = body.name("step"), body.name("go_on"), body.name("vector")
    before = [State(body.name("hidden"), body.name("cell")) for _ in states]
    inputs = body.Concat(vector, code, axis=2) if decoder.repeat_code else vector
    hidden, after = recurrence(body, decoder.lstm, inputs, before, grid)
    emitted = _emit(body, decoder, hidden, vector, grid)  # (1, B', D)

    sizes = [size, *(layer_size for layer_size in decoder.lstm.hidden_sizes for _ in State._fields)]
    read = [vector, *itertools.chain.from_iterable(before)]
    written = [emitted, *itertools.chain.from_iterable(after)]
    frame = body.Squeeze(emitted, [0])  # outputs are stacked on a new axis
    going_on = body.Identity(go_on)

    def values(names: list[str]) -> list[Any]:
        return [body.value(name, [1, "sequences", width]) for name, width in zip(names, sizes, strict=True)]

    proto = body.proto(
        "step",
        [body.value(step, [], "INT64"), body.value(go_on, [], "BOOL"), *values(read)],
        [body.value(going_on, [], "BOOL"), *values(written), body.value(frame, ["sequences", size])],
    )
    started = [first_input, *itertools.chain.from_iterable(states)]
    return graph.add("Loop", len(written) + 1, steps, "", *started, body=proto)[-1]


def _emit(graph: Graph, decoder: Decoder, hidden: str, before: str, grid: Grid) -> str:
    """The output units, (T, B', D), of hidden states (T, B', hidden), and of what is before them, (1, B', D)."""
    if isinstance(decoder.shape, nn.Sequential):
        between, _ = decoder.shape
        assert isinstance(between, nn.Conv2d)
        made = convolution(graph, hidden, between.weight, grid, between.bias)
        hidden = graph.Mul(made, graph.Sigmoid(made))  # SiLU
    outputs = linear(graph, hidden, decoder.readout)
    if decoder.keep is not None:
        return graph.Add(graph.Mul(graph.Sigmoid(linear(graph, hidden, decoder.keep)), before), outputs)
    if decoder.output == LOGISTIC:
        outputs = graph.Sigmoid(outputs)
    return outputs if decoder.motion is None else motion(graph, decoder.motion, outputs, hidden, before, grid)
