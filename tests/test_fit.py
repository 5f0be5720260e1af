"""Training, judging and fine-tuning from Python, on clips that no command knows."""

import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing import event_accumulator
from torch.utils.data import Dataset, IterableDataset

from video_ae import (
    EarlyStopping,
    FineTuning,
    LSTMAutoencoder,
    LSTMClassifier,
    ModelConfig,
    TensorBoard,
    TrainConfig,
    anomaly_scores,
    evaluate,
    fine_tune,
    fit,
    label_clips,
    label_efficiency,
)
from video_ae.checkpoint import Checkpoints
from video_ae.commands import evaluate as evaluate_command
from video_ae.commands import train as train_command
from video_ae.report.run import write_run
from video_ae.run_folder import RunFolder

COLOUR = ModelConfig(frame_shape=(3, 8, 8), input_frames=4, future_frames=2, hidden_size=8, output="linear")
RECIPE = TrainConfig(steps=6, batch_size=4, checkpoint_every=3, validation_clips=5, amp="off")


def clips_of(count: int, seed: int = 0, frames: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, frames, 3, 8, 8), dtype=np.uint8)


class Mine(Dataset):
    """What a user writes: one clip at a time."""

    def __init__(self, clips) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index):
        return torch.as_tensor(self.clips[index])


class Stream(IterableDataset):
    def __init__(self, clips) -> None:
        self.clips = clips

    def __iter__(self):
        return iter(self.clips)


def trained(clips, config: TrainConfig = RECIPE, model_config: ModelConfig = COLOUR, **how):
    torch.manual_seed(0)
    model = LSTMAutoencoder(model_config)
    return model, fit(model, clips, config, verbose=False, **{"device": "cpu"} | how)


def assert_same(one: LSTMAutoencoder, other: LSTMAutoencoder) -> None:
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(weight, other.state_dict()[name], rtol=0, atol=0, msg=name)


def test_a_preset_is_a_config_with_fields_of_your_own():
    config = ModelConfig.preset("conv", frame_shape=(3, 16, 16), hidden_size=8)
    assert (config.cell, config.patch_size, config.hidden_size, config.frame_shape) == ("conv", 8, 8, (3, 16, 16))
    with pytest.raises(ValueError, match="preset 'big': expected one of conv, dense, paper, paper-2layer"):
        ModelConfig.preset("big")


@pytest.mark.parametrize("form", ["tensor", "data set", "workers", "thread"])
def test_the_form_of_the_clips_changes_nothing(form, tmp_path):
    """Catches own data sets read in another order than arrays, twice, or not to the end."""
    clips = clips_of(10)
    expected, rows = trained(clips, validation=clips_of(5, 1))
    assert [row["step"] for row in rows if "validation" in row] == [3, 6]
    if form == "thread":  # where Python allows no signal handlers, which runs with a folder have
        results = []
        thread = threading.Thread(
            target=lambda: results.append(trained(clips, validation=clips_of(5, 1), output_dir=tmp_path / "run"))
        )
        thread.start()
        thread.join()
        found = results[0][0]
    else:
        given = torch.from_numpy(clips) if form == "tensor" else Mine(clips)
        found, _ = trained(given, validation=Mine(clips_of(5, 1)), workers=int(form == "workers"))
    assert_same(expected, found)


