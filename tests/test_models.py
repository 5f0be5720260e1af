"""The autoencoder: sizes, directions of time, teacher forcing, and what goes in and comes out."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.config import DECODERS, FUTURE, PRESETS, RECONSTRUCTION
from video_ae.patches import frames_to_vectors, vectors_to_frames


def small(**choices) -> LSTMAutoencoder:
    return LSTMAutoencoder(ModelConfig(**({"frame_shape": (1, 8, 8), "hidden_size": 12} | choices)))


def parameters(**choices) -> int:
    with torch.device("meta"):
        model = LSTMAutoencoder(ModelConfig(**choices))
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameter_counts_of_the_papers_models():
    """The paper: about 101 M with one layer, 201 M with two, 33.6 M more for each conditional decoder."""
    paper = parameters(**PRESETS["paper"])
    assert paper == 100_696_064
    assert parameters(**PRESETS["paper-2layer"]) == 201_383_936
    assert parameters(**PRESETS["paper"], conditional=(FUTURE,)) - paper == 4 * 2048 * 4096


@given(
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 4), st.integers(1, 4)),
    patch_size=st.one_of(st.none(), st.integers(1, 4)),
    clips=st.tuples(st.integers(1, 3), st.integers(1, 4)),
)
@settings(max_examples=80, deadline=None)
def test_patches_and_back(shape, patch_size, clips):
    channels, rows, columns = shape
    unit = patch_size or 1
    frames = torch.randn(*clips, channels, rows * unit, columns * unit)
    vectors = frames_to_vectors(frames, patch_size)
    if patch_size:
        assert vectors.shape == (*clips, rows, columns, channels * unit * unit)
        patch = frames[0, 0, :, -unit:, :unit]  # bottom left: catches rows and columns swapped
        assert torch.equal(vectors[0, 0, -1, 0], patch.flatten())
    assert torch.equal(vectors_to_frames(vectors, tuple(frames.shape[2:]), patch_size), frames)


@pytest.mark.parametrize("patch_size", [None, 4])
@pytest.mark.parametrize("conditional", [(), (RECONSTRUCTION,), (FUTURE,), DECODERS])
def test_the_future_never_leaks_into_free_running(conditional, patch_size):
    """Changing the true future never changes a prediction, and free running takes none at all."""
    model = small(conditional=conditional, patch_size=patch_size)
    clips = torch.rand(2, 20, 1, 8, 8)
    vectors = model.encoder.to_vectors(clips)
    with_truth = model(vectors[:, :10], vectors[:, 10:], teacher_forcing=False)
    with_noise = model(vectors[:, :10], torch.rand_like(vectors[:, 10:]), teacher_forcing=False)
    for name in DECODERS:
        assert torch.equal(with_truth[name], with_noise[name])
        assert with_truth[name].shape == vectors[:, :10].shape


def test_teacher_forcing_shows_only_the_past():
    """Under teacher forcing, output t may depend on true frames before t (in decoding order), and must on the last."""
    model = small(conditional=DECODERS)
    vectors = torch.rand(1, 20, 64)
    before = model(vectors[:, :10], vectors[:, 10:], teacher_forcing=True)[FUTURE]
    changed = vectors.clone()
    changed[:, 14] = 1 - changed[:, 14]
    after = model(changed[:, :10], changed[:, 10:], teacher_forcing=True)[FUTURE]
    differs = (before != after).flatten(2).any(dim=2)[0].tolist()
    assert differs == [False] * 5 + [True] * 5  # the true frame 15 is the input of step 16 of the clip


def test_reconstruction_decodes_backwards_in_time():
    """Its first step makes the last frame; outside the decoder everything is in time order."""
    model = small(conditional=(RECONSTRUCTION,))
    vectors = torch.rand(1, 10, 64)
    _, states = model.encoder(vectors)
    decoder, code = model.decoders[RECONSTRUCTION], model.encoder.code(states)
    nothing = torch.zeros(1, 64)
    before = decoder(states, code, nothing, 10, vectors)
    changed = vectors.clone()
    changed[:, 6] = 1 - changed[:, 6]
    after = decoder(states, code, nothing, 10, changed)
    differs = (before != after).flatten(2).any(dim=2)[0].tolist()
    assert differs == [True] * 6 + [False] * 4  # frame 7 is an input only of frames 6, 5, ..., 1


def test_free_running_feeds_back_its_own_output():
    """Step by step by hand: the activated output of one step is the input of the next, the last frame the first."""
    model = small(conditional=(FUTURE,), layers=2)
    vectors = torch.rand(2, 10, 64)
    predicted = model(vectors, teacher_forcing=False, steps=4)[FUTURE]
    _, states = model.encoder(vectors)
    decoder, vector = model.decoders[FUTURE], vectors[:, -1]
    for t in range(4):
        hidden, states = decoder.lstm(vector[None], states, 1)
        vector = decoder.readout(hidden[0]).sigmoid()
        torch.testing.assert_close(predicted[:, t].sigmoid(), vector)


def test_a_convolutional_lstm_sees_its_neighbours_a_step_away():
    """What happens in one patch reaches the next one in a step, and no further; on a grid of any size."""
    model = small(cell="conv", patch_size=4, decoders=(FUTURE,))
    frames = torch.rand(1, 1, 1, 8, 40)  # 2 x 10 patches, where the model was built for 2 x 2
    changed = frames.clone()
    changed[..., 36:] = 1 - changed[..., 36:]  # the last column of patches

    def columns(steps: int) -> list[bool]:
        before, after = model.predict(frames, steps), model.predict(changed, steps)
        return (before[:, -1] != after[:, -1]).unflatten(3, (10, 4)).any(dim=4).flatten(0, 2).any(dim=0).tolist()

    # The encoder's step and each of the decoder's carries it by one column, and so does the layer before the readout.
    assert columns(1) == [False] * 6 + [True] * 4
    assert columns(3) == [False] * 4 + [True] * 6
    assert model.encode(frames).shape == (1, 12)
    assert torch.equal(model.predict(frames)[:, :3], model.predict(frames, 3))


def test_patches_are_sequences_of_their_own():
    """Every patch position goes through the same weights and sees no other position."""
    model = small(patch_size=4)
    frames = torch.rand(2, 10, 1, 8, 8)
    whole = model.predict(frames)
    alone = LSTMAutoencoder(ModelConfig(frame_shape=(1, 4, 4), hidden_size=12))
    alone.load_state_dict(model.state_dict())
    for row, column in itertools.product((0, 4), (0, 4)):
        part = frames[..., row : row + 4, column : column + 4]
        torch.testing.assert_close(whole[..., row : row + 4, column : column + 4], alone.predict(part))


def test_what_goes_in_comes_out():
    """uint8 frames give uint8 frames, floats floats, vectors vectors; any number of steps; one code per clip."""
    model = small(layers=2)
    frames = torch.randint(0, 256, (3, 10, 1, 8, 8), dtype=torch.uint8)
    as_floats = model.predict(frames.float() / 255, steps=25)
    assert as_floats.shape == (3, 25, 1, 8, 8)
    assert as_floats.min() >= 0
    assert as_floats.max() <= 1
    as_bytes = model.predict(frames, steps=25)
    assert as_bytes.dtype == torch.uint8
    assert torch.equal(as_bytes, (as_floats * 255).round().to(torch.uint8))
    assert torch.equal(model.predict(frames.float().flatten(2) / 255, steps=25), as_floats.flatten(2))
    assert model.reconstruct(frames).shape == frames.shape
    assert model.encode(frames).shape == (3, 12)
    assert small(patch_size=4).encode(frames).shape == (3, 4 * 12)


def test_the_code_is_the_top_layers_last_hidden_state():
    model = small(layers=2)
    frames = torch.rand(3, 10, 1, 8, 8)
    _, states = model.encoder(frames.flatten(2))
    assert torch.equal(model.encode(frames), states[-1].hidden)


@pytest.mark.parametrize("call", ["encode", "decode", "reconstruct", "predict"])
def test_what_a_model_makes_of_floats_is_differentiable(call):
    """It came without a gradient and without a word, so that nothing learned through it."""
    model = small(code_size=5)
    given = torch.rand(3, 5) if call == "decode" else torch.rand(3, 10, 1, 8, 8)
    arguments = (4,) if call == "decode" else ()
    made = getattr(model, call)(given.requires_grad_(), *arguments)
    weight = torch.randn_like(made)
    (gradient,) = torch.autograd.grad((made * weight).sum(), given)
    step = 1e-2 * torch.randn_like(given)
    with torch.no_grad():
        moved = [(getattr(model, call)(given + sign * step, *arguments) * weight).sum() for sign in (0.5, -0.5)]
        torch.testing.assert_close((gradient * step).sum(), moved[0] - moved[1], rtol=1e-2, atol=1e-3)
        assert not getattr(model, call)(given, *arguments).requires_grad


def test_linear_outputs_are_not_squashed():
    model = small(output="linear", decoders=(FUTURE,))
    with torch.no_grad():
        model.decoders[FUTURE].readout.bias.fill_(7.0)
    assert model.predict(torch.rand(1, 10, 1, 8, 8)).min() > 5


def test_wrong_shapes_and_missing_decoders_are_named():
    model = small(decoders=(FUTURE,))
    with pytest.raises(ValueError, match=r"found frames of shape \(2, 10, 1, 9, 9\), expected .*\(1, 8, 8\)"):
        model.predict(torch.rand(2, 10, 1, 9, 9))
    with pytest.raises(ValueError, match=r"found torch.int64 frames, expected uint8 .* or floats"):
        model.predict(torch.zeros(2, 10, 1, 8, 8, dtype=torch.int64))
    with pytest.raises(ValueError, match="no reconstruction decoder, only future"):
        model.reconstruct(torch.rand(2, 10, 1, 8, 8))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"decoders": ()}, "expected one or both of reconstruction, future"),
        ({"decoders": ("futur",)}, "expected one or both of reconstruction, future"),
        ({"decoders": (FUTURE,), "conditional": (RECONSTRUCTION,)}, "expected some of this model's decoders"),
        ({"hidden_size": 0}, "hidden_size is 0: expected at least 1"),
        (
            {"hidden_size": (4, 5), "layers": 3},
            r"hidden sizes \(4, 5\) of 3 layers: expected one size, or one per layer",
        ),
        ({"code_size": 0}, "code_size is 0: expected at least 1"),
        ({"variational": True}, "needs the size of its code: say code_size"),
        ({"patch_size": 5}, "patch size 5 does not divide the frame"),
        ({"cell": "gru"}, "cell 'gru': expected one of lstm, conv"),
        ({"cell": "conv"}, "needs a grid of patches: say patch_size"),
        ({"cell": "conv", "patch_size": 1, "frame_shape": (5, 1, 1)}, "found vectors of 5 features: use cell lstm"),
        ({"output": "relu"}, "output 'relu': expected one of logistic, linear"),
    ],
)
def test_models_that_cannot_be_built(choices, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**choices)


@pytest.mark.parametrize("output", ["logistic", "linear"])
def test_float_frames_of_0_to_255_are_refused(output):
    """Catches frames that nobody divided: their codes are those of saturated units, and nothing says so."""
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 8, 8), hidden_size=4, input_frames=3, output=output))
    frames = torch.randint(0, 256, (2, 3, 1, 8, 8), dtype=torch.uint8)
    for method in (model.encode, model.reconstruct, model.predict):
        with pytest.raises(ValueError, match=r"found float frames of up to 2\d\d, expected 0 to 1: give uint8 frames"):
            method(frames.float())
        with pytest.raises(ValueError, match="or divide by 255"):
            method(frames.float().flatten(2))
    torch.testing.assert_close(model.encode(frames.float() / 255), model.encode(frames))
    features = LSTMAutoencoder(ModelConfig(frame_shape=(64, 1, 1), hidden_size=4, input_frames=3, output="linear"))
    assert features.encode(frames.float().flatten(2)).shape == (2, 4)  # may be of any range


def test_arrays_are_told_from_tensors():
    """They gave NumPy's words about axes."""
    with pytest.raises(TypeError, match=r"found ndarray, expected a tensor: torch\.from_numpy"):
        LSTMAutoencoder(ModelConfig(frame_shape=(2, 1, 1), output="linear")).encode(np.zeros((1, 3, 2, 1, 1)))


