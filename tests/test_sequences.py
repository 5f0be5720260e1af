"""Anybody's own sequences: every layout, every way in which a file can be wrong, training on them, and their codes."""

import csv
import dataclasses
import itertools
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae import LSTMAutoencoder
from video_ae.commands import evaluate, train
from video_ae.datasets.config import DataConfig
from video_ae.datasets.sequences import divide, longest, open_sequences, sequence_clips
from video_ae.datasets.video_arrays import VideoArrays, VideoRecord, cut_arrays
from video_ae.datasets.video_clips import VideoClips

TRAINING = ["-b", "4", "--steps", "3", "--hidden-size", "6", "--device", "cpu", "--dataset", "sequences"]


def contents(sequences: VideoArrays) -> dict[str, list]:
    """The steps of every sequence, its segments one after the other."""
    found: dict[str, list] = {}
    for index, record in enumerate(sequences.videos):
        array = sequences.array(index)
        assert (array.shape, array.dtype, record.dtype) == (record.shape, np.float32, "float32")
        assert len(found.setdefault(record.name, [])) == record.first
        found[record.name] += array.tolist()
    return found


def numbered(lengths: list[int]) -> VideoArrays:
    """Sequences of the features (sequence, step), so that a clip says where it is from."""
    arrays = [np.stack([np.full(T, n), np.arange(T)], axis=1).astype(np.float32) for n, T in enumerate(lengths)]
    records = [VideoRecord(f"s{n}", "", f"s{n}", array.shape, "float32") for n, array in enumerate(arrays)]
    return VideoArrays(records, arrays.__getitem__)


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_arrays_of_any_rank_and_type_are_float32_sequences(tmp_path):
    """Catches a batch of series read as one, and features read as steps."""
    path = tmp_path / "mine.npy"
    np.save(path, np.arange(4))
    assert contents(open_sequences(path)) == {"mine": [[0], [1], [2], [3]]}
    np.save(path, np.arange(6.0).reshape(3, 2))
    assert contents(open_sequences(path)) == {"mine": [[0, 1], [2, 3], [4, 5]]}  # and the file was read again
    np.save(path, np.arange(12, dtype=np.float32).reshape(2, 3, 2))
    found = open_sequences(path)
    assert contents(found) == {"0": [[0, 1], [2, 3], [4, 5]], "1": [[6, 7], [8, 9], [10, 11]]}
    assert isinstance(found.array(1), np.memmap)  # float32 stays on disk


def test_archives_hold_an_array_per_sequence_or_all_in_one(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, b=np.arange(3), a=np.ones((2, 1), np.float16))
    assert contents(open_sequences(path)) == {"b": [[0], [1], [2]], "a": [[1], [1]]}
    padded = np.full((2, 3, 1), np.nan)
    padded[0, :2], padded[1] = 1, 2
    np.savez_compressed(path, sequences=padded, lengths=np.array([2, 3]), names=np.array(["x/1", "y"]))
    assert contents(open_sequences(path)) == {"x/1": [[1], [1]], "y": [[2], [2], [2]]}
    np.savez(path, sequences=padded[1:])
    assert contents(open_sequences(path)) == {"0": [[2], [2], [2]]}
    np.savez(path, sequences=np.arange(2))
    assert contents(open_sequences(path)) == {"sequences": [[0], [1]]}


def test_a_wide_table_is_one_series_ordered_by_its_time(tmp_path):
    path = write(
        tmp_path / "mine.csv", '\ufeffDate,temp,"a, b"\r\n2024-03-02,3,-4e2\r\n\r\n2024-03-01T23:00, 1 ,"2"\r\n'
    )
    found = open_sequences(path)
    assert contents(found) == {"mine": [[1, 2], [3, -400]]}
    assert found.facts["columns"] == ["temp", "a, b"]
    assert found.facts["times"]["mine"].tolist() == [b"2024-03-01T23:00", b"2024-03-02"]
    path = write(tmp_path / "mine.csv", "0,1\n5,6\n7,8\n")  # as pandas numbers columns without names
    assert contents(open_sequences(path)) == {"mine": [[5, 6], [7, 8]]}


