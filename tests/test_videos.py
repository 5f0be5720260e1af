"""Real videos: what is read is what OpenCV decodes, bad files are named, and no group is in two parts."""

import os
import re
import struct
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from datasets import decoders
from datasets import videos as videos_module
from datasets.containers import DamagedError, frames_in_container
from datasets.hmdb51 import HMDB51, hmdb51_videos
from datasets.ucf101 import UCF101, ucf101_videos
from datasets.video_folder import VideoFolder, find_videos, hold_out, split_videos
from datasets.videos import Video, count_frames, read_video


def write(path: Path, frames: int = 12, height: int = 48, width: int = 70, codec: str = "MJPG") -> Path:
    """A video of blurred noise, other noise in every frame and for every path."""
    random = np.random.default_rng(list(str(path.name).encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (width, height))
    assert writer.isOpened()
    for _ in range(frames):
        writer.write(cv2.GaussianBlur(random.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 2))
    writer.release()
    return path


@pytest.fixture(params=["PyAV", "OpenCV"])
def either_decoder(request, monkeypatch):
    """The bounds hold for both; see `test_decoders.py` for the frames."""
    if request.param == "OpenCV":
        monkeypatch.setattr(decoders, "has_av", lambda: False)


FORMATS = [
    ("a.avi", "MJPG"),
    ("b.avi", "XVID"),
    ("c.mp4", "mp4v"),
    ("d.mov", "mp4v"),
    ("e.webm", "VP80"),
    ("f.mkv", "mp4v"),
]


def decode(path: Path) -> np.ndarray:
    """All frames as OpenCV gives them: (T, H, W, 3), blue first."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (result := capture.read())[0]:
        frames.append(result[1])
    return np.stack(frames)


def touch(root: Path, *names: str) -> Path:
    """Files with the right names; nothing that finds and splits videos opens them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


# Reading


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(("size", "by"), [(None, None), (20, cv2.INTER_AREA), (90, cv2.INTER_LINEAR)])
@pytest.mark.parametrize(("height", "width", "crop"), [(48, 70, np.s_[:, 11:59]), (70, 48, np.s_[11:59, :])])
def test_frames_are_those_of_opencv(tmp_path, grey, size, by, height, width, crop):
    """Catches swapped colours, the wrong interpolation, and crops that are not in the middle."""
    path = write(tmp_path / "film.avi", height=height, width=width)
    expected = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY if grey else cv2.COLOR_BGR2RGB) for frame in decode(path)]
    if size:
        expected = [cv2.resize(frame[crop], (size, size), interpolation=by) for frame in expected]
    expected = np.reshape(expected, (12, size or height, size or width, 1 if grey else 3))
    found = read_video(path, image_size=size, grey=grey)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    some = read_video(path, image_size=size, grey=grey, stride=3, first=2, frames=3)
    assert np.array_equal(some, expected[[2, 5, 8]])
    assert np.array_equal(read_video(path, image_size=size, grey=grey, stride=5), expected[[0, 5, 10]])


