"""Three processes that share files, one of which is killed, beside one process that does all."""

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from video_ae.commands import evaluate, percepts, train
from video_ae.datasets.motion_percepts import MotionPercepts
from video_ae.datasets.sharing import Claims
from video_ae.distributed import Ranks, _take_leave
from video_ae.shared_work import share_work
from video_ae.tensor_files import write_tensors

ROOT = Path(__file__).parent.parent
TINY = "--composite --image-size 16 --grey --cell lstm --hidden-size 6 --input-frames 4 --future-frames 2 -b 4"
PROCESSES = 3


def write_videos(folder: Path, count: int) -> None:
    from test_label import write_video

    random = np.random.default_rng(count)
    for number in range(count):
        path = folder / ("dark", "light")[number % 2] / f"{number:02d}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = random.integers(0, 40, (10 + number, 16, 16, 3)) + 200 * (number % 2)
        write_video(path, frames.astype(np.uint8))


def say(log: Path, *words: object) -> None:
    """One line that processes may write at once."""
    with log.open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def said(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()]


def environment(folder: Path) -> dict[str, str]:
    more = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    return os.environ | more | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def test_a_killed_process_leaves_its_video_to_the_others(tmp_path):
    """Processes that know nothing of each other. Catches a claim that outlives its process, videos that two of them
    read, and an index that lacks what another one wrote."""
    write_videos(tmp_path / "videos", 12)
    running = [
        subprocess.Popen([sys.executable, __file__, "percepts", str(tmp_path), str(number)], env=environment(tmp_path))
        for number in range(PROCESSES)
    ]
    assert [process.wait(timeout=100) for process in running] == [0, -signal.SIGKILL, 0]
    read = Counter(name for name, _ in said(tmp_path / "log"))
    (lost,) = [name for name, process in said(tmp_path / "log") if process == "1"][1:]
    assert (len(read), read.pop(lost), set(read.values())) == (12, 2, {1})
    assert percepts.command([str(tmp_path / "videos"), "--out", str(tmp_path / "alone"), "--network", "motion"]) == 0
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".partial"
    }


def extract(folder: Path, number: str) -> None:
    """What each process of the test above does. The second one dies while it reads its second video."""
    rows = MotionPercepts.rows
    own = []

    def logged(self, path, **how):
        own.append(path.stem)
        say(folder / "log", path.stem, number)
        time.sleep(0.05)
        if number == "1" and len(own) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return rows(self, path, **how)

    (folder / f"ready-{number}").touch()
    while len(list(folder.glob("ready-*"))) < PROCESSES:
        time.sleep(0.001)
    with patch.object(MotionPercepts, "rows", logged):
        raise SystemExit(
            percepts.command([str(folder / "videos"), "--out", str(folder / "shared"), "--network", "motion"])
        )


TASKS = ("encode", "label", "anomaly")


def words(folder: Path, name: str, task: str) -> list[str]:
    outputs = {
        "encode": ["--out", str(folder / name / "codes.npz")],
        "label": ["--out", str(folder / name / "labels.csv")],
        "anomaly": ["--output-dir", str(folder / name / "anomaly"), "--all-anomalous", "--quantile", "0.9"],
    }
    data = ["--data-dir", str(folder / "more"), "-b", "5", "--device", "cpu"]
    return [str(folder / "run"), "--tasks", task, *data, *outputs[task]]


def judge_together(folder: Path) -> None:
    """What each process of torchrun does. The second one dies in its second batch; torchrun starts all again."""
    rank, attempt = os.environ["RANK"], int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    torch.distributed.init_process_group("gloo")  # once: torchrun's processes can meet only once
    patch("torch.distributed.init_process_group").start()
    patch("torch.distributed.destroy_process_group").start()
    own = []

    def logged(path, tensors):
        own.append(path.stem)
        time.sleep(0.05)
        if attempt == 0 and rank == "1" and len(own) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        write_tensors(path, tensors)
        say(folder / "log", task, attempt, path.stem)

    with patch("video_ae.shared_work.write_tensors", logged):
        for task in TASKS:
            with contextlib.redirect_stdout(None):
                assert evaluate.command(words(folder, "shared", task)) == 0
    patch.stopall()
    _take_leave()


