"""The classifier, fine-tuning and the label-efficiency curve."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from video_ae import LSTMAutoencoder, LSTMClassifier, ModelConfig
from video_ae.classifier import ClassifierConfig
from video_ae.config import FineTuning
from video_ae.datasets.digits import load_digits
from video_ae.datasets.labelled import LabelledVideos
from video_ae.datasets.moving_mnist import MovingMNIST, label_digits
from video_ae.transfer import (
    ARMS,
    _shuffled,
    build,
    choose_videos,
    curve_of,
    fine_tune_videos,
    label_efficiency,
    train_arm,
    verdicts,
    video_scores,
)

SMALL = ModelConfig(frame_shape=(1, 28, 28), hidden_size=12, input_frames=4, layers=2)


def digits(count: int, task: str = "identity", split: str = "train", image_size: int = 28) -> LabelledVideos:
    clips = MovingMNIST(load_digits("optical", split), split, frames=4, num_digits=1, image_size=image_size)
    return label_digits(clips, task, count)


def test_a_classifier_starts_with_exactly_the_encoders_weights():
    encoder = LSTMAutoencoder(SMALL).encoder
    classifier = LSTMClassifier.from_encoder(encoder, [str(digit) for digit in range(10)])
    for name, weight in encoder.state_dict().items():
        assert torch.equal(classifier.encoder.state_dict()[name], weight)
    fine_tune_videos(classifier, digits(30), np.arange(30), FineTuning(steps=3), seed=0)
    assert not torch.equal(classifier.encoder.lstm.layers[0].bias, encoder.lstm.layers[0].bias)  # a copy was trained


@pytest.mark.parametrize("damage", ["missing", "left over"])
def test_an_encoder_with_other_weights_is_refused(damage):
    """Catches a non-strict load, after which part of a 'pretrained' classifier is random."""
    encoder = LSTMAutoencoder(SMALL).encoder
    if damage == "missing":
        del encoder.lstm.layers[1].bias
        encoder.lstm.layers[1].bias = None
    else:
        encoder.register_buffer("extra", torch.zeros(1))
    with pytest.raises(ValueError, match="expected that only"):
        LSTMClassifier.from_encoder(encoder, ["a", "b"])


def test_scores_are_the_softmax_at_every_step_averaged():
    """Against torch.nn.LSTM with the same weights (the paper's rule); catches scores of the last step alone."""
    config = ModelConfig(frame_shape=(1, 4, 4), hidden_size=5)
    classifier = LSTMClassifier(ClassifierConfig(config, ("a", "b", "c"), dropout=0.5))
    torch.nn.init.normal_(classifier.head.weight)
    layer = classifier.encoder.lstm.layers[0]
    reference = torch.nn.LSTM(16, 5, batch_first=True)
    reference.load_state_dict(
        {
            "weight_ih_l0": layer.weight_input,
            "weight_hh_l0": layer.weight_hidden,
            "bias_ih_l0": layer.bias,
            "bias_hh_l0": torch.zeros(20),
        }
    )
    clips = torch.rand(3, 6, 1, 4, 4)
    hidden, _ = reference(clips.flatten(2))
    expected = functional.softmax(classifier.head(hidden), dim=2).mean(dim=1)
    torch.testing.assert_close(classifier.scores(clips), expected)
    assert classifier.scores(clips[:, :1]).shape == (3, 3)  # any number of frames


def test_without_memory_every_frame_is_judged_alone():
    """The single-frame baseline must not know the order of the frames; the LSTM must."""
    config = ModelConfig(frame_shape=(1, 4, 4), hidden_size=5)
    clips = torch.rand(3, 6, 1, 4, 4)
    for memory in (True, False):
        classifier = LSTMClassifier(ClassifierConfig(config, ("a", "b"), memory=memory))
        torch.nn.init.normal_(classifier.head.weight)
        same = torch.allclose(classifier.scores(clips), classifier.scores(clips.flip(1)), atol=1e-6)
        assert same is not memory


def test_patch_positions_are_averaged():
    config = ModelConfig(frame_shape=(1, 4, 4), hidden_size=5, patch_size=2)
    classifier = LSTMClassifier(ClassifierConfig(config, ("a", "b")))
    torch.nn.init.normal_(classifier.head.weight)
    frames = torch.rand(2, 3, 1, 4, 4)
    swapped = torch.cat([frames[..., 2:], frames[..., :2]], dim=-1)  # the left and the right patches
    torch.testing.assert_close(classifier.scores(frames), classifier.scores(swapped))


@pytest.mark.parametrize("arm", ["encoder_init", "scratch", "single_frame"])
def test_the_head_reads_what_is_different_about_a_clip(arm):
    """A mean over positions is nearly the same for every clip: without its scale fine-tuning hardly moved (.53, .74).

    By another way round: the head alone, asked for one unit after the other, gives numbers of unit variance.
    """
    config = ModelConfig(frame_shape=(1, 32, 32), hidden_size=6, input_frames=4, patch_size=8, cell="conv")
    data = digits(200, image_size=32)
    classifier = build(arm, LSTMAutoencoder(config).encoder, data, FineTuning(), seed=0)
    classifier.head = torch.nn.Identity()
    with torch.no_grad():
        read = classifier.eval()(classifier.encoder.to_vectors(data.clips.__getitems__(range(200))))  # (200, 4, 6)
    torch.testing.assert_close(read.std(dim=(0, 1)), torch.ones(6))
    torch.testing.assert_close(read.mean(dim=(0, 1)), torch.zeros(6), atol=1e-4, rtol=0)


class Listed(NamedTuple):
    """Clips in memory with their videos."""

    clips: "Listed.Clips"
    videos: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    names: tuple[str, ...]

    class Clips:
        def __init__(self, clips: torch.Tensor) -> None:
            self.tensor = clips

        def __getitems__(self, indices) -> torch.Tensor:
            return self.tensor[list(indices)]


def test_a_videos_score_is_the_mean_over_its_clips():
    """Videos of one, three and two clips, over a ragged last batch; catches means of batch means."""
    clips = torch.rand(6, 2, 1, 1, 1)
    videos = Listed(Listed.Clips(clips), np.array([0, 1, 1, 1, 2, 2]), np.array([0, 1, 0]), ("a", "b"), ("x", "y", "z"))
    values = clips[:, 0, 0, 0, 0].numpy()
    scores = video_scores(lambda batch: torch.stack([batch[:, 0, 0, 0, 0], -batch[:, 0, 0, 0, 0]], 1), videos, 4)
    np.testing.assert_allclose(scores[:, 0], [values[0], values[1:4].mean(), values[4:].mean()], rtol=1e-6)
    np.testing.assert_allclose(scores[:, 1], -scores[:, 0])


def test_a_fresh_encoder_is_trained_at_the_full_rate(monkeypatch):
    """Care with a learned encoder must not hold back the controls, or pretraining seems to help."""
    recipes = {}

    def recording(classifier, data, chosen, recipe, *, seed):
        recipes[classifier.config.memory, len(recipes)] = recipe
        return classifier

    monkeypatch.setattr("video_ae.transfer.fine_tune_videos", recording)
    train, encoder = digits(40), LSTMAutoencoder(SMALL).encoder
    careful = FineTuning(encoder_lr=0.1, frozen=0.5)
    for arm in ("encoder_init", "scratch", "single_frame"):
        train_arm(arm, encoder, train, np.arange(40), careful, seed=0)
    assert [(recipe.encoder_lr, recipe.frozen) for recipe in recipes.values()] == [(0.1, 0.5), (1.0, 0.0), (1.0, 0.0)]


def test_every_clip_is_seen_before_any_again():
    """Over two epochs of a ragged number of clips; catches a rest that is dropped."""
    batches = _shuffled(np.arange(20), 8, seed=0)
    seen = np.concatenate([next(batches) for _ in range(5)])
    assert sorted(seen[:20].tolist()) == list(range(20))
    assert sorted(seen[20:].tolist()) == list(range(20))


@pytest.mark.parametrize(("frozen", "moved"), [(1.0, False), (0.5, True), (0.0, True)])
def test_a_frozen_encoder_stays_as_it_is(frozen, moved):
    encoder = LSTMAutoencoder(SMALL).encoder
    train = digits(40)
    classifier = LSTMClassifier.from_encoder(encoder, train.class_names)
    recipe = FineTuning(steps=4, frozen=frozen, weight_decay=0.5)  # decay must not move it either
    fine_tune_videos(classifier, train, np.arange(40), recipe, seed=0)
    changed = [not torch.equal(classifier.encoder.state_dict()[name], w) for name, w in encoder.state_dict().items()]
    assert any(changed) is moved
    assert classifier.head.weight.abs().sum() > 0


def test_fine_tuning_repeats_exactly_and_learns():
    """Same seed, same scores; on what it was trained on it is far above chance."""
    train = digits(40, image_size=28)
    encoder = LSTMAutoencoder(SMALL).encoder
    scores = []
    for _ in range(2):
        classifier = LSTMClassifier.from_encoder(encoder, train.class_names, dropout=0.1)
        recipe = FineTuning(steps=60, lr=2e-2, encoder_lr=1.0, dropout=0.1)
        fine_tune_videos(classifier, train, np.arange(40), recipe, seed=3)
        scores.append(video_scores(classifier.scores, train))
    assert np.array_equal(*scores)
    assert (scores[0].argmax(axis=1) == train.labels).mean() > 0.8


@pytest.mark.parametrize("classes", [2, 3])
def test_the_linear_arm_is_scikit_learns_and_the_classifier_begins_with_it(classes):
    """Catches a binary fit that is read as of one class, sums over time instead of means, and a head that drowns it."""
    random = torch.Generator().manual_seed(0)
    labels = np.arange(20 * classes) % classes
    clips = torch.randn(len(labels), 25, 6, 1, 1, generator=random)
    clips[:, :, 0] *= torch.from_numpy(1.0 + 2 * labels).float()[:, None, None, None]  # only the deviation tells
    names = tuple("abc"[:classes])
    data = Listed(Listed.Clips(clips), np.arange(len(labels)), labels, names, tuple(map(str, labels)))
    encoder = LSTMAutoencoder(
        ModelConfig(frame_shape=(6, 1, 1), hidden_size=4, input_frames=5, output="linear")
    ).encoder
    chosen = np.arange(15 * classes)
    judge = train_arm("linear", encoder, data, chosen, FineTuning(), seed=0)
    scores = judge(clips).numpy()

    features = np.concatenate([clips.mean(1).flatten(1), clips.std(1, correction=0).flatten(1)], axis=1)
    scaled = StandardScaler().fit_transform(features)  # by all clips, labelled or not
    expected = LogisticRegression(C=0.01).fit(scaled[chosen], labels[chosen]).predict_proba(scaled)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert (scores[len(chosen) :].argmax(1) == labels[len(chosen) :]).mean() > 0.6

    classifier = build("encoder_init", encoder, data, FineTuning(), seed=0)
    started = fine_tune_videos(classifier, data, chosen, FineTuning(steps=1, lr=1e-30, weight_decay=0.0), seed=0)
    np.testing.assert_allclose(started.scores(clips).detach(), scores, atol=1e-5)


def test_the_curve_is_paired_complete_and_repeats():
    """Every arm at every number of labels; the same labelled videos for all arms of a seed."""
    train, test = digits(200), digits(50, split="test")
    encoder = LSTMAutoencoder(SMALL).encoder
    settings = {"seeds": 2, "recipe": FineTuning(steps=2)}
    calls = []
    scores = label_efficiency(encoder, train, test, [1, 3], **settings, progress=lambda: calls.append(1))
    assert scores.shape == (2, len(ARMS), 2, 50, 10)
    assert len(calls) == 2 * len(ARMS) * 2
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-5)  # probabilities
    again = label_efficiency(encoder, train, test, [3], **settings, arms=("scratch",))
    assert np.array_equal(again[0, 0], scores[1, list(ARMS).index("scratch")])
    curve = curve_of(scores, test.labels, [1, 3])
    by_hand = [(scores[1, 0, seed].argmax(1) == test.labels).mean() for seed in range(2)]
    assert curve[1]["encoder_init"]["seeds"] == by_hand
    assert curve[1]["encoder_init"]["mean"] == pytest.approx(np.mean(by_hand))
    assert curve[1]["encoder_init"]["std"] == pytest.approx(np.std(by_hand, ddof=1))
    with pytest.raises(ValueError, match="999 labels per class: the smallest class has"):
        label_efficiency(encoder, train, test, [999], **settings)


