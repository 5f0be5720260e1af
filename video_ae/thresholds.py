"""Scores to thresholds, alarms and curves, whatever the scores are of.

thresholds = Thresholds.fit(scores_of_normal_data, quantile=0.99)
anomalous = thresholds.flag(scores)
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILE = 0.99
PEAKS = "peaks"
THRESHOLDS = ("quantile", PEAKS)
PEAKS_ABOVE = 0.98  # the quantile from which on scores are peaks, as Siffer et al. choose it
_LEAST_PEAKS = 10

Floats = npt.NDArray[np.float64]
SomeScores = npt.ArrayLike | Iterable[npt.ArrayLike] | Mapping[Any, npt.ArrayLike]


def check_quantile(quantile: float) -> float:
    """`quantile`. Raises ValueError for one that is none."""
    if not 0 < quantile < 1:
        raise ValueError(f"quantile {quantile:g}: expected more than 0 and less than 1")
    return quantile


def _needed(quantile: float) -> int:
    """How many scores it takes for one of them to be expected above the quantile."""
    return int(np.ceil(1 / (1 - quantile) - 1e-6))


def peaks_over_threshold(scores: npt.ArrayLike, quantile: float) -> float:
    """The quantile of normal scores (N,) by extreme-value theory (POT; Siffer et al., KDD 2017, equation 1).

    What is above the .98 quantile of the scores is fitted by a generalised Pareto distribution, of maximum likelihood,
    and that tells how high the scores are that are rarer than any of these. Below .98 it is the quantile itself.
    """
    values = np.asarray(scores, np.float64)
    start = np.quantile(values, PEAKS_ABOVE)
    excesses = values[values > start] - start
    if quantile <= PEAKS_ABOVE or not len(excesses):
        return float(np.quantile(values, quantile))
    return float(start + tail_quantile(excesses, len(values), quantile))


def tail_quantile(
    excesses: Floats, count: int, quantile: float, censored: npt.NDArray[np.bool_] | None = None
) -> float:
    """How far a quantile of `count` scores is above the level that some of them exceed by `excesses` (N,), by the
    generalised Pareto distribution that fits these; of those that are `censored` (N,) it is only known that they are
    higher."""
    share = (1 - quantile) * count / len(excesses)
    unit = excesses.mean()
    shape, scale = _fit_tail(excesses / unit, np.zeros(len(excesses), bool) if censored is None else censored)
    return float(unit * scale / shape * (share**-shape - 1))


def _fit_tail(excesses: Floats, censored: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Shape (at least -1, below which the likelihood has no maximum) and scale of the generalised Pareto distribution
    under which excesses (N,) of mean 1 are most likely.

    For a given ratio r of the two, the best shape is the sum of log(1 + r x) over all, divided by how many are not
    censored, so that one number is to be searched (Grimshaw, Technometrics 1993).
    """
    from scipy.optimize import minimize_scalar

    exact = int((~censored).sum())

    def of_ratio(ratio: Floats) -> tuple[Floats, Floats]:
        """Shapes and negative logarithms of likelihoods."""
        logs = np.log1p(np.multiply.outer(ratio, excesses))
        shape = logs.sum(axis=-1) / exact
        loss = exact * np.log(shape / ratio) + logs[..., ~censored].sum(axis=-1)
        return shape, np.where(shape < -1, np.inf, loss)

    grid = np.concatenate([np.geomspace(-0.9999, -1e-4, 100) / excesses.max(), np.geomspace(1e-4, 1e3, 100)])
    best = int(of_ratio(grid)[1].argmin())
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    ratio = minimize_scalar(
        lambda at: float(of_ratio(np.array(at))[1]), bounds=around, method="bounded", options={"xatol": 1e-8}
    ).x
    shape = float(of_ratio(np.array(ratio))[0])
    return shape, shape / float(ratio)


