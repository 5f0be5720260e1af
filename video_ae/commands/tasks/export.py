"""Write the model as ONNX files and check them against PyTorch on test clips."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ...config import FUTURE, RECONSTRUCTION
from ...extras import import_extra
from ...files import write_json
from ...results import replace_results
from .opened import Opened
from .task import Task, register

if TYPE_CHECKING:
    from torch import Tensor

    from ...models import LSTMAutoencoder

_CHECKED_CLIPS = 4
_TOLERANCE = 1e-4  # of the largest value, or of 1 where values are smaller


@register
class Export(Task):
    name = "export"
    title = "Exported"

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `export-encoder.onnx`, `export-model.onnx`, `export-step.onnx` and `export.json`; print how far their
        outputs are from ours.

        Raises ValueError where a difference exceeds 1e-4 of the largest value (of 1 where values are smaller).
        """
        from ...onnx.export import PARTS, STEP, export_onnx, run_onnx, stream_onnx

        model, folder = opened.model, opened.folder
        import_extra("onnxruntime", "export")  # what is missing is said before the old files are gone
        frames, lengths = _inputs(opened, arguments)
        expected = _expected(model, frames.to(opened.device), lengths.to(opened.device))
        with replace_results(folder, "export") as place:
            results: dict[str, Any] = {"tolerance": _TOLERANCE, "clips": len(frames), "lengths": lengths.tolist()}
            rows = []
            for name in PARTS:
                path = place / f"export-{name}.onnx"
                export_onnx(model, path, name)
                if name == STEP:  # what is known after the last frame of each clip
                    streamed = stream_onnx(path, frames, model.config.future_frames)
                    found = {output: values[lengths - 1, range(len(frames))] for output, values in streamed.items()}
                else:
                    found = run_onnx(path, frames, lengths, model.config.future_frames)
                results[name] = {output: _difference(value, expected[output]) for output, value in found.items()}
                rows += [(folder / path.name, output, values) for output, values in results[name].items()]
            write_json(place / "export.json", results | opened.facts(arguments))

        print(f"{'largest difference to PyTorch':<31}{'absolute':>12}{'largest value':>15}")
        for path, output, values in rows:
            name = path.stem.removeprefix("export-")
            print(f"{name + ', ' + output:<31}{values['difference']:>12.1e}{values['largest']:>15.3g}")
        print(f"\n{len(frames)} clips of {' and '.join(map(str, sorted(set(lengths.tolist()))))} frames in one batch")
        for path in dict.fromkeys(path for path, _, _ in rows):
            print(f"ONNX     {path}")
        if any(opened.trained_on.offsets):
            print("offsets  subtract those in export.json from what it reads, add them to what it rebuilds or predicts")
        print(f"metrics  {folder / 'export.json'}")
        for path, output, values in rows:
            if not values["difference"] <= _TOLERANCE * max(1, values["largest"]):  # also where it is NaN
                raise ValueError(
                    f"{path}: {output} differs by {values['difference']:.1e} from PyTorch, expected at most"
                    f" {_TOLERANCE:g} of {max(1, values['largest']):.3g}; do not use this file"
                )
        return results


def _inputs(opened: Opened, arguments: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """A few test clips, float (B, T, ...), and lengths (B,): every other clip is cut to half, NaN follows each end."""
    import torch

    from ...lengths import split_clips
    from ...patches import unit_range

    config = opened.model.config
    follow = config.predicted_frames
    length = opened.whole_frames(opened.data, config.input_frames, follow)
    clips, count = opened.test_clips(arguments, length, shortest=follow + 1)
    batch = clips.__getitems__([number % count for number in range(_CHECKED_CLIPS)])
    frames, _, lengths = split_clips(unit_range(batch), length - follow)
    if lengths is None:
        lengths = torch.full((len(frames),), frames.shape[1])
    lengths[1::2] = (lengths[1::2] + 1) // 2
    for clip, length in zip(frames, lengths.tolist(), strict=True):
        clip[length:] = torch.nan
    return (frames.flatten(2) if config.features and config.patch_size is None else frames), lengths


def _expected(model: LSTMAutoencoder, frames: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """What the model itself gives, by the names of the outputs."""
    outputs = {"code": model.encode(frames, lengths)}
    if RECONSTRUCTION in model.decoders:
        outputs[RECONSTRUCTION] = model.reconstruct(frames, lengths)
    if FUTURE in model.decoders:
        outputs[FUTURE] = model.predict(frames, lengths=lengths)
    return {name: output.detach().cpu() for name, output in outputs.items()}


def _difference(found: Tensor, expected: Tensor) -> dict[str, float]:
    """The largest absolute difference, and the largest value for comparison. Raises ValueError for another shape."""
    if found.shape != expected.shape:
        raise ValueError(f"found an output of shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    return {"difference": float((found - expected).abs().max()), "largest": float(expected.abs().max())}
