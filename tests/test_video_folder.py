"""Folders of videos: every layout is found, nothing is passed over in silence, and official lists are followed."""

import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torchvision
from torch.utils.data import DataLoader

from video_ae.datasets.config import DataConfig
from video_ae.datasets.hmdb51 import HMDB51, hmdb51_videos
from video_ae.datasets.ucf101 import UCF101, ucf101_videos
from video_ae.datasets.video_clips import VideoClips
from video_ae.datasets.video_folder import VideoFolder, find_videos
from video_ae.datasets.videos import SUFFIXES, Video, read_video


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


def touch(root: Path, *names: str) -> Path:
    """Files with the right names; nothing that finds and splits videos opens them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


# Finding and splitting


def groups(videos: list[Video]) -> str:
    return " ".join(sorted({video.group for video in videos}))


def found(root: Path) -> dict[str, tuple[str, str]]:
    """Class and part of every video by its name."""
    return {video.name: (video.label, video.official) for video in find_videos(root)}


def images(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((8, 8), np.uint8))


def test_every_usual_suffix_is_found_in_any_case(tmp_path):
    for index, suffix in enumerate(SUFFIXES):
        touch(tmp_path, f"walk/{index}{suffix}", f"walk/{index}-upper{suffix.upper()}")
    assert {".avi", ".mp4", ".m4v", ".mpeg", ".3gp", ".wmv", ".ts", ".gif", ".mts", ".flv"} <= set(SUFFIXES)
    assert len(find_videos(tmp_path)) == 2 * len(SUFFIXES)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.avi", "b.MP4"], {"a": ("", ""), "b": ("", "")}),
        (["walk/a.avi", "run/a.avi"], {"run/a": ("run", ""), "walk/a": ("walk", "")}),
        (["walk/s1/x/a.b.avi", "run/c.avi"], {"run/c": ("run", ""), "walk/s1/x/a.b": ("walk", "")}),
        (["a.avi", "old/b.avi"], {"a": ("", ""), "old/b": ("", "")}),  # a video in no class: there are none
        (
            ["Training/walk/a.avi", "val/walk/b.avi", "TEST/walk/s/c.avi"],
            {
                "TEST/walk/s/c": ("walk", "test"),
                "Training/walk/a": ("walk", "train"),
                "val/walk/b": ("walk", "validation"),
            },
        ),
        (["train/a.avi", "testing/b.avi"], {"testing/b": ("", "test"), "train/a": ("", "train")}),
        (
            ["train/a/1.avi", "eval/a/2.avi"],
            {"eval/a/2": ("a", "validation"), "train/a/1": ("a", "train")},
        ),
        (
            ["training_videos/01.avi", "TestVideos/01.avi", "val-set/02.avi"],  # CUHK Avenue's names, and like them
            {"TestVideos/01": ("", "test"), "training_videos/01": ("", "train"), "val-set/02": ("", "validation")},
        ),
        (["train/walk/a.avi", "train/run/b.avi"], {"train/run/b": ("run", ""), "train/walk/a": ("walk", "")}),
        (["ped1/Train/a.avi", "ped1/Test/b.avi"], {"ped1/Test/b": ("ped1", "test"), "ped1/Train/a": ("ped1", "train")}),
        (["train/a.avi", "car/a.avi"], {"car/a": ("car", ""), "train/a": ("train", "")}),  # vehicles
    ],
)
def test_layouts(tmp_path, names, expected):
    assert found(touch(tmp_path, *names)) == expected


def test_what_is_passed_over_is_counted_in_one_line(tmp_path, capsys):
    touch(tmp_path, "walk/a.avi", "walk/notes.txt", "walk/more.TXT", "walk/thumb.jpg", "run/.DS_Store", "run/b.avi")
    touch(tmp_path, ".git/x.avi", "README", "docs/page.txt")
    (tmp_path / "jump").mkdir()
    (tmp_path / "walk/gone.avi").symlink_to("nowhere.avi")
    assert list(found(tmp_path)) == ["run/b", "walk/a"]
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path}: 9 files passed over: 3 .txt, 2 hidden, 1 ")
    assert all(f"1 {kind}" in said for kind in ("empty folder", ".jpg", "broken link", "without suffix"))
    assert said.count("\n") == 1


def test_folders_of_numbered_images_are_videos(tmp_path, capsys):
    """UCSD's layout, with masks beside the frames that are no video; frames per class; one folder of frames alone."""
    ucsd = tmp_path / "ped"
    for part in ("Train", "Test"):
        for number in (1, 2):
            images(ucsd / part / f"{part}00{number}", *(f"{i:03d}.tif" for i in range(1, 4)))
    images(ucsd / "Test" / "Test001_gt", *(f"{i:03d}.bmp" for i in range(1, 4)))
    assert found(ucsd) == {
        "Test/Test001": ("", "test"),
        "Test/Test002": ("", "test"),
        "Train/Train001": ("", "train"),
        "Train/Train002": ("", "train"),
    }
    assert capsys.readouterr().err == f"{ucsd}: 1 file passed over: 1 folder of ground truth (_gt)\n"
    images(tmp_path / "jpg/walk/clip.1", "img_1.jpg", "img_2.jpg", "flow_x_1.jpg", "flow_x_2.jpg")
    assert found(tmp_path / "jpg") == {"walk/clip.1": ("walk", "")}
    assert capsys.readouterr().err == f"{tmp_path / 'jpg'}: 2 files passed over: 2 .jpg\n"
    assert found(ucsd / "Train/Train001") == {"Train001": ("", "")}
    touch(tmp_path / "jpg", "walk/film.avi")  # beside films, images are frames of them, or previews
    assert found(tmp_path / "jpg") == {"walk/film": ("walk", "")}
    assert capsys.readouterr().err.endswith(": 3 files passed over: 2 .jpg, 1 folder of images\n")