def rolling_thresholds(scores: npt.ArrayLike, quantile: float = QUANTILE, *, steps: int) -> Floats:
    """A threshold for each score of a series (T,): the quantile of the `steps` scores before it, for machines whose
    normal level drifts. NaN where there are not yet so many, or one of them is NaN.

    A long anomaly becomes the normal state: choose many more steps than one lasts. Raises ValueError where `steps` are
    too few to tell the quantile.
    """
    check_quantile(quantile)
    values = np.asarray(scores, np.float64)
    if steps < (needed := _needed(quantile)):
        raise ValueError(f"steps {steps}: expected at least {needed} for the quantile {quantile:g}")
    thresholds = np.full(len(values), np.nan)
    place = quantile * (steps - 1)
    low, part = int(place), place % 1
    window: list[float] = []  # the last scores in order of their size, kept so: 5,000 of them take 10 us a step
    for step, score in enumerate(values.tolist()):
        if len(window) == steps:
            high = min(low + 1, steps - 1)
            thresholds[step] = window[low] + part * (window[high] - window[low]) if part else window[low]
        if step >= steps and not math.isnan(gone := float(values[step - steps])):
            del window[bisect_left(window, gone)]
        if not math.isnan(score):
            insort(window, score)
    return thresholds


@dataclass(frozen=True)
class Thresholds:
    """Above which a score is anomalous: a quantile of normal scores, one for all (`values[""]`) or one per group."""

    quantile: float
    values: Mapping[str, float]

    @classmethod
    def fit(
        cls,
        scores: SomeScores,
        quantile: float = QUANTILE,
        groups: Sequence[object] | None = None,
        *,
        method: str = "quantile",
    ) -> Thresholds:
        """From scores of held-out normal data, (N,) or (N, T), or a list or dictionary of N arrays (T_i,); NaN does not
        count.

        groups: N names, one per row or array; of a dictionary its keys, `list(scores)`, if each is a group.
        method: `quantile`, that of the scores themselves, or `peaks`, that of the generalised Pareto distribution which
                fits their tail, for quantiles beyond what there are scores for (`peaks_over_threshold`).

        Raises ValueError where a group has too few scores to tell the quantile: at least 1 / (1 - quantile), so that
        one of them may be expected above it, or enough for 10 peaks.
        """
        check_quantile(quantile)
        if method not in THRESHOLDS:
            raise ValueError(f"method {method!r}: expected one of {', '.join(THRESHOLDS)}")
        find = peaks_over_threshold if method == PEAKS else np.quantile
        rows = _rows(scores)
        needed = _LEAST_PEAKS * _needed(PEAKS_ABOVE) if method == PEAKS else _needed(quantile)
        chosen = {}
        for name, places in _places(groups, len(rows)).items():
            normal = _flat([rows[place] for place in places])
            normal = normal[~np.isnan(normal)]
            if len(normal) < needed:
                of_group = f" of group {name!r}" if groups is not None else ""
                raise ValueError(
                    f"found {len(normal)} normal scores{of_group}, expected at least {needed} for the quantile"
                    f" {quantile:g}; use more normal data" + (" or a lower quantile" if method != PEAKS else "")
                )
            chosen[name] = float(find(normal, quantile))
        return cls(quantile, chosen)

    def of(self, count: int, groups: Sequence[object] | None = None) -> Floats:
        """The threshold of each of `count` rows, (count,). Raises ValueError for a group without one."""
        thresholds = np.empty(count)
        for name, places in _places(groups, count).items():
            if name not in self.values:
                known = ", ".join(map(repr, list(self.values)[:9]))
                raise ValueError(
                    f"no threshold for group {name!r}: normal data had {known}; fit with normal data of every group, or"
                    " without groups"
                )
            thresholds[places] = self.values[name]
        return thresholds

    def flag(
        self, scores: SomeScores, groups: Sequence[object] | None = None
    ) -> npt.NDArray[np.bool_] | list[npt.NDArray[np.bool_]] | dict[Any, npt.NDArray[np.bool_]]:
        """Which scores are above their threshold: (N,) or (N, T), or a list or dictionary of (T_i,) for one. NaN never
        is."""
        rows = _rows(scores)
        thresholds = self.of(len(rows), groups)
        if isinstance(rows, list):
            flags = [row > threshold for row, threshold in zip(rows, thresholds, strict=True)]
            return dict(zip(scores, flags, strict=True)) if isinstance(scores, Mapping) else flags
        return rows > thresholds.reshape(-1, *[1] * (rows.ndim - 1))


