"""Line charts: which points of the results are on which line, and a picture that shows them."""

import numpy as np
import pytest
from PIL import Image

from video_ae.charts import compared_labels, error_chart, label_chart, save_chart, training_chart


def points(chart):
    return {line.name: list(zip(line.xs, line.ys, strict=True)) for line in chart.lines}


def test_training_curves_are_made_of_rows_as_runs_write_them(tmp_path):
    """A decoder that the model lacks has no points; a picture of a run without validation can be drawn."""
    rows = [
        {"step": 10, "sequences_seen": 160, "loss": 900.0, "future": 500.0},
        {"step": 10, "sequences_seen": 160, "validation": {"future": {"nats": 480.0}, "clips": 4}},
        {"step": 20, "sequences_seen": 320, "loss": 800.0, "future": 450.0},
    ]
    chart = training_chart(rows, "nats")
    found = {name: line for name, line in points(chart).items() if line}
    assert found == {"future, training": [(160, 500.0), (320, 450.0)], "future, validation": [(160, 480.0)]}
    save_chart(tmp_path / "new" / "training.png", chart)
    save_chart(tmp_path / "first.png", training_chart(rows[:1], "nats"))
    with Image.open(tmp_path / "new" / "training.png") as picture:
        orange = np.abs(np.asarray(picture.convert("RGB"), int) - (255, 127, 14)).max(axis=2) < 8
    assert orange.sum() > 20


@pytest.mark.parametrize("frames", [None, 5])
def test_errors_are_at_the_frames_that_they_are_of(frames):
    """Off by one, the model would seem to be judged a frame before the baselines."""
    results = {"future": {"per_step": {"mse": [1.0, 2.0]}}, "reconstruction": {"per_step": {"mse": [1.0, 2.0, 3.0]}}}
    results["baselines"] = {
        "floor": {"per_step": {"nats": [1.0, 1.0]}},
        "copy_last": {"per_step": {"mse": [3.0, 4.0]}},
        "mean_frame": {"per_step": {"mse": [3.0, None]}},
    }
    if frames:
        results["frames"] = frames
    chart, first = error_chart(results, "mse"), 4 if frames else 1
    assert points(chart) == {
        "reconstruction": [(1, 1.0), (2, 2.0), (3, 3.0)],
        "future": [(first, 1.0), (first + 1, 2.0)],
        "copy last": [(first, 3.0), (first + 1, 4.0)],
        "mean frame": [(first, 3.0), (first + 1, None)],
    }
    assert chart.x_label == ("frame" if frames else "step after the input")


def test_runs_of_one_shape_share_a_control(tmp_path):
    """One accuracy per label count; a run's name is not TeX, and a deviation of one seed is none."""
    row = {"labels_per_class": 2, "encoder_init": {"mean": 0.5, "std": 0.1}, "frozen": {"mean": 0.25, "std": None}}
    curve = [row | {"scratch": {"mean": 0.4, "std": 0.0}}]
    assert points(label_chart(curve)) == {
        "from the learned encoder": [(2, 0.5)], "encoder frozen": [(2, 0.25)], "from scratch": [(2, 0.4)]
    }  # fmt: skip
    chart = compared_labels({"0 $a$": {"classify": curve}, "1 $b": {"classify": [row]}})
    assert points(chart) == {"0 $a$": [(2, 0.5)], "1 $b": [(2, 0.5)], "from scratch, as 0 $a$": [(2, 0.4)]}
    save_chart(tmp_path / "compare.png", chart)
