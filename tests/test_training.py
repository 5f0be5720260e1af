"""Runs from the command line: the variants, resuming, interruptions, and everything a user can get wrong."""

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from video_ae import LSTMAutoencoder, ModelConfig, TrainConfig
from video_ae.checkpoint import Progress
from video_ae.commands import evaluate, train
from video_ae.config import FineTuning, from_json
from video_ae.losses import LOSSES
from video_ae.pretrained import load_initial_weights
from video_ae.training import budget_used, next_fraction, schedule
from video_ae.training_step import train_step

ROOT = Path(__file__).parent.parent
TINY = [
    "--image-size",
    "28",
    "--num-digits",
    "1",
    "--hidden-size",
    "8",
    "-b",
    "4",
    "--validation-clips",
    "20",
    "--device",
    "cpu",
]


def train_tiny(folder: Path, *flags: str, steps: int = 6) -> int:
    return train.command([*TINY, "--steps", str(steps), "--checkpoint-every", "3", "--output-dir", str(folder), *flags])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train_tiny(folder, "--composite") == 0
    return folder


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("kind", ["composite", "reconstruct", "predict"])
def test_the_six_variants_train_and_evaluate(kind, conditional, tmp_path, capsys):
    """From the command line to files with stable names and keys."""
    folder = tmp_path / "run"
    assert train_tiny(folder, f"--{kind}", *(["--conditional"] if conditional else [])) == 0
    assert evaluate.command([str(folder), "--clips", "5", "-b", "3", "--device", "cpu"]) == 0
    results = json.loads((folder / "evaluation" / "clips-5" / "predict.json").read_text())
    decoders = {"composite": {"reconstruction", "future"}, "reconstruct": {"reconstruction"}, "predict": {"future"}}[
        kind
    ]
    assert decoders == {"reconstruction", "future"} & results.keys()
    for decoder in decoders:
        assert {"nats", "mse", "mae", "psnr", "ssim", "ssim_range2", "per_step"} == results[decoder].keys()
        assert len(results[decoder]["per_step"]["mse"]) == 10
    assert results["baselines"].keys() == {"floor", "copy_last", "mean_frame", "black"}
    assert (results["clips"], results["sequences_seen"], results["digits"], results["seed"]) == (5, 24, "optical", 0)
    printed = capsys.readouterr().out
    assert "mean frame" in printed
    for name in ("predict-00.gif", "predict-strip.png", "predict-steps.png"):
        assert (folder / "evaluation" / "clips-5" / name).stat().st_size > 1000
    assert sorted(path.name for path in (folder / "samples").glob("*.gif")) == ["step-000003.gif", "step-000006.gif"]
    assert (folder / "training.png").exists()


def test_other_shapes_train_too(tmp_path):
    """Patches, linear outputs, peepholes, layers, and other numbers of frames in one run."""
    flags = ["--patch-size", "14", "--output", "linear", "--peephole", "--layers", "2"]
    frames = ["--input-frames", "3", "--future-frames", "5"]
    assert train_tiny(tmp_path / "run", "--composite", "--conditional", "future", *flags, *frames) == 0
    out = ["--clips", "4", "--future-frames", "12", "--output-dir", str(tmp_path / "out")]
    assert evaluate.command([str(tmp_path / "run"), *out]) == 0
    results = json.loads((tmp_path / "out" / "predict.json").read_text())
    assert len(results["future"]["per_step"]["mse"]) == 12
    assert len(results["reconstruction"]["per_step"]["mse"]) == 3
    assert "nats" not in results["future"]


