"""A long training of the default model: memory and files."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from benchmarks.torture.kills import ended, train
from benchmarks.torture.outcome import Outcome

_WARM_UP = 0.25  # of the time
_MOST_GROWTH = 0.02  # of the memory after the warm-up
_EVERY = 2.0  # seconds


def soak(count_: int, seed: int, folder: Path) -> Outcome:
    """`count_` minutes of `python train.py --composite`, with checkpoints often enough to show what they leave."""
    run, log = folder / "run", folder / "log"
    words = ["--composite", "--max-minutes", str(count_), "--seed", str(seed), "--checkpoint-every", "50"]
    process = train([*words, "--validation-clips", "32", "--device", "cpu", "--output-dir", str(run)], log)
    started, samples = time.monotonic(), []
    deadline = started + 60 * count_ * 3 + 600
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            break
        samples.append((time.monotonic() - started, _resident(process), len(os.listdir(f"/proc/{process}/fd"))))
        time.sleep(_EVERY)
    else:
        os.kill(process, signal.SIGKILL)
        status = ended(process)
    code = os.waitstatus_to_exitcode(status) if found else 1
    warm = [sample for sample in samples if sample[0] > _WARM_UP * samples[-1][0]]
    half = len(warm) // 2
    first, second = (max(memory for _, memory, _ in part) for part in (warm[:half], warm[half:]))
    files = sum(path.is_file() for path in (run / "checkpoints").rglob("*"))
    places = len(list((run / "checkpoints").glob("step-*")))
    saved = len(list((run / "samples").glob("*.gif")))
    descriptors = max(count for _, _, count in warm[half:]) - max(count for _, _, count in warm[:half])
    failures = []
    if code:
        failures.append(f"it ended with {code}: {log.read_text()[-300:]}")
    if second > (1 + _MOST_GROWTH) * first:
        failures.append(f"memory grew from {first / 1e6:.0f} to {second / 1e6:.0f} MB")
    if places > 3 or descriptors > 0:
        failures.append(f"{places} checkpoints are kept, {descriptors} more files are open than before")
    note = (
        f"{count_} minutes, {saved} checkpoints saved, {places} kept ({files} files); most memory in the first half"
        f" after warm-up {first / 1e6:.0f} MB, in the second {second / 1e6:.0f} MB"
    )
    promise = f"memory grows by at most {_MOST_GROWTH:.0%} after warm-up, at most 3 checkpoints, no more open files"
    return Outcome("soak of the default model", promise, 1, tuple(failures[:1]), note)


def _resident(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")
