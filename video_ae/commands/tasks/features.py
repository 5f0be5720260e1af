"""What the units look for and what they paint: weights as pictures (Srivastava et al., 2015, section 4.1)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from markupsafe import Markup

from ...config import ModelConfig
from ...files import write_json
from ...report.markup import element
from ...report.tables import Cells, text_table
from ...results import replace_results
from .opened import Opened
from .task import Task, register

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from ...models import Decoder, Encoder
    from ...recurrent import LSTMLayer

    Weights = npt.NDArray[np.float32]  # (units, C, H, W)

_UNITS = 200  # as in the paper's figures
_ROWS = {
    "input": 2,
    "input gate": 0,
    "forget gate": 1,
    "output gate": 3,
}  # of the gates i, f, g, o in a layer's weights


@register
class Features(Task):
    name = "features"
    title = "What the units have learnt"
    alt: ClassVar = {
        "features-input": "What the first units weigh their input with, a picture each",
        "features-output": "What each unit adds to the output, a picture each",
    }
    opens_data = False

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `features-input.png`, `features-output.png` and `features.json`; print the norms and the paths.

        Units are in order of the L2 norm of their input weights, or their output weights, the strongest first and in
        the pictures 200 at most; the same place in the four pictures of the encoder is the same unit. Raises ValueError
        for a model of features, whose weights are no pictures.
        """
        from ...pretrained import sequences_seen
        from ...visualize import save_weights

        model, config, folder = opened.model, opened.model.config, opened.folder
        if config.features:
            raise ValueError("features draws weights as pictures; this model reads vectors of features, which are none")
        inputs = input_weights(model.encoder)
        outputs = {name: output_weights(cast("Decoder", part), config) for name, part in model.decoders.items()}
        order = _strongest_first(inputs["input"])
        ordered = {gate: weights[order] for gate, weights in inputs.items()}
        orders = {name: _strongest_first(weights) for name, weights in outputs.items()}
        painted = {name: weights[orders[name]] for name, weights in outputs.items()}
        shapes = {"input": _words(inputs["input"]), "output": _words(next(iter(outputs.values())))}
        results: dict[str, Any] = {
            "encoder": {
                "units": order.tolist(),
                "norms": {gate: _norms(weights).tolist() for gate, weights in ordered.items()},
            },
            "decoders": {
                name: {"units": orders[name].tolist(), "norms": _norms(weights).tolist()}
                for name, weights in painted.items()
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

    def show(self, folder: Path, results: Any) -> Markup:
        """The pictures say it all but what they are of."""
        about = "; ".join(f"{name} weights: {words}" for name, words in results["pictures"].items())
        return element("p", f"{about}.")


def input_weights(encoder: Encoder) -> dict[str, Weights]:
    """By the names of the paper's four sets, what the first layer's units weigh their input with.

    Pictures of a frame or of a patch, (units, C, H, W); of a convolution with k x k taps, all of them as the k x k
    neighbouring patches that they belong to.
    """
    config, layer = encoder.config, cast("LSTMLayer", encoder.lstm.layers[0])
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
    from ...patches import vectors_to_frames

    channels, height, width = config.frame_shape
    P = config.patch_size
    if weights.ndim == 4:
        vectors, side = weights.permute(0, 2, 3, 1), weights.shape[-1] * (P or 1)  # (units, k, k, D)
        return vectors_to_frames(vectors[:, None], (channels, side, side), P)[:, 0].cpu().numpy()
    shape = (channels, height, width) if P is None else (channels, P, P)
    return vectors_to_frames(weights[:, None], shape)[:, 0].cpu().numpy()


def _strongest_first(weights: Weights) -> npt.NDArray[np.int64]:
    return (-_norms(weights)).argsort(kind="stable")


def _norms(weights: Weights) -> npt.NDArray[np.float64]:
    """The L2 norm of each unit's weights."""
    squares: npt.NDArray[np.float64] = weights.reshape(len(weights), -1).astype(float) ** 2
    return squares.sum(axis=1) ** 0.5


def _words(weights: Weights) -> str:
    units, channels, height, width = weights.shape
    return f"{units} pictures of {channels}x{height}x{width}"


def norm_cells(norms: Mapping[str, Sequence[float]]) -> Cells:
    """A row per set of units with the `norms` of their weights: the largest, the median, the smallest."""
    cells: Cells = [("L2 norm of weights", "units", "largest", "median", "smallest")]
    for name, some in norms.items():
        values = sorted(some, reverse=True)
        shown = (values[0], values[len(values) // 2], values[-1])
        cells.append((name, str(len(values)), *(f"{value:.3f}" for value in shown)))
    return cells
