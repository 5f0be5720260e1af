"""Frames from one array: what is read is what was written, and every array that says too little is refused."""

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.datasets.config import DataConfig
from video_ae.datasets.frame_arrays import open_frames, open_moving_mnist_file

RANDOM = np.random.default_rng(0)


def videos(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def saved(folder, array: np.ndarray) -> str:
    np.save(folder / "videos.npy", array)
    return str(folder / "videos.npy")


def config(folder, array: np.ndarray, **more) -> DataConfig:
    return DataConfig(dataset="array", data_dir=saved(folder, array), **more)


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_clips_are_consecutive_pieces_of_the_videos(tmp_path, channels):
    """A video of 25 frames holds two clips of 10 and, where everything is looked at, one more that ends with it."""
    array = videos(4, 25, 6, 5, *([channels] if channels else []))
    clips = config(tmp_path, array).open("all", 10)
    as_channels = array.reshape(4, 25, 6, 5, channels or 1).transpose(0, 1, 4, 2, 3)
    assert [clips.name(index) for index in range(4)] == ["0@0", "0@10", "0@15", "1@0"]
    assert np.array_equal(clips[0].numpy(), as_channels[0, :10])
    assert np.array_equal(clips[8].numpy(), as_channels[2, 15:])
    assert torch.equal(clips.__getitems__([8, 0]), torch.stack([clips[8], clips[0]]))


@pytest.mark.parametrize("count", [23, 2])
def test_splits_share_no_frame_whatever_the_length_of_the_clips(tmp_path, count):
    """Catches borders that move with --future-frames, so that test clips hold frames that were trained on."""
    array = np.zeros((count, 4 if count == 23 else 40, 1, 2), np.uint8)
    array[..., 0, 0] = np.arange(count)[:, None]
    array[..., 0, 1] = np.arange(array.shape[1])
    data = config(tmp_path, array, layout="NTHW")

    def frames(split: str, length: int) -> set[tuple[int, int]]:
        clips = data.open(split, length)
        pairs = clips.__getitems__(range(len(clips))).flatten(2).flatten(0, 1)
        return {(video, t) for video, t in pairs.tolist()}

    for length in (1, 2, 3, 4):
        others = frames("train", 4) | frames("validation", 4)
        assert not frames("test", length) & others
    assert len(frames("test", 1) | frames("train", 1) | frames("validation", 1)) == array.shape[0] * array.shape[1]


AXES = {"N": 7, "T": 9, "H": 4, "W": 5}


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_named_axes_are_the_axes(tmp_path_factory, data):
    """Against numpy: any order of the axes, with or without videos and channels, is the same videos."""
    letters = "THW" + "".join(axis for axis in "NC" if data.draw(st.booleans()))
    layout = "".join(data.draw(st.permutations(letters)))
    channels = data.draw(st.sampled_from([1, 3]))
    sizes = AXES | {"C": channels}
    truth = videos(*(sizes[axis] if axis in letters else 1 for axis in "NTHWC"))
    kept = truth.squeeze(tuple(place for place, axis in enumerate("NTHWC") if axis not in letters))
    order = [axis for axis in "NTHWC" if axis in letters]
    array = kept.transpose([order.index(axis) for axis in layout])
    found = open_frames(saved(tmp_path_factory.mktemp("axes"), array), layout=layout)
    assert np.array_equal(np.stack([found.array(index) for index in range(len(found.videos))]), truth)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((9, 8, 7), "THW"),
        ((9, 8, 7, 3), "THWC"),
        ((5, 9, 8, 7), "NTHW"),
        ((5, 9, 8, 7, 1), "NTHWC"),
        ((5, 9, 3, 8, 7), "NTCHW"),
    ],
)
def test_usual_shapes_say_their_axes(tmp_path, shape, layout):
    array = videos(*shape)
    usual, named = open_frames(saved(tmp_path, array)), open_frames(saved(tmp_path, array), layout=layout)
    assert usual.videos == named.videos
    assert all(np.array_equal(usual.array(index), named.array(index)) for index in range(len(named.videos)))


def moving(count: int, frames: int) -> np.ndarray:
    """(N, T, H, W) of squares that move."""
    array = np.zeros((count, frames, 24, 24), np.uint8)
    for video in range(count):
        y, x = RANDOM.integers(0, 16, 2)
        down, right = RANDOM.integers(-1, 2, 2)
        for t in range(frames):
            top, left = np.clip((y + down * t, x + right * t), 0, 16)
            array[video, t, top : top + 8, left : left + 8] = 255
    return array


