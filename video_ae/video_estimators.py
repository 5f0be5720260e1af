"""Videos for scikit-learn: estimators on lists of files, and of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from .classifier import LSTMClassifier
from .config import LINEAR, FineTuning, ModelConfig, TrainConfig, fitting_patch_size
from .datasets.config import DataConfig
from .datasets.decoding import decoded, perceived
from .datasets.labelled import label_videos
from .datasets.names import MOTION, NO_PERCEPTS
from .datasets.video_arrays import VideoArrays, VideoRecord
from .datasets.video_clips import VideoClips
from .datasets.videos import Video
from .models import LSTMAutoencoder
from .restored import random_numbers_of
from .training import fit
from .transfer import fine_tune_videos, fit_scale, video_scores

Floats = npt.NDArray[np.float32]
_CPU = torch.device("cpu")


class VideoAutoencoder(TransformerMixin, BaseEstimator):
    """Learns a fixed-length code of videos, without labels, with the composite model on features or pixels.

    `X` is a list of N videos: paths of files or of folders of numbered images, or arrays, (T, H, W, C) uint8 frames of
    one size, which are read as they are, or (T, D) float features. Files are read once: what is made of them is kept in
    the user's cache.

    Parameters
    ----------
    percepts: what is read of the frames of a file: `motion`, which needs no weights, `efficientnet-lite0` (extra
        `percepts`), `vgg16`, `resnet50`, or `none`, their pixels.
    image_size, grey: of pixels: height and width, as one number the centre square, or both; whether without colour.
    fps: frames of each second that are read; None takes all.
    input_frames, future_frames: what the encoder reads at a time, and what the model predicts of what follows.
    hidden_size: LSTM units (of pixels, at every patch); None takes what suits the kind.
    steps, batch_size, learning_rate: of the training.
    random_state: an integer makes everything repeat exactly on the same machine.
    device, verbose: where to compute; whether to show progress.

    Attributes
    ----------
    model_: the `LSTMAutoencoder`. history_: its metrics, see `fit`. n_features_out_: length of the codes.
    """

    def __init__(
        self,
        percepts: str = MOTION,
        *,
        image_size: int | tuple[int, int] = 64,
        grey: bool = False,
        fps: float | None = None,
        input_frames: int = 16,
        future_frames: int = 8,
        hidden_size: int | None = None,
        steps: int = 500,
        batch_size: int = 16,
        learning_rate: float = 3e-3,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.percepts = percepts
        self.image_size = image_size
        self.grey = grey
        self.fps = fps
        self.input_frames = input_frames
        self.future_frames = future_frames
        self.hidden_size = hidden_size
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: Sequence[Any], y: None = None) -> Self:  # noqa: N803
        """Learn from videos. Raises ValueError for videos that cannot be read or are shorter than a clip."""
        frames = self.input_frames + self.future_frames
        arrays = read_videos(X, self, frames)
        clips = VideoClips(arrays, range(len(arrays.videos)), frames, step=max(1, frames // 4))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with random_numbers_of(seed, _CPU):
            self.model_ = LSTMAutoencoder(self._model_config(clips))
        training = TrainConfig(
            steps=self.steps,
            batch_size=min(self.batch_size, len(clips)),
            lr=self.learning_rate,
            seed=seed,
            amp="auto" if self.random_state is None else "off",  # a choice by timing would not repeat exactly
        )
        self.history_ = fit(self.model_, clips, training, device=self.device, verbose=self.verbose)
        self.model_.eval()
        return self

    def transform(self, X: Sequence[Any]) -> Floats:  # noqa: N803
        """The code of every video, (N, n_features_out_): the mean over its clips of `input_frames` frames."""
        check_is_fitted(self)
        arrays = read_videos(X, self, self.input_frames)
        clips = VideoClips(arrays, range(len(arrays.videos)), self.input_frames, cover=True)
        device = self.model_.encoder.mean.device
        total = np.zeros((len(arrays.videos), self.n_features_out_), np.float32)
        with torch.no_grad():
            for first in range(0, len(clips), 50):
                batch = range(first, min(first + 50, len(clips)))
                codes = self.model_.encode(clips.__getitems__(batch).to(device))
                np.add.at(total, clips.videos[batch.start : batch.stop], codes.float().cpu().numpy())
        means: Floats = np.divide(total, np.bincount(clips.videos)[:, None], dtype=np.float32)
        return means

    @property
    def n_features_out_(self) -> int:
        config = self.model_.config
        return config.hidden_sizes[-1]

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """`code0`, `code1`, ..."""
        check_is_fitted(self)
        return np.array([f"code{number}" for number in range(self.n_features_out_)], object)

    def __sklearn_tags__(self) -> Any:
        return _of_lists(super().__sklearn_tags__(), self.random_state)

    def _model_config(self, clips: VideoClips) -> ModelConfig:
        channels, height, width = clips[0].shape[1:]
        pixels = height * width > 1
        size = {} if self.hidden_size is None else {"hidden_size": self.hidden_size}
        if pixels:
            size["patch_size"] = fitting_patch_size(height, width)
        return ModelConfig.preset(
            "conv" if pixels else "dense",
            frame_shape=(channels, height, width),
            input_frames=self.input_frames,
            future_frames=self.future_frames,
            output=LINEAR,
            residual=not pixels,
            **size,
        )


class VideoClassifier(ClassifierMixin, BaseEstimator):
    """Classifies videos with an LSTM whose encoder has learnt from videos without labels first (paper, section 4.4).

    Parameters
    ----------
    autoencoder: a `VideoAutoencoder`. One that was fitted, perhaps on many more videos, is taken as it is; one that was
        not, or None for the default one, learns from the videos of `fit` first, whose labels it does not see. Searches
        and cross-validation clone estimators, which then are not fitted: there, one that is to be taken as it is wants
        to be in a `sklearn.frozen.FrozenEstimator`.
    steps: of fine-tuning, at least; enough for every clip to be seen once.
    learning_rate, encoder_lr: peak rate of the head, and that of the encoder as a share of it.
    dropout: fraction of the inputs and of the hidden states that are missing in training.
    random_state: an integer makes everything repeat exactly on the same machine.

    Attributes
    ----------
    classifier_: the `LSTMClassifier`. autoencoder_: what its encoder is of. classes_: the labels, sorted.
    """

    def __init__(
        self,
        autoencoder: VideoAutoencoder | None = None,
        *,
        steps: int = 40,
        learning_rate: float = 3e-3,
        encoder_lr: float = 0.1,
        dropout: float = 0.5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.steps = steps
        self.learning_rate = learning_rate
        self.encoder_lr = encoder_lr
        self.dropout = dropout
        self.random_state = random_state

    def fit(self, X: Sequence[Any], y: Sequence[Any]) -> Self:  # noqa: N803
        """Learn from videos and the label of each. Raises ValueError as `VideoAutoencoder.fit`, for labels that are
        missing or no classes, and for one class."""
        y = column_or_1d(y)
        if len(X) != len(y):
            raise ValueError(f"found {len(y)} labels of {len(X)} videos, expected one for each")
        if missing := [number for number, label in enumerate(y) if label is None or label != label]:
            raise ValueError(f"label {missing[0]}: found {y[missing[0]]}, expected a class; leave such videos out")
        check_classification_targets(y)
        if len(np.unique(y)) < 2:
            raise ValueError(f"found the label {y[0]} alone, expected at least two different ones")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.autoencoder_ = self._learnt(X, seed)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        names = [str(label) for label in self.classes_]
        model = self.autoencoder_.model_
        arrays = read_videos(X, self.autoencoder_, model.config.input_frames, [names[number] for number in numbers])
        data = label_videos(arrays, range(len(arrays.videos)), model.config.input_frames)
        # `label_videos` sorts the names of the classes as text, scikit-learn the labels as they are
        data = data._replace(labels=numbers.astype(np.int64), class_names=tuple(names))
        classifier = LSTMClassifier.from_encoder(model.encoder, names, dropout=self.dropout, summary=True)
        classifier.to(model.encoder.mean.device)
        fit_scale(classifier, data, seed)
        recipe = FineTuning(
            steps=self.steps, lr=self.learning_rate, encoder_lr=self.encoder_lr, dropout=self.dropout, amp="off"
        )
        self.classifier_ = fine_tune_videos(classifier, data, np.arange(len(arrays.videos)), recipe, seed=seed).eval()
        return self

    def predict_proba(self, X: Sequence[Any]) -> Floats:  # noqa: N803
        """Scores (N, classes) that add up to 1, in the order of `classes_`: of every video the mean over its clips."""
        check_is_fitted(self)
        frames = self.classifier_.config.encoder.input_frames
        arrays = read_videos(X, self.autoencoder_, frames)
        data = label_videos(arrays, range(len(arrays.videos)), frames)
        data = data._replace(class_names=self.classifier_.config.class_names)
        device = self.classifier_.encoder.mean.device
        return video_scores(lambda clips: self.classifier_.scores(clips.to(device)), data)

    def predict(self, X: Sequence[Any]) -> npt.NDArray[Any]:  # noqa: N803
        """The label of every video, (N,)."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: npt.NDArray[Any] = self.classes_[best]
        return labels

    def __sklearn_tags__(self) -> Any:
        return _of_lists(super().__sklearn_tags__(), self.random_state)

    def _learnt(self, X: Sequence[Any], seed: int) -> VideoAutoencoder:  # noqa: N803
        given = self.autoencoder
        if given is not None and hasattr(given, "model_"):
            return given
        autoencoder = VideoAutoencoder(**({} if given is None else given.get_params()))
        if autoencoder.random_state is None:
            autoencoder.set_params(random_state=seed)
        return autoencoder.fit(X)


