"""Clips that are decoded when they are read are those of the videos that were decoded whole."""

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from video_ae.commands import train
from video_ae.datasets import decoders, video_streams
from video_ae.datasets.batches import training_indices
from video_ae.datasets.config import DataConfig

av = pytest.importorskip("av")
from test_decoders import film, noise  # noqa: E402

KEYS = {"g": "7", "picture": noise}  # a key frame every seven frames or sooner, and no two frames alike
X264 = {"codec": "libx264", "bf": "2", **KEYS}
FILMS = {
    "a.avi": KEYS,
    "a.mp4": X264,
    "open.mp4": {**X264, "x264-params": "open-gop=1:scenecut=0:b-adapt=0"},
    "refresh.mp4": {**X264, "x264-params": "intra-refresh=1"},
    "b.mp4": {"codec": "mpeg4", "bf": "2", **KEYS},
    "a.mkv": X264,
    "b.mkv": {**KEYS, "times": [1000 + 40 * n + 13 * (n % 3) for n in range(40)]},
    "a.webm": {"codec": "libvpx-vp9", **KEYS},
    "a.ts": X264,
    "a.wmv": {"codec": "wmv2", **KEYS},
    "a.flv": {"codec": "flv", **KEYS},
    "turned.mp4": {**X264, "turned": 90},
}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path, cache) -> Path:
    """Videos in most containers, with key frames in the middle, and a folder of images."""
    for number, (name, options) in enumerate(FILMS.items()):
        place = tmp_path / "films" / f"{number:02d}"
        place.mkdir(parents=True)
        film(place / name, **({"frames": 40} | options))
    images = tmp_path / "films" / "images" / "a"
    images.mkdir(parents=True)
    for number in range(40):
        cv2.imwrite(str(images / f"img_{number}.png"), noise(number, 48, 64))
    return tmp_path / "films"


def config(folder: Path, **more: object) -> DataConfig:
    return DataConfig("video-folder", str(folder), image_size=32, **more)


@pytest.mark.parametrize(
    "how",
    [{}, {"grey": True, "frame_stride": 2}, {"fps": 40.0}, {"random_crop": True}, {"image_size": (24, 36)}],
    ids=str,
)
def test_batches_are_those_of_the_cache(folder, how):
    """Bit by bit, in the same order. Catches key frames from which others do not decode (open groups of pictures, intra
    refresh), stamps that a container has for decoding alone, and frames that are one too early after a seek."""
    if "fps" in how:
        for image in (folder / "images" / "a").iterdir():  # they have no times
            image.unlink()
        (folder / "images" / "a").rmdir()
    for split in ("train", "all"):
        kept, streamed = (
            DataConfig("video-folder", str(folder), stream=stream, **{"image_size": 32} | how).open(split, 5, seed=3)
            for stream in (False, True)
        )
        batches = -(-len(kept) // 20)
        assert batches >= 3
        for clips in itertools.islice(training_indices(kept, 20, seed=1), batches):
            np.testing.assert_array_equal(kept.__getitems__(clips), streamed.__getitems__(clips))


def test_no_more_is_decoded_than_up_to_the_clip(tmp_path, cache, monkeypatch):
    """From its key frame on: of a video with 12 of them at most 7 frames too many."""
    (tmp_path / "films").mkdir()
    film(tmp_path / "films" / "a.mp4", frames=84, **X264)
    clips = config(tmp_path / "films", stream=True).open("all", 6)
    decoded = []
    image = decoders._PyAV.frames

    def counted(self, **how):
        for frame in image(self, **how):
            decoded.append(frame)
            yield frame

    monkeypatch.setattr(decoders._PyAV, "frames", counted)
    for index in range(len(clips)):
        decoded.clear()
        clips.__getitems__([index])
        assert 6 <= len(decoded) <= 6 + 7 + 2  # two that are shown before the key frame


def test_a_training_is_the_same_and_keeps_no_pictures(folder, cache, tmp_path):
    """With two processes that decode ahead. Catches workers that are sent whole videos, and caches that are filled."""
    flags = "--composite --image-size 16 --grey --cell lstm --hidden-size 6 --input-frames 3 --future-frames 1 -b 4"
    losses = []
    for more in ("--stream -j 2", ""):
        run = tmp_path / f"run{more[:2]}"
        words = [*flags.split(), *more.split(), "--steps", "3", "--dataset", "video-folder", "--device", "cpu"]
        words += ["--data-dir", str(folder), "--validation-clips", "3", "--output-dir", str(run)]
        assert train.command(words) == 0
        if more:
            sizes = [path.stat().st_size for path in cache.rglob("*.npy")]
            assert max(sizes) <= 128 + 40 * video_streams.INDEX_BYTES
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        losses.append([{name: value for name, value in row.items() if "loss" in name} for row in rows])
    assert losses[0] == losses[1]
    assert any(losses[0])


def test_what_cannot_be_streamed_is_said(tmp_path, cache, monkeypatch, capsys):
    (tmp_path / "films").mkdir()
    path = film(tmp_path / "films" / "a.mp4", frames=30, **X264)
    clips = config(tmp_path / "films", stream=True).open("all", 5)
    film(path, frames=30, codec="mpeg4")
    with pytest.raises(ValueError, match=r"a\.mp4: has other frames than when it was first read"):
        clips.__getitems__([3])
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.mp4: cannot be read any more .*put it back"):
        clips.__getitems__([3])

    film(tmp_path / "films" / "a.mpg", frames=30, codec="mpeg2video", bf="2", **KEYS)
    with pytest.raises(ValueError, match=r"a\.mpg: found frames without a time.*to \.mp4, or leave --stream"):
        config(tmp_path / "films", stream=True).open("all", 5)
    words = [
        "--composite",
        "--dataset",
        "video-folder",
        "--data-dir",
        str(tmp_path / "films"),
        "--stream",
        "--percepts",
        "motion",
    ]
    assert train.command(words) == 1
    assert "--stream changes nothing for --dataset video-folder with --percepts motion" in capsys.readouterr().err
    monkeypatch.setattr("video_ae.datasets.decoding.has_av", lambda: False)
    with pytest.raises(ValueError, match=r"--stream needs PyAV.*pip install \"video-ae\[decode\]\""):
        config(tmp_path / "films", stream=True).open("all", 5)
