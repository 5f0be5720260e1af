"""The cost volume that encoders read: against squared differences, place by place."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import train
from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.matching import Matching
from video_ae.patches import frames_to_vectors


def config(patch: int, channels: int, rows: int, columns: int, **more) -> ModelConfig:
    shape = (channels, patch * rows, patch * columns)
    return ModelConfig(frame_shape=shape, cell="conv", patch_size=patch, matching=True, hidden_size=4, **more)


@settings(max_examples=200, deadline=None)
@given(
    patch=st.sampled_from([1, 2, 4, 5, 8]),
    channels=st.sampled_from([1, 3]),
    rows=st.integers(2, 3),
    columns=st.integers(1, 3),
    steps=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_costs_are_squared_differences_at_every_shift(patch, channels, rows, columns, steps, seed):
    """Catches shifts of the other sign, rows for columns, borders, and channels that do not count."""
    torch.manual_seed(seed)
    layer = Matching(config(patch, channels, rows, columns))
    frames, std = torch.rand(2, steps, channels, patch * rows, patch * columns), torch.rand(channels) + 0.5
    found = layer(frames_to_vectors(frames, patch), std)
    assert found.shape == (2, steps, rows, columns, layer.features)
    assert not found[:, 0].any()
    scaled = frames * std[:, None, None]
    before = functional.pad(scaled, [layer.reach] * 4)
    for t in range(1, steps):
        for row in range(rows):
            for column in range(columns):
                top, left = patch * row, patch * column
                here = scaled[:, t, :, top : top + patch, left : left + patch]
                costs = torch.stack(
                    [
                        (before[:, t - 1, :, top + y :, left + x :][..., :patch, :patch] - here).square().sum((1, 2, 3))
                        for y in range(layer.shifts)
                        for x in range(layer.shifts)
                    ],
                    dim=1,
                )
                shares = (-layer.sharpness * costs).softmax(dim=1)
                expected = (shares - 1 / layer.features) * layer.shifts
                torch.testing.assert_close(found[:, t, row, column], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -2), (-4, 4)])
def test_a_patch_that_moved_is_found_where_it_came_from(down, right):
    """The largest number stands at the shift back to where the pattern was."""
    torch.manual_seed(0)
    layer = Matching(config(8, 1, 4, 4))
    first = torch.rand(1, 1, 32, 32)
    clip = torch.stack([first, first.roll((down, right), (2, 3))], dim=1)
    found = layer(frames_to_vectors(clip, 8), torch.ones(1))[0, 1, 1, 2].unflatten(0, (9, 9))
    assert divmod(int(found.argmax()), 9) == (4 - down, 4 - right)


def test_the_encoder_reads_matches_and_gradients_pass_beside_them():
    torch.manual_seed(0)
    model = LSTMAutoencoder(config(4, 3, 2, 3, input_frames=3, future_frames=2, output="linear"))
    frames = torch.rand(2, 3, 3, 8, 12, requires_grad=True)
    model.encode(frames).square().sum().backward()
    assert frames.grad is not None
    assert frames.grad.abs().sum() > 0
    assert model.encode(frames[:, :1]).shape == (2, 4)  # a single frame, which has none before
    with pytest.raises(ValueError, match="matching is for convolutional LSTMs"):
        ModelConfig(matching=True, patch_size=8)


@pytest.mark.parametrize(
    ("words", "has"),
    [([], True), (["--no-matching"], False), (["--preset", "conv"], True), (["--cell", "lstm"], False)],
)
def test_pictures_are_matched_unless_that_is_declined(words, has, tmp_path):
    """Catches a default that a dense model cannot be built with, and a flag that the preset overrides."""
    flags = ["--composite", "--image-size", "32", "--num-digits", "1", "-b", "2", "--steps", "1", "--hidden-size", "4"]
    run = tmp_path / "run"
    assert train.command([*flags, *words, "--validation-clips", "2", "--output-dir", str(run)]) == 0
    assert json.loads((run / "config.json").read_text())["model"]["matching"] is has