def test_a_long_table_has_sequences_by_id_in_any_order_of_rows(tmp_path):
    """Catches times that are ordered as text, ids that are read as numbers, and rows that go to another sequence."""
    rows = "id,time,x,y\nb,10,1,2\n007,1,3,4\nb,9,5,6\nb,-1e1,7,8\n"
    path = write(tmp_path / "mine.csv", rows)
    expected = {"b": [[7, 8], [5, 6], [1, 2]], "007": [[3, 4]]}
    assert contents(open_sequences(path)) == expected
    write(path, rows.replace("id,time", "who,when"))
    assert contents(open_sequences(path, id_column="who", time_column="when")) == expected
    write(path, "id,x\nb,1\na,2\nb,3\n")
    assert contents(open_sequences(path)) == {"b": [[1], [3]], "a": [[2]]}
    write(path, "y,id,x\n1,a,2\n")
    assert contents(open_sequences(path, columns=("x", "y"))) == {"a": [[2, 1]]}
    write(path, "time,x\n2024-01-01T01:00+01:00,1\n2023-12-31T23:59Z,2\n")
    assert contents(open_sequences(path)) == {"mine": [[2], [1]]}


@given(
    table=st.lists(
        st.tuples(st.sampled_from(["a", 'b"', "c,d", "é"]), st.floats(width=32, allow_nan=False, allow_infinity=False)),
        min_size=1,
    )
)
def test_what_the_csv_module_writes_is_read_exactly(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("tables") / "mine.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "x"), *table])
    expected: dict[str, list] = {}
    for name, value in table:
        expected.setdefault(name, []).append([value])
    assert contents(open_sequences(path, offsets=())) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,temp\n1,2\n3,abc\n", "found 'abc' in column temp, line 3, expected a number"),
        ("x,temp\n1,2\n\n3,\n", "found an empty cell in column temp, line 4, .*fill such cells in, or drop"),
        ("x\nnan\n", "found 'nan' in column x, line 2"),
        ("x\n-inf\n", "found '-inf' in column x, line 2"),
        ("x\n1e39\n", "found '1e39' in column x, line 2.*finite float32"),
        ("x\n20_24\n", "found '20_24' in column x, line 2"),
        ("x,y\n1,2\n3\n", "found 1 cells in line 3, expected 2 as in the header"),
        ("1.5,2\n3,4\n", "found numbers in line 1, expected a header"),
        (",x\n1,1\n", "found '1' in line 2 of the first column, which has no name, expected 0, .*index=False"),
        ("x,\n0,\n", "expected a different name for every column; do its lines end with a comma too many"),
        ("x,x\n0,1\n", "expected a different name for every column"),
        ("", "holds nothing, expected a header"),
        ("x\n", "holds no sequences"),
        ("id,time\na,1\n", "found only id, time, expected columns of numbers as well"),
        ("id,x\n,1\n", "found no id in line 2"),
        ("time,x\nsoon,1\n", "found 'soon' as time in line 2, expected a number or a date"),
        ("time,x\nnan,1\n", "found 'nan' as time in line 2"),
        ("id,time,x\na,1,1\nb,2,2\na,1.0,3\n", "found one time in lines 2 and 4 of a, expected a time for every step"),
        ("a;b\n1;2,3,4\n", "found '2.3.4' in column b, line 2"),
        ("a\tb\n1\t2\n", "parted by tabs, expected commas"),
        ("x\n" + "1" * 2**20 + "\n", "a line of 1,048,576 characters or more"),
        ("x\n" + "," * 2**20 + "\n", "a line of 1,048,576 characters or more"),
        ('x\n1\n"2\n', r"not a table with commas in UTF-8 after line 3"),
        ("x\n1\n\0\n", "found '\\\\x00' in column x, line 3"),
    ],
)
def test_tables_that_do_not_fit_are_named_with_the_line(tmp_path, text, message):
    path = write(tmp_path / "mine.csv", text)
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        open_sequences(path)


