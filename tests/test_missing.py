"""Missing values: what is missing changes nothing, whatever stands in its place, and does not count."""

import numpy as np
import pandas as pd
import pytest
import torch

from video_ae import SequenceAutoencoder
from video_ae.anomaly import spread_scores
from video_ae.losses import squared_error
from video_ae.missing import masked_squared_error

SMALL = {"hidden_size": 8, "code_size": 3, "max_iter": 3, "random_state": 0, "missing": "mask"}


def series(steps: int = 90) -> np.ndarray:
    """(T, 3) with a fifth missing, one row throughout, and one feature far from zero."""
    random = np.random.default_rng(0)
    values = np.sin(np.arange(steps)[:, None] / [3, 5, 7]) * [1, 50, 3] + [0, 0, 1e8]
    values[random.random(values.shape) < 0.2] = np.nan
    values[40] = np.nan
    return values


def test_the_loss_is_that_of_what_is_there():
    """Without gaps the loss of all, with gaps the mean over a loop; nothing flows back through what is missing."""
    torch.manual_seed(0)
    outputs, values = torch.randn(4, 6, 6, requires_grad=True), torch.randn(4, 6, 3)
    lengths = torch.tensor([6, 5, 3, 1])
    for of in (None, lengths):
        whole = masked_squared_error(outputs, torch.cat([values, torch.zeros(4, 6, 3)], dim=2), of)
        torch.testing.assert_close(whole, squared_error(outputs[..., :3].contiguous(), values, of))
    mask = (torch.rand(4, 6, 3) < 0.3).float()
    loss = masked_squared_error(outputs, torch.cat([values, mask], dim=2), lengths)
    wrong = [
        float((outputs[b, t, f].detach() - values[b, t, f]) ** 2)
        for b in range(4)
        for t in range(int(lengths[b]))
        for f in range(3)
        if not mask[b, t, f]
    ]
    assert loss.item() == pytest.approx(3 * np.mean(wrong), rel=1e-5)
    loss.backward()
    assert outputs.grad is not None
    assert outputs.grad[..., :3][mask > 0].abs().max() == 0
    assert outputs.grad[..., 3:].abs().max() == 0
    assert outputs.grad[1, 5].abs().max() == 0


@pytest.mark.parametrize("objective", ["reconstruct", "predict", "composite"])
def test_scores_are_the_means_of_what_is_there(objective):
    """By hand from what `reconstruct` and `predict` give, in deviations of the values that are there."""
    sequences = np.stack([series()[start : start + 12] for start in range(0, 72, 12)])  # (6, 12, 3)
    model = SequenceAutoencoder(objective, future_steps=2, **SMALL).fit(sequences)
    deviation = np.nanstd(sequences, axis=(0, 1))
    read = sequences if objective == "reconstruct" else sequences[:, :-2]
    made = []
    if objective != "predict":
        made.append(model.reconstruct(read))
    if objective != "reconstruct":
        made.append(model.predict(read))
    made = np.concatenate(made, axis=1)
    errors = ((made - sequences[:, -made.shape[1] :]) / deviation) ** 2
    found = model.score_features(sequences)[:, -made.shape[1] :]
    np.testing.assert_allclose(-found, errors, rtol=2e-3, atol=1e-5)  # NaN where it is missing
    with np.errstate(all="ignore"):
        of_steps = pd.DataFrame(errors.reshape(-1, 3)).mean(axis=1).to_numpy().reshape(6, -1)  # NaN of nothing but NaN
    np.testing.assert_allclose(-model.score_steps(sequences)[:, -made.shape[1] :], of_steps, rtol=2e-3, atol=1e-5)
    assert np.isnan(of_steps).sum() == (objective != "predict"), "the row that is missing throughout"
    assert np.isfinite(made).all(), "what is missing is rebuilt"
    np.testing.assert_allclose(-model.score_samples(sequences), np.nanmean(errors, axis=(1, 2)), rtol=2e-3)


def test_windows_are_spread_across_gaps_and_no_score_is_made_up():
    values = series()
    model = SequenceAutoencoder(window=10, **SMALL).fit(values)
    own, spread = model.score_features(values, spread=False), model.score_features(values)
    assert (np.isnan(own) == np.isnan(values)).all()
    expected = spread_scores(np.nan_to_num(-own), 10)
    np.testing.assert_allclose(-spread, np.where(np.isnan(values), np.nan, expected), rtol=1e-4, atol=1e-6)
    assert np.isnan(model.score_steps(values)).nonzero()[0].tolist() == [40]


def test_without_gaps_nothing_is_missing_and_the_mask_is_read():
    """A model that did not see the mask would take the mean for a measurement."""
    values = series()
    model = SequenceAutoencoder("composite", future_steps=2, window=10, **SMALL).fit(values)
    at_mean = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    assert np.isfinite(model.score_features(at_mean)).all()
    assert np.abs(model.transform(values) - model.transform(at_mean)).max() > 1e-3


def test_it_is_refused_unless_it_is_asked_for(tmp_path):
    values = series()
    with pytest.raises(ValueError, match=r'contains NaN at step .*missing="mask"'):
        SequenceAutoencoder(window=10).fit(values)
    with pytest.raises(ValueError, match="contains inf"):
        SequenceAutoencoder(window=10, **SMALL).fit(np.where(np.isnan(values), np.inf, values))
    with pytest.raises(ValueError, match="feature 1 is missing throughout"):
        SequenceAutoencoder(window=10, **SMALL).fit(values * [1, np.nan, 1])
    with pytest.raises(ValueError, match="early_stopping does not know"):
        SequenceAutoencoder(window=10, early_stopping=True, **SMALL).fit(values)
    model = SequenceAutoencoder(window=10, **SMALL).fit(values)
    with pytest.raises(ValueError, match="fit with missing='refuse'"):
        model.stream()
    model.save(tmp_path / "saved")
    again = SequenceAutoencoder.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.score_steps(values), model.score_steps(values))
    with pytest.raises(ValueError, match="changed since fit"):
        model.set_params(missing="refuse").transform(values)
