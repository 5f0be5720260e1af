"""Groups and parts: whoever was filmed is in one part only, and every class is in all of them, or an error says why."""

import random
from collections import defaultdict
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.datasets.division import PARTS, pieces_of
from video_ae.datasets.groups import divide, division_notes, groups_of, split_development, split_videos
from video_ae.datasets.video_arrays import VideoRecord
from video_ae.datasets.video_folder import find_videos


def record(name: str, label: str, group: str, frames: int = 50, official: str = "", content: str = "") -> VideoRecord:
    return VideoRecord(name, label, group, (frames, 8, 8, 1), "uint8", official, fingerprint=content)


def records(names: list[tuple[str, str]], group: str = "") -> list[VideoRecord]:
    """Given class and name of every video."""
    return [
        record(f"{label}/{name}", label, its_group)
        for (label, name), its_group in zip(names, groups_of(names, group), strict=True)
    ]


def parts_of(videos: list[VideoRecord]) -> dict[str, set[str]]:
    """Names of the videos of each part."""
    return {part: {videos[index].name for index, _, _ in pieces} for part, pieces in divide(videos).items()}


def grouped(names: list[tuple[str, str]], group: str = "") -> str:
    return " ".join(sorted(set(groups_of(names, group))))


# Groups


@pytest.mark.parametrize(
    ("prefixes", "stem"),
    [
        (["IMG"], "{}_{:04d}"),
        (["video"], "{}_{}"),
        (["Normal"], "{}_Videos_{:03d}_x264"),
        (["IMG", "MVI", "VID"], "{}_{:04d}"),
        (["IMG", "VID", "PXL"], "{}_20240131_1{:05d}"),
        (["DJI", "GOPR", "MVI"], "{}_walk_{}"),
        (["cam1", "cam2", "cam3"], "{}_walk_{}"),
        (["ann", "ben", "cem"], "{}_{:02d}"),  # people, or programs that nobody knows: one cannot tell
    ],
)
def test_a_prefix_of_cameras_and_programs_is_no_person(prefixes, stem):
    """Catches one group of everything, and parts that are one camera each."""
    names = [(c, stem.format(prefixes[i % len(prefixes)], i)) for i in range(60) for c in ("cook", "walk")]
    assert groups_of(names) == [name for _, name in names]
    for part in parts_of(records(names)).values():
        assert {name.split("/")[1].split("_")[0] for name in part} == set(prefixes)


@pytest.mark.parametrize("people", [["ann", "ben", "cem"], ["p1", "p2", "p3", "p4"], ["daria", "eli", "ido", "lena"]])
@pytest.mark.parametrize("stem", ["{}_{}", "{}_{}2_uncomp", "{}_to_{}_01"])
def test_a_person_whose_names_go_on_with_the_class_is_a_group(people, stem):
    names = [(c.title(), stem.format(person, c)) for c in ("bend", "jump", "shake_hands") for person in people]
    assert groups_of(names) == [name.split("_")[0] for _, name in names]
    assert grouped(names[1:]) == " ".join(sorted(people))  # a missing video does not split the person's others


def test_many_people_whose_names_go_on_with_numbers_are_groups():
    names = [
        (label, f"{person}_{take:02d}")
        for label in "ab"
        for person in ("ann", "ben", "cem", "dan", "eve")
        for take in (1, 2)
    ]
    assert grouped(names) == "ann ben cem dan eve"


def test_what_may_be_people_is_said(tmp_path, capsys):
    """With an expression that then keeps each of them in one part."""
    for label in "ab":
        (tmp_path / label).mkdir()
        for person, take in product(("ann", "ben", "cem"), (1, 2)):
            (tmp_path / label / f"{person}_{take}.avi").touch()
    assert len({video.group for video in find_videos(tmp_path)}) == 6
    said = capsys.readouterr().err
    assert "if ann, ben, cem are people, --group '^[^_]+' keeps each of them in one part" in said
    assert {video.group for video in find_videos(tmp_path, group="^[^_]+")} == {"ann", "ben", "cem"}
    assert capsys.readouterr().err == ""


