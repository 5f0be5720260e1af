"""`--percepts` is a choice of the run: every later command takes raw videos."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from video_ae.commands import evaluate, train
from video_ae.datasets.config import DataConfig


def film(path: Path, seed: int, speed: tuple[int, int], frames: int = 12) -> None:
    """A textured square that moves over a still background."""
    random = np.random.default_rng(seed)
    background, square = (
        np.rint(255 * random.random((side, side))).astype(np.uint8).repeat(4, 0).repeat(4, 1) for side in (32, 8)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 128))
    for t in range(frames):
        frame = background.copy()
        top, left = (48 + speed[0] * (t - frames // 2), 48 + speed[1] * (t - frames // 2))
        frame[top : top + 32, left : left + 32] = square
        writer.write(np.stack([frame] * 3, axis=-1))
    writer.release()


@pytest.fixture
def videos(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in range(5):
        film(tmp_path / "videos" / "across" / f"v_across_g{number:02}_c01.avi", number, (0, 4))
        film(tmp_path / "videos" / "down" / f"v_down_g{number:02}_c01.avi", 50 + number, (4, 0))
    return tmp_path / "videos"


def extracted(tmp_path: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}


def test_a_run_with_percepts_reads_raw_videos_from_training_to_codes_of_new_ones(videos, tmp_path, capsys):
    """Catches commands that want features made by hand, percepts made anew, and pixels where the run reads percepts."""
    run = str(tmp_path / "run")
    flags = ["--dataset", "video-folder", "--data-dir", str(videos), "--percepts", "motion", "--device", "cpu"]
    clips = ["--input-frames", "6", "--future-frames", "4", "--hidden-size", "8", "-b", "4", "--steps", "2"]
    assert train.command(["--composite", *flags, *clips, "--output-dir", run]) == 0
    assert "extracting motion percepts of 10 videos" in capsys.readouterr().err
    before = extracted(tmp_path)
    assert len(before) == 10
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["percepts"] == "motion"
    assert (config["model"]["frame_shape"], config["model"]["residual"]) == ([544, 1, 1], True)

    labels = ["--labels-per-class", "2", "--num-seeds", "1"]
    assert evaluate.command([run, "--device", "cpu", "--tasks", "predict", "classify", *labels]) == 0
    assert extracted(tmp_path) == before
    new = tmp_path / "new"
    new.mkdir()
    film(new / "mine.avi", 99, (0, 4))
    codes = str(tmp_path / "codes.npz")
    assert evaluate.command([run, "--device", "cpu", "--tasks", "encode", "--data-dir", str(new), "--out", codes]) == 0
    with np.load(codes) as found:
        assert found["codes"].shape == (2, 8)  # of 6 frames each
        assert found["ids"].tolist() == ["mine", "mine"]
    assert (
        evaluate.command([run, "--device", "cpu", "--tasks", "anomaly", "--quantile", "0.9", "--data-dir", str(new)])
        == 0
    )
    assert len(extracted(tmp_path)) == 11


def test_adding_a_video_extracts_one(videos, tmp_path):
    config = DataConfig("video-folder", data_dir=str(videos), percepts="motion")
    config.open("all", 4)
    before = extracted(tmp_path)
    film(videos / "down" / "v_down_g09_c01.avi", 7, (4, 0))
    moved = videos.rename(tmp_path / "elsewhere")  # a file is known by its content, wherever it is
    shutil.copystat(moved / "down" / "v_down_g01_c01.avi", moved / "down" / "v_down_g02_c01.avi")
    assert len(DataConfig("video-folder", data_dir=str(moved), percepts="motion").open("all", 4)) == 33
    after = extracted(tmp_path)
    assert before.items() < after.items()
    assert len(after) == len(before) + 1
    os.utime(moved / "down" / "v_down_g01_c01.avi")
    DataConfig("video-folder", data_dir=str(moved), percepts="motion", frame_stride=2).open("all", 4)
    assert len(extracted(tmp_path)) == 2 * len(after)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--percepts", "motion", "--image-size", "32"], "--image-size changes nothing for --dataset video-folder"),
        (["--percepts", "motion", "--grey"], "with --percepts motion; leave it out"),
        (["--percepts", "motion", "--download"], "--download changes nothing"),
        (["--download"], "--download changes nothing for --dataset video-folder with --percepts none"),
        (["--percepts", "vgg16"], "vgg16-397923af.pth: no such file; --download fetches https://"),
    ],
)
def test_flags_that_change_nothing_and_weights_that_are_not_there(
    videos, tmp_path, monkeypatch, capsys, flags, message
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    words = ["--composite", "--dataset", "video-folder", "--data-dir", str(videos), "--device", "cpu"]
    assert train.command([*words, *flags, "--output-dir", str(tmp_path / "run")]) == 1
    assert message in capsys.readouterr().err


def test_other_data_sets_have_no_percepts(capsys):
    assert train.command(["--composite", "--dataset", "video-patches", "--percepts", "motion"]) == 1
    assert "--percepts changes nothing for --dataset video-patches" in capsys.readouterr().err