def test_an_upright_film_stays_upright_and_keeps_its_proportions(tmp_path):
    """Against known positions instead of OpenCV: a ramp over x, of which the middle half must remain, 2:1."""
    writer = cv2.VideoWriter(str(tmp_path / "ramp.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (96, 48))
    writer.write(np.repeat(np.tile(2 * np.arange(96, dtype=np.uint8), (48, 1))[..., None], 3, axis=2))
    writer.release()
    found = read_video(tmp_path / "ramp.avi", image_size=24, grey=True)[0, :, :, 0]
    assert np.abs(found - (48 + 4 * np.arange(24) + 1.0)).max() <= 2


@pytest.mark.parametrize(
    ("name", "stated", "decodable"),
    [("JugglingBalls/v_JugglingBalls_g18_c01.avi", 254, 251), ("JumpingJack/v_JumpingJack_g20_c01.avi", 120, 116)],
)
@pytest.mark.usefixtures("either_decoder")
def test_headers_that_state_too_many_frames(real_data, name, stated, decodable):
    """Two files of UCF-101 lie; catches frames that were allocated by the header and never filled."""
    path = real_data / "ucf101/videos" / name
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == stated
    assert np.array_equal(read_video(path, least=decodable)[..., ::-1], decode(path))
    assert count_frames(path) == decodable
    with pytest.raises(ValueError, match=rf"c01\.avi: {decodable} frames decode .*expected at least {stated}"):
        read_video(path, least=stated)


def heads_or_errors(path: Path, tmp_path: Path) -> int:
    """Cut a video at 16 lengths: each is an error that names it, or whole frames of its head. How many errors."""
    content, frames, errors = path.read_bytes(), decode(path), []
    cut = tmp_path / f"cut{path.suffix}"
    for length in np.linspace(0, len(content) - 1, 16).astype(int):
        cut.write_bytes(content[:length])
        try:
            found = read_video(cut)[..., ::-1]
        except ValueError as error:
            errors.append(str(error))
        else:
            assert np.array_equal(found, frames[: len(found)])
    assert all(re.fullmatch(f"{re.escape(str(cut))}: .+", error) for error in errors)
    return len(errors)


@pytest.mark.usefixtures("either_decoder")
def test_a_cut_off_avi_is_an_error(tmp_path):
    """FFmpeg fills the lost half of a last frame with grey, without a word."""
    assert heads_or_errors(write(tmp_path / "film.avi"), tmp_path) == 16


@pytest.mark.parametrize(
    "name",
    ["ucf101/videos/PushUps/v_PushUps_g01_c01.avi", "misc_natural/newtonscradle.gif", "misc_natural/realshort.mp4"],
)
@pytest.mark.usefixtures("either_decoder")
def test_real_files_that_are_cut_off(real_data, tmp_path, name):
    """The same for other codecs and containers; the GIF is also read whole."""
    path = real_data / name
    assert np.array_equal(read_video(path)[..., ::-1], decode(path))
    assert heads_or_errors(path, tmp_path) >= 15


@pytest.mark.usefixtures("either_decoder")
def test_a_hole_is_an_error_not_a_shorter_film(tmp_path):
    """FFmpeg passes over holes: in all of these formats it returns a spliced film, or one without its end."""
    for name, codec in FORMATS:
        path = write(tmp_path / name, frames=30, codec=codec)
        content = path.read_bytes()
        assert frames_in_container(path) == len(read_video(path)) == count_frames(path) == 30
        spliced = path.with_stem("spliced")
        for first in (0.3, 0.5, 0.7):
            start = int(first * len(content))
            for hole in (b"", bytes(3000)):
                spliced.write_bytes(content[:start] + hole + content[start + 3000 :])
                for read in (read_video, count_frames):
                    with pytest.raises(ValueError, match=rf"^{spliced}: "):
                        read(spliced)


def boxes(content: bytes) -> dict[bytes, bytes]:
    """The outer boxes of an MP4 file, headers included."""
    found = {}
    while content:
        size = int.from_bytes(content[:4], "big")
        found[content[4:8]], content = content[:size], content[size:]
    return found


@pytest.mark.usefixtures("either_decoder")
def test_an_mp4_with_its_index_first_that_is_cut_off(tmp_path):
    """All other cut-off MP4 files lack the index at their end; this one used to pass as a shorter film."""
    whole = boxes(write(tmp_path / "film.mp4", frames=30, codec="mp4v").read_bytes())
    first = b"".join(whole[name] for name in (b"ftyp", b"moov", b"free", b"mdat"))
    offsets = first.find(b"stco")
    count = int.from_bytes(first[offsets + 8 : offsets + 12], "big")
    place = slice(offsets + 12, offsets + 12 + 4 * count)
    moved = np.frombuffer(first[place], ">u4") + len(whole[b"moov"])
    first = first[: place.start] + moved.astype(">u4").tobytes() + first[place.stop :]
    path = tmp_path / "first.mp4"
    path.write_bytes(first)
    assert np.array_equal(read_video(path), read_video(tmp_path / "film.mp4"))
    path.write_bytes(first[:-2000])
    assert len(decode(path)) in range(15, 30)  # OpenCV alone finds nothing wrong
    with pytest.raises(ValueError, match=r"first\.mp4: cut off .*; fetch or convert it again"):
        read_video(path)


@pytest.mark.usefixtures("either_decoder")
def test_an_mp4_that_was_cut_without_removing_anything(tmp_path):
    """Edit lists hide frames that are still in the file; those must not be missed."""
    content = write(tmp_path / "film.mp4", frames=30, codec="mp4v").read_bytes()
    edit = content.find(b"elst") + 12
    trimmed = tmp_path / "trimmed.mp4"
    trimmed.write_bytes(content[:edit] + struct.pack(">I", 400) + content[edit + 4 :])  # of 1,200 milliseconds
    assert frames_in_container(trimmed) == len(read_video(trimmed)) == len(decode(trimmed)) == 10


def test_real_files_are_whole(real_data):
    """Packed frames, placeholders for skipped ones and pictures of 11 bytes are no holes."""
    names = ["misc_natural/[cn]*", "weizmann/bend/*", "ucf101/videos/BabyCrawling/*g0[12]*", "ucf101/videos/J*/*g20*"]
    paths = [path for name in names for path in sorted(real_data.glob(name))]
    assert len(paths) > 10
    for path in paths:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        assert frames_in_container(path) == sum(1 for _ in iter(capture.grab, False)), path


@pytest.mark.usefixtures("either_decoder")
def test_tables_that_state_the_impossible(tmp_path):
    """Sizes of tables decide about memory: a number in a header must not."""
    content = write(tmp_path / "film.mp4", frames=30, codec="mp4v").read_bytes()
    avi = write(tmp_path / "film.avi").read_bytes()
    damages = {
        "durations.mp4": (content, b"stts", 12, struct.pack(">I", 2**31 - 1)),
        "sizes.mp4": (content, b"stsz", 8, struct.pack(">II", 5, 2**32 - 1)),
        "entries.mp4": (content, b"stts", 8, struct.pack(">I", 2**32 - 1)),
        "box.mp4": (content, b"stbl", -4, struct.pack(">I", 2**32 - 1)),
        "endless.mp4": (content, b"stbl", -4, struct.pack(">I", 2)),
        "chunk.avi": (avi, b"00dc", 4, struct.pack("<I", 2**32 - 1)),
        "stream.avi": (avi, b"00dc", 0, b"17dc"),
    }
    for name, (whole, mark, offset, new) in damages.items():
        at = whole.find(mark, whole.find(b"movi") + 1) + offset
        (tmp_path / name).write_bytes(whole[:at] + new + whole[at + len(new) :])
        with pytest.raises(ValueError, match=f"^{tmp_path / name}: "):
            count_frames(tmp_path / name)


def test_lists_in_lists_and_films_of_nothing_end(tmp_path):
    """A recursion, or a walk through millions of empty pieces, would take as long as its author wished."""
    deep = tmp_path / "deep.avi"
    lists = b"".join(struct.pack("<4sI4s", b"LIST", 12 * (1000 - depth) - 8, b"movi") for depth in range(1000))
    deep.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(lists), b"AVI ") + lists)
    with pytest.raises(DamagedError, match="deep"):
        frames_in_container(deep)
    empty = tmp_path / "empty.avi"
    empty.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + 8 * 1000, b"AVI ") + struct.pack("<4sI", b"JUNK", 0) * 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.containers.MAX_PIECES", 500)
        with pytest.raises(DamagedError, match="more than 500 pieces"):
            frames_in_container(empty)


