"""ONNX files and torch.export programs compute what the PyTorch model computes."""

import json
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.commands import evaluate, train
from video_ae.config import DECODERS, FUTURE, LINEAR, RECONSTRUCTION
from video_ae.onnx.export import PARTS, encoder_program, export_onnx, run_onnx, stream_onnx
from video_ae.onnx.layers import onnx_weights

onnxruntime = pytest.importorskip("onnxruntime")

MODELS = {
    "plain": {},
    "two layers of different size": {"hidden_size": (7, 5)},
    "three layers with peepholes": {"hidden_size": (5, 7, 4), "peephole": True},
    "conditional": {"conditional": DECODERS},
    "conditional, peepholes, two layers": {"conditional": DECODERS, "peephole": True, "hidden_size": (7, 5)},
    "conditional future": {"conditional": (FUTURE,), "output": LINEAR},
    "bottleneck": {"code_size": 3, "hidden_size": (6, 4)},
    "bottleneck, conditional": {"code_size": 3, "hidden_size": (6, 4), "conditional": DECODERS, "peephole": True},
    "repeated code": {"code_size": 3, "repeat_code": True, "conditional": (FUTURE,), "layers": 2},
    "repeated state": {"repeat_code": True, "conditional": (RECONSTRUCTION,)},
    "variational": {"code_size": 3, "variational": True},
    "variational, repeated": {"code_size": 3, "variational": True, "repeat_code": True, "output": LINEAR},
    "patches": {"patch_size": 2, "frame_shape": (2, 4, 6), "conditional": (RECONSTRUCTION,), "output": LINEAR},
    "patches, bottleneck": {"patch_size": 2, "code_size": 3, "conditional": (FUTURE,)},
    "colours": {"frame_shape": (3, 3, 5), "output": LINEAR},
    "features": {"frame_shape": (8, 1, 1), "output": LINEAR, "conditional": DECODERS},
    "features, repeated code": {"frame_shape": (8, 1, 1), "output": LINEAR, "code_size": 3, "repeat_code": True},
    "patches of one pixel": {"frame_shape": (3, 1, 1), "patch_size": 1},
    "convolutional": {"cell": "conv", "patch_size": 2, "layers": 2},
    "convolutional, matching": {"cell": "conv", "patch_size": 2, "matching": True},
    "convolutional, conditional, peepholes": {
        "cell": "conv",
        "patch_size": 2,
        "frame_shape": (2, 4, 6),
        "hidden_size": (7, 5),
        "peephole": True,
        "conditional": DECODERS,
        "output": LINEAR,
    },
    "convolutional, bottleneck": {"cell": "conv", "patch_size": 2, "code_size": 3, "conditional": (FUTURE,)},
    "convolutional, variational, repeated": {
        "cell": "conv",
        "patch_size": 2,
        "code_size": 3,
        "variational": True,
        "repeat_code": True,
        "conditional": (RECONSTRUCTION,),
    },
    "residual": {"frame_shape": (8, 1, 1), "output": LINEAR, "residual": True},
    "residual, conditional": {"frame_shape": (8, 1, 1), "output": LINEAR, "residual": True, "conditional": (FUTURE,)},
    "reconstruction alone": {"decoders": (RECONSTRUCTION,)},
    "future alone": {"decoders": (FUTURE,), "output": LINEAR},
}


