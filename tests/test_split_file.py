"""The user's own division: names are found however they are written, and what does not fit is said with its line."""

from pathlib import Path

import pytest

from video_ae.datasets.split_file import parts_by_file

NAMES = ["a/x", "a/y.2", "b/x", "b/s1/z"]


def written(folder: Path, *lines: str) -> Path:
    path = folder / "split.csv"
    path.write_text("\n".join(lines))
    return path


def test_names_with_and_without_suffix_and_folders(tmp_path, capsys):
    path = written(
        tmp_path, "part,name,note", "train,a/x.avi,", "VAL,./b/x,good", "test,z.MP4,", "", "Training,a\\y.2.avi,"
    )
    assert parts_by_file(path, NAMES) == ["train", "train", "validation", "test"]
    assert parts_by_file(written(tmp_path, "name,part", "y.2,test"), NAMES) == ["", "test", "", ""]
    assert capsys.readouterr().err == ""
    parts_by_file(written(tmp_path, "name,part", "y.2,test", "c/gone.avi,train"), NAMES)
    assert capsys.readouterr().err == f"{path}: 1 of the listed videos are not there: c/gone.avi\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name;part", "a/x;train"], r"split\.csv: found the columns name;part, expected name and part"),
        ([], "found the columns of nothing"),
        (["name,part", "a/x,train", "b/x,learn"], r"split\.csv:3: found 'b/x' and 'learn', expected .* validation or"),
        (["name,part", ",train"], r"split\.csv:2: found '' and 'train'"),
        (["name,part", "x.avi,train"], r"split\.csv:2: 'x\.avi' fits a/x, b/x; expected the whole name"),
        (["name,part", "a/x,train", "a/x.mp4,test"], r"split\.csv:3: 'a/x\.mp4' is for train in another line"),
        (["name,part", "../a/x,train"], "lists none of the 4 videos such as a/x"),
        (["name,part", '"a/x,train'], "not a table with commas"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        parts_by_file(written(tmp_path, *lines), NAMES)


def test_no_list(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"split\.csv: no such file; expected a \.csv file with the columns"):
        parts_by_file(tmp_path / "split.csv", NAMES)
