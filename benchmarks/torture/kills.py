"""Kills: the real train.py, and every system call of a save.

train.py runs as `python train.py` would run it, in a process that is forked from one that has imported torch already:
importing takes longer than the training, and there is nothing to lose in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import runpy
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.torture.checkpoints import difference
from benchmarks.torture.outcome import Outcome, count
from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.checkpoint import Progress
from video_ae.optimizer import Optimizer
from video_ae.pretrained import save_model
from video_ae.run_folder import RunFolder

ROOT = Path(__file__).parent.parent.parent
RUN = ["--composite", "--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2"]
RUN += ["--hidden-size", "4", "-b", "2", "--validation-clips", "2", "--steps", "40", "--checkpoint-every", "4"]
RUN += ["--device", "cpu", "--amp", "off", "--resume"]  # on a busy machine, two runs may choose two precisions
_SYSCALL, _EXITKILL = 24, 0x100000  # of ptrace


def fork(action: Callable[[], int], log: Path) -> int:
    """The id of a new process group that does `action` and ends with what it returns; what it says goes into `log`."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setsid()
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115 - until the process ends
        code = action()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def train(words: list[str], log: Path) -> int:
    """`python train.py` in a process of its own; returns its id."""

    import sklearn.datasets  # noqa: F401 - here, and not in every process that is forked

    import video_ae.report.run  # noqa: F401

    def run() -> int:
        sys.argv = ["train.py", *words]
        os.chdir(ROOT)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        return 0

    return fork(run, log)