def build(choices: dict) -> LSTMAutoencoder:
    """A small model, none of whose weights is 0 or 1: a mistake in any of them is seen."""
    shape = {"frame_shape": (1, 4, 4), "hidden_size": 6, "input_frames": 4, "future_frames": 2}
    model = LSTMAutoencoder(ModelConfig(**(shape | choices)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.encoder.mean.normal_()
        model.encoder.std.uniform_(0.5, 3)
    return model.eval()


def clips_of(model: LSTMAutoencoder, batch: int, time: int) -> torch.Tensor:
    clips = torch.rand(batch, time, *model.config.frame_shape)
    return clips.flatten(2) if model.config.features and model.config.patch_size is None else clips


def assert_alike(found: torch.Tensor, expected: torch.Tensor) -> None:
    """To 1e-5: float32 sums in another order, and another sigmoid, over ten steps."""
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_onnx_gives_what_the_model_gives(name, tmp_path):
    """Any batch, time, steps and lengths in one file; catches gates in another order, and padding that matters."""
    model = build(MODELS[name])
    whole, encoder = tmp_path / "model.onnx", tmp_path / "encoder.onnx"
    export_onnx(model, whole)
    export_onnx(model, encoder, "encoder")
    for lengths, time, steps in (([4, 4], 4, 2), ([1, 7, 3], 7, 5), ([2], 3, 1), ([1], 1, 1)):
        clips = clips_of(model, len(lengths), time)
        ends = torch.tensor(lengths)
        for row, end in zip(clips, lengths, strict=True):
            row[end:] = torch.nan
        expected = {"code": model.encode(clips, ends)}
        if RECONSTRUCTION in model.decoders:
            expected[RECONSTRUCTION] = model.reconstruct(clips, ends)
        if FUTURE in model.decoders:
            expected[FUTURE] = model.predict(clips, steps, ends)
        found = run_onnx(whole, clips, ends, steps)
        assert found.keys() == expected.keys()
        for key, value in found.items():
            assert_alike(value, expected[key])
        code = run_onnx(encoder, clips, ends)
        assert code.keys() == {"code"}
        assert_alike(code["code"], expected["code"])


@pytest.mark.parametrize("name", MODELS)
def test_a_step_in_onnx_goes_on_as_a_stream_does(name, tmp_path):
    """Codes and forecasts after every frame; catches states of layers that are swapped, and a first frame that is
    matched with nothing."""
    model = build(MODELS[name])
    export_onnx(model, tmp_path / "step.onnx", "step")
    clips = clips_of(model, 2, 5)
    found = stream_onnx(tmp_path / "step.onnx", clips, 3)
    stream = model.stream(steps=3)
    for step in range(5):
        frame = clips[:, step]
        pushed = stream.push(frame)
        assert_alike(found["code"][step], pushed.code)
        assert (pushed.coming is not None) == (FUTURE in model.decoders) == ("future" in found)
        if pushed.coming is not None:
            assert_alike(found["future"][step], pushed.coming)


def test_a_model_of_realistic_size_over_many_steps(tmp_path):
    """Free running feeds differences back; 64 units and 40 steps do not let them grow."""
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 16, 16), hidden_size=64, layers=2, conditional=DECODERS))
    export_onnx(model, tmp_path / "model.onnx")
    clips, lengths = torch.rand(3, 20, 1, 16, 16), torch.tensor([20, 5, 12])
    found = run_onnx(tmp_path / "model.onnx", clips, lengths, 40)
    assert_alike(found[RECONSTRUCTION], model.reconstruct(clips, lengths))
    assert_alike(found[FUTURE], model.predict(clips, 40, lengths))


def test_the_file_says_what_it_is(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = build({"code_size": 3})
    export_onnx(model, tmp_path / "model.onnx")
    stored = onnx.load(tmp_path / "model.onnx")
    (config,) = (entry.value for entry in stored.metadata_props if entry.key == "config")
    assert ModelConfig(**json.loads(config)) == model.config
    assert "data range" in stored.doc_string
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]  # nothing half written beside it
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="sequence_lens"):
        run_onnx(tmp_path / "model.onnx", torch.rand(1, 2, 1, 4, 4), torch.tensor([3]))


def test_too_many_weights_and_a_missing_package_are_one_line(tmp_path, monkeypatch):
    with torch.device("meta"):
        huge = LSTMAutoencoder(ModelConfig(hidden_size=12000))
    with pytest.raises(ValueError, match=r"weights take 7\.5 GiB, an ONNX file holds less than 2 GiB"):
        export_onnx(huge, tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'onnx is not installed; pip install "video-ae\[export\]"'):
        export_onnx(build({}), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "choices",
    [
        MODELS["conditional, peepholes, two layers"],
        MODELS["variational"],
        MODELS["patches"],
        MODELS["convolutional, matching"],
    ],
)
def test_torch_export_of_the_encoder(choices, tmp_path):
    """Any number of clips, stored and loaded; the number of frames is fixed."""
    model = build(choices)
    torch.export.save(encoder_program(model, 2), tmp_path / "encoder.pt2")
    program = torch.export.load(tmp_path / "encoder.pt2").module()
    for batch in (1, 2, 3):
        clips = torch.rand(batch, 2, *model.config.frame_shape)
        assert_alike(program(clips), model.encode(clips))
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("height", [2, 4, 10])
def test_a_convolutional_model_reads_frames_of_any_size(height, tmp_path):
    """Catches rows and columns that are mixed up, and the configured size where that of the frames is meant."""
    model = build(MODELS["convolutional, conditional, peepholes"] | {"matching": True})
    export_onnx(model, tmp_path / "model.onnx")
    clips, lengths = torch.rand(2, 3, 2, height, 8), torch.tensor([3, 1])
    found = run_onnx(tmp_path / "model.onnx", clips, lengths, 4)
    assert_alike(found["code"], model.encode(clips, lengths))
    assert_alike(found[RECONSTRUCTION], model.reconstruct(clips, lengths))
    assert_alike(found[FUTURE], model.predict(clips, 4, lengths))


