"""The scikit-learn estimator: its conventions, its shapes, and that it learns."""

import pickle
import re

import numpy as np
import pandas as pd
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
from video_ae.anomaly import spread_scores
from video_ae.losses import LOSSES

SMALL = {"hidden_size": 8, "code_size": 2, "max_iter": 2, "random_state": 0}
ROWS = np.sin(np.linspace(0, 6, 60).reshape(6, 10))


OTHER_STEPS = "columns of rows are time steps: what is to be continued comes without the future that fit had"
FORECASTS = dict.fromkeys(("check_n_features_in_after_fitting", "check_transformer_general"), OTHER_STEPS)


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
    assert [made.shape for made in windows.predict([series, series[:20]])] == [(14, 2, 1), (4, 2, 1)]
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


@pytest.mark.parametrize("objective", ["reconstruct", "predict", "composite"])
def test_scores_of_steps_and_features_of_a_long_series_are_those_by_hand(objective):
    """Own errors from the windows that `reconstruct` and `predict` give; spread between holes and between series alone;
    the mean of the features' own errors is that of the step."""
    series = np.random.default_rng(0).normal(size=(40, 2)).cumsum(axis=0)
    options = SMALL | {"window": 8, "future_steps": 3}
    model = SequenceAutoencoder(objective, **options).fit(series)
    follow = 0 if objective == "reconstruct" else 3
    deviation, windows = model.model_.encoder.std.numpy(), range(40 - 8 - follow + 1)
    errors: list[list[np.ndarray]] = [[] for _ in range(40)]
    rebuilt = model.reconstruct(series) if objective != "predict" else None
    coming = model.predict(series) if follow else None
    for start in windows:
        for step in range(8 if rebuilt is not None else 0):
            errors[start + step].append(((rebuilt[start, step] - series[start + step]) / deviation) ** 2)
        for step in range(follow):
            errors[start + 8 + step].append(((coming[start, step] - series[start + 8 + step]) / deviation) ** 2)
    by_hand = np.array([np.mean(found, axis=0) if found else [np.nan] * 2 for found in errors])
    own, features = model.score_steps(series, spread=False), model.score_features(series, spread=False)
    np.testing.assert_allclose(-features, by_hand, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(own, features.mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(-model.score_steps(series), spread_scores(-own, 8 + follow), rtol=1e-4)
    np.testing.assert_allclose(-model.score_features(series), spread_scores(-features, 8 + follow), rtol=1e-4)
    both = model.score_features([series, series[:25]])
    np.testing.assert_allclose(both[1], model.score_features(series[:25]), rtol=1e-4)


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
        ({}, [np.ones((0, 2))], r"sequence 0 has the shape \(0, 2\), expected \(T, F\)"),
        ({}, [np.array([1.0, np.nan])], "contains NaN"),
        ({}, np.full((2, 3, 1), 1e300), "beyond the range of float32"),
        ({"window": 99}, np.ones(50), "found a series of 50 steps, expected at least the 99 of a window"),
        ({"window": 5, "stride": 0}, np.ones(50), "stride is 0: expected a whole number"),
        ({"objective": "predict", "future_steps": 9}, [np.ones(9)], "found a sequence of 9 steps .* at least 10"),
        ({"objective": "predict", "future_steps": 0}, ROWS, "future_steps is 0: expected a whole number"),
        ({"max_iter": 0}, ROWS, "max_iter is 0"),
        ({"window": 10.0}, np.ones(50), r"window is 10\.0: expected a whole number"),
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
    with pytest.raises(ValueError, match="X has 3 features, but SequenceAutoencoder is expecting 2"):
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

    monkeypatch.setitem(LOSSES, "linear", explode)
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


# DataFrames, times and lists.


def sensors(steps: int, seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(steps, 2)) * [1, 50] + [20, 1000]
    return pd.DataFrame(values, columns=["temperature", "pressure"])


def turned(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["pressure", "temperature"]]


@pytest.mark.parametrize("window", [None, 10])
def test_columns_are_matched_by_name(window):
    """Catches columns in another order that are scored as if they were in that of `fit`."""
    frames = [sensors(30), sensors(25, seed=1)]
    model = SequenceAutoencoder(window=window, **SMALL).fit([frames[0], turned(frames[1])])
    assert model.feature_names_in_.tolist() == ["temperature", "pressure"]
    assert model.n_features_in_ == 2
    for method in (model.transform, model.reconstruct, model.score_samples, model.score_steps):
        for found, expected in zip(method([turned(frame) for frame in frames]), method(frames), strict=True):
            np.testing.assert_array_equal(found, expected)
    with pytest.raises(
        ValueError, match=r"feature names should match.*fit: sequence 0 has also \['t'\] and lacks \['te"
    ):
        model.score([frames[0].rename(columns={"temperature": "t"})])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.score([frame.to_numpy() for frame in frames])
    assert not hasattr(model.fit([frame.to_numpy() for frame in frames]), "feature_names_in_")


def test_steps_in_rows_have_to_be_in_order():
    """Rows of DataFrames: their columns are steps, of which the future may be missing where it is to be predicted."""
    named = pd.DataFrame(ROWS, columns=[f"t{step}" for step in range(10)])
    model = SequenceAutoencoder("composite", future_steps=3, **SMALL).fit(named)
    np.testing.assert_array_equal(model.predict(named.iloc[:, :7]), model.fit(ROWS).predict(ROWS[:, :7]))
    model.fit(named)
    for wrong in (named.iloc[:, ::-1], named.iloc[:, 3:], named.iloc[:, [*range(6), 7]]):
        for method in (model.predict, model.transform, model.score_samples):
            with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
                method(wrong)
    numbered = model.fit(pd.DataFrame(ROWS))
    with pytest.raises(ValueError, match="come in another order than in fit"):
        numbered.transform(pd.DataFrame(ROWS).iloc[:, ::-1])


def test_rows_without_the_future_go_through_every_method():
    """As arrays (N, T, 1) do, with the same results."""
    rows = np.random.default_rng(0).normal(size=(12, 10)).cumsum(axis=1)
    model = SequenceAutoencoder("composite", future_steps=3, **SMALL).fit(rows)
    stacked = SequenceAutoencoder("composite", future_steps=3, **SMALL).fit(rows[:, :, None])
    past = rows[:, :7]
    np.testing.assert_allclose(model.transform(past), stacked.transform(past[:, :, None]), rtol=1e-5)
    np.testing.assert_allclose(model.reconstruct(past), stacked.reconstruct(past[:, :, None])[:, :, 0], rtol=1e-5)
    np.testing.assert_allclose(model.score_samples(past), stacked.score_samples(past[:, :, None]), rtol=1e-5)
    assert model.score_steps(past).shape == (12, 7)


def test_windows_do_not_cross_a_hole_in_time():
    """A frame with a hole is its two parts; scores stay in the places of its rows."""
    minutes = pd.date_range("2024-01-01", periods=40, freq="min").append(
        pd.date_range("2024-05-01", periods=64, freq="min")
    )
    frame = sensors(104).set_axis(minutes).drop(minutes[60:64])  # 40, 20 and 40 rows
    parts = [frame.iloc[:40].reset_index(drop=True), frame.iloc[60:].reset_index(drop=True)]
    hole = pytest.warns(
        UserWarning, match="2 holes in the times .*, the largest 120 days.*do not cross them; 20 steps are in"
    )
    with hole:
        model = SequenceAutoencoder("composite", window=25, **SMALL).fit(frame)
    apart = SequenceAutoencoder("composite", window=25, **SMALL).fit(parts)
    np.testing.assert_allclose(model.loss_curve_, apart.loss_curve_, rtol=1e-4)
    with hole:
        scores = model.score_steps(frame)
    expected = np.concatenate([apart.score_steps(parts)[0], np.full(20, np.nan), apart.score_steps(parts)[1]])
    np.testing.assert_allclose(scores, expected, rtol=1e-2)
    with pytest.raises(ValueError, match=r"not in order.*X.sort_index\(\)"):
        model.score_steps(frame.sample(frac=1, random_state=0))
    with pytest.warns(UserWarning, match="sequences are read across them"):
        SequenceAutoencoder(**SMALL).fit([frame])


def test_a_table_without_window_is_questioned():
    hours = sensors(50).set_axis(pd.date_range("2024", periods=50, freq="h"))
    with pytest.warns(UserWarning, match=r"50 rows are read as 50 sequences of 2 steps.*give window=.*X.to_numpy\(\)"):
        SequenceAutoencoder(**(SMALL | {"code_size": 1})).fit(hours)


def test_numbers_far_from_zero_come_back_as_they_are():
    """A counter at 1e8 that moves by 3, which float32 would round to multiples of 8; scores are those without the
    offset."""
    wave = 3 * np.sin(np.arange(400) / 7)
    far = SequenceAutoencoder("composite", window=20, **SMALL).fit(1e8 + wave)
    near = SequenceAutoencoder("composite", window=20, **SMALL).fit(wave - wave.mean())
    assert far.offsets_ == pytest.approx([1e8])
    np.testing.assert_allclose(far.score_steps(1e8 + wave), near.score_steps(wave - wave.mean()), rtol=1e-3)
    for method, X in (("predict", wave), ("reconstruct", wave), ("inverse_transform", None)):
        found = getattr(far, method)(far.transform(1e8 + wave) if X is None else 1e8 + X)
        expected = getattr(near, method)(near.transform(wave - wave.mean()) if X is None else X - wave.mean())
        assert (found.dtype, expected.dtype) == (np.float64, np.float32)
        np.testing.assert_allclose(found - 1e8 - wave.mean(), expected, atol=1e-3)


def test_a_sensor_that_was_constant_is_named_when_it_moves():
    values = np.random.default_rng(0).normal(size=(200, 2)) * [1, 0]
    model = SequenceAutoencoder(window=20, **SMALL).fit(values)
    normal = model.score(values)
    values[50, 1] = 1e-9
    with pytest.warns(UserWarning, match="was constant in fit moves here: feature 1 by up to 1e-09"):
        assert model.score(values) == pytest.approx(normal)
    values[50, 1] = 1e3
    with pytest.warns(UserWarning, match="was constant in fit moves here: feature 1 by up to 1e"):
        assert model.score(values) < 1e3 * normal


@pytest.mark.parametrize("count", [1, 2, 10])
def test_what_is_held_out_is_not_learnt_from(count):
    """What stops the training could be anything without a change to what is learnt, scales included; catches held-out
    windows that overlap those learnt from."""
    series = list(np.random.default_rng(0).normal(size=(count, 100)))
    options = SMALL | {"window": 20, "early_stopping": True, "validation_fraction": 0.15}
    model = SequenceAutoencoder(**options).fit(series)
    others = [part.copy() for part in series]
    if count < 10:  # the last 13 of 81 windows of each
        for part in others:
            part[68:] = 9 + np.sin(part[68:])
        held_out = np.concatenate([scores[-13:] for scores in model.score_samples(series)])
    else:
        order = np.random.RandomState(0)
        order.randint(2**31 - 1)  # the seed of the weights is drawn first
        whole = order.permutation(10)[:2]
        for index in whole:
            others[index][:] = 9 + np.sin(others[index])
        held_out = np.concatenate([model.score_samples(series)[index] for index in whole])
    assert min(model.validation_curve_) == pytest.approx(-held_out.mean(), rel=1e-3)
    other = SequenceAutoencoder(**options).fit(others)
    assert other.loss_curve_[:2] == model.loss_curve_[:2]
    assert other.validation_curve_ != model.validation_curve_


def test_lists_keep_their_series_apart():
    """One array per series, that of the series alone; the last forecast is what follows it."""
    series = {name: np.sin(np.arange(length) / 5) for name, length in {"x": 60, "y": 31, "z": 45}.items()}
    options = SMALL | {"window": 20, "future_steps": 5, "stride": 7}
    model = SequenceAutoencoder("composite", **options).fit(list(series.values()))
    for name in ("transform", "reconstruct", "reconstruct_steps", "predict", "score_samples", "score_steps"):
        method = getattr(model, name)
        found, by_name = method(list(series.values())), method(series)
        assert list(by_name) == list(series)
        for part, again, alone in zip(found, by_name.values(), series.values(), strict=True):
            np.testing.assert_allclose(part, method(alone), rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(part, again)
    for forecast, alone in zip(model.predict(list(series.values())), series.values(), strict=True):
        np.testing.assert_allclose(forecast[-1], model.predict(alone[-20:])[0], rtol=1e-4, atol=1e-6)
    back = model.inverse_transform(model.transform(series))
    assert {name: part.shape for name, part in back.items()} == {"x": (7, 20, 1), "y": (3, 20, 1), "z": (5, 20, 1)}
    assert model.score(series) == pytest.approx(np.concatenate(list(model.score_samples(series).values())).mean())


def test_the_faulty_sensor_explains_the_windows_that_it_spoils():
    """Of three coupled sensors one is stuck; apart for every series of a dictionary. Without normal data nobody knows
    that the third is always hard to rebuild, and its noise would be first."""
    steps = np.arange(900)[:, None]
    series = np.sin(steps / [5, 5, 5] + [0, 1, 2]) + [0.05, 0.05, 0.4] * np.random.default_rng(0).normal(size=(900, 3))
    options = SMALL | {"window": 20, "hidden_size": 16, "code_size": 3, "max_iter": 15, "stride": 4}
    model = SequenceAutoencoder(**options).fit(series[:500])
    broken = {"first": series[700:760].copy(), "second": series[760:800].copy()}
    broken["first"][:, 0] = broken["first"][0, 0]
    broken["second"][:, 1] += 1
    found = model.attribute(broken, series[500:700])
    assert {name: part.shape for name, part in found.items()} == {"first": (11, 3), "second": (6, 3)}
    assert found["first"].mean(axis=0).argmax() == 0
    assert found["second"].mean(axis=0).argmax() == 1
    np.testing.assert_allclose(
        found["second"], model.attribute(broken["second"], series[500:700]), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ValueError, match="does not know what is missing"):
        SequenceAutoencoder(**options, missing="mask").fit(series[:500]).attribute(series, series)


def test_windows_are_put_together_to_the_series_that_they_are_of():
    """Every step the mean over a loop of windows, also far from zero, where float32 would not hold it; NaN in what is
    too short between two holes; without windows what `reconstruct` gives."""
    values = np.array([1e8, 0]) + np.random.default_rng(0).normal(size=(43, 2)).cumsum(axis=0)
    index = [*range(20), *range(100, 103), *range(200, 220)]
    model = SequenceAutoencoder(**SMALL, window=8, stride=3).fit(values)
    frame = pd.DataFrame(values, index=index)
    with pytest.warns(UserWarning, match="holes"):
        found = model.reconstruct_steps(frame)
    with pytest.warns(UserWarning, match="holes"):
        windows = model.reconstruct(frame)
    starts = [first + start for first in (0, 23) for start in (0, 3, 6, 9, 12)]
    by_hand = [[w[t - s] for w, s in zip(windows, starts, strict=True) if s <= t < s + 8] for t in range(43)]
    assert np.isnan(found[20:23]).all()
    there = [step for step in range(43) if not 20 <= step < 23]
    np.testing.assert_allclose(found[there], [np.mean(by_hand[step], axis=0) for step in there], rtol=1e-12, atol=1e-6)
    assert set(model.reconstruct_steps({"a": values, "b": values[:9]})) == {"a", "b"}
    whole = SequenceAutoencoder(**SMALL).fit(values[None])
    np.testing.assert_array_equal(whole.reconstruct_steps(values[None]), whole.reconstruct(values[None]))


def fitted(objective: str, window: int | None) -> SequenceAutoencoder:
    options = {"future_steps": 2, "hidden_size": 5, "code_size": 2, "max_iter": 1, "random_state": 0}
    return SequenceAutoencoder(objective, window=window, stride=3, **options).fit(ragged())


FITTED = {(o, w): fitted(o, w) for o in ("reconstruct", "predict", "composite") for w in (None, 2)}
FORMS = {
    "list": list,
    "dictionary": lambda parts: {f"m{index}": part for index, part in enumerate(parts)},
    "nested lists": lambda parts: [part.tolist() for part in parts],
    "frames": lambda parts: [pd.DataFrame(part) for part in parts],
    "padded": lambda parts: np.stack(
        [np.pad(part, ((0, 15 - len(part)), (0, 0)), constant_values=np.nan) for part in parts]
    ),
}


@pytest.mark.filterwarnings("ignore:a code of")
@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 15), min_size=1, max_size=6),
    form=st.sampled_from(sorted(FORMS)),
    kind=st.sampled_from(list(FITTED)),
)
def test_any_mix_of_lengths_goes_through_every_method(lengths, form, kind):
    """Each sequence gets what it gets alone, in every form, or one line names the sequence that is too short."""
    (objective, window), model = kind, FITTED[kind]
    lasting = 0 if objective == "reconstruct" else 2
    parts = [np.random.default_rng(length).normal(size=(length, 2)) for length in lengths]
    X = FORMS[form](parts)
    needed = {"transform": 1, "score_samples": 1 + lasting, "score_steps": 1 + lasting, "score": 1 + lasting}
    needed |= {"reconstruct": 1, "fit_transform": 1 + lasting} if objective != "predict" else {}
    needed |= {"predict": 1} if lasting else {}
    for name, least in needed.items():
        least += (window or 1) - 1
        method = getattr(clone(model) if name == "fit_transform" else model, name)
        if min(lengths) < least:
            with pytest.raises(ValueError, match=r"sequence '?m?(\d+)'?: found a se.* at least") as found:
                method(X)
            assert lengths[int(re.search(r"\d+", str(found.value)).group())] < least
            continue
        found = method(X)
        if name == "score":
            assert np.isfinite(found)
            continue
        assert len(found) == len(parts)
        if name == "fit_transform":
            continue
        values = list(found.values()) if isinstance(found, dict) else found
        for made, part in zip(values, parts, strict=True):
            alone = method([part])[0]
            if form == "padded" and window is None and name in ("reconstruct", "score_steps"):
                assert np.isnan(made[len(part) :]).all()
                made = made[: len(part)]
            np.testing.assert_allclose(made, alone, rtol=1e-3, atol=1e-5)
