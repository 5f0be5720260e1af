"""The generator: a clip depends on (seed, split, index) alone, and is what its trajectory says."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.datasets.batches import consecutive_indices, load_batches, training_indices
from video_ae.datasets.digits import DIGIT_SIZE, Digits, load_digits
from video_ae.datasets.moving_mnist import MovingMNIST, paint, paint_on_device

OPTICAL = load_digits("optical", "train")


def test_a_clip_is_the_same_in_every_batch_worker_and_order():
    """Catches random numbers that depend on the neighbours in a batch, which would make resumed runs differ."""
    dataset = MovingMNIST(OPTICAL, "train", seed=3, clips=40)
    alone = torch.stack([dataset[i] for i in range(40)])
    assert torch.equal(dataset.__getitems__(range(40)), alone)
    assert torch.equal(dataset.__getitems__([7, 3, 39, 3, 4]), alone[[7, 3, 39, 3, 4]])
    by_workers = torch.cat(list(load_batches(dataset, consecutive_indices(40, 9), workers=2)))
    assert torch.equal(by_workers, alone)


def test_seed_split_and_index_all_matter():
    def first(seed: int, split: str, index: int) -> torch.Tensor:
        return MovingMNIST(OPTICAL, split, seed=seed)[index]

    clips = [first(0, "train", 0), first(1, "train", 0), first(0, "validation", 0), first(0, "train", 1)]
    assert all(not torch.equal(clips[i], clips[j]) for i in range(4) for j in range(i))


@given(
    num_digits=st.integers(1, 3),
    image_size=st.integers(DIGIT_SIZE, 70),
    frames=st.integers(1, 8),
    index=st.integers(0, 2**40),
    speeds=st.tuples(st.floats(0, 60), st.floats(0, 60)).map(sorted),
)
@settings(max_examples=60, deadline=None)
def test_frames_are_the_digits_where_the_labels_say(num_digits, image_size, frames, index, speeds):
    """Brute force: every pixel is the maximum over the digits that cover it, for any size and speed."""
    dataset = MovingMNIST(
        OPTICAL, "train", num_digits=num_digits, image_size=image_size, frames=frames, speed=tuple(speeds)
    )
    trajectories = dataset.trajectories([index])
    expected = np.zeros((frames, image_size, image_size), np.uint8)
    for t in range(frames):
        for digit in range(num_digits):
            x, y = (int(coordinate) for coordinate in trajectories.positions[0, t, digit])
            image = OPTICAL.images[trajectories.digits[0, digit]]
            for row in range(DIGIT_SIZE):
                for column in range(DIGIT_SIZE):
                    old = expected[t, y + row, x + column]
                    expected[t, y + row, x + column] = max(old, image[row, column])
    assert np.array_equal(dataset[index][:, 0].numpy(), expected)


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_painting_with_torch_is_bit_identical(device):
    """The GPU paints with the torch code; it must not see other clips than the CPU."""
    trajectories = MovingMNIST(OPTICAL, "train", num_digits=3, speed=(1, 9)).trajectories(range(50))
    on_device = paint_on_device(torch.from_numpy(OPTICAL.images).to(device), trajectories, 64)
    assert np.array_equal(on_device.cpu().numpy(), paint(OPTICAL.images, trajectories, 64))


def test_digits_move_as_their_labels_say_and_bounce():
    """position(t + 1) = position(t) + velocity(t), stopped at the walls, which turn the velocity round."""
    dataset = MovingMNIST(OPTICAL, "train", frames=60, speed=(2, 5))
    labels = dataset.labels(range(200))
    box = 64 - DIGIT_SIZE
    moved = labels.positions[:, :-1] + labels.velocities[:, :-1]
    np.testing.assert_allclose(labels.positions[:, 1:], moved.clip(0, box), atol=1e-4)
    assert labels.positions.min() == 0
    assert labels.positions.max() == box
    speed = np.linalg.norm(labels.velocities, axis=-1)
    np.testing.assert_allclose(speed, np.broadcast_to(speed[:, :1], speed.shape), rtol=1e-5)  # constant in a clip
    assert speed.min() == pytest.approx(2, abs=0.1)
    assert speed.max() == pytest.approx(5, abs=0.1)
    turned = np.sign(labels.velocities[:, 1:]) != np.sign(labels.velocities[:, :-1])
    at_wall = (labels.positions[:, 1:] <= 0) | (labels.positions[:, 1:] >= box)
    assert np.array_equal(turned, at_wall)


def test_starts_and_directions_are_uniform():
    """Catches an angle in degrees, a box of the wrong size, or one random number used twice."""
    labels = MovingMNIST(OPTICAL, "train", frames=1, speed=(0, 0)).labels(range(4000))
    np.testing.assert_allclose(labels.positions.mean(axis=(0, 1, 2)), 18, atol=0.5)
    np.testing.assert_allclose(labels.positions.std(axis=(0, 1, 2)), 36 / np.sqrt(12), atol=0.3)
    moving = MovingMNIST(OPTICAL, "train", frames=1, image_size=10_000 + DIGIT_SIZE)
    velocity = moving.trajectories(range(4000)).velocities[:, 0]
    np.testing.assert_allclose(velocity.mean(axis=(0, 1)), 0, atol=0.1)
    np.testing.assert_allclose(np.linalg.norm(velocity, axis=-1), 3.6, rtol=1e-5)
    correlation = np.corrcoef(velocity.reshape(-1, 4).T)
    np.testing.assert_allclose(correlation, np.eye(4), atol=0.06)


def test_classes_belong_to_the_painted_digits():
    digits = Digits(np.zeros((10, 28, 28), np.uint8), np.arange(10))
    digits.images[:] = np.arange(10, dtype=np.uint8)[:, None, None] * 25
    dataset = MovingMNIST(digits, "train", num_digits=1)
    clips, labels = dataset.__getitems__(range(50)), dataset.labels(range(50))
    assert np.array_equal(clips.amax(dim=(1, 2, 3, 4)).numpy() // 25, labels.classes[:, 0])


def test_training_batches_continue_where_they_stopped():
    """Resuming at step 5 must give the batches that an uninterrupted run sees from step 5 on."""
    for dataset in (MovingMNIST(OPTICAL, "train"), MovingMNIST(OPTICAL, "train", clips=10)):
        whole = training_indices(dataset, 4, seed=1)
        steps = [next(whole) for _ in range(9)]
        resumed = training_indices(dataset, 4, seed=1, first_step=5)
        assert [next(resumed) for _ in range(4)] == steps[5:]


def test_every_epoch_of_a_finite_set_sees_every_clip_once_in_another_order():
    dataset = MovingMNIST(OPTICAL, "train", clips=10)
    indices = training_indices(dataset, 4, seed=1)
    seen = [index for _ in range(5) for index in next(indices)]  # two epochs
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"image_size": 20}, "image size 20: expected at least 28"),
        ({"speed": (5.0, 2.0)}, "expected 0 <= lowest <= highest"),
        ({"speed": (0.0, float("nan"))}, "expected 0 <= lowest <= highest"),
        ({"num_digits": 0}, "expected at least one of each"),
        ({"split": "training"}, "unknown split 'training': expected one of train"),
    ],
)
def test_impossible_choices_are_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        MovingMNIST(OPTICAL, **({"split": "train"} | choices))
