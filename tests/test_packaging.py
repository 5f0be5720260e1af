"""The wheel, and what importing the package costs."""

import ast
import dataclasses
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import video_ae
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
    top_level = {name.split("/")[0] for name in names}
    assert {name for name in top_level if not name.endswith(".dist-info")} == {"video_ae"}
    packaged = {f"video_ae/{path.relative_to(ROOT / 'video_ae')}" for path in (ROOT / "video_ae").rglob("*.*")}
    packaged |= {f"video_ae/{path.relative_to(ROOT)}" for path in (ROOT / "datasets").rglob("*.py")}
    assert {name for name in packaged if "__pycache__" not in name} <= set(names)
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(installed)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)

    def said_by(*command: str) -> str:
        """What a process prints that finds the wheel, and no checkout."""
        where = {"cwd": tmp_path, "env": {"PYTHONPATH": str(installed)}}
        return subprocess.run(
            [sys.executable, "-P", *command], **where, capture_output=True, text=True, check=True
        ).stdout

    code = "from video_ae.datasets.config import DataConfig; print(DataConfig().open('train', 20)[0].shape)"
    assert said_by("-c", code) == "torch.Size([20, 1, 64, 64])\n"
    usage = said_by(str(installed / "bin" / "video-ae"), "train", "--help")
    assert usage.startswith("usage: video-ae train ")
    assert "train.py" not in usage

    tiny = "--composite --cell lstm --hidden-size 4 --steps 2 -b 2 --validation-clips 2 --device cpu"
    command = str(installed / "bin" / "video-ae")
    assert "video-ae evaluate" in said_by(command, "train", *tiny.split(), "--output-dir", "mine")
    said = said_by(command, "evaluate", "mine", "--clips", "2")
    assert "report   mine/report.html" in said
    assert (tmp_path / "mine" / "report.html").is_file()
    (tmp_path / "own.py").write_text(OWN)
    assert said_by("own.py") == "3 steps seen, 2 clips judged\n"


OWN = """
import torch
from torch.utils.data import Dataset
from video_ae import LSTMAutoencoder, ModelConfig, TrainConfig, evaluate, fit

class Clips(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return torch.full((20, 3, 16, 16), 60 * index, dtype=torch.uint8)

seen = []
model = LSTMAutoencoder(ModelConfig(frame_shape=(3, 16, 16), hidden_size=8))
history = fit(
    model, Clips(), TrainConfig(steps=3, batch_size=2), validation=Clips(), output_dir="own", verbose=False,
    callbacks=[lambda step, metrics, model: seen.append(step)],
)
print(len(set(seen)), "steps seen,", evaluate(model, [Clips()[0], Clips()[3]])["clips"], "clips judged")
"""


PARTS = {  # of the package, and which others each may import
    "datasets": {"datasets"},
    "core": {"core", "datasets"},
    "onnx": {"onnx", "core", "datasets"},
    "report": {"report", "core", "datasets"},
    "commands": {"commands", "report", "onnx", "core", "datasets"},
}


def part_of(module: str) -> str:
    """The part that a module is in, `datasets` of the checkout under its full name: `video_ae.datasets.videos`."""
    words = module.split(".")
    return words[1] if len(words) > 1 and words[1] in PARTS else "core"


def imported_by(source: str, module: str) -> Iterator[str]:
    """Full names of what the module `module` imports from this package, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = module.split(".")[: -node.level] if node.level else []
            names = [".".join([*inside, *filter(None, [node.module]), alias.name]) for alias in node.names]
        yield from (name for name in names if name.partition(".")[0] in ("video_ae", "datasets"))


def test_imports_go_down():
    """Commands stand on pages, ONNX, models and loaders; models know neither of those, and loaders know no models."""
    for path in [*(ROOT / "video_ae").rglob("*.py"), *(ROOT / "datasets").rglob("*.py")]:
        words = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(words if words[0] == "video_ae" else ("video_ae", *words))
        if module == "video_ae.__main__":
            continue  # names the commands, and imports the one that is called
        for name in imported_by(path.read_text(), module):
            assert name.startswith("video_ae"), f"{path}: {name}; loaders have one name, video_ae.datasets"
            assert part_of(name) in PARTS[part_of(module)], f"{path}: {name}"


def test_no_module_has_two_names():
    """Loaded as `datasets.x` and as `video_ae.datasets.x`, it would have every class twice."""
    code = """
import collections, importlib, pathlib, pkgutil, sys
import video_ae.commands, train, evaluate

for module in pkgutil.walk_packages(video_ae.commands.__path__, "video_ae.commands."):
    importlib.import_module(module.name)
names = collections.defaultdict(set)
for name, module in sys.modules.items():
    if name.startswith(("video_ae", "datasets", "train", "evaluate")):
        names[pathlib.Path(module.__file__).resolve()].add(name)
assert len(names) > 60, names
print([each for each in names.values() if len(each) > 1])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_checkout_that_is_not_installed_has_its_loaders():
    """They are those beside it, whatever other checkout is installed."""
    code = "import video_ae.datasets.config as module; print(module.__file__)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).resolve() == ROOT / "datasets" / "config.py"


def test_public_names_are_listed():
    assert set(video_ae.__all__) <= set(dir(video_ae))
    assert all(getattr(video_ae, name).__name__ == name for name in video_ae.__all__)


def modules_after(code: str, *names: str) -> set[str]:
    """Which of the modules `names` a fresh interpreter has imported after `code`."""
    report = f"import atexit, sys; atexit.register(lambda: print('imported', *({set(names)} & sys.modules.keys())))"
    done = subprocess.run(
        [sys.executable, "-c", f"{report}\n{code}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.rsplit("imported", 1)[1].split())


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["evaluate", "--help"], ["hub", "--help"]])
def test_help_imports_nothing_heavy(words):
    """An import at the top of a config or of the command line would make `--help` take seconds."""
    code = f"from video_ae.__main__ import main; main({words})"
    assert not modules_after(code, "torch", "numpy", "cv2", "sklearn", "matplotlib", "PIL")


def test_the_first_step_waits_for_no_pictures_and_no_other_library(tmp_path):
    """matplotlib, torchvision and scikit-learn with scipy take seconds to import; none is needed before the step."""
    code = f"""
import video_ae.training
from video_ae.commands import train

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
