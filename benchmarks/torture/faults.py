"""Faults that a training can meet: no room, no right to write, numbers that are not finite, readers that die."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import video_ae.datasets.batches
from benchmarks.torture.checkpoints import difference
from benchmarks.torture.kills import RUN, ended, fork, train, valid
from benchmarks.torture.outcome import Outcome, count
from video_ae import training
from video_ae.checkpoint import Checkpoints
from video_ae.commands import train as script
from video_ae.losses import LOSSES

_MEGABYTE = 1 << 20


@contextmanager
def _small_disk(place: Path, size: int) -> Iterator[None]:
    """A file system of `size` bytes at `place`. Raises PermissionError where this process may not mount one."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise PermissionError("mounting a file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()


def disk_full(count_: int, seed: int, folder: Path) -> Outcome:
    """Disks of sizes from nearly nothing to nearly enough; then they grow, and the run goes on."""
    whole, log = folder / "whole", folder / "log"
    if ended(train([*RUN, "--output-dir", str(whole)], log)):
        raise RuntimeError(f"train.py failed: {log.read_text()[-2000:]}")
    needed = sum(path.stat().st_size for path in whole.rglob("*"))

    def tries() -> Iterator[str | None]:
        for number in range(count_):
            size = needed * (number + 1) // (count_ + 1)
            disk = folder / "disk"
            with _small_disk(disk, size):
                words = [*RUN, "--output-dir", str(disk / "run")]
                code = ended(train(words, log))
                wrong = _one_line(code, log, "No space left on device") or valid(disk / "run")
                subprocess.run(["mount", "-o", f"remount,size={needed + 64 * _MEGABYTE}", str(disk)], check=True)
                if wrong is None and ended(train(words, log)):
                    wrong = f"with more room: {log.read_text()[-300:]}"
                wrong = wrong or difference(whole, disk / "run")
            yield wrong and f"{size} of {needed} bytes: {wrong}"

    promise = "exit code 1, one line, the last checkpoint valid; with more room the run ends equal, tolerance 0"
    return count("disk full", promise, tries(), f"disks of {needed // (count_ + 1)} to {needed} bytes")


def read_only_folder(count_: int, seed: int, folder: Path) -> Outcome:
    """By turns a file system that is mounted to be read only, and a folder whose owner is another user."""
    log = folder / "log"
    folder.chmod(0o755)

    def tries() -> Iterator[str | None]:
        for number in range(count_):
            disk = folder / "disk"
            with _small_disk(disk, 64 * _MEGABYTE):
                words = [*RUN, "--output-dir", str(disk / "run")]
                ended(train([*words, "--steps", "8"], log))
                before = _contents(disk / "run")
                if number % 2:
                    log.chmod(0o666)
                    code = ended(fork(partial(_as_nobody, words), log))
                    wrong = _one_line(code, log, "Permission denied")
                else:
                    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
                    wrong = _one_line(ended(train(words, log)), log, "Read-only file system")
                yield wrong or (None if _contents(disk / "run") == before else "files have changed")

    return count("read-only run folder", "exit code 1, one line, every file as it was", tries())


def _as_nobody(words: list[str]) -> int:
    os.setgid(65534)
    os.setuid(65534)
    return script.command(words)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _one_line(code: int, log: Path, expected: str) -> str | None:
    """None where the process ended with 1 and an error line that says `expected`; otherwise what it did."""
    errors = [line for line in re.split(r"[\n\r]", log.read_text()) if line.startswith("error: ")]
    if code == 1 and len(errors) == 1 and expected in errors[0] and "Traceback" not in log.read_text():
        return None
    return f"exit code {code}: {log.read_text()[-300:]}"