def read_videos(
    X: Sequence[Any],  # noqa: N803
    how: VideoAutoencoder,
    frames: int,
    labels: Sequence[str] | None = None,
) -> VideoArrays:
    """Files, or arrays, as what the estimator `how` reads of them, each with its label (default: none).

    Raises ValueError for a mixture, for arrays of other kinds or with features that are not finite, and for videos of
    fewer than `frames` frames; FileNotFoundError for a path where nothing is.
    """
    if isinstance(X, (str, Path)):
        raise ValueError(f"found the path {X}, expected a list of paths: of all in a folder, sorted(folder.glob('*'))")
    given, labels = list(X), [""] * len(X) if labels is None else list(labels)
    if not given:
        raise ValueError("found no videos, expected at least one")
    if all(isinstance(video, (str, Path)) for video in given):
        videos = [
            Video(Path(path), f"{number}/{Path(path).stem}", label, str(number))
            for number, (path, label) in enumerate(zip(given, labels, strict=True))
        ]
        if missing := [str(video.path) for video in videos if not video.path.exists()]:
            raise FileNotFoundError(f"{missing[0]}: no such file; {len(missing)} of {len(videos)} are missing")
        config = DataConfig(
            dataset="video-folder", percepts=how.percepts, image_size=how.image_size, grey=how.grey, fps=how.fps
        )
        return (decoded if how.percepts == NO_PERCEPTS else perceived)(config, videos, frames)
    arrays = [np.asarray(video) for video in given]
    pixels = [array.ndim == 4 and array.dtype == np.uint8 for array in arrays]
    features = [array.ndim == 2 and array.dtype.kind == "f" for array in arrays]
    if not all(pixels) and not all(features):
        wrong = (pixels if any(pixels) else features).index(False)
        raise ValueError(
            f"video {wrong}: found {type(given[wrong]).__name__}, {arrays[wrong].dtype} {arrays[wrong].shape}; expected"
            " a list of paths, of uint8 frames (T, H, W, C) or of float features (T, D)"
        )
    if not all(pixels):
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite there
            arrays = [array.astype(np.float32) for array in arrays]
        if not_finite := [number for number, array in enumerate(arrays) if not np.isfinite(array).all()]:
            raise ValueError(
                f"video {not_finite[0]}: found NaN or values that float32 cannot hold, in {len(not_finite)} of"
                f" {len(arrays)} videos; fill them in, or leave these out"
            )
    records = [
        VideoRecord(str(number), label, str(number), array.shape, str(array.dtype))
        for number, (array, label) in enumerate(zip(arrays, labels, strict=True))
    ]
    return VideoArrays(records, arrays.__getitem__)


def _of_lists(tags: Any, random_state: object) -> Any:
    """What scikit-learn should know: `X` is no table, and results may differ from fit to fit."""
    tags.input_tags.two_d_array = False
    tags.input_tags.string = True
    tags.no_validation = True
    tags.non_deterministic = random_state is None
    return tags
