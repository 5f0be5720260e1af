"""Calls without side effects: modes, gradients, random numbers and settings are afterwards what they were before."""

import copy
import logging
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from video_ae import LSTMAutoencoder, LSTMClassifier, ModelConfig, SequenceAutoencoder, TrainConfig
from video_ae.anomaly import Scorer, step_errors
from video_ae.classifier import ClassifierConfig
from video_ae.commands import train
from video_ae.commands.tasks.rollout import hidden_units
from video_ae.config import FineTuning
from video_ae.datasets.batches import _leave_signals_to_the_parent
from video_ae.datasets.digits import load_digits
from video_ae.datasets.moving_mnist import MovingMNIST, label_digits
from video_ae.evaluation import evaluate_baselines, evaluate_batches, mean_frame, predict_clips
from video_ae.onnx.export import encoder_program, export_onnx
from video_ae.recurrent import LSTM
from video_ae.restored import deterministic, mode, same_gradients
from video_ae.run_folder import RunFolder
from video_ae.training import fit
from video_ae.training_step import train_step
from video_ae.transfer import build, fine_tune_videos, label_efficiency, train_arm, video_scores

CPU = torch.device("cpu")
CONFIG = ModelConfig(frame_shape=(1, 28, 28), hidden_size=4, input_frames=3, future_frames=2, code_size=3)
CLIPS = torch.randint(0, 256, (4, 5, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SERIES = np.random.default_rng(0).normal(size=(6, 8, 2))
RECIPE = FineTuning(steps=1, clips_per_step=4)
TRAINING = TrainConfig(steps=2, batch_size=4, amp="off", validation_clips=4, recompute=2, truncate=2)


def settings_now() -> dict[str, object]:
    """Everything that all code in this process shares."""
    return {
        "torch random": torch.get_rng_state().tolist(),
        "numpy random": repr(np.random.get_state()),
        "python random": random.getstate(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "type": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR")},
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "matplotlib": dict(mpl.rcParams),
        "logging": logging.root.level,
        "numpy errors": np.geterr(),
        "folder": os.getcwd(),
    }


def state_of(model: torch.nn.Module) -> dict[str, object]:
    """All of a model but its weights, which training is for."""
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "need gradients": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "gradients": {name: parameter.grad is None for name, parameter in model.named_parameters()},
        "long sequences": [(part.recompute, part.truncate) for part in model.modules() if isinstance(part, LSTM)],
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "hooks": [len(module._forward_hooks) for module in model.modules()],
    }


def same(before: tuple[dict[str, object], ...], after: tuple[dict[str, object], ...]) -> None:
    changed = [name for one, other in zip(before, after, strict=True) for name in one if one[name] != other[name]]
    assert not changed


def labelled():
    clips = MovingMNIST(load_digits("optical", "train"), "train", frames=3, num_digits=1, image_size=28)
    return label_digits(clips, "direction", 40)


def call(name: str, model: LSTMAutoencoder, classifier: LSTMClassifier, folder: Path) -> None:
    """What the package can do with a model. Weights may change where that is what it is for."""
    floats, data = CLIPS[:, :3] / 255, labelled()
    match name:
        case "encode":
            model.encode(floats)
        case "decode":
            model.decode(torch.zeros(2, 3), 2)
        case "reconstruct":
            model.reconstruct(CLIPS[:, :3])
        case "predict":
            model.predict(floats, 4)
        case "scores":
            classifier.scores(CLIPS[:, :3])
        case "start_from":
            classifier.start_from(CLIPS[:, :3])
        case "from_encoder":
            LSTMClassifier.from_encoder(model.encoder, ["a", "b"])
        case "evaluate":
            evaluate_batches(model, [CLIPS], CPU)
        case "baselines":
            evaluate_baselines(model, [CLIPS], mean_frame([CLIPS]), "future", CPU)
        case "predict_clips":
            predict_clips(model, CLIPS, CPU)
        case "step_errors":
            step_errors(model, CLIPS)
        case "scorer":
            Scorer.fit(model, [CLIPS])[0](CLIPS)
        case "hidden_units":
            hidden_units(model, CLIPS[:1], 2)
        case "build":
            build("scratch", model.encoder, data, RECIPE, seed=1)
        case "fine_tune":
            fine_tune_videos(classifier, data, np.arange(20), RECIPE, seed=1)
        case "fine_tune frozen":
            fine_tune_videos(classifier, data, np.arange(20), FineTuning(steps=2, clips_per_step=4, frozen=1), seed=1)
        case "train_arm":
            video_scores(train_arm("single_frame", model.encoder, data, np.arange(20), RECIPE, seed=1), data)
        case "label_efficiency":
            label_efficiency(model.encoder, data, data, [1], seeds=1, recipe=RECIPE, arms=["frozen", "linear"])
        case "export":
            folder.mkdir(exist_ok=True)
            export_onnx(model, folder / "model.onnx")
        case "program":
            encoder_program(model, 3)
        case "save and load":
            model.save_pretrained(folder / "saved")
            LSTMAutoencoder.from_pretrained(folder / "saved").predict(CLIPS[:, :3])
            classifier.save_pretrained(folder / "classifier")
            LSTMClassifier.from_pretrained(folder / "classifier")
        case "fit":
            fit(model, CLIPS, TRAINING, validation=CLIPS, output_dir=folder / "run")


CALLS = [
    "encode", "decode", "reconstruct", "predict", "scores", "start_from", "from_encoder", "evaluate", "baselines",
    "predict_clips", "step_errors", "scorer", "hidden_units", "build", "fine_tune", "fine_tune frozen", "train_arm",
    "label_efficiency", "export", "program", "save and load", "fit",
]  # fmt: skip


def a_model(seed: int = 0, *, predicts_only: bool = False) -> tuple[LSTMAutoencoder, LSTMClassifier]:
    """A model and a classifier, whose parts are in any modes and need gradients or not."""
    model, choose = LSTMAutoencoder(CONFIG), random.Random(seed)
    classifier = LSTMClassifier(ClassifierConfig(CONFIG, tuple("abcdefgh"), dropout=0.5))
    for part in (*model.modules(), *classifier.modules()):
        part.training = choose.random() < 0.5
    for parameter in (*model.parameters(), *classifier.encoder.parameters()):
        parameter.requires_grad_(choose.random() < 0.5)
    return model, classifier


@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_everything_else_as_it_was(name, tmp_path):
    if name == "export":
        pytest.importorskip("onnx")
    with torch.enable_grad():
        for seed in (1, 2):
            model, classifier = a_model(seed)
            if name == "fit":
                model.requires_grad_()
            before = settings_now(), state_of(model), state_of(classifier)
            call(name, model, classifier, tmp_path / str(seed))
            same(before, (settings_now(), state_of(model), state_of(classifier)))


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails_does_too(name, tmp_path, monkeypatch):
    """After an error in the middle, or Ctrl-C, nothing stays switched."""
    model, classifier = a_model(3)
    if name == "fit":
        model.requires_grad_()

    class StopError(Exception):
        pass

    def fail(*arguments, **options):
        raise StopError

    before = settings_now(), state_of(model), state_of(classifier)
    with monkeypatch.context() as patched:
        patched.setattr(LSTM, "forward", fail)
        if name in ("save and load", "start_from", "from_encoder", "build", "export"):  # which run no LSTM
            patched.setattr("video_ae.models.Encoder.state_dict", fail)
            patched.setattr("video_ae.models.Encoder.start_from", fail)
            patched.setattr("video_ae.classifier.LSTMClassifier.start_from", fail)
            patched.setattr("video_ae.onnx.export._Clips.read", fail)
            patched.setattr("video_ae.pretrained.write_tensors", fail)
        if name == "baselines":
            patched.setattr("video_ae.evaluation.errors", fail)
        with pytest.raises(StopError):
            call(name, model, classifier, tmp_path)
    same(before, (settings_now(), state_of(model), state_of(classifier)))


@settings(max_examples=200, deadline=None)
@given(modes=st.lists(st.booleans(), min_size=12, max_size=12), training=st.booleans(), fails=st.booleans())
def test_modes_and_switches_come_back_part_by_part(modes, training, fails):
    model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout()) for _ in range(3)))
    for part, value in zip(model.modules(), modes, strict=False):
        part.training = value
    for parameter, value in zip(model.parameters(), modes, strict=False):
        parameter.requires_grad_(value)
    before = state_of(model)
    try:
        with mode(model, training=training), same_gradients(model):
            assert {part.training for part in model.modules()} == {training}
            model.requires_grad_(not training)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert state_of(model) == before


