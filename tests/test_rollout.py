"""Far predictions: near steps stay what they are, errors and hidden units are of the right step."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.commands import evaluate, train
from video_ae.commands.tasks.rollout import hidden_units, no_better_from
from video_ae.visualize import save_traces

TRAINING = ["-b", "4", "--steps", "2", "--hidden-size", "6", "--device", "cpu", "--validation-clips", "8"]
SHAPE = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2"]


@pytest.mark.parametrize(
    "flags", [["--composite"], ["--predict", "--conditional", "--cell", "conv", "--patch-size", "7"]]
)
def test_the_first_steps_are_those_of_predict(flags, tmp_path, capsys):
    """Catches errors that are shifted by a step, and clips that change with their length."""
    run = tmp_path / "run"
    assert train.command([*flags, *SHAPE, *TRAINING, "--output-dir", str(run)]) == 0
    words = [str(run), "--clips", "9", "--device", "cpu", "--output-dir", str(tmp_path / "out")]
    assert evaluate.command([*words, "--tasks", "predict"]) == 0
    assert evaluate.command([*words, "--tasks", "rollout", "--rollout-steps", "12"]) == 0
    near, far = (json.loads((tmp_path / "out" / f"{task}.json").read_text()) for task in ("predict", "rollout"))
    assert (far["steps"], far["trained_steps"], far["clips"]) == (12, 2, 9)
    for metric in ("nats", "mse", "ssim"):
        curve = far["future"]["per_step"][metric]
        assert len(curve) == 12
        assert curve[:2] == pytest.approx(near["future"]["per_step"][metric], rel=1e-4)
    copied = far["baselines"]["copy_last"]["per_step"]["mse"]
    assert copied[:2] == pytest.approx(near["baselines"]["copy_last"]["per_step"]["mse"], rel=1e-4)
    assert all(len(changes) == 11 for changes in far["change_of_hidden_units"].values())
    with Image.open(tmp_path / "out" / "rollout-00.gif") as gif:
        assert gif.n_frames > 5  # equal ones are merged
    assert {path.name for path in (tmp_path / "out").glob("rollout*.png")} == {
        f"rollout-{what}.png" for what in ("nats", "mse", "units", "sheet")
    }
    assert "at step" in capsys.readouterr().out


def test_what_has_no_end_is_as_long_as_asked_and_files_as_long_as_they_are(tmp_path, capsys):
    np.save(tmp_path / "frames.npy", np.random.default_rng(0).integers(0, 255, (20, 9, 8, 8), dtype=np.uint8))
    source = ["--dataset", "array", "--data-dir", str(tmp_path / "frames.npy"), "--output", "linear"]
    frames = ["--input-frames", "3", "--future-frames", "2"]
    run = str(tmp_path / "run")
    assert train.command(["--composite", *source, *frames, *TRAINING, "--output-dir", run]) == 0
    capsys.readouterr()
    assert evaluate.command([run, "--tasks", "rollout", "--device", "cpu"]) == 0
    assert "2 steps as in training: --rollout-steps N opens longer clips" in capsys.readouterr().out
    assert evaluate.command([run, "--tasks", "rollout", "--rollout-steps", "6", "--device", "cpu"]) == 0
    assert "opens longer clips" not in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "evaluation" / "rollout-steps-6" / "rollout.json").read_text())
    assert len(results["future"]["per_step"]["squared_error"]) == 6
    assert evaluate.command([run, "--tasks", "rollout", "--rollout-steps", "7", "--device", "cpu"]) == 1
    assert "9 frames, expected at least 10" in capsys.readouterr().err


def test_a_model_that_predicts_nothing_is_refused(tmp_path, capsys):
    assert train.command(["--reconstruct", *SHAPE[:-2], *TRAINING, "--output-dir", str(tmp_path / "run")]) == 0
    assert evaluate.command([str(tmp_path / "run"), "--tasks", "rollout"]) == 1
    assert "has no future decoder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("errors", "expected"),
    [([1, 2, 3, 4], 3), ([1, 2, 2, 2], None), ([3, 3, 3, 3], 1), ([1, 4, 1, 4], 4), ([4, 1, 1, 3], 4)],
)
def test_from_which_step_on_it_is_no_better(errors, expected):
    """A first crossing that is taken back does not count; a tie is no better."""
    assert no_better_from(errors, [3, 3, 3, 3]) == expected


@pytest.mark.parametrize(
    ("choices", "units"),
    [
        ({}, 6),
        ({"conditional": ("future",), "layers": 2}, 6),
        ({"patch_size": 4, "conditional": ("future",)}, 4 * 6),
        ({"patch_size": 4, "cell": "conv"}, 4 * 6),
    ],
)
def test_hidden_units_are_what_the_readout_reads(choices, units):
    """The prediction, computed again from the traces; catches another decoder's units and another order of steps."""
    model = LSTMAutoencoder(ModelConfig(**({"frame_shape": (1, 8, 8), "hidden_size": 6} | choices))).eval()
    clip = torch.rand(1, 3 + 7, 1, 8, 8)
    traces = hidden_units(model, clip, 7)
    assert traces.shape == (7, units)
    grid = (2, 2) if units > 6 else ()
    hidden = torch.from_numpy(traces).reshape(7, 1, *grid, 6)
    decoder = model.decoders["future"]
    predicted = model.predict(clip[:, :3], 7)
    before = model.encoder.to_vectors(torch.cat([clip[:, 2:3], predicted[:, :-1]], dim=1)).transpose(0, 1)
    with torch.no_grad():
        outputs = decoder._emit(hidden, before)
    torch.testing.assert_close(model.outputs_to_frames(outputs.transpose(0, 1)), predicted, atol=1e-4, rtol=0)
    assert not decoder.lstm._forward_hooks


def test_traces_are_drawn_on_one_scale(tmp_path):
    """Units that hardly move must not look as lively as others: the second panel is pale."""
    random = np.random.default_rng(0)
    lively = random.uniform(-1, 1, (20, 30)).astype(np.float32)
    save_traces(Path(tmp_path / "new" / "units.png"), {"lively": lively, "frozen": 0.01 * lively})
    with Image.open(tmp_path / "new" / "units.png") as picture:
        colours = np.asarray(picture.convert("HSV"))[:, :, 1].astype(float)  # saturation
    left, right = colours[100:500, 120:500], colours[100:500, 620:1000]
    assert left.mean() > 80 > 20 > right.mean()