@pytest.mark.usefixtures("either_decoder")
def test_time_and_frames_are_limited(tmp_path, monkeypatch):
    path = write(tmp_path / "film.avi")
    monkeypatch.setattr(videos_module, "MAX_PIXELS", 5 * 48 * 70)
    with pytest.raises(ValueError, match=r"film\.avi: states 12 frames"):
        count_frames(path)
    monkeypatch.setattr(videos_module, "MAX_PIXELS", 2**42)
    monkeypatch.setattr(videos_module, "MAX_SECONDS", -1)
    with pytest.raises(ValueError, match=r"film\.avi: found no end after 1 frames"):
        read_video(path)


@pytest.mark.usefixtures("either_decoder")
def test_files_that_are_no_videos(tmp_path, capfd):
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.avi").touch()
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    (tmp_path / "folder.avi").mkdir()
    for name in ("noise.avi", "empty.avi", "text.mp4"):
        for read in (read_video, count_frames):
            with pytest.raises(ValueError, match=rf"{name}: not a video that can be read: .* expected AVI"):
                read(tmp_path / name)
    for name, found in (("folder.avi", "a folder"), ("missing.avi", "no such file")):
        with pytest.raises(FileNotFoundError, match=f"{name}: {found}; expected a video file"):
            read_video(tmp_path / name)
    assert "WARN" not in capfd.readouterr().err  # the error says it, once


