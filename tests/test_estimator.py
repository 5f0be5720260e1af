"""The scikit-learn estimator: its conventions, its shapes, and that it learns."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from video_ae import LSTMAutoencoder, SequenceAutoencoder

SMALL = {"hidden_size": 8, "code_size": 2, "max_iter": 2, "random_state": 0}
ROWS = np.sin(np.linspace(0, 6, 60).reshape(6, 10))


FORECASTS = {"check_n_features_in_after_fitting": "predict takes rows of any length: their columns are time steps"}


@pytest.mark.filterwarnings("ignore:a code of")
@parametrize_with_checks(
    [SequenceAutoencoder(**SMALL), SequenceAutoencoder("composite", **SMALL), SequenceAutoencoder("predict", **SMALL)],
    expected_failed_checks=lambda estimator: {} if estimator.objective == "reconstruct" else FORECASTS,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def ragged(seed: int = 0, features: int = 2) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=(length, features)) for length in (9, 4, 12, 7)]


def test_shapes_of_everything_that_goes_in_and_out():
    """Rows for rows, (N, T, F) for (N, T, F), a list for a list, whatever the lengths; codes are always (N, code)."""
    rows = SequenceAutoencoder("composite", future_steps=3, **SMALL).fit(ROWS)
    assert rows.transform(ROWS).shape == (6, 2)
    assert rows.reconstruct(ROWS).shape == rows.inverse_transform(rows.transform(ROWS)).shape == (6, 10)
    assert rows.predict(ROWS).shape == (6, 3)
    assert rows.predict(ROWS, steps=20).shape == (6, 20)
    assert rows.score_samples(ROWS).shape == (6,)

    stacked = np.stack([ROWS, ROWS**2], axis=2)
    arrays = SequenceAutoencoder("composite", future_steps=3, **SMALL).fit(stacked)
    assert arrays.reconstruct(stacked).shape == (6, 10, 2)
    assert arrays.predict(stacked[:, :5]).shape == (6, 3, 2)  # other lengths than in fit
    assert (arrays.n_features_in_, arrays.n_steps_) == (2, 10)

    sequences = ragged()
    lists = SequenceAutoencoder("composite", future_steps=3, **SMALL).fit(sequences)
    assert lists.transform(sequences).shape == (4, 2)
    assert [made.shape for made in lists.reconstruct(sequences)] == [given.shape for given in sequences]
    assert lists.predict(sequences).shape == (4, 3, 2)

    series = np.sin(np.arange(50.0))
    windows = SequenceAutoencoder("composite", future_steps=2, window=12, stride=3, **SMALL).fit(series)
    assert windows.transform(series).shape == (14, 2)  # from 0, 3, ..., 36, and the last one, from 38
    assert windows.score_samples(series).shape == (13,)  # of windows with the two steps that follow
    assert windows.predict([series, series[:20]]).shape == (14 + 4, 2, 1)
    assert windows.score_steps(series).shape == (50,)
    assert [scores.shape for scores in windows.score_steps([series, series[:20]])] == [(50,), (20,)]
    forecast = windows.predict(series[-12:])  # what the last window of the series leads to
    np.testing.assert_allclose(windows.predict(series)[-1:], forecast, rtol=1e-5)


def test_a_list_is_its_sequences_one_by_one():
    """Catches codes, forecasts and scores that depend on what else is in the list."""
    sequences = ragged()
    estimator = SequenceAutoencoder("composite", future_steps=2, **SMALL).fit(sequences)
    for method in (estimator.transform, estimator.predict, estimator.score_samples):
        together = method(sequences)
        alone = np.concatenate([method([sequence]) for sequence in sequences])
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)


def test_units_and_scores_are_those_of_the_data():
    """Scaled data gives scaled results; the score is the mean squared error in deviations of each feature."""
    random = np.random.default_rng(0)
    data = random.normal(size=(20, 8, 2))
    scale, shift = np.array([1e3, 1e-3]), np.array([5e3, -2e-3])
    plain = SequenceAutoencoder(**SMALL).fit(data)
    scaled = SequenceAutoencoder(**SMALL).fit(data * scale + shift)
    np.testing.assert_allclose(plain.transform(data), scaled.transform(data * scale + shift), atol=1e-3)
    rebuilt = scaled.reconstruct(data * scale + shift)
    np.testing.assert_allclose((rebuilt - shift) / scale, plain.reconstruct(data), atol=2e-3)
    deviation = data.std(axis=(0, 1))
    by_hand = -(((plain.reconstruct(data) - data) / deviation) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(plain.score_samples(data), by_hand, rtol=1e-4)
    assert plain.score(data) == pytest.approx(by_hand.mean(), rel=1e-4)
    of_steps = -(((plain.reconstruct(data) - data) / deviation) ** 2).mean(axis=2)
    np.testing.assert_allclose(plain.score_steps(data), of_steps, rtol=1e-3, atol=1e-5)


def test_it_learns_what_a_linear_code_cannot():
    """Sines of any phase and frequency, whose forecast is far better than the last value or the mean."""
    random = np.random.default_rng(0)
    phase, speed = random.uniform(0, 2 * np.pi, (300, 1)), random.uniform(0.3, 0.7, (300, 1))
    waves = np.sin(phase + speed * np.arange(24))
    estimator = SequenceAutoencoder("composite", future_steps=4, max_iter=40, random_state=0).fit(waves[:250])
    forecast = estimator.predict(waves[250:, :20])
    error = ((forecast - waves[250:, 20:]) ** 2).mean()
    naive = ((waves[250:, 19:20] - waves[250:, 20:]) ** 2).mean()
    assert error < 0.05 * naive
    # What was held out is as normal as what was learnt, noise is not.
    noise = random.normal(size=(50, 24)) * waves.std()
    assert estimator.score_samples(waves[250:]).min() > np.median(estimator.score_samples(noise))


def test_the_same_random_state_repeats_exactly_and_leaves_torch_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    options = SMALL | {"noise": 0.1, "drop_frames": 0.1, "beta": 0.1}
    first, second = (SequenceAutoencoder(**options).fit(ROWS) for _ in range(2))
    other = SequenceAutoencoder(**(options | {"random_state": 1})).fit(ROWS)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(first.transform(ROWS), second.transform(ROWS))
    assert first.loss_curve_ == second.loss_curve_ != other.loss_curve_


def test_early_stopping_keeps_the_best_weights():
    random = np.random.default_rng(0)
    noise = random.normal(size=(30, 6))  # nothing to generalise
    options = {"hidden_size": 32, "code_size": 4, "max_iter": 200, "early_stopping": True, "n_iter_no_change": 3}
    estimator = SequenceAutoencoder(random_state=0, validation_fraction=0.3, **options).fit(noise)
    assert estimator.n_iter_ == len(estimator.validation_curve_) < 200
    best = int(np.argmin(estimator.validation_curve_))
    assert estimator.n_iter_ == best + 1 + 3
    held_out = np.random.RandomState(0)
    held_out.randint(2**31 - 1)  # the seed of the weights is drawn first
    rows = held_out.permutation(30)[:9]
    losses = -estimator.score_samples(noise[rows])
    assert losses.mean() == pytest.approx(estimator.validation_curve_[best], rel=1e-3)


def test_it_works_in_pipelines_searches_and_pickles(tmp_path):
    search = GridSearchCV(SequenceAutoencoder(**SMALL), {"hidden_size": np.array([4, 8])}, cv=2).fit(ROWS)
    assert search.best_params_["hidden_size"] in (4, 8)
    pipeline = make_pipeline(FunctionTransformer(), SequenceAutoencoder(**SMALL)).fit(ROWS)
    copy = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(copy.transform(ROWS), pipeline.transform(ROWS))
    assert clone(pipeline[-1]).get_params() == pipeline[-1].get_params()
    pipeline[-1].model_.save_pretrained(tmp_path)
    loaded = LSTMAutoencoder.from_pretrained(tmp_path).eval()
    codes = loaded.encode(torch.from_numpy(ROWS).float()[:, :, None])
    np.testing.assert_allclose(codes.detach().numpy(), pipeline.transform(ROWS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({"objective": "guess"}, ROWS, "objective 'guess': expected one of reconstruct, predict, composite"),
        ({}, [], "found no sequences"),
        ({}, [np.ones((3, 2)), np.ones((3, 4))], r"found sequences of \[2, 4\] features, expected one number"),
        ({}, [np.ones((0, 2))], "0 sample"),
        ({}, [np.array([1.0, np.nan])], "contains NaN"),
        ({}, np.full((2, 3, 1), 1e300), "beyond the range of float32"),
        ({"window": 99}, np.ones(50), "found a series of 50 steps, expected at least the 99 of a window"),
        ({"window": 5, "stride": 0}, np.ones(50), "found a series of 50 steps.*stride 0"),
        ({"objective": "predict", "future_steps": 9}, [np.ones(9)], "found a sequence of 9 steps .* at least 10"),
        ({"objective": "predict", "future_steps": 0}, ROWS, "future_steps is 0: expected at least 1 to predict"),
        ({}, ROWS + 1e6, r"feature 0 varies by 0\.\d+ around 1e\+06, too little beside its offset for float32"),
        ({"max_iter": 0}, ROWS, "steps is 0"),
        ({"batch_size": 0}, ROWS, "batch_size is 0"),
        ({"early_stopping": True}, [np.arange(9.0)], "holds out 1 of 1 sequences"),
        ({"noise": -1.0}, ROWS, "noise is -1.0"),
        ({"hidden_size": 0}, ROWS, "hidden_size is 0"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(options, data, message):
    with pytest.raises(ValueError, match=message):
        SequenceAutoencoder(**(SMALL | options)).fit(data)


def test_what_a_model_lacks_is_said():
    with pytest.raises(NotFittedError):
        SequenceAutoencoder().transform(ROWS)
    assert not hasattr(SequenceAutoencoder("reconstruct"), "predict")
    assert not hasattr(SequenceAutoencoder("predict"), "inverse_transform")
    handed_over = SequenceAutoencoder(**(SMALL | {"code_size": None})).fit(ROWS)
    with pytest.raises(ValueError, match="start from the encoder's whole state, of which the code is a part"):
        handed_over.inverse_transform(handed_over.transform(ROWS))
    repeated = SequenceAutoencoder(**(SMALL | {"code_size": None, "repeat_code": True})).fit(ROWS)
    np.testing.assert_allclose(
        repeated.inverse_transform(repeated.transform(ROWS)), repeated.reconstruct(ROWS), rtol=1e-5, atol=1e-6
    )
    sequences = SequenceAutoencoder(**SMALL).fit(ragged())
    with pytest.raises(ValueError, match="found sequences of 3 features, expected 2 as in fit"):
        sequences.transform(ragged(features=3))
    stacked = SequenceAutoencoder("composite", **SMALL).fit(ROWS[:, :, None])
    with pytest.raises(ValueError, match=r"found an array \(10, 1\), expected \(N, T, F\) .* give X\[None\] if"):
        stacked.predict(ROWS[0][:, None])  # one sequence, not ten of one step
    with pytest.raises(ValueError, match="0 steps to predict: expected at least 1"):
        stacked.predict(ROWS[:, :, None], steps=0)
    with pytest.raises(ValueError, match=r"found codes \(6, 3\) and 4 steps, expected \(N, 2\)"):
        stacked.inverse_transform(np.ones((6, 3)), steps=4)
    with pytest.warns(UserWarning, match="a code of 20 numbers compresses nothing of the 10 in a sequence"):
        SequenceAutoencoder(**(SMALL | {"code_size": 20})).fit(ROWS)


def test_divergence_is_named(monkeypatch):
    """A loss that is not finite stops the training before it reaches the weights."""
    data = np.random.default_rng(0).normal(size=(8, 5))

    def explode(outputs: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        return (outputs - targets).square().sum() * torch.inf

    monkeypatch.setitem(__import__("video_ae.training").training.LOSSES, "linear", explode)
    with pytest.raises(FloatingPointError, match="step 1: the reconstruction loss is inf; choose a smaller learning_"):
        SequenceAutoencoder(**SMALL).fit(data)


@settings(max_examples=6, deadline=None)
@given(
    steps=st.integers(1, 60),
    features=st.integers(1, 5),
    count=st.integers(1, 5),
    scale=st.floats(-3, 3),
    rate=st.floats(1e-5, 1e-2),
    layers=st.lists(st.integers(1, 24), min_size=1, max_size=3),
    options=st.fixed_dictionaries(
        {
            "code_size": st.sampled_from([None, 3]),
            "repeat_code": st.booleans(),
            "conditional": st.booleans(),
            "beta": st.just(None),
            "noise": st.sampled_from([0.0, 0.3]),
            "drop_frames": st.sampled_from([0.0, 0.3]),
        }
    ),
)
@pytest.mark.filterwarnings("ignore:a code of")
def test_any_configuration_trains_with_finite_losses(steps, features, count, scale, rate, layers, options):
    """A small sample of benchmarks/robustness.py."""
    data = 10**scale * np.random.default_rng(steps).normal(size=(count, steps, features))
    estimator = SequenceAutoencoder(hidden_size=layers, max_iter=5, learning_rate=rate, random_state=0, **options)
    assert np.isfinite(estimator.fit(data).loss_curve_).all()
    assert np.isfinite(estimator.transform(data)).all()
