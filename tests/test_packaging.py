"""The wheel, and what importing the package costs."""

import dataclasses
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from video_ae.config import ModelConfig, TrainConfig, from_json

ROOT = Path(__file__).parent.parent


def test_the_wheels_only_top_level_name_is_video_ae(tmp_path):
    """A top-level `datasets` would shadow Hugging Face's, a top-level `evaluate` theirs of that name."""
    source = tmp_path / "source"  # a clean copy: a leftover build folder would go into the wheel
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source)
    for name in ("video_ae", "datasets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    top_level = {name.split("/")[0] for name in names}
    assert {name for name in top_level if not name.endswith(".dist-info")} == {"video_ae"}
    expected = {"datasets/moving_mnist.py", "tasks/predict.py", "page.css", "page.js"}
    assert {f"video_ae/{name}" for name in expected} <= set(names)
    code = "from video_ae.datasets.config import DataConfig; print(DataConfig().open('train', 20)[0].shape)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "torch.Size([20, 1, 64, 64])\n"


def modules_after(code: str, *names: str) -> set[str]:
    """Which of the modules `names` a fresh interpreter has imported after `code`."""
    report = f"import atexit, sys; atexit.register(lambda: print('imported', *({set(names)} & sys.modules.keys())))"
    done = subprocess.run(
        [sys.executable, "-c", f"{report}\n{code}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.rsplit("imported", 1)[1].split())


@pytest.mark.parametrize("script", ["train", "evaluate"])
def test_help_imports_nothing_heavy(script):
    """An import at the top of a config or of the command line would make `--help` take seconds."""
    code = f"import {script}; {script}.parse_arguments(['--help'])"
    assert not modules_after(code, "torch", "numpy", "cv2", "sklearn", "matplotlib", "PIL")


def test_the_first_step_waits_for_no_pictures_and_no_other_library(tmp_path):
    """matplotlib, torchvision and scikit-learn with scipy take seconds to import; none is needed before the step."""
    code = f"""
import train, video_ae.training

def stop(*arguments):
    raise SystemExit

video_ae.training.train_step = stop
train.command(["--composite", "--hidden-size", "8", "--steps", "1", "--output-dir", {str(tmp_path / "run")!r}])
raise AssertionError("there was no step")
"""
    found = modules_after(code, "torch", "matplotlib", "torchvision", "sklearn", "scipy", "pandas", "onnx")
    assert found == {"torch"}


def test_configs_survive_json():
    for config in (ModelConfig(conditional=("future",), patch_size=8), TrainConfig(steps=5)):
        assert from_json(type(config), json.loads(json.dumps(dataclasses.asdict(config))), "here") == config
