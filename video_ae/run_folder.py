"""The folder of one training run: what was asked for, on what machine, and what came of it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from .checkpoint import METRICS, Checkpoints
from .files import read_json, write_bytes, write_json
from .pretrained import CONFIG

_LOCK, _SEAL = ".lock", "sha256"
_DIVISION = "division.json"
_LOCKED_BYTE = 2**20  # far behind the number of the process in the file


class RunFolder:
    """`runs/<name>` with config.json, env.json, metrics.jsonl, samples, checkpoints, model and evaluation."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.samples = self.path / "samples"
        self.model = self.path / "model"
        self.evaluation = self.path / "evaluation"
        self.curves = self.path / "training.png"
        self.checkpoints = Checkpoints(self.path / "checkpoints")
        self._lock: int | None = None

    def refuse_used(self) -> None:
        """Raises FileExistsError where the folder holds anything, but what a kill left behind in `create`."""
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path}: not a folder; choose another --output-dir")
        left_by_a_kill = {_LOCK, _DIVISION, f".{_DIVISION}.partial", f".{CONFIG}.partial"}
        if self.path.exists() and {path.name for path in self.path.iterdir()} - left_by_a_kill:
            raise FileExistsError(
                f"{self.path}: not an empty folder; choose another --output-dir, or go on with --resume"
                " (in Python, resume=True)"
            )

    def create(self, config: dict[str, Any], division: dict[str, Any] | None = None) -> None:
        """Start a run of `config`, with the `division` of its data into parts, if these are files.

        Raises FileExistsError where the folder holds anything, so that no result is overwritten.
        """
        self.refuse_used()
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock()
        self.refuse_used()
        if division is not None:
            write_json(self.path / _DIVISION, {"parts": division, _SEAL: _sum(division)})
        self.update(config)

    def take_up(self) -> str | None:
        """Keep others out, and find the checkpoint to go on from; None where there is none yet."""
        self.lock()
        return self.checkpoints.newest_valid()

    def update(self, config: dict[str, Any]) -> None:
        """Store what is asked for now, and note on what machine."""
        write_json(self.path / CONFIG, config | {_SEAL: _sum(config)})
        self._write_environment()

    def lock(self) -> None:
        """Keep every other process from writing into this folder until `close`.

        Raises BlockingIOError where another one does. The system takes the lock from a process that ends, however it
        ends, and processes that read data for this one have no part in it.
        """
        self._lock = descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock_file(descriptor)
        except ImportError:
            print(f"note: {self.path}: no file locks on this system; start no second run in it", file=sys.stderr)
            return
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return  # a file system without locks
            other = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            raise BlockingIOError(
                f"{self.path}: process {other} is writing into it; wait for its end, or choose another --output-dir"
            ) from error
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())

    def close(self) -> None:
        """Let others write into this folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def exists(self) -> bool:
        """Whether this is a run that `train.py` began."""
        return (self.path / CONFIG).is_file()

    def config(self) -> dict[str, Any]:
        """What `create` stored. Raises FileNotFoundError or ValueError where this is no run of `train.py`."""
        path = self.path / CONFIG
        if not self.exists():
            raise FileNotFoundError(f"{self.path}: no config.json; expected the folder of a run of train.py")
        config = read_json(path)
        if not isinstance(config, dict) or not {"model", "data", "training"} <= config.keys():
            raise ValueError(f"{path}: expected the keys model, data and training, as train.py writes them")
        unknown = sorted(config.keys() - {"model", "data", "training", "init_from", _SEAL})
        if unknown:
            raise ValueError(f"{path}: unknown keys {', '.join(unknown)}; it was changed or is damaged")
        seal = config.pop(_SEAL, None)
        if seal not in (None, _sum(config)):
            raise ValueError(
                f"{path}: damaged, or changed by hand: its sum is not the one in it. Every checkpoint has a copy, as of"
                f" its step, to put here; to keep a change, remove the line {_SEAL}"
            )
        return config

    def data(self) -> dict[str, Any]:
        """What the config says of the data. Raises ValueError where the run had clips that no flag can name."""
        data: dict[str, Any] | None = self.config()["data"]
        if data is None:
            raise ValueError(
                f"{self.path}: trained from Python on clips that no flag names; go on there, with"
                " video_ae.LSTMAutoencoder.from_pretrained, video_ae.evaluate or fit(..., resume=True)"
            )
        return data

    def division(self) -> dict[str, Any]:
        """The division that `create` stored. Raises ValueError where it is damaged or was never stored."""
        path = self.path / _DIVISION
        if not path.is_file():
            raise ValueError(
                f"{path}: missing, so that nobody knows what this run was trained on and what may test it (it may be of"
                " an earlier version); train it again"
            )
        stored = read_json(path)
        if not isinstance(stored, dict) or stored.get(_SEAL) != _sum(stored.get("parts")):
            raise ValueError(f"{path}: damaged, or changed by hand: its sum is not the one in it; train the run again")
        parts: dict[str, Any] = stored["parts"]
        return parts

    def _write_environment(self) -> None:
        import numpy
        import torch

        environment = {
            "command": shlex.join(sys.argv),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "platform": platform.platform(),
            "processor": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
        }
        path = self.path / "env.json"
        try:
            earlier = read_json(path) if path.is_file() else []
        except ValueError as error:
            print(f"warning: {error}; writing it anew", file=sys.stderr)
            earlier = []
        write_json(path, [*earlier, environment])  # one entry for the start and one for every resumption

    def append_metrics(self, row: dict[str, Any]) -> None:
        with (self.path / METRICS).open("a") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All rows of metrics.jsonl; a last line that a crash cut short is left out."""
        path = self.path / METRICS
        if not path.is_file():
            return []
        try:
            lines = path.read_text().split("\n")[:-1]  # what follows the last line break was never finished
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise ValueError(f"{path}: damaged ({error}); every checkpoint has a copy, as of its step") from error

    def restore_metrics(self, stored: bytes) -> None:
        """Make metrics.jsonl what it was when a checkpoint was saved: the steps after it are going to be done again."""
        path = self.path / METRICS
        found = path.read_bytes() if path.is_file() else b""
        if not found.startswith(stored):
            print(f"warning: {path}: not what it was at the last checkpoint; restored from there", file=sys.stderr)
        if found != stored:
            write_bytes(path, stored)


def _lock_file(descriptor: int) -> None:
    """Raises OSError where another process has locked the file, ImportError where the system has no such thing."""
    try:
        import fcntl
    except ImportError:
        msvcrt: Any = import_module("msvcrt")  # Windows, where others cannot read the byte that is locked
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sum(config: Any) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