def test_chosen_videos_are_balanced_and_differ_between_seeds():
    train = digits(200)
    chosen = choose_videos(train, 3, seed=0)
    assert np.bincount(train.labels[chosen]).tolist() == [3] * 10
    assert len(set(chosen.tolist())) == 30
    assert sorted(chosen) != sorted(choose_videos(train, 3, seed=1))


def test_verdicts_say_what_the_seeds_allow():
    def row(labels, ours, scratch):
        return {"labels_per_class": labels, "encoder_init": {"seeds": ours}, "scratch": {"seeds": scratch}}

    curve = [
        row(1, [0.5, 0.52, 0.51], [0.3, 0.31, 0.32]),
        row(2, [0.5, 0.3, 0.4], [0.4, 0.4, 0.4]),
        row(5, [0.3, 0.31, 0.32], [0.5, 0.52, 0.51]),
        row(9, [0.5], [0.4]),
    ]
    words = verdicts(curve, 100)
    for sentence, expected in zip(
        words, ["1 label per class: pretraining helped", "no clear difference", "hurt", "one seed"], strict=True
    ):
        assert expected in sentence
    (coarse,) = verdicts([row(1, [0.5, 0.5], [0.625, 0.625])], 8)  # one of eight videos, twice
    assert "no clear difference" in coarse


