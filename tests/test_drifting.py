"""Thresholds that follow a stream, against the algorithm written down with lists, and how often they alarm."""

import numpy as np
import pytest
from scipy.stats import CensoredData, genpareto

from video_ae.drifting import DriftingThreshold


def by_hand(scores: np.ndarray, quantile: float, depth: int, calibration: int) -> list[float]:
    """The threshold of every score: everything anew at every peak, from all that was seen so far."""
    normal, differences, thresholds, alarms = list(scores[:depth]), [], [np.nan] * depth, []
    margin = np.nan
    for step in range(depth, len(scores)):
        mean = np.mean(normal[-depth:])
        thresholds.append(mean + margin)
        first_of_alarm = scores[step] > thresholds[-1] and not scores[step - 1] > thresholds[-2]
        if scores[step] > thresholds[-1] and not first_of_alarm:
            continue
        if first_of_alarm:
            alarms.append(margin)
        else:
            differences.append(scores[step] - mean)
            normal.append(scores[step])
        if len(differences) < calibration:
            continue
        level = np.quantile(differences[:calibration], 0.98)
        if len(differences) == calibration or first_of_alarm or differences[-1] > level:
            peaks = np.array([one - level for one in differences if one > level])
            unit = np.mean([*peaks, *(alarm - level for alarm in alarms)])
            data = CensoredData(peaks / unit, right=(np.array(alarms) - level) / unit)
            shape, _, scale = genpareto.fit(data, floc=0)
            share = (len(peaks) + len(alarms)) / (len(differences) + len(alarms))
            margin = level + unit * genpareto.isf((1 - quantile) / share, shape, scale=scale)
    return thresholds


def test_thresholds_are_those_of_the_algorithm(tmp_path):
    """Also of one that goes on from a file after an alarm; catches alarms in the mean, and long ones counted twice."""
    rng = np.random.default_rng(0)
    scores = rng.exponential(size=1200) + np.linspace(0, 5, 1200)
    scores[900:905] += 40
    threshold = DriftingThreshold(0.999, depth=20, calibration=500)
    found = [threshold.push(score) for score in scores[:903]]
    threshold.save(tmp_path / "threshold.json")
    threshold = DriftingThreshold.load(tmp_path / "threshold.json")
    found += [threshold.push(score) for score in scores[903:]]
    np.testing.assert_allclose([one.threshold for one in found], by_hand(scores, 0.999, 20, 500), rtol=1e-3)
    assert np.isnan([one.threshold for one in found[:520]]).all()
    assert [one.anomalous for one in found] == [score > one.threshold for score, one in zip(scores, found, strict=True)]
    assert all(one.anomalous for one in found[900:905])


def test_a_level_that_drifts_raises_few_alarms_and_spikes_are_found():
    """A fixed threshold of the first scores flags nearly all of the last; this one flags about as many as it should
    (binomial bound with the error of a fit of few peaks), and every spike. Without alarms in the fit it is 4 times."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=6000) ** 2 + np.linspace(0, 20, 6000)
    spikes = np.arange(2000, 6000, 500)
    scores[spikes] += 30
    threshold = DriftingThreshold(0.999)
    anomalous = np.array([threshold.push(score).anomalous for score in scores])
    assert anomalous[spikes].all()
    anomalous[spikes] = False
    assert anomalous[1100:].mean() < 0.004
    assert (scores[-500:] > np.quantile(scores[:1100], 0.999)).all()


def test_a_month_takes_no_more_memory_than_a_day_and_nan_is_no_score():
    rng = np.random.default_rng(0)
    threshold = DriftingThreshold(0.99, depth=1, calibration=500)
    threshold.push(0.0)
    for score in rng.random(500):
        threshold.push(float(score))
    threshold.peaks.extend([(threshold.seen, float(excess), False) for excess in rng.random(1100)])
    before = threshold.seen
    assert threshold.push(float("nan")).anomalous is False
    assert threshold.seen == before
    threshold._add_peak(0.5)
    assert len(threshold.peaks) == 1000
    assert threshold.forgotten > 0


@pytest.mark.parametrize("values", [[0.1], [0.0, 1.0]])
def test_scores_without_a_tail_have_the_highest_as_threshold(values):
    """Of a machine at rest all scores are equal, of others many share the highest: there is no peak to fit."""
    threshold = DriftingThreshold(0.999, depth=20, calibration=500)
    normal = np.resize(values, 600)
    found = [threshold.push(score) for score in normal]
    assert not any(one.anomalous for one in found)
    assert found[-1].threshold == pytest.approx(max(values))
    for score in (*[2.0] * 5, *normal, 2.0):
        assert threshold.push(score).anomalous == (score == 2.0)


@pytest.mark.parametrize("options", [{"quantile": 0.9}, {"quantile": 1.0}, {"depth": 0}, {"calibration": 400}])
def test_settings_that_cannot_be(options):
    with pytest.raises(ValueError, match="expected"):
        DriftingThreshold(**options)


@pytest.mark.parametrize("normal", [np.zeros(2000), np.full(2000, 0.1), np.tile([0.0, 1.0], 1000)])
def test_scores_of_few_values_have_a_threshold(normal):
    """Nothing is above their .98 quantile, so there is no tail to fit; that was a traceback after the calibration."""
    threshold = DriftingThreshold(0.999)
    assert not any(threshold.push(float(score)).anomalous for score in normal)
    assert [threshold.push(score).anomalous for score in (9.0, 9.0, float(normal[-1]), 9.0)] == [
        True,
        True,
        False,
        True,
    ]


def test_what_cannot_be_learned_from_is_refused(tmp_path):
    threshold = DriftingThreshold(0.999, depth=10, calibration=500)
    rng = np.random.default_rng(0)
    threshold.push(1.0)
    with pytest.raises(ValueError, match="score inf: expected finite"):
        threshold.push(float("inf"))
    for score in rng.exponential(size=600):
        threshold.push(score)
    assert threshold.push(float("inf")).anomalous
    with pytest.raises(ValueError, match="score -inf"):
        threshold.push(float("-inf"))
    for text in ("[]", "{}", '{"recent": [], "peaks": [], "more": 1}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(ValueError, match=r"other\.json: expected what"):
            DriftingThreshold.load(tmp_path / "other.json")
