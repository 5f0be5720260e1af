"""What the package knows of a task, a loss or percepts is in one place, which may be anybody's."""

import json
import sys
from importlib import import_module

import numpy as np
import pytest
import torch

from video_ae import LSTMAutoencoder, ModelConfig, TrainConfig, fit
from video_ae.commands import evaluate, train
from video_ae.commands.tasks.task import TASKS
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
    words = ["--reconstruct", "--hidden-size", "4", "--image-size", "16", "--cell", "lstm", "--device", "cpu"]
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
    (folder / "count.json").write_text(json.dumps({"bright": 31}))
    page = write_run(RunFolder(run), TASKS).read_text()
    assert "count" in page
    assert "31" in page


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
    """One from a module of its own is what `fit` minimises and what its rows say: catches the usual one in its place."""
    (tmp_path / "loss_of_mine.py").write_text(LOSS)
    monkeypatch.syspath_prepend(tmp_path)
    loss = import_module("loss_of_mine").absolute_error
    clips = np.random.default_rng(0).integers(0, 256, (4, 5, 1, 8, 8), np.uint8)
    config = ModelConfig(
        frame_shape=(1, 8, 8), hidden_size=4, input_frames=5, decoders=("reconstruction",), output="linear", seed=0
    ) if False else ModelConfig(
        frame_shape=(1, 8, 8), hidden_size=4, input_frames=5, decoders=("reconstruction",), output="linear"
    )
    torch.manual_seed(0)
    model = LSTMAutoencoder(config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = fit(model, clips, TrainConfig(steps=1, batch_size=4, amp="off"), loss=loss, verbose=False)
    assert rows
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    del sys.modules["loss_of_mine"]
