"""Whatever lies in a folder of results and is not the last result's own stays as it is."""

import hashlib
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from video_ae.commands import evaluate, train
from video_ae.results import refuse_foreign, replace_results, result_files
from video_ae.shared_work import _begin

ROOT = Path(__file__).parent.parent
SMALL = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2"]
TRAINING = ["-b", "4", "--steps", "1", "--hidden-size", "4", "--device", "cpu", "--validation-clips", "2"]
ARCHITECTURE = ["--tasks", "architecture", "--device", "cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train.command(["--composite", *SMALL, *TRAINING, "--output-dir", str(folder)]) == 0
    return folder


def publish(folder: Path, task: str, files: dict[str, str]) -> None:
    with replace_results(folder, task) as place:
        for name, text in files.items():
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    """Of all files but lists and what a kill left."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0][0] != ".")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_a_folder_of_other_files_is_refused_and_stays_as_it_is(run, tmp_path, capsys):
    """`--output-dir .` removed the user's predict.py."""
    for name in ("predict.py", "architecture.json", "architecture-notes.txt", "report.html"):
        (tmp_path / name).write_text(f'{{"mine": "{name}"}}')
    before = content(tmp_path)
    capsys.readouterr()
    for words in ([str(run), *ARCHITECTURE], ["--compare", str(run)]):
        assert evaluate.command([*words, "--output-dir", str(tmp_path)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "choose a new or an empty folder as --output-dir" in error
        assert content(tmp_path) == before
    (tmp_path / "a file").write_text("mine")
    assert evaluate.command([str(run), *ARCHITECTURE, "--output-dir", str(tmp_path / "a file")]) == 1
    assert "not a folder" in capsys.readouterr().err


def test_new_results_leave_what_was_put_beside_the_last_ones(run, tmp_path, capsys):
    words = [str(run), *ARCHITECTURE, "--output-dir", str(tmp_path / "out")]
    assert evaluate.command(words) == 0
    mine = dict.fromkeys(("architecture.py", "architecture-notes.txt", "architecture-2.png", "classifier"), "mine")
    for name, text in mine.items():
        (tmp_path / "out" / name).write_text(text)
    (tmp_path / "out" / "report.html").write_text("my own")  # in the place of one that was written here
    capsys.readouterr()
    assert evaluate.command(words) == 0
    found = {name: (tmp_path / "out" / name).read_text() for name in [*mine, "report.html"]}
    assert found == mine | {"report.html": "my own"}
    assert "no report: FileExistsError" in capsys.readouterr().err
    (tmp_path / "out" / "architecture.json").write_text("changed")
    assert evaluate.command(words) == 1
    error = capsys.readouterr().err
    assert "architecture.json: not a file that the last architecture wrote there; move it away" in error
    assert error.count("\n") == 1
    assert (tmp_path / "out" / "architecture.json").read_text() == "changed"


def test_files_of_the_last_result_alone_are_replaced(tmp_path):
    publish(tmp_path, "predict", {"predict.json": "1", "predict-00.gif": "1", "predict-01.gif": "1"})
    publish(tmp_path, "classify", {"classify.json": "1", "classifier/config.json": "1"})
    publish(tmp_path, "predict", {"predict.json": "2", "predict-00.gif": "2"})
    others = {"classify.json": "1", "classifier/config.json": "1"}
    assert content(tmp_path) == {"predict.json": "2", "predict-00.gif": "2"} | others
    assert result_files(tmp_path, "predict") == {"predict.json", "predict-00.gif"}
    refuse_foreign(tmp_path)  # not


def test_what_fails_leaves_the_last_results(tmp_path):
    publish(tmp_path, "predict", {"predict.json": "1"})

    def fail() -> None:
        with replace_results(tmp_path, "predict") as place:
            (place / "predict.json").write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert content(tmp_path) == {"predict.json": "1"}
    assert {path.name for path in tmp_path.iterdir()} == {"predict.json", ".predict.sha256"}


def second(call: str, folder: Path) -> subprocess.Popen[str]:
    """Another process that makes this call of a folder, and has said that it waits."""
    code = f"from test_results import *; from test_results import _begin; {call}"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert process.stderr is not None
    assert (
        process.stderr.readline()
        == f"{folder}: another process is writing the same there; this one waits for its end\n"
    )
    return process


def test_two_processes_replace_the_same_results_one_after_the_other(tmp_path):
    """The second one removed what the first was writing, which ended with a file that was not there."""
    with replace_results(tmp_path, "predict") as place:
        process = second("publish(Path(sys.argv[1]), 'predict', {'predict.json': '2'})", tmp_path)
        (place / "predict.json").write_text("1")
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert content(tmp_path) == {"predict.json": "2"}
    assert {path.name for path in tmp_path.iterdir()} == {"predict.json", ".predict.sha256"}


def test_two_commands_do_not_mix_the_work_that_their_processes_share(tmp_path):
    """The second one removed batches of the first, or left its own, of other data, in their place."""
    folder = tmp_path / "work"
    with ExitStack() as held:
        _begin(folder, held)
        folder.mkdir()
        process = second("_begin(Path(sys.argv[1]) / 'work', ExitStack())", tmp_path)
        assert folder.exists()
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert not folder.exists()


def test_results_without_a_list_are_somebody_elses(run, capsys, tmp_path):
    """Of a version that wrote none, or copied without hidden files: they are not replaced, and what to do is said."""
    out = tmp_path / "evaluation"
    out.mkdir()
    publish(out, "predict", {"predict.json": "1"})
    (out / "architecture.json").write_text("mine")
    assert evaluate.command([str(run), *ARCHITECTURE, "--output-dir", str(out)]) == 1
    assert "not a file that the last architecture wrote there; move it away and repeat" in capsys.readouterr().err
    assert (out / "architecture.json").read_text() == "mine"


class Killed(BaseException):
    pass


def test_a_kill_at_any_moment_leaves_a_folder_that_the_next_result_can_be_written_into(tmp_path, monkeypatch):
    """All calls by which files change are counted, and the process ends before each of them once."""
    counting = {"left": 0}
    first = {"predict.json": '{"baselines": 1}', "predict-00.gif": "1", "predict-01.gif": "1"}

    def dying(call):
        def act(*arguments, **options):
            counting["left"] -= 1
            if counting["left"] == 0:
                raise Killed
            return call(*arguments, **options)

        return act

    moments = 0
    for moment in range(1, 100):
        folder = tmp_path / str(moment)
        publish(folder, "predict", first)
        (folder / "predict-mine.gif").write_text("mine")
        counting["left"] = moment
        with monkeypatch.context() as patched:
            for name in ("replace", "unlink", "mkdir"):
                patched.setattr(Path, name, dying(getattr(Path, name)))
            patched.setattr("video_ae.results.shutil.rmtree", lambda *given, **options: None)
            try:
                publish(folder, "predict", {"predict.json": "2", "predict-00.gif": "2"})
            except Killed:
                moments += 1
        assert (folder / "predict-mine.gif").read_text() == "mine"
        found = content(folder)
        assert found.get("predict.json") in (None, first["predict.json"], "2")
        if found.get("predict.json") == "2":
            assert found["predict-00.gif"] == "2"  # never the numbers of one and the pictures of another result
        refuse_foreign(folder)
        publish(folder, "predict", {"predict.json": "3"})
        assert content(folder)["predict.json"] == "3"
        assert content(folder).keys() == {"predict.json", "predict-mine.gif"}
        if counting["left"] > 0:
            break
    assert moments > 8


NAMES = st.text(st.characters(exclude_characters="/\0\n", exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    listed=st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=4),
    there=st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=6),
    wanted=st.sets(NAMES, max_size=3),
    clash=st.booleans(),
)
def test_only_listed_files_with_their_sums_are_ever_replaced(listed, there, wanted, clash, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    names = {name for name in listed | there if name not in (".", "..", ".predict.sha256", ".predict.partial")}
    there = {name: (there | (listed if clash else {})).get(name) for name in names if name in there or clash}
    for name, text in there.items():
        (folder / name).write_text(text or "1")
    lines = [f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in listed.items()]
    (folder / ".predict.sha256").write_text("".join(lines))
    new = {name for name in wanted if name not in (".", "..", ".predict.sha256", ".predict.partial")}
    kept = {name: text for name, text in there.items() if listed.get(name) != text}
    try:
        publish(folder, "predict", dict.fromkeys(new, "new"))
        assert not new & kept.keys()
        expected = kept | dict.fromkeys(new, "new")
    except FileExistsError:
        assert new & kept.keys()
        expected = there
    found = {name for name in os.listdir(folder) if name not in (".predict.sha256", ".predict.partial")}
    assert {name: (folder / name).read_text() for name in found} == expected


# Folders named after flags.

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-20, 20), st.floats(allow_nan=False), st.text(max_size=30),
    st.lists(st.integers(0, 12), max_size=4), st.tuples(st.floats(0, 9), st.floats(0, 9)),
    st.lists(st.text(max_size=4), max_size=3),
)  # fmt: skip
FLAGS = (
    "clips",
    "data_dir",
    "group",
    "num_digits",
    "labels_per_class",
    "num_seeds",
    "speed",
    "columns",
    "steps",
    "seed",
)
CHANGES = st.dictionaries(st.sampled_from(FLAGS), VALUES, max_size=4)


def canonical(given: dict) -> str:
    """What a folder's name has to tell, by another way than the name itself."""
    told = {}
    for name, value in given.items():
        if value is None or (name, value) in (("seed", 0), ("num_seeds", 5)):
            continue
        if name == "data_dir":
            value = os.path.realpath(str(value))
        told[name] = [str(each) for each in value] if isinstance(value, (list, tuple)) else [str(value)]
    return json.dumps(told, sort_keys=True)


@settings(max_examples=400, deadline=None)
@given(one=CHANGES, other=CHANGES)
def test_other_flags_have_another_folder(one, other):
    """`/data/视频` and `/data/音频`, `a_b` and `a-b`, erased each other's results; long names could not be written."""
    for given_flags in (one, other):
        if "data_dir" in given_flags:
            given_flags["data_dir"] = str(given_flags["data_dir"]).replace("\0", "")
    names = [evaluate.difference(flags, "classify") for flags in (one, other)]
    assert (names[0].casefold() == names[1].casefold()) == (canonical(one) == canonical(other))
    for name in names:
        assert len(name.encode()) <= 100
        assert name == "" or Path(name).name == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"data_dir": "/data/视频"}, {"data_dir": "/data/音频"}),
        ({"data_dir": "/data/a_b"}, {"data_dir": "/data/a-b"}),
        ({"data_dir": "/data/Clips"}, {"data_dir": "/data/clips"}),
        ({"data_dir": "/one/clips"}, {"data_dir": "/other/clips"}),
        ({"group": "a-clips-3"}, {"group": "a", "clips": 3}),
        ({"data_dir": "/" + "x" * 250 + "/1"}, {"data_dir": "/" + "x" * 250 + "/2"}),
        ({"columns": ["a", "b"]}, {"columns": ["a-b"]}),
        ({"quantile": -0.5}, {"quantile": 0.5}),
    ],
)
def test_names_that_looked_alike_are_told_apart(one, other):
    names = {evaluate.difference(flags, "anomaly") for flags in (one, other)}
    assert len(names) == 2
    assert all(0 < len(name.encode()) <= 100 for name in names)


@pytest.mark.parametrize("flag", ["data_dir", "split_file"])
def test_one_place_has_one_name_however_it_is_written(flag, tmp_path, monkeypatch):
    (tmp_path / "a b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a b")
    monkeypatch.chdir(tmp_path)
    written = ["a b", "./a b", "a b/", str(tmp_path / "a b"), "link", "a b/../a b"]
    (name,) = {evaluate.difference({flag: path, "clips": 3}, "predict") for path in written}
    assert name.startswith(f"{flag.replace('_', '-')}-a-b-clips-3_")
