"""Scores against brute force, thresholds against numpy, curves against scikit-learn, and the task from end to end."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import padded
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.anomaly import (
    Levels,
    Scorer,
    average_windows,
    choose_source,
    constant_channels,
    join_scores,
    moved_constants,
    normal_levels,
    present,
    relative_errors,
    sequence_scores,
    spread_scores,
    step_errors,
    step_scores,
    window_starts,
)
from video_ae.commands import evaluate, train
from video_ae.commands.tasks.anomaly import _days
from video_ae.commands.tasks.anomaly_tables import Series, read_extents, read_frame_labels, read_labels
from video_ae.config import DECODERS, FUTURE, RECONSTRUCTION
from video_ae.thresholds import Thresholds, detection, detection_by_video, peaks_over_threshold, rolling_thresholds
from video_ae.visualize import patch_errors

NAN = float("nan")


def build(**choices: object) -> LSTMAutoencoder:
    shape = {"frame_shape": (3, 1, 1), "hidden_size": 6, "input_frames": 5, "future_frames": 2, "output": "linear"}
    return LSTMAutoencoder(ModelConfig(**(shape | choices)))


def same(found: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected), equal_nan=True)


# Errors.


def test_linear_errors_are_in_standardised_units():
    """A model that puts out zeros says the mean: its error is the mean square of the standard score."""
    model = build()
    clips = torch.randn(4, 7, 3, 1, 1) * torch.tensor([1.0, 10, 0.1])[:, None, None] + 5
    model.start_from(clips)
    for decoder in model.decoders.values():
        torch.nn.init.zeros_(decoder.readout.weight)
        torch.nn.init.zeros_(decoder.readout.bias)
    errors = step_errors(model, clips)
    z = ((clips - clips.mean(dim=(0, 1))) / clips.flatten(0, 1).std(dim=0, correction=0)).square().mean(dim=(2, 3, 4))
    same(errors[RECONSTRUCTION], z[:, :5])
    same(errors[FUTURE], z[:, 5:])


def test_logistic_errors_are_divergences():
    """Of uint8 pictures, against the closed form at an output of one half: log 2 less the entropy of the truth."""
    model = build(frame_shape=(1, 4, 4), output="logistic", patch_size=2)
    for decoder in model.decoders.values():
        torch.nn.init.zeros_(decoder.readout.weight)
        torch.nn.init.zeros_(decoder.readout.bias)
    clips = torch.randint(0, 256, (2, 7, 1, 4, 4), dtype=torch.uint8)
    p = (clips.double() / 255).clamp(1e-12, 1 - 1e-12)
    expected = (np.log(2) + p * p.log() + (1 - p) * (1 - p).log()).mean(dim=(2, 3, 4)).float()
    same(step_errors(model, clips)[RECONSTRUCTION], expected[:, :5])
    grey = torch.full((1, 7, 1, 4, 4), 0.5)
    assert step_errors(model, grey)[FUTURE].abs().max() < 1e-6  # perfect, although its entropy is the largest


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(3, 7), min_size=1, max_size=4))
def test_shorter_sequences_have_the_errors_that_they_have_alone(lengths):
    model = build(code_size=4)
    frames = [torch.randn(length, 3, 1, 1) for length in lengths]
    errors = step_errors(model, padded(frames, 7))
    assert errors[RECONSTRUCTION].shape == (len(frames), 5)
    for row, clip in enumerate(frames):
        alone = step_errors(model, clip[None], future_frames=2)
        same(errors[RECONSTRUCTION][row], torch.cat([alone[RECONSTRUCTION][0], torch.full((7 - len(clip),), NAN)]))
        same(errors[FUTURE][row], alone[FUTURE][0])


def test_models_of_one_decoder():
    clips = torch.randn(2, 9, 3, 1, 1)
    rebuilt = step_errors(build(decoders=(RECONSTRUCTION,)), clips)
    assert {name: tuple(values.shape) for name, values in rebuilt.items()} == {RECONSTRUCTION: (2, 9)}
    predicted = step_errors(build(decoders=(FUTURE,)), clips)
    assert {name: tuple(values.shape) for name, values in predicted.items()} == {FUTURE: (2, 4)}
    assert step_errors(build(), clips, future_frames=0).keys() == {RECONSTRUCTION}


def test_clips_that_cannot_be_scored():
    with pytest.raises(ValueError, match="found clips of 4 steps"):
        step_errors(build(), torch.randn(1, 4, 3, 1, 1))
    with pytest.raises(ValueError, match="some for a future decoder alone"):
        step_errors(build(decoders=(FUTURE,)), torch.randn(1, 5, 3, 1, 1))
    holes = torch.randn(2, 7, 3, 1, 1)
    holes[1, 2, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN in some channels only"):
        step_errors(build(), holes)


# Scores.


def test_levels_count_in_decoding_order():
    """Reconstruction counts back from each sequence's own end; steps beyond normal data's take the last level."""
    errors = [
        {RECONSTRUCTION: torch.tensor([[4.0, 3, 2], [5, 4, NAN]]), FUTURE: torch.tensor([[1.0, 3], [3, 5]])},
        {RECONSTRUCTION: torch.tensor([[6.0, NAN]]), FUTURE: torch.tensor([[2.0, 4]])},
    ]
    levels = normal_levels([{name: values[..., None] for name, values in batch.items()} for batch in errors])
    same(levels[RECONSTRUCTION].steps, [4.0, 4, 4])  # (2 + 4 + 6) / 3, (3 + 5) / 2, 4
    same(levels[FUTURE].steps, [2.0, 4])
    same(levels[FUTURE].features, [1.0])
    levels[RECONSTRUCTION] = Levels(torch.tensor([2.0, 4, 8]), torch.tensor([0.5, 1.5]))
    wrong = torch.tensor([[8.0, 8, 8, 8], [8, 8, NAN, NAN]])[..., None] * torch.tensor([0.5, 3])
    relative = relative_errors({RECONSTRUCTION: wrong, FUTURE: torch.tensor([[[4.0]], [[2]]])}, levels)
    expected = torch.tensor([[1.0, 1, 2, 4], [2, 4, NAN, NAN]])[..., None] * torch.tensor([1.0, 2])
    same(relative[RECONSTRUCTION], expected)
    same(relative[FUTURE], [[[2.0]], [[1]]])


def test_normal_data_have_the_score_1_at_every_step_and_of_every_feature():
    """Features of which one is always worse than the others, by loops; catches levels that only hold for their mean."""
    errors = torch.rand(50, 4, 3).square() * torch.tensor([0.1, 1, 7])
    levels = normal_levels([{FUTURE: errors[:20]}, {FUTURE: errors[20:]}])[FUTURE]
    of_features = [float(errors[:, :, feature].mean() / errors.mean()) for feature in range(3)]
    torch.testing.assert_close(levels.features, torch.tensor(of_features))
    of_steps = [np.mean([float(errors[:, t, f].mean()) / of_features[f] for f in range(3)]) for t in range(4)]
    torch.testing.assert_close(levels.steps, torch.tensor(of_steps, dtype=torch.float32))
    relative = relative_errors({FUTURE: errors}, {FUTURE: levels})[FUTURE]
    torch.testing.assert_close(relative.mean(dim=(0, 2)), torch.ones(4))


def test_a_step_that_is_always_right_makes_no_other_infinitely_anomalous():
    levels = normal_levels([{FUTURE: torch.tensor([[[0.0], [1.0]]])}])
    same(relative_errors({FUTURE: torch.tensor([[[0.0], [1.0]]])}, levels)[FUTURE], [[[0.0], [1]]])
    assert levels[FUTURE].steps[0] == pytest.approx(0.0005)
    assert normal_levels([{FUTURE: torch.zeros(1, 2, 1)}])[FUTURE].steps.min() > 0
    never_wrong = normal_levels([{FUTURE: torch.tensor([[[0.0, 1.0]]])}])[FUTURE].features
    assert never_wrong[0] == pytest.approx(0.001), "nor does a feature"
    with pytest.raises(ValueError, match="no normal sequences"):
        normal_levels([])


def test_scores_lie_along_the_steps_of_the_clip():
    errors = {
        RECONSTRUCTION: torch.tensor([[1.0, 2, 3], [1, NAN, NAN]]),
        FUTURE: torch.tensor([[10.0, 20], [30, 40]]),
    }
    there = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    same(step_scores(errors, there, "both"), [[1.0, 2, 3, 10, 20], [1, 30, 40, NAN, NAN]])
    same(step_scores(errors, there, RECONSTRUCTION), [[1.0, 2, 3, NAN, NAN], [1, NAN, NAN, NAN, NAN]])
    same(step_scores(errors, there, FUTURE), [[NAN, NAN, NAN, 10.0, 20], [NAN, 30, 40, NAN, NAN]])
    same(sequence_scores(errors, RECONSTRUCTION), [2.0, 1])
    same(sequence_scores(errors, FUTURE), [15.0, 35])
    same(sequence_scores(errors, "both"), [8.5, 18])


@pytest.mark.parametrize("source", [RECONSTRUCTION, FUTURE, "both"])
def test_the_scorer_is_its_parts(source):
    model = build()
    clips = padded([torch.randn(length, 3, 1, 1) for length in (7, 7, 4, 6)], 7)
    scorer, _ = Scorer.fit(model, [clips[:2], clips[2:]], source)
    errors = step_errors(model, clips, per_feature=True)
    relative = relative_errors(errors, normal_levels([errors]))
    same(scorer(clips).steps, step_scores(relative, present(clips), source).mean(dim=2))
    same(scorer(clips).sequences, sequence_scores(relative, source))
    same(join_scores([scorer(clips[:1]), scorer(clips[1:])]).sequences, scorer(clips).sequences)


@pytest.mark.parametrize("source", [RECONSTRUCTION, FUTURE, "both"])
def test_normal_clips_are_scored_by_the_levels_of_the_others(source):
    """Catches thresholds that few clips set too low: by its own mean, none of n can be more than n times as wrong."""
    model = build()
    clips = padded([torch.randn(length, 3, 1, 1) for length in (7, 7, 7, 4, 6)], 7)
    _, normal = Scorer.fit(model, [clips[:2], clips[2:]], source)
    for row in range(5):
        others, _ = Scorer.fit(model, [clips[torch.arange(5) != row]], source)
        same(normal.steps[row], others(clips[row : row + 1]).steps[0])
        same(normal.sequences[row], others(clips[row : row + 1]).sequences[0])


@pytest.mark.parametrize("source", [RECONSTRUCTION, FUTURE, "both"])
def test_the_features_of_a_step_make_its_score(source):
    """Their mean is the score of the step, of shorter clips too; a feature that is far off is first."""
    model = build()
    clips = padded([torch.randn(length, 3, 1, 1) for length in (7, 7, 4, 6)], 7)
    scorer, _ = Scorer.fit(model, [clips], source)
    features = scorer.features(clips)
    torch.testing.assert_close(features.mean(dim=2), scorer(clips).steps, equal_nan=True)
    clips[0, :, 1] += 50
    assert (scorer.features(clips)[0].nan_to_num().sum(dim=0).argmax()) == 1


@pytest.mark.parametrize("source", [RECONSTRUCTION, FUTURE, "both"])
def test_features_explain_by_how_much_the_score_falls_without_them(source):
    """By loops over features and sequences, of which one is shorter; catches steps of the future put where the padding
    is, and sequences of a batch that are given each other's replacement."""
    model = build()
    with torch.no_grad():
        model.encoder.std.copy_(torch.tensor([1.0, 2, 5]))
    parts = [torch.randn(length, 3, 1, 1) * torch.tensor([1.0, 2, 5])[:, None, None] for length in (7, 4, 6)]
    scorer, _ = Scorer.fit(model, [padded(parts, 7)], source)
    found = scorer.attribute(padded(parts, 7))
    for row, part in enumerate(parts):
        for feature in range(3):
            without = part[None].clone()
            for _ in range(6):
                made = [model.reconstruct(without[:, :-2]), model.predict(without[:, :-2], 2)]
                without[:, :, feature] = torch.cat(made, dim=1)[:, :, feature]
            alone = dataclasses.replace(scorer, future_frames=2)
            falls = alone(part[None]).sequences - alone(without).sequences
            torch.testing.assert_close(found[row, feature], falls[0], rtol=1e-4, atol=1e-5)