def test_other_groups():
    """UCF-101's numbers, sub-folders, files; a prefix of one class is none, and an expression says otherwise."""
    assert grouped([("PushUps", "v_PushUps_g01_c02"), ("PushUps", "v_PushUps_g12_c01")]) == "g01 g12"
    own = [("kick", "kick_01"), ("kick", "kick_02"), ("run", "run_01")]
    assert grouped(own) == "kick_01 kick_02 run_01"
    assert grouped(own, r"_(\d+)") == grouped(own, r"\d+$") == "01 02"
    sessions = [(label, f"session{i % 4}/IMG_{i}") for label in ("walk", "run") for i in range(12)]
    assert grouped(sessions) == "session0 session1 session2 session3"
    dates = [(label, f"2024010{day}_1{i:05d}") for label in "ab" for day in range(1, 6) for i in range(3)]
    assert groups_of(dates) == [name for _, name in dates]
    ids = [
        (label, f"{person}_{label}_{i}")
        for label in ("walk", "run")
        for i in range(9)
        for person in ("", "a", "b", "c")
    ]
    assert set(grouped(ids).split()) == {"a", "b", "c", *(name for _, name in ids if name[0] == "_")}
    one_folder = [("walk", f"clips/IMG_{i}") for i in range(5)]
    assert groups_of(one_folder) == [name for _, name in one_folder]
    with pytest.raises(ValueError, match=r"kick_01: no group 'x' in the name"):
        groups_of(own, "x")
    with pytest.raises(ValueError, match=r"group '\(': not a regular expression"):
        groups_of(own, "(")


# Parts


