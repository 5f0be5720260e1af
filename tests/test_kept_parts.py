"""A run keeps its division into parts, whatever happens to the files it was trained on: the commands, on real files."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from video_ae.commands import evaluate, train
from video_ae.run_folder import RunFolder

SMALL = ["--hidden-size", "4", "-b", "4", "--steps", "2", "--device", "cpu"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_video(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 32))
    random = np.random.default_rng(seed)
    for _ in range(24):
        writer.write(cv2.resize(random.integers(0, 255, (4, 4, 3), dtype=np.uint8), (32, 32)))
    writer.release()


@pytest.fixture
def videos(tmp_path) -> Path:
    for number in range(12):
        write_video(tmp_path / "videos" / "ab"[number % 2] / f"m{number}.avi", number)
    return tmp_path / "videos"


@pytest.fixture
def run(videos, tmp_path) -> Path:
    source = ["--dataset", "video-folder", "--data-dir", str(videos), "--image-size", "16"]
    assert train.command(["--composite", *source, *SMALL, "--output-dir", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


def parts(run: Path) -> dict[str, set[str]]:
    return {part: {piece[0] for piece in pieces} for part, pieces in RunFolder(run).division().items()}


def scored(run: Path, folder: Path, *words: str) -> set[str]:
    """The videos that --tasks anomaly scored."""
    shape = ["--quantile", "0.5", "--output-dir", str(folder), "--device", "cpu"]
    assert evaluate.command([str(run), "--tasks", "anomaly", *shape, *words]) == 0
    with (folder / "anomaly.csv").open() as file:
        return {row["id"] for row in csv.DictReader(file)}


def test_files_that_are_added_are_in_no_part(run, videos, tmp_path, capsys):
    """Catches a split that is made anew of what is there now: trained videos would test, and training would change."""
    before = parts(run)
    assert {part: len(names) > 0 for part, names in before.items()} == dict.fromkeys(before, True)
    for number in range(24):
        write_video(videos / "ab"[number % 2] / f"a{number:02d}.avi", 100 + number)
        write_video(videos / "ab"[number % 2] / f"z{number:02d}.avi", 200 + number)
    assert scored(run, tmp_path / "scores") == before["test"]
    assert evaluate.command([str(run), "--device", "cpu"]) == 0
    assert "48 are new" in capsys.readouterr().err
    assert train.command(["--resume", "--steps", "4", "--output-dir", str(run), "--device", "cpu"]) == 0
    assert parts(run) == before
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    held_out = [row["validation"]["clips"] for row in rows if "validation" in row]
    assert held_out == [held_out[0]] * len(held_out)


def test_a_run_goes_on_where_its_data_moved(run, videos, tmp_path, capsys):
    """Names and contents say that it is the same data, whatever the path; other data are refused."""
    before = parts(run)
    videos.rename(tmp_path / "elsewhere")
    assert evaluate.command([str(run), "--device", "cpu"]) == 1
    moved = ["--data-dir", str(tmp_path / "elsewhere")]
    assert scored(run, tmp_path / "scores", *moved) == before["test"]
    assert train.command(["--resume", "--steps", "3", "--output-dir", str(run), "--device", "cpu", *moved]) == 0
    assert evaluate.command([str(run), "--device", "cpu"]) == 0  # the run knows the new place now
    capsys.readouterr()
    for number in range(12):
        write_video(tmp_path / "other" / "ab"[number % 2] / f"m{number}.avi", 300 + number)
    other = ["--resume", "--steps", "4", "--output-dir", str(run), "--data-dir", str(tmp_path / "other")]
    assert train.command(other) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "training and validation data are missing or changed" in error


def test_another_division_is_refused_wherever_the_videos_are(videos, tmp_path, capsys):
    """Catches flags that change nothing in silence where the folder moved; a list that moved with it is the same."""
    names = sorted(path.relative_to(videos).as_posix() for path in videos.rglob("*.avi"))
    rows = [f"{name},{('train', 'val', 'test')[number % 3]}" for number, name in enumerate(names)]
    (tmp_path / "parts.csv").write_text("\n".join(["name,part", *rows]))
    (tmp_path / "others.csv").write_text("\n".join(["name,part", *rows[:6]]))
    source = ["--dataset", "video-folder", "--data-dir", str(videos), "--image-size", "16"]
    source += ["--split-file", str(tmp_path / "parts.csv")]
    assert train.command(["--composite", *source, *SMALL, "--output-dir", str(tmp_path / "run")]) == 0
    other = ["--split-file", str(tmp_path / "others.csv")]
    for place in (videos, tmp_path / "elsewhere"):
        if place != videos:
            videos.rename(place)
        for flags in (other, ["--group", "."]):
            words = [str(tmp_path / "run"), "--device", "cpu", "--data-dir", str(place), *flags]
            assert evaluate.command(words) == 1
            assert "divides the videos of this run otherwise" in capsys.readouterr().err.splitlines()[-1]
    (tmp_path / "parts.csv").rename(tmp_path / "moved.csv")
    moved = ["--data-dir", str(tmp_path / "elsewhere"), "--split-file", str(tmp_path / "moved.csv")]
    assert scored(tmp_path / "run", tmp_path / "scores", *moved) == parts(tmp_path / "run")["test"]


def test_missing_and_renamed_files(run, videos, tmp_path, capsys):
    """A file is known by its content: under another name it stays in its part. What is gone is named."""
    before = parts(run)
    trained, tested = sorted(before["train"])[0], sorted(before["test"])
    (videos / f"{trained}.avi").rename(videos / "a" / "renamed.avi")
    assert scored(run, tmp_path / "one") == before["test"]
    assert train.command(["--resume", "--steps", "3", "--output-dir", str(run), "--device", "cpu"]) == 0
    (videos / f"{tested[0]}.avi").unlink()
    capsys.readouterr()
    assert scored(run, tmp_path / "two") == before["test"] - {tested[0]}
    assert f"1 ({tested[0]}) of this run's test data is missing" in capsys.readouterr().err
    (videos / "a" / "renamed.avi").unlink()
    assert train.command(["--resume", "--steps", "4", "--output-dir", str(run), "--device", "cpu"]) == 1
    assert f"1 ({trained}) of this run's training and validation data is missing" in capsys.readouterr().err


@pytest.mark.parametrize("rate", [["--frame-stride", "2"], ["--fps", "12.5"], ["--fps", "50"]])
def test_at_another_rate_the_same_videos_test(videos, tmp_path, rate):
    """Catches a division that no video fits that has more or fewer frames now: all would be scored as other data."""
    run, source = tmp_path / "run", ["--dataset", "video-folder", "--data-dir", str(videos), "--image-size", "16"]
    shape = ["--input-frames", "4", "--future-frames", "2", "--output-dir", str(run)]
    assert train.command(["--composite", *source, *SMALL, *shape]) == 0
    assert scored(run, tmp_path / "scores", *rate) == parts(run)["test"]


def test_patches_are_as_many_as_in_training_whatever_was_added(tmp_path, monkeypatch):
    """Catches patches that are shared out among the videos there are now: nothing would be what it was."""
    monkeypatch.setattr("video_ae.datasets.decoding._PATCHES", 60)
    for number in range(6):
        write_video(tmp_path / "videos" / f"m{number}.avi", number)
    source = ["--dataset", "video-patches", "--data-dir", str(tmp_path / "videos"), "--image-size", "8"]
    shape = ["--input-frames", "4", "--future-frames", "2", "--output-dir", str(tmp_path / "run")]
    assert train.command(["--composite", *source, *SMALL, *shape]) == 0
    before = scored(tmp_path / "run", tmp_path / "one")
    assert before == {f"{name}@{patch}" for name in parts(tmp_path / "run")["test"] for patch in range(10)}
    for number in range(6, 9):
        write_video(tmp_path / "videos" / f"m{number}.avi", number)
    assert train.command(["--resume", "--steps", "4", "--output-dir", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert scored(tmp_path / "run", tmp_path / "two") == before
    for number in range(6, 9):
        (tmp_path / "videos" / f"m{number}.avi").unlink()
    (tmp_path / "videos" / "m0.avi").unlink()  # fewer videos than in training
    assert scored(tmp_path / "run", tmp_path / "three") == before


def test_other_videos_are_evaluated_whole_but_for_those_that_were_trained_on(run, videos, tmp_path, capsys):
    """Catches a split of the other folder, of which a quarter would be looked at, and trained videos among them."""
    trained = sorted(parts(run)["train"])[0]
    other = tmp_path / "other"
    for number in range(3):
        write_video(other / "c" / f"n{number}.avi", 400 + number)
    for name in ("known", "known again"):
        shutil.copy(videos / f"{trained}.avi", other / "c" / f"{name}.avi")
    assert scored(run, tmp_path / "scores", "--data-dir", str(other)) == {"c/n0", "c/n1", "c/n2"}
    assert "left out 2 (c/known, c/known again): the run was trained on them" in capsys.readouterr().err
    with (tmp_path / "scores" / "anomaly.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["id"] == "c/n0"]
    assert steps == list(range(24))  # to the last frame, which no clip of 20 without overlap reaches
    alone = tmp_path / "alone"
    shutil.copytree(other / "c", alone / "c", ignore=shutil.ignore_patterns("n1*", "n2*", "known*"))
    assert scored(run, tmp_path / "one", "--data-dir", str(alone)) == {"c/n0"}
    nothing = tmp_path / "nothing"
    (nothing / "c").mkdir(parents=True)
    shutil.copy(videos / f"{trained}.avi", nothing / "c")
    assert evaluate.command([str(run), "--data-dir", str(nothing), "--device", "cpu"]) == 1
    assert "the run was trained on all of it" in capsys.readouterr().err


def test_a_log_that_grew_is_tested_where_it_was(tmp_path, capsys):
    """One series, divided in time: its last tenth tests, also when there are twice as many rows."""
    values = np.random.default_rng(0).normal(size=(600, 2)).cumsum(0)

    def write(rows: int) -> None:
        lines = [f"{a:.4f},{b:.4f}" for a, b in values[:rows]]
        (tmp_path / "log.csv").write_text("\n".join(["a,b", *lines]) + "\n")

    write(300)
    source = ["--dataset", "sequences", "--data-dir", str(tmp_path / "log.csv"), "--input-frames", "8"]
    flags = ["--reconstruct", *source, *SMALL, "--output-dir", str(tmp_path / "run")]
    assert train.command(flags) == 0

    def steps(name: str) -> list[int]:
        scored(tmp_path / "run", tmp_path / name)
        with (tmp_path / name / "anomaly.csv").open() as file:
            return [int(row["step"]) for row in csv.DictReader(file)]

    before = steps("before")
    assert min(before) == 270
    write(600)
    assert steps("after") == before
    assert "1 is new, or longer than in training" in capsys.readouterr().err


def test_a_run_without_its_parts_is_refused(run, capsys):
    """Of an earlier version, or damaged: what was trained on is not known, so that nothing may test it."""
    path = run / "division.json"
    content = path.read_text()
    path.write_text(content.replace('"a/m0"', '"a/m1"'))
    for resume in (False, True):
        words = ["--resume", "--steps", "9", "--output-dir", str(run)] if resume else [str(run)]
        assert (train if resume else evaluate).command([*words, "--device", "cpu"]) == 1
        assert "division.json: damaged, or changed by hand" in capsys.readouterr().err
    path.unlink()
    assert evaluate.command([str(run), "--device", "cpu"]) == 1
    assert "division.json: missing" in capsys.readouterr().err


def test_validation_and_samples_see_every_class(tmp_path):
    """Catches the first clips for all: where videos are in the order of their classes, these are of one or two."""
    from video_ae.datasets.config import DataConfig

    for label in "abcdef":
        for number in range(5):
            write_video(tmp_path / "videos" / label / f"{label}{number}.avi", ord(label) * 10 + number)
    clips = DataConfig(dataset="video-folder", data_dir=str(tmp_path / "videos"), image_size=8).open("all", 4)
    few = clips.sample(6)
    assert sorted(few.labels.tolist()) == list(range(6))
    assert (len(few), few.available) == (6, len(clips))
    assert len(clips.sample(10_000)) == len(clips)