def test_columns_that_are_not_there_are_named(tmp_path):
    path = write(tmp_path / "mine.csv", "x,y\n1,2\n")
    for flags, message in (
        ({"id_column": "who"}, r"found the columns x, y, expected who among them \(--id-column\)"),
        ({"time_column": "when"}, "expected when among them"),
        ({"columns": ("x", "z")}, "found the columns x, y, expected x, z, as in training"),
    ):
        with pytest.raises(ValueError, match=f"{path}: .*{message}"):
            open_sequences(path, **flags)
    path.write_bytes(b"x\n\xff\n")
    with pytest.raises(ValueError, match="not a table with commas in UTF-8"):
        open_sequences(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1, 2], [3, np.nan]]), r"found nan in mine, step 1, feature 1 \(from 0\), expected finite"),
        (np.array([[[1.0]], [[np.inf]]]), "found inf in 1, step 0, feature 0"),
        (np.array([1e39]), r"found 1e\+39 in mine, step 0"),
        (np.ones((2, 3, 4, 5)), r"found shape \(2, 3, 4, 5\), expected \(N, T, F\)"),
        (np.ones(()), r"found shape \(\)"),
        (np.ones((2, 0, 1)), "found 0 steps of 1 features in 0"),
        (np.ones((0, 2, 1)), "holds no sequences"),
        (np.array(["1"]), "found <U1 .* in mine, expected numbers"),
        (np.array([1j]), "found complex128"),
        (np.array([{}], object), r"not a whole \.npy array"),
    ],
)
def test_arrays_that_do_not_fit_are_named_with_the_place(tmp_path, array, message):
    path = tmp_path / "mine.npy"
    np.save(path, array)
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        open_sequences(path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a": np.ones(3), "b": np.ones((3, 2))}, "found 3 steps of 2 features in b, expected at least one of 1"),
        ({"a": np.ones((2, 2, 2))}, r"found float64 \(2, 2, 2\) in a, expected numbers \(T, F\)"),
        ({"a": np.array([{}], object)}, "not a whole .npz file .*allow_pickle"),
        ({"sequences": np.ones((2, 3, 1)), "lengths": np.array([3, 4])}, "found lengths int64"),
        ({"sequences": np.ones((2, 3, 1)), "lengths": np.array([3.0, 2.0])}, "found lengths float64"),
        ({"sequences": np.ones((2, 3, 1)), "names": np.array(["a", "a"])}, "expected 2 different ones"),
        ({"sequences": np.ones((2, 3, 1)), "names": np.arange(2)}, "found names int64"),
        ({"sequences": np.ones((2, 3, 1)), "more": np.ones(2)}, "found more beside sequences"),
        ({"sequences": np.full((1, 3, 1), np.nan), "lengths": np.array([1])}, "found nan in 0, step 0"),
        ({}, "holds no sequences"),
    ],
)
def test_archives_that_do_not_fit_are_named(tmp_path, members, message):
    path = tmp_path / "mine.npz"
    np.savez(path, **members)
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        open_sequences(path)


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    """Limits hold for the members of an archive together."""
    monkeypatch.setattr("video_ae.datasets.sequences.MAX_BYTES", 100)
    np.save(tmp_path / "a.npy", np.ones(26))
    np.savez_compressed(tmp_path / "a.npz", a=np.ones(20, np.float32), b=np.ones(20, np.float32))
    write(tmp_path / "a.csv", "x\n" + 26 * "1\n")
    for suffix, message in ((".npy", "26 numbers are too many"), (".npz", "b of 80 bytes"), (".csv", "too many numb")):
        with pytest.raises(ValueError, match=f"a{suffix}: .*{message}"):
            open_sequences(tmp_path / f"a{suffix}")
    np.save(tmp_path / "a.npy", np.ones(99, np.float32))  # is not read into memory
    assert open_sequences(tmp_path / "a.npy").videos[0].frames == 99
    with pytest.raises(FileNotFoundError, match="no such file; expected sequences"):
        open_sequences(tmp_path / "b.csv")
    with pytest.raises(ValueError, match=r"found a \.txt file, expected \.npy"):
        open_sequences(write(tmp_path / "a.txt", "1"))


@given(lengths=st.lists(st.integers(10, 60), min_size=1, max_size=25))
def test_no_step_is_in_two_splits_and_none_is_lost(lengths):
    """By the numbers in the data. Sequences that are added later leave the others in their splits."""
    sequences = numbered(lengths)
    parts = {split: split_sequences(sequences, split) for split in ("train", "validation", "test", "all")}
    steps = {
        split: [tuple(step) for index in range(len(part.videos)) for step in part.array(index).tolist()]
        for split, part in parts.items()
    }
    everything = [(n, t) for n, length in enumerate(lengths) for t in range(length)]
    assert steps["all"] == everything
    assert sorted(steps["train"] + steps["validation"] + steps["test"]) == everything
    if len(lengths) < 10:
        assert [record.first for record in parts["test"].videos] == [round(0.9 * length) for length in lengths]
        assert {n for n, _ in steps["train"]} == set(range(len(lengths)))
    else:
        more = split_sequences(numbered([*lengths, 10, 10]), "test")
        assert [record.name for record in parts["test"].videos] == [f"s{n}" for n in range(9, len(lengths), 10)]
        assert [record.name for record in more.videos][: len(parts["test"].videos)] == [
            record.name for record in parts["test"].videos
        ]