def test_no_clips_are_refused(tmp_path):
    """They end the process with a segmentation fault in onnxruntime."""
    export_onnx(build({}), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="found no clips, expected at least one"):
        run_onnx(tmp_path / "model.onnx", torch.zeros(0, 3, *build({}).config.frame_shape), torch.zeros(0).long())


def test_every_choice_of_a_model_is_known_here():
    """A new field of `ModelConfig` must be taught to `export.py`, and be in the list of models above."""
    known = {choice for choices in MODELS.values() for choice in choices}
    assert {field.name for field in fields(ModelConfig)} == known | {"input_frames", "future_frames"}


@pytest.mark.parametrize("flags", [["--composite", "--conditional"], ["--reconstruct", "--output", "linear"]])
def test_the_task_checks_what_it_wrote(flags, tmp_path, monkeypatch, capsys):
    small = ["--cell", "lstm", "--image-size", "28", "--num-digits", "1", "--input-frames", "4", "-b", "4"]
    sizes = ["--hidden-size", "6", "--steps", "2", "--device", "cpu", "--validation-clips", "4"]
    assert train.command([*flags, *small, *sizes, "--output-dir", str(tmp_path / "run")]) == 0
    words = [str(tmp_path / "run"), "--tasks", "export", "--device", "cpu"]
    assert evaluate.command(words) == 0
    folder = tmp_path / "run" / "evaluation"
    results = json.loads((folder / "export.json").read_text())
    assert results["lengths"] == [4, 2, 4, 2]
    decoders = set(LSTMAutoencoder.from_pretrained(tmp_path / "run").decoders)
    assert results["model"].keys() == {"code"} | decoders
    assert max(values["difference"] for values in results["model"].values()) < 1e-5
    assert {path.name for path in folder.glob("export*")} == {
        "export.json",
        *(f"export-{part}.onnx" for part in PARTS),
    }
    assert "encoder, code" in capsys.readouterr().out

    monkeypatch.setattr("video_ae.onnx.layers.onnx_weights", lambda layer: _wrong(onnx_weights(layer)))
    assert evaluate.command(words) == 1
    assert "export-encoder.onnx: code differs by" in capsys.readouterr().err


def test_the_task_checks_sequences_of_different_lengths(tmp_path):
    """Catches a stream that is compared after the padding behind its sequence."""
    random = np.random.default_rng(0)
    lengths = random.integers(8, 30, 60).tolist()
    np.savez(tmp_path / "series.npz", **{f"s{n}": random.random((steps, 3)) for n, steps in enumerate(lengths)})
    flags = [
        "--composite",
        "--dataset",
        "sequences",
        "--data-dir",
        str(tmp_path / "series.npz"),
        "--future-frames",
        "2",
    ]
    sizes = ["-b", "4", "--hidden-size", "6", "--steps", "2", "--device", "cpu", "--validation-clips", "4"]
    assert train.command([*flags, *sizes, "--output-dir", str(tmp_path / "run")]) == 0
    assert evaluate.command([str(tmp_path / "run"), "--tasks", "export", "--device", "cpu"]) == 0
    results = json.loads((tmp_path / "run" / "evaluation" / "export.json").read_text())
    assert len(set(results["lengths"][::2])) > 1
    assert results["step"]["code"]["difference"] < 1e-5


def _wrong(weights: list[torch.Tensor]) -> list[torch.Tensor]:
    return [weights[0], weights[1] + 0.1, *weights[2:]]