@pytest.mark.parametrize("conditional", [(), (FUTURE,)])
def test_a_residual_model_begins_better_than_a_copy_of_the_last_frame(conditional):
    """Values that last and values that do not: shares are those of the process, x' = a x + noise; catches one for all,
    and in free running a frame before that is not the model's own."""
    random = torch.Generator().manual_seed(0)
    lasting = torch.tensor([0.95, 0.7, 0.0])
    steps = [torch.randn(3000, 3, generator=random)]
    for _ in range(8):
        noise = torch.randn(3000, 3, generator=random)
        steps.append(lasting * steps[-1] + (1 - lasting.square()).sqrt() * noise)
    clips = torch.stack(steps, dim=1)[..., None, None]
    config = ModelConfig((3, 1, 1), 4, 5, hidden_size=6, output="linear", residual=True, conditional=conditional)
    model = LSTMAutoencoder(config)
    model.start_from(clips)
    decoder = model.decoders[FUTURE]
    torch.testing.assert_close(decoder.keep.bias.sigmoid(), lasting.clamp(min=0.02), atol=0.03, rtol=0)

    torch.nn.init.zeros_(decoder.keep.weight)
    torch.nn.init.zeros_(decoder.readout.weight)
    predicted, last = model.predict(clips[:, :4], 5), clips[:, 3:4]
    assert (
        (predicted - clips[:, 4:]).square().mean(dim=(0, 2)) < (last - clips[:, 4:]).square().mean(dim=(0, 2))
    ).all()
    share = lasting ** torch.arange(1, 6)[:, None] if conditional else lasting.expand(5, 3)
    torch.testing.assert_close(predicted[..., 0, 0], share * last[..., 0, 0], atol=0.2, rtol=0.1)


def test_residual_decoders_are_for_linear_outputs():
    with pytest.raises(ValueError, match="needs linear outputs and cell lstm"):
        ModelConfig((3, 1, 1), residual=True)
