"""The wheel, and what importing the package costs."""

import dataclasses
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

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
    assert {"video_ae/datasets/moving_mnist.py", "video_ae/tasks/predict.py"} <= set(names)
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


def test_loaders_and_models_do_not_import_each_other():
    """Data flows one way: the two packages meet in the scripts only."""
    for folder, other in (("datasets", "video_ae"), ("video_ae", "datasets")):
        for path in (ROOT / folder).rglob("*.py"):
            for line in path.read_text().splitlines():
                assert not line.lstrip().startswith((f"from {other}", f"import {other}")), f"{path}: {line}"


def test_configs_survive_json():
    for config in (ModelConfig(conditional=("future",), patch_size=8), TrainConfig(steps=5)):
        assert from_json(type(config), json.loads(json.dumps(dataclasses.asdict(config))), "here") == config