def split_sequences(sequences: VideoArrays, split: str) -> VideoArrays:
    return sequences if split == "all" else cut_arrays(sequences, divide(sequences.videos)[split])


def in_segments(lengths: list[int], cuts: list[list[int]]) -> VideoArrays:
    """The same, each sequence as the segments between its cuts."""
    whole = numbered(lengths)
    records, arrays = [], []
    for index, (record, inside) in enumerate(zip(whole.videos, cuts, strict=True)):
        for first, stop in itertools.pairwise([0, *inside, record.frames]):
            records.append(record._replace(shape=(stop - first, 2), first=first))
            arrays.append(whole.array(index)[first:stop])
    segmented = {record.name for record, inside in zip(whole.videos, cuts, strict=True) if inside}
    return VideoArrays(records, arrays.__getitem__, {"holes": "file.csv: some holes", "segmented": segmented})


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_segments_are_divided_as_the_sequences_that_they_are_of(data):
    """Holes move no step into another part: none of a sequence that tests is in the training."""
    lengths = data.draw(st.lists(st.integers(10, 40), min_size=1, max_size=14))
    cuts = [sorted(data.draw(st.sets(st.integers(1, length - 1), max_size=4))) for length in lengths]
    whole, segments = numbered(lengths), in_segments(lengths, cuts)
    for split in ("train", "validation", "test", "all"):
        found = []
        for sequences in (whole, segments):
            part = split_sequences(sequences, split)
            found.append(
                sorted(tuple(step) for index in range(len(part.videos)) for step in part.array(index).tolist())
            )
            for index, record in enumerate(part.videos):
                steps = part.array(index)
                assert steps.shape == record.shape
                expected = [[int(record.name[1:]), record.first + t] for t in range(len(steps))]
                assert steps.tolist() == expected
        assert found[0] == found[1]
    slices = [(part, *one) for part, several in divide(segments.videos).items() for one in several]
    assert len({(index, first) for _, index, first, stop in slices if stop != first}) == len(
        [1 for _, _, first, stop in slices if stop != first]
    )


def test_segments_that_are_too_short_are_left_out_and_counted(capsys):
    """Of a sequence with holes; one without is too short as a whole, which is an error."""
    sequences = in_segments([60, 40], [[3, 30, 50], []])
    clips = sequence_clips(sequences, "all", 8, shortest=8, whole=False)
    assert [clips.name(index) for index in range(len(clips))] == [
        *("s0@3", "s0@11", "s0@19", "s0@22", "s0@30", "s0@38", "s0@42", "s0@50", "s0@52"),
        *("s1@0", "s1@8", "s1@16", "s1@24", "s1@32"),
    ]
    said = "file.csv: some holes; no window crosses one\n"
    said += "1 of 4 segments between them, of fewer than 8 steps, are left out\n"
    assert capsys.readouterr().err == said
    assert longest(sequences, 8) == 40
    with pytest.raises(ValueError, match="s0: found 20 steps at most between holes in the time, expected at least 30"):
        sequence_clips(in_segments([60], [[20, 40]]), "all", 30, shortest=30, whole=False)
    with pytest.raises(ValueError, match="s1: found 40 steps, expected at least 41"):
        longest(sequences, 41)


def test_whole_sequences_with_holes_are_a_clip_per_segment():
    part = split_sequences(in_segments([6] * 10, [[2], *[[]] * 9]), "train")
    clips = sequence_clips(part, "train", 6, shortest=1, whole=True)
    assert [clips.name(index) for index in range(3)] == ["s0", "s0@2", "s1"]
    assert [clips.place(index) for index in range(3)] == [("s0", 0), ("s0", 2), ("s1", 0)]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_windows_of_sequences_shorter_ones_are_padded(split):
    """Training windows overlap, others do not; a sequence that is shorter than a window ends in NaN."""
    lengths = [23, 5, 8] * 6 + [30, 9]
    clips = sequence_clips(split_sequences(numbered(lengths), split), split, 8, shortest=5, whole=False)
    chosen = [n for n in range(20) if (n % 10 == 8) == (split == "validation") and n % 10 != 9]
    step = 2 if split == "train" else 8
    expected = [(n, first) for n in chosen for first in range(0, max(1, lengths[n] - 7), step)]
    assert [clips.name(index) for index in range(len(clips))] == [f"s{n}@{first}" for n, first in expected]
    found = clips.__getitems__(range(len(clips)))[..., 0, 0].numpy()
    for clip, (n, first) in zip(found, expected, strict=True):
        there = min(8, lengths[n])
        assert clip[:there].tolist() == [[n, first + t] for t in range(there)]
        assert np.isnan(clip[there:]).all()


