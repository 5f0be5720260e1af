"""benchmarks/nab.py measures what it says: VUS-PR against its authors' package, labels and parts against a folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import nab, tsb_ad

STEPS = np.arange(400)
LABELS = ((STEPS // 7) % 13 == 3).astype(np.int64)
LABELS[395:] = LABELS[:3] = 1  # anomalies at both ends, where buffers are cut off
SCORES = np.sin(STEPS * 1.7) + LABELS * 0.6 * np.cos(STEPS / 3)


@pytest.mark.parametrize(
    ("window", "expected", "with_ties"),
    [
        (0, 0.293319977502187, 0.29236450489866195),
        (20, 0.41577177126683057, 0.39818996406823826),
        (100, 0.7179406121925763, 0.6843489191888791),
    ],
)
def test_vus_pr_is_that_of_its_authors(window, expected, with_ties):
    """Figures of `metricor().RangeAUC_volume_opt(LABELS, scores, window, 250)` of vus 0.0.6; catches buffers that are a
    step too long, overlap or run over the end, and thresholds that count ties once."""
    assert nab.vus_pr(LABELS, SCORES, window) == pytest.approx(expected, abs=1e-12)
    assert nab.vus_pr(LABELS, np.floor(4 * SCORES), window) == pytest.approx(with_ties, abs=1e-12)


def test_a_window_gives_its_score_to_all_its_steps():
    scores = np.zeros(50)
    scores[20] = nab.WINDOW
    steps = nab.along_steps(scores)
    assert (np.flatnonzero(steps) == np.arange(20, 20 + nab.WINDOW)).all()
    assert steps[30] == pytest.approx(nab.WINDOW / 31)  # of the 31 windows that cover it, one


def write(folder: Path, intervals: list[list[str]]) -> None:
    (folder / "data" / "machines").mkdir(parents=True)
    days = np.datetime64("2024-01-01") + np.arange(500)
    rows = "".join(f"{day} 00:00:00,{value}\n" for value, day in enumerate(days))
    (folder / "data" / "machines" / "one.csv").write_text("timestamp,value\n" + rows)
    (folder / "windows.json").write_text(json.dumps({"machines/one.csv": intervals}))


def test_any_folder_in_the_layout_is_read(tmp_path, capsys):
    write(tmp_path / "a", [["2024-01-03 00:00:00.000000", "2024-01-04 00:00:00.000000"], ["2025-04-01", "2025-04-05"]])
    (series,) = nab.read(tmp_path / "a")
    assert (series.name, series.normal, len(series.values)) == ("machines/one.csv", 400, 500)
    assert np.flatnonzero(series.labels).tolist() == [2, 3, *range(456, 461)]
    assert nab.judge(series, nab.METHODS["z-score"], seed=0)[1] > 0.5
    write(tmp_path / "b", [["2024-01-03", "2024-01-04"]])
    assert nab.read(tmp_path / "b") == []
    assert "machines/one.csv has no labelled step behind its first 400" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"windows.json: not found, expected a folder in the layout of NAB"):
        nab.read(tmp_path)


def test_every_method_sees_a_stretch_that_is_like_no_other():
    """Catches scores that are upside down, shifted by a window, or of the normal part."""
    time = np.arange(900)
    values = np.sin(time / 5) + 0.05 * np.random.default_rng(0).normal(size=len(time))
    values[700:740] += 3
    labels = ((time >= 700) & (time < 740)).astype(np.int64)
    series = nab.Series("made", values, labels, 450)
    for name in set(nab.METHODS) - {"LSTM autoencoder"}:  # that of 5 passes, for longer
        assert nab.judge(series, nab.METHODS[name], seed=0)[1] > 0.9, name


@pytest.mark.parametrize("shape", [(500,), (500, 1), (500, 3)])
def test_a_detector_of_tsb_ad(shape):
    """A score from 0 to 1 for every step, highest where it is wrong; hyperparameters are passed on."""
    data = np.sin(np.arange(500) / 8).reshape(-1, *[1] * (len(shape) - 1)) * np.ones(shape)
    data += 0.05 * np.random.default_rng(0).normal(size=shape)
    data[400:420] += 3
    scores = tsb_ad.run_LSTM_Autoencoder(data[:300], data, window=20, hidden_size=8, max_iter=2)
    assert scores.shape == (500,)
    assert (scores.min(), scores.max()) == (0, 1)
    assert 370 < scores.argmax() < 450
