"""Anomalies in real series: the package beside what needs no neural network. Any folder in NAB's layout.

    python benchmarks/nab.py DIR                       # DIR/data/<folder>/*.csv and DIR/windows.json
    python benchmarks/nab.py DIR --methods "LSTM autoencoder" Sub-PCA --seeds 0 1 2

The Numenta Anomaly Benchmark (Lavin and Ahmad 2015): files have the columns timestamp and value, windows.json has the
labelled intervals of each. The first 15 % of a series, at least 400 rows, are taken for normal, the rest is scored;
series without a labelled step there are left out, and named. All methods see windows of 100 steps, one every step, of
values standardised by the normal part; a window's score goes to all its steps, and a step has the mean of its windows.
The package's windows are as many whole periods as last at least 100 steps.

VUS-PR with windows up to 100 (Paparrizos et al., VLDB 2022), ROC-AUC and average precision of steps, without point
adjustment: a row per series, and means over every second series in order of their names (A, by which settings were
chosen), over the others (B), and over all.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from video_ae import SequenceAutoencoder
from video_ae.anomaly import average_windows, spread_scores
from video_ae.thresholds import detection

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Method = Callable[[Floats, Floats, int], Floats]  # the normal part and the rest, standardised, (T,); a seed; scores

WINDOW = 100  # steps, of all methods and of the measure
_NORMAL, _LEAST_NORMAL = 0.15, 400
_THRESHOLDS = 250  # of VUS-PR, as in the authors' package


class Series(NamedTuple):
    """One file: values and labels (T,), 1 for anomalous, and how many steps at its begin are taken for normal."""

    name: str
    values: Floats
    labels: Integers
    normal: int


def read(folder: Path) -> list[Series]:
    """All files with a labelled step behind the normal part. Raises FileNotFoundError or ValueError for others."""
    if not (folder / "windows.json").is_file():
        raise FileNotFoundError(f"{folder / 'windows.json'}: not found, expected a folder in the layout of NAB")
    windows = json.loads((folder / "windows.json").read_text())
    series = []
    for path in sorted((folder / "data").glob("*/*.csv")):
        name = f"{path.parent.name}/{path.name}"
        if name not in windows:
            raise ValueError(f"{path}: found no entry {name!r} in windows.json, expected a list of intervals")
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        times = np.array([row["timestamp"] for row in rows], "M8[us]")
        labels = np.zeros(len(rows), np.int64)
        for first, last in np.array(windows[name], "M8[us]").reshape(-1, 2):
            labels[(times >= first) & (times <= last)] = 1
        normal = max(_LEAST_NORMAL, int(_NORMAL * len(rows)))
        if labels[normal:].any():
            series.append(Series(name, np.array([float(row["value"]) for row in rows]), labels, normal))
        else:
            print(f"left out: {name} has no labelled step behind its first {normal}", file=sys.stderr)
    return series


def windows_of(values: Floats) -> Floats:
    return np.lib.stride_tricks.sliding_window_view(values, WINDOW)  # (T - WINDOW + 1, WINDOW)


def along_steps(scores: Floats) -> Floats:
    """Scores of windows (N,) to those of steps (N + WINDOW - 1,): the mean over the windows that cover each."""
    starts = np.arange(len(scores))
    return average_windows(np.repeat(scores[:, None], WINDOW, axis=1), starts, len(scores) + WINDOW - 1)


def of_windows(score: Callable[[Floats, Floats, int], Floats]) -> Method:
    """A method that scores windows (N, WINDOW): each score is given to all its steps, and averaged."""

    def method(normal: Floats, rest: Floats, seed: int) -> Floats:
        return along_steps(score(windows_of(normal), windows_of(rest), seed))

    return method


def lstm(normal: Floats, rest: Floats, seed: int) -> Floats:
    """The package's defaults but for the time of training: every fourth window, 20 passes instead of 100."""
    model = SequenceAutoencoder(window="auto", stride=4, max_iter=20, random_state=seed)
    return -model.fit(normal).score_steps(rest).astype(np.float64)


def short_lstm(normal: Floats, rest: Floats, seed: int) -> Floats:
    """The same with 5 passes, after which it has hardly learnt more than the mean."""
    model = SequenceAutoencoder(window="auto", stride=4, max_iter=5, random_state=seed)
    return -model.fit(normal).score_steps(rest).astype(np.float64)


def pca_errors(normal: Floats, rest: Floats, seed: int) -> Floats:
    """The squared residuals (N, WINDOW) of the components that have 95 % of the variance."""
    pca = PCA(0.95, random_state=seed).fit(normal)
    return np.square(pca.inverse_transform(pca.transform(rest)) - rest)


@of_windows
def sub_pca(normal: Floats, rest: Floats, seed: int) -> Floats:
    return pca_errors(normal, rest, seed).mean(axis=1)


def spread_pca(normal: Floats, rest: Floats, seed: int) -> Floats:
    """Residuals of steps, averaged over the windows, and spread as the package does it."""
    errors = pca_errors(windows_of(normal), windows_of(rest), seed)
    return spread_scores(average_windows(errors, np.arange(len(errors)), len(rest)), WINDOW)


@of_windows
def neighbours(normal: Floats, rest: Floats, seed: int) -> Floats:
    return NearestNeighbors(n_neighbors=5).fit(normal).kneighbors(rest)[0].mean(axis=1)


@of_windows
def k_means(normal: Floats, rest: Floats, seed: int) -> Floats:
    return KMeans(20, n_init=1, random_state=seed).fit(normal).transform(rest).min(axis=1)