def test_the_estimator_moves_no_shared_random_numbers():
    before = settings_now()
    estimator = SequenceAutoencoder(max_iter=1, hidden_size=4, code_size=2, random_state=3).fit(SERIES)
    estimator.transform(SERIES)
    estimator.reconstruct(SERIES)
    estimator.score_steps(SERIES)
    assert settings_now() == before


def test_a_step_is_the_same_whatever_mode_the_model_is_in_and_whatever_was_drawn_before():
    """`train_step` alone has to set what `fit` set: `recompute`, `truncate` and the mode."""
    results = []
    for training, seed in ((False, 0), (True, 1)):
        torch.manual_seed(7)
        model = LSTMAutoencoder(CONFIG).train(training)
        torch.manual_seed(seed)
        before = state_of(model)
        row = train_step(model, torch.optim.SGD(model.parameters()), CLIPS, 0.1, TRAINING, 1)
        after = state_of(model)
        assert {name: after[name] for name in after if name != "gradients"} == {
            name: before[name] for name in before if name != "gradients"
        }
        results.append((row, [parameter.clone() for parameter in model.parameters()]))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(*pair) for pair in zip(results[0][1], results[1][1], strict=True))


def test_a_step_truncates_and_recomputes_as_its_config_says(monkeypatch):
    """Without `fit` both were passed over in silence."""
    torch.manual_seed(0)
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 4, 4), hidden_size=4, input_frames=8, decoders=("future",)))
    clips = torch.randint(0, 256, (2, 18, 1, 4, 4), dtype=torch.uint8)

    def gradient(**choices) -> torch.Tensor:
        one = copy.deepcopy(model)
        train_step(one, torch.optim.SGD(one.parameters()), clips, 0.0, TrainConfig(amp="off", **choices), 1)
        return one.encoder.lstm.layers[0].weight_hidden.grad

    whole = gradient()
    torch.testing.assert_close(gradient(recompute=3), whole)
    assert not torch.allclose(gradient(truncate=2), whole)
    calls = []
    recomputing = "video_ae.recurrent.checkpoint"
    original = sys.modules["video_ae.recurrent"].checkpoint
    monkeypatch.setattr(recomputing, lambda *given, **options: calls.append(1) or original(*given, **options))
    gradient(recompute=3)
    assert calls
    model.encoder.lstm.truncate = 3  # its own setting is for its own calls
    torch.testing.assert_close(gradient(), whole)
    assert model.encoder.lstm.truncate == 3