def test_float_clips_are_in_0_to_1():
    clips = clips_of(10)
    expected, _ = trained(clips)
    found, _ = trained((clips / 255).astype(np.float32))
    for one, other in zip(expected.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_fitting_learns_and_tells():
    """Callbacks see every step, in order, the metrics of each, and every validation."""
    seen, validated = [], []

    def watch(step, metrics, model):
        (validated if "validation" in metrics else seen).append((step, dict(metrics)))
        assert isinstance(model, LSTMAutoencoder)

    clips = np.repeat(clips_of(1), 8, axis=0)
    config = TrainConfig(steps=30, batch_size=4, checkpoint_every=10, amp="off", lr=1e-2)
    model, rows = trained(clips, config, validation=clips, callbacks=[watch])
    assert [step for step, _ in seen] == list(range(1, 31))
    assert [step for step, _ in validated] == [10, 20, 30]
    assert seen[-1][1]["loss"] < 0.8 * seen[0][1]["loss"]
    assert seen[-1][1]["loss"] == pytest.approx(seen[-1][1]["reconstruction"] + seen[-1][1]["future"], rel=1e-6)
    assert rows[-1]["validation"] == evaluate(model, clips, batch_size=4)
    assert [row["step"] for row in rows] == [10, 10, 20, 20, 30, 30]


@pytest.mark.parametrize("form", [Mine, Stream])
def test_a_run_that_a_callback_ended_goes_on_bit_for_bit(form, tmp_path):
    """Catches a stream that begins anew, and an order of clips that depends on where a run was cut."""
    clips = clips_of(10)
    expected, rows = trained(form(clips), validation=clips_of(5, 1), output_dir=tmp_path / "whole")
    how = {"validation": clips_of(5, 1), "output_dir": tmp_path / "cut"}
    trained(form(clips), callbacks=[lambda step, metrics, model: step == 4], **how)
    assert Checkpoints(tmp_path / "cut" / "checkpoints").newest_valid() == "step-000004"
    with pytest.raises(FileExistsError, match="resume"):
        trained(form(clips), **how)
    with pytest.raises(ValueError, match=r"the run has lr 0.003, not 0.1"):
        trained(form(clips), TrainConfig(**(vars(RECIPE) | {"lr": 0.1})), resume=True, **how)
    found, more = trained(form(clips), resume=True, **how)
    saved = [
        Checkpoints(tmp_path / name / "checkpoints").folder / "step-000006" / "model.safetensors"
        for name in ("whole", "cut")
    ]
    assert saved[0].read_bytes() == saved[1].read_bytes()
    assert more[-1]["validation"] == rows[-1]["validation"]
    assert LSTMAutoencoder.from_pretrained(tmp_path / "cut").config == COLOUR
    assert found.started
    assert expected.started


def test_early_stopping_leaves_the_best_weights():
    """Catches the last weights in their place: the learning rate is so high that they get worse."""
    config = TrainConfig(steps=200, batch_size=4, checkpoint_every=1, amp="off", lr=0.3)
    held_out = clips_of(6, 1)
    model, rows = trained(clips_of(6), config, validation=held_out, callbacks=[EarlyStopping(5)])
    losses = [row["validation_loss"] for row in rows if "validation" in row]
    assert len(losses) < 200
    assert np.argmin(losses) == len(losses) - 6
    results = evaluate(model, held_out, batch_size=4)
    found = results["future"]["squared_error"] + results["reconstruction"]["squared_error"]
    assert found == pytest.approx(min(losses), rel=1e-6)


def test_early_stopping_can_be_used_again():
    """Catches a second training that ends after its first step, by what the first one waited for."""
    config = TrainConfig(steps=200, batch_size=4, checkpoint_every=1, amp="off", lr=0.3)
    stopping = EarlyStopping(5)
    first, second = (trained(clips_of(6), config, validation=clips_of(6, 1), callbacks=[stopping])[1] for _ in range(2))
    assert [row["step"] for row in first] == [row["step"] for row in second]


def test_resuming_nothing_is_refused():
    """Catches a run that begins anew without a word."""
    with pytest.raises(ValueError, match=r"resume=True needs .* output_dir"):
        trained(clips_of(6), resume=True)


@pytest.mark.parametrize(
    "form",
    [
        lambda clips: np.lib.stride_tricks.as_strided(clips, writeable=False),
        lambda clips: clips[:, ::-1].copy()[:, ::-1],
        lambda clips: clips.astype(">f8"),
        lambda clips: torch.from_numpy(clips).requires_grad_(),
    ],
    ids=["read-only", "reversed", "big-endian", "requires grad"],
)
def test_numbers_in_memory_of_any_kind(form):
    """Catches what PyTorch warns of, as of arrays that are mapped for reading, or refuses."""
    clips = np.random.default_rng(0).random((6, 6, 3, 8, 8), np.float32)
    expected, _ = trained(clips)
    found, _ = trained(form(clips))
    assert_same(found, expected)


@pytest.mark.parametrize("steps", [12, 16])
def test_the_best_weights_may_be_of_before_a_run_was_resumed(steps, tmp_path):
    """Catches the last weights in their place, where nothing was left to do and where nothing got better."""
    config = {"batch_size": 4, "checkpoint_every": 1, "amp": "off", "lr": 0.3}
    held_out, how = clips_of(6, 1), {"output_dir": tmp_path / "run", "validation": clips_of(6, 1)}
    expected, rows = trained(clips_of(6), TrainConfig(steps=12, **config), **how)
    losses = [row["validation_loss"] for row in rows if "validation" in row]
    assert np.argmin(losses) < 11
    model, rows = trained(clips_of(6), TrainConfig(steps=steps, **config), resume=True, **how)
    results = evaluate(model, held_out, batch_size=4)
    found = results["future"]["squared_error"] + results["reconstruction"]["squared_error"]
    assert found == pytest.approx(min(row["validation_loss"] for row in rows if "validation" in row), rel=1e-6)
    assert_same(model, expected)


def test_a_loss_of_your_own_is_what_is_minimised():
    def absolute(outputs, targets, lengths):
        return (outputs - targets).abs().flatten(2).sum(dim=2).mean()

    first = {}

    def note(step, metrics, model):
        first.setdefault("loss", metrics["loss"])
        return True

    clips = clips_of(4)
    torch.manual_seed(0)
    model = LSTMAutoencoder(COLOUR)
    model.start_from(torch.from_numpy(clips))
    vectors = model.encoder.to_vectors(torch.from_numpy(clips))
    with torch.no_grad():
        outputs = model(vectors[:, :4], vectors[:, 4:], teacher_forcing=True)
    expected = absolute(outputs["reconstruction"], vectors[:, :4], None) + absolute(
        outputs["future"], vectors[:, 4:], None
    )
    fit(model, clips, RECIPE, loss=absolute, callbacks=[note], verbose=False)
    assert first["loss"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("kind", ["frames", "features"])
def test_clips_of_different_lengths_are_judged_as_each_alone(kind):
    """Catches padding that is read, predicted or counted, and futures that lie at the longest clip's end."""
    if kind == "frames":
        config, clips = COLOUR, [clips_of(1, seed, frames)[0] for seed, frames in enumerate((6, 3, 5, 6, 4))]
    else:
        config = ModelConfig(frame_shape=(5, 1, 1), input_frames=4, future_frames=2, hidden_size=8, output="linear")
        random = np.random.default_rng(0)
        clips = [random.normal(0, 50, (frames, 5)).astype(np.float32) for frames in (6, 3, 5, 6, 4)]
    model, rows = trained(Mine(clips), validation=Mine(clips), model_config=config)
    results = evaluate(model, Mine(clips), batch_size=3)
    future, past = [], []
    for clip in clips:
        whole = torch.as_tensor(clip).reshape(1, len(clip), *config.frame_shape)
        whole = whole / 255 if whole.dtype == torch.uint8 else whole
        std = model.encoder.std[:, None, None]
        with torch.no_grad():
            future.append(((model.predict(whole[:, :-2]) - whole[:, -2:]) / std).square().flatten(2).sum(2))
            past.append(((model.reconstruct(whole[:, :-2]) - whole[:, :-2]) / std).square().flatten(2).sum(2))
    for name, errors in (("future", future), ("reconstruction", past)):
        expected = float(torch.cat([error.flatten() for error in errors]).mean())
        assert results[name]["squared_error"] == pytest.approx(expected, rel=1e-4)
    assert rows[-1]["validation"]["clips"] == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((3, 6, 8, 8, 3), np.uint8), r"clip \d: found \(6, 8, 8, 3\), expected frames \(T, 3, 8, 8\)"),
        (np.zeros((3, 9, 3, 8, 8), np.uint8), "found 9 frames, expected 3 to 6"),
        (np.zeros((3, 2, 3, 8, 8), np.uint8), "found 2 frames, expected 3 to 6"),
        (np.zeros((3, 6, 3, 8, 8), np.int64), "found torch.int64, expected uint8 in 0 to 255 or float in 0 to 1"),
        (np.full((3, 6, 3, 8, 8), np.nan, np.float32), "found NaN or infinite values"),
        (np.full((3, 6, 3, 8, 8), 255.0, np.float32), "found float frames of up to 255, expected 0 to 1"),
        (np.zeros((0, 6, 3, 8, 8), np.uint8), "found no clips"),
        ([(np.zeros((6, 3, 8, 8), np.uint8), 0)], "found tuple, expected an array .*without labels"),
        (iter([]), "cannot be read twice"),
        (Stream([]), "Stream yields no clips|found no clips"),
        ("videos", "found str, expected an array"),
        (3, "found int, which cannot be read"),
    ],
)
def test_clips_that_do_not_fit_are_named(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        trained(given)


def test_a_model_that_learnt_is_not_started_anew(tmp_path):
    """Catches the scale of the first layer, and the mean, drawn over what was learnt before."""
    model, _ = trained(clips_of(10))
    mean = model.encoder.mean.clone()
    model.save_pretrained(tmp_path)
    again = LSTMAutoencoder.from_pretrained(tmp_path)
    for each in (model, again):
        before = {name: weight.clone() for name, weight in each.state_dict().items()}
        fit(
            each, clips_of(10) // 4, TrainConfig(steps=1, batch_size=4, lr=1e-9, amp="off"), device="cpu", verbose=False
        )
        assert torch.equal(each.encoder.mean, mean)
        for name, weight in each.state_dict().items():
            torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-6)