def rows_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_metrics_say_how_far_and_how_fast(tmp_path):
    assert train_tiny(tmp_path / "run", "--composite", "--deterministic", "--amp", "on", steps=10) == 0
    rows = rows_of(tmp_path / "run")
    assert [(row["step"], "validation" in row) for row in rows] == [
        (3, True), (6, True), (9, True), (10, False), (10, True)
    ]  # fmt: skip
    assert all(row["sequences_seen"] == 4 * row["step"] for row in rows)
    assert all(
        row["sequences_per_second"] == pytest.approx(row["sequences_seen"] / row["seconds"], rel=0.1) for row in rows
    )
    assert rows[3]["loss"] == pytest.approx(rows[3]["reconstruction"] + rows[3]["future"])
    assert rows[4]["validation"]["clips"] == 20


def without_measurements(run: Path) -> list[dict]:
    measured = {"seconds", "sequences_per_second", "peak_memory_bytes"}
    return [{key: row[key] for key in row.keys() - measured} for row in rows_of(run)]


def last_checkpoint(run: Path) -> Path:
    return run / "checkpoints" / (run / "checkpoints" / "last").read_text().split()[0]


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(number, run, tmp_path, monkeypatch, capsys):
    """The signal arrives in the middle of step 4; weights and optimiser end equal to those of the whole run."""
    calls = []

    def interrupting(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            os.kill(os.getpid(), number)
        return train_step(*arguments)

    monkeypatch.setattr("video_ae.training.train_step", interrupting)
    assert train_tiny(tmp_path / "run", "--composite") == 128 + number
    assert "step 4 is saved" in capsys.readouterr().err
    assert last_checkpoint(tmp_path / "run").name == "step-000004"
    assert train.command(["--resume", "--device", "cpu", "--output-dir", str(tmp_path / "run")]) == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert same_weights(last_checkpoint(run) / name, last_checkpoint(tmp_path / "run") / name)
    assert same_weights(run / "model" / "model.safetensors", tmp_path / "run" / "model" / "model.safetensors")
    assert without_measurements(run) == without_measurements(tmp_path / "run")


def test_a_run_killed_before_its_first_checkpoint_goes_on_from_its_own_weights(run, tmp_path):
    """Also one that began with --init-from, which is not given again."""
    folder = tmp_path / "run"
    assert train_tiny(folder, "--composite", "--init-from", str(run), steps=1) == 0
    begun = LSTMAutoencoder.from_pretrained(run).state_dict()
    for place in (folder / "checkpoints").glob("step-000001"):
        shutil.rmtree(place)
    (folder / "checkpoints" / "last").unlink()
    assert train.command(["--resume", "--device", "cpu", "--output-dir", str(folder), "--steps", "1"]) == 0
    again = load_file(folder / "checkpoints" / "step-000000" / "model.safetensors")
    assert all(torch.equal(again[name], weight) for name, weight in begun.items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_real_command_and_spare_its_workers(number, tmp_path):
    """As Ctrl-C does, the signal goes to the whole process group; the step is still finished and saved."""
    folder = tmp_path / "run"
    flags = ["--max-minutes", "5", "-j", "2", "--output-dir", str(folder)]
    command = [sys.executable, "train.py", "--composite", *TINY, *flags]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (folder / "metrics.jsonl").exists() or not (folder / "metrics.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert (last_checkpoint(folder) / "checkpoint.json").exists()
    assert LSTMAutoencoder.from_pretrained(folder).config.hidden_size == 8


def test_metrics_after_the_last_checkpoint_are_dropped_on_resume(run, tmp_path):
    """A kill between checkpoints leaves rows of steps that are done again; they must not stand twice."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    before = (folder / "metrics.jsonl").read_text()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "loss": 1.0}\n{"step": 8, "lo')
    assert train.command(["--resume", "--device", "cpu", "--output-dir", str(folder)]) == 0
    assert (folder / "metrics.jsonl").read_text() == before


def test_a_longer_budget_goes_on(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    assert train.command(["--resume", "--steps", "8", "--output-dir", str(folder)]) == 0
    assert last_checkpoint(folder).name == "step-000008"


def test_a_second_run_into_the_folder_is_refused(run, capsys):
    before = (run / "config.json").read_bytes(), (run / "metrics.jsonl").read_bytes()
    assert train_tiny(run, "--composite") == 1
    assert "not an empty folder; choose another --output-dir, or go on with --resume" in capsys.readouterr().err
    unread = ["--composite", "--dataset", "video-folder", "--data-dir", str(run / "none")]
    assert train.command([*unread, "--output-dir", str(run)]) == 1
    assert "not an empty folder" in capsys.readouterr().err  # before anything is decoded
    assert before == ((run / "config.json").read_bytes(), (run / "metrics.jsonl").read_bytes())


def test_resuming_with_other_choices_is_refused(run, capsys):
    assert train.command(["--resume", "--device", "cpu", "--output-dir", str(run), "--hidden-size", "16"]) == 1
    assert "the run has hidden_size 8, not 16;" in capsys.readouterr().err
    assert (
        train.command(["--resume", "--device", "cpu", "--output-dir", str(run), "--preset", "paper"]) == 1
    )  # nobody typed the size
    assert "the run has hidden_size 8, not 2048 as --preset paper has;" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(damage, run, tmp_path, capsys):
    """A flipped bit loads silently from safetensors; the SHA-256 sums catch it."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    path = last_checkpoint(folder) / "model.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(content[:-100])
    elif damage == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    assert train.command(["--resume", "--device", "cpu", "--output-dir", str(folder)]) == 0
    warning, *_ = capsys.readouterr().err.splitlines()
    cause = "No such file or directory" if damage == "remove" else "its SHA-256 is not the one in SHA256SUMS"
    assert cause in warning
    assert warning.endswith("going on from step-000003")
    assert last_checkpoint(folder).name == "step-000006"
    assert same_weights(last_checkpoint(run) / "model.safetensors", last_checkpoint(folder) / "model.safetensors")


@pytest.mark.parametrize("site", ["weight", "gradient"])
def test_what_is_not_finite_is_named_and_the_checkpoint_spared(site, tmp_path, monkeypatch, capsys):
    """Catches a cause that is read off after clipping, which makes every gradient NaN."""
    folder = tmp_path / "run"

    def poisoned(model, optimizer, clips, lr, config, step, *more):
        readout = model.decoders["future"].readout
        if step == 5 and site == "weight":
            with torch.no_grad():
                readout.bias[0] = torch.nan
        elif step == 5:
            readout.bias.register_hook(lambda gradient: gradient * torch.nan)
        return train_step(model, optimizer, clips, lr, config, step, *more)

    monkeypatch.setattr("video_ae.training.train_step", poisoned)
    assert train_tiny(folder, "--composite") == 1
    cause = (
        "the weight decoders.future.readout.bias is not finite"
        if site == "weight"
        else "the gradient of decoders.future.readout.bias is not finite"
    )
    assert f"error: step 5: {cause}; the last checkpoint is intact" in capsys.readouterr().err
    weights = load_file(last_checkpoint(folder) / "model.safetensors")
    assert last_checkpoint(folder).name == "step-000003"
    assert all(weight.isfinite().all() for weight in weights.values())


def test_gradients_are_clipped_to_the_norm():
    """The true norm over all parameters; catches clipping of single values or of the update."""
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 8, 8), hidden_size=8))
    optimizer = torch.optim.AdamW(model.parameters())
    clips = torch.randint(0, 256, (2, 20, 1, 8, 8), dtype=torch.uint8)
    row = train_step(model, optimizer, clips, 0.0, TrainConfig(clip_grad=0.5, amp="off"), 1)
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert row["gradient_norm"] > 0.5
    assert norm.item() == pytest.approx(0.5, rel=1e-4)
    assert row["loss"] == pytest.approx(row["reconstruction"] + row["future"])


