"""Tables as people and programs write them: read as they are meant, or refused with advice that helps when followed."""

import argparse
import csv
import random
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.datasets.config import add_data_flags
from video_ae.datasets.sequences import open_sequences, sequence_clips
from video_ae.datasets.tables import flag
from video_ae.datasets.video_arrays import VideoArrays


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def records(sequences: VideoArrays) -> list[tuple[str, int, int]]:
    return [(record.name, record.first, record.frames) for record in sequences.videos]


def frame(rows: int = 40, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({**columns, "x": np.random.default_rng(0).normal(size=rows)})


IDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=9).filter(str.strip)


@settings(max_examples=200, deadline=None)
@given(table=st.dictionaries(IDS | st.sampled_from(["host@9", "M@0", "001", "1"]), st.integers(1, 4), min_size=1))
def test_ids_are_data(tmp_path_factory, table):
    """Whatever is in them; catches ids that are stripped, read as numbers or cut at a sign."""
    path = tmp_path_factory.mktemp("tables") / "mine.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [(step, name, step) for name, steps in table.items() for step in range(steps)]
        csv.writer(file).writerows([("time", "id", "x"), *rows])
    if len(table) == len(rows) >= 10:
        return  # a name per row, which is refused
    found = open_sequences(path)
    assert records(found) == [(name, 0, steps) for name, steps in table.items()]
    clips = sequence_clips(found, "all", 4, shortest=1, whole=True)
    assert [clips.place(index) for index in range(len(clips))] == [(name, 0) for name in table]


@settings(max_examples=200, deadline=None)
@given(
    runs=st.lists(st.tuples(st.integers(6, 20), st.integers(2, 9)), max_size=4),
    frames=st.integers(2, 6),
    seed=st.integers(0, 99),
    split=st.sampled_from(["train", "validation", "test", "all"]),
)
def test_no_window_crosses_a_hole(tmp_path_factory, runs, frames, seed, split):
    """Of rows in any order, beside a series without holes: every window is of consecutive times, none is lost."""
    times: list[int] = []
    paused = 0
    for steps, pause in [*runs, (70, 0)]:
        start = times[-1] + paused if times else 0
        paused = pause
        times += range(start, start + steps)
    rows = [("a", time, time) for time in times] + [("b", time, time) for time in range(70)]
    path = tmp_path_factory.mktemp("tables") / "mine.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "time", "x"), *random.Random(seed).sample(rows, len(rows))])
    found = open_sequences(path, offsets=())
    assert len(found.videos) == 2 + len(runs)
    assert f"{len(runs)} hole" in found.facts["holes"] if runs else not found.facts["holes"]
    clips = sequence_clips(found, split, frames, shortest=frames, whole=False)
    covered = set()
    for index in range(len(clips)):
        name, start = clips.place(index)
        values = clips[index][:, 0, 0, 0].tolist()
        assert values == list(range(int(values[0]), int(values[0]) + frames))
        assert values == [float(time) for time in found.facts["times"][name][start : start + frames]]
        covered |= {(name, value) for value in values}
    if split == "all":
        assert covered == {(name, time) for name, time, _ in rows}