def ended(process: int) -> int:
    """Its exit code, minus the number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def valid(run: Path) -> str | None:
    """What is wrong with what a run has left: `last` and the model have to be sound, with nothing to warn of."""
    folder = RunFolder(run)
    with contextlib.redirect_stderr(io.StringIO()) as told:
        try:
            name = folder.checkpoints.newest_valid()
            if folder.exists():
                folder.config()
            if (folder.model / "model.safetensors").exists():
                LSTMAutoencoder.from_pretrained(run)
        except ValueError as error:
            return str(error)
    first = name == "step-000000" and not (run / "checkpoints" / "last").exists()  # killed just before it was named
    return None if first or not told.getvalue() else told.getvalue().strip()


def random_sigkills(count_: int, seed: int, folder: Path) -> Outcome:
    return _struck(signal.SIGKILL, count_, seed, folder)


def random_sigterms(count_: int, seed: int, folder: Path) -> Outcome:
    return _struck(signal.SIGTERM, count_, seed, folder)


def random_sigints(count_: int, seed: int, folder: Path) -> Outcome:
    return _struck(signal.SIGINT, count_, seed, folder)


def _struck(number: signal.Signals, count_: int, seed: int, folder: Path) -> Outcome:
    """Runs that get the signal at random times, again and again until they are through.

    The times are those that a run takes; the machine may become faster or slower while this goes on.
    """
    random = np.random.default_rng(seed)
    whole, run, log = folder / "whole", folder / "run", folder / "log"
    started = time.monotonic()
    if ended(train([*RUN, "--output-dir", str(whole)], log)):
        raise RuntimeError(f"train.py failed: {log.read_text()[-2000:]}")
    duration = time.monotonic() - started
    ends: Counter[int] = Counter()

    def tries() -> Iterator[str | None]:
        nonlocal duration
        struck = 0
        while struck < count_:
            process, started = train([*RUN, "--output-dir", str(run)], log), time.monotonic()
            wait = float(random.uniform(0, duration))
            code = _wait(process, wait)
            if code is None:
                os.kill(process, number)
                code = ended(process)
                struck += 1
                ends[code] += 1
                wrong = valid(run)
                allowed = {-number, 128 + number, 0} if number != signal.SIGKILL else {-number, 0}
                if code not in allowed:
                    wrong = f"it ended with {code}: {log.read_text()[-300:]}"
                yield wrong and f"{number.name} after {wait:.2f} s: {wrong}"
            elif code:
                yield f"resumed, it ended with {code}: {log.read_text()[-300:]}"
                return
            if code == 0:
                duration = (duration + time.monotonic() - started) / 2
                found = difference(whole, run)
                yield found and f"after the kills, {found} differs"
                shutil.rmtree(run)
        if run.exists():
            found = f"exit code {code}" if (code := ended(train([*RUN, "--output-dir", str(run)], log))) else None
            yield found or difference(whole, run)

    promise = "`last` and the model valid after each; in the end equal to the uninterrupted run, tolerance 0"
    outcome = count(f"{number.name} to train.py at a random time, then --resume", promise, tries())
    codes = ", ".join(f"{times} x {code}" for code, times in sorted(ends.items()))
    more = outcome.tried - sum(ends.values())
    note = f"{sum(ends.values())} signals, exit codes {codes}; {more} runs compared"
    return Outcome(outcome.campaign, outcome.promise, outcome.tried, outcome.failures, note)


def _wait(process: int, seconds: float) -> int | None:
    """The exit code of a process that ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def every_system_call(count_: int, seed: int, folder: Path) -> Outcome:
    """SIGKILL before the n-th system call of a save, for every n or `count_` of them evenly spread.

    The save writes a checkpoint that becomes `last` and `best`, prunes an old one and replaces the model.
    """
    before = folder / "before"
    torch.manual_seed(seed)
    for step in (1, 2, 3):
        _save(before, step)
    log, run = folder / "log", folder / "run"

    def killed_at(number: int | None) -> int:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(before, run)
        return _traced(lambda: _ready_to_save(run, 4), number, log)

    calls = killed_at(None)
    numbers = range(1, calls + 1) if count_ >= calls else [1 + place * calls // count_ for place in range(count_)]

    def tries() -> Iterator[str | None]:
        for number in numbers:
            killed_at(number)
            wrong = valid(run) or _next_save_fails(run)
            yield wrong and f"killed before system call {number} of {calls}: {wrong}"

    promise = "`last` and the model valid, and the next save leaves three checkpoints and nothing else"
    return count("SIGKILL before a system call of a save", promise, tries(), f"a save makes {calls} system calls")


def _save(run: Path, step: int) -> int:
    return _ready_to_save(run, step)()


def _ready_to_save(run: Path, step: int) -> Callable[[], int]:
    """A training that has gone on from the last checkpoint, and is about to save as `validate_and_save` does."""
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 8, 8), hidden_size=4, input_frames=3, future_frames=2))
    optimizer = Optimizer(model, 1e-3)
    folder = RunFolder(run)
    run.mkdir(parents=True, exist_ok=True)
    name = folder.checkpoints.newest_valid()
    if name is not None:
        folder.checkpoints.load(name, model, optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, step)
    optimizer.step()

    def save() -> int:
        folder.append_metrics({"step": step})
        save_model(model, folder.model, step)
        folder.checkpoints.save(model, optimizer, Progress(step=step), best=True)
        return 0

    return save


def _next_save_fails(run: Path) -> str | None:
    _save(run, 5)
    left = sorted(path.name for path in (run / "checkpoints").iterdir())
    expected = {"best", "last", "step-000005"}
    strange = [name for name in left if name not in expected and not name.startswith("step-")]
    strange += [path.name for path in run.rglob("*partial*")]
    return f"left behind: {', '.join(strange)}" if strange else valid(run)


def _traced(prepare: Callable[[], Callable[[], int]], kill_at: int | None, log: Path) -> int:
    """How many system calls what is prepared makes in a process of its own, which is killed before one of them."""
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def traced() -> int:
        if library.ptrace(0, 0, None, None):
            raise OSError("this machine does not let processes be traced")
        action = prepare()
        os.kill(os.getpid(), signal.SIGSTOP)
        return action()

    process = fork(traced, log)
    stops = 0
    while True:
        _, status = os.waitpid(process, 0)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            break
        stops += 1  # the first is SIGSTOP, then each call has two, before and after
        if kill_at is not None and stops == 2 * kill_at:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return kill_at
        library.ptrace(_SYSCALL, process, None, None)
    if os.waitstatus_to_exitcode(status):
        raise OSError(f"the save, or tracing it, failed: {log.read_text()[-500:]}")
    return stops // 2