def possible(groups_in: dict[str, set[str]]) -> bool:
    """Whether any of all divisions of the groups gives every class all parts."""
    groups = sorted(set().union(*groups_in.values()))
    for parts in product(PARTS, repeat=len(groups)):
        part_of = dict(zip(groups, parts, strict=True))
        if all({part_of[group] for group in of_class} == set(PARTS) for of_class in groups_in.values()):
            return True
    return False


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=3, max_size=16, unique=True), st.randoms()
)
def test_every_class_is_in_every_part_wherever_that_is_possible(pairs, shuffled):
    """Against a search of all divisions. Groups stay whole, and the order of the files does not matter."""
    videos = [record(f"{label}/{group}-{i}", label, f"g{group}") for label, group in pairs for i in range(2)]
    groups_in: defaultdict[str, set[str]] = defaultdict(set)
    for label, group in pairs:
        groups_in[label].add(f"g{group}")
    if max(map(len, groups_in.values())) == 1:  # videos could be split in time, if there were fewer
        videos += [record(f"{label}/{group}-2", label, f"g{group}") for label, group in pairs]
    if not possible(groups_in):
        with pytest.raises(ValueError, match=r"^class [abc]: \d+ videos of \d+ groups .*--split-file"):
            divide(videos)
        return
    parts = parts_of(videos)
    assert sorted(name for part in parts.values() for name in part) == sorted(video.name for video in videos)
    groups = [{name.split("-")[0].split("/")[1] for name in part} for part in parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    for part in parts.values():
        assert {name[0] for name in part} == groups_in.keys()
    shuffled.shuffle(videos)
    assert parts_of(videos) == parts


def test_classes_of_very_different_sizes():
    """The last quarter of all groups would hold none of the small classes."""
    names = [(label, f"{label}{i}") for label, count in (("a", 200), ("b", 3), ("c", 4)) for i in range(count)]
    parts = parts_of(records(names))
    assert {part: len({name[0] for name in of_part}) for part, of_part in parts.items()} == dict.fromkeys(PARTS, 3)
    assert abs(len(parts["test"]) - 52) <= 2
    assert abs(len(parts["validation"]) - 31) <= 2


def test_the_error_names_what_helps_these_very_files():
    """Catches advice that does not work: '.+' makes groups of files, which does not help a class of two."""
    names = [("walk", f"v_walk_g01_c{i:02d}") for i in range(4)] + [("run", f"v_run_g0{i}_c01") for i in range(1, 5)]
    with pytest.raises(ValueError, match=r"class walk: 4 videos of 1 groups \(g01\), expected .*--group '\.\+'"):
        divide(records(names))
    assert all(parts_of(records(names, ".+")).values())
    few = [*names[4:], ("walk", "a"), ("walk", "b")]
    with pytest.raises(ValueError, match=r"class walk: 2 videos of 2 groups \(a, b\), .*; add videos or leave"):
        divide(records(few))


def test_copies_of_a_video_are_in_one_part():
    """Under other names and in other classes: what is tested must not have been learned."""
    videos = [record(f"{label}/{i}", label, f"{label}{i}", content=f"{i}") for label in "ab" for i in range(9)]
    parts = parts_of(videos)
    for part in parts.values():
        assert {name[0] for name in part} == {"a", "b"}
        assert {name[2:] for name in part if name[0] == "a"} == {name[2:] for name in part if name[0] == "b"}


def test_marked_parts_are_followed_and_missing_ones_are_held_out_of_training():
    marked = [record(f"{part}/{i}", "a", f"{part}{i}", official=part) for part in PARTS for i in range(5)]
    assert parts_of(marked) == {part: {f"{part}/{i}" for i in range(5)} for part in PARTS}
    assert division_notes(marked, divide(marked)) == []
    unmarked = record("other", "a", "o")
    found = divide([*marked[:10], unmarked])
    assert [len(found[part]) for part in PARTS] == [4, 5, 1]
    notes = division_notes([*marked[:10], unmarked], found)
    assert [note.split(":")[0] for note in notes] == [
        "no video is marked for test",
        "1 videos are marked for no part and left out",
    ]
    with pytest.raises(ValueError, match="none of the 5 videos such as test/0 is marked or listed for train"):
        divide(marked[10:])
    with pytest.raises(ValueError, match=r"of 1 groups \(g\), expected enough to hold some out for validation"):
        divide([record("x", "a", "g", official="train"), record("y", "a", "h", official="test")])


def test_a_marked_class_of_one_group_is_trained_on_and_said_to_be_in_no_other_part():
    videos = [record(f"{label}{i}", label, f"{label}{i}", official="train") for label in "ab" for i in range(4)]
    videos += [record("c0", "c", "c0", official="train"), record("t", "a", "t", official="test")]
    found = divide(videos)
    assert {videos[index].label for index, _, _ in found["validation"]} == {"a", "b"}
    assert "no videos of 1 classes are in the validation part: c" in division_notes(videos, found)


def test_one_or_two_long_recordings_are_split_in_time():
    videos = [record("cam/day", "cam", "day", frames=1000), record("cam/night", "cam", "night", frames=99)]
    found = divide(videos)
    assert found == {
        "train": [(0, 0, 800), (1, 0, 79)],
        "validation": [(0, 800, 900), (1, 79, 89)],
        "test": [(0, 900, 1000), (1, 89, 99)],
    }
    assert pieces_of(found, "development") == [(0, 0, 800), (0, 800, 900), (1, 0, 79), (1, 79, 89)]
    assert division_notes(videos, found) == [
        "fewer than three videos in every class: each is split in time, at 80 % and 90 % of its frames"
    ]
    with pytest.raises(ValueError, match=r"1 videos such as cam/x, expected at least 3 .*or long ones"):
        divide([record("cam/x", "cam", "x", frames=9)])
    tubelets = VideoRecord("cam/x", "cam", "x", (500, 29, 8, 8, 3), "uint8")  # they overlap in time
    with pytest.raises(ValueError, match="expected at least 3"):
        divide([tubelets])


def test_tens_of_thousands_of_videos_are_divided_in_linear_time():
    """A quadratic rule would take minutes; groups of people, and files of their own."""
    names = [(f"c{i % 400}", f"{i}") for i in range(60_000)]
    people = [(f"c{i % 400}", f"p{i // 400}_c{i % 400}") for i in range(60_000)]
    for files in (names, people):
        parts = divide(records(files))
        assert sum(map(len, parts.values())) == 60_000
        assert 0.24 < len(parts["test"]) / 60_000 < 0.26


def test_splits_of_files(tmp_path):
    videos = [("a", f"{i:02d}") for i in range(20)]
    for label, name in videos:
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{name}.avi").touch()
    found = find_videos(tmp_path)
    parts = {split: split_videos(found, split) for split in ("train", "validation", "test", "development", "all")}
    assert [len(part) for part in parts.values()] == [12, 3, 5, 15, 20]
    assert parts["development"] == sorted(parts["train"] + parts["validation"])
    assert parts["all"] == found
    assert [video.name for video in parts["test"]] == [f"a/{i}" for i in range(15, 20)]
    assert [video.name for video in split_development(found[:15], "validation")] == ["a/12", "a/13", "a/14"]
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        split_videos(found, "valid")
    with pytest.raises(ValueError, match="videos of one group"):
        split_development(found[:1], "train")


def test_people_keep_their_parts_in_real_data(real_data):
    """Persons and groups by name, 25 % and 15 % of them, as in published results."""
    people = find_videos(real_data / "weizmann")
    random.Random(0).shuffle(people)
    parts = {split: split_videos(people, split) for split in PARTS}
    assert {split: (" ".join(sorted({v.group for v in part})), len(part)) for split, part in parts.items()} == {
        "train": ("daria denis eli", 12),
        "validation": ("ido", 4),
        "test": ("ira lena", 8),
    }