@pytest.mark.parametrize(("count", "frames"), [(400, 20), (12, 30), (20, 20)])
def test_time_that_comes_first_is_noticed(tmp_path, count, frames):
    """The public Moving MNIST file is (20, 10000, 64, 64): as videos, every frame would be of another one."""
    array = moving(count, frames)
    path = saved(tmp_path, array)
    assert len(open_frames(path).videos) == count
    saved(tmp_path, array.swapaxes(0, 1))
    with pytest.raises(ValueError, match=r"does time come first\? --layout TNHW reads it so, --layout NTHW as it was"):
        open_frames(path)
    assert np.array_equal(open_frames(path, layout="TNHW").array(3)[..., 0], array[3])
    assert len(open_frames(path, layout="NTHW").videos) == frames


@pytest.mark.parametrize(
    "made",
    [
        lambda frames: frames / 255,
        lambda frames: frames.astype(np.float32),
        lambda frames: frames.astype(np.int64),
        lambda frames: frames / 127.5 - 1,
        lambda frames: frames.astype(np.uint16) * 257,
        lambda frames: frames > 127,
    ],
)
def test_the_call_that_is_named_makes_frames_of_other_numbers(tmp_path, made):
    """Catches advice that does not work: the words in the message are carried out."""
    frames = np.broadcast_to(np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16), (2, 5, 16, 16)).copy()
    array = made(frames)
    path = saved(tmp_path, array)
    with pytest.raises(ValueError, match=f"found {array.dtype} values, expected uint8, 0 to 255; save ") as caught:
        open_frames(path)
    call = str(caught.value).split("; save ")[1].removesuffix(" instead")
    mended = eval(call, {"frames": array})
    assert mended.dtype == np.uint8
    assert np.abs(mended.astype(int) - (255 * (frames > 127) if array.dtype == bool else frames)).max() <= 1
    saved(tmp_path, mended)
    assert len(open_frames(path).videos) == 2


@pytest.mark.parametrize(
    ("array", "layout", "message"),
    [
        (np.zeros((10, 20), np.uint8), "", r"found shape \(10, 20\), expected \(T, H, W\)"),
        (np.zeros((10, 20, 8, 8, 2), np.uint8), "", r"with C 1 or 3"),
        (np.zeros((10, 3, 8, 8), np.uint8), "", "--layout TCHW reads pictures that follow each other as one video"),
        (np.zeros((10, 20, 8, 8, 4), np.uint8), "NTHWC", "found 4 channels, expected 1 or 3"),
        (np.zeros((0, 20, 8, 8), np.uint8), "", "which holds nothing"),
        (np.zeros((9, 20, 8, 8), np.uint8), "NTH", "and --layout NTH, expected a letter for each axis"),
        (np.zeros((9, 20, 8, 8), np.uint8), "NTHX", "and --layout NTHX, expected a letter for each axis"),
        (np.zeros((9, 20, 8, 8), np.uint8), "NNHW", "and --layout NNHW, expected a letter for each axis"),
        (np.array([["a"]]), "", "found <U1 values"),
        (np.full((9, 20, 8, 8), np.nan, np.float32), "", "save an array without NaN or infinite values"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, array, layout, message):
    with pytest.raises(ValueError, match=f"videos.npy: .*{message}"):
        open_frames(saved(tmp_path, array), layout=layout)


def test_videos_that_are_too_short(tmp_path):
    with pytest.raises(ValueError, match=r"found 12 frames, expected at least 20 .*--input-frames"):
        config(tmp_path, np.zeros((10, 12, 8, 8), np.uint8)).open("train", 20)
    with pytest.raises(ValueError, match=r"found 2 frames, expected at least 20"):
        config(tmp_path, np.zeros((1, 20, 8, 8), np.uint8)).open("validation", 20)


def test_the_public_test_file_reads_as_torchvision_reads_it(tmp_path):
    """Same layout (time first), memory-mapped; all of it is test data."""
    folder = tmp_path / "MovingMNIST"
    folder.mkdir()
    np.save(folder / "mnist_test_seq.npy", videos(20, 12, 64, 64))
    theirs = torchvision.datasets.MovingMNIST(tmp_path)
    data = DataConfig(dataset="moving-mnist-file", data_dir=str(tmp_path))
    ours = data.open("all", 20)
    assert torch.equal(ours.__getitems__(range(12)), torch.stack([theirs[i] for i in range(12)]))
    mapped = open_moving_mnist_file(folder / "mnist_test_seq.npy").array(0)
    assert isinstance(mapped, np.memmap)
    for split in ("train", "validation"):
        with pytest.raises(ValueError, match="is test data"):
            data.open(split, 20)


def test_a_large_file_is_not_read_whole(tmp_path):
    """An array larger than the machine's memory must open; here 64 GiB of holes."""
    header = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (2**16, 256, 64, 64))
    del header
    clips = DataConfig(dataset="array", data_dir=str(tmp_path / "large.npy")).open("test", 16)
    assert clips[len(clips) - 1].sum() == 0