def test_folders_that_hold_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; expected a folder of videos"):
        find_videos(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"empty: no videos; expected \.avi, .*CLASS/NAME\.avi"):
        find_videos(touch(tmp_path / "empty", "kick/1.txt"))
    with pytest.raises(ValueError, match=r"1\.mp4 and 1\.avi have one name"):
        find_videos(touch(tmp_path / "twins", "kick/1.avi", "kick/1.mp4"))
    with pytest.raises(ValueError, match=r"extra/c\.avi: a video beside folders for test, train, expected all"):
        find_videos(touch(tmp_path / "beside", "train/a.avi", "test/b.avi", "extra/c.avi"))


def test_links_out_of_the_folder_are_refused_or_asked_for(tmp_path):
    """Of files and of folders; links inside are followed, once where they lead to a folder."""
    outside = touch(tmp_path / "outside", "x.avi")
    root = touch(tmp_path / "root", "walk/a.avi", ".pool/b.avi")
    (root / "walk/b.avi").symlink_to("../.pool/b.avi")
    (root / "run").symlink_to("walk")
    (root / "walk/up").symlink_to("..")
    (root / "walk/loop").symlink_to("loop")
    assert list(found(root)) == ["walk/a", "walk/b"]
    for name, target in (("walk/x.avi", "x.avi"), ("jump", ".")):
        (root / name).symlink_to(outside / target)
        with pytest.raises(ValueError, match=rf"{name}: a link out of .*root, expected a file inside; --follow-links"):
            find_videos(root)
        assert len(find_videos(root, follow_links=True)) == 3
        (root / name).unlink()
    (outside / "back").symlink_to(root)
    (root / "jump").symlink_to(outside)
    assert [video.name for video in find_videos(root, follow_links=True)] == ["jump/x", "walk/a", "walk/b"]


def test_links_into_the_store_of_a_repository_are_followed(tmp_path):
    """The layouts of Hugging Face's cache, git-annex and DVC; but not what a link in the store leads to elsewhere."""
    secret = touch(tmp_path, "secret.avi") / "secret.avi"
    for repository, store, place in (
        ("datasets--me--clips", "blobs", "snapshots/0123abc"),
        ("annex", ".git/annex/objects/X1", "videos"),
        ("dvc", ".dvc/cache/files/md5/0a", "videos"),
    ):
        root = tmp_path / repository / place
        content = touch(tmp_path / repository / store, "0a1b") / "0a1b"
        (root / "walk").mkdir(parents=True)
        (root / "walk/a.avi").symlink_to(os.path.relpath(content, root / "walk"))
        assert list(found(root)) == ["walk/a"]
        (content.parent / "evil").symlink_to(secret)
        (root / "walk/b.avi").symlink_to(content.parent / "evil")
        with pytest.raises(ValueError, match=r"b\.avi: a link out of"):
            find_videos(root)
    elsewhere = tmp_path / "elsewhere/snapshots/0123abc"
    touch(tmp_path / "elsewhere/blobs", "0a1b")
    (elsewhere / "walk").mkdir(parents=True)
    (elsewhere / "walk/a.avi").symlink_to("../../../blobs/0a1b")
    with pytest.raises(ValueError, match=r"a\.avi: a link out of"):
        find_videos(elsewhere)


def test_real_splits(real_data):
    """The official lists, whose last groups validate as in published results."""
    root, lists = real_data / "ucf101/videos", real_data / "ucf101/ucfTrainTestlist"
    for fold, in_test in ((1, range(1, 8)), (2, range(8, 15)), (3, range(15, 22))):
        parts = {name: ucf101_videos(root, lists, fold, name) for name in ("train", "validation", "test")}
        first = [[video for video in part.videos if video.name.endswith("c01")] for part in parts.values()]
        assert list(map(len, first)) == [70, 20, 35]
        assert groups(parts["test"].videos) == " ".join(f"g{group:02d}" for group in in_test)
        assert groups(parts["validation"].videos) == "g22 g23 g24 g25"
        development = ucf101_videos(root, lists, fold)
        assert sorted(development.videos) == sorted(parts["train"].videos + parts["validation"].videos)
        assert {video.official for video in development.videos} == {"train"}


