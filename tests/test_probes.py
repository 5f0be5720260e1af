"""Probes of codes against what is known to be in them."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from video_ae.probes import cluster_agreement, nearest, probe, probe_truth


def blobs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    centres = np.eye(3, 8)[labels] * 4
    return (centres + random.normal(size=(count, 8))).astype(np.float32), labels


def test_what_is_there_is_found_and_noise_is_not():
    train, train_labels = blobs(300)
    test, test_labels = blobs(200, seed=1)
    found = probe_truth(train, train_labels, test, test_labels)
    assert min(found.values()) > 0.9
    noise = np.random.default_rng(2).integers(0, 3, 300), np.random.default_rng(3).integers(0, 3, 200)
    assert max(probe_truth(train, noise[0], test, noise[1]).values()) < 0.5
    assert cluster_agreement(test, test_labels) > 0.8
    assert cluster_agreement(test, noise[1]) < 0.1


def test_values_are_scored_by_r2():
    """Against ordinary least squares where ridge should hardly matter; below zero is possible, so R2 is no share."""
    train, _ = blobs(400)
    test, _ = blobs(200, seed=1)
    weights = np.random.default_rng(4).normal(size=(8, 2))
    values = train @ weights, test @ weights
    expected = r2_score(values[1], LinearRegression().fit(train, values[0]).predict(test))
    assert probe_truth(train, values[0], test, values[1])["linear"] == pytest.approx(expected, abs=1e-3)


def test_neighbours_are_those_of_the_cosine():
    features, _ = blobs(50)
    queries, _ = blobs(7, seed=5)
    unit, asked = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features, queries))
    by_hand = np.argsort(-(asked @ unit.T), axis=1)[:, :4]
    assert np.array_equal(nearest(features, queries, 4), by_hand)


def test_all_probes_have_their_place():
    train, train_labels = blobs(60)
    test, test_labels = blobs(40, seed=1)
    truth = {"class": train_labels, "position": train[:, :2]}, {"class": test_labels, "position": test[:, :2]}
    results = probe(train, truth[0], test, truth[1])
    assert results.keys() == {"class", "position", "clustering"}
    assert results["position"].keys() == {"linear", "knn"}
    assert results["position"]["linear"] > 0.99
