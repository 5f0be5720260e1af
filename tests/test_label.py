"""Classes of new videos, and the future of one: what comes out as files."""

import csv
import shutil

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from video_ae import LSTMAutoencoder, LSTMClassifier
from video_ae.commands import evaluate, train
from video_ae.datasets.videos import read_video

TINY = (
    "--composite --image-size 16 --grey --cell lstm --hidden-size 6 --input-frames 4 --future-frames 2 -b 4 --steps 2"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of six videos each, and a run whose classifier knows them."""
    home = tmp_path_factory.mktemp("label")
    random = np.random.default_rng(0)
    for name in ("dark", "light"):
        (home / "videos" / name).mkdir(parents=True)
        for number in range(6):
            frames = random.integers(0, 40, (11, 16, 16, 3), dtype=np.uint8) + (200 if name == "light" else 0)
            write_video(home / "videos" / name / f"{number}.avi", frames.astype(np.uint8))
    environment = pytest.MonkeyPatch()
    environment.setenv("XDG_CACHE_HOME", str(home / "cache"))
    where = ["--dataset", "video-folder", "--data-dir", str(home / "videos")]
    assert (
        train.command(
            [*TINY.split(), "--steps", "2", *where, "--validation-clips", "2", "--output-dir", str(home / "run")]
        )
        == 0
    )
    recipe = "--labels-per-class 2 --num-seeds 1 --steps 40 --lr 0.01"
    assert evaluate.command([str(home / "run"), "--tasks", "classify", *recipe.split()]) == 0
    yield home
    environment.undo()


def write_video(path, frames) -> None:
    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()


def rows_of(path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_new_videos_get_the_scores_of_the_classifier(folder, tmp_path):
    """Of every clip what `LSTMClassifier.scores` says of these frames, of a video the mean; the last clip ends with it.

    Catches clips that begin elsewhere than the table says, and columns in another order than the classes.
    """
    out = tmp_path / "found" / "labels.csv"
    flags = ["--tasks", "label", "--data-dir", str(folder / "videos"), "--out", str(out)]
    assert evaluate.command([str(folder / "run"), *flags]) == 0
    (saved,) = (folder / "run" / "evaluation").glob("*/classifier")
    classifier = LSTMClassifier.from_pretrained(saved)
    videos, clips = rows_of(out), rows_of(out.with_name("labels-clips.csv"))
    assert [row["id"] for row in videos] == [f"{name}/{number}" for name in ("dark", "light") for number in range(6)]
    assert [(row["first_frame"], row["last_frame"]) for row in clips[:3]] == [("0", "3"), ("4", "7"), ("7", "10")]
    assert [(row["start"], row["end"]) for row in clips[1:3]] == [("0.160", "0.280"), ("0.280", "0.400")]  # at 25 fps
    for video in videos:
        frames = torch.from_numpy(read_video(folder / "videos" / f"{video['id']}.avi", image_size=16, grey=True))
        frames = frames.permute(0, 3, 1, 2)
        with torch.no_grad():
            scores = torch.cat([classifier.scores(frames[None, first : first + 4]) for first in (0, 4, 7)])
        own = [row for row in clips if row["id"] == video["id"]]
        for row, expected in zip(own, scores.tolist(), strict=True):
            assert [float(row["dark"]), float(row["light"])] == pytest.approx(expected, abs=1e-4)
        mean = scores.mean(dim=0).tolist()
        assert [float(video["dark"]), float(video["light"])] == pytest.approx(mean, abs=1e-4)
        assert video["label"] == ("dark", "light")[int(np.argmax(mean))] == video["id"].partition("/")[0]
        assert video["clips"] == "3"


def test_below_the_threshold_nothing_is_known(folder, tmp_path, capsys):
    out = tmp_path / "labels.csv"
    flags = ["--tasks", "label", "--data-dir", str(folder / "videos"), "--out", str(out)]
    assert evaluate.command([str(folder / "run"), *flags, "--unknown-below", "1"]) == 0
    assert {row["label"] for row in rows_of(out)} == {"unknown"}
    assert evaluate.command([str(folder / "run"), *flags]) == 1
    assert "labels.csv: exists already" in capsys.readouterr().err


def test_a_run_without_classifier_says_so(folder, tmp_path, capsys):
    LSTMAutoencoder.from_pretrained(folder / "run").save_pretrained(tmp_path / "copy" / "model")
    for name in ("config.json", "division.json"):
        (tmp_path / "copy" / name).write_bytes((folder / "run" / name).read_bytes())
    flags = ["--tasks", "label", "--out", str(tmp_path / "labels.csv")]
    assert evaluate.command([str(tmp_path / "copy"), *flags]) == 1
    assert "copy --tasks classify, with --data-dir LABELLED" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["npy", "gif", "mp4"])
def test_the_future_of_one_video_follows_its_end(suffix, folder, tmp_path):
    """Catches a future of the first frames, or of a clip that ends before the video does."""
    file, out = folder / "videos" / "light" / "3.avi", tmp_path / f"future.{suffix}"
    flags = ["--data-dir", str(file), "--out", str(out), "--future-frames", "5"]
    assert evaluate.command([str(folder / "run"), *flags]) == 0
    model = LSTMAutoencoder.from_pretrained(folder / "run")
    frames = torch.from_numpy(read_video(file, image_size=16, grey=True)).permute(0, 3, 1, 2)[None]
    expected = model.predict(frames[:, -4:], 5)[0, :, 0].numpy()  # (5, 16, 16)
    if suffix == "npy":
        np.testing.assert_array_equal(np.load(out)[..., 0], expected)
        return
    if suffix == "gif":
        with Image.open(out) as animation:
            shown = np.stack([np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(animation)])
        shown = shown[:, 4:-4, 4:-4]
    else:
        shown = read_video(out, grey=True)[..., 0]
    assert shown.shape == (9, 256, 256)
    small = shown[4:].reshape(5, 16, 16, 16, 16).mean(axis=(2, 4))
    np.testing.assert_allclose(small, expected, atol=12)  # few colours, or lossy


@pytest.mark.parametrize("name", ["labels.csv", "codes.npz", "future.npy", "future.gif", "future.mp4"])
def test_a_full_disk_leaves_no_stump_under_the_name_that_was_asked_for(name, folder, tmp_path, capsys):
    """Files that can hold 600 bytes, as on a full disk: videos and arrays that were cut there were successes, and other
    stumps kept the name."""
    resource = pytest.importorskip("resource", reason="no limits on this system")
    task = {"labels.csv": ["--tasks", "label"], "codes.npz": ["--tasks", "encode"]}.get(name, [])
    data = folder / "videos" if task else folder / "videos" / "light" / "3.avi"
    words = [str(folder / "run"), *task, "--data-dir", str(data), "--out", str(tmp_path / name)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        code = evaluate.command(words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    error = capsys.readouterr().err
    assert code == 1
    assert error.startswith(f"error: {tmp_path / name.replace('labels', 'labels-clips')}: ")
    assert list(tmp_path.iterdir()) == []


def test_the_future_of_many_videos_is_asked_for_one_by_one(folder, tmp_path, capsys):
    flags = ["--data-dir", str(folder / "videos"), "--out", str(tmp_path / "future.gif")]
    assert evaluate.command([str(folder / "run"), *flags]) == 1
    assert "found 12 videos: name its file" in capsys.readouterr().err
    assert evaluate.command([str(folder / "run"), *flags[:2], "--out", str(tmp_path / "future.avi")]) == 1
    assert "expected a file with the suffix .gif or .mp4 or .npy" in capsys.readouterr().err
    assert evaluate.command([str(folder / "run"), *flags, "--clips", "5"]) == 1  # was ignored
    assert "leave --clips out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("query", "message"), [("videos/dark", "found 6 videos, expected one"), ("nothing.avi", "no such file")]
)
def test_a_query_is_one_video(query, message, folder, tmp_path, capsys):
    """Catches the mean over a folder of videos, and advice about the flag of the collection."""
    flags = ["--tasks", "retrieve", "--query", str(folder / query), "--out", str(tmp_path / "found.csv")]
    assert evaluate.command([str(folder / "run"), *flags]) == 1
    error = capsys.readouterr().err
    assert f"--query {folder / query}: {message}" in error
    assert "--data-dir" not in error
    assert not (tmp_path / "found.csv").exists()


def test_scores_are_in_0_to_1(folder, tmp_path, capsys):
    """Catches a percentage, of which every video is unknown."""
    flags = ["--tasks", "label", "--out", str(tmp_path / "labels.csv"), "--unknown-below", "50"]
    with pytest.raises(SystemExit, match="2"):
        evaluate.command([str(folder / "run"), *flags])
    assert "--unknown-below: found 50, expected 0 to 1" in capsys.readouterr().err


def test_what_is_like_a_video_is_found(folder, tmp_path, capsys):
    """Nearest by the cosine of centred codes, computed here clip by clip; the query itself is not found."""
    out, query = tmp_path / "found.csv", folder / "videos" / "dark" / "2.avi"
    flags = ["--tasks", "retrieve", "--data-dir", str(folder / "videos"), "--query", str(query), "--out", str(out)]
    assert evaluate.command([str(folder / "run"), *flags]) == 0
    model = LSTMAutoencoder.from_pretrained(folder / "run")
    codes: dict[tuple[str, int], np.ndarray] = {}
    for path in sorted((folder / "videos").glob("*/*.avi")):
        frames = torch.from_numpy(read_video(path, image_size=16, grey=True)).permute(0, 3, 1, 2)
        for first in (0, 4, 7):
            with torch.no_grad():
                code = model.encode(frames[None, first : first + 4])[0].numpy()
            codes[f"{path.parent.name}/{path.stem}", first] = code
    mean = np.mean(list(codes.values()), axis=0)
    target = np.mean([code - mean for (name, _), code in codes.items() if name == "dark/2"], axis=0)
    expected = {
        place: float((code - mean) @ target / np.linalg.norm(code - mean) / np.linalg.norm(target))
        for place, code in codes.items()
        if place[0] != "dark/2"
    }
    rows = rows_of(out)
    assert len(rows) == 20
    found = [float(row["similarity"]) for row in rows]
    assert found == pytest.approx(sorted(expected.values(), reverse=True)[:20], abs=2e-4)
    for row in rows:
        assert float(row["similarity"]) == pytest.approx(expected[row["id"], int(row["first_frame"])], abs=2e-4)
    assert float(rows[0]["end"]) - float(rows[0]["start"]) == pytest.approx(3 / 25)
    with Image.open(out.with_suffix(".png")) as sheet:
        assert sheet.height > 20 * 96
    assert evaluate.command([str(folder / "run"), *flags[:4], "--out", str(tmp_path / "other.csv")]) == 1
    assert "say which video to look for" in capsys.readouterr().err


def test_from_a_folder_of_videos_to_labels_of_new_ones(real_data, tmp_path, monkeypatch):
    """The whole path without network or weights, on people who were filmed: five learn, the sixth is new."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for path in (real_data / "weizmann").glob("*/*.avi"):
        place = tmp_path / ("new" if "daria" in path.name else "known") / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    run = str(tmp_path / "run")
    where = ["--dataset", "video-folder", "--data-dir", str(tmp_path / "known"), "--percepts", "motion"]
    size = [
        "--composite",
        "--input-frames",
        "12",
        "--future-frames",
        "6",
        "--hidden-size",
        "64",
        "-b",
        "16",
        "--steps",
        "40",
    ]
    assert train.command([*size, *where, "--output-dir", run]) == 0
    assert evaluate.command([run, "--tasks", "classify", "--labels-per-class", "3", "--num-seeds", "1"]) == 0
    out = tmp_path / "labels.csv"
    assert evaluate.command([run, "--tasks", "label", "--data-dir", str(tmp_path / "new"), "--out", str(out)]) == 0
    right = [row["label"] == row["id"].partition("/")[0] for row in rows_of(out)]
    assert len(right) == 4
    assert sum(right) >= 3