def test_gradients_whose_squares_overflow_are_clipped_all_the_same(monkeypatch):
    """Catches a training that stops at 1e20, which a constant series of 600 steps can reach in its first step."""

    def steep(outputs, targets, lengths=None):
        return 1e24 * (outputs - targets).mean()

    monkeypatch.setitem(LOSSES, "logistic", steep)
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 8, 8), hidden_size=8))
    clips = torch.randint(0, 256, (2, 20, 1, 8, 8), dtype=torch.uint8)
    row = train_step(model, torch.optim.SGD(model.parameters()), clips, 0.0, TrainConfig(clip_grad=2.0, amp="off"), 1)
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert row["gradient_norm"] > 1e20
    assert norm.item() == pytest.approx(2.0, rel=1e-4)


def test_the_learning_rate_follows_the_budget():
    assert [schedule(fraction, 0.1) for fraction in (0.05, 0.1, 0.55, 1.0)] == pytest.approx([0.5, 1, 0.5, 0])
    config = TrainConfig(steps=100, max_minutes=2)
    assert budget_used(config, Progress(step=25, seconds=12)) == 0.25
    assert budget_used(config, Progress(step=25, seconds=60)) == 0.5


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_no_step_has_a_rate_of_zero(steps, warmup):
    """The first one had, and was made for nothing. In the middle of the budget the rate is what it was."""
    config = TrainConfig(steps=steps, warmup=warmup)
    rates = [schedule(next_fraction(config, Progress(step=step)), warmup) for step in range(steps)]
    assert min(rates) > 0
    assert max(rates) <= 1
    assert all(one <= other for one, other in pairwise(rates[: int(steps * warmup)]))
    assert all(one >= other for one, other in pairwise(rates[int(steps * warmup) + 1 :]))
    if steps == 1000:
        assert rates[500] == pytest.approx(schedule(0.5, warmup), abs=2e-3)
        assert rates[-1] < 1e-2 if warmup < 0.5 else rates[-1] < 0.1


