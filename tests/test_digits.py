"""Digit images: disjoint splits, files in every state."""

import gzip
import shutil

import numpy as np
import pytest
import sklearn.datasets

from video_ae.datasets.digits import _bundled_digits, load_digits
from video_ae.datasets.moving_mnist import MovingMNIST
from video_ae.metrics import entropy_floor


def distinct(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


@pytest.mark.parametrize(("name", "counts"), [("optical", (1257, 180, 360)), ("mnist", (55_000, 5_000, 10_000))])
def test_splits_share_no_image(name, counts, request):
    """Catches validation or test digits leaking into training."""
    folder = request.getfixturevalue("real_data") if name == "mnist" else None
    splits = [load_digits(name, split, folder) for split in ("train", "validation", "test")]
    assert tuple(len(split.images) for split in splits) == counts
    for split in splits:
        assert split.images.shape[1:] == (28, 28)
        assert split.images.dtype == np.uint8
        assert set(split.labels) == set(range(10))
    sets = [distinct(split.images) for split in splits]
    assert not (sets[0] & sets[1]) | (sets[0] & sets[2]) | (sets[1] & sets[2])


def test_bundled_digits_are_scikit_learns():
    """They are read from its file, not through it: a release that moves or changes the file must not pass unseen."""
    expected = sklearn.datasets.load_digits()
    images, labels = _bundled_digits()
    assert np.array_equal(images, expected.images)
    assert np.array_equal(labels, expected.target)


@pytest.mark.parametrize(("num_digits", "floor"), [(1, 45), (2, 87), (3, 124)])
def test_the_generator_is_faithful(num_digits, floor, real_data):
    """The entropy of the frames is a property of the paper's data: 86 to 88 nats with two MNIST test digits."""
    dataset = MovingMNIST(load_digits("mnist", "test", real_data), "test", num_digits=num_digits, frames=10)
    frames = dataset.__getitems__(range(500)).float() / 255
    assert entropy_floor(frames).mean().item() == pytest.approx(floor, rel=0.03)


def test_compressed_mnist_is_unpacked_beside_or_into_the_cache(real_data, tmp_path, monkeypatch):
    """A folder that nobody may write into must stay as it is, also for root."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in (real_data / "MNIST" / "raw").glob("*.gz"):
        shutil.copy(archive, raw)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    raw.chmod(0o555)
    from_cache = load_digits("mnist", "test", tmp_path / "data")
    assert {path.suffix for path in raw.iterdir()} == {".gz"}
    raw.chmod(0o755)
    beside = load_digits("mnist", "test", tmp_path / "data" / "MNIST")  # the folder itself will do, too
    assert len([path for path in raw.iterdir() if not path.suffix]) == 4
    assert np.array_equal(from_cache.images, beside.images)
    assert np.array_equal(from_cache.labels, beside.labels)


def test_a_truncated_archive_is_named(real_data, tmp_path):
    """Catches half a data set being trained on."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in (real_data / "MNIST" / "raw").glob("*.gz"):
        shutil.copy(archive, raw)
    damaged = raw / "train-images-idx3-ubyte.gz"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: damaged"):
        load_digits("mnist", "train", tmp_path)


def test_truncated_unpacked_files_are_named(tmp_path):
    raw = tmp_path / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(gzip.decompress(gzip.compress(b"\x00\x00\x08\x03 nothing")))
    with pytest.raises(
        ValueError, match=r"train-images-idx3-ubyte: its header is not that of 12 bytes of digits; unpack it again"
    ):
        load_digits("kmnist", "train", tmp_path)


def test_missing_files_and_unknown_names_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no train-images-idx3-ubyte\.gz.*--data-dir.*--download"):
        load_digits("mnist", "train", tmp_path)
    with pytest.raises(ValueError, match="unknown digits 'emnist': expected one of optical, mnist"):
        load_digits("emnist")
    with pytest.raises(ValueError, match="unknown split 'val'"):
        load_digits("optical", "val")
