"""Checkpoints: every way to resume ends in the same numbers, and nothing that is damaged is taken for whole."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.torture.outcome import Outcome, count
from video_ae import LSTMAutoencoder, ModelConfig, TrainConfig
from video_ae.checkpoint import Checkpoints
from video_ae.config import FUTURE, RECONSTRUCTION
from video_ae.datasets.clips import Clips
from video_ae.distributed import ALONE, Ranks, join
from video_ae.errors import Interrupted
from video_ae.run_folder import RunFolder
from video_ae.training import train

ROOT = Path(__file__).parent.parent.parent
_STEPS = 40
_TINY: dict[str, Any] = {"frame_shape": (1, 8, 8), "hidden_size": 6, "input_frames": 4, "future_frames": 3}
_RECIPE: dict[str, Any] = {"steps": _STEPS, "max_minutes": None, "batch_size": 4, "checkpoint_every": 20, "amp": "off"}
_CODE = {"code_size": 3}
_KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # of models, and of trainings
    "composite": ({}, {}),
    "reconstruction alone": ({"decoders": (RECONSTRUCTION,)}, {}),
    "future alone, conditional": ({"decoders": (FUTURE,), "conditional": (FUTURE,)}, {}),
    "conditional": ({"conditional": (RECONSTRUCTION, FUTURE)}, {}),
    "two layers, peepholes": ({"layers": 2, "peephole": True}, {"weight_decay": 0.01}),
    "patches": ({"patch_size": 4}, {}),
    "convolutional": ({"patch_size": 4, "cell": "conv"}, {}),
    "convolutional, two layers, conditional": (
        {"patch_size": 4, "cell": "conv", "layers": 2, "conditional": (FUTURE,)},
        {},
    ),
    "variational": (_CODE | {"variational": True}, {"beta": 0.5}),
    "repeated code": (_CODE | {"repeat_code": True}, {}),
    "linear outputs, denoising": ({"output": "linear"}, {"noise": 0.3, "drop_frames": 0.2}),
    "in parts, bf16": ({}, {"accumulate": 2, "amp": "on"}),
    "recomputed, truncated": ({}, {"recompute": 2, "truncate": 3}),
}


def train_kind(kind: str, folder: Path, *, seed: int, ranks: Ranks = ALONE, stop_in: int | None = None) -> None:
    """Train a tiny model of a kind for 40 steps, from its last checkpoint; SIGTERM comes in the step `stop_in`."""
    choices, recipe = _KINDS[kind]
    config = ModelConfig(**_TINY | choices)
    training = TrainConfig(**_RECIPE | recipe | {"seed": seed})
    torch.manual_seed(seed)
    model = LSTMAutoencoder(config)
    run = RunFolder(folder)
    begun = ranks.on_first(run.exists)
    resume_from = ranks.on_first(run.take_up) if begun else None
    if not begun:
        model.start_from(torch.stack([_clip(seed, index) for index in range(8)]))
        stored = {"model": dataclasses.asdict(config), "data": {}, "training": dataclasses.asdict(training)}
        ranks.on_first(lambda: run.create(stored))

    clips = _Drawn(seed, None if stop_in is None or not ranks.is_main else 4 * (stop_in - 1))
    bar = contextlib.redirect_stderr(io.StringIO())
    with contextlib.closing(run), contextlib.suppress(Interrupted), bar:
        train(model, clips, training, clips.sample(2), ranks, run=run, resume_from=resume_from)


class _Drawn(Clips):
    """Random clips without end; SIGTERM comes when the one with the number `stop_at` is read."""

    split, available = "all", None

    def __init__(self, seed: int, stop_at: int | None = None, clips: int | None = None) -> None:
        self.seed, self.stop_at, self.clips = seed, stop_at, clips

    @property
    def endless(self) -> bool:
        return self.clips is None

    def sample(self, clips: int) -> _Drawn:
        return _Drawn(self.seed, clips=clips)

    def __len__(self) -> int:
        assert self.clips is not None
        return self.clips

    def __getitems__(self, indices: Sequence[int]) -> torch.Tensor:
        if self.stop_at in indices:
            os.kill(os.getpid(), signal.SIGTERM)
        first = 0 if self.clips else 100  # so that no clip trains and validates
        return torch.stack([_clip(self.seed, first + index) for index in indices])


def _clip(seed: int, index: int) -> torch.Tensor:
    random = np.random.default_rng((seed, index))
    return torch.from_numpy(random.integers(0, 256, (7, 1, 8, 8), dtype=np.uint8))


def difference(one: Path, other: Path) -> str | None:
    """What differs between the last checkpoints of two runs, to the last bit; None where nothing does."""
    names = [Checkpoints(run / "checkpoints").newest_valid() for run in (one, other)]
    if names[0] is None or names[0] != names[1]:
        return f"checkpoints {names[0]} and {names[1]}: the step"
    places = [run / "checkpoints" / names[0] for run in (one, other)]
    for file in ("model.safetensors", "optimizer.safetensors", "random.safetensors"):
        expected, found = load_file(places[0] / file), load_file(places[1] / file)
        for name in expected.keys() | found.keys():
            if name not in found or name not in expected or not torch.equal(expected[name], found[name]):
                return f"{name} in {file}"
    if rows(one) != rows(other):
        return "metrics.jsonl"
    progress = [json.loads((place / "checkpoint.json").read_text()) | {"seconds": 0} for place in places]
    return None if progress[0] == progress[1] else "the progress"


def rows(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock or the system measured."""
    measured = {"seconds", "sequences_per_second", "peak_memory_bytes"}
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in measured} for line in lines]


