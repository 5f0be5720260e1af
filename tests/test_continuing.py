"""What was fitted goes on: more passes, more data, another process."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from video_ae import SequenceAutoencoder

SMALL = {"hidden_size": 8, "code_size": 2, "random_state": 0}


def waves(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    phase, speed = random.uniform(0, 2 * np.pi, (count, 1)), random.uniform(0.3, 0.7, (count, 1))
    return np.sin(phase + speed * np.arange(16))[:, :, None] * [1, 10]


def test_partial_fit_learns_on_and_keeps_the_scale():
    """A model that begins anew at every call would not get better; one that takes the scale of each part, worse."""
    first, second = waves(100, 0), waves(100, 1)
    model = SequenceAutoencoder(batch_size=4, **SMALL).partial_fit(first)
    scale, before = model.model_.encoder.std.clone(), model.score(3 * second)
    for _ in range(10):
        model.partial_fit(3 * second)
    assert (model.model_.encoder.std == scale).all()
    assert model.score(3 * second) > 0.5 * before
    assert model.n_iter_ == len(model.loss_curve_) == 11
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(first[:, :, :1])
    with pytest.raises(ValueError, match="stop early"):
        SequenceAutoencoder(early_stopping=True).partial_fit(first)


def test_the_first_pass_of_partial_fit_is_that_of_fit_and_a_second_is_another():
    data = waves(60, 0)
    one = SequenceAutoencoder(max_iter=1, **SMALL).fit(data)
    other = SequenceAutoencoder(max_iter=9, **SMALL).partial_fit(data)
    np.testing.assert_array_equal(one.transform(data), other.transform(data))
    orders = SequenceAutoencoder(noise=1.0, batch_size=60, learning_rate=1e-12, **SMALL)
    for _ in range(2):
        orders.partial_fit(data)
    assert len(set(orders.loss_curve_)) == 2, "the random numbers of a pass come again"


def test_warm_start_goes_on_and_fit_begins_anew():
    data = waves(60, 0)
    warm = SequenceAutoencoder(max_iter=5, warm_start=True, **SMALL).fit(data)
    first = warm.score(data)
    assert warm.fit(data).n_iter_ == 10
    assert warm.score(data) > first
    warm.set_params(hidden_size=9)
    with pytest.raises(ValueError, match="hidden_size"):
        warm.fit(data)
    cold = SequenceAutoencoder(max_iter=5, **SMALL).fit(data)
    assert cold.fit(data).score(data) == first
    assert cold.n_iter_ == 5


def loaded_elsewhere(folder, code: str) -> str:
    """What another process prints that loads the model, without pickle."""
    script = f"""
import pickle, sys
import numpy as np
pickle.loads = pickle.load = pickle.Unpickler = None
from video_ae import SequenceAutoencoder
model = SequenceAutoencoder.load({str(folder)!r})
{code}
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def test_saved_and_loaded_elsewhere_everything_is_the_same(tmp_path):
    """Offsets of large values, constant features, names and the window decide what comes out as weights do."""
    steps = np.arange(80.0)
    frame = pd.DataFrame({"wave": np.sin(steps / 3), "counter": 1e9 + 3 * np.cos(steps / 5), "always": 4.0})
    model = SequenceAutoencoder("composite", window="auto", future_steps=3, max_iter=2, hidden_size=(6, 5), code_size=2)
    model.set_params(window=np.int64(20), random_state=1)
    model.fit(frame)
    model.save(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "config.json",
        "estimator.json",
        "model.safetensors",
    ]
    np.save(tmp_path / "series.npy", frame.to_numpy())
    said = loaded_elsewhere(
        tmp_path / "saved",
        f"X = np.load({str(tmp_path / 'series.npy')!r})\n"
        "import pandas as pd; X = pd.DataFrame(X[:, ::-1], columns=['always', 'counter', 'wave'])\n"
        f"np.savez({str(tmp_path / 'found.npz')!r}, predict=model.predict(X), scores=model.score_steps(X))\n"
        "print(sorted(model.get_params().items()))",
    )
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["predict"], model.predict(frame))
        np.testing.assert_array_equal(found["scores"], model.score_steps(frame))
    assert said.strip() == str(sorted((model.get_params() | {"hidden_size": [6, 5], "window": 20}).items()))
    again = SequenceAutoencoder.load(tmp_path / "saved")
    assert again.loss_curve_ == model.loss_curve_
    with pytest.warns(UserWarning, match="'always'"):
        again.transform(frame.assign(always=5.0))
    again.partial_fit(frame)
    assert again.n_iter_ == 3


def test_a_folder_that_is_not_what_was_saved_is_refused(tmp_path):
    data = waves(20, 0)
    model = SequenceAutoencoder(max_iter=1, **SMALL).fit(data)
    model.save(tmp_path)
    path = tmp_path / "estimator.json"
    good = path.read_text()
    for change, match in (
        ({"format": 2}, "format"),
        ({"weights_sha256": "0"}, "another one"),
        ({"learnt": {}}, "another version"),
        ({"parameters": {"code": "import os"}}, "another version"),
        ({"parameters": json.loads(good)["parameters"] | {"max_iter": "many"}}, "max_iter"),
        ({"learnt": json.loads(good)["learnt"] | {"offsets_": [0.0]}}, "offsets"),
    ):
        path.write_text(json.dumps(json.loads(good) | change))
        with pytest.raises(ValueError, match=match):
            SequenceAutoencoder.load(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"SequenceAutoencoder\.save"):
        SequenceAutoencoder.load(tmp_path)
    model.set_params(random_state=np.random.RandomState(0))
    with pytest.raises(ValueError, match="random_state"):
        model.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()
