"""Weights as pictures: of the right gate, unit and place."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.commands import evaluate, train
from video_ae.commands.tasks.features import input_weights, output_weights
from video_ae.visualize import save_weights

GATES = ["input gate", "forget gate", "input", "output gate"]  # in the order i, f, g, o of nn.LSTM
MODELS = {
    "frames": {"frame_shape": (3, 4, 6)},
    "patches": {"frame_shape": (2, 4, 6), "patch_size": 2},
    "convolutional": {"frame_shape": (3, 8, 6), "patch_size": 2, "cell": "conv"},
    "convolutional, matching": {"frame_shape": (3, 8, 6), "patch_size": 2, "cell": "conv", "matching": True},
}


def build(name: str) -> LSTMAutoencoder:
    return LSTMAutoencoder(ModelConfig(**({"hidden_size": 5, "layers": 2} | MODELS[name])))


@pytest.mark.parametrize("name", MODELS)
def test_a_picture_times_a_frame_is_what_the_gate_sees(name):
    """The sums of the first layer, made of pixels and pictures; catches gates that are mixed up and turned patches."""
    model = build(name)
    frame = torch.rand(1, 1, *model.config.frame_shape)
    pictures = input_weights(model.encoder)
    layer = model.encoder.lstm.layers[0]
    parts = model.encoder._inputs(model.encoder.to_vectors(frame))  # the first frame matches nothing: zeros
    vectors = torch.cat(parts, dim=-1)[0, 0]  # (D,) or (rows, columns, D)
    if name.startswith("conv"):
        sums = functional.conv2d(vectors.movedim(2, 0), layer.weight_input, padding=1)  # (4 * 5, rows, columns)
        sums, seen = sums[:, 1, 1], frame[0, 0, :, 0:6, 0:6]  # what lies around the patch in row 1, column 1
    else:
        sums = functional.linear(vectors, layer.weight_input)
        sums, seen = (sums[1, 2], frame[0, 0, :, 2:4, 4:6]) if name == "patches" else (sums, frame[0, 0])
    for row, gate in enumerate(GATES):
        found = np.tensordot(pictures[gate], seen.numpy(), axes=3)
        np.testing.assert_allclose(found, sums.detach()[5 * row : 5 * row + 5], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_unit_paints_its_picture(name):
    """One unit's share of the output frame is its picture, at its own place."""
    model = build(name)
    decoder = model.decoders["future"]
    pictures = output_weights(decoder, model.config)
    grid = () if name == "frames" else (4, 3) if name.startswith("conv") else (2, 3)
    states = torch.zeros(1, 1, *grid, len(pictures))
    states[(0, 0, *(0 for _ in grid), 3)] = 1  # unit 3 alone, in the first patch
    with torch.no_grad():
        painted = model.vectors_to_frames(decoder.readout(states) - decoder.readout.bias)[0, 0]
    height, width = pictures.shape[2:]
    np.testing.assert_allclose(painted[:, :height, :width], pictures[3], atol=1e-6)
    assert painted.abs().sum().item() == pytest.approx(np.abs(pictures[3]).sum(), rel=1e-5)


def test_the_task_orders_units_by_their_norm(tmp_path, capsys):
    training = ["-b", "4", "--steps", "1", "--hidden-size", "6", "--device", "cpu", "--validation-clips", "4"]
    small = ["--image-size", "28", "--num-digits", "1", "--input-frames", "2", "--future-frames", "2"]
    run = tmp_path / "run"
    assert train.command(["--composite", "--cell", "lstm", *small, *training, "--output-dir", str(run)]) == 0
    assert evaluate.command([str(run), "--tasks", "features", "--device", "cpu"]) == 0
    results = json.loads((run / "evaluation" / "features.json").read_text())
    model = LSTMAutoencoder.from_pretrained(run)
    i, f, g, o = (gate.norm(dim=1) for gate in model.encoder.lstm.layers[0].weight_input.detach().chunk(4))
    order = results["encoder"]["units"]
    assert order == g.argsort(descending=True).tolist()
    for gate, norms in zip(GATES, (i, f, g, o), strict=True):  # one order for all four: a place is a unit
        assert results["encoder"]["norms"][gate] == pytest.approx(norms[order].tolist())
    for name, decoder in model.decoders.items():
        norms = decoder.readout.weight.detach().norm(dim=0)
        assert results["decoders"][name]["norms"] == pytest.approx(norms.sort(descending=True).values.tolist())
    for what in ("input", "output"):
        assert (run / "evaluation" / f"features-{what}.png").stat().st_size > 1000
    assert "encoder, forget gate" in capsys.readouterr().out


def test_zero_is_grey_and_the_largest_weight_black_or_white(tmp_path):
    weights = np.zeros((3, 1, 16, 16), np.float32)
    weights[0, 0, :8], weights[1, 0, :8] = 2, -1e-3  # every unit on a scale of its own
    save_weights(tmp_path / "new" / "weights.png", {"one": weights, "two": -weights})
    with Image.open(tmp_path / "new" / "weights.png") as picture:
        assert picture.size[0] > picture.size[1]  # two panels side by side
        shades = np.asarray(picture.convert("L"))[26:74]
    assert {0, 128, 255} <= set(shades[:, 10:160].flatten().tolist())
    assert shades[5, 15] == 255  # the first unit's upper half
    assert shades[40, 15] == 128


def test_features_of_no_picture_are_refused(tmp_path, capsys):
    np.save(tmp_path / "series.npy", np.random.default_rng(0).normal(size=(20, 6, 3)))
    source = ["--dataset", "sequences", "--data-dir", str(tmp_path / "series.npy"), "--steps", "1", "--device", "cpu"]
    run = str(tmp_path / "run")
    assert train.command(["--reconstruct", *source, "--hidden-size", "4", "--output-dir", run]) == 0
    assert evaluate.command([run, "--tasks", "features"]) == 1
    assert "features draws weights as pictures" in capsys.readouterr().err