def labelled(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Clips that become brighter or darker."""
    random = np.random.default_rng(seed)
    ups = random.random(count) < 0.5
    ramp = np.linspace(40, 200, 4)
    levels = np.where(ups[:, None], ramp, ramp[::-1])  # (N, 4)
    clips = levels[:, :, None, None, None] + random.normal(0, 10, (count, 4, 3, 8, 8))
    return clips.clip(0, 255).astype(np.uint8), ["up" if up else "down" for up in ups]


def test_a_classifier_learns_from_labelled_clips():
    clips, labels = labelled(40, 0)
    model, _ = trained(np.concatenate([clips, clips[:, -2:]], axis=1), TrainConfig(steps=20, batch_size=8, amp="off"))
    classifier = LSTMClassifier.from_encoder(model.encoder, ["down", "up"])
    fine_tune(classifier, clips, labels, FineTuning(steps=60, lr=1e-2, encoder_lr=1.0, dropout=0.0, amp="off"))
    others, truth = labelled(40, 1)
    with torch.no_grad():
        found = classifier.scores(torch.from_numpy(others)).argmax(dim=1)
    assert [("down", "up")[index] for index in found] == truth
    with pytest.raises(ValueError, match="found labels sideways, expected some of down, up"):
        fine_tune(classifier, clips[:2], ["up", "sideways"])
    with pytest.raises(ValueError, match="found 1 labels of 2 clips"):
        fine_tune(classifier, clips[:2], ["up"])
    curve = label_efficiency(
        model.encoder,
        label_clips(COLOUR, clips, labels),
        label_clips(COLOUR, others, truth),
        [2],
        seeds=1,
        recipe=FineTuning(steps=2, amp="off"),
        arms=["frozen", "linear"],
    )
    assert curve.shape == (1, 2, 1, 40, 2)
    np.testing.assert_allclose(curve.sum(axis=-1), 1, rtol=1e-5)


def test_what_a_model_never_saw_is_anomalous():
    """Of clips that go up, clips that flicker are further from normal than others that go up."""
    up = np.linspace(40, 200, 6)[None, :, None, None, None] + np.random.default_rng(0).normal(0, 5, (40, 6, 3, 8, 8))
    up = up.clip(0, 255).astype(np.uint8)
    model, _ = trained(up[:20], TrainConfig(steps=80, batch_size=8, amp="off", lr=1e-2))
    scores = anomaly_scores(model, np.concatenate([up[30:], clips_of(3)]), up[20:30])
    assert scores.steps.shape == (13, 6)
    assert scores.sequences[10:].min() > 2 * scores.sequences[:10].max()


def test_rows_are_those_of_metrics_jsonl(tmp_path):
    _, rows = trained(clips_of(10), validation=clips_of(5, 1), output_dir=tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(rows) == 2
    assert all(one["seconds"] <= other["seconds"] for one, other in pairwise(rows))
    assert (tmp_path / "run" / "samples" / "step-000006.gif").is_file()


def test_a_run_from_python_has_a_report_and_says_what_it_lacks(tmp_path, capsys):
    """Catches a run without data that the commands take for one of moving digits, the default."""
    trained(clips_of(10), validation=clips_of(5, 1), output_dir=tmp_path / "run")
    assert evaluate_command.command([str(tmp_path / "run")]) == 1
    assert "trained from Python on clips that no flag names" in capsys.readouterr().err
    assert train_command.command(["--resume", "--output-dir", str(tmp_path / "run")]) == 1
    assert "trained from Python on clips that no flag names" in capsys.readouterr().err
    page = write_run(RunFolder(tmp_path / "run"), {}).read_text()
    assert "clips that were given in Python" in page


def test_tensorboard_reads_what_the_callback_wrote(tmp_path):
    rows = trained(
        clips_of(10),
        validation=clips_of(5, 1),
        output_dir=tmp_path / "run",
        callbacks=[TensorBoard(tmp_path / "run/tb")],
    )[1]
    events = event_accumulator.EventAccumulator(str(tmp_path / "run/tb"))
    events.Reload()
    assert len(events.Scalars("loss")) == 6
    validated = [row for row in rows if "validation" in row]
    for event, row in zip(events.Scalars("validation/future/mse"), validated, strict=True):
        assert event.step == row["step"]
        assert event.value == pytest.approx(row["validation"]["future"]["mse"])


def test_a_run_of_the_command_line_is_not_taken_for_one_of_python(tmp_path):
    """Catches a config whose data were written over by those of Python, which no flag names."""
    tiny = "--composite --cell lstm --hidden-size 4 --steps 2 -b 2 --validation-clips 2 --device cpu --amp off"
    run = tmp_path / "run"
    assert train_command.command([*tiny.split(), "--output-dir", str(run)]) == 0
    before = (run / "config.json").read_bytes()
    model = LSTMAutoencoder.from_pretrained(run)
    clips = np.zeros((4, 20, 1, 64, 64), np.uint8)
    recipe = TrainConfig(steps=4, batch_size=2, validation_clips=2, amp="off")
    with pytest.raises(ValueError, match="learns from moving-mnist that a command names; go on"):
        fit(model, clips, recipe, output_dir=run, resume=True, verbose=False)
    assert (run / "config.json").read_bytes() == before


def test_what_is_no_class_is_no_label():
    """Catches classes called nan and None."""
    clips, labels = labelled(4, 0)
    for wrong in (float("nan"), None, 1.5):
        with pytest.raises(ValueError, match="expected names or whole numbers"):
            label_clips(COLOUR, clips, [*labels[:3], wrong])
    assert label_clips(COLOUR, clips, np.array([7, 8, 7, 8])).class_names == ("7", "8")


def test_a_summary_wants_clips_of_every_class():
    """Catches scikit-learn's regression of the classes that occur, in the rows of others."""
    config = ModelConfig(frame_shape=(3, 1, 1), input_frames=4, future_frames=2, hidden_size=4, output="linear")
    model = LSTMAutoencoder(config)
    classifier = LSTMClassifier.from_encoder(model.encoder, ["a", "b", "c"], summary=True)
    clips = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    with pytest.raises(ValueError, match=r"no labelled clips of the classes \[1\], expected some of every class"):
        fine_tune(classifier, clips, ["a", "c"] * 3, FineTuning(steps=1, amp="off"))


@pytest.mark.parametrize("form", [Mine, Stream])
def test_clips_that_are_refused_leave_no_folder_behind(form, tmp_path):
    """The corrected call was refused then: the folder was made before the first clip was looked at."""
    run = tmp_path / "run"
    with pytest.raises(ValueError, match="found 7 frames, expected"):
        trained(form(clips_of(6, frames=7)), output_dir=run)
    with pytest.raises(ValueError, match="found 7 frames, expected"):
        trained(form(clips_of(6)), validation=form(clips_of(2, frames=7)), output_dir=run)
    with pytest.raises(ValueError, match="of up to 255, expected 0 to 1"):
        trained(form(np.full((6, 6, 3, 8, 8), 255.0, np.float32)), output_dir=run)
    trained(form(clips_of(6)), output_dir=run)
