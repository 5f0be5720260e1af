"""The choice between bf16 and float32. What the clock says is set here: it differs from machine to machine."""

import json
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file

from video_ae import ModelConfig
from video_ae.commands import train
from video_ae.precision import _seconds, uses_bf16

CPU = torch.device("cpu")
TINY = ["--composite", "--cell", "lstm", "--hidden-size", "8", "--image-size", "28", "--num-digits", "1", "-b", "4"]


@pytest.fixture(autouse=True)
def _forget():
    uses_bf16.cache_clear()
    yield
    uses_bf16.cache_clear()


def times(in_float32: float, in_bf16: float):
    return patch("video_ae.precision._seconds", lambda config, clips: (in_float32, in_bf16))


@pytest.mark.parametrize(
    ("amp", "seconds", "chosen"),
    [
        ("on", (1, 2), True),
        ("off", (2, 1), False),
        ("auto", (2, 1), True),
        ("auto", (1, 2), False),
        ("auto", (1.1, 1), False),
        ("auto", (0.004, 0.001), False),
    ],
)
def test_auto_is_what_is_clearly_faster(amp, seconds, chosen):
    """Catches a tie that chance decides, and flags that are not obeyed."""
    with times(*seconds):
        assert uses_bf16(amp, ModelConfig(), 4, CPU) is chosen


@pytest.mark.parametrize(
    "choices", [{}, {"patch_size": 8}, {"patch_size": 8, "cell": "conv"}, {"peephole": True, "layers": 2}]
)
def test_timing_leaves_no_trace(choices):
    """Catches random numbers drawn from the run's own, and a layer of the wrong kind."""
    before = torch.get_rng_state()
    with torch.no_grad():
        assert min(_seconds(ModelConfig(hidden_size=6, **choices), 2)) > 0
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_goes_on_in_the_precision_it_began_with(tmp_path):
    """Catches a run that is resumed on another machine, or beside other work, in other numbers."""
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    with times(2, 1):
        assert train.command([*TINY, "--steps", "4", "--output-dir", str(whole)]) == 0
        assert train.command([*TINY, "--steps", "4", "--amp", "off", "--output-dir", str(tmp_path / "off")]) == 0
        with patch("video_ae.training.train_step", side_effect=KeyboardInterrupt):
            assert train.command([*TINY, "--steps", "4", "--output-dir", str(pieces)]) != 0
    uses_bf16.cache_clear()
    with times(1, 2):
        assert train.command(["--resume", "--amp", "off", "--output-dir", str(pieces)]) != 0
        assert train.command(["--resume", "--amp", "auto", "--output-dir", str(pieces)]) == 0
    assert json.loads((pieces / "config.json").read_text())["training"]["amp"] == "on"
    one, other, off = (load_file(run / "model" / "model.safetensors") for run in (whole, pieces, tmp_path / "off"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], off[name]) for name in one)