def test_directions_are_eighths_of_the_circle_and_need_more_than_a_frame():
    """Against atan2 by hand for every clip; catches sectors that are turned or mirrored."""
    data = digits(300, "direction", image_size=64)
    velocity = data.clips.labels(range(300)).velocities[:, -1, 0]
    names = ["right", "down right", "down", "down left", "left", "up left", "up", "up right"]
    for label, (x, y) in zip(data.labels, velocity, strict=True):
        angles = [np.cos(np.pi / 4 * k) * x + np.sin(np.pi / 4 * k) * y for k in range(8)]
        assert data.class_names[label] == names[int(np.argmax(angles))]
    with pytest.raises(ValueError, match="unknown labels 'speed'"):
        digits(3, "speed")
    with pytest.raises(ValueError, match="found clips of 2 digits, expected 1"):
        label_digits(MovingMNIST(load_digits("optical", "train"), "train"), "identity", 3)


def test_classifiers_are_saved_and_come_back(tmp_path):
    classifier = LSTMClassifier.from_encoder(LSTMAutoencoder(SMALL).encoder, ["a", "b"], dropout=0.2)
    classifier.save_pretrained(tmp_path)
    again = LSTMClassifier.from_pretrained(tmp_path)
    assert again.config == classifier.config
    clips = torch.rand(2, 4, 1, 28, 28)
    assert torch.equal(again.scores(clips), classifier.scores(clips))
    with pytest.raises(ValueError, match="unknown keys class_names"):
        LSTMAutoencoder.from_pretrained(tmp_path)
    LSTMAutoencoder(SMALL).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="found no encoder"):
        LSTMClassifier.from_pretrained(tmp_path / "other")
