"""Hostile files are refused in a line: nothing in them is executed, and nothing outside their folder is opened."""

import numpy as np
import pytest

from benchmarks.torture.hostile import CASES, attempt, judged
from benchmarks.torture.videos import BOMBS, DAMAGES, MEMORY, damaged, read_apart, videos

_LARGE = {
    "zip bomb",
    "endless line in .csv",
    "endless row in .csv",
}  # seconds to make; smaller ones: tests of the readers


@pytest.mark.parametrize("name", [name for name in CASES if name not in _LARGE])
def test_hostile_files_are_refused(name, tmp_path):
    """The campaign does the same in processes of their own, and measures their memory."""
    kind, make = CASES[name]
    place = tmp_path / "place"
    place.mkdir()
    canary = tmp_path / "canary"
    answer = attempt(kind, make(place, canary))
    assert judged(name, answer, executed=canary.exists()) is None


def test_damaged_videos_are_refused_or_whole(tmp_path, monkeypatch):
    """A sample of the campaign: every kind of damage to every codec once, in a process that may crash."""
    monkeypatch.delenv("VIDEO_AE_DATA", raising=False)  # whose films take longer
    outcome = videos(40, 1, tmp_path)
    assert outcome.failures == ()
    assert outcome.tried == 40
    assert "refused" in outcome.note


def test_a_bomb_is_refused_by_its_headers(tmp_path):
    """The largest of them, 48 GB in 15 KB, and headers that lie; the campaign has those that take seconds to make."""
    for name in ("screen.gif", "count-mjpg.avi", "table-mp4v.mp4"):
        path = BOMBS[name](tmp_path / name)
        found = read_apart([path])[0]
        assert found.error.startswith(f"ValueError: {path}: ")
        assert found.memory < MEMORY


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_done_and_the_same_for_the_same_seed(damage):
    content = np.random.default_rng(2).bytes(25_600)
    first, again, other = (damaged(content, damage, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again != content
    assert first != other


def test_a_process_that_dies_is_a_failure_of_one_file(tmp_path, monkeypatch):
    """A campaign that cannot fail says nothing."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, os\nsaid = print\ndef dies(*words, **options):\n"
        "    os._exit(9) if 'b.avi' in words[0] else said(*words, **options)\nbuiltins.print = dies\n"
    )
    paths = [tmp_path / name for name in ("a.avi", "b.avi", "c.avi")]
    errors = [reading.error for reading in read_apart(paths)]
    assert errors[1] == "the process ended with 9"
    assert all("a.avi: no such file" in errors[0] and "c.avi: no such file" in error for error in errors[2:])
