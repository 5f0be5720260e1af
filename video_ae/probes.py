"""What a code contains without any fine-tuning: linear and nearest-neighbour probes, clusters, retrieval, a map."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.manifold import TSNE
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors

Features = npt.NDArray[np.float32]  # (N, D)
_ALPHAS = np.logspace(-3, 5, 9)  # of the ridge probes; chosen by leave-one-out on the training features
_NEIGHBOURS = 5
_COMPONENTS = 50


def probe_truth(
    train: Features, train_truth: npt.NDArray[Any], test: Features, test_truth: npt.NDArray[Any]
) -> dict[str, float]:
    """What a linear (ridge) and a 5-nearest-neighbour model find in features of what they are to know.

    Accuracy for integers (N,), which are classes; for real values (N, K) R2, the mean over columns: 0 is the mean's.
    """
    classes = train_truth.dtype.kind == "i"
    linear = RidgeClassifierCV(_ALPHAS) if classes else RidgeCV(_ALPHAS)
    neighbours = (KNeighborsClassifier if classes else KNeighborsRegressor)(min(_NEIGHBOURS, len(train)))
    models = {"linear": linear, "knn": neighbours}
    return {kind: float(model.fit(train, train_truth).score(test, test_truth)) for kind, model in models.items()}


def cluster_agreement(features: Features, labels: npt.NDArray[np.int64]) -> float:
    """Normalised mutual information, 0 to 1, of the classes and as many k-means clusters."""
    clusters = KMeans(len(np.unique(labels)), n_init=10, random_state=0).fit_predict(features)
    return float(normalized_mutual_info_score(labels, clusters))


def nearest(features: Features, queries: Features, count: int) -> npt.NDArray[np.int64]:
    """Indices (Q, count) of the features that are nearest to each query, by the cosine of their angle."""
    index = NearestNeighbors(n_neighbors=count, metric="cosine").fit(features)
    found: npt.NDArray[np.int64] = index.kneighbors(queries, return_distance=False)
    return found


def plane(features: Features) -> tuple[npt.NDArray[np.float64], str]:
    """Places (N, 2) at which features that are alike are near each other, and by which method they were found.

    t-SNE (van der Maaten and Hinton, 2008) of the first 50 principal components, or, of fewer than 50 features, the
    first two of these. The same features give the same places. Raises ValueError for fewer than three features.
    """
    if len(features) < 3:
        raise ValueError(f"found {len(features)} clips to lay out, expected at least 3")
    components = PCA(min(_COMPONENTS, *features.shape), svd_solver="full").fit_transform(features.astype(np.float64))
    if len(features) < _COMPONENTS:
        return np.pad(components, ((0, 0), (0, 1)))[:, :2], "PCA"  # a code may be one number
    places: npt.NDArray[np.float64] = TSNE(random_state=0).fit_transform(components)
    return places, "t-SNE"


def probe(
    train: Features, train_truth: dict[str, npt.NDArray[Any]], test: Features, test_truth: dict[str, npt.NDArray[Any]]
) -> dict[str, Any]:
    """All probes of one kind of features. `truth`: integer arrays (N,) are classes, float arrays (N, K) values.

    Returns `{<name>: {linear, knn}, ..., clustering: NMI}`; clusters are compared with the first classes of `truth`.
    """
    results: dict[str, Any] = {
        name: probe_truth(train, truth, test, test_truth[name]) for name, truth in train_truth.items()
    }
    classes = next(truth for truth in test_truth.values() if truth.dtype.kind == "i")
    return results | {"clustering": cluster_agreement(test, classes)}
