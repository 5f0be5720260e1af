"""Streams: step by step what the whole sequence gives at once."""

import warnings

import numpy as np
import pytest
import torch

from video_ae import LSTMAutoencoder, ModelConfig, SequenceAutoencoder
from video_ae.anomaly import step_errors

SERIES = {"frame_shape": (5, 1, 1), "output": "linear", "input_frames": 6, "future_frames": 3, "hidden_size": 12}
PICTURES = {"frame_shape": (1, 16, 16), "input_frames": 4, "future_frames": 2, "hidden_size": 8}
CONFIGS = {
    "series": SERIES,
    "layers and code": SERIES | {"hidden_size": (9, 7), "code_size": 4, "peephole": True},
    "conditional": SERIES | {"conditional": ("reconstruction", "future"), "code_size": 4, "repeat_code": True},
    "variational": SERIES | {"variational": True, "code_size": 3},
    "pictures": PICTURES,
    "patches": PICTURES | {"patch_size": 8},
    "convolutional": PICTURES | {"patch_size": 4, "cell": "conv", "matching": True},
}


def started(config: dict) -> tuple[LSTMAutoencoder, torch.Tensor]:
    """A new model that has seen its data's scale, in training mode, and clips (B, T, C, H, W) for it."""
    torch.manual_seed(0)
    model = LSTMAutoencoder(ModelConfig(**config))
    clips = torch.rand(3, 9, *model.config.frame_shape)
    clips = 5 + 3 * clips if model.config.output == "linear" else clips
    model.start_from(clips)
    return model, clips


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_stream_equals_the_batch_computation_of_all_steps_so_far(config):
    """Forgotten states, a first input that is not the last step, or an error of the wrong prediction would show."""
    model, clips = started(config)
    stream = model.stream(steps=2)
    for t in range(clips.shape[1]):
        pushed = stream.push(clips[:, t])
        with torch.no_grad():
            torch.testing.assert_close(pushed.code, model.encode(clips[:, : t + 1]), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(pushed.coming, model.predict(clips[:, : t + 1], 2), rtol=1e-5, atol=1e-6)
        if t:
            expected = step_errors(model, clips[:, : t + 1], future_frames=1)["future"][:, 0]
            torch.testing.assert_close(pushed.score, expected, rtol=1e-5, atol=1e-6)
        else:
            assert pushed.score.isnan().all()
    assert model.training


def test_one_stream_alone_is_the_same_as_in_a_batch():
    """Frames, vectors and bytes come back as what they are."""
    model, clips = started(SERIES)
    together, alone = model.stream(), model.stream()
    for t in range(4):
        batch, one = together.push(clips[:, t].flatten(1)), alone.push(clips[1, t].flatten())
        assert batch.coming.shape == (3, 1, 5)
        for of_batch, of_one in zip(batch, one, strict=True):
            torch.testing.assert_close(of_one, of_batch[1], equal_nan=True)
    model, clips = started(PICTURES)
    assert model.stream().push((255 * clips[0, 0]).byte()).coming.dtype == torch.uint8


@pytest.mark.parametrize("name", ["series", "convolutional"])
def test_a_stream_goes_on_from_a_file(tmp_path, name):
    model, clips = started(CONFIGS[name])
    stream, other = model.stream(), model.stream()
    for t in range(4):
        stream.push(clips[:, t])
    stream.save(tmp_path / "state.safetensors")
    bytes_then = (tmp_path / "state.safetensors").stat().st_size
    other.load(tmp_path / "state.safetensors")
    for t in range(4, 9):
        for before, after in zip(stream.push(clips[:, t]), other.push(clips[:, t]), strict=True):
            assert torch.equal(before, after)
    stream.save(tmp_path / "state.safetensors")
    assert (tmp_path / "state.safetensors").stat().st_size == bytes_then, "a state grows with the steps"


def test_a_saved_state_of_another_model_is_refused(tmp_path):
    model, clips = started(SERIES)
    stream = model.stream()
    stream.push(clips[:, 0])
    stream.save(tmp_path / "state")
    for other in (SERIES | {"hidden_size": 13}, SERIES | {"layers": 2}, SERIES | {"decoders": ("reconstruction",)}):
        with pytest.raises(ValueError, match="another model"):
            LSTMAutoencoder(ModelConfig(**other)).stream().load(tmp_path / "state")
    content = bytearray((tmp_path / "state").read_bytes())
    content[-1] ^= 1
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        stream.load(tmp_path / "state")


def test_what_a_state_would_never_forget_is_refused_and_leaves_it_as_it_was():
    model, clips = started(SERIES)
    stream, other = model.stream(), model.stream()
    for each in (stream, other):
        each.push(clips[:, 0])
    with pytest.raises(ValueError, match="not finite"):
        stream.push(clips[:, 1] / 0)
    with pytest.raises(ValueError, match="reset"):
        stream.push(clips[:2, 1])
    with pytest.raises(ValueError, match="frames of shape"):
        stream.push(clips[:, 1, :4])
    assert torch.equal(stream.push(clips[:, 1]).score, other.push(clips[:, 1]).score)
    stream.reset()
    assert stream.push(clips[:2, 1]).score.isnan().all()


def test_without_future_decoder_there_are_codes_alone():
    model, clips = started(SERIES | {"decoders": ("reconstruction",)})
    code, coming, score = model.stream().push(clips[:, 0])
    torch.testing.assert_close(code, model.encode(clips[:, :1]))
    assert coming is None
    assert score is None


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    """(T, F) of different scales: one large that changes little, one constant."""
    steps = np.arange(120)
    waves = np.stack([np.sin(steps / 3), 100 * np.cos(steps / 5)], axis=1)
    return np.concatenate([waves, 1e8 + 3 * waves[:, :1], np.full((120, 1), 7.0)], axis=1)


@pytest.fixture(scope="module")
def estimator(series) -> SequenceAutoencoder:
    model = SequenceAutoencoder("predict", future_steps=1, hidden_size=6, code_size=3, max_iter=2, random_state=0)
    return model.fit([series[:40], series[40:90]])


def test_a_stream_of_an_estimator_is_in_the_units_of_the_data(estimator, series):
    stream = estimator.stream(steps=3)
    prefixes = [series[90 : 90 + t] for t in range(1, 21)]
    pushed = [stream.push(step) for step in series[90:110]]
    np.testing.assert_allclose([step.code for step in pushed], estimator.transform(prefixes), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([step.coming for step in pushed], estimator.predict(prefixes, 3), rtol=1e-6, atol=1e-5)
    scores = [-scores[-1] for scores in estimator.score_steps(prefixes[1:])]
    np.testing.assert_allclose([step.score for step in pushed[1:]], scores, rtol=1e-4, atol=1e-6)
    assert abs(pushed[-1].coming[0, 2] - 1e8) < 100


def test_many_series_at_once_and_what_moves_only_later(estimator, series):
    stream, alone = estimator.stream(), estimator.stream()
    for t in range(5):
        together = stream.push(series[[t, t + 20]])
        one = alone.push(series[t + 20])
    np.testing.assert_allclose(together.score[1], one.score, rtol=1e-4)
    moved = series[:2] + np.array([0, 0, 0, 1])
    with pytest.warns(UserWarning, match="constant in fit moves here: feature 3"):
        stream.push(moved)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.push(moved)  # said once
    with pytest.raises(ValueError, match=r"expected \(4,\)"):
        stream.push(series[:2, :3])