def detection(labels: SomeScores, scores: SomeScores) -> dict[str, Any]:
    """How well scores tell anomalous (label 1) from normal (0): numbers and the points of both curves, by scikit-learn.

    `roc_auc`, `average_precision`, `anomalous` and `count`; `roc`: false and true positive rates; `pr`: recalls and
    precisions. Both may be lists or dictionaries of arrays (T_i,). Where a score is NaN there is nothing to judge.
    Raises ValueError unless there are both kinds, and a label for every score.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    if isinstance(labels, Mapping) and isinstance(scores, Mapping):
        labels = [labels[name] for name in scores]
    truth, values = _flat(_rows(labels)), _flat(_rows(scores))
    if len(truth) != len(values):
        raise ValueError(f"found {len(truth)} labels of {len(values)} scores, expected one for each")
    truth, values = truth[~np.isnan(values)], values[~np.isnan(values)]
    if set(truth.tolist()) != {0, 1}:
        found = ", ".join(f"{label:g}" for label in sorted(set(truth.tolist()))[:9])
        raise ValueError(f"found labels [{found}], expected both 0 (normal) and 1 (anomalous)")
    false_rates, true_rates, _ = roc_curve(truth, values)
    precisions, recalls, _ = precision_recall_curve(truth, values)
    return {
        "roc_auc": float(roc_auc_score(truth, values)),
        "average_precision": float(average_precision_score(truth, values)),
        "anomalous": int(truth.sum()),
        "count": len(truth),
        "roc": (false_rates, true_rates),
        "pr": (recalls, precisions),
    }


def detection_by_video(labels: Mapping[Any, npt.ArrayLike], scores: Mapping[Any, npt.ArrayLike]) -> dict[str, Any]:
    """The frame-level areas of papers on anomalies in videos, of labels and scores (T_i,) of each video or series.

    `micro_roc_auc`: all frames together, scores as they are. `macro_roc_auc`: the mean over the `judged` videos that
    have both kinds of frames; NaN of none. `micro_roc_auc_normalised`: all frames together after the scores of every
    video were scaled to 0 to 1, as many papers do it: that needs all of a video, and shows in each a frame as anomalous
    as any can be, even where nothing happens.
    """
    from sklearn.metrics import roc_auc_score

    known = {name: ~np.isnan(np.asarray(values, np.float64)) for name, values in scores.items()}
    rows = {name: np.asarray(scores[name], np.float64)[there] for name, there in known.items() if there.any()}
    truth = {name: np.asarray(labels[name])[known[name]] for name in rows}
    areas = [roc_auc_score(truth[name], row) for name, row in rows.items() if len(np.unique(truth[name])) == 2]
    scaled = [(row - row.min()) / (np.ptp(row) or 1.0) for row in rows.values()]
    together = np.concatenate(list(truth.values()))
    return {
        "micro_roc_auc": float(roc_auc_score(together, np.concatenate(list(rows.values())))),
        "macro_roc_auc": float(np.mean(areas)) if areas else math.nan,
        "judged": len(areas),
        "micro_roc_auc_normalised": float(roc_auc_score(together, np.concatenate(scaled))),
    }


def _rows(scores: SomeScores) -> Floats | list[Floats]:
    """Scores as one array, or as a list of arrays where that is what they are, or in a dictionary."""
    if isinstance(scores, Mapping):
        return [np.asarray(row, np.float64) for row in scores.values()]
    rows: Any = scores if hasattr(scores, "__array__") or not isinstance(scores, Iterable) else list(scores)
    if isinstance(rows, np.ndarray) and rows.dtype == object:
        rows = list(rows)
    if isinstance(rows, list) and any(np.ndim(row) for row in rows):
        return [np.asarray(row, np.float64) for row in rows]
    return np.asarray(rows, np.float64)


def _flat(rows: Floats | list[Floats]) -> Floats:
    return np.concatenate([np.ravel(row) for row in rows]) if len(rows) else np.empty(0)


def _places(groups: Sequence[object] | None, count: int) -> dict[str, list[int]]:
    """The rows of every group, of `count` rows; one group with an empty name without groups."""
    if groups is None:
        return {"": list(range(count))}
    if len(groups) != count:
        raise ValueError(f"found {len(groups)} groups of {count} scores: expected one per score")
    places: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(str(group), []).append(place)
    return places
