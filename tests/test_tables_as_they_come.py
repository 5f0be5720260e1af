"""Packed tables, decimal commas, parquet, folders and other people's data frames: all are read as plain .csv is."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from video_ae import SequenceAutoencoder
from video_ae.commands import evaluate, train
from video_ae.datasets.sequences import open_sequences
from video_ae.datasets.video_arrays import VideoArrays

SMALL = {"hidden_size": 8, "code_size": 2, "max_iter": 2, "random_state": 0}


@pytest.fixture
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=30, freq="h").strftime("%Y-%m-%dT%H:%M")
    return pd.DataFrame({"time": times, "bar": random.normal(size=30), "temp": 1e3 * random.normal(size=30)})


def contents(sequences: VideoArrays) -> dict[str, np.ndarray]:
    return {record.name: sequences.array(index) for index, record in enumerate(sequences.videos)}


def test_other_forms_of_a_table_are_the_table(table, tmp_path):
    plain = tmp_path / "plain" / "mine.csv"
    plain.parent.mkdir()
    table.to_csv(plain, index=False)
    expected = open_sequences(plain)
    table.to_csv(tmp_path / "mine.csv.gz", index=False)
    table.to_csv(tmp_path / "mine.csv", index=False, sep=";", decimal=",")
    for name in ("mine.csv.gz", "mine.csv"):
        found = open_sequences(tmp_path / name)
        np.testing.assert_array_equal(contents(found)["mine"], contents(expected)["mine"])
        assert found.facts["columns"] == ["bar", "temp"]
        assert found.facts["times"]["mine"].tolist() == expected.facts["times"]["mine"].tolist()


def test_parquet_is_read_exactly(table, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table["time"] = pd.to_datetime(table["time"])
    table.to_parquet(tmp_path / "mine.parquet", index=False)
    found = open_sequences(tmp_path / "mine.parquet")
    values = table[["bar", "temp"]].to_numpy().astype(np.float32)
    np.testing.assert_array_equal(contents(found)["mine"], values)
    assert found.facts["times"]["mine"][1] == b"2024-01-01 01:00:00"
    table.loc[3, "bar"] = np.nan
    table.to_parquet(tmp_path / "mine.parquet", index=False)
    with pytest.raises(ValueError, match="in column bar, line 5, expected a number"):
        open_sequences(tmp_path / "mine.parquet")
    whole = (tmp_path / "mine.parquet").read_bytes()
    (tmp_path / "mine.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole parquet file"):
        open_sequences(tmp_path / "mine.parquet")


def test_a_packed_file_that_was_cut_off_is_no_shorter_series(table, tmp_path):
    path = tmp_path / "mine.csv.gz"
    table.to_csv(path, index=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        open_sequences(path)
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(ValueError, match="not a whole gzip file"):
        open_sequences(path)


def test_decimal_commas_and_points_in_one_file_are_not_guessed(tmp_path):
    """1.234 is another number where commas are decimal."""
    path = tmp_path / "mine.csv"
    path.write_text("a;b\n1,5;2\n1.234;3\n")
    with pytest.raises(ValueError, match=r"a comma \(line 2\) and with a point \(line 3\)"):
        open_sequences(path)
    path.write_text("a;b\n1.5;2\n1.25;3\n")
    np.testing.assert_array_equal(contents(open_sequences(path))["mine"], [[1.5, 2], [1.25, 3]])


def test_a_folder_is_its_files(table, tmp_path, capsys):
    first, second = table[:12], table[12:][["temp", "time", "bar"]]  # in another order
    first.to_csv(tmp_path / "a.csv", index=False)
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        second.to_csv(file, index=False)
    (tmp_path / "readme.txt").write_text("no table")
    found = contents(open_sequences(tmp_path))
    assert list(found) == ["a", "b"]
    for name, part in (("a", first), ("b", second)):
        np.testing.assert_array_equal(found[name], part[["bar", "temp"]].to_numpy().astype(np.float32))
    table.assign(id=["x"] * 20 + ["y"] * 10).to_csv(tmp_path / "c.csv", index=False)
    assert list(contents(open_sequences(tmp_path))) == ["a", "b", "c/x", "c/y"]
    first.rename(columns={"bar": "psi"}).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(ValueError, match=r"d\.csv: found the columns psi, temp, expected bar, temp, as in a\.csv"):
        open_sequences(tmp_path)
    first.to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match="two tables of the name b"):
        open_sequences(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="found no tables"):
        open_sequences(tmp_path / "empty")


def test_a_run_learns_from_a_folder(tmp_path: Path):
    folder = tmp_path / "plant"
    folder.mkdir()
    for number in range(12):
        rows = np.random.default_rng(number).normal(size=(20, 2))
        pd.DataFrame(rows, columns=["a", "b"]).to_csv(folder / f"day{number:02d}.csv", index=False)
    words = ["--dataset", "sequences", "--composite", "--future-frames", "2", "--hidden-size", "4", "-b", "4"]
    run = tmp_path / "run"
    assert (
        train.command([*words, "--steps", "2", "--device", "cpu", "--data-dir", str(folder), "--output-dir", str(run)])
        == 0
    )
    encode = [str(run), "--tasks", "encode", "--out", str(tmp_path / "codes.npz"), "--device", "cpu"]
    assert evaluate.command(encode) == 0
    with np.load(tmp_path / "codes.npz") as codes:
        assert codes["ids"].tolist() == [f"day{number:02d}" for number in range(12)]


def test_frames_of_polars_are_those_of_pandas():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["bar", "temp"])
    model = SequenceAutoencoder("composite", window=10, **SMALL).fit(polars.from_dict(frame.to_dict("list")))
    assert model.feature_names_in_.tolist() == ["bar", "temp"]
    other = SequenceAutoencoder("composite", window=10, **SMALL).fit(frame)
    turned = polars.from_dict(frame[["temp", "bar"]].to_dict("list"))
    np.testing.assert_array_equal(model.score_steps(turned), other.score_steps(frame))


def test_codes_as_data_frames_have_the_labels_of_what_they_are_of():
    rows = pd.DataFrame(np.sin(np.arange(60.0).reshape(6, 10)), index=list("abcdef"))
    rows.columns = [f"t{step}" for step in range(10)]
    model = SequenceAutoencoder(**SMALL).fit(rows)
    plain = model.transform(rows)
    found = model.set_output(transform="pandas").transform(rows)
    assert found.index.tolist() == list("abcdef")
    assert found.columns.tolist() == model.get_feature_names_out().tolist()
    np.testing.assert_array_equal(found.to_numpy(), plain)

    index = pd.date_range("2024-01-01", periods=40, freq="h")
    series = pd.DataFrame({"x": np.sin(np.arange(40.0)), "y": np.cos(np.arange(40.0))}, index=index)
    windows = SequenceAutoencoder(window=8, stride=4, **SMALL).fit(series)
    plain = windows.transform(series)
    found = windows.set_output(transform="pandas").transform(series)
    np.testing.assert_array_equal(found.to_numpy(), plain)
    assert found.index.tolist() == index[7::4].tolist()
    with pytest.raises(ValueError, match="several tables"):
        windows.transform([series, series])
