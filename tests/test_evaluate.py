"""The tasks of evaluate.py beside predict, and real videos from files to results, on small data."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_videos

from video_ae import LSTMAutoencoder, LSTMClassifier, ModelConfig
from video_ae.commands import evaluate, train
from video_ae.commands.tasks.architecture import describe
from video_ae.datasets.config import DataConfig
from video_ae.transfer import video_scores

TRAINING = ["-b", "4", "--steps", "2", "--hidden-size", "6", "--device", "cpu", "--validation-clips", "8"]
FEW = ["--labels-per-class", "1", "2", "--num-seeds", "2", "--steps", "2", "--device", "cpu"]


def result(folder: Path, task: str) -> dict:
    return json.loads((folder / f"{task}.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    small = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2"]
    assert train.command(["--composite", *small, *TRAINING, "--output-dir", str(folder)]) == 0
    return folder


@pytest.fixture
def small_pools(monkeypatch):
    monkeypatch.setattr("video_ae.commands.tasks.labelled.LABELLED_CLIPS", 200)


def test_classify_writes_the_curve_the_scores_and_the_classifier(run, small_pools, capsys):
    assert evaluate.command([str(run), "--tasks", "classify", "--clips", "40", *FEW]) == 0
    folder = run / "evaluation" / "clips-40-labels-per-class-1-2-num-seeds-2-steps-2"
    results = result(folder, "classify")
    assert [row["labels_per_class"] for row in results["curve"]] == [1, 2]
    arms = ["encoder_init", "scratch", "frozen", "single_frame", "linear"]
    for row in results["curve"]:
        assert list(row) == ["labels_per_class", *arms]
        for arm in arms:
            assert row[arm].keys() == {"mean", "std", "seeds"}
            assert len(row[arm]["seeds"]) == 2
    assert (results["task"], results["test_videos"], results["recipe"]["steps"]) == ("identity", 40, 2)
    printed = capsys.readouterr().out
    assert "1 label per class: pretraining" in printed
    assert (folder / "classify.png").stat().st_size > 1000
    classifier = LSTMClassifier.from_pretrained(folder / "classifier")
    test = DataConfig(image_size=28).open_labelled("test", 3, task="identity", clips=40)
    with np.load(folder / "classify-scores.npz") as stored:
        expected = stored["scores"][1, 0, 0]  # the most labels, encoder_init, seed 0
    np.testing.assert_allclose(video_scores(classifier.scores, test), expected, atol=1e-5)


def test_two_streams_are_averaged_and_must_be_alike(run, small_pools, tmp_path, capsys):
    words = ["--tasks", "classify", "--labels", "direction", "--clips", "30", *FEW]
    assert evaluate.command([str(run), *words, "--two-stream", str(tmp_path)]) == 1
    assert "no scores; run the same classify task" in capsys.readouterr().err
    assert evaluate.command([str(run), *words]) == 0
    assert evaluate.command([str(run), *words, "--two-stream", str(run)]) == 0  # with itself: nothing changes
    folder = run / "evaluation" / "clips-30-labels-direction-labels-per-class-1-2-num-seeds-2-steps-2"
    assert result(folder, "classify-two-stream")["curve"] == result(folder, "classify")["curve"]
    scores = folder / "classify-scores.npz"
    with np.load(scores) as stored:
        np.savez(scores, **{**stored, "names": stored["names"][::-1]})
    capsys.readouterr()
    assert evaluate.command([str(run), *words, "--two-stream", str(run)]) == 1
    assert "other names; classify both runs with the same flags" in capsys.readouterr().err


def test_probe_compares_the_code_with_raw_frames_and_an_untrained_encoder(run, small_pools, capsys):
    assert evaluate.command([str(run), "--tasks", "probe", "--clips", "60", "--device", "cpu"]) == 0
    folder = run / "evaluation" / "clips-60"
    results = result(folder, "probe")
    for kind in ("code", "untrained", "raw_frames"):
        assert results[kind].keys() == {"class", "position", "velocity", "clustering"}
    assert results["raw_frames"]["position"]["linear"] == pytest.approx(1)  # one place only in frames of 28 pixels
    assert 0 <= results["retrieval"]["precision_at_5"] <= 1
    assert (folder / "probe-retrieval.png").stat().st_size > 1000
    assert "R2" in capsys.readouterr().out


def test_codes_of_a_convolutional_model_are_probed_before_their_mean_too(small_pools, tmp_path):
    """A mean over positions forgets where a digit is, all positions side by side do not; catches one for the other."""
    flags = ["--reconstruct", "--cell", "conv", "--patch-size", "8", "--input-frames", "3", "--image-size", "64"]
    assert train.command([*flags, *TRAINING, "--output-dir", str(tmp_path / "run")]) == 0
    words = ["--tasks", "probe", "--clips", "100", "--device", "cpu", "--output-dir", str(tmp_path / "out")]
    assert evaluate.command([str(tmp_path / "run"), *words]) == 0
    results = result(tmp_path / "out", "probe")
    for code, grid in (("code", "grid"), ("untrained", "untrained_grid")):
        assert results[grid]["position"]["knn"] > results[code]["position"]["knn"] + 0.1


def test_the_architecture_is_that_of_the_model(run, capsys):
    """The numbers in the picture are counted, not computed from flags."""
    assert evaluate.command([str(run), "--tasks", "architecture"]) == 0
    parameters = result(run / "evaluation", "architecture")["parameters"]
    model = LSTMAutoencoder.from_pretrained(run)
    assert parameters["all"] == sum(weight.numel() for weight in model.parameters())
    assert parameters["all"] == parameters["encoder"] + parameters["reconstruction"] + parameters["future"]
    assert (run / "evaluation" / "architecture.png").stat().st_size > 10_000
    assert f"{parameters['encoder']:,} parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({}, ["LSTM, 6 units", "hidden and cell of the layer", "reads nothing"]),
        ({"hidden_size": (6, 4), "code_size": 3}, ["LSTM, 4 units", "code, 3 numbers"]),
        (
            {"repeat_code": True, "conditional": ("future",)},
            ["hidden, of the top layer", "its frame before and the code"],
        ),
        ({"patch_size": 4}, ["4 sequences of patches of 16 values"]),
        (
            {"patch_size": 4, "cell": "conv"},
            ["2 x 2 positions", "convolutional LSTM, 6 units", "3 x 3, at every position", "through 12 units"],
        ),
    ],
)
def test_the_picture_says_what_decoders_read(choices, expected):
    text = str(describe(LSTMAutoencoder(ModelConfig(**({"frame_shape": (1, 8, 8), "hidden_size": 6} | choices)))))
    assert all(words in text for words in expected)


def test_compare_puts_runs_side_by_side(run, small_pools, tmp_path, capsys):
    other = tmp_path / "future"
    flags = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2"]
    assert train.command(["--predict", "--conditional", *flags, *TRAINING, "--output-dir", str(other)]) == 0
    out = ["--clips", "20", "--output-dir", str(tmp_path / "compare")]
    assert evaluate.command(["--compare", str(run), str(other), *out, *FEW]) == 0
    results = result(tmp_path / "compare", "compare")
    rows, names = results["runs"], ["0 run", "1 future"]
    assert (results["loss"], results["num_digits"]) == ("nats", 1)
    assert [rows[name]["model"] for name in names] == ["reconstruction + future", "conditional future"]
    assert rows["0 run"]["future"]["nats"] == result(tmp_path / "compare" / "0-run", "predict")["future"]["nats"]
    assert not (run / "evaluation" / "clips-20").exists()  # a run's own results stay what they are
    assert "scratch" in rows["0 run"]["classify"][0]
    assert "scratch" not in rows["1 future"]["classify"][0]  # the same encoder: trained from scratch once
    assert (tmp_path / "compare" / "compare.png").stat().st_size > 1000
    assert "from scratch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--speed", "2", "2"], "speed (2.0, 2.0), not (3.6, 3.6) as"),
        (["--output", "linear"], "linear outputs, not logistic as"),
    ],
)
def test_only_runs_of_the_same_data_and_loss_are_compared(flags, message, run, tmp_path, capsys):
    """Catches nats beside squared errors in one column, and accuracies on different clips."""
    other = str(tmp_path / "other")
    small = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2"]
    assert train.command(["--composite", *small, *TRAINING, *flags, "--output-dir", other]) == 0
    assert evaluate.command(["--compare", str(run), other, *FEW]) == 1
    assert message in capsys.readouterr().err


def test_from_video_files_to_a_curve(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    videos = write_videos(tmp_path / "videos")
    source = ["--dataset", "video-folder", "--data-dir", str(videos), "--image-size", "8", "--random-crop"]
    frames = ["--input-frames", "4", "--future-frames", "3"]
    assert train.command(["--composite", *source, *frames, *TRAINING, "--output-dir", str(tmp_path / "run")]) == 0
    model = LSTMAutoencoder.from_pretrained(tmp_path / "run")
    assert model.config.frame_shape == (3, 8, 8)
    assert model.config.output == "linear"
    assert model.encoder.std.min() < 1  # standardised by its own data, not left at one
    assert evaluate.command([str(tmp_path / "run"), "--tasks", "predict", "classify", "probe", *FEW]) == 0
    everything = tmp_path / "run" / "evaluation"  # predict and probe read none of these flags
    folder = everything / "labels-per-class-1-2-num-seeds-2-steps-2"
    assert result(everything, "predict")["baselines"].keys() == {"copy_last", "mean_frame"}
    assert (everything / "predict-00.gif").stat().st_size > 1000
    assert (everything / "probe.json").is_file()
    classified = result(folder, "classify")
    assert (classified["class_names"], classified["task"]) == (["left", "right"], "class")
    assert (classified["labelled_videos"], classified["test_videos"]) == (12, 4)  # 6 and 2 people
    with np.load(folder / "classify-scores.npz") as stored:
        assert sorted(stored["names"].tolist()) == ["left/g_left", "left/h_left", "right/g_right", "right/h_right"]
    assert evaluate.command([str(tmp_path / "run"), "--tasks", "classify", "--labels", "identity", *FEW]) == 1
    assert "--labels changes nothing for --dataset video-folder" in capsys.readouterr().err


def test_a_broken_video_stops_the_run_or_is_listed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    videos = write_videos(tmp_path / "videos", "abcde")
    broken = videos / "left" / "b_left.avi"
    broken.write_bytes(broken.read_bytes()[:300])
    source = ["--dataset", "video-folder", "--data-dir", str(videos), "--image-size", "8", "--input-frames", "4"]
    words = ["--reconstruct", *source, *TRAINING, "--output-dir", str(tmp_path / "run")]
    assert train.command(words) == 1
    error = capsys.readouterr().err
    assert "b_left.avi" in error
    assert "--skip-unreadable" in error
    assert not (tmp_path / "run").exists()
    assert train.command([*words, "--skip-unreadable"]) == 0
    assert "left out left/b_left" in capsys.readouterr().err


def test_another_division_of_the_same_videos_is_refused(tmp_path, monkeypatch, capsys):
    """Its test videos may be among those that the encoder was trained on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = ["--dataset", "video-folder", "--data-dir", str(write_videos(tmp_path / "videos")), "--image-size", "8"]
    flags = ["--reconstruct", *source, "--input-frames", "4", *TRAINING, "--output-dir", str(tmp_path / "run")]
    assert train.command(flags) == 0
    assert evaluate.command([str(tmp_path / "run"), "--group", "^(.)"]) == 1
    assert "--group divides the videos of this run otherwise" in capsys.readouterr().err