def not_finite(count_: int, seed: int, folder: Path) -> Outcome:
    """NaN or infinity in the input, a state, a loss, a gradient or a weight, at a random step."""
    random, log = np.random.default_rng(seed), folder / "log"
    sites = {
        "input": "the input is not finite",
        "state": "the state of encoder.lstm.layers.0 is not finite",
        "loss": "the future loss is",
        "gradient": "the gradient of decoders.future.readout.bias is not finite",
        "weight": "the weight decoders.future.readout.bias is not finite",
    }
    np.savez(folder / "series.npz", **{f"s{n}": random.normal(size=(12, 2)) for n in range(30)})

    def tries() -> Iterator[str | None]:
        for number in range(count_):
            site = list(sites)[number % len(sites)]
            value = [float("nan"), float("inf")][number // len(sites) % 2]
            step, run = int(random.integers(5, 12)), folder / "run"
            words = ["--composite", "--dataset", "sequences", "--data-dir", str(folder / "series.npz")]
            words += ["--future-frames", "2", "--hidden-size", "4", "-b", "4", "--steps", "12", "--device", "cpu"]
            words += ["--checkpoint-every", "4", "--output-dir", str(run)]
            code = ended(fork(partial(_poisoned, words, step, site, value), log))
            wrong = _one_line(code, log, f"step {step}: {sites[site]}") or valid(run)
            name = Checkpoints(run / "checkpoints").newest_valid()
            good = f"step-{(step - 1) // 4 * 4:06d}"
            shutil.rmtree(run)
            yield wrong or (None if name == good else f"{site}: the last checkpoint is {name}, not {good}")

    return count("NaN and infinity at 5 sites", "cause named, exit code 1, last good checkpoint intact", tries())


def _poisoned(words: list[str], at: int, site: str, value: float) -> int:
    """train.py, in whose step `at` something is `value`."""
    real = training.train_step

    def step(model: Any, optimizer: Any, clips: torch.Tensor, *others: Any) -> dict[str, float]:
        if others[2] == at:
            bias = model.decoders["future"].readout.bias
            if site == "input":
                clips[0, 0, 0] = value
            elif site == "state":
                model.encoder.lstm.layers[0].register_forward_hook(
                    lambda module, read, told: (told[0] + value, type(told[1])(*(part + value for part in told[1])))
                )
            elif site == "loss":
                ours = LOSSES["linear"]
                LOSSES["linear"] = lambda outputs, truth, ends: (
                    ours(outputs, truth, ends) * (value if outputs.shape[1] == 2 else 1)
                )
            elif site == "gradient":
                bias.register_hook(lambda gradient: gradient * value)
            else:
                with torch.no_grad():
                    bias[0] = value
        return real(model, optimizer, clips, *others)

    training.train_step = step
    return script.command(words)


def worker_kills(count_: int, seed: int, folder: Path) -> Outcome:
    def harm(process: int) -> None:
        os.kill(process, signal.SIGKILL)

    return _readers("SIGKILL to a process that reads data (-j 2)", harm, "was killed", count_, seed, folder)


def worker_hangs(count_: int, seed: int, folder: Path) -> Outcome:
    def harm(process: int) -> None:
        os.kill(process, signal.SIGSTOP)

    return _readers("a process that reads data hangs (-j 2)", harm, "was silent", count_, seed, folder)


def _readers(what: str, harm: Callable[[int], None], expected: str, count_: int, seed: int, folder: Path) -> Outcome:
    random, log = np.random.default_rng(seed), folder / "log"
    longest = 0.0

    def patient() -> int:
        video_ae.datasets.batches._PATIENCE = 3
        return script.command([*RUN, "-j", "2", "--steps", "100000", "--output-dir", str(folder / "run")])

    def tries() -> Iterator[str | None]:
        nonlocal longest
        for _ in range(count_):
            process = fork(patient, log)
            while len(workers := _children(process)) < 2 or not (folder / "run" / "checkpoints" / "last").exists():
                time.sleep(0.01)
            time.sleep(float(random.uniform(0, 1)))
            harm(workers[int(random.integers(2))])
            struck = time.monotonic()
            code = ended(process)
            longest = max(longest, time.monotonic() - struck)
            left = [worker for worker in workers if Path(f"/proc/{worker}").exists()]
            wrong = _one_line(code, log, expected) or valid(folder / "run")
            yield wrong or (f"processes left: {left}" if left else None)
            shutil.rmtree(folder / "run")

    outcome = count(what, "exit code 1, one line, last checkpoint valid, no process left", tries())
    note = f"ended after {longest:.1f} s at most; patience was set to 3 s"
    return Outcome(outcome.campaign, outcome.promise, outcome.tried, outcome.failures, note)


def _children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def second_process(count_: int, seed: int, folder: Path) -> Outcome:
    """Another train.py into the folder of one that runs; and at once after that one was killed."""

    def tries() -> Iterator[str | None]:
        for _ in range(count_):
            words = [*RUN, "--steps", "100000", "--output-dir", str(folder / "run")]
            first = train(words, folder / "first")
            while not (folder / "run" / "checkpoints" / "last").exists():
                time.sleep(0.01)
            wrong = _one_line(ended(train(words, folder / "second")), folder / "second", f"process {first} is writing")
            os.kill(first, signal.SIGKILL)
            ended(first)
            third = train([*words, "--steps", "4"], folder / "second")
            code = ended(third)
            yield wrong or valid(folder / "run") or (f"afterwards exit code {code}" if code else None)
            shutil.rmtree(folder / "run")

    promise = "refused in one line while the first lives, let in when it is dead"
    return count("two processes, one run folder", promise, tries())