def test_of_many_features_the_worst_are_tried_to_explain_it():
    model = build(frame_shape=(12, 1, 1))
    clips = torch.randn(4, 7, 12, 1, 1)
    scorer, _ = Scorer.fit(model, [clips])
    worst = scorer.features(clips).mean(dim=1).argsort(dim=1)[:, 2:]
    explained = scorer.attribute(clips)
    assert ((explained != 0).sum(dim=1) == 10).all()
    assert (explained.gather(1, worst) != 0).all()


def test_sources_are_those_of_the_model():
    assert choose_source(None, DECODERS) == "both"
    assert choose_source(None, [FUTURE]) == FUTURE
    with pytest.raises(ValueError, match="'both': this model can be scored by reconstruction"):
        choose_source("both", [RECONSTRUCTION])


# Windows.


@settings(max_examples=40, deadline=None)
@given(steps=st.integers(1, 30), width=st.integers(1, 9), stride=st.integers(1, 12), seed=st.integers(0, 99))
def test_windows_are_averaged_as_by_hand(steps, width, stride, seed):
    width = min(width, steps)
    starts = window_starts(steps, width, stride)
    assert starts[0] == 0
    assert starts[-1] == steps - width
    assert stride > width or (np.diff(starts) <= stride).all()
    rng = np.random.default_rng(seed)
    scores = rng.random((len(starts), width))
    scores[rng.random(scores.shape) < 0.2] = NAN
    expected = []
    for step in range(steps):
        covering = [row[step - start] for row, start in zip(scores, starts, strict=True) if 0 <= step - start < width]
        known = [score for score in covering if not np.isnan(score)]
        expected.append(np.mean(known) if known else NAN)
    np.testing.assert_allclose(average_windows(scores, starts, steps), expected)