def test_deterministic_operations_are_asked_for_while_they_are_needed(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with deterministic(False):
            assert not torch.are_deterministic_algorithms_enabled()
        with deterministic(True):
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    finally:
        torch.use_deterministic_algorithms(False)


# Gradients.


@pytest.mark.parametrize(
    "cell", [{}, {"patch_size": 4, "cell": "conv"}, {"peephole": True, "conditional": ("future",)}]
)
def test_a_second_derivative_says_that_there_is_none(cell):
    """`create_graph=True` gave constants, or an error about `out=`."""
    model = LSTMAutoencoder(ModelConfig(**({"frame_shape": (1, 8, 8), "hidden_size": 3, "input_frames": 3} | cell)))
    frames = torch.rand(2, 3, 1, 8, 8, requires_grad=True)
    for made in (model.encode(frames), model.predict(frames, 2), model.reconstruct(frames)):
        (gradient,) = torch.autograd.grad(made.sum(), frames, create_graph=True)
        (once,) = torch.autograd.grad(made.sum(), frames, retain_graph=True)
        torch.testing.assert_close(gradient, once)  # the first one is right
        with pytest.raises(RuntimeError, match=r"^a second derivative: .* written by hand and have none"):
            gradient.square().sum().backward()
        penalty = torch.autograd.grad(made.sum(), frames, create_graph=True)[0].square().sum()
        for of in (frames, *model.encoder.parameters()):  # `grad` went past what does not lead there
            with pytest.raises(RuntimeError, match=r"^a second derivative"):
                torch.autograd.grad(made.sum() + penalty, of, retain_graph=True)


@pytest.mark.parametrize("output", ["logistic", "linear"])
def test_a_second_backward_pass_through_a_loss_is_told(output):
    from video_ae.losses import LOSSES

    outputs, targets = torch.rand(2, 3, 4, requires_grad=True), torch.rand(2, 3, 4)
    loss = LOSSES[output](outputs, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second backward pass through one loss"):
        loss.backward()
    (gradient,) = torch.autograd.grad(LOSSES[output](outputs, targets), outputs, create_graph=True)
    with pytest.raises(RuntimeError, match="a second derivative"):
        gradient.sum().backward()


def test_a_graph_is_used_again_where_it_was_kept_and_else_torch_says_so():
    model = LSTMAutoencoder(CONFIG)
    loss = model.encode(CLIPS[:, :3]).square().sum()
    weights = list(model.encoder.lstm.parameters())
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    second = torch.autograd.grad(loss, weights)
    torch.testing.assert_close(first, second)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, weights)


def test_classifiers_are_differentiable_to_their_input():
    classifier = LSTMClassifier(ClassifierConfig(CONFIG, ("a", "b"), dropout=0.5))
    torch.nn.init.normal_(classifier.head.weight)
    frames = torch.rand(2, 3, 1, 28, 28, requires_grad=True)
    scores = classifier.scores(frames)
    torch.testing.assert_close(scores, classifier.scores(frames))  # no dropout
    (gradient,) = torch.autograd.grad(scores[:, 0].sum(), frames)
    assert gradient.abs().sum() > 0


# Other systems.


class NoFloat64(TorchDispatchMode):
    """What MPS is like: an error wherever a tensor of float64 would come into being."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        for tensor in made if isinstance(made, (tuple, list)) else [made]:
            assert not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float64, f"{function} makes float64"
        return made


@pytest.mark.parametrize("choices", [{}, {"output": "linear"}, {"variational": True}, {"conditional": ("future",)}])
@pytest.mark.parametrize("huge", [False, True])
def test_a_training_step_makes_no_float64(choices, huge, monkeypatch):
    """MPS has none; the shares of parts and the norm of large gradients were such."""
    from video_ae.losses import LOSSES
    from video_ae.optimizer import Optimizer

    model = LSTMAutoencoder(ModelConfig(**({"frame_shape": (1, 8, 8), "hidden_size": 4, "code_size": 2} | choices)))
    if huge:
        monkeypatch.setitem(LOSSES, model.config.output, lambda outputs, *_: 1e24 * outputs.mean())
    clips = torch.rand(4, 20, 1, 8, 8)
    clips[1, 15:] = torch.nan
    config = TrainConfig(batch_size=4, accumulate=2, noise=0.1, drop_frames=0.1, amp="off")
    with NoFloat64():
        row = train_step(model, Optimizer(model, 1e-3), clips, 1e-3, config, 1)
    assert np.isfinite(row["gradient_norm"])
    assert (row["gradient_norm"] > 1e20) == huge


class Locking:
    """Stands for Windows' `msvcrt`: which bytes of which files are locked."""

    LK_NBLCK = 2

    def __init__(self):
        self.locked = set()

    def locking(self, descriptor, how, count):
        assert (how, count) == (self.LK_NBLCK, 1)
        place = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        assert place[1] > 100  # Windows lets nobody read what is locked, and the number of the process is read
        if place in self.locked:
            raise PermissionError(13, "Permission denied")
        self.locked.add(place)


def test_a_run_is_locked_without_fcntl(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Locking())
    RunFolder(tmp_path).lock()
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(BlockingIOError, match=f"process {os.getpid()} is writing into it"):
        RunFolder(tmp_path).lock()


def test_a_system_without_locks_is_told_in_a_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "resource", None)
    words = ["--image-size", "28", "--num-digits", "1", "--hidden-size", "4", "-b", "2", "--validation-clips", "2"]
    words += ["--reconstruct", "--steps", "1", "--device", "cpu", "--output-dir", str(tmp_path / "a run")]
    assert train.command(words) == 0
    printed = capsys.readouterr()
    assert printed.err.count("no file locks on this system; start no second run in it") == 1
    assert f"next     python evaluate.py '{tmp_path}/a run'" in printed.out


