"""What the units look for and what they paint: weights as pictures (Srivastava et al., 2015, section 4.1)."""

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...config import ModelConfig
from ...files import write_json
from ...models import Decoder, Encoder
from ...patches import vectors_to_frames
from ...pretrained import sequences_seen
from ...recurrent import LSTMLayer
from ...report.tables import norm_cells, text_table
from ...results import replace_results
from ...visualize import save_weights
from .opened import Opened

_UNITS = 200  # as in the paper's figures
_ROWS = {
    "input": 2,
    "input gate": 0,
    "forget gate": 1,
    "output gate": 3,
}  # of the gates i, f, g, o in a layer's weights

Weights = npt.NDArray[np.float32]  # (units, C, H, W)


def run(opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write `features-input.png`, `features-output.png` and `features.json`; print the norms and the paths.

    Units are in order of the L2 norm of their input weights, or their output weights, the strongest first and in the
    pictures 200 at most; the same place in the four pictures of the encoder is the same unit. Raises ValueError for a
    model of features, whose weights are no pictures.
    """
    model, config, folder = opened.model, opened.model.config, opened.folder
    if config.features:
        raise ValueError("features draws weights as pictures; this model reads vectors of features, which are none")
    inputs, outputs = input_weights(model.encoder), {}
    for name, decoder in model.decoders.items():
        assert isinstance(decoder, Decoder)
        outputs[name] = output_weights(decoder, config)
    order = _strongest_first(inputs["input"])
    ordered = {gate: weights[order] for gate, weights in inputs.items()}
    orders = {name: _strongest_first(weights) for name, weights in outputs.items()}
    painted = {name: weights[orders[name]] for name, weights in outputs.items()}
    shapes = {"input": _words(inputs["input"]), "output": _words(next(iter(outputs.values())))}
    results: dict[str, Any] = {
        "encoder": {"units": order.tolist(), "norms": {gate: _norms(weights) for gate, weights in ordered.items()}},
        "decoders": {
            name: {"units": orders[name].tolist(), "norms": _norms(weights)} for name, weights in painted.items()
        },
        "pictures": shapes,
    }
    with replace_results(folder, "features") as place:
        write_json(place / "features.json", results | {"sequences_seen": sequences_seen(opened.run.path)})
        for what, weights in (("input", ordered), ("output", painted)):
            save_weights(place / f"features-{what}.png", {name: some[:_UNITS] for name, some in weights.items()})

    norms = {f"encoder, {gate}": values for gate, values in results["encoder"]["norms"].items()}
    norms |= {f"{name}, output": values["norms"] for name, values in results["decoders"].items()}
    print(text_table(norm_cells(norms)))
    seen = ", the neighbouring patches that a convolution sees" if config.convolutional else ""
    print(f"\ninput weights of the first layer: {shapes['input']}{seen}\noutput weights: {shapes['output']}")
    print(f"inputs   {folder / 'features-input.png'}\noutputs  {folder / 'features-output.png'}")
    print(f"metrics  {folder / 'features.json'}")
    return results


def input_weights(encoder: Encoder) -> dict[str, Weights]:
    """By the names of the paper's four sets, what the first layer's units weigh their input with.

    Pictures of a frame or of a patch, (units, C, H, W); of a convolution with k x k taps, all of them as the k x k
    neighbouring patches that they belong to.
    """
    config, layer = encoder.config, encoder.lstm.layers[0]
    assert isinstance(layer, LSTMLayer)
    assert layer.weight_input is not None
    pixels = layer.weight_input.detach()[:, : config.vector_size]  # and not what `Matching` adds to them
    gates = pixels.chunk(4)
    return {name: _pictures(gates[row], config) for name, row in _ROWS.items()}


def output_weights(decoder: Decoder, config: ModelConfig) -> Weights:
    """What each unit that the readout sees adds to the output, before its nonlinearity: (units, C, H, W).

    These are the top layer's units or, of a convolutional model, those of the layer between them and the readout.
    """
    return _pictures(decoder.readout.weight.detach().T, config)


def _pictures(weights: Tensor, config: ModelConfig) -> Weights:
    """(units, D), or (units, D, k, k) of a convolution, to (units, C, H, W)."""
    channels, height, width = config.frame_shape
    P = config.patch_size
    if weights.ndim == 4:
        vectors, side = weights.permute(0, 2, 3, 1), weights.shape[-1] * (P or 1)  # (units, k, k, D)
        return vectors_to_frames(vectors[:, None], (channels, side, side), P)[:, 0].cpu().numpy()
    shape = (channels, height, width) if P is None else (channels, P, P)
    return vectors_to_frames(weights[:, None], shape)[:, 0].cpu().numpy()


def _strongest_first(weights: Weights) -> npt.NDArray[np.int64]:
    return np.argsort(-np.linalg.norm(weights.reshape(len(weights), -1), axis=1), kind="stable")


def _norms(weights: Weights) -> list[float]:
    """The L2 norm of each unit's weights."""
    norms: list[float] = np.linalg.norm(weights.reshape(len(weights), -1), axis=1).astype(float).tolist()
    return norms


def _words(weights: Weights) -> str:
    units, channels, height, width = weights.shape
    return f"{units} pictures of {channels}x{height}x{width}"
