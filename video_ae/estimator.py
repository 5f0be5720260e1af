"""The LSTM autoencoder as a scikit-learn estimator, for arrays, lists of sequences and long series."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor
from tqdm import tqdm

from .anomaly import average_windows, choose_source, present, step_errors, step_scores, window_starts
from .config import DECODERS, FUTURE, LINEAR, RECONSTRUCTION, ModelConfig, TrainConfig
from .evaluation import evaluate
from .models import LSTMAutoencoder
from .training import schedule, train_step

Floats = npt.NDArray[np.float32]
_LEAST_VARIATION = 1e-4  # of a feature's mean: a thousand steps of float32 in a standard deviation
OBJECTIVES = {"reconstruct": (RECONSTRUCTION,), "predict": (FUTURE,), "composite": DECODERS}


def _has(decoder: str) -> Callable[[Any], bool]:
    return lambda estimator: decoder in OBJECTIVES.get(estimator.objective, DECODERS)


class SequenceAutoencoder(TransformerMixin, BaseEstimator):
    """Learns a fixed-length code of sequences by rebuilding them, by predicting how they go on, or by both.

    `X` is one of
      - an array (N, T, F): N sequences of T steps with F features; (N, T) stands for (N, T, 1);
      - a list of N arrays (T_i, F) or (T_i,), of different lengths;
      - with `window`, a long series (T, F) or (T,), or a list of such: sequences are its windows, one every `stride`
        steps, the last one at the series' end. The encoder reads `window` steps of each; where `fit` and
        `score_samples` need what follows, windows are `future_steps` longer.

    Features are standardised by what `fit` sees, and everything that comes out is in the units of `X`.

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
    noise, drop_frames: for denoising: deviation of the noise on what the encoder reads, in deviations of the features,
        and the fraction of steps that it does not see.
    reconstruction_weight, future_weight: of the two losses in their sum.
    max_iter, batch_size, learning_rate: passes over the data, sequences per step, peak rate of AdamW (cosine schedule).
    early_stopping: hold out `validation_fraction` of the sequences and stop when their loss has not improved for
        `n_iter_no_change` passes; the best weights are kept.
    random_state: an integer makes everything repeat exactly on the same machine.
    device, verbose: where to compute; whether to show a progress bar.

    Attributes
    ----------
    model_: the `LSTMAutoencoder`; `model_.save_pretrained(folder)` keeps it.
    loss_curve_, validation_curve_: squared error per step, in standardised units, after every pass.
    n_iter_: passes that were made. n_features_in_: columns of X (of sequences: F). n_steps_: of the longest sequence.
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
        window: int | None = None,
        stride: int = 1,
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
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: None = None) -> Self:  # noqa: N803
        """Learn from sequences. Raises ValueError for data or parameters that cannot be used, FloatingPointError, with
        the cause named, where the training diverges.

        Warns where the code is at least as long as the sequences that it should compress.
        """
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective {self.objective!r}: expected one of {', '.join(OBJECTIVES)}")
        clips = self._clips(X, reset=True, with_future=True)  # (N, T, F, 1, 1)
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        held_out = math.ceil(self.validation_fraction * len(clips)) if self.early_stopping else 0
        if self.early_stopping and not 0 < held_out < len(clips):
            raise ValueError(
                f"early stopping holds out {held_out} of {len(clips)} sequences: expected some, and some left to learn"
                " from; give more sequences, another validation_fraction, or early_stopping=False"
            )
        order = random.permutation(len(clips))
        train, validation = clips[order[held_out:]], clips[order[:held_out]]
        model_config = self._model_config(clips)
        training = self._training(model_config, len(train), seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LSTMAutoencoder(model_config)
        model.start_from(train, least_std=0.0)
        self.model_ = model.to(self.device)
        try:
            self._train(train, validation, training, random)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error}; choose a smaller learning_rate than {self.learning_rate}") from error
        self.model_.eval()
        return self

    def transform(self, X: Any) -> Floats:  # noqa: N803
        """The code of every sequence, (N, code length)."""
        return self._of_batches(X, lambda clips, lengths: self.model_.encode(clips, lengths))

    @available_if(_has(RECONSTRUCTION))
    @torch.no_grad()
    def inverse_transform(self, codes: npt.ArrayLike, steps: int | None = None) -> Floats:
        """Sequences (N, steps, F) from codes alone; `steps` is the longest of `fit` unless said otherwise.

        Where `fit` had rows (N, T), rows come back. Raises ValueError where decoders start from more than the code.
        """
        check_is_fitted(self)
        rows = torch.from_numpy(check_array(codes, dtype=np.float32))
        rebuilt = self.model_.decode(rows.to(self.device), self.n_steps_ if steps is None else steps)
        return self._as_given(rebuilt)

    @available_if(_has(RECONSTRUCTION))
    def reconstruct(self, X: Any) -> Floats | list[Floats]:  # noqa: N803
        """The sequences as rebuilt from their codes: shaped as `X`, a list of them for a list. Windows as (N, T, F)."""
        rebuilt = self._of_batches(X, lambda clips, lengths: self._as_given(self.model_.reconstruct(clips, lengths)))
        if not self._is_list(X) or self.window is not None:
            return rebuilt
        return [made[: len(np.atleast_1d(given))] for made, given in zip(rebuilt, X, strict=True)]

    @available_if(_has(FUTURE))
    def predict(self, X: Any, steps: int | None = None) -> Floats:  # noqa: N803
        """What follows the last step of every sequence, (N, steps, F); `future_steps` unless said otherwise.

        Rows (N, steps) for rows. Of a long series, what follows each window; the last is the forecast of the series.
        """
        ahead = self.future_steps if steps is None else steps
        return self._of_batches(
            X,
            lambda clips, lengths: self._as_given(self.model_.predict(clips, ahead, lengths)),
            any_length=True,  # rows need not be as long as those of `fit`, which had the future in them
        )

    def score_samples(self, X: Any) -> Floats:  # noqa: N803
        """How normal each sequence is, (N,): minus its mean squared error, in standardised units; 0 is perfect.

        Of a composite model, the mean over all the steps that it rebuilds and predicts.
        """
        return self._all_scores(X)[0]

    def score_steps(self, X: Any) -> Floats | list[Floats]:  # noqa: N803
        """How normal each step is: (N, T), NaN where it is not scored, or a list of (T_i,) for a list.

        Of long series, the mean over the windows that cover a step: (T,), or a list of such. Without reconstruction
        only what was predicted is scored.
        """
        _, steps = self._all_scores(X)
        if self.window is None:
            return [row[: len(given)] for row, given in zip(steps, X, strict=True)] if self._is_list(X) else steps
        series = X if self._is_list(X) else [X]
        windows = [window_starts(len(array), steps.shape[1], self.stride) for array in series]
        parts = np.split(steps, np.cumsum([len(starts) for starts in windows])[:-1])
        averages = [
            average_windows(part, starts, len(array)).astype(np.float32)
            for part, starts, array in zip(parts, windows, series, strict=True)
        ]
        return averages if self._is_list(X) else averages[0]

    def _all_scores(self, X: Any) -> tuple[Floats, Floats]:  # noqa: N803
        check_is_fitted(self)
        clips = self._clips(X, with_future=True)
        parts = [self._scores(batch) for batch in clips.split(self._judged_at_a_time(clips))]
        of_sequences, of_steps = zip(*parts, strict=True)
        return np.concatenate(of_sequences), np.concatenate(of_steps)

    def score(self, X: Any, y: None = None) -> float:  # noqa: N803
        """The mean of `score_samples`: higher is better."""
        return float(self.score_samples(X).mean())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # codes are float32
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.random_state is None
        return tags

    def _model_config(self, clips: Tensor) -> ModelConfig:
        """The model for frames (N, T, F, 1, 1). Warns where its code compresses nothing."""
        decoders = OBJECTIVES[self.objective]
        future_steps = self.future_steps if FUTURE in decoders else 0
        if FUTURE in decoders and future_steps < 1:
            raise ValueError(f"future_steps is {future_steps}: expected at least 1 to predict")
        steps, features = clips.shape[1:3]
        shortest = int((~clips.flatten(2).isnan().all(dim=2)).sum(dim=1).min())
        if shortest <= future_steps:
            raise ValueError(
                f"found a sequence of {shortest} steps (a row's n_features = {shortest}), expected at least"
                f" {future_steps + 1}: one to read before the {future_steps} to predict"
            )
        config = ModelConfig(
            frame_shape=(features, 1, 1),
            input_frames=steps - future_steps,
            future_frames=max(1, future_steps),
            hidden_size=tuple(int(size) for size in np.atleast_1d(self.hidden_size)),
            decoders=decoders,
            conditional=decoders if self.conditional else (),
            output=LINEAR,
            code_size=self.code_size,
            repeat_code=self.repeat_code,
            variational=self.beta is not None,
        )
        code, values = self.code_size or config.hidden_sizes[-1], config.input_frames * features
        if code >= values:
            words = f"a code of {code} numbers compresses nothing of the {values} in a sequence"
            warnings.warn(f"{words}: choose a smaller code_size", UserWarning, stacklevel=3)
        return config

    def _training(self, model: ModelConfig, sequences: int, seed: int) -> TrainConfig:
        batch_size = min(self.batch_size, sequences)
        return TrainConfig(
            steps=self.max_iter * -(-sequences // max(batch_size, 1)),
            max_minutes=None,
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

    def _train(self, clips: Tensor, held_out: Tensor, training: TrainConfig, random: np.random.RandomState) -> None:
        optimizer = torch.optim.AdamW(
            self.model_.parameters(), lr=training.lr, betas=(0.9, 0.99), weight_decay=training.weight_decay, fused=True
        )
        self.loss_curve_: list[float] = []
        self.validation_curve_: list[float] = []
        best, waited = float("inf"), 0
        weights = {name: weight.clone() for name, weight in self.model_.state_dict().items()}
        assert training.steps is not None
        step = 0
        with tqdm(total=self.max_iter, desc="fitting", unit=" passes", disable=not self.verbose) as bar:
            for _ in range(self.max_iter):
                total = 0.0
                for batch in _batches(random.permutation(len(clips)), training.batch_size):
                    lr = training.lr * schedule((step + 1) / (training.steps + 1), training.warmup)
                    step += 1
                    row = train_step(self.model_, optimizer, clips[batch].to(self.device), lr, training, step)
                    total += row["loss"] * len(batch)
                self.loss_curve_.append(total / len(clips))
                bar.set_postfix_str(f"loss {self.loss_curve_[-1]:.4g}", refresh=False)
                bar.update()
                if not len(held_out):
                    continue
                self.validation_curve_.append(self._validation_loss(held_out, training))
                waited += 1
                if self.validation_curve_[-1] < best:
                    best, waited = self.validation_curve_[-1], 0
                    weights = {name: weight.clone() for name, weight in self.model_.state_dict().items()}
                if waited >= self.n_iter_no_change:
                    break
        if len(held_out):
            self.model_.load_state_dict(weights)
        self.n_iter_ = len(self.loss_curve_)

    def _validation_loss(self, clips: Tensor, training: TrainConfig) -> float:
        results = evaluate(self.model_, clips.split(self._judged_at_a_time(clips)), torch.device(self.device))
        weights = {RECONSTRUCTION: training.reconstruction_weight, FUTURE: training.future_weight}
        return sum(weights[name] * results[name]["squared_error"] for name in self.model_.decoders)

    def _scores(self, clips: Tensor) -> tuple[Floats, Floats]:
        """Of frames (B, T, F, 1, 1) the scores (B,), and those of every step (B, T), NaN after each end."""
        future_frames = self.model_.config.future_frames if FUTURE in self.model_.decoders else 0
        errors = step_errors(self.model_, clips, future_frames=future_frames)
        of_sequences = torch.cat(list(errors.values()), dim=1).nanmean(dim=1)
        source = choose_source(None, self.model_.config.decoders)
        return -of_sequences.numpy(), -step_scores(errors, present(clips), source).numpy()

    @torch.no_grad()
    def _of_batches(self, X: Any, function: Callable[[Tensor, Tensor], Any], *, any_length: bool = False) -> Any:  # noqa: N803
        """What `function` makes of frames (B, T, F, 1, 1) and their lengths (B,), for all sequences of `X`."""
        check_is_fitted(self)
        clips = self._clips(X, any_length=any_length)
        parts = []
        for batch in clips.split(self._judged_at_a_time(clips)):
            lengths = (~batch.flatten(2).isnan().all(dim=2)).sum(dim=1)
            parts.append(np.asarray(function(batch.to(self.device), lengths.to(self.device))))
        return np.concatenate(parts)

    def _as_given(self, frames: Tensor) -> Floats:
        """Frames (N, T, F, 1, 1) as the sequences that `fit` had: (N, T, F), or rows (N, T)."""
        sequences = frames.flatten(2).cpu().numpy()
        return sequences[:, :, 0] if self._rows else sequences

    def _clips(self, X: Any, *, reset: bool = False, any_length: bool = False, with_future: bool = False) -> Tensor:  # noqa: N803
        """Frames (N, T, F, 1, 1) of whatever `X` may be, NaN after the end of a shorter sequence."""
        sequences, rows = self._sequences(X, reset=reset, any_length=any_length)
        if self.window is not None:
            follow = self.future_steps if with_future and FUTURE in OBJECTIVES[self.objective] else 0
            sequences = _windows(sequences, self.window + follow, self.stride)
        features = sequences[0].shape[1]
        if reset:
            self._rows, self.n_steps_ = rows, self.window or max(len(sequence) for sequence in sequences)
            self.n_features_in_ = self.n_steps_ if rows else features
        elif features != self.model_.config.frame_shape[0]:
            raise ValueError(
                f"found sequences of {features} features, expected {self.model_.config.frame_shape[0]} as in fit"
            )
        longest = max(len(sequence) for sequence in sequences)
        clips = np.full((len(sequences), longest, features, 1, 1), np.nan, np.float32)
        with np.errstate(over="ignore"):  # an error of our own follows
            for clip, sequence in zip(clips, sequences, strict=True):
                clip[: len(sequence), :, 0, 0] = sequence
        if reset:
            _refuse_offsets(sequences)
        if np.isinf(clips).any():
            raise ValueError("found values beyond the range of float32, expected at most 3e38; scale the data")
        return torch.from_numpy(clips)

    def _sequences(self, X: Any, *, reset: bool, any_length: bool) -> tuple[list[npt.NDArray[Any]], bool]:  # noqa: N803
        """Arrays (T_i, F), and whether they were given as rows (N, T)."""
        if self._is_list(X):
            if not len(X):
                raise ValueError("found no sequences, expected at least one")
            arrays = [_two_dimensional(sequence) for sequence in X]
        elif self.window is not None:
            arrays = [_two_dimensional(X)]
        else:
            array = np.asarray(X) if not hasattr(X, "ndim") else X
            if array.ndim == 2 and not reset and not self._rows:
                raise ValueError(
                    f"found an array {array.shape}, expected (N, T, F) or a list of (T, F) as in fit: give X[None] if"
                    " this is one sequence, X[:, :, None] if it is N of one feature"
                )
            if array.ndim == 3:
                arrays = list(check_array(array, allow_nd=True, dtype=np.float64))
            else:
                if array.ndim == 2 and any_length:
                    table = check_array(X, dtype=np.float64)
                else:
                    table = validate_data(self, X, reset=reset, dtype=np.float64)
                return list(table[:, :, None]), True
        if len({array.shape[1] for array in arrays}) > 1:
            raise ValueError(f"found sequences of {sorted({a.shape[1] for a in arrays})} features, expected one number")
        return arrays, False

    @staticmethod
    def _is_list(X: Any) -> bool:  # noqa: N803
        return isinstance(X, (list, tuple)) and all(getattr(part, "ndim", 0) >= 1 for part in X)

    def _judged_at_a_time(self, clips: Tensor) -> int:
        return max(1, 2**18 // max(1, clips[0].numel()))  # about a million numbers with the hidden states


def _two_dimensional(sequence: Any) -> npt.NDArray[Any]:
    """One sequence as (T, F), checked: finite numbers, at least one step."""
    array = np.asarray(sequence)
    checked: npt.NDArray[Any] = check_array(array[:, None] if array.ndim == 1 else array, dtype=np.float64)
    return checked


def _refuse_offsets(sequences: Sequence[npt.NDArray[Any]]) -> None:
    """Raises ValueError where float32, in which models compute, would lose how a feature varies around its mean."""
    steps = np.concatenate(list(sequences))  # (steps of all, F), float64
    mean, deviation = np.abs(steps.mean(axis=0)), steps.std(axis=0)
    lost = np.flatnonzero((deviation < _LEAST_VARIATION * mean) & (deviation > 1e-12 * mean))  # less is rounding
    if len(lost):
        first = lost[0]
        raise ValueError(
            f"feature {first} varies by {deviation[first]:.3g} around {mean[first]:.3g}, too little beside its offset"
            " for float32; subtract the offset"
        )


def _windows(series: Sequence[npt.NDArray[Any]], steps: int, stride: int) -> list[npt.NDArray[Any]]:
    """Windows (steps, F) of every series."""
    return [
        array[start : start + steps] for array in series for start in window_starts(len(array), steps, stride).tolist()
    ]


def _batches(order: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    return (order[first : first + size] for first in range(0, len(order), size))