def test_whole_sequences_are_a_clip_each_with_their_own_names():
    lengths = [3, 7, 4, 5, 6, 3, 7, 3, 4, 5]
    sequences = numbered(lengths)
    assert longest(sequences, 3) == 7
    part = split_sequences(sequences, "train")
    clips = sequence_clips(part, "train", 7, shortest=3, whole=True)
    assert [clips.name(index) for index in range(len(clips))] == [f"s{n}" for n in range(8)]
    present = (~clips.__getitems__(range(8)).isnan()).all(dim=2).sum(dim=1).flatten()
    assert present.tolist() == lengths[:8]
    with pytest.raises(
        ValueError, match=r"s0: found 3 steps, expected at least 4 .* 3 of 10 are too short: leave them out"
    ):
        longest(sequences, 4)
    with pytest.raises(ValueError, match="s0: found 3 steps, expected at least 4"):
        sequence_clips(part, "train", 7, shortest=4, whole=True)
    with pytest.raises(ValueError, match="s1: found 7 steps, expected at most 6 in one clip"):
        sequence_clips(part, "train", 6, shortest=1, whole=True)
    part = split_sequences(numbered([20]), "test")
    with pytest.raises(ValueError, match="the test part of s0: found 2 steps, expected at least 3"):
        sequence_clips(part, "test", 3, shortest=1, whole=False, in_time=True)
    films = VideoArrays([VideoRecord("v", "", "v", (3, 4, 4, 1), "uint8")], lambda index: np.zeros((3, 4, 4, 1)))
    with pytest.raises(ValueError, match=r"v: found frames \(4, 4, 1\), expected features to pad"):
        VideoClips(films, [0], 5, pad=True)


@pytest.fixture
def table(tmp_path) -> Path:
    """Twenty sequences of 6 to 15 steps of two features whose scales differ by eight orders of magnitude."""
    random = np.random.default_rng(0)
    steps = [(n, t) for n in range(20) for t in range(6 + 7 * n % 10)]
    rows = [f"s{n:02d},{t},{1e5 * np.sin(t + n)},{1e-3 * random.normal()}\n" for n, t in steps]
    rows[1:] = random.permutation(rows[1:]).tolist()
    return write(tmp_path / "mine.csv", "id,time,large,small\n" + "".join(rows))


def stored(run: Path, part: str) -> dict:
    return json.loads((run / "config.json").read_text())[part]


