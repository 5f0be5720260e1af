"""Decoded videos on disk: what is read is what was written, whoever wrote it and however often it was interrupted."""

import json
import os
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.datasets.arrays import open_npy
from video_ae.datasets.batches import training_indices
from video_ae.datasets.video_arrays import (
    UnwritableError,
    VideoArrays,
    VideoRecord,
    cut_arrays,
    cut_patches,
    open_arrays,
    save_rows,
    write_arrays,
)
from video_ae.datasets.video_clips import VideoClips
from video_ae.datasets.videos import Video

VIDEOS = [Video(Path(f"{name}.avi"), name, name.split("/")[0], name[-3:]) for name in ("b/x_g01", "a/y_g02", "a/x_g01")]


def read(video: Video) -> np.ndarray:
    """Frames that differ from video to video: (T, 4, 5, 3) uint8."""
    random = np.random.default_rng(zlib.crc32(video.name.encode()))
    return random.integers(0, 256, (random.integers(6, 12), 4, 5, 3), dtype=np.uint8)


def in_memory(arrays: list[np.ndarray], labels: list[str] | None = None) -> VideoArrays:
    labels = labels or ["a"] * len(arrays)
    records = [
        VideoRecord(f"v{index}", label, f"g{index}", array.shape, str(array.dtype))
        for index, (array, label) in enumerate(zip(arrays, labels, strict=True))
    ]
    return VideoArrays(records, arrays.__getitem__)


def numbered(lengths: list[int]) -> VideoArrays:
    """Videos of one pixel with the channels (video, frame), so that a clip says where it is from."""
    videos = [np.zeros((length, 1, 1, 2), np.uint8) for length in lengths]
    for index, video in enumerate(videos):
        video[..., 0], video[:, 0, 0, 1] = index, np.arange(len(video))
    return in_memory(videos)


def test_what_was_written_is_what_was_read(tmp_path):
    """Catches videos that are lost or repeated, or that come back in another order."""
    with pytest.raises(FileNotFoundError, match=r"no index.*the command that began it goes on with it"):
        open_arrays(tmp_path)
    write_arrays(tmp_path, VIDEOS, read, {"size": (4, 5)})
    arrays = open_arrays(tmp_path)
    expected = sorted(VIDEOS, key=lambda video: video.name)
    assert [(video.name, video.label, video.group) for video in arrays.videos] == [video[1:4] for video in expected]
    assert (arrays.class_names, arrays.facts, arrays.unreadable) == (["a", "b"], {"size": [4, 5]}, [])
    for index, video in enumerate(expected):
        assert isinstance(arrays.array(index), np.memmap)
        assert np.array_equal(arrays.array(index), read(video))
        assert arrays.videos[index].frames == len(read(video))
    assert isinstance(pickle.loads(pickle.dumps(arrays)).array(0), np.memmap)  # workers do not get the content sent


