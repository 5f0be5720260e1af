"""Forecasts of every series: rows, times, quantiles and scaled errors, against computations by hand."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from video_ae import LSTMAutoencoder
from video_ae.commands import evaluate, train
from video_ae.datasets.times import continue_times

ROWS, READ, AHEAD = 400, 12, 3
FLAGS = f"-b 8 --steps 30 --hidden-size 8 --device cpu --input-frames {READ} --future-frames {AHEAD}".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """A run on two series with a period of 8 hours, one feature far from zero; the file that they are in."""
    folder, random = tmp_path_factory.mktemp("forecast"), np.random.default_rng(0)
    hours = np.arange(ROWS)
    parts = []
    for name in ("pump", "fan"):
        wave = np.sin(2 * np.pi * hours / 8) + 0.1 * random.normal(size=ROWS)
        times = pd.date_range("2024-01-01", periods=ROWS, freq="h").strftime("%Y-%m-%d %H:%M")
        level = 1e7 + np.cos(2 * np.pi * hours / 8) + 0.1 * random.normal(size=ROWS)
        parts.append(pd.DataFrame({"id": name, "time": times, "wave": wave, "level": level}))
    table = pd.concat(parts)
    table.to_csv(folder / "series.csv", index=False)
    source = ["--dataset", "sequences", "--data-dir", str(folder / "series.csv")]
    assert train.command([*FLAGS, *source, "--predict", "--output-dir", str(folder / "run")]) == 0
    return folder / "run", table


def test_every_series_goes_on_with_times_and_quantiles(run, tmp_path, capsys):
    folder, table = run
    out = tmp_path / "forecasts.csv"
    assert evaluate.command([str(folder), "--tasks", "forecast", "--out", str(out), "--device", "cpu"]) == 0
    found = pd.read_csv(out)
    assert list(found.columns) == ["id", "time", "step", "feature", "value", "q05", "q95"]
    assert len(found) == 2 * AHEAD * 2
    assert found["time"].unique().tolist() == ["2024-01-17 16:00", "2024-01-17 17:00", "2024-01-17 18:00"]
    model = LSTMAutoencoder.from_pretrained(folder)
    offsets = np.array(json.loads((folder / "config.json").read_text())["data"]["offsets"])
    results = json.loads((folder / "evaluation" / "forecast.json").read_text())
    for name, rows in table.groupby("id"):
        values = rows[["wave", "level"]].to_numpy() - offsets
        last = torch.from_numpy(values[-READ:].astype(np.float32))[None]
        expected = model.predict(last, AHEAD)[0].detach().numpy() + offsets
        here = found[found["id"] == name]
        np.testing.assert_allclose(here["value"].to_numpy().reshape(AHEAD, 2), expected, rtol=1e-6)
        assert (here["q05"] < here["q95"]).all()
    assert 0.7 < results["coverage"] <= 1, "quantiles of other errors, or of another sign, would miss"
    assert "seasonal naive (8)" in capsys.readouterr().out


def test_scaled_errors_are_those_by_hand(run, tmp_path):
    """Of the naive, seasonal and mean forecasts of the last tenth, by a loop over the file."""
    folder, table = run
    words = [str(folder), "--tasks", "forecast", "--out", str(tmp_path / "f.csv"), "--device", "cpu"]
    assert evaluate.command(words) == 0
    found = json.loads((folder / "evaluation" / "forecast.json").read_text())["mase"]
    series = [rows[["wave", "level"]].to_numpy() for _, rows in table.groupby("id", sort=False)]
    learnt = [values[: int(0.8 * ROWS)] for values in series]
    scale = np.concatenate([np.abs(np.diff(values, axis=0)) for values in learnt]).mean(axis=0)
    mean = np.concatenate(learnt).mean(axis=0)
    errors: dict[str, list[np.ndarray]] = {"naive": [], "seasonal naive (8)": [], "mean": []}
    for values in series:
        for start in range(int(0.9 * ROWS), ROWS - READ - AHEAD + 1, READ + AHEAD):
            end = start + READ
            truth = values[end : end + AHEAD]
            errors["naive"].append(np.abs(truth - values[end - 1]) / scale)
            errors["seasonal naive (8)"].append(np.abs(truth - values[end - 8 : end - 8 + AHEAD]) / scale)
            errors["mean"].append(np.abs(truth - mean) / scale)
    for name, each in errors.items():
        assert found[name] == pytest.approx(np.mean(each), rel=1e-5), name


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "3", "5"], ["7", "9"]),
        (["0.1", "0.2", "0.3"], ["0.4", "0.5"]),
        (["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"]),
        (["2024-01-01T23:58", "2024-01-01T23:59"], ["2024-01-02T00:00", "2024-01-02T00:01"]),
        (
            ["2024-01-01 00:00:00+01:00", "2024-01-01 00:00:30+01:00"],
            ["2024-01-01 00:01:00+01:00", "2024-01-01 00:01:30+01:00"],
        ),
        ([*map(str, range(20)), "90", "91"], ["92", "93"]),  # a hole
        (["2024-01-01", "2024-02-01", "2024-03-01"], []),  # months
        (["20240130", "20240131"], []),  # 20240132 is no day
        (["0", "1", "2.1", "3"], []),
        (["7"], []),
    ],
)
def test_times_go_on_at_their_distance_or_not_at_all(texts, expected):
    assert continue_times(texts, 2) == expected


def test_times_go_on_as_pandas_has_them():
    start = datetime(2023, 12, 31, 22, 15)
    texts = [(start + timedelta(minutes=15 * step)).isoformat() for step in range(9)]
    coming = pd.date_range(start, periods=12, freq="15min")[9:]
    assert continue_times(texts, 3) == [time.isoformat() for time in coming]


def test_models_that_forecast_nothing_are_refused(tmp_path, capsys):
    np.save(tmp_path / "series.npy", np.random.default_rng(0).normal(size=(400, 2)))
    source = ["--dataset", "sequences", "--data-dir", str(tmp_path / "series.npy")]
    assert train.command([*FLAGS[:-2], *source, "--reconstruct", "--output-dir", str(tmp_path / "run")]) == 0
    words = [str(tmp_path / "run"), "--tasks", "forecast", "--device", "cpu"]
    assert evaluate.command([*words, "--out", str(tmp_path / "f.csv")]) == 1
    assert "--composite or --predict" in capsys.readouterr().err
    assert not (tmp_path / "f.csv").exists()
    with pytest.raises(SystemExit):
        evaluate.command(words)
