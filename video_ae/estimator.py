"""The LSTM autoencoder as a scikit-learn estimator, for arrays, lists of sequences and long series."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from .anomaly import Scorer
from .callbacks import EarlyStopping
from .centring import find_offsets, to_float32
from .clips import SequenceClips, hold_out_ends, hold_out_sequences, warn_of_holes, whole, windows
from .config import DECODERS, FUTURE, LINEAR, RECONSTRUCTION, ModelConfig, TrainConfig
from .distributed import Ranks
from .estimator_files import load_estimator, save_estimator
from .missing import (
    MASK,
    REFUSE,
    beside_mask,
    fill,
    masked_squared_error,
    means_of_present,
    scale_by_present,
)
from .models import LSTMAutoencoder
from .outliers import clip_outliers
from .periods import AUTO, choose_window
from .pretrained import differences
from .restored import random_numbers_of
from .series_errors import errors_of_clips, errors_of_steps
from .series_input import ROWS, Labels, Sequences, named, read_sequences, sign_of_one_series
from .series_stream import SeriesStream
from .training import train

Floats = npt.NDArray[np.floating]
OBJECTIVES = {"reconstruct": (RECONSTRUCTION,), "predict": (FUTURE,), "composite": DECODERS}


_LEARNT: dict[str, Callable[[Any], Any]] = {  # what `fit` leaves beside the model, and how it is made of JSON
    "offsets_": lambda value: np.array(value, np.float64),
    "_constant": lambda value: np.array(value, bool),
    "_filling": lambda value: None if value is None else np.array(value, np.float64),
    "_rows": bool,
    "_labels": lambda value: None if value is None else tuple(value),
    "feature_names_in_": lambda value: np.array(value, object),
    "n_features_in_": int,
    "n_steps_": int,
    "window_": lambda value: None if value is None else int(value),
    "n_iter_": int,
    "loss_curve_": list,
    "validation_curve_": list,
}
_REQUIRED = _LEARNT.keys() - {"feature_names_in_"}


def _has(decoder: str) -> Callable[[Any], bool]:
    return lambda estimator: decoder in OBJECTIVES.get(estimator.objective, DECODERS)


class SequenceAutoencoder(TransformerMixin, BaseEstimator):
    """Learns a fixed-length code of sequences by rebuilding them, by predicting how they go on, or by both.

    `X` is one of
      - an array (N, T, F): N sequences of T steps with F features; (N, T) stands for (N, T, 1). Steps that are NaN
        at the end of a sequence stand for a shorter one;
      - a list or dictionary of N arrays (T_i, F) or (T_i,), of different lengths;
      - with `window`, a long series (T, F) or (T,), or a list, dictionary or array (N, T, F) of such: sequences are its
        windows, one every `stride` steps, the last one at the series' end. The encoder reads `window` steps of each;
        where `fit` and `score_samples` need what follows, windows are `future_steps` longer. `window="auto"` takes as
        many steps as whole periods of the series in `fit` last, at least 100, or 100 where these have no period (see
        `choose_window`).
    Arrays may be DataFrames, whose features are put in the order that they had in `fit` by their names; the columns of
    (N, T) are steps and have to be in order. Windows do not cross holes in the times or numbers of an index: a distance
    of more than 1.5 times the median where nine of ten are within 1.1 of it, or else of more than 5 times the 0.9
    quantile.

    For an array results are an array: (N, ...), or (windows, ...) of one long series. With `window`, of a list or
    dictionary they are a list or dictionary, an array per series. Without, codes, forecasts and scores of N sequences
    are (N, ...), and what has a value per step is in the form of `X`.

    Features are standardised by what `fit` sees, in which values far outside the quartiles count as the nearest ones
    that are not (see `clip_outliers`). Everything that comes out is in the units of `X`: float32, or float64 where a
    feature is far from zero beside its standard deviation, so that float32 would not hold it.

    Parameters
    ----------
    objective: `reconstruct`, `predict` or `composite`, both. To predict, `fit` and `score_samples` take the last
        `future_steps` of every sequence, or window, as what follows the others.
    hidden_size: LSTM units, or one number for each of several layers.
    code_size: length of the code, from which decoders start. None hands over the encoder's whole state instead, which
        is more than the code that `transform` returns, so that there is no way back by `inverse_transform`.
    repeat_code: decoders read the code at every step, as in the Keras tutorials, instead of starting from it.
    conditional: decoders read what they put out in the step before; in training, the truth.
    beta: None, or the weight of a variational code's divergence from a Gaussian (1: the evidence lower bound).
    missing: `refuse` or `mask`. Values may be missing, NaN, with `mask`: the encoder then reads which are, beside the
        others, and those do not count in losses and scores; their score is NaN, that of a step is the mean of what is
        there. Steps that are NaN throughout at the end of a sequence in an array still stand for a shorter one.
    noise, drop_frames: for denoising: deviation of the noise on what the encoder reads, in deviations of the features,
        and the fraction of steps that it does not see.
    reconstruction_weight, future_weight: of the two losses in their sum.
    max_iter, batch_size, learning_rate: passes over the data, sequences per step, peak rate of AdamW (cosine schedule).
    early_stopping: hold out `validation_fraction` of the sequences and stop when their loss has not improved for
        `n_iter_no_change` passes; the best weights are kept. Of fewer series than that is one of, the last windows of
        each are held out, and those that overlap them are not learnt from.
    warm_start: `fit` goes on with the model that there is, `max_iter` passes more; scales and window stay, as in
        `partial_fit`.
    random_state: an integer makes everything repeat exactly on the same machine.
    device, verbose: where to compute; whether to show a progress bar.

    Attributes
    ----------
    model_: the `LSTMAutoencoder`; `model_.save_pretrained(folder)` keeps it.
    loss_curve_, validation_curve_: squared error per step, in standardised units, after every pass.
    n_iter_: passes that were made. n_features_in_: columns of X (of sequences: F). n_steps_: of the longest sequence.
    window_: steps that the encoder reads of each window; None where sequences are read whole.
    feature_names_in_: names of the columns of X, where they have names.
    offsets_: (F,), what is taken away from X, in float64, before `model_` sees it: about the mean of features that
        float32 would not hold otherwise, such as those more than 100 standard deviations from zero, 0 of others.
    """

    def __init__(
        self,
        objective: str = "reconstruct",
        *,
        future_steps: int = 1,
        hidden_size: int | Sequence[int] = 64,
        code_size: int | None = 16,
        repeat_code: bool = False,
        conditional: bool = False,
        beta: float | None = None,
        window: int | str | None = None,
        stride: int = 1,
        missing: str = REFUSE,
        noise: float = 0.0,
        drop_frames: float = 0.0,
        reconstruction_weight: float = 1.0,
        future_weight: float = 1.0,
        max_iter: int = 100,
        batch_size: int = 32,
        learning_rate: float = 1e-2,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
        verbose: bool = False,
    ) -> None:
        self.objective = objective
        self.future_steps = future_steps
        self.hidden_size = hidden_size
        self.code_size = code_size
        self.repeat_code = repeat_code
        self.conditional = conditional
        self.beta = beta
        self.window = window
        self.stride = stride
        self.missing = missing
        self.noise = noise
        self.drop_frames = drop_frames
        self.reconstruction_weight = reconstruction_weight
        self.future_weight = future_weight
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: None = None) -> Self:  # noqa: N803
        """Learn from sequences. Raises ValueError for data or parameters that cannot be used, FloatingPointError, with
        the cause named, where the training diverges.

        Warns where the code is at least as long as the sequences that it should compress.
        """
        self._check_parameters()
        return self._learn(X, self.max_iter, new=not (self.warm_start and hasattr(self, "model_")))

    def partial_fit(self, X: Any, y: None = None) -> Self:  # noqa: N803
        """Learn on, one pass over sequences that may be new; the first call begins as `fit` does.

        What the first data settled stays: the scale and the offsets of features, the window. The learning rate rises
        and falls in every call as it does in `fit`, so that calls with much data at a time learn better than many with
        little. Raises ValueError with `early_stopping`, and as `fit` does.
        """
        self._check_parameters()
        if self.early_stopping:
            raise ValueError("partial_fit makes one pass and cannot stop early: set early_stopping=False, or call fit")
        return self._learn(X, 1, new=not hasattr(self, "model_"))

    def save(self, folder: Path | str) -> None:
        """Write all that `fit` learnt, and the parameters, into `folder`: JSON and safetensors, no pickle.

        Raises ValueError, with nothing written, for a `random_state` that is no number and names of columns that are
        neither text nor numbers.
        """
        check_is_fitted(self)
        learnt = {name: vars(self)[name] for name in _LEARNT if name in vars(self)}
        save_estimator(Path(folder), self.model_, self.get_params(), learnt)

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "cpu") -> Self:
        """The estimator that `save` wrote, on a device of this machine. Nothing in the files is run.

        Raises FileNotFoundError where there is none, ValueError where it is damaged or of another version.
        """
        model, parameters, learnt = load_estimator(Path(folder))
        if parameters.keys() != cls().get_params().keys() or not _REQUIRED <= learnt.keys() <= _LEARNT.keys():
            raise ValueError(f"{folder}: of another version of SequenceAutoencoder: load it with that, or fit it anew")
        estimator = cls(**parameters | {"device": device})
        estimator._check_parameters()
        for name, value in learnt.items():
            setattr(estimator, name, _LEARNT[name](value))
        channels = model.config.vector_size // (1 if estimator._filling is None else 2)
        if not len(estimator.offsets_) == len(estimator._constant) == channels:
            raise ValueError(
                f"{folder}: found {len(estimator.offsets_)} offsets for a model of other features: damaged"
            )
        estimator.model_ = model.to(device).eval()
        return estimator

    def transform(self, X: Any) -> Any:  # noqa: N803
        """The code of every sequence, (N, code length); with `window`, of every window of each series.

        After `set_output(transform="pandas")` a DataFrame; of one long series, its rows have the labels of the last
        step of their windows. Raises ValueError for several series then.
        """
        codes = self._of_clips(X, lambda batch, lengths: self.model_.encode(batch, lengths).cpu().numpy())
        wanted = _get_output_config("transform", self)["dense"]
        if self.window_ is None or wanted == "default":
            return codes
        if isinstance(codes, (list, dict)):
            raise ValueError(
                'the codes of several series are several tables: give one series, or set_output(transform="default")'
            )
        return self._of_windows(X, codes) if wanted == "pandas" else codes

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """(code length,): `sequenceautoencoder0` and so on, as scikit-learn calls what it makes."""
        check_is_fitted(self)
        codes = self.code_size or self.model_.config.hidden_sizes[-1]
        return np.array([f"sequenceautoencoder{code}" for code in range(codes)], dtype=object)

    @available_if(_has(RECONSTRUCTION))
    @torch.no_grad()
    def inverse_transform(self, codes: Any, steps: int | None = None) -> Any:
        """Sequences (N, steps, F) from codes alone; `steps` is the longest of `fit` unless said otherwise.

        Where `fit` had rows (N, T), rows come back; a list or dictionary of codes gives one of sequences. Raises
        ValueError where decoders start from more than the code.
        """
        check_is_fitted(self)
        if isinstance(codes, Mapping):
            return {key: self.inverse_transform(part, steps) for key, part in codes.items()}
        if isinstance(codes, list) and all(np.ndim(part) == 2 for part in codes):
            return [self.inverse_transform(part, steps) for part in codes]
        rows = torch.from_numpy(check_array(codes, dtype=np.float32))
        return self._as_in_fit(self.model_.decode(rows.to(self.device), self.n_steps_ if steps is None else steps))

    @available_if(_has(RECONSTRUCTION))
    def reconstruct(self, X: Any) -> Any:  # noqa: N803
        """The sequences as rebuilt from their codes, in the form of `X`; with `window`, the windows of each series."""

        def rebuild(batch: Tensor, lengths: Tensor) -> Floats:
            return self._as_in_fit(self.model_.reconstruct(batch, lengths))

        if self.window_ is not None:
            return self._of_clips(X, rebuild)
        given = self._read(X)
        clips = self._clips(given)
        rebuilt = self._gathered(clips, rebuild)
        return given.as_given(rebuilt[np.arange(rebuilt.shape[1]) < clips.lengths[:, None]])

    @available_if(_has(RECONSTRUCTION))
    @torch.no_grad()
    def reconstruct_steps(self, X: Any) -> Any:  # noqa: N803
        """The sequences as rebuilt, in the form of `X`: with `window`, every step is the mean over the windows that
        cover it, so that each series comes back in its own length, (T, F). NaN where no window fits between two holes
        in the times."""
        if self.window_ is None:
            return self.reconstruct(X)
        given = self._read(X)
        clips = self._clips(given)
        features = len(self.offsets_)
        windows = (self.model_.reconstruct(batch.to(self.device)).flatten(2) for batch in clips.batches())
        centred = clips.mean_of_steps(values[..., :features].cpu().numpy() for values in windows)
        return given.as_given(self._in_units_of_fit(centred.astype(np.float32)))

    @available_if(_has(FUTURE))
    def predict(self, X: Any, steps: int | None = None) -> Any:  # noqa: N803
        """What follows the last step of every sequence, (N, steps, F); `future_steps` unless said otherwise.

        Rows (N, steps) for rows. With `window`, what follows each window of each series: the last is its forecast.
        """
        ahead = self.future_steps if steps is None else steps
        return self._of_clips(X, lambda batch, lengths: self._as_in_fit(self.model_.predict(batch, ahead, lengths)))

    def score_samples(self, X: Any) -> Any:  # noqa: N803
        """How normal each sequence is, (N,): minus its mean squared error, in standardised units; 0 is perfect.

        Of a composite model, the mean over all the steps that it rebuilds and predicts. With `window`, of every window
        of each series.
        """
        given = self._read(X)
        clips = self._clips(given, with_future=True)
        masked = self.missing == MASK
        judged = errors_of_clips(self.model_, clips, per_feature=masked, masked=masked)  # every value counts alike
        scores = [-torch.cat(list(errors.values()), dim=1).flatten(1).nanmean(dim=1).numpy() for errors, _ in judged]
        return self._per_sequence(given, clips, np.concatenate(scores))

    def score_steps(self, X: Any, *, spread: bool = True) -> Any:  # noqa: N803
        """How normal each step is, in the form of `X`: (N, T), a list of (T_i,), or (T,) of one long series.

        With `window`, the error of a step is the mean over the windows that cover it, and is spread over its
        surroundings: each window has the largest error in it, a step the mean over its windows (`spread_scores`).
        `spread=False` leaves every step its own error, as it always is without `window`. NaN where there is no score:
        without reconstruction for all steps but those that are predicted, and where no window fits between two holes in
        the times.
        """
        errors, given = self._of_steps(X, spread=spread, per_feature=False)
        return given.as_given(-errors[:, 0])

    def score_features(self, X: Any, *, spread: bool = True) -> Any:  # noqa: N803
        """How normal each feature of each step is, in the form of `X`: (N, T, F), a list of (T_i, F), or (T, F).

        Minus the squared error of the feature alone, in standardised units, spread as those of `score_steps` are:
        which sensors make a step anomalous. With `spread=False` the mean over the features is what `score_steps` has.
        """
        errors, given = self._of_steps(X, spread=spread, per_feature=True)
        return given.as_given(-errors)

    def attribute(self, X: Any, normal: Any) -> Any:  # noqa: N803
        """Which features make sequences anomalous, (N, F); with `window`, of every window of each series.

        By how much the error of a sequence falls if one feature is replaced by what the model makes of the others, in
        units of what is usual in `normal`, data that `fit` has not seen: see `Scorer.attribute`. Ask it of the few
        sequences, or of the part of a series, that are anomalous: each is judged up to 60 times. Raises ValueError
        where values may be missing.
        """
        if self.missing == MASK:
            raise ValueError("attribute does not know what is missing: see score_features, or set missing='refuse'")
        usual, given = self._clips(self._read(normal), with_future=True), self._read(X)
        clips = self._clips(given, with_future=True)
        scorer, _ = Scorer.fit(self.model_, usual.batches(), future_frames=self._follow())
        explained = np.concatenate([scorer.attribute(batch).numpy() for batch in clips.batches()])
        return self._per_sequence(given, clips, explained)

    def stream(self, steps: int | None = None) -> SeriesStream:
        """Series as they arrive: `push(step)` gives the code, the next `steps` and the score of this one.

        `future_steps` are predicted unless said otherwise. What comes is what `transform` and `predict` give for all
        steps since the first push, in constant memory and time; see `SeriesStream`.
        """
        check_is_fitted(self)
        if self.missing == MASK:
            raise ValueError("a stream does not know what is missing: fit with missing='refuse' to stream")
        return SeriesStream(self.model_, self.offsets_, self._constant, self.future_steps if steps is None else steps)

    def score(self, X: Any, y: None = None) -> float:  # noqa: N803
        """The mean of `score_samples`, of all sequences or windows: higher is better."""
        scores = self.score_samples(X)
        parts = list(scores.values()) if isinstance(scores, dict) else scores
        return float(np.concatenate(parts).mean() if isinstance(parts, list) else parts.mean())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # codes are float32
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self.missing == MASK
        tags.non_deterministic = self.random_state is None
        return tags

    def _learn(self, X: Any, passes: int, *, new: bool) -> Self:  # noqa: N803
        """Make passes over `X`, with a new model or with the one that there is."""
        given = self._read(X, reset=new)
        if new:
            self.window_ = choose_window(given, self._follow()) if isinstance(self.window, str) else self.window
            self.offsets_, self._constant = find_offsets(given)
            self.n_iter_, self.n_steps_ = 0, 0
            self.loss_curve_: list[float] = []
            self.validation_curve_: list[float] = []
        self.n_steps_ = self.window_ or max(int(given.lengths.max()), self.n_steps_)
        clips = self._clips(given, with_future=True)
        random = check_random_state(self.random_state)
        seed = (int(random.randint(2**31 - 1)) + self.n_iter_) % 2**31  # a pass more is no repetition
        learnt, validation = self._divide(clips, random)
        model_config = self._model_config(clips)
        training = self._training(model_config, len(learnt), passes, seed)
        if new:
            with random_numbers_of(seed, torch.device("cpu")):
                model = LSTMAutoencoder(model_config)
            scaled = torch.from_numpy(clip_outliers(learnt.covered().numpy()))
            model.start_from(scaled[None, :, :, None, None], least_std=0.0)
            if self.missing == MASK:
                scale_by_present(model, learnt.covered())
            self.model_ = model.to(self.device)
        elif changed := differences(
            self.model_.config, replace(model_config, input_frames=self.model_.config.input_frames)
        ):
            raise ValueError(
                f"the parameters changed since fit: {'; '.join(changed)}; set warm_start=False and fit anew"
            )
        try:
            self._train(learnt, validation, training)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error}; choose a smaller learning_rate than {self.learning_rate}") from error
        self.model_.eval()
        return self

    def _check_parameters(self) -> None:
        """Raises ValueError for what no part of the model would refuse in words of its own."""
        if self.missing not in (REFUSE, MASK):
            raise ValueError(f"missing {self.missing!r}: expected {REFUSE} or {MASK}")
        if self.missing == MASK and (self.conditional or self.early_stopping):
            option = "conditional" if self.conditional else "early_stopping"
            raise ValueError(
                f"{option} does not know what is missing: leave it out, or fill gaps in and set missing={REFUSE!r}"
            )
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective {self.objective!r}: expected one of {', '.join(OBJECTIVES)}")
        least = {"stride": 1, "max_iter": 1, "batch_size": 1, "n_iter_no_change": 1}
        if isinstance(self.window, str) and self.window != AUTO:
            raise ValueError(f"window is {self.window!r}: expected a whole number, {AUTO!r} or None")
        least |= {"window": 1} if self.window not in (None, AUTO) else {}
        least |= {"code_size": 1} if self.code_size is not None else {}
        least |= {"future_steps": 1} if FUTURE in OBJECTIVES[self.objective] else {}
        for name, smallest in least.items():
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < smallest:
                raise ValueError(f"{name} is {value!r}: expected a whole number, at least {smallest}")
        if np.asarray(self.hidden_size).dtype.kind not in "iu":
            raise ValueError(f"hidden_size is {self.hidden_size!r}: expected a whole number, or one for each layer")
        fraction: Any = self.validation_fraction
        if self.early_stopping and not (isinstance(fraction, (int, float, np.floating)) and 0 < fraction < 1):
            raise ValueError(f"validation_fraction is {fraction!r}: expected more than 0 and less than 1")

    def _model_config(self, clips: SequenceClips) -> ModelConfig:
        """The model for the clips. Warns where its code compresses nothing."""
        decoders, features = OBJECTIVES[self.objective], clips.steps.shape[1]
        future_steps = self._follow()
        config = ModelConfig(
            frame_shape=(features, 1, 1),
            input_frames=clips.longest - future_steps,
            future_frames=max(1, future_steps),
            hidden_size=tuple(int(size) for size in np.atleast_1d(self.hidden_size)),
            decoders=decoders,
            conditional=decoders if self.conditional else (),
            output=LINEAR,
            code_size=self.code_size,
            repeat_code=self.repeat_code,
            variational=self.beta is not None,
        )
        code, values = self.code_size or config.hidden_sizes[-1], config.input_frames * len(self.offsets_)
        if code >= values:
            words = f"a code of {code} numbers compresses nothing of the {values} in a sequence"
            warnings.warn(f"{words}: choose a smaller code_size", UserWarning, stacklevel=4)
        return config

    def _training(self, model: ModelConfig, sequences: int, passes: int, seed: int) -> TrainConfig:
        batch_size = max(1, min(self.batch_size, sequences))
        steps_of_a_pass = max(1, round(sequences / batch_size))
        return TrainConfig(
            steps=passes * steps_of_a_pass,
            checkpoint_every=steps_of_a_pass,
            amp="off",  # a choice by timing would not repeat exactly
            batch_size=batch_size,
            lr=self.learning_rate,
            clip_grad=float(model.input_frames * model.vector_size),  # the loss is a sum over the features
            reconstruction_weight=self.reconstruction_weight,
            future_weight=self.future_weight,
            beta=1.0 if self.beta is None else self.beta,
            noise=self.noise,
            drop_frames=self.drop_frames,
            seed=seed,
        )

    def _train(self, clips: SequenceClips, held_out: SequenceClips, training: TrainConfig) -> None:
        losses: list[float] = []

        def note_loss(step: int, metrics: Mapping[str, Any], model: LSTMAutoencoder) -> None:
            if "loss" in metrics:
                losses.append(metrics["loss"])

        record = train(
            self.model_,
            clips,
            training,
            held_out if len(held_out) else None,
            Ranks(device=torch.device(self.device)),
            callbacks=[note_loss, EarlyStopping(self.n_iter_no_change)],
            loss=masked_squared_error if self.missing == MASK else None,
            verbose=self.verbose,
        )
        if record.best_weights is not None:
            self.model_.load_state_dict(record.best_weights)
        of_a_pass = training.checkpoint_every
        self.loss_curve_ += [float(np.mean(losses[i : i + of_a_pass])) for i in range(0, len(losses), of_a_pass)]
        self.validation_curve_ += [row["validation_loss"] for row in record.rows if "validation" in row]
        self.n_iter_ = len(self.loss_curve_)

    def _of_steps(self, X: Any, *, spread: bool, per_feature: bool) -> tuple[Floats, Sequences]:  # noqa: N803
        """The errors of every step of `X`, (S, 1), or (S, F) of every feature; and the sequences in `X`."""
        given = self._read(X)
        clips = self._clips(given, with_future=True)
        masked, spread = self.missing == MASK, spread and self.window_ is not None
        errors = errors_of_steps(self.model_, given, clips, per_feature=per_feature, masked=masked, spread=spread)
        return errors, given

    def _of_clips(self, X: Any, function: Callable[[Tensor, Tensor], Floats]) -> Any:  # noqa: N803
        """What `function` makes of frames (B, T, F, 1, 1) and their lengths (B,), for all sequences of `X`."""
        given = self._read(X)
        clips = self._clips(given)
        return self._per_sequence(given, clips, self._gathered(clips, function))

    @torch.no_grad()
    def _gathered(self, clips: SequenceClips, function: Callable[[Tensor, Tensor], Floats]) -> Floats:
        found: Floats | None = None
        for chosen, batch in zip(clips.slices(), clips.batches(), strict=True):
            lengths = torch.from_numpy(clips.lengths[chosen])
            values = function(batch.to(self.device), lengths.to(self.device))
            found = np.empty((len(clips), *values.shape[1:]), values.dtype) if found is None else found
            found[chosen] = values  # a copy: what is kept may be a view of all that the model made
        assert found is not None
        return found

    def _per_sequence(self, given: Sequences, clips: SequenceClips, values: Floats) -> Any:
        """What there is of every clip, (N, ...); with `window`, apart for the series that these are of."""
        if self.window_ is None:
            return values
        counts = np.bincount(clips.sequence, minlength=len(given))
        return given.per_sequence(np.split(values, counts.cumsum()[:-1]))

    def _of_windows(self, X: Any, codes: Floats) -> Any:  # noqa: N803
        """The codes of one series (N, code length) as a DataFrame whose index is that of each window's last step."""
        import pandas

        given = self._read(X)
        ends = self._clips(given).starts + int(self.window_ or 0) - 1
        index = X.index[ends] if hasattr(X, "iloc") else ends
        return pandas.DataFrame(codes, index=index, columns=self.get_feature_names_out())

    def _as_in_fit(self, frames: Tensor) -> Floats:
        """Frames (N, T, F, 1, 1) as the sequences that `fit` had: (N, T, F), or rows (N, T), in the units of X."""
        sequences = self._in_units_of_fit(frames.flatten(2)[..., : len(self.offsets_)].cpu().numpy())
        return sequences[:, :, 0] if self._rows else sequences

    def _in_units_of_fit(self, centred: Floats) -> Floats:
        """Values (..., F) of the model in the units of X: float64 where float32 would not hold them."""
        return centred + self.offsets_ if self.offsets_.any() else centred

    def _read(self, X: Any, *, reset: bool = False) -> Sequences:  # noqa: N803
        """The sequences in `X`. In `fit` their names and numbers are kept, and elsewhere compared to these."""
        if reset:
            given = read_sequences(X, long=self.window is not None, missing=self.missing == MASK)
        else:
            check_is_fitted(self)
            if (self._filling is None) == (self.missing == MASK):
                raise ValueError("the parameter missing was changed since fit: fit anew")
            given = read_sequences(
                X, long=self.window is not None, rows=self._rows, labels=self._labels, missing=self.missing == MASK
            )
        features = given.steps.shape[1]
        if reset:
            validate_data(self, given.example, skip_check_array=True)
            self._rows: bool = given.form == ROWS
            self._labels: Labels | None = given.labels
            self._filling: Floats | None = means_of_present(given) if self.missing == MASK else None
            if self._rows and (sign := sign_of_one_series(X, given)):
                warnings.warn(
                    f"{len(given)} rows are read as {len(given)} sequences of {given.width} steps of one feature, but"
                    f" {sign}: give window= if they are one series of {given.width} features, or, if not, an array"
                    f" {'X.to_numpy()' if given.labels else 'X'}[:, :, None]",
                    UserWarning,
                    stacklevel=4,
                )
        elif self._rows and given.form != ROWS:
            if features != 1:
                raise ValueError(f"found sequences of {features} features, expected 1 as in fit, which had rows")
        elif self._rows and not named(given.labels) and _reordered(given.labels, self._labels):
            raise ValueError("the columns of X, its steps, come in another order than in fit: put them in that order")
        elif not self._rows or not self._other_steps(given):
            validate_data(self, given.example, reset=False, skip_check_array=True)
        return given if self._filling is None else fill(given, self._filling)

    def _other_steps(self, rows: Sequences) -> bool:
        """Whether these rows have other steps than those of `fit`, which had the future in them, and may have."""
        if FUTURE not in OBJECTIVES[self.objective] or rows.width == self.n_features_in_:
            return False
        expected = (self._labels or ())[: -self.future_steps]
        return not named(rows.labels) or not named(self._labels) or rows.labels == expected

    def _clips(self, given: Sequences, *, with_future: bool = False) -> SequenceClips:
        """The sequences, or their windows, `with_future` with what follows these."""
        follow = self._follow() if with_future else 0
        if self.window_ is None and given.lengths.min() <= follow:
            shortest = int(given.lengths.argmin())
            raise ValueError(
                f"{given.name(shortest)}: found a sequence of {given.lengths[shortest]} steps (a row's n_features ="
                f" {given.lengths[shortest]}), expected at least {follow + 1}: one to read before the {follow} to"
                " predict"
            )
        warn_of_holes(given, None if self.window_ is None else self.window_ + follow)
        steps = beside_mask(to_float32(given, self.offsets_, self._constant), given)
        if self.window_ is None:
            return whole(given, steps)
        return windows(given, steps, self.window_ + follow, self.stride)

    def _follow(self) -> int:
        """How many steps are predicted of every sequence."""
        return self.future_steps if FUTURE in OBJECTIVES[self.objective] else 0

    def _divide(self, clips: SequenceClips, random: np.random.RandomState) -> tuple[SequenceClips, SequenceClips]:
        """Clips to learn from, and clips to stop by, which share no step with them."""
        if not self.early_stopping:
            return clips, clips.of(np.arange(0))
        if self.window_ is None or self.validation_fraction * (clips.sequence[-1] + 1) >= 1:
            train, validation = hold_out_sequences(clips, self.validation_fraction, random)
        else:
            train, validation = hold_out_ends(clips, self.validation_fraction)
        if not len(train) or not len(validation):
            raise ValueError(
                f"early stopping holds out {len(validation)} of {len(clips)} sequences: expected some, and some left to"
                " learn from that share no step with them; give more, another validation_fraction, or"
                " early_stopping=False"
            )
        return train, validation


def _reordered(labels: Labels | None, expected: Labels | None) -> bool:
    return labels is not None and expected is not None and labels != expected and set(labels) == set(expected)