@of_windows
def forest(normal: Floats, rest: Floats, seed: int) -> Floats:
    return -IsolationForest(n_estimators=100, random_state=seed).fit(normal).score_samples(rest)


def matrix_profile(normal: Floats, rest: Floats, seed: int) -> Floats:
    """The distance of every window, each standardised for itself, to the nearest one in the normal part."""
    import stumpy

    return along_steps(stumpy.stump(rest, WINDOW, normal, ignore_trivial=False)[:, 0].astype(np.float64))


def z_score(normal: Floats, rest: Floats, seed: int) -> Floats:
    return np.square(rest)


def spread_z_score(normal: Floats, rest: Floats, seed: int) -> Floats:
    return spread_scores(np.square(rest), WINDOW)


METHODS: dict[str, Method] = {
    "LSTM autoencoder": lstm,
    "LSTM autoencoder, 5 passes": short_lstm,
    "Sub-PCA": sub_pca,
    "PCA, spread as here": spread_pca,
    "5 nearest neighbours": neighbours,
    "KMeans": k_means,
    "IsolationForest": forest,
    "matrix profile": matrix_profile,
    "z-score": z_score,
    "z-score, spread as here": spread_z_score,
}
if importlib.util.find_spec("stumpy") is None:
    del METHODS["matrix profile"]  # pip install stumpy


def intervals(labels: Integers) -> list[tuple[int, int]]:
    """The first and last step of every stretch of labelled steps."""
    edges = np.diff(np.concatenate([[0], labels, [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def vus_pr(labels: Integers, scores: Floats, window: int = WINDOW) -> float:
    """The volume under the precision-recall surface: the mean over buffers of 0 to `window` steps of the area under the
    range-based curve, whose labels fade out over half a buffer at both ends of every anomaly (Paparrizos et al., VLDB
    2022). As `RangeAUC_volume_opt` of the authors' package `vus` at 250 thresholds, which needs TensorFlow; tested
    against its figures. labels, scores: (T,).
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    thresholds = ranked[np.linspace(0, len(scores) - 1, _THRESHOLDS).astype(int)]
    predicted = np.searchsorted(-ranked, -thresholds, side="right")  # (K,), how many steps are at least that high
    anomalies, positives = intervals(labels), labels.sum()
    areas = []
    for buffer in range(window + 1):
        faded = _fade(labels, anomalies, buffer)
        hits = np.cumsum(faded[order])[predicted - 1]
        beside = np.cumsum(np.where(labels == 1, 0, faded)[order])[predicted - 1]
        near = _widen(anomalies, buffer // 2, len(labels))
        highest = np.array([scores[first : last + 1].max() for first, last in near])
        found = (highest >= thresholds[:, None]).mean(axis=1)
        recall = np.minimum(hits / (positives + beside / 2), 1) * found
        areas.append(np.diff(recall, prepend=0) @ (hits / predicted))
    return float(np.mean(areas))


def _fade(labels: Integers, anomalies: list[tuple[int, int]], buffer: int) -> Floats:
    """Labels that fall from 1 as the root of the distance, over half of `buffer` steps before and behind anomalies."""
    faded = labels.astype(np.float64)
    away = np.arange(1, buffer // 2 + 1)
    for first, last in anomalies:
        for places in (first - away, last + away):
            inside = (places >= 0) & (places < len(labels))
            faded[places[inside]] += np.sqrt(1 - away[inside] / buffer)
    return np.minimum(faded, 1)


def _widen(anomalies: list[tuple[int, int]], by: int, steps: int) -> list[tuple[int, int]]:
    """Intervals with so many steps more on both sides, joined where they touch."""
    joined: list[tuple[int, int]] = []
    for first, last in anomalies:
        begin, end = max(first - by, 0), min(last + by, steps - 1)
        if joined and first - by <= joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def judge(series: Series, method: Method, seed: int) -> tuple[float, float, float, float]:
    """VUS-PR, ROC-AUC, average precision, seconds."""
    normal, rest = np.split(series.values, [series.normal])
    mean, deviation = normal.mean(), normal.std() or 1.0
    started = time.perf_counter()
    scores = method((normal - mean) / deviation, (rest - mean) / deviation, seed)
    seconds = time.perf_counter() - started
    labels = series.labels[series.normal :]
    curves = detection(labels, scores)
    return vus_pr(labels, scores), curves["roc_auc"], curves["average_precision"], seconds


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    series = read(arguments.folder)
    found: dict[str, list[list[float]]] = {name: [] for name in arguments.methods}
    print_row("VUS-PR", "rows", "labelled", *found)
    print("|---" * (len(found) + 3) + "|")
    for one in series:
        for name in arguments.methods:
            runs = [judge(one, METHODS[name], seed) for seed in arguments.seeds]
            found[name].append(np.mean(runs, axis=0).tolist())
        cells = [f"{rows[-1][0]:.3f}" for rows in found.values()]
        print_row(one.name, len(one.values), one.labels[one.normal :].sum(), *cells)
    print()
    print_row("mean over series", "VUS-PR: A", "B", "all", "ROC-AUC: A", "B", "all", "average precision", "seconds")
    print("|---" * 9 + "|")
    for name, rows in found.items():
        table = np.array(rows)  # (series, 4)
        of_halves = [part.mean() for measure in table.T[:2] for part in (measure[::2], measure[1::2], measure)]
        cells = [f"{value:.3f}" for value in (*of_halves, table[:, 2].mean())]
        print_row(name, *cells, f"{table[:, 3].sum():.1f}")


if __name__ == "__main__":
    main()
