"""What a learned encoder is worth: fine-tuning with few labels, beside what needs no pretraining."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import t as student_t
from torch import Tensor
from torch.nn import functional

from .checkpoint import Progress
from .classifier import ClassifierConfig, LSTMClassifier, Summary
from .config import FineTuning, ModelConfig, TrainConfig
from .datasets.labelled import LabelledVideos
from .datasets.own import as_clips
from .models import Encoder
from .precision import uses_bf16
from .restored import mode, random_numbers_of, same_gradients
from .training import schedule, steps

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]
Judge = Callable[[Tensor], Tensor]  # frames (B, T, C, H, W) to class scores (B, classes)
_SCALE_CLIPS = 200  # unlabelled clips that set the scale of fresh weights, as in train.py


def label_clips(
    config: ModelConfig, clips: Any, labels: Sequence[Any], class_names: Sequence[str] = ()
) -> LabelledVideos:
    """Clips of your own with their classes, for encoders and classifiers of `config`.

    clips:       an array or tensor (N, T, C, H, W), or a data set of clips, see `fit`; T is `config.input_frames`.
    labels:      (N,) the class of each, its name or a whole number.
    class_names: in the order of the scores (default: those that occur, sorted).

    Raises ValueError for other labels, labels of other classes, or another number of them than of clips.
    """
    frames = config.input_frames
    own = as_clips(clips, frames, frames, config.frame_shape, finite=True)
    if wrong := [label for label in labels if not isinstance(label, (str, numbers.Integral))]:
        raise ValueError(f"found the label {wrong[0]!r}, expected names or whole numbers")
    found = [str(label) for label in labels]
    names = tuple(class_names) or tuple(sorted(set(found)))
    if len(found) != len(own):
        raise ValueError(f"found {len(found)} labels of {len(own)} clips, expected one for each")
    if unknown := sorted(set(found) - set(names)):
        raise ValueError(f"found labels {', '.join(unknown)}, expected some of {', '.join(names)}")
    classes = np.array([names.index(label) for label in found], np.int64)
    return LabelledVideos(own, np.arange(len(own)), classes, names, tuple(map(own.name, range(len(own)))), {})


def fine_tune(
    classifier: LSTMClassifier, clips: Any, labels: Sequence[Any], recipe: FineTuning | None = None, *, seed: int = 0
) -> LSTMClassifier:
    """Train `classifier` on labelled clips of your own, see `label_clips`; `classifier.scores` then judges others.

    The same seed gives the same result. Nothing but the weights changes, nor do random numbers outside; parameters that
    need no gradient stay as they are. The loss is the cross-entropy of the softmax at every step, averaged over steps
    and clips (paper, section 4.4).
    """
    data = label_clips(classifier.encoder.config, clips, labels, classifier.config.class_names)
    fit_scale(classifier, data, seed)
    recipe = FineTuning() if recipe is None else recipe
    return fine_tune_videos(classifier, data, np.arange(len(data.labels)), recipe, seed=seed)


def fit_scale(classifier: LSTMClassifier, data: LabelledVideos, seed: int) -> None:
    """Fit what is new in `classifier` to the scale of some of the clips, whatever their labels are."""
    classifier.start_from(_any_clips(data, seed).to(classifier.encoder.mean.device))


def fine_tune_videos(
    classifier: LSTMClassifier, data: LabelledVideos, chosen: Labels, recipe: FineTuning, *, seed: int
) -> LSTMClassifier:
    """`fine_tune` on the clips of the videos `chosen`."""
    device = next(classifier.parameters()).device
    with (
        mode(classifier, training=True),
        same_gradients(classifier),
        random_numbers_of(seed, device),  # of the dropout
    ):
        _train(classifier, data, chosen, recipe, seed, device)
    return classifier


def _train(
    classifier: LSTMClassifier,
    data: LabelledVideos,
    chosen: Labels,
    recipe: FineTuning,
    seed: int,
    device: torch.device,
) -> None:
    if classifier.summary is not None:
        classifier.summary.fit(*_labelled_vectors(classifier.encoder, data, chosen))
    clips = np.flatnonzero(np.isin(data.videos, chosen))
    encoder = list(classifier.encoder.parameters())
    learning = [parameter for parameter in encoder if parameter.requires_grad]
    groups = [
        {"params": encoder, "share": recipe.encoder_lr},
        {"params": list(classifier.head.parameters()), "share": 1.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    batches = _shuffled(clips, recipe.clips_per_step, seed)
    bf16 = uses_bf16(recipe.amp, classifier.encoder.config, recipe.clips_per_step, device)
    budget = TrainConfig(steps=max(recipe.steps, -(-len(clips) // recipe.clips_per_step)), warmup=0.1)
    for fraction in steps(budget, Progress()):
        for parameter in learning:
            parameter.requires_grad_(fraction > recipe.frozen)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * group["share"] * schedule(fraction, budget.warmup)
        batch = next(batches)
        labels = torch.from_numpy(data.labels[data.videos[batch]]).to(device)
        vectors = classifier.encoder.to_vectors(data.clips.__getitems__(batch.tolist()).to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = classifier(vectors)  # (B, T, classes)
        targets = labels[:, None].expand(logits.shape[:2])
        loss = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def video_scores(judge: Judge, data: LabelledVideos, batch_size: int = 50) -> Scores:
    """The class scores (V, classes) of every video, the mean over its clips (paper, section 4.4)."""
    totals = np.zeros((len(data.labels), len(data.class_names)), np.float32)
    for first in range(0, len(data.videos), batch_size):
        batch = range(first, min(first + batch_size, len(data.videos)))
        np.add.at(totals, data.videos[batch.start : batch.stop], judge(data.clips.__getitems__(batch)).cpu().numpy())
    clips = np.bincount(data.videos, minlength=len(totals)).astype(np.float32)
    return np.divide(totals, clips[:, None])


def _shuffled(clips: Labels, batch_size: int, seed: int) -> Iterator[Labels]:
    """Batches without end: all clips in a random order, then all again in another; a batch may span both."""
    random = np.random.default_rng(seed)
    size = min(batch_size, len(clips))
    waiting = random.permutation(clips)
    while True:
        if len(waiting) < size:
            waiting = np.concatenate([waiting, random.permutation(clips)])
        yield waiting[:size]
        waiting = waiting[size:]


ARMS = {
    "encoder_init": "LSTM from the learned encoder, fine-tuned",
    "scratch": "the same LSTM from scratch",
    "frozen": "the learned encoder as it is, a new head",
    "single_frame": "the same network from scratch, every frame alone",
    "linear": "logistic regression on mean and deviation over time",
}


def label_efficiency(
    encoder: Encoder,
    train: LabelledVideos,
    test: LabelledVideos,
    labels_per_class: Sequence[int],
    *,
    seeds: int,
    recipe: FineTuning,
    arms: Sequence[str] = tuple(ARMS),
    batch_size: int = 50,
    progress: Callable[[], None] = lambda: None,
) -> Scores:
    """Class scores of the V test videos after training every arm (see `ARMS`) on few labelled videos per class.

    Seed s draws the labelled videos, the fresh weights and the order of the batches, for all arms alike, so that
    differences between arms can be paired. `batch_size` clips are judged at a time. Calls `progress` after every
    training.

    Returns (labels, arms, seeds, V, classes). Raises ValueError where a class has fewer videos than labels are wanted.
    """
    most = fewest_videos(train)
    for labels in labels_per_class:
        if labels > most:
            raise ValueError(f"{labels} labels per class: the smallest class has {most} videos; ask for 1 to {most}")
    scores = np.empty((len(labels_per_class), len(arms), seeds, len(test.labels), len(test.class_names)), np.float32)
    for row, labels in enumerate(labels_per_class):
        for column, arm in enumerate(arms):
            for seed in range(seeds):
                judge = train_arm(arm, encoder, train, choose_videos(train, labels, seed), recipe, seed=seed)
                scores[row, column, seed] = video_scores(judge, test, batch_size)
                progress()
    return scores


def curve_of(
    scores: Scores, truth: Labels, labels_per_class: Sequence[int], arms: Sequence[str] = tuple(ARMS)
) -> list[dict[str, Any]]:
    """Accuracies of what `label_efficiency` returned, as share of the videos whose class has the highest score.

    A row per number of labels: `{labels_per_class, <arm>: {mean, std, seeds: [accuracy, ...]}}`; no `std` of one seed.
    """
    correct = scores.argmax(axis=-1) == truth  # (labels, arms, seeds, V)
    curve = []
    for row, labels in enumerate(labels_per_class):
        entry: dict[str, Any] = {"labels_per_class": labels}
        for column, arm in enumerate(arms):
            values = correct[row, column].mean(axis=1)
            spread = float(values.std(ddof=1)) if len(values) > 1 else None
            entry[arm] = {"mean": float(values.mean()), "std": spread, "seeds": values.tolist()}
        curve.append(entry)
    return curve


def train_arm(
    arm: str, encoder: Encoder, train: LabelledVideos, chosen: Labels, recipe: FineTuning, *, seed: int
) -> Judge:
    """An arm of the comparison trained on the videos `chosen`: what maps clips to class scores."""
    if arm == "linear":
        summary = Summary(encoder.config, len(train.class_names)).to(encoder.mean.device)
        summary.start_from(encoder.to_vectors(_any_clips(train, seed).to(encoder.mean.device)))
        summary.fit(*_labelled_vectors(encoder, train, chosen))
        return lambda clips: summary(encoder.to_vectors(clips.to(encoder.mean.device))).softmax(dim=1)
    if arm == "frozen":
        recipe = dataclasses.replace(recipe, frozen=1.0)
    elif arm in ("scratch", "single_frame"):  # there is nothing to be careful with in a fresh encoder
        recipe = dataclasses.replace(recipe, frozen=0.0, encoder_lr=1.0)
    classifier = fine_tune_videos(build(arm, encoder, train, recipe, seed=seed), train, chosen, recipe, seed=seed)
    return lambda clips: classifier.scores(clips.to(encoder.mean.device))


def choose_videos(data: LabelledVideos, labels: int, seed: int) -> Labels:
    """`labels` random videos of every class."""
    random = np.random.default_rng(seed)
    of_class = (np.flatnonzero(data.labels == label) for label in range(len(data.class_names)))
    return np.concatenate([random.permutation(videos)[:labels] for videos in of_class])


def fewest_videos(data: LabelledVideos) -> int:
    """How many videos the smallest class has."""
    return int(np.bincount(data.labels, minlength=len(data.class_names)).min())


def build(arm: str, encoder: Encoder, train: LabelledVideos, recipe: FineTuning, *, seed: int) -> LSTMClassifier:
    """The classifier of an arm before its first step: from `encoder`, or fresh and fitted to the scale of the data."""
    clips = _any_clips(train, seed)
    summary = encoder.config.features and arm != "single_frame"
    if arm in ("encoder_init", "frozen"):
        classifier = LSTMClassifier.from_encoder(encoder, train.class_names, dropout=recipe.dropout, summary=summary)
    else:
        config = ClassifierConfig(
            encoder.config, train.class_names, arm != "single_frame", recipe.dropout, summary=summary
        )
        with random_numbers_of(seed, torch.device("cpu")):
            classifier = LSTMClassifier(config)
        classifier.encoder.start_from(clips)
    classifier.to(encoder.mean.device).start_from(clips.to(encoder.mean.device))
    return classifier


def verdicts(curve: Sequence[dict[str, Any]], test_videos: int) -> list[str]:
    """For each number of labels, in words, whether the learned encoder helped: paired differences of the seeds.

    It helped or hurt where the 95 % t-interval of the mean difference to scratch leaves out zero. The interval reaches
    at least one test video to either side: of few videos, seeds may agree by the coarseness of the accuracies alone.
    """
    sentences = []
    for row in curve:
        gain = np.subtract(row["encoder_init"]["seeds"], row["scratch"]["seeds"])
        labels = row["labels_per_class"]
        begin = f"{labels} label{'' if labels == 1 else 's'} per class: "
        if len(gain) < 2:
            sentences.append(f"{begin}{gain.mean():+.3f} over scratch, one seed, so nothing can be said")
            continue
        half = float(student_t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain)))
        half = max(half, 1 / test_videos)
        interval = (
            f"{gain.mean():+.3f} over scratch, 95 % interval {gain.mean() - half:+.3f} to {gain.mean() + half:+.3f}"
        )
        helped = "helped" if gain.mean() > half else "hurt" if gain.mean() < -half else "made no clear difference"
        sentences.append(f"{begin}pretraining {helped} ({interval})")
    return sentences


def _any_clips(data: LabelledVideos, seed: int) -> Tensor:
    """Clips that set a scale; their labels do not matter."""
    sample = np.random.default_rng(seed).permutation(len(data.videos))[:_SCALE_CLIPS]
    return data.clips.__getitems__(sample.tolist())


def _labelled_vectors(encoder: Encoder, data: LabelledVideos, chosen: Labels) -> tuple[Tensor, Tensor]:
    """What `encoder` reads of all clips of the videos `chosen`, and their classes (B,)."""
    clips = np.flatnonzero(np.isin(data.videos, chosen))
    vectors = encoder.to_vectors(data.clips.__getitems__(clips.tolist()).to(encoder.mean.device))
    return vectors, torch.from_numpy(data.labels[data.videos[clips]])