def test_a_budget_of_minutes_has_rates_from_the_first_step_on():
    """A step of it takes as long as those before; of the first one nothing is known."""
    config = TrainConfig(max_minutes=1)
    first = schedule(next_fraction(config, Progress(seconds=0.0)), config.warmup)
    assert first == pytest.approx(1 / 1001 / config.warmup)
    second = next_fraction(config, Progress(step=1, seconds=0.1))
    assert second == pytest.approx(0.2 / 60.1)
    assert schedule(next_fraction(config, Progress(step=599, seconds=59.9)), config.warmup) > 0
    both = TrainConfig(max_minutes=1, steps=10)
    assert next_fraction(both, Progress(step=4, seconds=0.4)) == 5 / 11
    assert next_fraction(both, Progress(step=1, seconds=50.0)) == 100 / 110


@pytest.mark.parametrize("budget", [["--steps", "3"], ["--max-minutes", "0.01"]])
def test_the_first_step_moves_the_weights(budget, tmp_path, monkeypatch):
    from video_ae import training

    rates, step = [], training.train_step
    monkeypatch.setattr(training, "train_step", lambda *given: rates.append(given[3]) or step(*given))
    assert train.command([*TINY, "--reconstruct", *budget, "--output-dir", str(tmp_path / "run")]) == 0
    assert len(rates) >= 1
    assert min(rates) > 0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--composite", "--output", "linear"], "output logistic, not linear"),
        (["--composite", "--hidden-size", "9"], "hidden_size 8, not 9"),
        (["--reconstruct"], "decoders ('reconstruction', 'future'), not ('reconstruction',)"),
        (["--composite", "--image-size", "32"], "frame_shape (1, 28, 28), not (1, 32, 32)"),
        (["--composite", "--code-size", "4"], "code_size None, not 4"),
    ],
)
def test_weights_of_another_model_are_no_start(flags, named, tmp_path, capsys):
    """Those of logistic outputs were taken for linear ones, with a mean of 0 and a deviation of 1."""
    words = [*TINY, "--cell", "lstm", "--steps", "1"]
    first = tmp_path / "first"
    assert train.command([*words, "--composite", "--output-dir", str(first)]) == 0
    capsys.readouterr()
    second = ["--init-from", str(first), "--output-dir", str(tmp_path / "second")]
    assert train.command([*words, *flags, *second]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert "leave out --init-from" in error
    assert not (tmp_path / "second").exists()


def test_weights_of_frames_that_were_cut_otherwise_are_no_start(tmp_path):
    """16 values may be a frame of 4x4, a patch of it or 16 features: the weights have one shape."""
    shapes = {
        "frame": {"frame_shape": (1, 4, 4)},
        "patch": {"frame_shape": (1, 8, 8), "patch_size": 4},
        "wide": {"frame_shape": (1, 2, 8)},
        "features": {"frame_shape": (16, 1, 1)},
    }
    for name, shape in shapes.items():
        LSTMAutoencoder(ModelConfig(hidden_size=3, **shape)).save_pretrained(tmp_path / name)
    for name in shapes:
        for other, shape in shapes.items():
            model = LSTMAutoencoder(ModelConfig(hidden_size=3, input_frames=4, future_frames=2, **shape))
            if name == other:
                load_initial_weights(model, tmp_path / name)  # lengths may differ
                continue
            with pytest.raises(ValueError, match="weights of another model, with frame_shape"):
                load_initial_weights(model, tmp_path / name)


def test_convolutional_weights_start_on_larger_frames_with_the_scale_of_their_data(tmp_path):
    choices = {"hidden_size": 3, "patch_size": 4, "cell": "conv", "output": "linear"}
    small = LSTMAutoencoder(ModelConfig(frame_shape=(1, 8, 8), **choices))
    small.encoder.mean.fill_(0.25)
    small.encoder.std.fill_(2)
    small.save_pretrained(tmp_path)
    large = LSTMAutoencoder(ModelConfig(frame_shape=(1, 16, 12), **choices))
    load_initial_weights(large, tmp_path)
    assert (large.encoder.mean.item(), large.encoder.std.item()) == (0.25, 2)
    for name, weight in small.state_dict().items():
        assert torch.equal(large.state_dict()[name], weight)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.floats(),
    st.sampled_from(["auto", "on", "x", "logistic", "linear", "lstm", "conv", "1"]),
    st.lists(st.one_of(st.integers(-1, 9), st.floats(0, 2), st.sampled_from(["reconstruction", "future"])), max_size=3),
    st.dictionaries(st.just("a"), st.just(1), max_size=1),
)