def test_an_interrupted_writing_goes_on_where_it_stopped(tmp_path):
    """Catches whole arrays that are decoded again, stumps that are kept, and folders that mix two ways of decoding."""
    asked = []

    def interrupted(video: Video) -> np.ndarray:
        asked.append(video.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return read(video)

    with pytest.raises(KeyboardInterrupt):
        write_arrays(tmp_path, VIDEOS, interrupted, {"size": 4})
    with pytest.raises(FileNotFoundError, match="no index"):
        open_arrays(tmp_path)
    with pytest.raises(ValueError, match="holds arrays with size 4, expected 8; choose another folder"):
        write_arrays(tmp_path, VIDEOS, read, {"size": 8})
    write_arrays(tmp_path, VIDEOS, interrupted, {"size": 4})
    assert asked == ["b/x_g01", "a/y_g02", "a/y_g02", "a/x_g01"]

    stump = tmp_path / "arrays" / "a" / "y_g02.npy"
    stump.write_bytes(stump.read_bytes()[:-1])
    write_arrays(tmp_path, VIDEOS, interrupted, {"size": 4})
    assert asked[4:] == ["a/y_g02"]
    arrays = open_arrays(tmp_path)
    assert all(np.array_equal(arrays.array(i), read(VIDEOS[[2, 1, 0][i]])) for i in range(3))


def test_unreadable_videos_are_an_error_or_a_list(tmp_path):
    def broken(video: Video) -> np.ndarray:
        if video.name == "a/y_g02":
            raise ValueError(f"{video.path}: cut off")
        return read(video)

    with pytest.raises(ValueError, match=r"^a/y_g02: .*cut off; --skip-unreadable"):
        write_arrays(tmp_path, VIDEOS, broken, {})
    left_out = write_arrays(tmp_path, VIDEOS, broken, {}, skip_unreadable=True)
    arrays = open_arrays(tmp_path)
    assert left_out == arrays.unreadable == [("a/y_g02", "a/y_g02.avi: cut off")]
    assert [video.name for video in arrays.videos] == ["a/x_g01", "b/x_g01"]


def test_files_that_are_not_what_the_index_says_are_named(tmp_path):
    """Truncated, of another shape, not finite; and an index that is damaged or leads elsewhere."""
    write_arrays(tmp_path, VIDEOS, lambda video: np.ones((7, 3), np.float16), {})
    files = [tmp_path / "arrays" / f"{name}.npy" for name in ("a/x_g01", "a/y_g02", "b/x_g01")]
    files[0].write_bytes(files[0].read_bytes()[:-1])
    np.save(files[1], np.ones((6, 3), np.float16))
    np.save(files[2], np.full((7, 3), np.inf, np.float16))
    arrays = open_arrays(tmp_path)
    messages = [r"not a whole \.npy", r"found float16 \(6, 3\), expected float16 \(7, 3\)", "NaN or infinite"]
    for index, message in enumerate(messages):
        with pytest.raises(ValueError, match=f"{files[index]}: .*{message}"):
            arrays.array(index)

    index_file = tmp_path / "index-000-of-001.json"
    content = index_file.read_text()
    for before, after in (
        ("arrays/a/x_g01", "../x"),
        ("arrays/a/x_g01", "/tmp/x"),
        ('"shape"', '"form"'),
        ("{", ""),
        ("3", '"3"'),
    ):
        index_file.write_text(content.replace(before, after))
        with pytest.raises(ValueError, match=f"{index_file}: not"):
            open_arrays(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        ("[7, 3]", "[1000000000000, 3]"),
        ("[7, 3]", "[-7, 3]"),
        ("[7, 3]", "[true, 3]"),
        ("arrays/a/x_g01.npy", "arrays/\\u0000.npy"),
        ("arrays/a/x_g01.npy", f"arrays/{'a' * 5000}.npy"),
        ("{", "[" * 100_000),
    ],
)
def test_an_index_cannot_ask_for_more_than_there_is(tmp_path, change):
    """Clips are counted from the index before any file is opened: a wrong shape would fill the memory with numbers."""
    write_arrays(tmp_path, VIDEOS, lambda video: np.ones((7, 3), np.float16), {})
    index = tmp_path / "index-000-of-001.json"
    index.write_text(json.dumps(json.loads(index.read_text())).replace(*change))
    with pytest.raises(ValueError, match=f"^{index}: not"):
        open_arrays(tmp_path)