def test_from_a_table_of_different_lengths_to_codes_and_pictures(table, tmp_path, capsys, monkeypatch):
    """The README's commands. What is drawn is what the model says, cut to each sequence's own length."""
    run, out = tmp_path / "run", tmp_path / "new" / "codes.npz"
    words = [*TRAINING, "--composite", "--data-dir", str(table), "--future-frames", "4", "--output-dir", str(run)]
    assert train.command(words) == 0
    assert "20 sequences of 6 to 15 steps; each is a clip; --input-frames N cuts windows" in capsys.readouterr().err
    model = LSTMAutoencoder.from_pretrained(run)
    assert (model.config.frame_shape, model.config.input_frames, model.config.output) == ((2, 1, 1), 11, "linear")
    assert (stored(run, "data")["columns"], stored(run, "data")["whole"]) == (["large", "small"], True)
    assert model.encoder.std[1] < 0.01  # the small feature is standardised too, and so counts in the loss
    assert train.command([*words, "--resume", "--steps", "4"]) == 0

    drawn = []
    monkeypatch.setattr("video_ae.visualize.save_series", lambda path, series, names: drawn.extend([names, *series]))
    assert evaluate.command([str(run), "--device", "cpu"]) == 0
    results = json.loads((run / "evaluation" / "predict.json").read_text())
    assert (results["clips"], results["split"], results["whole"]) == (2, "test", True)
    names, *series = drawn
    sequences = open_sequences(table)
    ids = [record.name for record in sequences.videos]  # in the order in which they first come
    assert (names, [one.name for one in series]) == (("large", "small"), [ids[9], ids[19]])
    assert sorted(ids) == [f"s{n:02d}" for n in range(20)] != ids
    model = LSTMAutoencoder.from_pretrained(run)
    for one, index in zip(series, (9, 19), strict=True):
        steps = torch.from_numpy(sequences.array(index).copy())[None]  # (1, T, 2)
        inputs = steps[:, :-4]
        np.testing.assert_array_equal(one.inputs, inputs[0])
        np.testing.assert_array_equal(one.future, steps[0, -4:])
        np.testing.assert_allclose(one.reconstruction, model.reconstruct(inputs).detach()[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(one.prediction, model.predict(inputs).detach()[0], rtol=1e-4, atol=1e-4)

    assert evaluate.command([str(run), "--tasks", "encode", "--out", str(out), "-b", "3", "--device", "cpu"]) == 0
    assert f"20 codes of sequences, {table} (every part of it)\ncodes    {out}" in capsys.readouterr().out
    with np.load(out, allow_pickle=False) as archive:
        codes = archive["codes"]
        assert (codes.dtype, archive["ids"].tolist()) == (np.float32, ids)
    for index, code in enumerate(codes):  # the whole sequence, alone and without padding
        steps = torch.from_numpy(sequences.array(index).copy())[None]
        np.testing.assert_allclose(code, model.encode(steps).detach()[0], atol=1e-6)


def test_codes_of_other_files_longer_sequences_and_columns_in_another_order(table, tmp_path, capsys):
    run = tmp_path / "run"
    assert train.command([*TRAINING, "--composite", "--data-dir", str(table), "--output-dir", str(run)]) == 1
    assert "found 6 steps, expected at least 11 (input + future); 10 of 20 are too short" in capsys.readouterr().err
    words = ["--future-frames", "3", "--data-dir", str(table), "--output-dir", str(run)]
    assert train.command([*TRAINING, "--composite", *words]) == 0
    model = LSTMAutoencoder.from_pretrained(run)
    steps = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    rows = "".join(f"{small},{large}\n" for large, small in steps.tolist())
    other = write(tmp_path / "other.csv", f"small,large\n{rows}")
    encode = [str(run), "--tasks", "encode", "--device", "cpu"]
    assert evaluate.command([*encode, "--data-dir", str(other), "--out", str(tmp_path / "a.npz")]) == 0
    np.save(tmp_path / "other.npy", steps)
    assert evaluate.command([*encode, "--data-dir", str(tmp_path / "other.npy"), "--out", str(tmp_path / "b.npz")]) == 0
    for name in ("a", "b"):
        with np.load(tmp_path / f"{name}.npz") as archive:
            assert archive["ids"].tolist() == ["other"]
            np.testing.assert_allclose(
                archive["codes"], model.encode(torch.from_numpy(steps)[None]).detach(), atol=1e-6
            )
    assert evaluate.command([str(run), "--data-dir", str(other), "--device", "cpu"]) == 0  # longer than in training
    capsys.readouterr()
    write(other, "small,huge\n1,2\n")
    assert evaluate.command([*encode, "--data-dir", str(other), "--out", str(tmp_path / "c.npz")]) == 1
    assert "found the columns small, huge, expected large, small, as in training" in capsys.readouterr().err
    assert evaluate.command([*encode, "--id-column", "time", "--out", str(tmp_path / "c.npz")]) == 1
    assert "--id-column divides the videos of this run otherwise" in capsys.readouterr().err
    assert not (tmp_path / "c.npz").exists()


def test_windows_of_one_long_series(tmp_path, capsys):
    """Training, validation and test are consecutive parts of it; codes are of windows one after the other.

    The last one overlaps, so that nothing at the end is left out.
    """
    series = np.random.default_rng(0).normal(size=(302, 2)).cumsum(axis=0)
    np.save(tmp_path / "mine.npy", series)
    run, out = tmp_path / "run", tmp_path / "codes.npz"
    frames = ["--input-frames", "6", "--future-frames", "3", "--data-dir", str(tmp_path / "mine.npy")]
    assert train.command([*TRAINING, "--composite", *frames, "--output-dir", str(run)]) == 0
    assert "1 sequence of 302 steps; clips are windows" in capsys.readouterr().err
    assert stored(run, "data")["whole"] is False
    assert evaluate.command([str(run), "--device", "cpu"]) == 0
    folder = run / "evaluation"
    assert json.loads((folder / "predict.json").read_text())["clips"] == 30 // 9
    assert (folder / "predict-series.png").stat().st_size > 10_000
    assert "predict-series.png" in capsys.readouterr().out
    assert evaluate.command([str(run), "--tasks", "encode", "--out", str(out), "--device", "cpu"]) == 0
    starts = [*range(0, 300, 6), 296]
    windows = torch.from_numpy(np.stack([series[first : first + 6] for first in starts])).float()
    with np.load(out) as archive:
        assert (archive["ids"].tolist(), archive["starts"].tolist()) == (["mine"] * len(starts), starts)
        expected = LSTMAutoencoder.from_pretrained(run).encode(windows).detach()
        np.testing.assert_allclose(archive["codes"], expected, atol=1e-6)


def test_a_series_too_short_for_three_parts_is_said_to_be(tmp_path, capsys):
    """It was told to put back data that it never had."""
    np.save(tmp_path / "few.npy", np.arange(5.0))
    words = ["--reconstruct", "--input-frames", "1", "--data-dir", str(tmp_path / "few.npy")]
    assert train.command([*TRAINING, *words, "--output-dir", str(tmp_path / "run")]) == 1
    assert "few.npy: too little for a validation part, a tenth of it" in capsys.readouterr().err


def test_what_a_file_settles(tmp_path, capsys):
    """Offsets and columns are stored; what is constant in the training part is named, whatever it does later."""
    t = np.arange(100)
    path = tmp_path / "mine.csv"
    rows = zip(10**9 + t % 7, t, np.where(t < 80, 3, 4), t % 5, strict=True)
    write(path, "count,ramp,valve,x\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows))
    data = DataConfig(dataset="sequences", data_dir=str(path)).settled(windows=False)
    assert (data.columns, data.offsets, data.whole) == (("count", "ramp", "valve", "x"), (10**9 + 2, 0, 0, 0), False)
    said = capsys.readouterr().err
    assert "1 sequence of 100 steps; clips are windows" in said
    assert f"{path}: constant in training: valve; what they do later cannot be judged" in said
    clip = data.open("test", 10)[0][:, 0, 0, 0]
    assert (clip.double() + data.offsets[0]).tolist() == [10**9 + t % 7 for t in range(90, 100)]
    far = tmp_path / "far.npy"
    np.save(far, np.stack([3e9 + t % 7, t, t, t], axis=1))
    dataclasses.replace(data, data_dir=str(far)).open("all", 10)
    assert "in feature 0 (from 0), among values from 3000000000 to 3000000006: so far from" in capsys.readouterr().err
    np.save(far, np.where(t < 50, 0, 3e9) + t % 7)
    with pytest.raises(ValueError, match=r"feature 0 \(from 0\), among values from 0 to 3000000006: float32 cannot"):
        DataConfig(dataset="sequences", data_dir=str(far)).settled(windows=False)


@pytest.mark.parametrize("decoder", ["--reconstruct", "--predict"])
def test_models_with_one_decoder_and_default_windows(decoder, tmp_path):
    """Few sequences are cut in time and into windows of the default size, though nobody asked for windows."""
    np.savez(tmp_path / "mine.npz", a=np.sin(np.arange(300)), b=np.cos(np.arange(240)))
    run = tmp_path / "run"
    assert train.command([*TRAINING, decoder, "--data-dir", str(tmp_path / "mine.npz"), "--output-dir", str(run)]) == 0
    assert stored(run, "model")["input_frames"] == 10
    assert evaluate.command([str(run), "--device", "cpu"]) == 0
    assert (run / "evaluation" / "predict-series.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the data set 'sequences' needs its file: --data-dir FILE.npy, .npz, .csv"),
        (
            ["--data-dir", "x.npy", "--id-column", "a"],
            "--id-column changes nothing for --dataset sequences but for tab",
        ),
        (["--data-dir", "x.csv", "--grey"], "--grey changes nothing for --dataset sequences"),
        (["--data-dir", "missing.csv"], "missing.csv: no such file"),
    ],
)
def test_flags_that_do_not_fit(words, message, capsys, tmp_path):
    assert train.command([*TRAINING, "--composite", *words, "--output-dir", str(tmp_path / "run")]) == 1
    assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="--dataset sequences has no classes"):
        DataConfig(dataset="sequences", data_dir="x.csv").open_labelled("test", 3, task="", clips=1)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    small = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2"]
    training = ["-b", "4", "--steps", "2", "--hidden-size", "6", "--device", "cpu", "--validation-clips", "4"]
    assert train.command(["--composite", *small, *training, "--output-dir", str(run)]) == 0
    return run


