"""What the package knows of a task, a loss or percepts is in one place, which may be anybody's."""

import json
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from conftest import write_videos

from video_ae import LSTMAutoencoder, ModelConfig, TrainConfig, fit
from video_ae.commands import evaluate, percepts, train
from video_ae.commands.tasks.task import TASKS
from video_ae.datasets.names import PERCEPTS
from video_ae.datasets.percepts import KINDS
from video_ae.report.run import write_run
from video_ae.run_folder import RunFolder

MODULE = """
from dataclasses import dataclass

from video_ae.commands import cli
from video_ae.commands.tasks.task import Task, register
from video_ae.datasets.flags import flag
from video_ae.files import write_json
from video_ae.report.markup import element
from video_ae.results import replace_results


@dataclass(frozen=True)
class CountFlags:
    {flag}: int | None = flag(None, "at least this bright", type=cli.positive)


@register
class Count(Task):
    name = "count"
    title = "What is bright"
    flags = (CountFlags,)

    def run(self, opened, arguments):
        clips, count = opened.test_clips(arguments, 4)
        bright = int((clips.__getitems__(range(count)) >= arguments.{flag}).sum())
        with replace_results(opened.folder, "count") as place:
            write_json(place / "count.json", {{"bright": bright}} | opened.facts(arguments))

    def show(self, folder, results):
        return element("p", f"{{results['bright']}} bright pixels")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks") / "run"
    words = ["--reconstruct", "--hidden-size", "4", "--image-size", "32", "--cell", "lstm", "--device", "cpu"]
    assert train.command([*words, "--steps", "1", "-b", "2", "--output-dir", str(folder)]) == 0
    return folder


@pytest.fixture
def count(tmp_path, monkeypatch):
    """A task in a module of its own, outside of the package."""
    (tmp_path / "count_of_mine.py").write_text(MODULE.format(flag="brightness"))
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("count_of_mine")
    del sys.modules["count_of_mine"], TASKS["count"]


def test_a_task_is_one_file(count, run, capsys):
    """It has its flag, refused for other tasks, a folder named after it, its numbers and its section of the report."""
    words = [str(run), "--device", "cpu", "--clips", "3"]
    assert evaluate.command([*words, "--tasks", "count", "--brightness", "200"]) == 0
    found = json.loads((run / "evaluation" / "clips-3-brightness-200" / "count.json").read_text())
    clips = RunFolder(run).data()
    assert (found["dataset"], found["seed"]) == (clips["dataset"], 0)
    assert found["bright"] > 0
    page = (run / "report.html").read_text()
    assert "What is bright" in page
    assert f"{found['bright']} bright pixels" in page
    with pytest.raises(SystemExit) as stopped:
        evaluate.command([*words, "--tasks", "predict", "--brightness", "200"])
    assert stopped.value.code == 2
    assert "--brightness changes nothing for --tasks predict" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.command(["--help"])
    assert "count:\n  --brightness N" in capsys.readouterr().out


def test_results_of_a_task_that_is_not_there_any_more_are_shown(run, tmp_path):
    """Somebody reads the report of a run without the module that one of its results came from."""
    folder = run / "evaluation" / "other"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "count.json").write_text(json.dumps({"bright": 31313}))
    page = write_run(RunFolder(run), TASKS).read_text()
    assert "count" in page
    assert "31,313" in page


def test_without_its_module_a_task_is_unknown(run, capsys):
    with pytest.raises(SystemExit):
        evaluate.command([str(run), "--tasks", "count"])
    assert "invalid choice: 'count'" in capsys.readouterr().err


def test_every_task_says_what_it_needs():
    """A flag that two tasks declare apart from each other would be a crash of `--help`."""
    assert evaluate.parse_arguments(["run"]).tasks == ["predict"]
    for name, task in TASKS.items():
        assert task.name == name
        given = ["run", "--tasks", name, *(["--out", task.out] if task.out and task.needs_out else [])]
        assert evaluate.parse_arguments(given).tasks == [name]


LOSS = """
from video_ae.lengths import inside


def absolute_error(outputs, targets, lengths=None):
    errors = (outputs - targets).abs().flatten(2).sum(dim=2)
    return errors.mean() if lengths is None else errors[inside(lengths, errors.shape[1])].mean()
"""


def test_a_loss_is_one_function(tmp_path, monkeypatch):
    """One from a module of its own is what `fit` minimises: catches the usual one in its place."""
    (tmp_path / "loss_of_mine.py").write_text(LOSS)
    monkeypatch.syspath_prepend(tmp_path)
    loss = import_module("loss_of_mine").absolute_error
    clips = np.random.default_rng(0).integers(0, 256, (4, 5, 1, 8, 8), np.uint8)
    shape = {"frame_shape": (1, 8, 8), "hidden_size": 4, "input_frames": 5, "decoders": ("reconstruction",)}
    model = LSTMAutoencoder(ModelConfig(**shape, output="linear"))
    model.start_from(torch.from_numpy(clips))
    vectors = model.encoder.to_vectors(torch.from_numpy(clips))
    with torch.no_grad():
        expected = float(loss(model(vectors, None, teacher_forcing=True)["reconstruction"], vectors))
    seen = []
    recipe = TrainConfig(steps=1, batch_size=4, amp="off")
    fit(model, clips, recipe, loss=loss, callbacks=[lambda step, row, model: seen.append(row["loss"])], verbose=False)
    assert seen[0] == pytest.approx(expected, rel=1e-5)
    del sys.modules["loss_of_mine"]


PERCEPTS_MODULE = """
from video_ae.datasets.percepts import register
from video_ae.datasets.videos import video_frames


class Quarters:
    features = 4
    facts = {"layer": "means of four quarters, 4", "version": 1}

    def rows(self, path, **how):
        for frame in video_frames(path, grey=True, **how):
            rows = [half.mean(axis=(0, 2)) for half in (frame[: len(frame) // 2], frame[len(frame) // 2 :])]
            yield np.array([part.mean() for row in rows for part in np.array_split(row, 2)], np.float16)


register("quarters", Quarters)
"""


def test_percepts_are_one_file(tmp_path, monkeypatch, capsys):
    """A run is trained on them by their name, and the command writes them down."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "quarters_of_mine.py").write_text("import numpy as np\n" + PERCEPTS_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import_module("quarters_of_mine")
    try:
        videos = str(write_videos(tmp_path / "videos"))
        source = ["--dataset", "video-folder", "--data-dir", videos, "--percepts", "quarters"]
        frames = ["--input-frames", "4", "--future-frames", "2"]
        words = ["--composite", *source, *frames, "--hidden-size", "4", "--steps", "1", "-b", "2", "--device", "cpu"]
        assert train.command([*words, "--output-dir", str(tmp_path / "run")]) == 0
        assert LSTMAutoencoder.from_pretrained(tmp_path / "run").config.frame_shape == (4, 1, 1)
        out = tmp_path / "out"
        assert percepts.command([videos, "--network", "quarters", "--out", str(out), "--device", "cpu"]) == 0
        assert "quarters, means of four quarters, 4 values" in capsys.readouterr().out
        (one, *_) = sorted(out.rglob("*.npy"))
        assert np.load(one).shape[1:] == (4,)
    finally:
        del sys.modules["quarters_of_mine"], KINDS["quarters"]
        PERCEPTS.remove("quarters")
