"""Frames from `.npy` files: what is read is what was written, and every wrong file is named."""

import io
import struct
import zipfile

import numpy as np
import pytest
import torch
import torchvision

from datasets.arrays import FrameArray, open_moving_mnist_file, open_npy, read_npz
from datasets.config import DataConfig

RANDOM = np.random.default_rng(0)


def videos(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_clips_are_consecutive_pieces_of_the_videos(channels):
    """A video of 25 frames holds two clips of 10; the last 5 frames are left over."""
    array = videos(4, 25, 6, 5, *([channels] if channels else []))
    dataset = FrameArray(array, "all", frames=10)
    assert len(dataset) == 8
    as_channels = array.reshape(4, 25, 6, 5, channels or 1).transpose(0, 1, 4, 2, 3)
    assert np.array_equal(dataset[0].numpy(), as_channels[0, :10])
    assert np.array_equal(dataset[5].numpy(), as_channels[2, 10:20])
    assert torch.equal(dataset.__getitems__([5, 0]), torch.stack([dataset[5], dataset[0]]))


@pytest.mark.parametrize(("count", "clips"), [(23, [18, 3, 2]), (2, [16, 2, 2])])
def test_splits_share_no_frame_whatever_the_length_of_the_clips(count, clips):
    """Catches borders that move with --future-frames, so that test clips hold frames that were trained on."""
    array = np.zeros((count, 4 if count == 23 else 40, 1, 2), np.uint8)
    array[..., 0, 0] = np.arange(count)[:, None]
    array[..., 0, 1] = np.arange(array.shape[1])
    parts = [FrameArray(array, split, frames=4) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == clips

    def frames(split: str, length: int) -> set[tuple[int, int]]:
        dataset = FrameArray(array, split, frames=length)
        pairs = dataset.__getitems__(range(len(dataset))).flatten(2).flatten(0, 1)
        return {(video, t) for video, t in pairs.tolist()}

    for length in (1, 2, 3, 4):
        others = frames("train", 4) | frames("validation", 4)
        assert not frames("test", length) & others
    assert len(frames("test", 1) | frames("train", 1) | frames("validation", 1)) == array.shape[0] * array.shape[1]


def test_the_public_test_file_reads_as_torchvision_reads_it(tmp_path):
    """Same layout (time first), memory-mapped; all of it is test data."""
    folder = tmp_path / "MovingMNIST"
    folder.mkdir()
    np.save(folder / "mnist_test_seq.npy", videos(20, 12, 64, 64))
    theirs = torchvision.datasets.MovingMNIST(tmp_path)
    config = DataConfig(dataset="moving-mnist-file", data_dir=str(tmp_path))
    ours = config.open("all", 20)
    assert torch.equal(ours.__getitems__(range(12)), torch.stack([theirs[i] for i in range(12)]))
    assert isinstance(open_moving_mnist_file(folder / "mnist_test_seq.npy").base, np.memmap)
    for split in ("train", "validation"):
        with pytest.raises(ValueError, match="is test data"):
            config.open(split, 20)


def test_a_large_file_is_not_read_whole(tmp_path):
    """An array larger than the machine's memory must open; here 64 GiB of holes."""
    header = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (2**20, 16, 64, 64))
    del header
    dataset = FrameArray(open_npy(tmp_path / "large.npy"), "test", frames=16)
    assert dataset[len(dataset) - 1].sum() == 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((10, 20, 8, 8), np.float32), "found float32 values, expected uint8"),
        (np.zeros((10, 20, 8), np.uint8), r"found shape \(10, 20, 8\), expected \(N, T, H, W\)"),
        (np.zeros((10, 20, 8, 8, 2), np.uint8), r"with C 1 or 3"),
        (np.zeros((10, 12, 8, 8), np.uint8), r"videos have 12 frames, expected at least 20 .*--input-frames"),
        (np.zeros((0, 20, 8, 8), np.uint8), "which holds nothing"),
        (np.zeros((1, 20, 8, 8), np.uint8), "the validation part of each video has 2 frames, expected at least 20"),
    ],
)
def test_arrays_that_do_not_fit(array, message):
    with pytest.raises(ValueError, match=f"films.npy: .*{message}"):
        FrameArray(array, "validation", frames=20, name="films.npy")


def test_files_that_are_no_arrays(tmp_path):
    """Objects would need pickle, which runs code; it is never allowed."""
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("frames")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "short.npy", videos(4, 20, 8, 8))
    content = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(content[:-5])
    for name in ("objects", "text", "empty", "short"):
        with pytest.raises(ValueError, match=rf"{name}\.npy: not a whole \.npy array"):
            open_npy(tmp_path / f"{name}.npy")
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_npy(tmp_path / "missing.npy")


def header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        header("(1000000000, 1000000000)"),
        header("(4294967296, 4294967296, 2)"),
        header("(-1, 5)"),
        header("(" * 3000 + ")" * 3000),
        header("(3,)", "|O"),
        b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{" * 1000,
        b"\x93NUMPY\x09\0" + struct.pack("<I", 100) + b"{" * 1000,
    ],
    ids=["huge", "overflow", "negative", "deep", "objects", "header", "version"],
)
def test_headers_are_checked_before_anything_is_allocated(tmp_path, content):
    """A number in a header decides about memory: it must be one that the file can hold."""
    path = tmp_path / "hostile.npy"
    path.write_bytes(content + bytes(100))
    with pytest.raises(ValueError, match=rf"^{path}: not a whole \.npy array") as caught:
        open_npy(path)
    assert "\n" not in str(caught.value)
    with zipfile.ZipFile(tmp_path / "hostile.npz", "w") as archive:
        archive.writestr("a.npy", content + bytes(100))
    with pytest.raises(ValueError, match=r"hostile\.npz: not a whole \.npz file") as caught:
        read_npz(tmp_path / "hostile.npz", 2**34)
    assert "\n" not in str(caught.value)


def test_a_small_archive_cannot_fill_the_memory(tmp_path):
    """Zeros deflate a thousandfold: here 400 MB in 400 KB, made of pieces so that the test does not hold them."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(header("(50000000,)"))
        for _ in range(400):
            member.write(bytes(10**6))
    with pytest.raises(ValueError, match=r"bomb\.npz: .*a of 400,000,000 bytes, .* 268,435,456 are allowed"):
        read_npz(path, 2**34)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(10**6))  # two thousand times smaller, and still welcome
    path.write_bytes(buffer.getvalue())
    assert read_npz(path, 2**34)["a"].shape == (10**6,)