def _resumed_at(steps: dict[str, list[int]], seed: int, folder: Path, ranks: Ranks = ALONE) -> list[str | None]:
    """Runs of each kind, cut in pieces at the steps: what differs at the end from a run in one piece, for each step.

    Nothing is forgotten on the way: what one resumption got wrong, the end of the run shows.
    """
    found: list[str | None] = []
    for number, (kind, cuts) in enumerate(steps.items()):
        whole, pieces = folder / f"{number}-whole", folder / f"{number}-pieces"
        train_kind(kind, whole, seed=seed, ranks=ranks)
        for cut in [*cuts, None]:
            train_kind(kind, pieces, seed=seed, ranks=ranks, stop_in=cut)
        differing = ranks.on_first(lambda one=whole, other=pieces: difference(one, other))
        found += [differing and f"{kind}, resumed at {cuts}: {differing} differs"] + [None] * (len(cuts) - 1)
    return found


def _cuts(count_: int, seed: int) -> dict[str, list[int]]:
    """`count_` of all pairs of kind and step, the steps of a kind in order."""
    pairs = [(kind, step) for kind in _KINDS for step in range(1, _STEPS + 1)]
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:count_]
    steps: dict[str, list[int]] = {}
    for place in sorted(chosen):
        steps.setdefault(pairs[place][0], []).append(pairs[place][1])
    return steps


_EQUAL = "weights, optimiser, RNG, progress and metrics as of a run in one piece, tolerance 0"


def resume_at_every_step(count_: int, seed: int, folder: Path) -> Outcome:
    steps = _cuts(count_, seed)
    name = f"resume at every step of a {_STEPS}-step run, {len(steps)} kinds of models, 1 process"
    return count(name, _EQUAL, _resumed_at(steps, seed, folder))


def resume_on_two_ranks(count_: int, seed: int, folder: Path) -> Outcome:
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    words += ["-m", "benchmarks.torture.checkpoints", str(count_), str(seed), str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"two ranks ended with {done.returncode}: {done.stderr}")
    steps = _cuts(count_, seed)
    name = f"resume at every step of a {_STEPS}-step run, {len(steps)} kinds of models, 2 ranks"
    return count(name, _EQUAL, json.loads((folder / "found.json").read_text()))


def _on_each_rank() -> None:
    count_, seed, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    with join("cpu") as ranks:
        found = _resumed_at(_cuts(count_, seed), seed, folder, ranks)
        if ranks.is_main:
            (folder / "found.json").write_text(json.dumps(found))


_DETECTED = "reported; an undamaged checkpoint used or, where none is left, the run refused"


def bit_flips(count_: int, seed: int, folder: Path) -> Outcome:
    def flip(content: bytes, random: np.random.Generator) -> bytes:
        place = int(random.integers(len(content)))
        return content[:place] + bytes([content[place] ^ 1 << int(random.integers(8))]) + content[place + 1 :]

    return _damaged("single bits flipped", flip, count_, seed, folder)


def truncations(count_: int, seed: int, folder: Path) -> Outcome:
    def cut(content: bytes, random: np.random.Generator) -> bytes:
        return content[: int(random.integers(len(content)))]

    return _damaged("files cut short", cut, count_, seed, folder)