@pytest.mark.usefixtures("either_decoder")
def test_playlists_are_not_followed(tmp_path):
    """FFmpeg knows scripts by their content, not their name, and would open the files and addresses in them."""
    film = write(tmp_path / "film.avi")
    for name, text in (
        ("concat.avi", f"ffconcat version 1.0\nfile {film}\n"),
        ("hls.mp4", f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{film}\n#EXT-X-ENDLIST\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"{name}: not a video that can be read"):
            read_video(tmp_path / name)


def test_absurd_sizes_are_refused_by_the_header(tmp_path):
    """The few bytes behind these headers cannot hold such frames: decoding first would end in another error."""
    large = write(tmp_path / "large.avi", codec="I420")
    content = bytearray(large.read_bytes())
    size = content.find(b"strf") + 12
    content[size : size + 8] = struct.pack("<ii", 10000, 10000)
    large.write_bytes(content)
    with pytest.raises(ValueError, match=r"large\.avi: states 12 frames of 10000x10000, expected at most 16,777,216"):
        read_video(large)
    long = write(tmp_path / "long.avi")
    content = bytearray(long.read_bytes())
    count = content.find(b"strh") + 40
    content[count : count + 4] = struct.pack("<I", 2**31 - 1)
    long.write_bytes(content)
    with pytest.raises(ValueError, match=r"long\.avi: states 2147483647 frames of 70x48"):
        count_frames(long)


@pytest.mark.usefixtures("either_decoder")
def test_memory_is_bounded_by_what_is_kept(tmp_path, monkeypatch):
    """A small file can decode to more than a machine holds; small or few frames of it are still welcome."""
    path = write(tmp_path / "film.avi")
    monkeypatch.setattr(videos_module, "MAX_BYTES", 3 * 48 * 70 * 3)
    with pytest.raises(
        ValueError, match=r"film\.avi: 12 or more frames of 70x48x3, expected at most 3 .*image size, stride"
    ):
        read_video(path)
    assert len(read_video(path, stride=4)) == len(read_video(path, frames=3)) == 3
    assert len(read_video(path, image_size=16)) == 12


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"image_size": 0}, {"first": -1}, {"frames": 0}])
def test_numbers_that_make_no_sense(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected at least"):
        read_video(tmp_path, **wrong)


# Finding and splitting


def groups(videos: list[Video]) -> str:
    return " ".join(sorted({video.group for video in videos}))


def test_the_group_of_a_video(tmp_path):
    """UCF-101's number, else a prefix that several classes share, else the name; or what an expression finds.

    One person's missing video must not make the person's other videos groups of their own, which would be split.
    """
    ucf = touch(tmp_path / "ucf", "PushUps/v_PushUps_g01_c02.avi", "PushUps/v_PushUps_g12_c01.AVI")
    assert [(video.name, video.label, video.group) for video in find_videos(ucf)] == [
        ("PushUps/v_PushUps_g01_c02", "PushUps", "g01"),
        ("PushUps/v_PushUps_g12_c01", "PushUps", "g12"),
    ]
    people = [f"{action}/{person}_{action}.avi" for action in ("bend", "jump", "wave") for person in ("ann", "bob")]
    assert groups(find_videos(touch(tmp_path / "weizmann", *people[1:]))) == "ann bob"
    names = touch(tmp_path / "own", "kick/kick_01.mp4", "kick/kick_02.mkv", "run/run_01.mov", "run/.hidden.mov")
    assert groups(find_videos(touch(names, ".git/x.avi", "run/notes.txt"))) == "kick_01 kick_02 run_01"
    assert groups(find_videos(names, group=r"_(\d+)")) == groups(find_videos(names, group=r"\d+$")) == "01 02"
    with pytest.raises(ValueError, match=r"kick_01: no group 'x' in the name"):
        find_videos(names, group="x")
    with pytest.raises(ValueError, match=r"group '\(': not a regular expression"):
        find_videos(names, group="(")


def test_folders_that_hold_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; expected a folder of videos per class"):
        find_videos(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no folders; expected a folder of videos per class"):
        find_videos(touch(tmp_path / "flat", "film.avi"))
    with pytest.raises(FileNotFoundError, match=r"run: no videos, expected some of \.avi"):
        find_videos(touch(tmp_path / "empty", "kick/1.avi", "run/1.txt"))
    with pytest.raises(ValueError, match=r"1\.mp4 and 1\.avi have one name"):
        find_videos(touch(tmp_path / "twins", "kick/1.avi", "kick/1.mp4"))
    linked = touch(tmp_path / "linked", "kick/1.avi")
    os.symlink(tmp_path / "flat" / "film.avi", linked / "kick" / "2.avi")
    with pytest.raises(ValueError, match=r"2\.avi: a link out of .*linked"):
        find_videos(linked)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), min_size=1, unique=True))
