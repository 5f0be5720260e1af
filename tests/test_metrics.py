"""Metrics and losses against scikit-image, closed forms and each other."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn import functional

from video_ae.evaluation import evaluate_baselines, evaluate_batches, mean_frame
from video_ae.losses import bernoulli_nats, squared_error
from video_ae.metrics import PSNR_CAP, MetricAccumulator, entropy_floor, frame_errors, nats, picture_errors
from video_ae.models import LSTMAutoencoder, ModelConfig


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 20, 33)])
def test_ssim_and_psnr_are_scikit_images(shape):
    truth = torch.rand(2, 3, *shape)
    predicted = truth + 0.3 * torch.randn_like(truth)  # leaves 0 to 1: clipped for PSNR and SSIM
    ours = picture_errors(predicted, truth)
    for b in range(2):
        for t in range(3):
            x, y = predicted[b, t].clamp(0, 1).numpy(), truth[b, t].numpy()
            for name, data_range in (("ssim", 1.0), ("ssim_range2", 2.0)):
                theirs = structural_similarity(x, y, data_range=data_range, channel_axis=0)
                assert ours[name][b, t].item() == pytest.approx(theirs, abs=1e-4)
            assert ours["psnr"][b, t].item() == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), abs=1e-3)


def test_frame_sums_by_hand():
    """MSE and MAE are summed over channels and pixels, and predictions are not clipped."""
    truth = torch.zeros(1, 1, 3, 8, 8)
    predicted = torch.full_like(truth, -2.0)
    errors = frame_errors(predicted, truth)
    assert errors["mse"].item() == 4 * 3 * 64
    assert errors["mae"].item() == 2 * 3 * 64
    assert picture_errors(predicted, truth)["psnr"].item() == PSNR_CAP  # clipped to black, it is exact


def test_nats_are_the_cross_entropy_and_the_floor_its_least():
    truth = torch.rand(2, 3, 1, 8, 8)
    probability = torch.rand_like(truth)
    direct = -(truth * probability.log() + (1 - truth) * (1 - probability).log()).sum(dim=(2, 3, 4))
    logits = torch.logit(probability)
    torch.testing.assert_close(nats(logits, truth), direct)
    torch.testing.assert_close(bernoulli_nats(logits, truth), direct.mean())
    torch.testing.assert_close(entropy_floor(truth), nats(torch.logit(truth), truth))
    assert (direct > entropy_floor(truth)).all()


def test_the_squared_loss_is_the_frame_sum():
    outputs, targets = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    by_hand = ((outputs - targets) ** 2).sum(dim=(2, 3)).mean()
    torch.testing.assert_close(squared_error(outputs, targets), by_hand)


@pytest.mark.parametrize("lengths", [None, [3, 1]])
@pytest.mark.parametrize("loss", [bernoulli_nats, squared_error])
def test_the_hand_written_gradients_of_losses_are_those_of_autograd(loss, lengths):
    """Also for logits far from zero, time-major memory, a weight on the loss, and with none for padding."""
    outputs = (30 * torch.randn(3, 2, 5, dtype=torch.float64)).transpose(0, 1).requires_grad_()
    targets = torch.rand(3, 2, 5, dtype=torch.float64).transpose(0, 1)
    steps = torch.tensor(lengths or [3, 3])
    present = torch.arange(3) < steps[:, None]
    if loss is bernoulli_nats:
        values = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    else:
        values = (outputs - targets) ** 2
    expected = values[present].sum() / steps.sum()
    value = loss(outputs, targets, None if lengths is None else steps)
    torch.testing.assert_close(value, expected)
    gradients = (torch.autograd.grad(0.3 * total, outputs)[0] for total in (value, expected))
    torch.testing.assert_close(*gradients)


def test_a_smaller_last_batch_weighs_what_it_should():
    """Catches means of batch means, which differ from the mean over clips."""
    values = torch.rand(7, 4)
    accumulator = MetricAccumulator()
    accumulator.add({"mse": values[:5]})
    accumulator.add({"mse": values[5:]})
    result = accumulator.result()
    assert accumulator.clips == 7
    assert result["mse"] == pytest.approx(values.mean().item())
    assert result["per_step"]["mse"] == pytest.approx(values.mean(dim=0).tolist())


def test_what_is_infinite_or_undefined_is_none():
    """JSON has no infinity and no NaN."""
    accumulator = MetricAccumulator()
    accumulator.add({"nats": torch.tensor([[1.0, math.inf]]), "ssim": torch.tensor([[math.nan, 1.0]])})
    assert accumulator.result() == {
        "nats": None,
        "ssim": None,
        "per_step": {"nats": [1.0, None], "ssim": [None, 1.0]},
    }


def test_evaluation_is_free_running_over_every_clip():
    """Against the model called by hand, over a ragged last batch; conditional decoders see no truth."""
    model = LSTMAutoencoder(
        ModelConfig(frame_shape=(1, 8, 8), hidden_size=6, conditional=("future",), input_frames=4, future_frames=3)
    )
    clips = torch.randint(0, 256, (5, 7, 1, 8, 8), dtype=torch.uint8)
    results = evaluate_batches(model, [clips[:3], clips[3:]], torch.device("cpu"))
    truth = clips[:, 4:].float() / 255
    predicted = model.predict(clips[:, :4].float() / 255)
    assert results["clips"] == 5
    assert results["future"]["mse"] == pytest.approx(((predicted - truth) ** 2).sum(dim=(2, 3, 4)).mean().item())
    assert len(results["future"]["per_step"]["nats"]) == 3
    assert len(results["reconstruction"]["per_step"]["nats"]) == 4


def test_baselines_by_hand():
    clips = torch.randint(0, 256, (4, 7, 1, 8, 8), dtype=torch.uint8)
    batches = [clips[:3], clips[3:]]
    frames = clips.double().numpy() / 255
    mean = mean_frame(batches)
    np.testing.assert_allclose(mean.numpy(), frames.mean(axis=(0, 1)), rtol=1e-5)
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 8, 8), hidden_size=6, input_frames=4, future_frames=3))
    baselines = evaluate_baselines(model, batches, mean, "future", torch.device("cpu"))
    future = frames[:, 4:]
    expected = {
        "black": (future**2).sum(axis=(2, 3, 4)).mean(),
        "copy_last": ((future - frames[:, 3:4]) ** 2).sum(axis=(2, 3, 4)).mean(),
        "mean_frame": ((future - frames.mean(axis=(0, 1))) ** 2).sum(axis=(2, 3, 4)).mean(),
    }
    for name, value in expected.items():
        assert baselines[name]["mse"] == pytest.approx(value, rel=1e-4)
    assert baselines["floor"]["nats"] < baselines["mean_frame"]["nats"]