def zeroed_pages(count_: int, seed: int, folder: Path) -> Outcome:
    def zero(content: bytes, random: np.random.Generator) -> bytes:
        page = 512 * int(random.integers(-(-len(content) // 512)))
        return content[:page] + bytes(len(content[page : page + 512])) + content[page + 512 :]

    return _damaged("pages of 512 bytes zeroed", zero, count_, seed, folder)


def _damaged(
    what: str, damage: Callable[[bytes, np.random.Generator], bytes], count_: int, seed: int, folder: Path
) -> Outcome:
    """Damage to one file at a time, every file as often as any other."""
    run = folder / "run"
    train_kind("composite", run, seed=seed)
    files = _files(run)
    random = np.random.default_rng(seed)

    def tries() -> Iterator[str | None]:
        for number in range(count_):
            path = files[number % len(files)]
            content = damaged = path.read_bytes()
            while damaged == content:
                damaged = damage(content, random)
            path.write_bytes(damaged)
            yield None if _detected(run, path) else f"{path.relative_to(run)}, try {number} of seed {seed}"
            path.write_bytes(content)

    return count(f"{what}, in any of {len(files)} files", _DETECTED, tries())


def _files(run: Path) -> list[Path]:
    """All that a resumption or an evaluation reads."""
    last = run / "checkpoints" / (run / "checkpoints" / "last").read_text().split()[0]
    files = [*sorted(last.iterdir()), run / "checkpoints" / "last", run / "checkpoints" / "best"]
    return [*files, run / "config.json", run / "metrics.jsonl", *sorted((run / "model").iterdir())]


def _detected(run: Path, path: Path) -> bool:
    """Whether what reads the file says that it is damaged, and a resumption has sound files nevertheless."""
    if path.parent.name == "model":
        return _refused(lambda: LSTMAutoencoder.from_pretrained(run))
    if path.name == "config.json" and path.parent == run:
        return _refused(RunFolder(run).config)
    checkpoints = RunFolder(run).checkpoints
    with contextlib.redirect_stderr(io.StringIO()) as told:
        try:
            name = checkpoints.newest_valid()
        except ValueError:
            return True  # none is left, and that is said
        if name is None:
            return False
        if path.name == "metrics.jsonl" and path.parent == run:
            RunFolder(run).restore_metrics(checkpoints.metrics(name))
            return path.name in told.getvalue() and path.read_bytes() == checkpoints.metrics(name)
    step = json.loads((checkpoints.folder / name / "checkpoint.json").read_text())["step"]
    sound = name == f"step-{step:06d}" and checkpoints.folder / name != path.parent
    return ("damaged" in told.getvalue() and sound) or "names no checkpoint" in told.getvalue()


def _refused(read: Callable[[], object]) -> bool:
    try:
        read()
    except (ValueError, FileNotFoundError):
        return True
    return False


def missing_and_swapped_files(count_: int, seed: int, folder: Path) -> Outcome:
    """Every file away; every file of a checkpoint in place of its namesake of another one, or of another run;
    files and checkpoints exchanged.

    The run's config.json and the model of another run of the same shape are sound files, and nobody can tell.
    """
    run, other = folder / "run", folder / "other"
    train_kind("composite", run, seed=seed)
    train_kind("composite", other, seed=seed + 1)
    before = run.parent / "before"
    shutil.copytree(run, before)
    last = _files(run)[0].parent
    (older,) = [place for place in last.parent.glob("step-*") if place != last][-1:]
    cases: list[tuple[str, Path, Callable[[], object]]] = []
    for path in _files(run):
        cases.append((f"{path.relative_to(run)} missing", path, path.unlink))
        elsewhere = other / path.relative_to(run)
        if "checkpoints" in elsewhere.parts and elsewhere.read_bytes() != path.read_bytes():
            cases.append((f"{path.relative_to(run)} of another run", path, partial(shutil.copy, elsewhere, path)))
    cases += [
        (f"{path.name} of the checkpoint before", last / path.name, partial(shutil.copy, path, last))
        for path in sorted(older.iterdir())
        if path.read_bytes() != (last / path.name).read_bytes()
    ]
    exchanged = partial(_exchange, last / "model.safetensors", last / "optimizer.safetensors")
    cases.append(("weights and optimiser exchanged", last / "model.safetensors", exchanged))
    cases.append(("checkpoints exchanged", last / "SHA256SUMS", partial(_exchange, last, older)))

    def tries() -> Iterator[str | None]:
        for what, path, damage in cases[:count_]:
            damage()
            missed = not _detected(run, path) and what != "checkpoints/best missing"
            yield what if missed else None
            shutil.rmtree(run)
            shutil.copytree(before, run)

    return count("files missing, or of another checkpoint or run", _DETECTED, tries())


def _exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


if __name__ == "__main__":
    _on_each_rank()