def test_windows_that_cannot_be():
    with pytest.raises(ValueError, match="a series of 4 steps, expected at least the 5"):
        window_starts(4, 5, 1)
    with pytest.raises(ValueError, match="windows score steps 3 to 5: expected 0 to 4"):
        average_windows(np.ones((1, 3)), [3], 5)


@settings(max_examples=40, deadline=None)
@given(steps=st.integers(1, 30), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_scores_are_spread_as_by_hand(steps, width, seed):
    """Every window has its highest score, a step the mean of its windows; none crosses a step without a score."""
    rng = np.random.default_rng(seed)
    scores = rng.random((steps, 2))
    scores[rng.random(steps) < 0.1] = NAN
    expected = np.full((steps, 2), NAN)
    stretches = np.split(np.arange(steps), np.flatnonzero(np.isnan(scores[:, 0])))
    for stretch in stretches:
        own = stretch[~np.isnan(scores[stretch, 0])]
        size = min(width, len(own))
        windows = [own[start : start + size] for start in range(len(own) - size + 1)]
        for step in own:
            expected[step] = np.mean([scores[window].max(axis=0) for window in windows if step in window], axis=0)
    np.testing.assert_allclose(spread_scores(scores, width), expected)
    np.testing.assert_allclose(spread_scores(scores[:, 1], width), expected[:, 1])


# Thresholds.


def test_peaks_over_threshold_tell_what_is_rarer_than_any_score():
    """Against the quantiles of the distributions that the scores are drawn from: light, exponential and heavy tails."""
    rng = np.random.default_rng(0)
    rare = 1e-4
    for scores, expected in [
        (rng.random(5000), 1 - rare),
        (rng.exponential(3.0, 5000), -3 * np.log(rare)),
        (rng.pareto(4, 5000), rare**-0.25 - 1),
    ]:
        assert peaks_over_threshold(scores, 1 - rare) == pytest.approx(expected, rel=0.2)
        assert peaks_over_threshold(1e-9 * scores, 1 - rare) == pytest.approx(1e-9 * expected, rel=0.2)
        assert peaks_over_threshold(scores, 0.9) == np.quantile(scores, 0.9)
    assert peaks_over_threshold(np.ones(500), 0.999) == 1
    with pytest.raises(ValueError, match=r"found 5000 normal scores, expected at least 10000 for the quantile 0\.9999"):
        Thresholds.fit(scores, 0.9999)
    by_peaks = Thresholds.fit(scores, 0.9999, ["a", "b"] * 2500, method="peaks")
    assert by_peaks.values["b"] == peaks_over_threshold(scores[1::2], 0.9999)
    with pytest.raises(ValueError, match="found 499 normal scores, expected at least 500"):
        Thresholds.fit(scores[:499], 0.9999, method="peaks")


def test_rolling_thresholds_know_only_what_came_before():
    scores = np.random.default_rng(0).random(200)
    expected = pd.Series(scores).rolling(50).quantile(0.9).shift().to_numpy()
    np.testing.assert_allclose(rolling_thresholds(scores, 0.9, steps=50), expected)
    assert np.isnan(rolling_thresholds(scores[:20], 0.9, steps=50)).all()
    with pytest.raises(ValueError, match=r"steps 9: expected at least 10 for the quantile 0\.9"):
        rolling_thresholds(scores, 0.9, steps=9)


def test_areas_of_videos_are_those_of_pairs():
    """All pairs of frames by loops: together, in each video, and after each was scaled; a video without anomaly counts
    in the first and last alone. Scaling hides here that all of one video is anomalous."""
    rng = np.random.default_rng(0)
    scores = {"a": rng.normal(size=30), "b": 5 + rng.normal(size=20), "c": rng.normal(size=10)}
    labels = {name: (rng.random(len(values)) < 0.3).astype(int) for name, values in scores.items()}
    labels |= {"b": np.ones(20, int), "c": np.array([0, 1] * 5)}
    scores["a"][3] = NAN

    def area(truth: list, values: list) -> float:
        pairs = [
            (x > y) + 0.5 * (x == y)
            for x, t in zip(values, truth, strict=True)
            if t
            for y, u in zip(values, truth, strict=True)
            if not u and not np.isnan(x) and not np.isnan(y)
        ]
        return float(np.mean(pairs))

    found = detection_by_video(labels, scores)
    together = [np.concatenate([part[name] for name in "abc"]) for part in (labels, scores)]
    assert found["micro_roc_auc"] == pytest.approx(area(*together))
    assert found["macro_roc_auc"] == pytest.approx(np.mean([area(labels[name], scores[name]) for name in "ac"]))
    assert found["judged"] == 2
    scaled = {name: (row - np.nanmin(row)) / (np.nanmax(row) - np.nanmin(row)) for name, row in scores.items()}
    assert found["micro_roc_auc_normalised"] == pytest.approx(area(together[0], np.concatenate(list(scaled.values()))))
    assert found["micro_roc_auc"] > found["micro_roc_auc_normalised"] + 0.1


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_thresholds_are_quantiles(quantile):
    scores = np.random.default_rng(0).random((50, 20))
    groups = ["a", "b"] * 25
    thresholds = Thresholds.fit(scores, quantile, groups)
    assert thresholds.values["a"] == np.quantile(scores[::2], quantile)
    assert thresholds.values["b"] == np.quantile(scores[1::2], quantile)
    flags = thresholds.flag(scores, groups)
    assert flags[::2].mean() == pytest.approx(1 - quantile, abs=2e-3)
    np.testing.assert_array_equal(flags[1::2], scores[1::2] > thresholds.values["b"])
    assert Thresholds.fit(scores[:, 0], 0.5).values == {"": np.median(scores[:, 0])}


def test_what_has_no_score_is_neither_counted_nor_flagged():
    scores = np.array([[1.0, NAN], [2, NAN], [3, 4]])
    thresholds = Thresholds.fit(scores, 0.5)
    assert thresholds.values[""] == 2.5
    assert thresholds.flag(scores).tolist() == [[False, False], [False, False], [True, True]]


@pytest.mark.parametrize("quantile", [0.9, 0.95, 0.99, 0.999])
def test_a_quantile_needs_one_score_that_may_be_above_it(quantile):
    """Catches rounding: 1 / (1 - 0.9) is a little more than 10."""
    needed = round(1 / (1 - quantile))
    Thresholds.fit(np.arange(needed), quantile)
    with pytest.raises(ValueError, match=f"found {needed - 1} normal scores, expected at least {needed}"):
        Thresholds.fit(np.arange(needed - 1), quantile)


def test_groups_must_be_known():
    thresholds = Thresholds.fit(np.arange(40), 0.9, ["m1", "m2"] * 20)
    with pytest.raises(ValueError, match=r"no threshold for group 'm3': normal data had 'm1', 'm2'"):
        thresholds.flag([1.0, 2], ["m1", "m3"])
    with pytest.raises(ValueError, match="found 1 groups of 2 scores"):
        thresholds.flag([1.0, 2], ["m1"])
    with pytest.raises(ValueError, match="found 2 normal scores of group 'b', expected at least 10"):
        Thresholds.fit(np.arange(40), 0.9, ["a"] * 38 + ["b"] * 2)
    with pytest.raises(ValueError, match="quantile 1: expected more than 0 and less than 1"):
        Thresholds.fit(np.arange(40), 1)


def test_detection_ranks():
    """The area under ROC is the share of pairs in the right order, ties half."""
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 80), rng.integers(0, 9, 80).astype(float)
    anomalous, normal = scores[labels == 1], scores[labels == 0]
    pairs = np.sign(anomalous[:, None] - normal) / 2 + 0.5
    result = detection([*labels, 1], [*scores, NAN])
    assert result["roc_auc"] == pytest.approx(pairs.mean())
    assert (result["anomalous"], result["count"]) == (labels.sum(), 80)
    false_rates, true_rates = result["roc"]
    assert np.trapezoid(true_rates, false_rates) == pytest.approx(pairs.mean())
    recalls, precisions = result["pr"]
    assert -np.sum(np.diff(recalls) * precisions[:-1]) == pytest.approx(result["average_precision"])
    with pytest.raises(ValueError, match=r"found labels \[1\], expected both"):
        detection([1, 1], [1, 2])