SENSORS = pd.DataFrame(
    {"sensor_id": np.repeat([1, 2], 20), "timestamp": np.tile(np.arange(20), 2), "label": np.arange(40) % 2}
).assign(x=np.arange(40.0))
ADVISED = {  # a table, what is said, and the arguments that this names
    "text that names a machine": (
        frame(machine=["a", "b"] * 20),
        "found 'a' in column machine, line 2, .*--id-column machine; --ignore-columns machine leaves it out",
        {"id_column": "machine"},
    ),
    "numbers that name a sensor": (
        SENSORS,
        r"found one time in lines 2 and 22 of mine, .*if sensor_id says .*: --id-column sensor_id$",
        {"id_column": "sensor_id"},
    ),
    "numbers that name something, by what they do": (
        SENSORS.drop(columns="label").rename(columns={"sensor_id": "where"}),
        "if where says which series a row is of: --id-column where$",
        {"id_column": "where"},
    ),
    "a row per value": (
        pd.DataFrame({"time": [0, 0, 1, 1], "variable": ["a", "b"] * 2, "value": [1, 2, 3, 4]}),
        r"--id-column variable; .*pivot\(index=\['time'\], columns='variable', values='value'\)\.reset_index",
        {"id_column": "variable"},
    ),
    "dates under another name": (
        frame(measured=pd.date_range("2024-01-01", periods=40)),
        "--time-column measured; --ignore-columns measured leaves it out",
        {"time_column": "measured"},
    ),
    "a second column of dates": (
        frame(timestamp=range(40), date=pd.date_range("2024-01-01", periods=40)),
        "found '2024-01-01' in column date, line 2, .*; --ignore-columns date leaves it out",
        {"ignore_columns": ("date",)},
    ),
    "words that are labels": (
        frame(label=["normal"] * 40),
        "found 'normal' in column label, .*; --ignore-columns label leaves it out",
        {"ignore_columns": ("label",)},
    ),
    "a row number as id": (
        frame(id=range(40)),
        r"found another id in each of 40 rows \(column id\), .*--ignore-columns id reads one series",
        {"ignore_columns": ("id",)},
    ),
    "the hour that comes twice": (
        frame(time=pd.date_range("2024-10-26 12:00", periods=40, freq="h", tz="Europe/Berlin").tz_localize(None)),
        "found one time in lines 16 and 17 of mine, .*--ignore-columns time; if this is the hour .* in UTC",
        {"ignore_columns": ("time",)},
    ),
    "times of day": (
        frame(time=["00:00", "00:10"] * 20),
        "found '00:00' as time in line 2, .*--ignore-columns time takes the rows as they come",
        {"ignore_columns": ("time",)},
    ),
    "a date beside a number": (
        frame(date=["2024-01-01"] * 40, time=np.arange(40) / 4),
        "found '2024-01-01 0.0' as time in line 2, .*--time-column time --ignore-columns date",
        {"time_column": "time", "ignore_columns": ("date",)},
    ),
    "an index of dates": (
        frame().set_index(pd.date_range("2024-01-01", periods=40)).reset_index(names=""),
        r"found '2024-01-01' in line 2 of the first column, .*index_label='time'\), or --ignore-columns ''",
        {"ignore_columns": ("",)},
    ),
    "one name twice": (
        pd.DataFrame(np.ones((3, 3)), columns=["a", "a", "x"]),
        "expected a different name for every column",
        {"ignore_columns": ("a",)},
    ),
    "columns that training did not have": (
        frame(temp=range(40), **{"is odd": [0] * 40}),
        "expected x, temp, as in training; --ignore-columns 'is odd' leaves out the rest",
        {"ignore_columns": ("is odd",)},
    ),
    "what float32 cannot hold": (
        frame(total=np.where(np.arange(40) < 20, 1e9, 0) + 3 * np.arange(40)),
        "changes of about 3 from step to step in column total, .*--ignore-columns total",
        {"ignore_columns": ("total",)},
    ),
}


@pytest.mark.parametrize("name", ADVISED)
def test_advice_helps(name, tmp_path):
    table, message, advice = ADVISED[name]
    path = tmp_path / "mine.csv"
    table.to_csv(path, index=False)
    settled = {"columns": ("x", "temp")} if "training" in name else {}
    with pytest.raises(ValueError, match=message):
        open_sequences(path, **settled)
    found = open_sequences(path, **settled, **advice)
    assert sum(record.frames for record in found.videos) == len(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time;a\n2024-01-01;1,5\n2024-01-02;1.5\n", r"a comma \(line 2\) and with a point \(line 3\), .*all alike"),
        ('time,a\n0,"1,5"\n', r'write numbers with a point \(pandas\.read_csv\(FILE, decimal=","\)'),
        ('time,a\n0,"1,234.5"\n', r'without commas \(pandas\.read_csv\(FILE, thousands=","\)'),
        ("a\n1e39\n", "in a larger unit, or --ignore-columns a leaves it out"),
        ("a\ninf\n", "fill such cells in"),
        ("a,b\n1,\n2,\n", "drop their rows .*; --ignore-columns b leaves the column out"),
        ("# of 2024\na,b\n1,2\n", "found 2 cells in line 2, expected 1 .*is line 1 the header"),
        ("time,a\n2024-01-01 1:00 PM,1\n", r"pandas\.to_datetime reads most others; .*--ignore-columns time$"),
        ("time,a\n01-Jan-2024,1\n", r"pandas\.to_datetime reads most others"),
        ("time,a\n31.01.2024,1\n", "found '31.01.2024' as time .*write the year first .*dayfirst"),
        ("date,a\n01/31/2024,1\n", "found '01/31/2024' as time .*write the year first"),
        ("time,a\n,1\n", "found '' as time in line 2, .*fill such cells in, or drop their rows"),
        ("a,b\n1,2\n1,NA\n", r"found 'NA' in column b, line 3, .*fill such cells in, or drop .*interpolate"),
        ("a,b\n1,True\n", "write 1 and 0, or --ignore-columns b"),
        ("M1,0,5\nM1,1,6\n", "found 'M1' in column M1, line 2, .*line 1 seems to be no header"),
        ("a\n1\nfailed\n", "found 'failed' in column a, line 3, .*mend the cell or drop the row"),
        ("id,time,x\na,0,1\na,0,2\n", "found one time in lines 2 and 3 of a, .*drop one of them, or, .*-columns time$"),
        (
            "time,speed\n0,3\n1,4\n1,3\n2,4\n3,3\n4,4\n5,3\n",
            "drop one of them",
        ),  # a few doubled rows are no second series
        ("a,b\n1,2\n", "expected c among them .--ignore-columns."),
    ],
)
def test_what_to_do_is_said(text, message, tmp_path):
    path = write(tmp_path / "mine.csv", text)
    with pytest.raises(ValueError, match=message):
        open_sequences(path, ignore_columns=("c",) if "ignore-columns.$" in message or "c among" in message else ())


