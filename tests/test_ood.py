"""Out of domain: each setting is what it is called, judged as predict would judge it, beside baselines of its own."""

import json

import numpy as np
import pytest

from video_ae import ModelConfig
from video_ae.commands import evaluate, train
from video_ae.commands.tasks.ood import settings
from video_ae.datasets.config import DataConfig

TRAINING = ["-b", "4", "--steps", "2", "--hidden-size", "6", "--device", "cpu", "--validation-clips", "8"]
SHAPE = ["--image-size", "32", "--input-frames", "3", "--future-frames", "2"]
DENSE, CONVOLUTIONAL = ModelConfig(), ModelConfig(cell="conv", patch_size=8)


@pytest.mark.parametrize(
    ("trained_on", "config", "expected"),
    [
        (
            DataConfig(),
            DENSE,
            {
                "as trained": {},
                "1 digit": {"num_digits": 1},
                "3 digits": {"num_digits": 3},
                "1.8 pixels per frame": {"speed": (1.8, 1.8)},
                "7.2 pixels per frame": {"speed": (7.2, 7.2)},
            },
        ),
        (
            DataConfig(digits="mnist", num_digits=1, speed=(2, 5), image_size=40),
            CONVOLUTIONAL,
            {
                "as trained": {},
                "2 digits": {"num_digits": 2},
                "1 to 2.5 pixels per frame": {"speed": (1, 2.5)},
                "4 to 10 pixels per frame": {"speed": (4, 10)},
                "optical digits": {"digits": "optical"},
                "56x56 pixels": {"image_size": 56},
            },
        ),
    ],
)
def test_settings_differ_in_one_thing_each(trained_on, config, expected):
    """56 is 60 down to whole patches; a clip without digits, 0, is no setting."""
    found = settings(trained_on, trained_on, config)
    assert list(found) == list(expected)
    for name, data in found.items():
        changed = {key: value for key, value in data.facts().items() if value != trained_on.facts()[key]}
        assert {key: value for key, value in changed.items() if key not in ("data_dir", "download")} == expected[name]


def test_flags_add_a_setting_and_standing_still_is_one_setting():
    still = DataConfig(speed=(0, 0))
    found = settings(still, DataConfig(speed=(0, 0), digits="mnist", num_digits=4), DENSE)
    assert list(found) == ["as trained", "1 digit", "3 digits", "4 digits mnist digits"]


def test_a_setting_is_judged_as_predict_judges_it(tmp_path, capsys):
    """Catches a setting that is named one thing and opened as another, and baselines of the wrong clips."""
    run, out = str(tmp_path / "run"), tmp_path / "out"
    conv = ["--cell", "conv", "--patch-size", "8"]
    assert train.command(["--composite", *conv, *SHAPE, *TRAINING, "--output-dir", run]) == 0
    words = ["--clips", "6", "--device", "cpu", "--output-dir"]
    assert evaluate.command([run, "--tasks", "ood", *words, str(out)]) == 0
    rows = json.loads((out / "ood.json").read_text())["settings"]
    flags = {"3 digits": ["--num-digits", "3"], "48x48 pixels": ["--image-size", "48"], "as trained": []}
    for name, changed in flags.items():
        assert evaluate.command([run, *words, str(tmp_path / name), *changed]) == 0
        alone = json.loads((tmp_path / name / "predict.json").read_text())
        for part in ("future", "reconstruction", "baselines"):
            assert rows[name][part] == alone[part]
    stems = [f"ood-{name.replace(' ', '-')}" for name in rows]
    kinds = (".png", ".gif", "-sheet.png")
    pictures = {path.name for path in out.iterdir() if path.suffix in (".png", ".gif")}
    assert pictures == {stem + kind for stem in stems for kind in kinds}
    report = (out / "report.html").read_text()
    assert "could not be shown" not in report
    assert report.count('class="sheet"') == len(rows)  # all settings play, and the training's own first
    assert report.index("as trained, the truth above") < report.index("3 digits, the truth above")
    printed = capsys.readouterr().out
    assert "7.2 pixels per frame" in printed
    assert "--digits mnist --data-dir FOLDER" in printed


def test_other_data_are_one_clear_line(tmp_path, capsys):
    np.save(tmp_path / "frames.npy", np.random.default_rng(0).integers(0, 255, (20, 6, 32, 32), dtype=np.uint8))
    source = ["--dataset", "array", "--data-dir", str(tmp_path / "frames.npy")]
    run = str(tmp_path / "run")
    assert train.command(["--reconstruct", *source, "--input-frames", "3", *TRAINING, "--output-dir", run]) == 0
    assert evaluate.command([run, "--tasks", "ood"]) == 1
    assert "ood changes how digits move; found --dataset array" in capsys.readouterr().err
