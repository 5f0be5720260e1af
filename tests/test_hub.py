"""What leaves the house: three files, a card without the trainer's paths, and nothing before it is asked for."""

import fnmatch
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from video_ae import LSTMAutoencoder, LSTMClassifier, ModelConfig
from video_ae.commands import evaluate, hub, train
from video_ae.report.card import model_card

FILES = {"config.json", "model.safetensors", "README.md"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Trained and evaluated, with a path in its config that is nobody's business."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    small = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2", "-b", "4"]
    sizes = ["--cell", "lstm", "--hidden-size", "6", "--steps", "2", "--device", "cpu", "--validation-clips", "4"]
    assert train.command(["--composite", *small, *sizes, "--output-dir", str(folder)]) == 0
    words = [str(folder), "--device", "cpu", "--output-dir", str(folder / "evaluation")]
    assert evaluate.command([*words, "--clips", "6"]) == 0
    stored = json.loads((folder / "config.json").read_text())
    stored["data"]["data_dir"] = "/home/somebody/secret"
    del stored["sha256"]  # changed on purpose
    (folder / "config.json").write_text(json.dumps(stored))
    return folder


class Hub:
    """The network's other end: repositories are folders. Stands for `HfApi` and for `snapshot_download`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.private, self.calls = folder, {}, 0
        self.branches, self.tokens = set(), []

    def at(self, repo_id: str, revision: str | None) -> str:
        """The folder of a branch."""
        assert revision is None or (repo_id, revision) in self.branches
        return repo_id if revision is None else f"{repo_id}@{revision}"

    def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> str:
        self.calls += 1
        assert exist_ok
        self.private.setdefault(repo_id, bool(private))  # an existing one stays as it is
        return f"https://huggingface.co/{repo_id}"

    def model_info(self, repo_id: str) -> SimpleNamespace:
        return SimpleNamespace(private=self.private[repo_id])

    def create_branch(self, repo_id: str, *, branch: str, exist_ok: bool) -> None:
        assert exist_ok
        self.branches.add((repo_id, branch))

    def upload_folder(
        self, *, repo_id: str, revision: str | None, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> None:
        repo_id = self.at(repo_id, revision)
        for path in Path(folder_path).rglob("*"):
            name = path.relative_to(folder_path).as_posix()
            if path.is_file() and any(fnmatch.fnmatchcase(name, pattern) for pattern in allow_patterns):
                (self.folder / repo_id / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, self.folder / repo_id / name)

    def snapshot_download(
        self, repo_id: str, *, revision: str | None, token: str | None, allow_patterns: list[str]
    ) -> str:
        self.calls += 1
        self.tokens.append(token)
        assert set(allow_patterns) == {"config.json", "model.safetensors"}
        return str(self.folder / self.at(repo_id, revision))


@pytest.fixture
def network(tmp_path, monkeypatch) -> Hub:
    network = Hub(tmp_path / "network")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda token: network)
    monkeypatch.setattr("huggingface_hub.snapshot_download", network.snapshot_download)
    return network


def small(**choices) -> LSTMAutoencoder:
    return LSTMAutoencoder(ModelConfig(**({"frame_shape": (1, 4, 4), "hidden_size": 5} | choices)))


def test_the_folder_holds_the_model_and_a_card_written_from_the_run(run, network, tmp_path, capsys):
    out = tmp_path / "new" / "exported"
    assert hub.command([str(run), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == FILES
    assert [path.name for path in out.parent.iterdir()] == ["exported"]
    assert network.calls == 0  # nothing is sent without --push
    assert "written" in capsys.readouterr().out
    clips = torch.rand(2, 3, 1, 28, 28)
    expected = LSTMAutoencoder.from_pretrained(run).encode(clips)
    assert torch.equal(LSTMAutoencoder.from_pretrained(out).encode(clips), expected)

    _, front_matter, card = (out / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front_matter) == {
        "library_name": "video-ae",
        "license": "mit",
        "pipeline_tag": "feature-extraction",
        "tags": ["video", "lstm", "autoencoder", "self-supervised-learning"],
    }
    results = json.loads((run / "evaluation" / "predict.json").read_text())
    for fact in ("frames of 1x28x28", "6 LSTM units", "dataset: moving-mnist", "num digits: 1", "sequences seen: 8"):
        assert fact in card
    assert f"{results['future']['nats']:.1f}" in card
    assert "6 test clips" in card
    assert "secret" not in card
    assert str(run) not in card


def test_push_uploads_three_files_and_download_brings_them_back(run, network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert hub.command([str(run), "--push", "somebody/digits", "--private"]) == 0
    assert "pushed   https://huggingface.co/somebody/digits" in capsys.readouterr().out
    stored = network.folder / "somebody" / "digits"
    assert {path.relative_to(stored).as_posix() for path in stored.rglob("*")} == FILES
    assert 'from_pretrained("somebody/digits", download=True)' in (stored / "README.md").read_text()
    assert network.private == {"somebody/digits": True}
    assert [path.name for path in tmp_path.iterdir()] == ["network"]  # no folder is left without --out

    clips = torch.rand(2, 3, 1, 28, 28)
    fetched = LSTMAutoencoder.from_pretrained("somebody/digits", download=True)
    assert torch.equal(fetched.encode(clips), LSTMAutoencoder.from_pretrained(run).encode(clips))
    calls = network.calls
    with pytest.raises(FileNotFoundError, match="needs download=True"):
        LSTMAutoencoder.from_pretrained("somebody/digits")
    LSTMAutoencoder.from_pretrained(run, download=True)  # a folder that is there is taken
    assert network.calls == calls
    with pytest.raises(FileNotFoundError, match=r"no config.json with model.safetensors"):
        LSTMAutoencoder.from_pretrained("somebody/nothing", download=True)


def test_a_revision_and_a_token_reach_the_hub(run, network, tmp_path, monkeypatch):
    """Catches a model of the main branch in place of the one that was asked for."""
    monkeypatch.chdir(tmp_path)
    other = small()
    other.save_pretrained(tmp_path / "other")
    assert hub.command([str(run), "--push", "somebody/digits"]) == 0
    assert hub.command([str(tmp_path / "other"), "--push", "somebody/digits", "--revision", "v2"]) == 0
    fetched = LSTMAutoencoder.from_pretrained("somebody/digits", download=True, revision="v2", token="hf_mine")
    assert fetched.config == other.config
    assert LSTMAutoencoder.from_pretrained("somebody/digits", download=True).config.frame_shape == (1, 28, 28)
    assert network.tokens == ["hf_mine", None]
    for more, message in (({}, "give download=True"), ({"download": True}, "a folder of this name here")):
        for asked in ({"revision": "v2"}, {"token": "hf_mine"}):
            with pytest.raises(ValueError, match=message):
                LSTMAutoencoder.from_pretrained(run, **more, **asked)


def test_a_classifier_comes_from_the_hub_too(network):
    classifier = LSTMClassifier.from_encoder(small().encoder, ["left", "right"])
    network.branches.add(("somebody/classes", "v2"))
    classifier.save_pretrained(network.folder / "somebody" / "classes@v2")
    fetched = LSTMClassifier.from_pretrained("somebody/classes", download=True, revision="v2")
    assert fetched.config.class_names == ("left", "right")


def test_an_edited_card_is_pushed_as_it_is_and_other_files_stay(network, tmp_path):
    folder = tmp_path / "exported"
    small().save_pretrained(tmp_path / "model")
    hub.write_folder(tmp_path / "model", folder)
    (folder / "README.md").write_text("my words")
    (folder / "notes.txt").write_text("secret")
    (folder / "more").mkdir()
    (folder / "more" / "config.json").write_text("{}")
    assert hub.push_to_hub(folder, "somebody/other").endswith("somebody/other")
    stored = network.folder / "somebody" / "other"
    assert {path.relative_to(stored).as_posix() for path in stored.rglob("*")} == FILES
    assert (stored / "README.md").read_text() == "my words"
    assert network.private == {"somebody/other": False}
    with pytest.raises(ValueError, match=r"exists and is public; make it private"):
        hub.push_to_hub(folder, "somebody/other", private=True)


@pytest.mark.parametrize(
    "choices",
    [
        {"decoders": ("future",), "conditional": ("future",), "patch_size": 2},
        {"frame_shape": (8, 1, 1), "hidden_size": (6, 4), "output": "linear", "peephole": True},
        {"code_size": 3, "variational": True, "repeat_code": True, "decoders": ("reconstruction",)},
        {"cell": "conv", "patch_size": 2},
    ],
)
def test_a_card_without_a_run_says_what_the_model_is(choices, tmp_path):
    small(**choices).save_pretrained(tmp_path)
    card = model_card(tmp_path, "USER/NAME")
    assert ("predicts the 10 that follow" in card) == ("future" in choices.get("decoders", ["future"]))
    assert ("vectors of 8 features" in card) == ("frame_shape" in choices)
    assert ("clip" in card or "- video" in card) == ("frame_shape" not in choices)  # sensors film nothing
    assert ("convolutional LSTM units at every patch" in card) == ("cell" in choices)
    assert ("and no others" in card) == ("cell" not in choices)
    assert ("3 numbers, variational" in card) == ("code_size" in choices)
    assert "Training" not in card
    assert "None" not in card


def test_the_card_of_a_series_subtracts_what_training_subtracted(tmp_path):
    """A counter at 1e8 is rounded away in float32; the card's own code must not answer wrongly in silence."""
    steps = np.arange(300)
    table = pd.DataFrame({"load": np.sin(steps / 5), "count": 1e8 + 3 * np.cos(steps / 5)})
    table.to_csv(tmp_path / "series.csv", index=False)
    sizes = ["--hidden-size", "6", "--steps", "2", "-b", "4", "--input-frames", "8", "--future-frames", "3"]
    data = ["--dataset", "sequences", "--data-dir", str(tmp_path / "series.csv"), "--device", "cpu"]
    assert train.command(["--composite", *data, *sizes, "--output-dir", str(tmp_path / "run")]) == 0
    assert evaluate.command([str(tmp_path / "run"), "--device", "cpu"]) == 0
    card = model_card(tmp_path / "run", "USER/NAME")
    assert "- columns: load, count\n" in card
    assert "ignore columns" not in card  # none were
    code = card.split("```python\n")[1].split("```")[0].replace('"USER/NAME", download=True', "run")
    given = torch.tensor(table.to_numpy()[None, :8])  # float64
    names = {"run": tmp_path / "run", "sequences": given}
    exec(code, names)
    assert not torch.equal(names["codes"], names["model"].encode(given.float()))
    assert (names["future"][..., 1] - 1e8).abs().max() < 10
    assert names["rebuilt"].dtype == torch.float64


def test_a_card_does_not_tell_where_the_division_lies(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for path, part in ((folder / "config.json", "data"), (folder / "evaluation" / "predict.json", None)):
        stored = json.loads(path.read_text())
        (stored if part is None else stored[part])["split_file"] = "/home/somebody/parts.csv"
        path.write_text(json.dumps(stored))
    assert "somebody" not in model_card(folder, "USER/NAME")


def test_what_cannot_be_exported_is_one_line(run, network, tmp_path, monkeypatch, capsys):
    def error(*words: str) -> str:
        assert hub.command(list(words)) == 1
        return capsys.readouterr().err

    assert "not an empty folder; choose another --out" in error(str(run), "--out", str(run))
    assert "no config.json with model.safetensors" in error(str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    classifier = tmp_path / "classifier"
    LSTMClassifier.from_encoder(small().encoder, ("a", "b")).save_pretrained(classifier)
    assert "unknown keys" in error(str(classifier), "--push", "somebody/classifier")

    old = tmp_path / "old"
    shutil.copytree(run, old)
    path = old / "evaluation" / "predict.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps(results | {"sequences_seen": 4}))
    assert "an evaluation of 4 sequences, not 8; say evaluate.py" in error(str(old), "--push", "somebody/old")
    path.write_text(json.dumps(results | {"num_digits": 3}))
    assert "an evaluation of other num_digits" in error(str(old), "--out", str(tmp_path / "out"))
    path.unlink()
    assert "Not evaluated." in model_card(old, "USER/NAME")
    (old / "model" / "model.safetensors").write_bytes(b"damaged")
    assert "damaged" in error(str(old), "--push", "somebody/old")
    assert network.calls == 0
    assert not (tmp_path / "out").exists()

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'huggingface_hub is not installed; pip install "video-ae\[hub\]"'):
        hub.push_to_hub(run, "somebody/run")


@pytest.mark.parametrize("words", [[], ["--out", "x", "--private"]])
def test_flags_that_do_nothing_are_refused(words):
    with pytest.raises(SystemExit):
        hub.parse_arguments(["run", *words])
