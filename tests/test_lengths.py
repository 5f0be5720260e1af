"""Sequences of different lengths in one batch: padding must not matter, neither its amount nor what is in it."""

import pytest
import torch
from conftest import padded
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae import LSTMAutoencoder, ModelConfig, TrainConfig
from video_ae.config import DECODERS, FUTURE, RECONSTRUCTION
from video_ae.evaluation import evaluate_baselines, evaluate_batches, mean_frame
from video_ae.lengths import flip_time, split_clips
from video_ae.losses import bernoulli_nats, squared_error
from video_ae.training_step import train_step

MODELS = {
    "plain": {},
    "two layers of different size": {"hidden_size": (7, 5), "peephole": True},
    "conditional": {"conditional": DECODERS},
    "bottleneck": {"code_size": 3, "hidden_size": (6, 4)},
    "repeated code": {"code_size": 3, "repeat_code": True, "conditional": (FUTURE,)},
    "repeated state": {"repeat_code": True},
    "variational": {"code_size": 3, "variational": True},
    "logistic": {"output": "logistic"},
    "patches": {"frame_shape": (1, 4, 4), "patch_size": 2},
    "convolutional": {"frame_shape": (1, 4, 6), "patch_size": 2, "cell": "conv", "conditional": (FUTURE,)},
    "convolutional code": {"frame_shape": (2, 4, 4), "patch_size": 2, "cell": "conv", "code_size": 3, "layers": 2},
}


def build(choices: dict) -> LSTMAutoencoder:
    shape = {"frame_shape": (3, 1, 1), "hidden_size": 6, "input_frames": 6, "future_frames": 2, "output": "linear"}
    torch.manual_seed(0)
    return LSTMAutoencoder(ModelConfig(**(shape | choices)))


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=12, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), more=st.integers(0, 3))
def test_a_batch_is_its_sequences_one_by_one(name, lengths, more):
    """Codes, outputs, loss and gradients; catches states of the wrong step, leaks from padding, wrong means."""
    model = build(MODELS[name])
    frames = [torch.rand(length + 2, *model.config.frame_shape) for length in lengths]
    batch = padded(frames, 8)
    inputs, future, ends = split_clips(batch, 6)
    garbage = (
        inputs.clone() if ends is None else torch.cat([inputs, torch.rand(len(lengths), more, *inputs.shape[2:])], 1)
    )
    for row, length in zip(garbage, lengths, strict=True):
        row[length:] = torch.nan
    together = torch.tensor(lengths)
    codes = model.encode(garbage, together)
    rebuilt, predicted = model.reconstruct(garbage, together), model.predict(garbage, 3, together)
    for row, (length, clip) in enumerate(zip(lengths, frames, strict=True)):
        alone = clip[None, :length]
        torch.testing.assert_close(codes[row : row + 1], model.encode(alone))
        torch.testing.assert_close(rebuilt[row : row + 1, :length], model.reconstruct(alone))
        assert not rebuilt[row, length:].any()
        torch.testing.assert_close(predicted[row : row + 1], model.predict(alone, 3))
        torch.testing.assert_close(future[row], clip[length:])

    config, optimizer = TrainConfig(clip_grad=1e9, amp="off"), torch.optim.SGD(model.parameters())
    if not model.config.variational:  # which draws other numbers for another batch
        train_step(model, optimizer, batch, 0.0, config, 1)
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        expected = [torch.zeros_like(gradient) for gradient in gradients]
        for clip, length in zip(frames, lengths, strict=True):
            one = build(MODELS[name] | {"input_frames": length})
            shares = {"reconstruction_weight": length / sum(lengths), "future_weight": 1 / len(lengths)}
            train_step(one, optimizer, clip[None], 0.0, TrainConfig(clip_grad=1e9, amp="off", **shares), 1)
            for total, parameter in zip(expected, one.parameters(), strict=True):
                total += parameter.grad
        for found, wanted in zip(gradients, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_metrics_are_means_over_the_frames_that_are_there():
    model = build({})
    frames = [torch.rand(length + 2, 3, 1, 1) for length in (6, 2, 3)]
    batch = padded(frames, 8)
    results = evaluate_batches(model, [batch[:1], batch[1:]], torch.device("cpu"))
    errors = [(model.reconstruct(clip[None, :-2]) - clip[:-2]).square().sum(dim=(2, 3, 4))[0] for clip in frames]
    assert results[RECONSTRUCTION]["mse"] == pytest.approx(torch.cat(errors).mean().item(), rel=1e-5)
    curve = results[RECONSTRUCTION]["per_step"]["mse"]
    assert curve[2] == pytest.approx(((errors[0][2] + errors[2][2]) / 2).item(), rel=1e-5)
    assert curve[5] == pytest.approx(errors[0][5].item(), rel=1e-5)
    mean = mean_frame([batch])
    torch.testing.assert_close(mean, torch.cat(frames).mean(dim=0))
    last = evaluate_baselines(model, [batch], mean, FUTURE, torch.device("cpu"))["copy_last"]["mse"]
    by_hand = [(clip[-3] - clip[-2:]).square().sum(dim=(1, 2, 3)) for clip in frames]
    assert last == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-5)


