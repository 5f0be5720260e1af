"""Two processes that torchrun starts, beside one. A launch is slow, so that one does all of `in_every_process`."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from video_ae import LSTMAutoencoder, ModelConfig, TrainConfig
from video_ae.commands import evaluate, train
from video_ae.distributed import Ranks, _take_leave, join
from video_ae.errors import Interrupted
from video_ae.metrics import MetricAccumulator
from video_ae.restored import random_numbers_of
from video_ae.training_step import _seed_of, train_step

ROOT = Path(__file__).parent.parent
TINY = [
    "--composite",
    "--hidden-size",
    "8",
    "--batch-size",
    "5",
    "--device",
    "cpu",
    "--amp",
    "off",
]  # 5 clips: 3 and 2 of them
DIGITS = [*TINY, "--image-size", "28", "--num-digits", "1", "--validation-clips", "7"]
SIX_STEPS = ["--steps", "6", "--checkpoint-every", "3"]


def series(folder: Path) -> list[str]:
    return [*TINY, "--dataset", "sequences", "--data-dir", str(folder / "series.npz"), "--future-frames", "2"]


def at_step(wanted: int, action: Callable[[torch.Tensor], torch.Tensor]) -> contextlib.AbstractContextManager[object]:
    """Within it, `action` happens to the clips of one step, and to the second process alone."""

    def changed(model, optimizer, clips, lr, config, step, ranks, *more):
        if step == wanted and ranks.rank == 1:
            clips = action(clips)
        return train_step(model, optimizer, clips, lr, config, step, ranks, *more)

    return patch("video_ae.training.train_step", changed)


def killed_by(number: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def kill(clips: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), number)
        return clips

    return kill


def in_every_process(folder: Path) -> None:
    """What `two_processes` runs. Exit codes and errors of each command go into a file of each process."""
    rank, attempt = os.environ["RANK"], int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    ended = {}
    torch.distributed.init_process_group("gloo")  # once: torchrun's processes can meet only once
    patch("torch.distributed.init_process_group").start()
    patch("torch.distributed.destroy_process_group").start()

    def run(name: str, command: Callable[[list[str]], int], words: list[str]) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            try:
                code = command(words)
            except SystemExit as end:  # of a process that leaves the message to the first
                code = end.code
        ended[name] = (code, errors.getvalue().splitlines()[-1:] if code else [])

    def train_in(name: str, words: list[str]) -> None:
        run(name, train.command, [*words, "--output-dir", str(folder / name)])

    if attempt == 0:
        train_in("digits", [*DIGITS, *SIX_STEPS])
        train_in("series", [*series(folder), *SIX_STEPS])
        train_in("halfway", ["--resume", "--accumulate", "2", "--device", "cpu"])
        run("evaluation", evaluate.command, [str(folder / "one"), "--clips", "7", "--device", "cpu",
                                             "--output-dir", str(folder / "evaluation")])  # fmt: skip
        with at_step(4, killed_by(signal.SIGTERM)):
            train_in("stopped", [*series(folder), *SIX_STEPS])
        with at_step(5, lambda clips: clips.fill_(torch.inf)):
            train_in("diverged", [*series(folder), *SIX_STEPS])
        real = time.monotonic
        with patch("time.monotonic", lambda: real() + int(rank) * real()):
            train_in("by the clock", [*series(folder), "--max-minutes", "0.01"])
        train_in("too many parts", [*series(folder), *SIX_STEPS, "--accumulate", "3"])
        (folder / f"rank-{rank}.json").write_text(json.dumps(ended))
    with at_step(5, killed_by(signal.SIGKILL)) if attempt == 0 else contextlib.nullcontext():
        train_in("restarted", [*series(folder), *SIX_STEPS, "--resume"])
    patch.stopall()
    _take_leave()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> Path:
    """A folder of what one process and two did."""
    folder = tmp_path_factory.mktemp("distributed")
    random = np.random.default_rng(0)
    lengths = [14, 5, 9, 14, 3, 11, 6, 14, 8, 4] * 3
    np.savez(folder / "series.npz", **{f"s{n}": random.normal(size=(length, 3)) for n, length in enumerate(lengths)})
    assert train.command([*DIGITS, *SIX_STEPS, "--output-dir", str(folder / "one")]) == 0
    assert train.command([*series(folder), *SIX_STEPS, "--output-dir", str(folder / "one-series")]) == 0
    parts = ["--accumulate", "3", "--output-dir", str(folder / "parts-series")]
    assert train.command([*series(folder), *SIX_STEPS, *parts]) == 0
    with patch("video_ae.training.train_step", stop_at_step_4):
        assert train.command([*DIGITS, *SIX_STEPS, "--output-dir", str(folder / "halfway")]) == 128 + signal.SIGTERM
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    done = subprocess.run(
        [*torchrun, str(Path(__file__)), str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder


def stop_at_step_4(model, optimizer, clips, lr, config, step, ranks, *more):
    if step == 4:
        os.kill(os.getpid(), signal.SIGTERM)
    return train_step(model, optimizer, clips, lr, config, step, ranks, *more)


def last_checkpoint(run: Path) -> Path:
    return run / "checkpoints" / (run / "checkpoints" / "last").read_text().split()[0]


def assert_same_training(one: Path, other: Path) -> None:
    """Weights, momenta and validation to 1e-6 after as many steps."""
    assert last_checkpoint(one).name == last_checkpoint(other).name == "step-000006"
    for name in ("model.safetensors", "optimizer.safetensors"):
        expected, found = load_file(last_checkpoint(one) / name), load_file(last_checkpoint(other) / name)
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, atol=1e-6, rtol=1e-5 if "optimizer" in name else 0)
    for expected, found in zip(validations(one), validations(other), strict=True):
        assert (found["step"], found["sequences_seen"]) == (expected["step"], expected["sequences_seen"])
        assert_same_numbers(found["validation"], expected["validation"])
        assert found["peak_memory_bytes"] > 1e7  # more than Python alone has


def validations(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "validation" in row]


def assert_same_numbers(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_same_numbers(found[key], value)
        else:
            assert found[key] == pytest.approx(value, rel=1e-6, nan_ok=True)


def test_two_processes_train_as_one(two_processes):
    """Catches means of means: of 5 clips, they have 3 and 2."""
    assert_same_training(two_processes / "one", two_processes / "digits")


@pytest.mark.parametrize("several", ["series", "parts-series"])
def test_shares_and_parts_of_different_lengths_are_one_batch(several, two_processes):
    """Catches losses that are divided by the frames of one process or part. Parts have 2, 2 and 1 clips."""
    assert_same_training(two_processes / "one-series", two_processes / several)


def test_a_run_goes_on_with_another_number_of_processes(two_processes):
    """Four steps in one process, two more in two, in two parts each."""
    assert_same_training(two_processes / "one", two_processes / "halfway")


def test_processes_share_an_evaluation(two_processes):
    """Seven clips in 4 and 3. Catches a mean of the processes' means, and files that all of them write."""
    flags = ["--clips", "7", "--device", "cpu", "--output-dir", str(two_processes / "alone")]
    assert evaluate.command([str(two_processes / "one"), *flags]) == 0
    results = [json.loads((two_processes / name / "predict.json").read_text()) for name in ("evaluation", "alone")]
    assert results[0]["clips"] == 7
    assert list(results[0]["baselines"]) == ["floor", "copy_last", "mean_frame", "black"]
    for key in ("future", "reconstruction", "baselines"):
        assert_same_numbers(results[0][key], results[1][key])


