"""A picture of the model, drawn from the model itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from markupsafe import Markup

from ...config import RECONSTRUCTION, ModelConfig
from ...files import write_json
from ...report.page import data_table
from ...results import replace_results
from .opened import Opened
from .task import Task, register

if TYPE_CHECKING:
    from torch import nn

    from ...models import Decoder, Encoder, LSTMAutoencoder
    from ...recurrent import LSTMLayer


@register
class Architecture(Task):
    name = "architecture"
    title = "The model"
    alt: ClassVar = {"architecture": "The model as boxes: encoder, code and decoders"}
    opens_data = False

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `architecture.png`, and `architecture.json` with the parameters of every part; print both paths."""
        from ...visualize import save_architecture

        model, folder = opened.model, opened.folder
        encoder, code, decoders = describe(model)
        parameters = {name: _count(part) for name, part in model.named_children() if name != "decoders"}
        parameters |= {name: _count(decoder) for name, decoder in model.decoders.items()}
        results = {"parameters": parameters | {"all": _count(model)}}
        with replace_results(folder, "architecture") as place:
            save_architecture(place / "architecture.png", encoder, code, decoders)
            write_json(place / "architecture.json", results)
        print("".join(f"{name:<16}{count:>14,} parameters\n" for name, count in results["parameters"].items()))
        print(f"picture  {folder / 'architecture.png'}\nsizes    {folder / 'architecture.json'}")
        return results

    def show(self, folder: Path, results: Any) -> Markup:
        counts = ((name, f"{count:,}") for name, count in results["parameters"].items())
        return data_table([("", "parameters"), *counts])


def describe(model: LSTMAutoencoder) -> tuple[list[str], str, dict[str, list[str]]]:
    """The parts of encoder, code and decoders, from what goes in to what comes out: a title, then details, each."""
    config, encoder = model.config, model.encoder
    frames = [f"{config.input_frames} frames, {_shape(config)}\n{_vectors(config)}"]
    layers = [f"{_layer(layer)}{', peepholes' if config.peephole else ''}" for layer in _layers(encoder)]
    if encoder.bottleneck is None:
        every = "every layer" if config.layers > 1 else "the layer"
        code = f"last state\n{'hidden, of the top layer' if config.repeat_code else f'hidden and cell of {every}'}"
    else:
        kind = "a Gaussian's mean and variance" if config.variational else "linear"
        code = f"code, {config.code_size:,} numbers\n{kind}, {_count(encoder.bottleneck):,} parameters"
    decoders = {name: _decoder(cast("Decoder", part), config, name) for name, part in model.decoders.items()}
    return frames + layers, code, decoders


def _decoder(decoder: Decoder, config: ModelConfig, name: str) -> list[str]:
    read = ["its frame before"] if decoder.conditional else []
    read += ["the code"] if decoder.repeat_code else []
    reads = f"reads {' and '.join(read)} at every step" if read else "reads nothing, only its state evolves"
    steps = config.input_frames if name == RECONSTRUCTION else config.future_frames
    order = "the last frame first" if name == RECONSTRUCTION else "what follows the input"
    return [f"{_layer(layer)}{'' if number else chr(10) + reads}" for number, layer in enumerate(_layers(decoder))] + [
        f"{config.output} output, {config.vector_size:,} values\n{_between(decoder)}",
        f"{steps} frames\n{order}",
    ]


def _layers(part: Encoder | Decoder) -> list[LSTMLayer]:
    return [cast("LSTMLayer", layer) for layer in part.lstm.layers]


def _layer(layer: LSTMLayer) -> str:
    parameters = f"{_count(layer):,} parameters"
    if layer.weight_hidden.ndim == 2:
        return f"LSTM, {layer.hidden_size:,} units\n{parameters}"
    side = layer.weight_hidden.shape[-1]
    return f"convolutional LSTM, {layer.hidden_size:,} units\n{side} x {side}, at every position, {parameters}"


def _between(decoder: Decoder) -> str:
    """The size of the readout, of the layer before it and of the motion, where there are such."""
    layers = [layer for layer in (decoder.readout, decoder.shape, decoder.motion) if layer is not None]
    parameters = f"{sum(map(_count, layers)):,} parameters"
    if not _count(decoder.shape):
        return parameters
    moving = ", " if decoder.motion is None else " and the frame before, moved\n"
    return f"through {decoder.readout.in_features:,} units{moving}{parameters}"


def _vectors(config: ModelConfig) -> str:
    if config.patch_size is None:
        return f"a vector of {config.vector_size:,} values each"
    _, height, width = config.frame_shape
    rows, columns = height // config.patch_size, width // config.patch_size
    if config.convolutional:
        return f"{rows} x {columns} positions, patches of {config.vector_size:,} values"
    return f"{rows * columns} sequences of patches of {config.vector_size:,} values"


def _shape(config: ModelConfig) -> str:
    channels, height, width = config.frame_shape
    return f"{channels} features" if config.features else f"{channels} x {height} x {width}"


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