def test_memory_is_unknown_without_resource(monkeypatch):
    from video_ae.memory import resident_peak

    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert resident_peak() == 0


def test_readers_of_data_outlive_ctrl_c_without_sessions(monkeypatch):
    """On Windows there is no `os.setsid`."""
    monkeypatch.delattr(os, "setsid")
    before = signal.getsignal(signal.SIGINT)
    try:
        _leave_signals_to_the_parent(0)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# Commands to be repeated.


@settings(max_examples=200, deadline=None)
@given(name=st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_printed_path_is_one_word_of_a_shell_and_no_flag(name):
    import shlex

    from video_ae.shell import shell_path

    (word,) = shlex.split(shell_path(name))
    assert not word.startswith("-")
    assert os.path.normpath(word) == os.path.normpath(name)


def test_a_command_comes_back_from_the_shell_as_it_was_given(tmp_path, monkeypatch):
    """Spaces and quotes in a path made another command of it."""
    words = ["train.py", "--data-dir", 'my videos/it\'s "new"', "--output-dir=-x", "vidéo; ls", "a\nb", "$HOME", "*"]
    monkeypatch.setattr(sys, "argv", words)
    run = RunFolder(tmp_path)
    run.update({})
    from video_ae.files import read_json

    command = read_json(tmp_path / "env.json")[0]["command"]
    shell = f"{sys.executable} -c 'import sys; print(repr(sys.argv[1:]))' {command}"
    told = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert told.strip() == repr(words)
