"""Scores as rows and frames arrive: those of the whole, of every series apart, before the file has an end."""

import csv
import functools
import http.server
import io
import itertools
import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from video_ae import LSTMAutoencoder
from video_ae.anomaly import step_errors
from video_ae.commands import train, watch
from video_ae.datasets import live
from video_ae.drifting import DriftingThreshold

TRAINING = ["-b", "4", "--steps", "3", "--hidden-size", "6", "--device", "cpu", "--input-frames", "5"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """A run on two series whose rows alternate, one feature far from zero, and new rows of both."""
    folder, random = tmp_path_factory.mktemp("watch"), np.random.default_rng(0)
    table = pd.DataFrame({"id": ["a", "b"] * 200, "time": np.arange(400) // 2, "x": random.normal(size=400)})
    table["y"] = 1e8 + 3 * random.normal(size=400)
    table.to_csv(folder / "series.csv", index=False)
    source = ["--dataset", "sequences", "--data-dir", str(folder / "series.csv"), "--future-frames", "2"]
    assert train.command([*TRAINING, *source, "--composite", "--output-dir", str(folder / "run")]) == 0
    return folder / "run", table.tail(24)


def expected(run: Path, rows: pd.DataFrame) -> dict[str, list[float]]:
    """The scores of the batch computation, of each series by itself."""
    model = LSTMAutoencoder.from_pretrained(run)
    scores = {}
    for name, part in rows.groupby("id"):
        values = part[["x", "y"]].to_numpy() - offsets_of(run)
        clips = torch.from_numpy(values.astype(np.float32))[None, :, :, None, None]
        steps = range(2, len(part) + 1)
        scores[str(name)] = [float(step_errors(model, clips[:, :t], future_frames=1)["future"]) for t in steps]
    return scores


def offsets_of(run: Path) -> np.ndarray:

    return np.array(json.loads((run / "config.json").read_text())["data"]["offsets"])


def check(said: str, run: Path, rows: pd.DataFrame) -> None:
    found = list(csv.DictReader(io.StringIO(said)))
    assert [row["id"] for row in found] == rows["id"].tolist()
    assert [row["time"] for row in found] == rows["time"].astype(str).tolist()
    for name, scores in expected(run, rows).items():
        own = [row["score"] for row in found if row["id"] == name]
        assert own[0] == ""
        np.testing.assert_allclose([float(score) for score in own[1:]], scores, rtol=1e-4, atol=1e-6)


def test_rows_of_a_table_in_any_order_of_columns(run, tmp_path, capsys):
    folder, rows = run
    rows[["y", "time", "x", "id"]].to_csv(tmp_path / "new.csv", index=False)
    assert watch.command([str(tmp_path / "new.csv"), "--run", str(folder)]) == 0
    check(capsys.readouterr().out, folder, rows)


def test_scores_are_there_before_the_pipe_is_closed(run):
    """What buffers its output, or waits for the end, is of no use to whoever watches: this would wait for ever."""
    folder, rows = run
    command = [sys.executable, "-m", "video_ae", "watch", "-", "--run", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        head, *lines = rows.to_csv(index=False).splitlines(keepends=True)
        process.stdin.write(head)
        said = ""
        for number, line in enumerate(lines):
            process.stdin.write(line)
            process.stdin.flush()
            said += "".join(process.stdout.readline() for _ in range(2 if number == 0 else 1))
        process.stdin.close()
        assert process.wait() == 0
    check(said, folder, rows)


def test_a_growing_file_is_read_by_whole_lines(tmp_path):
    """Half of a number is another number."""
    path = tmp_path / "growing.csv"
    path.write_text("x\n1\n2")
    lines = watch.lines_of(path, follow=True)
    assert [next(lines), next(lines)] == ["x\n", "1\n"]
    with path.open("a") as file:
        file.write("34\n")
    assert next(lines) == "234\n"
    path.write_text("x\n")
    with pytest.raises(ValueError, match="became shorter"):
        next(lines)
    assert list(watch.lines_of(path, follow=False)) == ["x\n"]


def test_frames_of_a_video(tmp_path, capsys):
    folder = tmp_path / "videos"
    for number in range(4):
        frames = np.random.default_rng(number).integers(0, 256, (12, 32, 32), dtype=np.uint8)
        (folder / "kind").mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(folder / "kind" / f"{number}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
        for frame in frames:
            writer.write(np.repeat(frame[..., None], 3, axis=2))
        writer.release()
    run = tmp_path / "run"
    source = ["--dataset", "video-folder", "--data-dir", str(folder), "--image-size", "16", "--grey", "--group", ".+"]
    words = [*TRAINING, *source, "--future-frames", "2", "--composite", "--cell", "lstm", "--output-dir", str(run)]
    assert train.command(words) == 0
    capsys.readouterr()
    video = folder / "kind" / "0.avi"
    assert watch.command([str(video), "--run", str(run)]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    from video_ae.datasets.videos import read_video

    clip = torch.from_numpy(read_video(video, image_size=16, grey=True)).permute(0, 3, 1, 2)[None]
    model = LSTMAutoencoder.from_pretrained(run)
    scores = [float(step_errors(model, clip[:, :t], future_frames=1)["future"]) for t in range(2, 13)]
    np.testing.assert_allclose([float(row["score"]) for row in found[1:]], scores, rtol=1e-4, atol=1e-6)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(video.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        assert watch.command([address + "0.avi", "--run", str(run)]) == 0
        said = capsys.readouterr()
        assert list(csv.DictReader(io.StringIO(said.out))) == found
        assert watch.command([address + "none.avi", "--run", str(run)]) == 1
        assert "none.avi: OpenCV cannot open it; expected the number of a camera" in capsys.readouterr().err
        server.shutdown()
    assert watch.command(["97", "--run", str(run)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "camera 97: OpenCV cannot open it" in said.err
    assert watch.command(["9" * 20, "--run", str(run)]) == 1
    assert "no such file" in capsys.readouterr().err, "no number of a camera"
    assert watch.command([str(video), "--run", str(run), "--follow"]) == 1
    assert "cannot be followed" in capsys.readouterr().err


class _Camera:
    """As of a driver that tells no times; frame t is t everywhere."""

    number = -1

    def get(self, what: int) -> float:
        return 10.0 if what == cv2.CAP_PROP_FPS else 0.0

    def grab(self) -> bool:
        self.number += 1
        return self.number < 30

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return self.number != 28, np.full((8, 8, 3), self.number, np.uint8)

    def release(self) -> None:
        pass


def test_a_camera_without_times_has_those_of_its_rate(monkeypatch):
    """At 5 of its 10 frames in a second it gives every second one; catches waiting for ever for a later time."""
    monkeypatch.setattr(live, "_open", lambda source: _Camera())
    found = list(itertools.islice(live.live_frames("0", fps=5), 10))
    assert [int(frame[0, 0, 0]) for frame in found] == list(range(0, 20, 2))
    with pytest.raises(ValueError, match="0: gives a frame that does not decode"):
        list(live.live_frames("0"))


def test_what_cannot_be_watched_is_said(run, tmp_path, capsys):
    folder, rows = run
    (tmp_path / "bad.csv").write_text(rows.to_csv(index=False) + "a,300,,1\n")
    (tmp_path / "other.csv").write_text(rows.to_csv(index=False), encoding="utf-16")
    (tmp_path / "video.mp4").write_bytes(b"\x00\x00\x00\xfa")
    messages = {
        "bad.csv": "an empty cell in column x, line 26",
        "none.csv": "no such file",
        "other.csv": "not a table with commas in",
        "video.mp4": "not a table with commas in",
    }
    for name, message in messages.items():
        assert watch.command([str(tmp_path / name), "--run", str(folder)]) == 1
        error = capsys.readouterr().err
        assert f"{name}: " in error
        assert message in error


def test_a_pipe_may_begin_with_a_byte_order_mark(run, monkeypatch, capsys):
    """That of a file was passed over, of a pipe it was part of the first column's name."""
    folder, rows = run
    monkeypatch.setattr(sys, "stdin", io.StringIO("\ufeff" + rows.to_csv(index=False)))
    assert watch.command(["-", "--run", str(folder)]) == 0
    check(capsys.readouterr().out, folder, rows)


def test_a_run_of_percepts_is_not_taken_for_one_of_tables(run, tmp_path, capsys):
    """It has features as well, and a video was told to have a header."""
    config = json.loads((run[0] / "config.json").read_text())
    config["data"] = {"dataset": "video-folder", "percepts": "motion"}
    del config["sha256"]
    shutil.copytree(run[0], tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert watch.command(["mine.mp4", "--run", str(tmp_path / "run")]) == 1
    assert "reads percepts of videos (motion), expected a run of pixels or tables" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(run, tmp_path):
    """`watch FILE | head` ended with an error, and `awk '$NF == 1'` found no row: the lines ended in \\r\\n."""
    many = pd.concat([run[1]] * 200)
    many.to_csv(tmp_path / "many.csv", index=False)
    command = [sys.executable, "-m", "video_ae", "watch", str(tmp_path / "many.csv"), "--run", str(run[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"id,step,time,score\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_a_threshold_follows_the_scores_of_every_series(run, tmp_path, capsys):
    """As that of the scores that are printed, apart for each id; catches one threshold for all."""
    folder, rows = run
    many = pd.concat([rows] * (2600 // len(rows)), ignore_index=True)
    many["id"] = np.where(np.arange(len(many)) % 2, "a", "b")
    many.loc[len(many) - 2 :, "x"] = 1e3
    many.to_csv(tmp_path / "many.csv", index=False)
    assert watch.command([str(tmp_path / "many.csv"), "--run", str(folder), "--quantile", "0.999"]) == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    for _, series in found.groupby("id"):
        threshold = DriftingThreshold(0.999)
        expected = [threshold.push(score) for score in series["score"]]
        np.testing.assert_allclose(
            series["threshold"], [one.threshold for one in expected], rtol=2e-3
        )  # scores are rounded
        assert series["flagged"].tolist() == [one.anomalous for one in expected]
        assert series["flagged"].iloc[-1] == 1
