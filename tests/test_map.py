"""A map of codes: what is alike is near, nothing is hidden, and colours are of classes or sequences."""

import json

import numpy as np
import pytest
from conftest import write_videos
from PIL import Image

from video_ae.commands import evaluate, train
from video_ae.datasets.config import DataConfig
from video_ae.datasets.videos import read_video
from video_ae.probes import plane
from video_ae.visualize import save_map

SMALL = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--hidden-size", "4", "--cell", "lstm"]
TRAINING = ["--steps", "1", "-b", "2", "--device", "cpu"]


@pytest.mark.parametrize(("count", "method"), [(30, "PCA"), (90, "t-SNE")])
def test_what_is_alike_is_near(count, method):
    """Three groups far apart in 20 dimensions stay apart in two, and the same codes are laid out in the same way."""
    random = np.random.default_rng(0)
    groups = np.arange(count) % 3
    features = (np.eye(3, 20)[groups] * 9 + random.normal(size=(count, 20))).astype(np.float32)
    places, found = plane(features)
    assert (places.shape, found) == ((count, 2), method)
    distances = np.linalg.norm(places[:, None] - places, axis=2) + np.where(np.eye(count), np.inf, 0)
    assert (groups[distances.argmin(axis=1)] == groups).all()
    assert np.array_equal(plane(features)[0], places)


def test_codes_of_one_number_have_two_places():
    places, _ = plane(np.arange(4, dtype=np.float32)[:, None])
    assert np.abs(np.diff(places[:, 0])) == pytest.approx([1, 1, 1])
    assert (places[:, 1] == 0).all()
    with pytest.raises(ValueError, match="found 2 clips to lay out, expected at least 3"):
        plane(np.zeros((2, 5), np.float32))


def test_no_thumbnail_hides_another(tmp_path):
    """Clips of one code are at one place: each must still be seen as a whole, as far left or right as it belongs."""
    shades = np.linspace(60, 255, 30).round().astype(np.uint8)
    frames = [np.full((3, 12, 16), shade / 255, np.float32) * [[[1]], [[0]], [[1]]] for shade in shades]
    places = np.zeros((30, 2))
    places[:10, 0], places[20:, 0] = -1, 1
    save_map(tmp_path / "map.png", places, ["a"] * 10 + ["b"] * 20, frames)
    pixels = np.asarray(Image.open(tmp_path / "map.png"))
    where = [np.argwhere((pixels == [shade, 0, shade]).all(axis=2)) for shade in shades]
    (height, width), *others = {tuple(np.ptp(place, axis=0) + 1) for place in where}
    assert not others
    assert all(len(place) == height * width for place in where)
    left, middle, right = (np.mean([place[:, 1].mean() for place in where[i : i + 10]]) for i in (0, 10, 20))
    assert left < middle < right


def test_dots_have_the_colours_of_their_classes(tmp_path):
    """Twenty are named below the map, more are not: a key of a hundred classes would be larger than the map."""
    places = np.random.default_rng(0).normal(size=(25, 2))
    heights = []
    for count in (1, 20, 21):
        save_map(tmp_path / "map.png", places, [f"class {index % count}" for index in range(25)])
        pixels = np.asarray(Image.open(tmp_path / "map.png"))
        colours = np.unique(pixels.reshape(-1, 3), axis=0).astype(int)
        assert (np.ptp(colours, axis=1) > 60).sum() == count  # others are greys
        heights.append(len(pixels))
    assert heights[2] < heights[0] < heights[1]


def test_digits_are_mapped(tmp_path, capsys):
    run = tmp_path / "run"
    assert train.command(["--reconstruct", *SMALL, *TRAINING, "--output-dir", str(run)]) == 0
    assert evaluate.command([str(run), "--tasks", "map", "--clips", "12", "--device", "cpu"]) == 0
    found = json.loads((run / "evaluation" / "clips-12" / "map.json").read_text())
    assert (found["clips"], found["method"], found["colours"]) == (12, "PCA", "classes")
    assert "12 clips of moving-mnist" in (run / "report.html").read_text()
    words = [str(run), "--tasks", "map", "--num-digits", "2", "--clips", "60", "--device", "cpu"]
    assert evaluate.command(words) == 0  # two digits are no class
    found = json.loads((run / "evaluation" / "num-digits-2-clips-60" / "map.json").read_text())
    assert (found["method"], found["colours"]) == ("t-SNE", "")


def test_percepts_are_shown_as_what_was_filmed(tmp_path):
    """The frame of that number of those that are read: of every third, or at another rate; pixels show themselves."""
    videos = write_videos(tmp_path / "videos")
    for choice in ({"frame_stride": 3}, {"fps": 12.5}):
        data = DataConfig("video-folder", str(videos), percepts="motion", **choice)
        how = {"stride": choice.get("frame_stride", 1), "fps": choice.get("fps")}
        frames = read_video(videos / "left" / "c_left.avi", image_size=64, **how)
        (found,) = data.filmed([("left/c_left", 2)])
        assert np.array_equal(found, frames[2])
    assert DataConfig("video-folder", str(videos)).filmed([("left/c_left", 2)]) == []


def test_series_have_the_colours_of_their_ids(tmp_path):
    random = np.random.default_rng(0)
    rows = [f"{name},{random.normal():.3f},{random.normal():.3f}" for name in ("a", "b", "c") for _ in range(100)]
    (tmp_path / "series.csv").write_text("\n".join(["id,x,y", *rows]) + "\n")
    data = ["--dataset", "sequences", "--data-dir", str(tmp_path / "series.csv"), "--input-frames", "4"]
    run = str(tmp_path / "run")
    assert train.command(["--reconstruct", *data, "--hidden-size", "4", *TRAINING, "--output-dir", run]) == 0
    assert evaluate.command([run, "--tasks", "map", "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "run" / "evaluation" / "map.json").read_text())["colours"] == "sequences"