@settings(max_examples=600, deadline=None)
@given(data=st.data(), config=st.sampled_from([TrainConfig, FineTuning, ModelConfig]))
def test_a_config_is_valid_or_a_value_error(data, config):
    """`FineTuning(dropout=7)`, steps of 10.5 and a batch of 3.0 clips came through, and failed far from there."""
    names = [field.name for field in dataclasses.fields(config)]
    chosen = data.draw(st.dictionaries(st.sampled_from(names), ANYTHING, max_size=2))
    try:
        made = config(**chosen)
    except ValueError:
        return
    again = from_json(config, json.loads(json.dumps(dataclasses.asdict(made))), "here")
    assert again == made
    default = config()
    for name in names:
        value = getattr(made, name)
        if isinstance(value, float):
            assert math.isfinite(value)
        if type(getattr(default, name)) is bool:
            assert type(value) is bool
        if name in ("steps", "batch_size", "clips_per_step", "layers", "seed", "recompute", "truncate", "code_size"):
            assert value is None or (type(value) is int and value >= 0)
    if config is FineTuning:
        assert 0 <= made.dropout < 1
        assert made.weight_decay >= 0
        assert made.amp in ("auto", "on", "off")
    if config is TrainConfig:
        assert 0 <= made.warmup < 1


@pytest.mark.parametrize(
    ("config", "choices", "message"),
    [
        (FineTuning, {"dropout": 7}, "dropout is 7: expected 0 or more and less than 1"),
        (FineTuning, {"weight_decay": -1.0}, "weight_decay is -1.0: expected a finite number"),
        (FineTuning, {"amp": "x"}, "amp 'x': expected one of auto, on, off"),
        (FineTuning, {"frozen": float("nan")}, "frozen is nan"),
        (TrainConfig, {"steps": 10.5}, "steps is 10.5: expected a whole number"),
        (TrainConfig, {"batch_size": 3.0}, "batch_size is 3.0: expected a whole number"),
        (TrainConfig, {"seed": True}, "seed is True: expected a whole number"),
        (TrainConfig, {"warmup": 1.5}, "warmup is 1.5: expected 0 or more and less than 1"),
        (TrainConfig, {"lr": "fast"}, "lr is 'fast': expected a number"),
        (TrainConfig, {"deterministic": 1}, "deterministic is 1: expected true or false"),
        (ModelConfig, {"hidden_size": [8.0]}, "hidden_size is .*: expected a whole number or a list"),
        (ModelConfig, {"decoders": "future"}, "decoders is 'future': expected a list"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(config, choices, message):
    with pytest.raises(ValueError, match=message):
        config(**choices)


def test_numbers_of_numpy_are_numbers():
    made = ModelConfig(frame_shape=np.array([1, 8, 8]), hidden_size=np.int64(4))
    assert json.loads(json.dumps(dataclasses.asdict(made)))["hidden_size"] == 4
    assert TrainConfig(steps=np.int32(5), lr=np.float32(0.5)) == TrainConfig(steps=5, lr=0.5)


def test_init_from_starts_with_those_weights(run, tmp_path):
    assert train_tiny(tmp_path / "run", "--composite", "--init-from", str(run), "--lr", "1e-12", steps=1) == 0
    ours = LSTMAutoencoder.from_pretrained(tmp_path / "run").state_dict()
    theirs = LSTMAutoencoder.from_pretrained(run).state_dict()
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight)


def test_saved_models_come_back(run, tmp_path):
    """The folder of a run and an export give the same predictions."""
    model = LSTMAutoencoder.from_pretrained(run)
    model.save_pretrained(tmp_path / "export")
    assert same_weights(tmp_path / "export" / "model.safetensors", run / "model" / "model.safetensors")
    frames = torch.rand(2, 10, 1, 28, 28)
    again = LSTMAutoencoder.from_pretrained(str(tmp_path / "export"))
    assert torch.equal(again.predict(frames), model.predict(frames))


def test_an_array_of_frames_trains_and_evaluates(tmp_path):
    """RGB videos from a .npy file; evaluation takes the part of the file that training never saw."""
    videos = np.random.default_rng(0).integers(0, 256, (30, 20, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "videos.npy", videos)
    source = ["--dataset", "array", "--data-dir", str(tmp_path / "videos.npy")]
    flags = ["--composite", "--hidden-size", "8", "-b", "4", "--steps", "3", "--output-dir", str(tmp_path / "run")]
    assert train.command([*flags, *source]) == 0
    assert evaluate.command([str(tmp_path / "run")]) == 0
    results = json.loads((tmp_path / "run" / "evaluation" / "predict.json").read_text())
    assert (results["clips"], results["split"], results["digits"]) == (3, "test", None)
    np.save(tmp_path / "others.npy", np.concatenate([255 - videos[:6], videos[:1], videos[-1:]]))
    others = ["--data-dir", str(tmp_path / "others.npy"), "--output-dir", str(tmp_path / "others")]
    assert evaluate.command([str(tmp_path / "run"), *others]) == 0
    results = json.loads((tmp_path / "others" / "predict.json").read_text())
    assert (results["clips"], results["split"]) == (7, "all")  # without the one that was trained on


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--composite", "--digits", "mnist", "--data-dir", "/nowhere"], "/nowhere/MNIST/raw: no train-images"),
        (["--composite", "--dataset", "array"], "needs its file: --data-dir FILE.npy"),
        (["--composite", "--dataset", "array", "--data-dir", "/nowhere.npy"], "/nowhere.npy: no such file"),
        (["--composite", "--dataset", "moving-mnist-file"], "is test data: train on moving-mnist"),
        (["--composite", "--image-size", "20"], "image size 20: expected at least 28"),
        (["--composite", "--patch-size", "5"], "patch size 5 does not divide the frame"),
        (["--predict", "--conditional", "reconstruction"], "expected some of this model's decoders"),
        (["--composite", "-b", "0"], "batch_size is 0: expected a finite number above 0"),
        (["--composite", "--lr", "nan"], "lr is nan: expected a finite number above 0"),
        (["--composite", "--max-minutes", "0"], "max_minutes is 0.0: expected a finite number above 0"),
        (["--composite", "--device", "cuda:7"], "device 'cuda:7' cannot be used on this machine"),
        (["--composite", "--hidden-size", "8", "--init-from", "/nowhere"], "no config.json with model.safetensors"),
        (["--composite", "--seed", "-1"], "seed is -1: expected 0 to 2**63 - 1"),
        (["--composite", "--weight-decay", "nan"], "weight_decay is nan: expected a finite number, 0 or more"),
        (["--resume"], "no run to resume; say what to train"),
        (
            ["--composite", "--data-dir", "data"],
            "--data-dir changes nothing for --dataset moving-mnist with the bundled",
        ),
        (
            ["--composite", "--dataset", "array", "--num-digits", "3"],
            "--num-digits changes nothing for --dataset array",
        ),
        (["--reconstruct", "--future-frames", "3"], "--future-frames changes nothing for a model without future"),
    ],
)
def test_wrong_choices_are_one_clear_line(flags, message, tmp_path, capsys):
    assert train.command([*flags, "--output-dir", str(tmp_path / "run")]) == 1
    assert not (tmp_path / "run").exists()  # so that the corrected command is not refused
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    "flags",
    [[], ["--composite", "--predict"], ["--resume"], ["--composite", "--hidden-size", "many"], ["--no-such-flag"]],
)
def test_wrong_flags_exit_with_2(flags, capsys):
    with pytest.raises(SystemExit) as stopped:
        train.command(flags)
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--clips", "0"], ["-b", "-1"], ["--future-frames", "ten"], ["--tasks", "guess"], ["--seed", "-1"]]
)
def test_wrong_evaluation_flags_exit_with_2(flags, capsys):
    with pytest.raises(SystemExit) as stopped:
        evaluate.command(["run", *flags])
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_evaluating_what_is_no_run(tmp_path, run, capsys):
    def error_of(*words: str) -> str:
        assert evaluate.command(list(words)) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "no config.json; expected the folder of a run of train.py" in error_of(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert "expected the keys model, data and training" in error_of(str(tmp_path))
    (tmp_path / "config.json").write_text('{"mod')
    assert "config.json: not JSON" in error_of(str(tmp_path))
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    weights = folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert "model.safetensors: not a whole safetensors file" in error_of(str(folder))
    model_config = folder / "model" / "config.json"
    model_config.write_text(model_config.read_text().replace('"hidden_size": 8', '"hidden_size": 9'))
    shutil.copy(run / "model" / "model.safetensors", weights)
    assert "config.json: not the one that model.safetensors was saved with" in error_of(str(folder))
    save_file(load_file(weights), weights)  # as another program might, without sums
    assert "weights of another model: decoders.future.lstm.layers.0.bias (32 in the file, 36" in error_of(str(folder))
    model_config.write_text(model_config.read_text().replace('"hidden_size"', '"hiden_size"'))
    assert "unknown keys hiden_size" in error_of(str(folder))
    np.save(tmp_path / "wide.npy", np.zeros((10, 20, 28, 30), np.uint8))
    wide = ("--dataset", "array", "--data-dir", str(tmp_path / "wide.npy"))
    assert "frames of 28x30 pixels cannot be cut into 7x7 patches" in error_of(str(run), *wide)
