"""How commands are called: `video-ae COMMAND`, `python -m video_ae COMMAND`, and the scripts of a checkout."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from video_ae import LSTMAutoencoder, ModelConfig, evaluate
from video_ae.__main__ import main
from video_ae.datasets.config import DataConfig
from video_ae.datasets.video_cache import VideoCache
from video_ae.datasets.videos import Video
from video_ae.shell import as_typed, command_line

ROOT = Path(__file__).parent.parent
MODULE = "python -m video_ae"


def test_help_lists_every_command_in_a_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for command in ("demo", "train", "evaluate", "percepts", "cache", "hub"):
        assert sum(line.startswith(f"    {command} ") for line in lines) == 1


@pytest.mark.parametrize("words", [["paint"], [], ["--composite", "train"]])
def test_what_is_no_command_is_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "train", "evaluate", "percepts", "cache", "hub"])
def test_words_after_the_command_are_its_own(command, capsys):
    """`--help` among them, and the exit code of what is wrong with them."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "show this help" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main([command, "--no-such-flag"])
    assert ended.value.code == 2


def test_an_error_of_a_command_is_the_exit_code(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 1
    assert "expected the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize("call", ["train.py", "-m video_ae train"])
def test_usage_is_what_was_typed(call):
    words = [sys.executable, *call.split(), "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: {'' if call == 'train.py' else 'python '}{call} ")
    assert f"\npython {call} --composite" in done.stdout


@pytest.mark.parametrize(
    ("called", "train", "hub", "many"),
    [
        ("train.py", "python train.py", f"{MODULE} hub", "torchrun -n 2 train.py"),
        ("/usr/bin/video-ae", "video-ae train", "video-ae hub", "torchrun -n 2 -m video_ae train"),
        ("video_ae/__main__.py", f"{MODULE} train", f"{MODULE} hub", "torchrun -n 2 -m video_ae train"),
        ("pytest/__main__.py", "python train.py", f"{MODULE} hub", "torchrun -n 2 train.py"),
    ],
)
def test_examples_are_called_as_the_process_was(monkeypatch, called, train, hub, many):
    monkeypatch.setattr(sys, "argv", [called, "--help"])
    text = f"python train.py -b 8\ntorchrun -n 2 train.py -b 8\n{MODULE} hub RUN"
    assert as_typed(text).splitlines() == [f"{train} -b 8", f"{many} -b 8", f"{hub} RUN"]


@pytest.mark.parametrize(
    ("called", "typed"),
    [
        ("my code/train.py", "python 'my code/train.py'"),
        ("/usr/bin/video-ae", "video-ae"),
        ("/home/me/video_ae/__main__.py", MODULE),  # which Python cannot run as a script
    ],
)
def test_a_command_is_shown_as_it_can_be_typed_again(called, typed):
    assert command_line([called, "train", "--data-dir", "my videos"]) == f"{typed} train --data-dir 'my videos'"


def test_the_shipped_model_predicts_what_moves(tmp_path, monkeypatch, capsys):
    """Catches weights that were left out of the package or lost their precision: they had 305.6 nats, mean frame 745.5.

    A folder of that name in the working directory comes first.
    """
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--pretrained"]) == 0
    assert "runs/demo-pretrained/moving-digits-0.gif" in capsys.readouterr().out
    with Image.open(tmp_path / "runs" / "demo-pretrained" / "moving-digits-0.gif") as animation:
        assert animation.n_frames == 20
    model = LSTMAutoencoder.from_pretrained("moving-digits")
    clips = DataConfig().open("test", 20).__getitems__(range(30))
    assert evaluate(model, clips)["future"]["nats"] < 340
    (tmp_path / "moving-digits").mkdir()
    LSTMAutoencoder(ModelConfig(hidden_size=3)).save_pretrained("moving-digits")
    assert LSTMAutoencoder.from_pretrained("moving-digits").config.hidden_size == 3


def test_a_demo_that_trains_nothing_takes_no_budget(capsys):
    """`--pretrained --max-minutes 1` ignored the minutes."""
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--pretrained", "--max-minutes", "1"])
    assert ended.value.code == 2
    assert "not allowed with argument --pretrained" in capsys.readouterr().err


def test_the_cache_is_listed_and_cleared(tmp_path, monkeypatch, capsys):
    """Catches sizes of the wrong entry, and a command that removes what it was not told to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["cache"]) == 0
    assert "0 MB in 0 entries (empty)" in capsys.readouterr().out
    for number, grey in enumerate((True, False)):
        cache = VideoCache({"image_size": 8, "grey": grey})
        file = tmp_path / f"{number}.avi"
        file.write_bytes(bytes([number]))
        rows = [np.zeros((500, 1000 * (number + 1)), np.uint8)] * 2
        cache.decode([Video(file, f"v{number}", "", "")], lambda video, content, rows=rows: rows)
    assert main(["cache"]) == 0
    first, second, total = capsys.readouterr().out.splitlines()
    assert " 3 MB " in first  # two rows of a megabyte, and a header
    assert first.endswith("1 videos  image_size 8")
    assert second.endswith("1 videos  image_size 8, grey")
    assert "in 2 entries" in total
    assert main(["cache", "--clear", "nothing"]) == 1
    assert "no entry nothing in the cache" in capsys.readouterr().err
    assert main(["cache", "--clear", first.split()[0]]) == 0
    assert [path.name for path in (tmp_path / "video_ae" / "videos").iterdir()] == [second.split()[0]]
    assert main(["cache", "--clear"]) == 0
    assert not list((tmp_path / "video_ae" / "videos").iterdir())