def test_a_folder_of_somebody_elses_files_gets_no_arrays(tmp_path):
    """It got a facts.json, and lost every file called index-*.json."""
    (tmp_path / "index-of-mine.json").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'index-of-mine\.json' and no arrays of ours"):
        write_arrays(tmp_path, [], lambda video: np.zeros(1), {"a": 1})
    assert os.listdir(tmp_path) == ["index-of-mine.json"]
    for _ in range(2):
        write_arrays(tmp_path / "new", [], lambda video: np.zeros(1), {"a": 1})
        (tmp_path / "new" / "index-of-mine.json").write_text("mine")
    assert (tmp_path / "new" / "index-of-mine.json").read_text() == "mine"


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "a/link/outside"])
def test_names_cannot_lead_out_of_the_folder(tmp_path, name):
    folder = tmp_path / "arrays-of-videos"
    (folder / "arrays" / "a").mkdir(parents=True)
    (folder / "arrays" / "a" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out of"):
        write_arrays(folder, [Video(Path("x.avi"), name, "a", "g01")], read, {})
    assert not list(tmp_path.rglob("outside*"))


@given(
    lengths=st.lists(st.integers(3, 20), min_size=1, max_size=4),
    frames=st.integers(1, 3),
    step=st.none() | st.integers(1, 5),
)
def test_clips_are_all_whole_windows_a_step_apart(lengths, frames, step):
    arrays, chosen = numbered(lengths), list(range(len(lengths)))[::-1]
    clips = VideoClips(arrays, chosen, frames, step=step)
    expected = [
        [(video, start + t) for t in range(frames)]
        for video in chosen
        for start in range(0, lengths[video], step or frames)
        if start + frames <= lengths[video]
    ]
    found = clips.__getitems__(range(len(clips)))
    assert found.shape == (len(expected), frames, 2, 1, 1)
    assert found[..., 0, 0].tolist() == [[list(frame) for frame in clip] for clip in expected]
    assert [chosen[position] for position in clips.videos] == [clip[0][0] for clip in expected]


@given(length=st.integers(3, 60), frames=st.integers(1, 3), count=st.integers(1, 70))
def test_a_number_of_clips_is_spread_evenly_over_each_video(length, frames, count):
    """The first begins with the video, the last ends with it, gaps differ by one frame, no clip comes twice."""
    clips = VideoClips(numbered([length]), [0], frames, clips_per_video=count)
    starts = clips.__getitems__(range(len(clips)))[:, 0, 1, 0, 0].tolist()
    assert len(starts) == min(count, length - frames + 1) == len(set(starts))
    assert starts[0] == 0
    if len(starts) > 1:
        assert starts[-1] == length - frames
        assert np.ptp(np.diff(starts)) <= 1


def test_frames_features_and_cut_clips_become_frames_with_channels_first():
    random = np.random.default_rng(0)
    film = random.integers(0, 256, (9, 4, 5, 3), dtype=np.uint8)
    clips = VideoClips(in_memory([film, film]), [1], 4)
    assert np.array_equal(clips[1].numpy(), film[4:8].transpose(0, 3, 1, 2))
    assert torch.equal(clips.__getitems__([1, 0]), torch.stack([clips[1], clips[0]]))
    assert torch.equal(pickle.loads(pickle.dumps(clips))[1], clips[1])  # as workers get it

    features = random.normal(size=(9, 6)).astype(np.float16)
    found = VideoClips(in_memory([features]), [0], 4)[1]
    assert (found.shape, found.dtype) == ((4, 6, 1, 1), torch.float32)
    assert np.array_equal(found[..., 0, 0].numpy(), features[4:8].astype(np.float32))

    tubelets = random.integers(0, 256, (3, 9, 4, 5, 1), dtype=np.uint8)
    cut = VideoClips(in_memory([tubelets, tubelets[:1]], ["b", "a"]), [0, 1], 4, clips_per_video=2)
    assert (cut.labels.tolist(), cut.videos.tolist(), len(cut.sample(9))) == ([1, 1, 0], [0, 0, 1], 3)
    assert np.array_equal(cut[1].numpy(), tubelets[1, :4].transpose(0, 3, 1, 2))


def test_crops_are_of_the_middle_or_of_a_new_place_in_every_epoch():
    """Catches crops that tear a clip apart, that repeat every epoch, or that cannot reach the border."""
    rows, columns = np.mgrid[:6, :7]
    frames = np.stack([rows, columns], axis=-1).astype(np.uint8)  # (6, 7, 2): a pixel says where it is from
    arrays = in_memory([np.stack([frames] * 3)] * 2)
    middle = VideoClips(arrays, [0, 1], 2, crop=4)
    assert (middle.frame_shape, middle[0][0, :, 0, 0].tolist()) == ((2, 4, 4), [1, 1])
    with pytest.raises(IndexError, match="expected 0 to 1"):
        middle[2]
    random = VideoClips(arrays, [0, 1], 2, crop=4, random_crop=True, seed=3)
    corners = set()
    for item in range(200):
        clip = random[item].numpy()
        top, left = clip[0, :, 0, 0].tolist()
        corners.add((top, left))
        np.testing.assert_array_equal(clip, np.stack([frames[top : top + 4, left : left + 4].transpose(2, 0, 1)] * 2))
    assert corners == {(top, left) for top in range(3) for left in range(4)}
    assert torch.equal(random.__getitems__([5, 150])[1], random[150])  # whatever batch a clip is in
    other = VideoClips(arrays, [0, 1], 2, crop=4, random_crop=True, seed=4)
    assert any(not torch.equal(random[item], other[item]) for item in range(9))
    with pytest.raises(ValueError, match=r"frames \(6, 7, 2\), too small to crop 8 pixels"):
        VideoClips(arrays, [0], 2, crop=8)
    epochs = [next(training_indices(random, 2, seed=0, first_step=step)) for step in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(9, 4, 4, 3), (3, 4, 4, 3), (2, 4, 4, 3)], r"v1: found 3 frames, expected at least 4 .* 2 of 3 .*--input-fr"),
        ([(9, 4, 4, 3), (9, 4, 5, 3)], r"v1: found uint8 frames \(4, 5, 3\), expected uint8 \(4, 4, 3\) .* v0"),
        ([(9, 4)], r"v0: found uint8 \(9, 4\), expected uint8 frames"),
        ([], "found no videos"),
    ],
)
def test_videos_that_do_not_fit(shapes, message):
    arrays = in_memory([np.zeros(shape, np.uint8) for shape in shapes])
    with pytest.raises(ValueError, match=message):
        VideoClips(arrays, range(len(shapes)), 4)