def test_batches_are_shared_and_finished_ones_survive_a_restart(tmp_path, monkeypatch, capsys):
    """`encode`, `label` and `anomaly` of three processes are byte by byte those of one. Catches batches that several
    compute, or that are computed again after the restart, or come back in another order, and files left behind."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_videos(tmp_path / "videos", 12)
    write_videos(tmp_path / "more", 20)
    where = ["--dataset", "video-folder", "--data-dir", str(tmp_path / "videos"), "--validation-clips", "2"]
    assert train.command([*TINY.split(), "--steps", "2", *where, "--output-dir", str(tmp_path / "run")]) == 0
    recipe = "--tasks classify --labels-per-class 2 --num-seeds 1 --steps 2 --device cpu"
    assert evaluate.command([str(tmp_path / "run"), *recipe.split()]) == 0
    for task in TASKS:
        assert evaluate.command(words(tmp_path, "alone", task)) == 0
    shutil.rmtree(tmp_path / "cache")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(PROCESSES), "--max-restarts=1"]
    done = subprocess.run(
        [*torchrun, __file__, "evaluate", str(tmp_path)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    pieces = Counter((task, piece) for task, _, piece in said(tmp_path / "log") if task != "anomaly")
    assert set(pieces.values()) == {1}  # each was computed once, before the restart or after it
    assert {attempt for _, attempt, _ in said(tmp_path / "log")} == {"0", "1"}
    shared, alone = contents(tmp_path / "shared"), contents(tmp_path / "alone")
    assert shared.keys() == alone.keys()
    assert [name for name in alone if alone[name] != shared[name]] in ([], ["codes.npz"])  # the archive has a date
    codes = [np.load(tmp_path / name / "codes.npz") for name in ("alone", "shared")]
    assert all(np.array_equal(codes[0][name], codes[1][name]) for name in ("codes", "ids", "starts"))
    with (tmp_path / "shared" / "labels-clips.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(codes[0]["codes"])
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [
        "anomaly", "codes.npz", "labels-clips.csv", "labels.csv"
    ]  # fmt: skip


def test_what_another_process_has_comes_last(tmp_path):
    """And not before it is released."""
    script = (
        "import sys; from pathlib import Path\n"
        "from video_ae.datasets.sharing import Claims\n"
        "with Claims(Path(sys.argv[1])) as claims, claims.claim('b') as mine:\n"
        "    print(mine, flush=True); sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], env=environment(tmp_path),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other, Claims(tmp_path) as claims:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        pieces = claims.each("abc")
        assert [next(pieces), next(pieces)] == ["a", "c"]
        with claims.claim("b") as mine:
            assert not mine
        other.communicate("\n")
        assert list(pieces) == ["b"]


class _TwoRanks(Ranks):
    """Two ranks of one process, whose claims all succeed, as those of processes do where there are no locks."""

    def on_first(self, action):
        return action() if self.is_main else None

    def sums(self, *values):
        return list(values)


def test_without_locks_the_same_work_does_no_harm(tmp_path):
    """The second rank does all while the first one writes. Catches a file that both write into."""

    def share(rank: int) -> list[int]:
        found = share_work(_TwoRanks(rank, 2), tmp_path / "work", 2, lambda n: {"n": torch.tensor(n)}, "sharing")
        return [int(one["n"]) for one in found]

    def interrupted(path, tensors):
        write_tensors(path, tensors)
        if path.suffix == ".partial-0" and not others:
            others.append(share(1))

    others: list[list[int]] = []
    with patch("video_ae.shared_work.write_tensors", interrupted):
        assert share(0) == [0, 1]
    assert others == [[0, 1]]


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--tasks", "probe"], "--tasks probe"),
        (["--tasks", "predict", "anomaly"], "--tasks predict anomaly"),
        (["--out", "future.gif"], "--tasks predict with --out"),
    ],
)
def test_what_cannot_be_shared_is_refused(flags, found):
    """Before anything is opened."""
    arguments = evaluate.parse_arguments(["run", *flags])
    with pytest.raises(ValueError, match=f"{found} under torchrun: its processes share one task of .*predict"):
        evaluate.refuse_sharing(arguments)


if __name__ == "__main__":
    what, place, *rest = sys.argv[1:]
    (extract if what == "percepts" else judge_together)(Path(place), *rest)
