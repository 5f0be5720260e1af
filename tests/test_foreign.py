"""An example of every kind of other people's data; the campaign tries hundreds."""

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from benchmarks.torture import foreign


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return foreign.Runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("number", range(len(foreign.KINDS)), ids=list(foreign.KINDS))
def test_other_peoples_data(number, runs, tmp_path):
    what, failure = foreign.tried(list(foreign.KINDS)[number], (0, number), tmp_path, runs)
    assert failure is None
    assert what in (foreign.READ, foreign.REFUSED)


def test_the_campaign_takes_all_kinds_and_tells_what_does_not_hold(tmp_path, monkeypatch):
    """A campaign that cannot fail says nothing."""
    two = {"turned films": foreign.turned_films, "broken tables": foreign.broken_tables}
    monkeypatch.setattr(foreign, "KINDS", two)
    outcome = foreign.foreign(4, 0, tmp_path)
    assert (outcome.tried, outcome.held) == (4, 4)
    assert outcome.note == "2 kinds: turned films, broken tables; 2 tries were read, 2 refused"
    monkeypatch.setattr(foreign, "read_video", lambda path: np.zeros((2, 2, 2, 3), np.uint8))
    monkeypatch.setattr(foreign, "open_sequences", lambda path: None)
    outcome = foreign.foreign(2, 1, tmp_path)
    assert outcome.held == 0
    assert outcome.failures[0].startswith("turned films (1, 0): AssertionError: 2 frames, expected ")
    assert "broken tables (1, 1): AssertionError: no error, expected one about" in outcome.failures[1]
