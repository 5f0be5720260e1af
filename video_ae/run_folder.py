"""The folder of one training run: what was asked for, on what machine, and what came of it."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoints, read_json, write_json


class RunFolder:
    """`runs/<name>` with config.json, env.json, metrics.jsonl, samples, checkpoints, model and evaluation."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.samples = self.path / "samples"
        self.model = self.path / "model"
        self.evaluation = self.path / "evaluation"
        self.curves = self.path / "training.png"
        self.checkpoints = Checkpoints(self.path / "checkpoints")

    def create(self, config: dict[str, Any]) -> None:
        """Start a run. Raises FileExistsError where the folder holds anything, so that no result is overwritten."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FileExistsError(
                f"{self.path}: not an empty folder; choose another --output-dir, or go on with --resume"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self.update(config)

    def update(self, config: dict[str, Any]) -> None:
        """Store what is asked for now, and note on what machine."""
        write_json(self.path / "config.json", config)
        self._write_environment()

    def exists(self) -> bool:
        """Whether this is a run that `train.py` began."""
        return (self.path / "config.json").is_file()

    def config(self) -> dict[str, Any]:
        """What `create` stored. Raises FileNotFoundError or ValueError where this is no run of `train.py`."""
        path = self.path / "config.json"
        if not self.exists():
            raise FileNotFoundError(f"{self.path}: no config.json; expected the folder of a run of train.py")
        config = read_json(path)
        if not isinstance(config, dict) or not {"model", "data", "training"} <= config.keys():
            raise ValueError(f"{path}: expected the keys model, data and training, as train.py writes them")
        return config

    def _write_environment(self) -> None:
        import numpy
        import torch

        environment = {
            "command": " ".join(sys.argv),
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
        earlier = read_json(path) if path.is_file() else []
        write_json(path, [*earlier, environment])  # one entry for the start and one for every resumption

    def append_metrics(self, row: dict[str, Any]) -> None:
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All rows of metrics.jsonl; a last line that a crash cut short is left out."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        lines = path.read_text().split("\n")[:-1]  # what follows the last line break was never finished
        return [json.loads(line) for line in lines]

    def forget_metrics_after(self, step: int) -> None:
        """Drop rows of steps that are going to be done again, because no checkpoint holds them."""
        kept = [row for row in self.metrics() if row["step"] <= step]
        path = self.path / "metrics.jsonl"
        partial = path.with_name(".metrics.jsonl.partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in kept))
        partial.replace(path)