def test_losses_count_the_frames_that_are_there():
    lengths = torch.tensor([3, 1])
    outputs, targets = torch.rand(2, 3, 4), torch.rand(2, 3, 4)
    outputs[1, 1:] = targets[1, 1:] = 0
    there = [(0, 0), (0, 1), (0, 2), (1, 0)]
    squares = torch.stack([(outputs[at] - targets[at]).square().sum() for at in there])
    torch.testing.assert_close(squared_error(outputs, targets, lengths), squares.mean())
    entropies = torch.stack([bernoulli_nats(outputs[at][None, None], targets[at][None, None]) for at in there])
    torch.testing.assert_close(bernoulli_nats(outputs, targets, lengths), entropies.mean())


def test_time_is_reversed_up_to_each_end():
    steps = torch.arange(4.0).expand(2, 4)[:, :, None]
    assert flip_time(steps, torch.tensor([4, 2]))[:, :, 0].tolist() == [[3, 2, 1, 0], [1, 0, 2, 3]]


@pytest.mark.parametrize("lengths", [[0, 3], [3, 7], [3], [2.0, 3.0]])
def test_lengths_that_cannot_be(lengths):
    with pytest.raises(ValueError, match="expected 2 whole numbers, 1 to 6"):
        build({}).encode(torch.rand(2, 6, 3), torch.tensor(lengths))


def test_what_is_random_depends_on_seed_and_step_alone():
    """Catches a resumed run that draws other noise than the uninterrupted one, and a seed that changes nothing."""
    clips = torch.rand(4, 8, 3, 1, 1)
    corrupted = {"noise": 0.5, "drop_frames": 0.3}

    def loss(step: int, **choices: float) -> float:
        model = build(MODELS["variational"])
        torch.rand(3)  # what others draw in between
        optimizer = torch.optim.SGD(model.parameters())
        return train_step(model, optimizer, clips, 0.0, TrainConfig(amp="off", **choices), step)["loss"]

    assert loss(3, **corrupted) == loss(3, **corrupted)
    assert len({loss(3, **corrupted), loss(4, **corrupted), loss(3, **corrupted, seed=1), loss(3)}) == 4


def test_the_variational_loss_is_the_evidence_lower_bound():
    """The divergence against torch's own, per frame and weighted by beta."""
    model = build(MODELS["variational"])
    clips = torch.rand(5, 8, 3, 1, 1)
    row = train_step(model, torch.optim.SGD(model.parameters()), clips, 0.0, TrainConfig(amp="off", beta=0.25), 1)
    inputs = model.encoder.to_vectors(clips[:, :6])
    mean, log_variance = model.encoder.code(model.encoder(inputs)[1]).chunk(2, dim=1)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    divergence = torch.distributions.kl_divergence(normal, standard).sum(dim=1).mean() / 6
    assert row["kl"] == pytest.approx(divergence.item(), rel=1e-4)
    assert row["loss"] == pytest.approx(row["reconstruction"] + row["future"] + 0.25 * row["kl"])
    assert torch.equal(model.encode(clips[:, :6]), model.encode(clips[:, :6]))  # the mean, not a sample
    assert model.encode(clips[:, :6]).shape == (5, 3)
