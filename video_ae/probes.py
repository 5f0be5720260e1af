"""What a code contains without any fine-tuning: linear and nearest-neighbour probes, clusters and retrieval."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors

Features = npt.NDArray[np.float32]  # (N, D)
_ALPHAS = np.logspace(-3, 5, 9)  # of the ridge probes; chosen by leave-one-out on the training features
_NEIGHBOURS = 5


def probe_classes(
    train: Features, train_labels: npt.NDArray[np.int64], test: Features, test_labels: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Accuracy of a linear (ridge) and a 5-nearest-neighbour classifier that see the features alone."""
    linear = RidgeClassifierCV(_ALPHAS).fit(train, train_labels)
    neighbours = KNeighborsClassifier(min(_NEIGHBOURS, len(train))).fit(train, train_labels)
    return {"linear": linear.score(test, test_labels), "knn": neighbours.score(test, test_labels)}


def probe_values(
    train: Features, train_values: npt.NDArray[np.float32], test: Features, test_values: npt.NDArray[np.float32]
) -> dict[str, float]:
    """R2, the mean over columns, of ridge and 5-nearest-neighbour regression of values (N, K); 0 is the mean's."""
    linear = RidgeCV(_ALPHAS).fit(train, train_values)
    neighbours = KNeighborsRegressor(min(_NEIGHBOURS, len(train))).fit(train, train_values)
    return {"linear": linear.score(test, test_values), "knn": neighbours.score(test, test_values)}


def cluster_agreement(features: Features, labels: npt.NDArray[np.int64]) -> float:
    """Normalised mutual information, 0 to 1, of the classes and as many k-means clusters."""
    clusters = KMeans(len(np.unique(labels)), n_init=10, random_state=0).fit_predict(features)
    return float(normalized_mutual_info_score(labels, clusters))


def nearest(features: Features, queries: Features, count: int) -> npt.NDArray[np.int64]:
    """Indices (Q, count) of the features that are nearest to each query, by the cosine of their angle."""
    index = NearestNeighbors(n_neighbors=count, metric="cosine").fit(features)
    found: npt.NDArray[np.int64] = index.kneighbors(queries, return_distance=False)
    return found


def probe(
    train: Features, train_truth: dict[str, npt.NDArray[Any]], test: Features, test_truth: dict[str, npt.NDArray[Any]]
) -> dict[str, Any]:
    """All probes of one kind of features. `truth`: integer arrays (N,) are classes, float arrays (N, K) values.

    Returns `{<name>: {linear, knn}, ..., clustering: NMI}`; clusters are compared with the first classes of `truth`.
    """
    results: dict[str, Any] = {}
    for name, truth in train_truth.items():
        by_kind = probe_classes if truth.dtype.kind == "i" else probe_values
        results[name] = by_kind(train, truth, test, test_truth[name])
    classes = next(truth for truth in test_truth.values() if truth.dtype.kind == "i")
    return results | {"clustering": cluster_agreement(test, classes)}
