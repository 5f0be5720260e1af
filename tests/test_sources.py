"""What the package knows of a data set is in one place, which may be anybody's."""

import json
import sys
from dataclasses import fields
from importlib import import_module

import pytest

from video_ae.commands import evaluate, train
from video_ae.config import ModelConfig
from video_ae.datasets.config import DataConfig
from video_ae.datasets.names import DATASETS
from video_ae.datasets.source import SOURCES

MODULE = """
import numpy as np
from video_ae.datasets.source import StoredSource, register
from video_ae.datasets.video_arrays import VideoArrays, VideoRecord


@register
class Waves(StoredSource):
    name = "waves"
    fields = ("image_size", "layout")
    defaults = {"image_size": 8}
    square = True
    labelled = False
    model = {"output": "linear", "input_frames": 4, "future_frames": 3}

    def fields_read(self, config):
        return set(self.fields)

    def arrays(self, config, frames, division=None):
        moments = np.arange(20)[:, None, None, None]
        columns = np.arange(config.side)[:, None]
        videos = [np.broadcast_to(127 + 127 * np.sin(moments + columns + k), (20, config.side, config.side, 1))
                  for k in range(12)]
        arrays = [video.astype(np.uint8) for video in videos]
        records = [VideoRecord(str(k), "", str(k), video.shape, "uint8") for k, video in enumerate(arrays)]
        return VideoArrays(records, arrays.__getitem__)
"""


@pytest.fixture
def waves(tmp_path, monkeypatch):
    """A data set in a module of its own, outside of the package."""
    (tmp_path / "waves_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("waves_of_mine")
    del sys.modules["waves_of_mine"], SOURCES["waves"], DATASETS["waves"]


def test_a_data_set_is_one_file(waves, tmp_path, capsys):
    """It is trained on and evaluated by its name, asks for its own model, and has the flags that it reads alone."""
    run = tmp_path / "run"
    words = ["--composite", "--dataset", "waves", "--hidden-size", "8", "-b", "4", "--device", "cpu"]
    assert train.command([*words, "--steps", "2", "--output-dir", str(run)]) == 0
    stored = json.loads((run / "config.json").read_text())
    assert (stored["data"]["dataset"], stored["data"]["image_size"]) == ("waves", 8)
    assert stored["model"]["frame_shape"] == [1, 8, 8]
    asked = {"output": "linear", "input_frames": 4, "future_frames": 3}
    assert asked.items() <= stored["model"].items()
    division = json.loads((run / "division.json").read_text())["parts"]
    assert [len(division[part]) for part in ("train", "validation", "test")] == [10, 1, 1]
    assert train.command(["--resume", "--steps", "3", "--output-dir", str(run), "--device", "cpu"]) == 0
    assert evaluate.command([str(run), "--device", "cpu"]) == 0
    assert json.loads((run / "evaluation" / "predict.json").read_text())["dataset"] == "waves"
    for more, message in (
        (["--grey"], "--grey changes nothing for --dataset waves"),
        (["--image-size", "8", "9"], "expected one number for --dataset waves"),
    ):
        assert train.command([*words, *more, "--output-dir", str(tmp_path / "other")]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="--dataset waves has no classes"):
        DataConfig("waves").open_labelled("test", 4, task="", clips=1)


def test_without_its_module_a_data_set_is_unknown():
    with pytest.raises(ValueError, match=r"unknown data set 'waves': expected one of .*moving-mnist"):
        DataConfig("waves")


def test_every_data_set_reads_fields_that_there_are_and_the_model_has():
    """A field that is misspelt would be a flag that is always refused."""
    known = {field.name for field in fields(DataConfig)}
    for source in (DataConfig(name).source for name in DATASETS):
        assert set(source.fields) | source.defaults.keys() <= known
        assert ModelConfig(**source.model)


def test_flags_tell_the_defaults_of_the_fields(capsys):
    with pytest.raises(SystemExit):
        train.parse_arguments(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "video-patches are the paper's (default: 64)" in told
    assert DataConfig().changed_by({"dataset": "video-patches"}).image_size == 32
    assert "(default: 3.6 3.6)" in told
    assert "nevertheless (default: 0)" in told