def test_all_processes_end_together_and_one_says_why(two_processes):
    """A signal to one, what is not finite in one, clocks that differ: each would let the other wait for ever."""
    first, second = (json.loads((two_processes / f"rank-{rank}.json").read_text()) for rank in "01")
    for name in ("digits", "series", "halfway", "evaluation", "by the clock"):
        assert first[name] == second[name] == [0, []], name
    assert first["stopped"][0] == second["stopped"][0] == 143
    assert "step 4 is saved" in first["stopped"][1][0]
    assert last_checkpoint(two_processes / "stopped").name == "step-000004"
    assert first["diverged"][0] == second["diverged"][0] == 1
    assert "step 5: the input is not finite; the last checkpoint is intact" in first["diverged"][1][0]
    assert last_checkpoint(two_processes / "diverged").name == "step-000003"
    assert first["too many parts"][0] == second["too many parts"][0] == 1
    assert "a batch of 5 clips for 2 processes in 3 parts each" in first["too many parts"][1][0]
    assert not (two_processes / "too many parts").exists()
    assert all(not second[name][1] for name in ("stopped", "diverged", "too many parts"))


def test_torchrun_restarts_from_the_last_checkpoint(two_processes):
    """SIGKILL to one process in step 5; both begin again at step 3."""
    assert_same_training(two_processes / "one-series", two_processes / "restarted")
    assert len(json.loads((two_processes / "restarted" / "env.json").read_text())) == 2