def test_no_group_is_in_two_splits(pairs):
    """Whatever classes and groups there are: splits are disjoint by group and complete, or an error says why not."""
    videos = [Video(Path(), f"{label}/{group}", label, f"g{group:02d}") for label, group in pairs]
    try:
        train, validation, test = (split_videos(videos, split) for split in ("train", "validation", "test"))
    except ValueError as error:
        assert ("expected at least 3" in str(error)) == (len({group for _, group in pairs}) < 3)  # noqa: PT017
        return
    assert sorted(train + validation + test) == sorted(videos) == sorted(split_videos(videos, "all"))
    assert sorted(train + validation) == sorted(split_videos(videos, "development"))
    parts = [{video.group for video in part} for part in (train, validation, test)]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert {video.label for video in train} == {video.label for video in videos}


def test_every_class_is_in_every_split_where_no_group_is_in_two_classes(tmp_path):
    """Sorted by name alone, the last quarter of such files would be all of one class."""
    videos = find_videos(
        touch(tmp_path, *(f"{label}/{label}_{i}.avi" for label in ("kick", "run", "sit") for i in range(8)))
    )
    for split, fewest in (("train", 4), ("validation", 1), ("test", 2)):
        count = Counter(video.label for video in split_videos(videos, split))
        assert len(count) == 3
        assert min(count.values()) >= fewest


def test_data_that_cannot_be_split(tmp_path):
    two = find_videos(touch(tmp_path, "a/x_1.avi", "a/y_1.avi", "b/x_1.avi", "b/y_1.avi"))
    with pytest.raises(ValueError, match=r"videos of 2 groups \(x, y\), expected at least 3 .* regular expression"):
        split_videos(two, "train")
    with pytest.raises(ValueError, match=r"class b: no videos left .* the last 1 of 2 groups \(y to y\) are set aside"):
        hold_out(two[:2] + two[3:], 0.5)
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        split_videos(two, "valid")


def test_real_splits(real_data):
    """Persons and groups by name, 25 % and 15 % of them; the official lists where there are some."""
    people = find_videos(real_data / "weizmann")
    parts = {split: split_videos(people, split) for split in ("train", "validation", "test")}
    assert {split: (groups(part), len(part)) for split, part in parts.items()} == {
        "train": ("daria denis eli", 12),
        "validation": ("ido", 4),
        "test": ("ira lena", 8),
    }
    root, lists = real_data / "ucf101/videos", real_data / "ucf101/ucfTrainTestlist"
    for fold, in_test in ((1, range(1, 8)), (2, range(8, 15)), (3, range(15, 22))):
        parts = {name: ucf101_videos(root, lists, fold, name) for name in ("train", "validation", "test")}
        assert [len(part.videos) for part in parts.values()] == [70, 20, 35]
        assert groups(parts["test"].videos) == " ".join(f"g{group:02d}" for group in in_test)
        assert groups(parts["validation"].videos) == "g22 g23 g24 g25"
        development = ucf101_videos(root, lists, fold)
        assert sorted(development.videos) == sorted(parts["train"].videos + parts["validation"].videos)
    assert len(ucf101_videos(root, lists, 1).missing) == 9537 - 90


# Official lists