@pytest.mark.parametrize("suffix", [".CSV", ".Csv.GZ", ".PARQUET", ".NPY"])
def test_suffixes_may_be_in_capitals(suffix, tmp_path):
    """As Windows programs write them, and as those of videos may be."""
    table, path = frame(), tmp_path / suffix.lower()[1:]
    if suffix == ".NPY":
        np.save(path.with_suffix(".npy"), table.to_numpy())
        path = path.with_suffix(".npy")
    elif suffix == ".PARQUET":
        pytest.importorskip("pyarrow")
        table.to_parquet(path := path.with_suffix(".parquet"))
    else:
        table.to_csv(path, index=False, compression="gzip" if suffix.endswith("GZ") else None)
    found = open_sequences(path.rename(tmp_path / f"T.x{suffix}"))
    assert records(found) == [("T.x", 0, 40)]
    np.testing.assert_allclose(found.array(0)[:, 0], table["x"], rtol=1e-6)


def test_what_is_only_likely_is_said_and_read(tmp_path, capsys):
    path = tmp_path / "mine.csv"
    SENSORS.assign(timestamp=np.arange(40)).to_csv(path, index=False)
    assert open_sequences(path).facts["columns"] == ["sensor_id", "label", "x"]
    said = capsys.readouterr().err
    assert "mine.csv: column sensor_id is read as a feature; if it says which series a row is of: --id-column" in said
    assert "column label is read as a feature; if these are labels, which are not to be learnt: --ignore-co" in said
    frame(humid=[1, 2] * 20, grid=[1, 2] * 20, target=np.arange(40.0), kid=[0, 1] * 20).to_csv(path, index=False)
    open_sequences(path)
    open_sequences(path, columns=("x", "kid", "target", "grid", "humid"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("column", "said"),
    [
        *((name, "--id-column") for name in ("engine_no", "vehicle-id", "Pump", "tag", "unit number", "stationId")),
        *((name, "if these are labels") for name in ("Normal/Attack", "is_fault", "event", "gt", "anomaly_label")),
        *((name, None) for name in ("humid", "status", "piano", "pressure", "normal", "tagged")),
    ],
)
def test_what_is_likely_is_told_by_many_names(column, said, tmp_path, capsys):
    values = [0, 1] * 8
    frame(16).assign(**{column: values}).to_csv(tmp_path / f"{len(column)}.csv", index=False)
    open_sequences(tmp_path / f"{len(column)}.csv")
    told = capsys.readouterr().err
    assert (said in told and f"column {column} is" in told) if said else not told


@pytest.mark.parametrize("column", ["index", "row_id", "no"])
def test_a_column_that_numbers_the_rows_is_pointed_out(column, tmp_path, capsys):
    frame(16).assign(**{column: range(1, 17)}).to_csv(tmp_path / "mine.csv", index=False)
    open_sequences(tmp_path / "mine.csv")
    assert f"column {column} numbers the rows and is read as a feature" in capsys.readouterr().err


def test_numbers_in_line_1_are_taken_for_names_aloud(tmp_path, capsys):
    """As pandas names columns; or the first row of a table without a header, which is lost."""
    assert open_sequences(write(tmp_path / "mine.csv", "0,1\n5,6\n7,8\n")).array(0).tolist() == [[5, 6], [7, 8]]
    assert "line 1 is taken for the names of the columns: 0, 1" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["csv", "npy"])