def test_codes_of_digits_arrays_and_videos(digits_run, tmp_path, monkeypatch, capsys):
    """Whatever the batches: never more than one is in memory, and the codes are those of the model."""
    model = LSTMAutoencoder.from_pretrained(digits_run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    read = []
    whole_batches = VideoClips.__getitems__
    monkeypatch.setattr(VideoClips, "__getitems__", lambda self, i: read.append(len(i)) or whole_batches(self, i))

    def encode(name: str, *words: str) -> tuple[np.ndarray, list[tuple[str, int]]]:
        out = tmp_path / f"{name}.npz"
        words = (str(digits_run), "--tasks", "encode", "--out", str(out), "--device", "cpu", *words)
        assert evaluate.command([*words]) == 0
        with np.load(out, allow_pickle=False) as archive:
            assert archive.files == ["codes", "ids", "starts"]
            assert archive["starts"].dtype == np.int64
            return archive["codes"], list(zip(archive["ids"].tolist(), archive["starts"].tolist(), strict=True))

    codes, ids = encode("digits", "--clips", "12")
    assert ids == [(str(index), 0) for index in range(12)]
    clips = DataConfig(image_size=28, num_digits=1).open("test", 3)
    np.testing.assert_allclose(codes, model.encode(clips.__getitems__(range(12))).detach(), atol=1e-6)
    assert "12 codes of moving-mnist (12 test clips)" in capsys.readouterr().out

    videos = np.random.default_rng(0).integers(0, 256, (11, 7, 28, 28), dtype=np.uint8)
    np.save(tmp_path / "videos.npy", videos)
    codes, ids = encode("array", "--dataset", "array", "--data-dir", str(tmp_path / "videos.npy"))
    assert ids == [(str(video), first) for video in range(11) for first in (0, 3, 4)]
    pieces = torch.from_numpy(np.stack([videos[v, t : t + 3, None] for v in range(11) for t in (0, 3, 4)]))
    np.testing.assert_allclose(codes, model.encode(pieces).detach(), atol=1e-6)

    for name in ("walk/daria_walk", "run/daria_run", "run/eli_run"):  # two groups: too few to split
        path = tmp_path / "films" / f"{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (28, 28))
        for t in range(8):
            writer.write(np.full((28, 28, 3), 20 * t, np.uint8))
        writer.release()
    words = ("--dataset", "video-folder", "--data-dir", str(tmp_path / "films"), "--image-size", "28", "--grey")
    read.clear()
    found = {size: encode(f"films-{size}", *words, "-b", str(size)) for size in (1, 4, 50)}
    assert found[4][1] == [(name, t) for name in ("run/daria_run", "run/eli_run", "walk/daria_walk") for t in (0, 3, 5)]
    assert read == [1] * 9 + [4, 4, 1] + [9]
    for codes, _ in found.values():
        np.testing.assert_allclose(codes, found[50][0], atol=1e-6)
    (tmp_path / "trainlist01.txt").write_text("run/daria_run.avi 1\nwalk/daria_walk.avi 2\n")
    (tmp_path / "testlist01.txt").write_text("run/eli_run.avi\n")
    official = ["ucf101" if word == "video-folder" else word for word in words]
    codes, ids = encode("official", *official, "--annotation-path", str(tmp_path))
    np.testing.assert_array_equal(codes, found[50][0])  # of both lists
    assert ids == found[50][1]


def test_an_interrupted_encoding_leaves_nothing(digits_run, tmp_path, monkeypatch, capsys):
    encode = [str(digits_run), "--tasks", "encode", "--clips", "9", "-b", "2", "--device", "cpu"]
    out = tmp_path / "codes.npz"
    calls = []

    def stop(self, clips, lengths=None):
        calls.append(os.listdir(tmp_path))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return torch.zeros(len(clips), 6)

    monkeypatch.setattr(LSTMAutoencoder, "encode", stop)
    assert evaluate.command([*encode, "--out", str(out)]) == 130
    assert (len(calls[2]), os.listdir(tmp_path)) == (1, [])
    calls.extend([[]] * 9)
    assert evaluate.command([*encode, "--out", str(out)]) == 0
    capsys.readouterr()
    for path, message in (
        (out, "exists already; choose another name for --out"),
        (tmp_path / "codes.npy", "expected a file with the suffix .npz"),
        (out / "below.npz", "File exists"),
    ):
        assert evaluate.command([*encode, "--out", str(path)]) == 1
        assert message in capsys.readouterr().err
    for words, message in (
        ([*encode], "needs a file to write: --out codes.npz"),
        ([encode[0], "--tasks", "rollout", "--out", "x"], "--out is the file of one task"),
    ):
        with pytest.raises(SystemExit, match="2"):
            evaluate.command(words)
        assert message in capsys.readouterr().err