def test_ucf101_selects_what_torchvision_selects(tmp_path):
    """CRLF, lists with and without a class index, listed files that are not there and files that are not listed."""
    names = [f"{label}/v_{label}_g{group:02d}_c01.avi" for label in ("Archery", "Diving") for group in range(1, 8)]
    root = touch(tmp_path / "videos", *names, "Diving/extra.avi")
    train = [f"{name} 1" for name in names[2:7] + names[9:]] + ["Bowling/v_Bowling_g03_c01.avi 2"]
    (tmp_path / "trainlist02.txt").write_bytes("\r\n".join([*train, ""]).encode())
    (tmp_path / "testlist02.txt").write_bytes("\r\n".join(names[:2] + names[7:9]).encode())
    there = sorted(str(path) for path in root.rglob("*.avi"))
    for is_train, split in ((True, "development"), (False, "test")):
        theirs = torchvision.datasets.UCF101._select_fold(SimpleNamespace(root=str(root)), there, tmp_path, 2, is_train)
        ours = ucf101_videos(root, tmp_path, 2, split)
        assert [str(video.path) for video in ours.videos] == [there[index] for index in theirs]
        assert ours.missing == (["Bowling/v_Bowling_g03_c01.avi"] if is_train else [])
    assert groups(ucf101_videos(root, tmp_path, 2, "validation").videos) == "g07"
    with pytest.raises(ValueError, match=r"none of the 4 videos of .*testlist02"):
        ucf101_videos(touch(tmp_path / "others", "Bowling/v_Bowling_g01_c01.avi"), tmp_path, 2, "test")
    with pytest.raises(FileNotFoundError, match=r"trainlist01\.txt: no such list"):
        ucf101_videos(root, tmp_path)
    for fold, split in ((4, "test"), (1, "all")):
        with pytest.raises(ValueError, match="expected fold 1, 2 or 3 and one of train, validation, development, test"):
            ucf101_videos(root, tmp_path, fold, split)


@pytest.mark.parametrize(
    "entry", ["../secret.avi", "/etc/secret.avi", "Diving/../../secret.avi", "..\\secret.avi", "x"]
)
def test_lists_cannot_lead_out_of_the_data_set(tmp_path, entry):
    root = touch(tmp_path / "videos", "Diving/v_Diving_g01_c01.avi", "../secret.avi")
    (tmp_path / "trainlist01.txt").write_text(f"Diving/v_Diving_g01_c01.avi 1\n{entry} 1\n")
    for videos in (ucf101_videos, hmdb51_videos):
        with pytest.raises(ValueError, match=r"trainlist01\.txt:2: found '.*', expected CLASS/NAME\.avi"):
            videos(root, tmp_path)
    (tmp_path / "Diving_test_split1.txt").write_text("../secret.avi 1\n")
    with pytest.raises(ValueError, match=r"Diving_test_split1\.txt:1: found '\.\./secret\.avi', expected NAME\.avi"):
        hmdb51_videos(root, tmp_path)


FILMS = ["A_Film_1", "A_Film_2", "Old", "Rocky_II_3", "Up", "Zorro"]


def hmdb_names(label: str) -> list[str]:
    return [f"{film}_{label}_f_cm_np1_ba_med_{clip}.avi" for film in FILMS for clip in range(2)]


def test_hmdb51_selects_what_torchvision_selects(tmp_path):
    """From the official lists and from one list of shortened classes alike; clips of one film stay together."""
    root = tmp_path / "videos"
    official, rewritten = tmp_path / "official", tmp_path / "rewritten"
    official.mkdir()
    rewritten.mkdir()
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for label in ("shake_hands", "walk"):
        names = hmdb_names(label)
        touch(root, *(f"{label}/{name}" for name in names))
        tags = {name: "2" if "Old" in name else "0" if "Up" in name else "1" for name in names}
        (official / f"{label}_test_split1.txt").write_text("".join(f"{name} {tag} \n" for name, tag in tags.items()))
        lists["train"] += [f"{label.split('_')[0]}/{name}" for name, tag in tags.items() if tag == "1"]
        lists["test"] += [f"{label.split('_')[0]}/{name}" for name, tag in tags.items() if tag == "2"]
    for part, lines in lists.items():
        (rewritten / f"{part}list01.txt").write_text("\n".join(lines))
    there = sorted(str(path) for path in root.rglob("*.avi"))
    for is_train, split in ((True, "development"), (False, "test")):
        theirs = torchvision.datasets.HMDB51._select_fold(
            SimpleNamespace(TRAIN_TAG=1, TEST_TAG=2), there, str(official), 1, is_train
        )
        for folder in (official, rewritten):
            ours = hmdb51_videos(root, folder, 1, split)
            assert [str(video.path) for video in ours.videos] == [there[index] for index in theirs]
            assert ours.missing == []
    assert groups(hmdb51_videos(root, official, 1, "train").videos) == "A_Film Rocky_II"
    assert groups(hmdb51_videos(root, official, 1, "validation").videos) == "Zorro"
    (official / "walk_test_split1.txt").write_text("Up_walk_f_cm_np1_ba_med_0.avi 3\n")
    with pytest.raises(ValueError, match=r"walk_test_split1\.txt: found 'Up.* 3', expected NAME\.avi and 0, 1"):
        hmdb51_videos(root, official)


