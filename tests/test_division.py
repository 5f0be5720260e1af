"""What tests has never trained, whatever happens to a data set after it was divided."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.datasets.division import PARTS, Division, cut_in_blocks, cut_in_time
from video_ae.datasets.video_arrays import VideoArrays, VideoRecord, cut_arrays


def set_of(named: dict[str, np.ndarray], fingerprints: dict[str, str] | None = None) -> VideoArrays:
    records = [
        VideoRecord(name, "", name, array.shape, str(array.dtype), fingerprint=(fingerprints or {}).get(name, ""))
        for name, array in named.items()
    ]
    return VideoArrays(records, list(named.values()).__getitem__)


def steps_of(arrays: VideoArrays) -> set[tuple[float, ...]]:
    """Every step is told by its values."""
    return {tuple(step) for index in range(len(arrays.videos)) for step in arrays.array(index).tolist()}


def series(count: int, lengths: list[int]) -> dict[str, np.ndarray]:
    """Series whose steps are all different."""
    return {
        f"s{k}": np.stack([np.full(lengths[k % len(lengths)], k), np.arange(lengths[k % len(lengths)])], 1).astype("f4")
        for k in range(count)
    }


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(1, 25),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    data=st.data(),
)
def test_nothing_that_was_trained_on_is_ever_tested_on(count, lengths, data):
    """Against the steps themselves: files come, go, grow at their ends, are renamed and change their order."""
    before = series(count, lengths)
    arrays = set_of(before)
    division = Division.of(arrays, cut_in_blocks(arrays.videos))
    parts = {part: steps_of(cut_arrays(arrays, division.match(arrays).found[part])) for part in PARTS}
    assert sum(map(len, parts.values())) == len(steps_of(arrays))  # each step is in one part

    now: dict[str, np.ndarray] = {}
    for name, array in before.items():
        fate = data.draw(st.sampled_from(["same", "gone", "grown", "renamed", "changed"]), label=name)
        if fate == "grown":
            more = np.stack([np.full(3, 1000 + len(now)), np.arange(3)], 1).astype("f4")
            now[name] = np.concatenate([array, more])
        elif fate == "changed":
            now[name] = array + 0.5
        elif fate != "gone":
            now[name if fate == "same" else f"new {name}"] = array
    now |= {f"more {k}": np.full((4, 2), -1 - k, "f4") for k in range(data.draw(st.integers(0, 3)))}
    if not now:
        return
    items = data.draw(st.permutations(list(now.items())))
    if data.draw(st.booleans(), label="numbered anew"):  # as the videos of an array are
        items = [(f"s{number}", array) for number, (_, array) in enumerate(items)]
    there = set_of(dict(items))
    match = division.match(there)
    found = {part: steps_of(cut_arrays(there, match.found[part])) for part in PARTS}
    new = steps_of(cut_arrays(there, match.new))
    assert all(found[part] <= parts[part] for part in PARTS)
    assert not new & (found["train"] | found["validation"] | found["test"])
    assert not (new | found["test"]) & (parts["train"] | parts["validation"])
    whole = steps_of(there)
    assert whole == new | found["train"] | found["validation"] | found["test"]
    there_by_name = dict(items)
    kept = {
        name
        for name in before
        if name in there_by_name and there_by_name[name][: len(before[name])].tolist() == before[name].tolist()
    }
    assert not kept & {piece.name for part in PARTS for piece in match.missing[part]}


def test_a_division_survives_json_and_nothing_else_passes_for_one():
    arrays = set_of(series(12, [5]))
    division = Division.of(arrays, cut_in_blocks(arrays.videos))
    stored = {part: [list(piece) for piece in pieces] for part, pieces in division.to_json().items()}
    assert Division.from_json(stored, "x") == division
    for damaged in ({}, None, {part: [["a", 0, 5]] for part in PARTS}, {part: [[1, 0, 5, "f"]] for part in PARTS}):
        with pytest.raises(ValueError, match="x: not the parts of a data set"):
            Division.from_json(damaged, "x")


def test_videos_are_known_by_their_files():
    """A file's own checksum counts, not what a size or a decoder made of it: evaluation may be at another size."""
    rng = np.random.default_rng(0)
    small = {f"v{k}": rng.integers(0, 255, (6, 4, 4, 1), dtype=np.uint8) for k in range(12)}
    large = {name: np.repeat(video, 2, axis=1) for name, video in small.items()}
    sums = {name: f"sum of {name}" for name in small}
    arrays = set_of(small, sums)
    division = Division.of(arrays, cut_in_blocks(arrays.videos))
    match = division.match(set_of(large, sums))
    assert [len(match.found[part]) for part in PARTS] == [10, 1, 1]
    assert not match.new
    assert match.same_data
    other = division.match(set_of(large, dict.fromkeys(small, "another")))
    assert not other.same_data
    assert len(other.new) == 12


def test_parts_in_time_touch_and_do_not_overlap():
    cuts = cut_in_time([VideoRecord("a", "", "a", (1000, 2), "float32"), VideoRecord("b", "", "b", (7, 2), "float32")])
    assert cuts["train"] == [(0, 0, 800), (1, 0, 6)]
    assert cuts["validation"] == [(0, 800, 900), (1, 6, 6)]
    assert cuts["test"] == [(0, 900, 1000), (1, 6, 7)]


def test_a_part_keeps_the_classes_of_the_whole():
    """A class index must mean the same class in every part, also where a part has no video of a class."""
    records = [VideoRecord(name, label, name, (3, 2), "float32") for name, label in (("a", "run"), ("b", "walk"))]
    arrays = VideoArrays(records, [np.zeros((3, 2), "f4"), np.ones((3, 2), "f4")].__getitem__)
    part = cut_arrays(arrays, [(1, 0, None)])
    assert (part.class_names, part.videos[0].label) == (["run", "walk"], "walk")


@settings(max_examples=200, deadline=None)
@given(lengths=st.lists(st.integers(10, 80), min_size=1, max_size=14), strides=st.tuples(*[st.integers(1, 4)] * 2))
def test_files_that_are_read_at_another_rate_stay_in_their_parts(lengths, strides):
    """Against the numbers of the files' frames. Catches a division that finds nothing again, so that all would test."""
    before, now = (
        {f"v{k}": np.stack([np.full(n, k), np.arange(n)], 1)[::stride].astype("f4") for k, n in enumerate(lengths)}
        for stride in strides
    )
    sums = {name: f"sum of {name}" for name in before}
    arrays, there = set_of(before, sums), set_of(now, sums)
    division = Division.of(arrays, cut_in_blocks(arrays.videos))
    match = division.match(there)
    assert match.same_data
    assert not match.new
    assert not any(match.missing.values())
    trained = steps_of(cut_arrays(arrays, division.match(arrays).found["train"]))
    parts = {part: steps_of(cut_arrays(there, match.found[part])) for part in PARTS}
    assert set.union(*parts.values()) == steps_of(there)
    assert not trained & (parts["validation"] | parts["test"])
    if len(lengths) >= 10:
        of = {part: {piece.name for piece in division.parts[part]} for part in PARTS}
        assert all({f"v{int(k)}" for k, _ in parts[part]} == of[part] for part in PARTS)