def test_whole_numbers_that_float64_rounds_are_refused(suffix, tmp_path):
    """Catches counters beyond 2**53 that are read as constants or as every second number."""
    path, counter = tmp_path / f"mine.{suffix}", 2**53 + np.arange(300)
    np.save(path, counter) if suffix == "npy" else pd.DataFrame({"a": counter}).to_csv(path, index=False)
    with pytest.raises(ValueError, match="write its differences from step to step"):
        open_sequences(path)


def test_an_index_that_numbers_the_rows_is_left_out(tmp_path, capsys):
    path = tmp_path / "mine.csv"
    frame().to_csv(path)
    assert open_sequences(path).facts["columns"] == ["x"]
    assert "the first column has no name and numbers the rows; it is left out" in capsys.readouterr().err
    pd.read_csv(path).to_csv(tmp_path / "again.csv", index=False)  # as `Unnamed: 0`
    assert open_sequences(tmp_path / "again.csv").facts["columns"] == ["x"]
    frame().iloc[::-1].to_csv(path)
    with pytest.raises(ValueError, match=r"found '39' in line 2 of the first column, .*index=False"):
        open_sequences(path)


@pytest.mark.parametrize("names", [("date", "time"), ("Time", "Date"), ("datetime",), ("ds",), ("Timestamp",)])
def test_times_under_usual_names(names, tmp_path, capsys):
    """A date and a time of day are one time; rows that are not in order are sorted, and that is said."""
    moments = pd.date_range("2024-01-01 21:00", periods=8, freq="h")
    parts = {"date": moments.strftime("%Y-%m-%d"), "time": moments.strftime("%H:%M:%S")}
    table = pd.DataFrame({name: parts[name.lower()] if len(names) > 1 else moments for name in names})
    path = tmp_path / "mine.csv"
    table.assign(x=range(8)).iloc[::-1].to_csv(path, index=False)
    found = open_sequences(path)
    assert found.array(0)[:, 0].tolist() == list(range(8))
    texts = [time.decode() for time in found.facts["times"]["mine"]]
    assert texts == [str(moment) for moment in moments]
    assert "mine.csv: the rows of 1 of 1 series were not in order of time; they are sorted" in capsys.readouterr().err


_NAMES = st.text(min_size=1, max_size=5).filter(lambda name: name.strip() not in ("", "--"))  # -- is argparse's own


@settings(max_examples=200, deadline=None)
@given(names=st.lists(_NAMES, min_size=1, max_size=4, unique=True))
def test_flags_that_are_advised_can_be_given(names):
    """`--ignore-columns -dP` was advised, and refused by the command line as a flag that it does not know."""
    parser = argparse.ArgumentParser()
    add_data_flags(parser)
    words = f"{flag('--ignore-columns', *names)} {flag('--id-column', names[0])}"
    found = parser.parse_args(shlex.split(words))
    assert sorted(found.ignore_columns) == sorted(names)
    assert found.id_column == names[0]


def test_pivoting_as_advised_reads_features(tmp_path):
    path = tmp_path / "mine.csv"
    table = pd.DataFrame({"id": ["m", "m", "n", "n"], "time": 0, "variable": ["a", "b"] * 2, "value": [1, 2, 3, 4]})
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match="pandas' pivot") as found:
        open_sequences(path)
    advice = str(found.value).split("pandas' ")[1].split("; --ignore")[0]
    eval(f"table.{advice}", {"table": table, "NEW_FILE": path})
    sequences = open_sequences(path)
    assert sequences.facts["columns"] == ["a", "b"]
    assert [sequences.array(index).tolist() for index in range(2)] == [[[1, 2]], [[3, 4]]]


def test_ignored_columns_need_not_be_in_other_files(tmp_path):
    path = write(tmp_path / "mine.csv", "a,b\n1,2\n")
    assert open_sequences(path, columns=("b", "a"), ignore_columns=("label",)).array(0).tolist() == [[2, 1]]