def leave_twice() -> None:
    """What `test_no_thread_outlives_the_group` runs: a step of both that ends well, and one that does not."""
    for port, end in zip(os.environ["PORTS"].split(), (None, Interrupted(signal.SIGTERM, "stopped")), strict=True):
        os.environ["MASTER_PORT"] = port
        with contextlib.suppress(Interrupted, SystemExit), join("cpu") as ranks:
            share_a_step(ranks, end)
        print(*(name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")), flush=True)


def share_a_step(ranks: Ranks, end: Exception | None) -> None:
    model = ranks.parallel(LSTMAutoencoder(ModelConfig(frame_shape=(1, 8, 8), hidden_size=4)))
    model.cycle = [model]  # as anything may be that has hooks: `del` alone does not free it
    sum(output.sum() for output in model(torch.rand(2, 10, 64), teacher_forcing=True).values()).backward()
    if end is not None:
        try:
            fail_with(model)
        except ValueError as error:
            raise end from error


def fail_with(model: torch.nn.Module) -> None:
    raise ValueError  # a traceback of its own, which holds the model


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the threads of a process")
def test_no_thread_outlives_the_group():
    """Catches SIGABRT after all work is done, on busy machines: threads of gloo that free tensors while Python ends."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = " ".join(str(each.getsockname()[1]) for each in sockets)
    both = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PORTS": ports, "MASTER_ADDR": "127.0.0.1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", "from tests.test_distributed import leave_twice; leave_twice()"],
            cwd=ROOT,
            env=os.environ | both | {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        threads, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert len(threads.splitlines()) == 2
        assert "gloo" not in threads


@pytest.mark.parametrize(("items", "size"), [(7, 3), (2, 4), (6, 2), (0, 2)])
def test_shares_are_the_whole_in_order(items, size):
    shares = [Ranks(rank, size).share(range(items)) for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len(shares[0]) == max(map(len, shares))  # the first one draws the first clip: it must have one


def test_no_two_clips_of_a_batch_get_the_same_noise():
    """Catches ranks, or parts, that are seeded alike, and a step that draws other numbers when it is done again."""

    def draw(*where: int) -> tuple[float, ...]:
        with random_numbers_of(_seed_of(*where), torch.device("cpu")):
            return tuple(torch.randn(3).tolist())

    places = [(0, 1, 0, 0), (0, 1, 1, 0), (0, 1, 0, 1), (0, 2, 0, 0), (1, 1, 0, 0), (1, 0, 0, 0)]
    assert len({draw(*place) for place in places}) == len(places)
    assert draw(*places[1]) == draw(*places[1])


@pytest.mark.parametrize(
    "choices",
    [
        {"code_size": 3, "variational": True},
        {"code_size": 3, "repeat_code": True},
        {"patch_size": 4, "layers": 2, "peephole": True},
        {"conditional": ("future",)},
    ],
)
def test_every_parameter_has_a_gradient_and_parts_weigh_right(choices):
    """DistributedDataParallel waits for a gradient of every parameter. The nats of a code count per frame, too."""
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 8, 8), hidden_size=8, **choices))
    clips = torch.randint(0, 256, (5, 20, 1, 8, 8), dtype=torch.uint8)
    rows = []
    with patch("torch.randn_like", torch.zeros_like):  # a part draws other numbers than the whole
        for parts in (1, 3):
            config = TrainConfig(accumulate=parts, amp="off", clip_grad=1e9)
            rows.append(train_step(model, torch.optim.SGD(model.parameters()), clips, 0.0, config, 1))
            assert all(parameter.grad is not None for parameter in model.parameters())
    assert rows[1] == pytest.approx(rows[0], rel=1e-5)
    assert ("kl" in rows[0]) == model.config.variational


def test_merged_accumulators_are_one():
    """Catches a process without clips, and one whose sequences are all shorter."""
    values = torch.rand(5, 4)
    lengths = torch.tensor([4, 1, 2, 2, 1])
    whole, *parts = (MetricAccumulator() for _ in range(4))
    whole.add({"mse": values}, lengths)
    parts[0].add({"mse": values[:2]}, lengths[:2])
    parts[1].add({"mse": values[2:, :2]}, lengths[2:])
    merged = MetricAccumulator.merge([part.sums() for part in parts])
    assert merged.clips == 5
    assert_same_numbers(merged.result(), whole.result())


if __name__ == "__main__":
    in_every_process(Path(sys.argv[1]))