def test_hmdb51_knows_the_film_in_every_real_name(real_data, tmp_path):
    """Names hold numbers, dashes and actions within titles; a pattern that fails on one of the 5,100 shows here."""
    lists = real_data / "hmdb51_splits"
    lines = [line for part in ("train", "test") for line in (lists / f"{part}list01.txt").read_text().split()]
    root = touch(tmp_path, *lines)
    videos = [hmdb51_videos(root, lists, 1, split) for split in ("train", "validation", "test")]
    assert [len(part.missing) for part in videos] == [0, 0, 0]
    assert sum(len(part.videos) for part in videos) == 5100
    assert len({video.label for video in videos[1].videos}) == len({video.label for video in videos[0].videos})
    film = {video.path.name: video.group for part in videos for video in part.videos}
    assert film["A_Beautiful_Mind_5_shake_hands_f_nm_np2_ri_med_0.avi"] == "A_Beautiful_Mind"


# Clips


@pytest.mark.parametrize(("length", "step"), [(5, 1), (4, 3), (9, 20)])
def test_clips_are_all_windows_of_all_videos(tmp_path, length, step):
    """Against the windows that torch cuts; a video that is too short has none; triples collate into batches."""
    for name, frames in (("b/b_1", 12), ("a/a_1", 10), ("a/a_2", 3)):
        write(tmp_path / f"{name}.avi", frames)
    dataset = VideoFolder(tmp_path, length, step, image_size=16, grey=True)
    assert (dataset.classes, dataset.class_to_idx) == (["a", "b"], {"a": 0, "b": 1})
    expected = []
    for name in ("a/a_1", "b/b_1"):
        video = torch.from_numpy(read_video(tmp_path / f"{name}.avi", image_size=16, grey=True))
        windows = video.unfold(0, length, step)  # (clips, H, W, C, T)
        expected += [(window, name) for window in windows.permute(0, 4, 3, 1, 2)]
    assert len(dataset) == len(expected)
    for (video, audio, label), (window, name) in zip((dataset[i] for i in range(len(dataset))), expected, strict=True):
        assert torch.equal(video, window)
        assert (audio.shape, audio.dtype) == ((1, 0), torch.float32)
        assert dataset.classes[label] == name[0]
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    batch, audio, labels = next(iter(DataLoader(dataset, batch_size=2)))
    assert batch.shape == (2, length, 1, 16, 16)
    assert (audio.shape, labels.shape) == ((2, 1, 0), (2,))


def test_the_data_sets_take_torchvisions_arguments(tmp_path):
    """In torchvision's order; classes are all those of the folder, also where a part has none of one."""
    root = tmp_path / "videos"
    names = [f"Diving/v_Diving_g0{group}_c01.avi" for group in (1, 2)] + ["Archery/v_Archery_g02_c01.avi"]
    for name in names:
        write(root / name, 6)
    (tmp_path / "trainlist03.txt").write_text("\n".join(names[1:]))
    (tmp_path / "testlist03.txt").write_text(f"{names[0]}\nBowling/v_Bowling_g01_c01.avi")
    train = UCF101(root, tmp_path, 2, 2, 3)
    test = UCF101(root, tmp_path, 2, 2, 3, False, lambda clip: clip.float().mean())
    assert (len(train), len(test)) == (6, 3)
    assert train.classes == test.classes == ["Archery", "Diving"]
    assert (train.missing, test.missing) == ([], ["Bowling/v_Bowling_g01_c01.avi"])
    mean, _, label = test[1]
    assert (mean, label) == (torch.from_numpy(read_video(root / names[0])[2:4]).float().mean(), 1)
    with pytest.raises(ValueError, match="1 videos of at most 6 frames, expected some of at least 7"):
        UCF101(root, tmp_path, 7, fold=3, train=False)
    film = write(tmp_path / "hmdb" / "walk" / hmdb_names("walk")[0], 4)
    (tmp_path / "walk_test_split1.txt").write_text(f"{film.name} 1\n")
    video, _, label = HMDB51(tmp_path / "hmdb", tmp_path, frames_per_clip=4, image_size=8)[0]
    assert (video.shape, label) == ((4, 3, 8, 8), 0)