# The task.


@pytest.mark.parametrize(
    ("times", "days"),
    [
        (["2024-01-01 12:00", "2024-01-02", "2024-01-03"], 1.5),
        (["2024/01/01", "2024/01/02", "2024/01/03"], 2),
        (["2024-03-31T00:00+01:00", "2024-03-31T12:00+02:00", "2024-04-01T00:00+02:00"], 23 / 24),
        (["1000", "1001", "1002"], None),  # no years
        (["0.000", "0.040", "0.080"], None),
    ],
)
def test_days_are_those_of_dates(times, days):
    """Catches numbers that are taken for years, and time zones that are passed over."""
    series = [Series(name, np.arange(3), np.zeros(3), np.zeros((3, 0))) for name in "ab"]
    clock = dict.fromkeys("ab", np.array(times, np.bytes_))
    assert _days(series, clock) == (None if days is None else pytest.approx(2 * days))
    assert _days(series, {}) is None


TRAINING = ["-b", "4", "--steps", "2", "--hidden-size", "6", "--device", "cpu", "--validation-clips", "8"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    small = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2"]
    assert train.command(["--composite", *small, *TRAINING, "--output-dir", str(folder)]) == 0
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_digits_beside_other_digits(digits, tmp_path, capsys):
    words = [str(digits), "--tasks", "anomaly", "--num-digits", "3", "--all-anomalous", "--clips", "60"]
    assert evaluate.command([*words, "--output-dir", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "anomaly.json").read_text())
    assert (results["clips"], results["steps"], results["normal_clips"]) == (120, 600, 1000)
    assert (results["source"], results["quantile"], results["num_digits"]) == ("both", 0.99, 3)
    assert results["detection"]["clips"]["roc_auc"] > 0.6  # they hide each other, and the model knows little
    steps, clips = table(tmp_path / "anomaly.csv"), table(tmp_path / "anomaly-clips.csv")
    assert len(steps) == 600
    assert [row["step"] for row in steps[:6]] == ["0", "1", "2", "3", "4", "0"]
    assert sum(int(row["flagged"]) for row in steps) == results["steps_flagged"]
    assert sum(int(row["flagged"]) for row in clips) == results["clips_flagged"]
    threshold = results["thresholds"]["clips"][""]
    assert all((float(row["score"]) > threshold) == (row["flagged"] == "1") for row in clips)
    assert {row["id"] for row in clips} >= {"0", "normal/0", "59", "normal/59"}
    for name in ("anomaly.png", "anomaly-curves.png", "anomaly-strip.png", "anomaly-worst.gif"):
        assert (tmp_path / name).stat().st_size > 1000
    assert "of 60 anomalous among 120 clips: ROC-AUC" in capsys.readouterr().out


def test_labels_from_a_file(digits, tmp_path, capsys):
    out = tmp_path / "out"
    words = [
        str(digits),
        "--tasks",
        "anomaly",
        "--clips",
        "4",
        "--source",
        "future",
        "--output-dir",
        str(out),
    ]
    labels = tmp_path / "labels.csv"

    def answer(text: str) -> str:
        labels.write_text(text)
        code = evaluate.command([*words, "--labels-file", str(labels)])
        printed = capsys.readouterr()
        return printed.err.strip() if code else printed.out

    assert "of 1 anomalous among 4 clips" in answer("id,label\n0,0\n1,0\n2,1\n3,0\n")
    by_step = "".join(f"{clip},{step},{int(clip == step == 3)}\n" for clip in range(4) for step in range(5))
    printed = answer("id,step,label\n" + by_step)
    assert "of 1 anomalous among 8 steps" in printed  # two predicted ones of each
    assert "of 1 anomalous among 4 clips" in printed
    assert "line 2: found the label 'x', expected 0 or 1 (anomalous)" in answer("id,label\n0,x\n")
    assert "line 3: found the step '', expected a whole number" in answer("id,step,label\n0,0,1\n0,,1\n")
    assert "found the columns name, label" in answer("name,label\n0,1\n")
    assert "one thing, expected one of them; a column step says" in answer("id,label\n0,1\n0,0\n")
    assert answer("id,step,label\n0,3,1\n0,3,0\n").rstrip().endswith("expected one of them")
    assert "found no label for '3', expected" in answer("id,label\n0,0\n1,0\n2,1\n")
    assert "found only the label 0" in answer("id,label\n0,0\n1,0\n2,0\n3,0\n")
    assert "found the columns id, step, frame, label" in answer("id,step,frame,label\n0,0,0,1\n")
    assert "line 3: found 1 cells, expected 2" in answer("id,label\n0,1\n1\n")


def test_tables_of_labels_are_read_as_those_of_the_data(tmp_path):
    """What Excel writes, and UTF-16, which was an error that named no file."""
    path = tmp_path / "labels.csv"
    path.write_text("id; label\n\na b;1\nc;0\n", encoding="utf-8-sig")
    assert read_labels(path) == {("a b", None): 1, ("c", None): 0}
    path.write_text("id,label\na,1\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"labels\.csv: not a table with commas in UTF-8"):
        read_labels(path)


def test_labels_of_frames_are_those_of_one_video(tmp_path):
    """Catches the labels of one video taken for another's of the same name, or for what is left of a name before a
    point, and arrays of one number, which have no axis to count."""
    frames = {"one/v.1": 3, "two/v.1": 3}
    np.save(tmp_path / "v.npy", [1, 1, 1])
    np.save(tmp_path / "v.2.npy", [[0.0, 0, 1]])
    assert read_frame_labels(tmp_path, {"v.2": 3}, 1) == {("v.2", 0): 0, ("v.2", 1): 0, ("v.2", 2): 1}
    with pytest.raises(FileNotFoundError, match=r"no labels of 'one/v\.1'"):
        read_frame_labels(tmp_path, frames, 1)
    np.save(tmp_path / "v.1.npy", [0, 1, 1])
    with pytest.raises(ValueError, match=r"v\.1\.npy: may be of 'one/v\.1' or 'two/v\.1', expected two/v\.1\.npy in"):
        read_frame_labels(tmp_path, frames, 1)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "v.1.npy", np.full(3, folder == "two"))
    assert read_frame_labels(tmp_path, frames, 1)["two/v.1", 0] == 1
    wrong = {
        "an array ()": np.array(1),
        "the label 2j": np.array([0, 1, 2j]),
        "the label nan": np.array([0, 1, np.nan]),
    }
    for message, values in wrong.items():
        np.save(tmp_path / "v.2.npy", values)
        with pytest.raises(ValueError, match=re.escape(f"v.2.npy: found {message}")):
            read_frame_labels(tmp_path, {"v.2": 3}, 1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--quantile", "1.5"], "quantile 1.5: expected more than 0 and less than 1"),
        (["--all-anomalous"], "--all-anomalous is for other data than the run was trained on"),
        (["--quantile", "0.9999"], "found 5000 normal scores, expected at least 10000"),
        (["--per-series"], "found 5 normal scores of group '0', expected at least 100"),
        (["--labels-file", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_flags_that_cannot_be(digits, flags, message, capsys):
    assert evaluate.command([str(digits), "--tasks", "anomaly", "--clips", "4", *flags]) == 1
    assert message in capsys.readouterr().err


def test_results_may_go_into_the_folder_that_one_is_in(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(digits), "--tasks", "anomaly", "--clips", "4", "--quantile", "0.5", "--output-dir", "."]
    assert evaluate.command([*words, "--device", "cpu"]) == 0
    assert (tmp_path / "anomaly.json").is_file()


def test_few_normal_clips_leave_the_steps_a_threshold(tmp_path, capsys):
    """An array of 20 videos: two validate, which is too few for a quantile of clips, not of steps."""
    out = tmp_path / "out"
    videos = np.random.default_rng(0).integers(0, 256, (20, 30, 8, 8), np.uint8)
    np.save(tmp_path / "videos.npy", videos)
    shape = ["--reconstruct", "--input-frames", "6", *TRAINING, "--output-dir", str(tmp_path / "run")]
    assert train.command(["--dataset", "array", "--data-dir", str(tmp_path / "videos.npy"), *shape]) == 0
    other = tmp_path / "other.npy"
    np.save(other, np.concatenate([videos[:2, ::-1], 255 - videos[:2, ::-1]]))
    words = ["--tasks", "anomaly", "--data-dir", str(other), "--quantile", "0.95", "--output-dir", str(out)]
    assert evaluate.command([str(tmp_path / "run"), *words]) == 0
    printed = capsys.readouterr().out
    assert "no threshold for whole clips: found 10 normal scores, expected at least 20" in printed
    results = json.loads((out / "anomaly.json").read_text())
    assert (results["clips"], results["steps"], results["split"]) == (20, 120, "all")
    steps = table(out / "anomaly.csv")
    assert [row["step"] for row in steps if row["id"] == "0"] == [str(step) for step in range(30)]
    assert {row["flagged"] for row in table(out / "anomaly-clips.csv")} == {""}


def write_series(path: Path, steps: int, *, stuck: slice = slice(0, 0), machines: str = "ab") -> None:
    """Two machines with a sine and a cosine each, of which one sensor is stuck for a while."""
    rng = np.random.default_rng(steps)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "time", "sine", "cosine"])
        for machine in machines:
            values = np.stack([np.sin(np.arange(steps) / 3), np.cos(np.arange(steps) / 3)], axis=1)
            values += 0.05 * rng.normal(size=values.shape)
            values[stuck, 0] = 1.5
            writer.writerows([machine, step, *row] for step, row in enumerate(values.round(4).tolist()))


def test_series_from_csv_to_csv(tmp_path, capsys):
    out = tmp_path / "out"
    write_series(tmp_path / "normal.csv", 600)
    write_series(tmp_path / "new.csv", 130, stuck=slice(60, 70))
    shape = ["--composite", "--input-frames", "8", "--future-frames", "2", "--hidden-size", "12", "-b", "16"]
    training = ["--steps", "60", "--device", "cpu", "--output-dir", str(tmp_path / "run")]
    source = ["--dataset", "sequences", "--data-dir", str(tmp_path / "normal.csv")]
    assert train.command([*source, *shape, *training]) == 0
    labels = [f"{machine},{step},{int(60 <= step < 70)}" for machine in "ab" for step in range(130)]
    (tmp_path / "labels.csv").write_text("id,step,label\n" + "\n".join(labels))
    words = [str(tmp_path / "run"), "--tasks", "anomaly", "--data-dir", str(tmp_path / "new.csv"), "--per-series"]
    words += [
        "--quantile",
        "0.98",
        "--labels-file",
        str(tmp_path / "labels.csv"),
        "--output-dir",
        str(out),
    ]
    assert evaluate.command(words) == 0
    results = json.loads((out / "anomaly.json").read_text())
    assert results["thresholds"]["steps"].keys() == {"a", "b"}
    assert results["detection"]["steps"]["anomalous"] == 20
    assert results["detection"]["steps"]["roc_auc"] > 0.9
    steps = table(out / "anomaly.csv")
    assert [(row["id"], int(row["step"])) for row in steps] == [(name, step) for name in "ab" for step in range(130)]
    for row in steps:
        assert float(row["threshold"]) == pytest.approx(results["thresholds"]["steps"][row["id"]], rel=1e-5)
    flagged = {(row["id"], int(row["step"])) for row in steps if row["flagged"] == "1"}
    assert {(name, step) for name in "ab" for step in range(61, 69)} <= flagged
    assert not (out / "anomaly-worst.gif").exists()
    incidents = table(out / "incidents.csv")
    inside = {(row["id"], t) for row in incidents for t in range(int(row["start"]), int(row["end"]) + 1)}
    assert inside == flagged
    assert (results["incidents"], results["spread"]) == (len(incidents), 10)
    extents = read_extents(out)
    assert [(one.id, one.ends, one.when) for one in extents] == [(name, (0, 129), ("0", "129")) for name in "ab"]
    told = [(one.first, one.last, one.row) for extent in extents for one in extent.incidents]
    assert told == [(int(row["start"]), int(row["end"]), row) for row in incidents]
    of_step = {(row["id"], row["step"]): row for row in steps}
    for row in incidents:
        assert row["score"] == of_step[row["id"], row["peak"]]["score"]
    for name in "ab":
        worst = max((row for row in incidents if row["id"] == name), key=lambda row: float(row["score"]))
        assert int(worst["start"]) < 70
        assert int(worst["end"]) >= 60
        shares = json.loads(worst["features"])
        assert list(shares) == ["sine", "cosine"]  # the one that was stuck first
        assert sum(shares.values()) == pytest.approx(1, abs=2e-3)
    assert results["normal_incidents"] <= results["normal_steps"] / 10
    alone = [word for word in words if word != "--per-series"] + ["--no-spread", "--threshold", "peaks"]
    assert evaluate.command(alone) == 1
    assert "expected at least 500 for the quantile 0.98; use more normal data" in capsys.readouterr().err
    assert evaluate.command([*alone[:-2], "--source", "reconstruction"]) == 0
    own = table(out / "anomaly.csv")
    assert sum(int(row["flagged"]) for row in own) < len(flagged)
    write_series(tmp_path / "new.csv", 130, machines="ac")
    capsys.readouterr()
    assert evaluate.command(words) == 1
    assert "--per-series: found no held-out normal data of 'c', only of 'a', 'b'; leave" in capsys.readouterr().err


def test_sequences_longer_than_any_in_the_training_are_scored(tmp_path):
    """They were refused, although codes of them are to be had; catches steps of the future where the input ends."""
    out = tmp_path / "out"
    rng = np.random.default_rng(0)
    usual, long = rng.normal(size=(40, 12, 2)).astype(np.float32), rng.normal(size=(1, 30, 2)).astype(np.float32)
    np.save(tmp_path / "usual.npy", usual)
    np.save(tmp_path / "long.npy", long)
    run, source = str(tmp_path / "run"), ["--dataset", "sequences", "--data-dir", str(tmp_path / "usual.npy")]
    assert train.command(["--composite", *source, "--future-frames", "2", *TRAINING, "--output-dir", run]) == 0
    words = [
        run,
        "--tasks",
        "anomaly",
        "--data-dir",
        str(tmp_path / "long.npy"),
        "--quantile",
        "0.9",
        "--device",
        "cpu",
    ]
    assert evaluate.command([*words, "--output-dir", str(out)]) == 0
    steps, results = (
        table(out / "anomaly.csv"),
        json.loads((out / "anomaly.json").read_text()),
    )
    assert [int(row["step"]) for row in steps] == list(range(30))
    clips, model = torch.from_numpy(long)[..., None, None], LSTMAutoencoder.from_pretrained(run)
    errors = step_errors(model, clips, future_frames=2, per_feature=True)
    hard = {name: torch.tensor(values) for name, values in results["feature_levels"].items()}
    expected = (errors[FUTURE][0] / hard["future"]).mean(dim=1) / torch.tensor(results["levels"]["future"])
    assert [float(row["score"]) for row in steps[-2:]] == pytest.approx(expected.tolist(), rel=1e-4)
    level = results["levels"]["reconstruction"]  # counted from the last input step back; the last holds for all before
    rebuilt = (errors[RECONSTRUCTION][0] / hard["reconstruction"]).mean(dim=1)
    assert float(steps[27]["score"]) == pytest.approx(rebuilt[27].item() / level[0], rel=1e-4)
    assert float(steps[0]["score"]) == pytest.approx(rebuilt[0].item() / level[-1], rel=1e-4)


# Tables as they come: ids of any kind, rows in any order, a hole in the time, a counter far from zero, and a valve that
# never moved.

HOSTS = ["host@9", "host@19", "M@0", 'a, "b"', "001", "1", "\u6e29\u5ea6 $x_{$", "two\nlines"]
START = pd.Timestamp("2024-01-01")


def write_hosts(path: Path, steps: int, valve: object = 5) -> pd.DataFrame:
    """Every host has its own speed and half a day without rows after a third of them."""
    random = np.random.default_rng(steps)
    t = np.arange(steps)
    minutes = pd.to_timedelta(t + 720 * (t >= steps // 3), unit="min")
    tables = [
        pd.DataFrame({"time": START + minutes, "id": host, "total": 10**9 + np.round(30 * np.sin(t / (2 + n)))})
        for n, host in enumerate(HOSTS)
    ]
    table = pd.concat([one.assign(valve=valve, step=t) for one in tables], ignore_index=True)
    table["noise"] = random.normal(size=len(table)).round(3)
    table.drop(columns="step").sample(frac=1, random_state=0).to_csv(path, index=False)
    return table


@pytest.fixture(scope="module")
def hosts(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hosts")
    write_hosts(folder / "normal.csv", 300)
    shape = ["--composite", "--input-frames", "6", "--future-frames", "2", "--hidden-size", "6", "-b", "16"]
    source = ["--dataset", "sequences", "--data-dir", str(folder / "normal.csv")]
    assert (
        train.command([*source, *shape, "--steps", "20", "--device", "cpu", "--output-dir", str(folder / "run")]) == 0
    )
    return folder / "run"


def test_ids_and_times_stay_as_they_are(hosts, tmp_path, capsys):
    """Catches ids that are parsed, steps that cannot be looked up, and labels of other series."""
    table_of = write_hosts(tmp_path / "new.csv", 48)
    labels = table_of[["id", "step"]].assign(
        label=((table_of["id"] == "host@9") & (table_of["step"] == 20)).astype(int)
    )
    labels.to_csv(tmp_path / "labels.csv", index=False)
    words = [str(hosts), "--tasks", "anomaly", "--data-dir", str(tmp_path / "new.csv"), "--per-series"]
    words += ["--quantile", "0.9", "--labels-file", str(tmp_path / "labels.csv"), "--output-dir", str(tmp_path / "out")]
    capsys.readouterr()
    assert evaluate.command([*words, "--device", "cpu"]) == 0
    said = capsys.readouterr().err
    assert "new.csv: 8 holes in the time of 8 series (largest 12 hours in" in said
    assert "no window crosses one" in said
    expected = {(row.id, row.step): str(row.time) for row in table_of.itertuples()}
    found = {(row["id"], int(row["step"])): row["time"] for row in table(tmp_path / "out" / "anomaly.csv")}
    assert found == expected
    told = [(extent.id, one) for extent in read_extents(tmp_path / "out") for one in extent.incidents]
    assert told
    for name, one in told:
        assert (one.row["start"], one.row["end"]) == (expected[name, one.first], expected[name, one.last])
    clips = table(tmp_path / "out" / "anomaly-clips.csv")
    assert {row["id"] for row in clips} == set(HOSTS)
    assert all(row["time"] == expected[row["id"], int(row["step"])] for row in clips)
    results = json.loads((tmp_path / "out" / "anomaly.json").read_text())
    assert results["thresholds"]["steps"].keys() == set(HOSTS)
    assert results["detection"]["steps"]["anomalous"] == 1
    covering = sum(row["id"] == "host@9" and int(row["step"]) <= 20 < int(row["step"]) + 8 for row in clips)
    assert results["detection"]["clips"]["anomalous"] == covering > 0
    assert results["moved_constants"] == []


def test_scores_are_not_spread_across_a_hole_in_the_time(hosts, tmp_path):
    """Steps on both sides of a hole are next to each other in the table; catches a peak before a night that raises the
    scores of the morning after. Own scores spread by hand, apart before and behind the hole."""
    write_hosts(tmp_path / "new.csv", 48)
    words = [str(hosts), "--tasks", "anomaly", "--data-dir", str(tmp_path / "new.csv"), "--device", "cpu"]
    found = []
    for name, more in (("own", ["--no-spread"]), ("spread", [])):
        out = ["--quantile", "0.9", "--output-dir", str(tmp_path / name)]
        assert evaluate.command([*words, *more, *out]) == 0
        rows = pd.read_csv(tmp_path / name / "anomaly.csv", dtype={"id": str})
        found.append({host: rows[rows["id"] == host] for host in HOSTS})
    for host in HOSTS:
        own, spread = (rows[host]["score"].to_numpy() for rows in found)
        times = pd.to_datetime(found[0][host]["time"]).to_numpy()
        hole = int(np.diff(times).argmax()) + 1
        assert 8 < hole < len(own) - 8
        expected = np.concatenate([spread_scores(part, 8) for part in np.split(own, [hole])])
        np.testing.assert_allclose(spread, expected, rtol=1e-4)
        assert not np.allclose(spread, spread_scores(own, 8), rtol=1e-3)


def test_a_constant_sensor_that_moves_is_named(hosts, tmp_path, capsys):
    valve = np.where(np.arange(48) < 30, 5, 5.01)
    table_of = write_hosts(tmp_path / "new.csv", 48, valve)
    words = [
        str(hosts),
        "--tasks",
        "anomaly",
        "--data-dir",
        str(tmp_path / "new.csv"),
        "--output-dir",
        str(tmp_path / "out"),
    ]
    assert evaluate.command([*words, "--quantile", "0.9", "--device", "cpu"]) == 0
    first = table(tmp_path / "new.csv")[0]["id"]  # series are in the order of the file
    moved = table_of[(table_of["id"] == first) & (table_of["step"] == 30)].iloc[0]
    assert json.loads((tmp_path / "out" / "anomaly.json").read_text())["moved_constants"] == [
        {"feature": "valve", "value": 5, "steps": 18 * len(HOSTS), "id": first, "step": 30, "time": str(moved.time)}
    ]
    expected = (
        f"valve was always 5 in training and is not in 144 steps, the first in {first!r}, step 30, {moved.time}: "
    )
    assert f"warning: {expected}" in capsys.readouterr().err


def test_incidents_beside_anomalous_series_have_steps(hosts, tmp_path):
    """The data to judge have times, those of the training that stand beside them are not looked up there."""
    write_hosts(tmp_path / "new.csv", 48)
    words = [str(hosts), "--tasks", "anomaly", "--data-dir", str(tmp_path / "new.csv"), "--all-anomalous"]
    words += ["--quantile", "0.5", "--device", "cpu", "--output-dir", str(tmp_path / "out")]
    assert evaluate.command(words) == 0
    rows = table(tmp_path / "out" / "incidents.csv")
    beside = [row for row in rows if row["id"].startswith("normal/")]
    assert beside
    assert all(int(row["start"]) <= int(row["peak"]) <= int(row["end"]) for row in beside)
    assert all(row["start"] <= row["end"] and "-" in row["start"] for row in rows if row not in beside)


def test_values_beyond_float32_are_centred_and_shown_as_they_are(hosts, tmp_path, monkeypatch, capsys):
    """A counter at 1e9 that moves by 30, in training, in other files, in pictures, and what an exported model reads."""
    data = json.loads((hosts / "config.json").read_text())["data"]
    assert (data["columns"], data["offsets"]) == (["total", "valve", "noise"], [10**9, 0, 0])
    model = LSTMAutoencoder.from_pretrained(hosts)
    assert 15 < model.encoder.std[0] < 30
    drawn: list = []
    monkeypatch.setattr("video_ae.visualize.save_series", lambda path, series, names: drawn.extend(series))
    series = write_hosts(tmp_path / "new.csv", 48)
    np.save(tmp_path / "new.npy", series[series["id"] == "001"][["total", "valve", "noise"]].to_numpy())
    words = ["--output-dir", str(tmp_path / "out"), "--device", "cpu"]
    for name in ("new.csv", "new.npy"):
        assert evaluate.command([str(hosts), "--data-dir", str(tmp_path / name), *words]) == 0
        for one in drawn:
            assert abs(one.inputs[:, 0] - 10**9).max() <= 30
            assert (one.inputs[:, 0] % 1 == 0).all()  # exactly
            assert abs(one.reconstruction[:, 0] - 10**9).max() < 1000
        drawn.clear()
    capsys.readouterr()
    assert evaluate.command([str(hosts), "--tasks", "export", *words]) == 0
    assert "offsets  subtract those in export.json" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "export.json").read_text())["offsets"] == [10**9, 0, 0]
    np.save(tmp_path / "new.npy", np.ones((48, 2)))
    assert evaluate.command([str(hosts), "--data-dir", str(tmp_path / "new.npy"), *words]) == 1
    assert "found 2 features, expected 3, as in training" in capsys.readouterr().err


def test_frames_of_videos_with_labels_in_a_folder(tmp_path, capsys):
    """Every frame has the label of its place in `ID.npy`, the areas are those of the table that is written, and a GIF
    shows where; a file that is too short, or not there, is one line."""
    for number in range(5):
        frames = np.full((20, 16, 16), 60, np.uint8)
        frames[np.arange(20), (np.arange(20) + number) % 12] = 250  # a line moves down
        if number == 4:
            frames[8:14, 4:8, 4:8] = 160
        path = tmp_path / ("judged" if number == 4 else "normal") / f"v{number}.avi"
        path.parent.mkdir(exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, (16, 16))
        for frame in frames:
            writer.write(np.repeat(frame[..., None], 3, axis=2))
        writer.release()
    run, out, labels = tmp_path / "run", tmp_path / "out", tmp_path / "labels"
    source = ["--dataset", "video-folder", "--data-dir", str(tmp_path / "normal"), "--image-size", "16", "--grey"]
    words = [
        *source,
        "--group",
        ".+",
        "--future-frames",
        "2",
        "--composite",
        "--cell",
        "lstm",
        "--output-dir",
        str(run),
    ]
    assert train.command([*TRAINING, "--input-frames", "4", *words]) == 0
    words = [str(run), "--tasks", "anomaly", "--data-dir", str(tmp_path / "judged"), "--quantile", "0.8"]
    words += ["--labels-file", str(labels), "--output-dir", str(out), "--device", "cpu"]
    labels.mkdir()
    capsys.readouterr()
    assert evaluate.command(words) == 1
    assert "labels: found no labels of 'v4', expected v4.npy with 0 or 1 per frame" in capsys.readouterr().err
    truth = (np.arange(20) // 5 % 2).astype(np.uint8)
    np.save(labels / "v4.npy", truth[:19])
    assert evaluate.command(words) == 1
    assert "v4.npy: found an array (19,), expected 0 or 1 (anomalous) for each of 20 frames" in capsys.readouterr().err
    np.save(labels / "v4.npy", truth)
    assert evaluate.command(words) == 0
    steps = table(out / "anomaly.csv")
    expected = detection(truth[[int(row["step"]) for row in steps]], [float(row["score"]) for row in steps])
    found = json.loads((out / "anomaly.json").read_text())["detection"]["steps"]
    assert found["micro_roc_auc"] == found["roc_auc"] == pytest.approx(expected["roc_auc"])
    assert found["macro_roc_auc"] == found["micro_roc_auc_normalised"] == found["roc_auc"], "of one video"
    with Image.open(out / "anomaly-where.gif") as gif:
        assert 1 <= gif.n_frames <= 20
    for some, count in ((["--source", "reconstruction"], 14), (["--clips", "1"], 6)):  # of other frames no scores
        assert evaluate.command([*words, *some]) == 0
        assert json.loads((out / "anomaly.json").read_text())["detection"]["steps"]["count"] == count


def test_errors_of_patches_are_those_by_hand():
    truth, made = np.random.default_rng(0).random((2, 3, 6, 8)).astype(np.float32)
    found = patch_errors(truth, made, 2)
    assert found.shape == (3, 4)
    for row in range(3):
        for column in range(4):
            part = slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2)
            assert found[row, column] == pytest.approx(np.square(truth - made)[:, *part].mean(), rel=1e-5)


def test_what_is_constant():
    clips = torch.tensor([[[1.0, 5, 0], [2, 5, 0]], [[3, 5, 0], [torch.nan] * 3]])[..., None, None]
    constants = constant_channels([clips[:1], clips[1:]])
    assert constants == {1: 5.0, 2: 0.0}
    assert constant_channels([clips[:1, :1], clips[1:]]) == {1: 5.0, 2: 0.0}
    new = torch.tensor([[[9.0, 5 * (1 + 1e-7), 1e-9], [9, 5.001, 0], [torch.nan] * 3]])[..., None, None]
    moved = moved_constants(constants, new)
    assert {channel: there.tolist() for channel, there in moved.items()} == {
        1: [[False, True, False]],
        2: [[True, False, False]],
    }


def test_constants_are_looked_for_no_longer_than_there_are_any():
    def batches():
        yield torch.arange(4.0).reshape(1, 4, 1, 1, 1)
        raise AssertionError("nothing is constant any more")

    assert constant_channels(batches()) == {}