# What the commands read


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config(root: Path, **fields: object) -> DataConfig:
    return DataConfig("video-folder", str(root), image_size=8, grey=True, **fields)


def names_of(clips: VideoClips) -> list[str]:
    return [clips.name(index) for index in range(len(clips))]


@pytest.mark.usefixtures("cached")
def test_a_list_divides_the_videos_and_leaves_the_others_alone(tmp_path, capsys):
    """What is not listed is not even decoded."""
    root = tmp_path / "films"
    for name in ("a/1", "a/2", "b/3", "b/4"):
        write(root / f"{name}.avi", 6)
    (root / "b" / "broken.avi").touch()
    split = tmp_path / "split.csv"
    split.write_text("name,part\na/1.avi,test\nb/3,train\n4,validation\nc/5,train\n")
    data = config(root, split_file=str(split))
    found = {part: names_of(data.open(part, 6)) for part in ("train", "validation", "test", "all")}
    assert found == {"train": ["b/3@0"], "validation": ["b/4@0"], "test": ["a/1@0"], "all": ["a/1@0", "b/3@0", "b/4@0"]}
    said = capsys.readouterr().err
    assert f"{split}: 2 videos are there but not listed, and left out: a/2, b/broken\n" in said
    assert f"{split}: 1 of the listed videos are not there: c/5\n" in said


@pytest.mark.usefixtures("cached")
def test_one_long_recording_without_classes(tmp_path, capsys):
    """Parts in time, from which every frame is in one; classes are asked for in vain, in a line."""
    root = tmp_path / "films"
    write(root / "day.avi", 100)
    data = config(root)
    whole = torch.cat([data.open("all", 10)[index] for index in range(10)])
    parts = {part: data.open(part, 10) for part in ("train", "validation", "test")}
    assert {part: (names_of(clips)[0], names_of(clips)[-1]) for part, clips in parts.items()} == {
        "train": ("day@0", "day@70"),
        "validation": ("day@80", "day@80"),
        "test": ("day@90", "day@90"),
    }
    assert torch.equal(parts["validation"][0], whole[80:90])
    assert torch.equal(parts["test"][0], whole[90:])
    assert "fewer than three videos in every class: each is split in time" in capsys.readouterr().err
    with pytest.raises(ValueError, match="videos without classes, expected a folder of them for each: CLASS/NAME"):
        data.open_labelled("test", 10, task="", clips=4)
    with pytest.raises(ValueError, match=r"found 10 frames, expected at least 12"):
        data.open("test", 12)


@pytest.mark.usefixtures("cached")
def test_short_videos_are_left_out_before_the_others_are_divided(tmp_path, capsys):
    for name, frames in (("1", 6), ("2", 6), ("3", 6), ("4", 3)):
        write(tmp_path / "films" / "a" / f"{name}.avi", frames)
    data = config(tmp_path / "films", skip_unreadable=True)
    parts = [names_of(data.open(part, 6)) for part in ("train", "validation", "test")]
    assert parts == [["a/1@0"], ["a/2@0"], ["a/3@0"]]
    assert "left out 1 videos of fewer than 6 frames: a/4" in capsys.readouterr().err


@pytest.mark.usefixtures("cached")
def test_images_become_clips_as_films_do(tmp_path):
    """UCSD's layout, from images to clips; its parts are those of its folders."""
    for part, count in (("Train", 4), ("Test", 2)):
        for number in range(count):
            folder = tmp_path / "ped" / part / f"{part}{number:03d}"
            folder.mkdir(parents=True)
            for frame in range(12):
                cv2.imwrite(str(folder / f"{frame + 1:03d}.tif"), np.full((8, 8), 10 * frame + number, np.uint8))
    data = config(tmp_path / "ped")
    assert names_of(data.open("test", 12)) == ["Test/Test000@0", "Test/Test001@0"]
    assert names_of(data.open("validation", 12)) == ["Train/Train003@0"]
    assert data.open("train", 12)[1][:, 0, 0, 0].tolist() == [10 * frame + 1 for frame in range(12)]


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
    for name in names:
        images(tmp_path / "frames" / name.removesuffix(".avi"), "img_1.jpg", "img_2.jpg")
    of_images = ucf101_videos(tmp_path / "frames", tmp_path, 2, "test").videos
    assert [video.name for video in of_images] == [
        video.name for video in ucf101_videos(root, tmp_path, 2, "test").videos
    ]
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