def test_the_public_file_may_lie_beside_the_digits():
    """One folder for both is torchvision's layout; catches a refusal meant for videos that are divided anew."""
    digits = DataConfig("moving-mnist", "/data", digits="mnist")
    evaluate.refuse_other_split(digits, DataConfig("moving-mnist-file", "/data"))


def test_natural_patches_train_by_the_papers_loss(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("video_ae.datasets.decoding._PATCHES", 50)
    source = ["--dataset", "video-patches", "--data-dir", str(write_videos(tmp_path / "videos")), "--image-size", "6"]
    frames = ["--input-frames", "4", "--future-frames", "3"]
    assert train.command(["--composite", *source, *frames, *TRAINING, "--output-dir", str(tmp_path / "run")]) == 0
    assert evaluate.command([str(tmp_path / "run"), "--device", "cpu"]) == 0
    results = result(tmp_path / "run" / "evaluation", "predict")
    model = LSTMAutoencoder.from_pretrained(tmp_path / "run")
    assert results["clips"] == 4 * 3  # of four test videos, 50 // 16 patches each
    clips = DataConfig("video-patches", str(tmp_path / "videos"), image_size=6).open("test", 7)
    frames = clips.__getitems__(range(12)).float() / 255
    by_hand = ((model.predict(frames[:, :4]) - frames[:, 4:]) / model.encoder.std[:, None, None]) ** 2
    assert results["future"]["squared_error"] == pytest.approx(by_hand.sum(dim=(2, 3, 4)).mean().item(), rel=1e-4)


def test_percepts_of_others_train_and_classify(tmp_path):
    """Features are frames of one pixel: no pictures, squared error in standardised units, raw ones in `mse`."""
    random = np.random.default_rng(0)
    for label in ("run", "walk"):
        names = np.array([f"v_{label}_g{group:02d}_c01" for group in range(1, 9)])
        features = random.normal(size=(8, 6, 5)).astype(np.float16) + (3 if label == "run" else 0)
        np.savez(tmp_path / f"{label}.npz", features=features, names=names, split1=np.array([2, 2, 1, 1, 1, 1, 1, 1]))
    source = ["--dataset", "percepts", "--data-dir", str(tmp_path), "--input-frames", "4", "--future-frames", "2"]
    assert train.command(["--composite", *source, *TRAINING, "--output-dir", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "run" / "samples").exists()
    assert evaluate.command([str(tmp_path / "run"), "--tasks", "predict", "classify", "probe", *FEW]) == 0
    assert "psnr" not in result(tmp_path / "run" / "evaluation", "predict")["future"]
    folder = tmp_path / "run" / "evaluation" / "labels-per-class-1-2-num-seeds-2-steps-2"
    assert result(folder, "classify")["test_videos"] == 4
    assert result(folder, "classify")["curve"][1]["linear"]["mean"] == 1.0
    model = LSTMAutoencoder.from_pretrained(tmp_path / "run")
    vectors = torch.from_numpy(random.normal(size=(2, 4, 5))).float()
    assert model.predict(vectors).shape == (2, 2, 5)


def test_a_task_that_is_not_possible_keeps_no_other_from_being_done(tmp_path, capsys):
    """On series, ood in the middle of a list ended the command before the tasks after it and the report."""
    np.save(tmp_path / "series.npy", np.random.default_rng(0).normal(size=(20, 6, 3)))
    source = ["--dataset", "sequences", "--data-dir", str(tmp_path / "series.npy")]
    run = tmp_path / "run"
    assert train.command(["--reconstruct", *source, *TRAINING, "--output-dir", str(run)]) == 0
    (run / "report.html").unlink()
    capsys.readouterr()
    assert evaluate.command([str(run), "--tasks", "ood", "architecture", "features", "predict"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: not possible: ood (ood changes how digits move")
    assert "; features (features draws weights" in error
    assert error.count("\n") == 1
    assert {path.name for path in (run / "evaluation").glob("*.json")} == {"architecture.json", "predict.json"}
    assert "What it predicts" in (run / "report.html").read_text()


def test_results_lie_in_a_folder_named_after_the_flags_that_their_task_reads():
    """A name after all flags said that a task was done with fewer clips which never looked at that flag."""
    given = {"clips": 20, "rollout_steps": 30, "num_digits": 3, "labels": "identity", "seed": 0, "steps": 9}
    assert evaluate.difference(given, "rollout") == "num-digits-3-clips-20-rollout-steps-30"
    assert evaluate.difference(given, "predict") == "num-digits-3-clips-20"
    assert evaluate.difference(given, "classify") == "num-digits-3-clips-20-steps-9"
    assert evaluate.difference(given, "features") == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "classify", "--labels-per-class", "500"], "500 labels per class: the smallest class has"),
        (["--tasks", "classify", "--dataset", "array", "--data-dir", "x.npy"], "--dataset array has no classes"),
        (["--tasks", "classify", "--frozen", "2"], "frozen is 2.0: expected a fraction"),
        (["--tasks", "classify", "--dropout", "1"], "dropout is 1.0: expected 0 or more and less than 1"),
        (["--tasks", "classify", "--dataset", "video-folder", "--data-dir", "/nowhere"], "/nowhere: no such folder"),
        (["--dataset", "percepts", "--data-dir", "/nowhere"], "/nowhere: no such folder; --data-dir says where it is"),
        (["--tasks", "classify", "--num-digits", "3"], "--num-digits changes nothing for labelled clips"),
        (["--dataset", "ucf101", "--data-dir", "/nowhere"], "needs the folder of its official lists"),
        (["--dataset", "percepts", "--fold", "2"], "--fold changes nothing for --dataset percepts"),
    ],
)
def test_wrong_choices_are_one_clear_line(words, message, run, small_pools, capsys):
    assert evaluate.command([str(run), *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run", "--compare", "run"],
        ["run", "--labels", "mood"],
        ["run", "--labels", "direction"],
        ["run", "--tasks", "probe", "--frozen", "1"],
        ["run", "--tasks", "classify", "--future-frames", "3"],
        ["--compare", "run", "--two-stream", "run"],
        ["run", "--tasks", "features", "--clips", "3"],
    ],
)
def test_wrong_usage_exits_with_2(words):
    with pytest.raises(SystemExit) as stopped:
        evaluate.command(words)
    assert stopped.value.code == 2