def test_patches_are_tubelets_of_the_video_and_spread_over_it():
    """Each pixel says where it is, so a tubelet's first one is its place; the rest must follow it without gaps."""
    T, H, W = 20, 30, 40
    video = np.stack(np.meshgrid(np.arange(T), np.arange(H), np.arange(W), indexing="ij"), axis=-1).astype(np.uint8)
    patches = cut_patches(video, "0a", frames=5, size=8, count=300, seed=1)
    assert patches.shape == (300, 5, 8, 8, 3)
    corners = patches[:, 0, 0, 0]
    offsets = np.stack(np.meshgrid(np.arange(5), np.arange(8), np.arange(8), indexing="ij"), axis=-1)
    assert np.array_equal(patches, corners[:, None, None, None] + offsets)
    assert corners.min(axis=0).tolist() == [0, 0, 0]
    assert corners.max(axis=0).tolist() == [T - 5, H - 8, W - 8]

    assert np.array_equal(patches[:7], cut_patches(video, "0a", frames=5, size=8, count=7, seed=1))
    for content, seed in (("0b", 1), ("0a", 2)):
        assert not np.array_equal(patches, cut_patches(video, content, frames=5, size=8, count=300, seed=seed))
    with pytest.raises(ValueError, match=r"found 20 frames of 30 x 40 pixels, expected at least 5 of 31 x 31"):
        cut_patches(video, "0a", frames=5, size=31, count=1)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(1, 12),
    shape=st.lists(st.integers(0, 3), max_size=3),
    dtype=st.sampled_from(["u1", "<f2", "<f4"]),
)
def test_rows_that_are_written_one_by_one_are_the_array(rows, shape, dtype):
    """Against numpy's own file: the header is written before the number of rows is known."""
    array = np.random.default_rng(rows).integers(0, 99, (rows, *shape)).astype(dtype)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "rows.npy"
        assert save_rows(path, iter(array)) == (array.shape, str(array.dtype))
        assert list(path.parent.iterdir()) == [path]
        np.testing.assert_array_equal(np.load(path), array)
        assert open_npy(path).shape == array.shape


def test_rows_that_cannot_be_written_leave_nothing(tmp_path):
    """Neither what was there before nor a part of the new array is taken for it."""
    path = tmp_path / "rows.npy"

    def failing() -> Iterator[np.ndarray]:
        yield np.zeros(3)
        raise OSError("cut off")

    with pytest.raises(OSError, match=r"^cut off$"):
        save_rows(path, failing())
    with pytest.raises(ValueError, match=r"frame 1 is \(4,\) float64, expected \(3,\) float64"):
        save_rows(path, [np.zeros(3), np.zeros(4)])
    with pytest.raises(ValueError, match="no frames"):
        save_rows(path, [])
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableError, match=r"file/rows\.npy: cannot be written \("):
        save_rows(tmp_path / "file" / "rows.npy", [np.zeros(3)])
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_pieces_of_videos_are_videos_that_know_where_they_begin():
    arrays = numbered([10, 6])
    cut = cut_arrays(arrays, [(1, 2, None), (0, 0, 4), (0, 8, 10)])
    assert [(video.name, video.frames, video.first) for video in cut.videos] == [
        ("v1", 4, 2),
        ("v0", 4, 0),
        ("v0", 2, 8),
    ]
    assert cut.array(0)[:, 0, 0].tolist() == [[1, 2], [1, 3], [1, 4], [1, 5]]
    clips = VideoClips(cut, [0, 1], 2)
    assert [clips.name(index) for index in range(4)] == ["v1@2", "v1@4", "v0@0", "v0@2"]


def test_facts_are_plain_values_on_disk(tmp_path):
    """What a person finds in the folder is what the module's docstring says."""
    write_arrays(tmp_path, VIDEOS[:1], read, {"size": 4})
    assert json.loads((tmp_path / "facts.json").read_text()) == {"size": 4}
    shape = list(read(VIDEOS[0]).shape)
    entry = {"name": "b/x_g01", "label": "b", "group": "g01", "official": "", "file": "arrays/b/x_g01.npy"}
    assert json.loads((tmp_path / "index-000-of-001.json").read_text()) == {
        "facts": {"size": 4},
        "videos": [entry | {"shape": shape, "dtype": "uint8"}],
        "unreadable": [],
    }
    assert not list(tmp_path.rglob("*.partial"))
