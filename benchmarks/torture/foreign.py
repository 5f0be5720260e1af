"""Other people's data: files, tables, frames and series as users of this field have them, made up at random.

A kind makes an input of its kind as a function of (seed, number), gives it to the package, by its commands where these
are what users call, and judges what comes back by PyAV, Pillow, pandas, NumPy or the files themselves. What the package
does not read it has to refuse in a line that says what, and where the line gives advice, following it has to help.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random as python_random
import re
import shlex
import shutil
import subprocess
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout, suppress
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.outcome import count as outcome_of
from video_ae import LSTMAutoencoder, LSTMClassifier, ModelConfig, SequenceAutoencoder
from video_ae.anomaly import Scorer
from video_ae.classifier import ClassifierConfig
from video_ae.commands import evaluate, train
from video_ae.config import DECODERS
from video_ae.datasets import decoders
from video_ae.datasets.config import DataConfig
from video_ae.datasets.frame_arrays import open_frames
from video_ae.datasets.groups import split_videos
from video_ae.datasets.sequences import open_sequences
from video_ae.datasets.split_file import parts_by_file
from video_ae.datasets.video_folder import find_videos
from video_ae.datasets.videos import SUFFIXES, read_video
from video_ae.evaluation import predict_clips
from video_ae.onnx.export import run_onnx
from video_ae.run_folder import RunFolder
from video_ae.shell import shell_path
from video_ae.thresholds import Thresholds

READ, REFUSED = "read", "refused"
SMALL = ("--hidden-size", 4, "-b", 4, "--steps", 2, "--composite")
FOLLOW = 2  # steps that the models of series predict
FRAMES = 24  # of a video that is trained on; a clip has 20
TINY: dict[str, Any] = {"hidden_size": 4, "code_size": 2, "max_iter": 2, "random_state": 0}
SIGNS = "abz09 _-.,;@#%&()[]'\"äßéжλ視頻🙂"


class Random(np.random.Generator):
    """Draws as people and programs make their data up."""

    def whole(self, low: int, high: int) -> int:
        """From `low` to `high` - 1."""
        return int(self.integers(low, high))

    def chance(self, share: float = 0.5) -> bool:
        return bool(self.random() < share)

    def one(self, choices: Sequence[Any]) -> Any:
        return choices[self.whole(0, len(choices))]

    def shuffled(self, items: Iterable[Any]) -> list[Any]:
        items = list(items)
        return [items[place] for place in self.permutation(len(items))]

    def name(self, longest: int = 12) -> str:
        """Of a file, a column or a series."""
        signs = [self.one(SIGNS) for _ in range(self.integers(1, longest + 1))]
        return "".join(signs).strip(" .") or "z"

    def names(self, count: int) -> list[str]:
        """Different ones, also in a file system that ignores case."""
        names: dict[str, str] = {}
        while len(names) < count:
            name = self.name()
            names.setdefault(name.casefold(), name)
        return list(names.values())


def foreign(count: int, seed: int, folder: Path) -> Outcome:
    """All of `KINDS` in turn."""
    runs, told = Runs(folder / "runs"), Counter[str]()

    def tries() -> Iterator[str | None]:
        for number in range(count):
            place = folder / str(number)
            place.mkdir()
            what, failure = tried(list(KINDS)[number % len(KINDS)], (seed, number), place, runs)
            told[what] += 1
            yield failure
            shutil.rmtree(place)

    promise = (
        "read as PyAV, Pillow, pandas and NumPy read it, or refused in a line that says what; nobody's files touched"
    )
    outcome = outcome_of("other people's data", promise, tries())
    kinds = f"{min(count, len(KINDS))} kinds: {', '.join(list(KINDS)[:count])}"
    note = f"{kinds}; {told[READ]} tries were read, {told[REFUSED]} refused"
    return Outcome(outcome.campaign, promise, outcome.tried, outcome.failures, note)


def tried(kind: str, seed: tuple[int, int], folder: Path, runs: Runs) -> tuple[str, str | None]:
    """Whether the input was read or refused, and what is wrong with that."""
    try:
        with (
            patch.dict(os.environ, XDG_CACHE_HOME=str(runs.folder / "cache"), SVT_LOG="1"),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            return KINDS[kind](Random(np.random.PCG64(seed)), folder, runs) or READ, None
    except (Exception, SystemExit) as error:  # the latter where a command does not take what was advised
        where = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__][-1]
        words = " ".join(f"{kind} {seed}: {type(error).__name__}: {error} (line {where.lineno})".split())
        return "failed", words[:600]


# What all kinds share


class Runs:
    """Trained once for all tries, when first asked for, and never written to afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def videos(self) -> Path:
        """A run on the videos in `video_data`, 12 in two classes."""
        for number in range(12):
            _film(self.video_data / "ab"[number % 2] / f"m{number}.avi", noise_of=number)
        shutil.copytree(self.video_data, self.folder / "whole")
        source = ("--dataset", "video-folder", "--data-dir", self.video_data, "--image-size", 16)
        _done(train, *SMALL, *source, "--output-dir", self.folder / "of videos")
        return self.folder / "of videos"

    @property
    def video_data(self) -> Path:
        return self.folder / "videos"

    def fresh_videos(self, folder: Path) -> Path:
        """A copy of the run in `folder`, and all of its videos where they were."""
        shutil.copytree(self.videos, folder / "run")
        shutil.rmtree(self.video_data, ignore_errors=True)
        shutil.copytree(self.folder / "whole", self.video_data)
        return folder / "run"

    @cached_property
    def table(self) -> pd.DataFrame:
        """20 series of 8 to 27 steps."""
        random = np.random.default_rng(0)
        parts = [
            pd.DataFrame({"id": f"m@{n}", "x": np.sin(np.arange(8 + n) / 3 + n), "y": random.normal(size=8 + n)})
            for n in range(20)
        ]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def series(self) -> Path:
        """A run on `table`, whole sequences."""
        self.folder.mkdir(exist_ok=True)
        self.table.to_csv(self.folder / "series.csv", index=False)
        source = ("--dataset", "sequences", "--data-dir", self.folder / "series.csv", "--future-frames", FOLLOW)
        _done(train, *SMALL, *source, "--output-dir", self.folder / "of series")
        return self.folder / "of series"

    @cached_property
    def exported(self) -> Path:
        _done(evaluate, self.series, "--tasks", "export", "--output-dir", self.folder / "exported")
        return self.folder / "exported"


def _called(script: Any, words: Sequence[object]) -> tuple[int, str]:
    """Exit code of a command, and what it says on stderr."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        code = script.command([*map(str, words), "--device", "cpu"])
    return code, said.getvalue()


def _done(script: Any, *words: object) -> str:
    code, said = _called(script, words)
    assert code == 0, f"exit code {code}: {said[-300:]}"
    return said


def _warned(call: Callable[[], Any]) -> tuple[Any, str]:
    """What a call returns, and all of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return call(), "; ".join(str(warning.message) for warning in caught)


def _refusal(call: Callable[[], Any]) -> str:
    """By what line a call refuses its input; empty where it does not."""
    try:
        call()
    except (ValueError, TypeError, OSError) as error:
        return str(error) or repr(error)
    return ""


def _refused(call: Callable[[], Any], *words: object) -> str:
    line = _refusal(call)
    assert line, f"no error, expected one about {words}"
    return _a_line(line, *words)


def _command_refused(script: Any, arguments: Sequence[object], *words: object) -> str:
    code, said = _called(script, arguments)
    errors = [line for line in re.split(r"[\n\r]", said) if line.startswith("error: ")]
    assert code == 1, f"exit code {code}, expected an error about {words}"
    assert len(errors) == 1, f"no error in a line: {said[-300:]}"
    return _a_line(errors[0], *words)


def _a_line(line: str, *words: object) -> str:
    assert "\n" not in line, f"several lines: {line}"
    missing = [str(word) for word in words if str(word) not in line]
    assert not missing, f"found no {missing} in: {line}"
    return line


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _scene(number: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A smooth background and a square that moves, (H, W, 3)."""
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(20, 200, width, dtype=np.uint8)
    image[..., 1] = np.linspace(180, 40, height, dtype=np.uint8)[:, None]
    image[..., 2] = 90
    left = 2 + 3 * number % max(1, width - 18)
    image[height // 4 : height // 2, left : left + 14] = (230, 30, 60)
    return image


def _film(
    path: Path,
    codec: str = "mjpeg",
    frames: int = FRAMES,
    size: tuple[int, int] = (32, 32),
    *,
    noise_of: int | None = None,
    times: Sequence[int] | None = None,
    turned: int = 0,
    **options: str,
) -> Path:
    """A video of scenes, or of noise by a seed; of `times` in milliseconds where its rate varies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(noise_of)
    pix_fmt = {"mjpeg": "yuvj420p", "huffyuv": "yuv422p"}.get(codec, "yuv420p")
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if turned:
            stream.set_display_rotation(turned)
        for number in range(frames if times is None else len(times)):
            picture = _scene(number, *size)
            if noise_of is not None:
                blocks = random.integers(0, 255, (4, 4, 3), dtype=np.uint8)
                picture = np.asarray(cv2.resize(blocks, size[::-1]), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _truth(path: Path) -> tuple[list[npt.NDArray[np.uint8]], int]:
    """The frames by PyAV, and how many of them are interlaced."""
    frames: list[Any] = []
    with av.open(str(path)) as file:
        for packet in file.demux(file.streams.best("video")):
            with suppress(av.error.InvalidDataError):
                frames += packet.decode()
        return [frame.to_ndarray(format="rgb24") for frame in frames], sum(frame.interlaced_frame for frame in frames)


def _same_frames(found: Any, expected: Sequence[npt.NDArray[np.uint8]]) -> None:
    """Within the rounding of colours; garbage differs by tens."""
    assert len(found) == len(expected), f"{len(found)} frames, expected {len(expected)}"
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.shape == other.shape, f"{one.shape} pixels, expected {other.shape}"
        apart = np.abs(one.astype(int) - other).mean()
        assert apart < 1, f"frame {number} differs by {apart:.1f}"


def _decoder(random: Random) -> Any:
    """By turns PyAV, and OpenCV as where PyAV is not installed."""
    return patch.object(decoders, "has_av", lambda: False) if random.chance() else nullcontext()


def _refused_by_opencv(path: Path, expected: Sequence[npt.NDArray[np.uint8]]) -> str:
    """By what line a video is refused where OpenCV alone reads it; empty where its frames are read."""
    line = _refusal(lambda: _same_frames(read_video(path), expected))
    assert not (line and decoders.has_av()), line
    return line


def _scored(run: Path, folder: Path, *words: object) -> dict[str, list[int]]:
    """The steps of every video or series that --tasks anomaly scores, by its CSV file."""
    _done(evaluate, run, "--tasks", "anomaly", "--quantile", 0.5, "--output-dir", folder, *words)
    table = pd.read_csv(folder / "anomaly.csv", dtype={"id": str}, keep_default_na=False)
    return {name: part["step"].tolist() for name, part in table.groupby("id", sort=False)}


def _codes(run: Path, folder: Path, table: Path, *words: str) -> dict[str, npt.NDArray[np.float32]]:
    out = folder / f"codes-of-{table.stem}.npz"
    _done(evaluate, run, "--tasks", "encode", "--data-dir", table, "--out", out, *words)
    with np.load(out) as stored:
        assert not stored["starts"].any()
        return dict(zip(stored["ids"].tolist(), stored["codes"], strict=True))


def _with_holes(random: Random, count: int) -> npt.NDArray[np.int64]:
    """Whole numbers that rise by one, but for a few jumps."""
    distances = np.ones(count, np.int64)
    distances[random.choice(count, random.whole(0, 6), replace=False)] = random.integers(2, 2000)
    return np.cumsum(distances)


# The user's own files


def results_beside_own_files(random: Random, folder: Path, runs: Runs) -> str:
    """Whatever lies in a folder of results stays, also under names that begin as those of results do."""
    out = folder / "out"
    words = (runs.series, "--tasks", "architecture", "--output-dir", out)
    _done(evaluate, *words)
    results = set(_contents(out))
    for name in random.names(4):
        stem = random.one(["", "architecture-", "architecture.", "predict-", "predict."])
        if f"{stem}{name}" not in results:
            (out / f"{stem}{name}").write_text(f"{random.random()}")
    own = {name: content for name, content in _contents(out).items() if name not in results}
    _done(evaluate, *words)
    clash = random.chance()
    if clash:
        (out / "architecture.json").write_text("mine")
        own["architecture.json"] = b"mine"
        _command_refused(evaluate, words, out / "architecture.json", "choose another --output-dir")
    found = _contents(out)
    assert {name: found.get(name) for name in own} == own
    return REFUSED if clash else READ


def folders_of_others(random: Random, folder: Path, runs: Runs) -> str:
    """A folder that is not ours and not empty is refused and stays as it is."""
    names = ["predict.py", "architecture.json", "report.html", "classifier", *random.names(3)]
    for name in random.choice(names, random.integers(1, 5), replace=False).tolist():
        (folder / name).write_text(f"{random.random()}")
    before = _contents(folder)
    words = (runs.series, "--tasks", "architecture", "--output-dir", folder)
    _command_refused(evaluate, words, folder, "choose a new or an empty folder")
    assert _contents(folder) == before
    return REFUSED


def names_of_folders(random: Random, folder: Path, runs: Runs) -> None:
    """Folders named after flags: others for other flags, in any alphabet and of any length, and no path."""
    flags: list[dict[str, Any]] = []
    for _ in range(30):
        chosen: dict[str, Any] = {}
        for name in ("data_dir", "group", "id_column"):
            if random.chance():
                chosen[name] = ("/data/" if name == "data_dir" else "") + random.name(random.one([2, 2, 300]))
        if random.chance():
            chosen["clips"] = random.whole(1, 4)
        if random.chance():
            chosen["ignore_columns"] = [random.name(2) for _ in range(random.integers(1, 3))]
        flags.append(chosen)
    told = {json.dumps(chosen, sort_keys=True) for chosen in flags}
    names = [evaluate.difference(chosen, "predict") for chosen in flags]
    assert len({name.casefold() for name in names}) == len(told)
    for name in filter(None, names):
        (folder / name).mkdir(exist_ok=True)


def printed_commands(random: Random, folder: Path, runs: Runs) -> None:
    """A path in "how to repeat it" is one word of a shell's."""
    for name in (*random.names(9), "-x", "$HOME", "a b", "it's"):
        found = subprocess.run(
            ["sh", "-c", f"mkdir -p {shell_path(name)}"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert not found.returncode, f"{shell_path(name)}: {found.stderr}"
        assert (folder / name).is_dir(), f"no folder {name} after mkdir {shell_path(name)}"


# What tests has never trained


def videos_that_come_and_go(random: Random, folder: Path, runs: Runs) -> str:
    """A run keeps its parts while files are added, renamed, removed, and all of them moved."""
    run, place = runs.fresh_videos(folder), runs.video_data
    parts = {part: {piece[0] for piece in pieces} for part, pieces in RunFolder(run).division().items()}
    assert all(parts.values())
    names, now = sorted(set().union(*parts.values())), {}
    for name in random.choice(names, 3, replace=False).tolist():
        now[name] = f"{name[0]}/{random.one('az')}-{random.name()}-{len(now)}"
        (place / f"{name}.avi").rename(place / f"{now[name]}.avi")
    gone = {random.one(names)} - now.keys() if random.chance() else set()
    for name in gone:
        (place / f"{name}.avi").unlink()
    for number in range(random.integers(1, 5)):
        label = random.one("abc")
        _film(place / label / f"{random.one('0az')}{number}.avi", noise_of=random.whole(100, 10**6))
    moved = ("--data-dir", place.rename(folder / "elsewhere")) if random.chance() else ()
    resume = ("--resume", "--steps", 3, "--output-dir", run, *moved)
    expected = {now.get(name, name) for name in parts["test"] - gone}
    assert _scored(run, folder / "scores", *moved).keys() == expected
    if gone and not gone <= parts["test"]:
        _command_refused(train, resume, *gone, "missing or changed")
        return REFUSED
    _done(train, *resume)
    kept = {part: {piece[0] for piece in pieces} for part, pieces in RunFolder(run).division().items()}
    assert kept == parts
    return READ


def other_videos(random: Random, folder: Path, runs: Runs) -> None:
    """Of another folder every video is judged to its last frame, but not those that were trained on."""
    run = runs.fresh_videos(folder)
    trained = sorted(piece[0] for piece in RunFolder(run).division()["train"])
    lengths = {f"c/n{number}": random.whole(20, 50) for number in range(random.integers(1, 4))}
    for name, frames in lengths.items():
        _film(folder / "other" / f"{name}.avi", frames=frames, noise_of=int(random.integers(10**6)))
    if random.chance():
        shutil.copy(runs.video_data / f"{random.one(trained)}.avi", folder / "other" / "c" / "known.avi")
    found = _scored(run, folder / "scores", "--data-dir", folder / "other")
    assert found == {name: list(range(frames)) for name, frames in lengths.items()}


def arrays_that_change(random: Random, folder: Path, runs: Runs) -> None:
    """Videos of an array are known by content: in another order, among new ones, or longer than before."""
    by_video = random.chance()
    count, frames = (random.whole(10, 25), 6) if by_video else (random.whole(1, 5), 60)
    videos = random.integers(0, 256, (count, frames, 6, 7), dtype=np.uint8)
    config = DataConfig(dataset="array", data_dir=str(folder / "videos.npy"))
    np.save(folder / "videos.npy", videos)
    division = config.divide(4)
    before = {clip.numpy().tobytes() for clip in config.open("test", 4)}
    if by_video:
        new = random.integers(0, 256, (random.integers(1, 9), frames, 6, 7), dtype=np.uint8)
        changed = random.permutation(np.concatenate([videos, new]))
    else:
        new = random.integers(0, 256, (count, random.integers(1, 60), 6, 7), dtype=np.uint8)
        changed = np.concatenate([videos, new], axis=1)
    np.save(folder / "videos.npy", changed)
    after = {clip.numpy().tobytes() for clip in config.open("test", 4, division=division)}
    assert before
    assert after == before


def tables_that_change(random: Random, folder: Path, runs: Runs) -> None:
    """Series are known by id and content: renamed, longer, among new ones, columns and series in another order."""
    lengths = runs.table.groupby("id").size().to_dict()
    parts: list[pd.DataFrame] = []
    now = {}
    for name, part in runs.table.groupby("id", sort=False):
        if random.chance(0.3):
            now[name] = f"{random.name()}-{len(now)}"
            part = part.assign(id=now[name])
        elif random.chance(0.3):
            part = pd.concat([part, pd.DataFrame({"id": name, "x": random.normal(size=5), "y": 0.5})])
        parts.append(part)
    parts += [pd.DataFrame({"id": f"new{n}", "x": random.normal(size=9), "y": 1.5}) for n in range(random.integers(6))]
    series = pd.concat([parts[place] for place in random.permutation(len(parts))])
    source = runs.series  # trained before the file changes
    shutil.copytree(source, folder / "run")
    series[random.shuffled(series.columns)].to_csv(folder / "series.csv", index=False)
    found = _scored(folder / "run", folder / "scores", "--data-dir", folder / "series.csv")
    assert found == {now.get(name, name): list(range(lengths[name])) for name in ("m@9", "m@19")}


def groups(random: Random, folder: Path, runs: Runs) -> None:
    """People are groups, cameras and programs are none; no group in two parts, every class in all."""
    kind = random.one(["people", "cameras", "numbers", "folders", "ucf"])
    classes = random.names(random.whole(2, 5))
    who = [f"{word}{random.one(['', 'x', '7'])}" for word in ("anna", "ben", "cem", "daria", "eve", "finn")]
    whose: dict[str, str] = {}
    for label in classes:
        for number in range(random.integers(6, 12)):
            person = who[number % len(who)]
            camera = random.one(["IMG", "MVI", "VID", "DSC", "clip", "video", "GOPR"])
            name, group = {
                "people": (f"{person}_{label}_{number}", person),
                "cameras": (f"{camera}_{1000 + number}", ""),
                "numbers": (f"{number:03d}", ""),
                "folders": (f"{person}/take{number}", person),
                "ucf": (f"v_{label.replace('_', '')}x_g{number % 6:02d}_c{number:02d}", f"g{number % 6:02d}"),
            }[kind]
            path = folder / "videos" / label / f"{name}{random.one(['.avi', '.mp4', '.MOV'])}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            whose[f"{label}/{name}"] = group or name
    videos = find_videos(folder / "videos")
    assert {video.name: video.group for video in videos} == whose
    parts = {part: split_videos(videos, part) for part in ("train", "validation", "test")}
    seen = [group for part in parts.values() for group in {video.group for video in part}]
    assert len(seen) == len(set(seen)), "a group is in two parts"
    for part, chosen in parts.items():
        assert {video.label for video in chosen} == set(classes), f"not all classes in the {part} part"
    assert sum(map(len, parts.values())) == len(whose)


def split_files(random: Random, folder: Path, runs: Runs) -> str:
    """The user's own list, as programs write it: with or without suffixes, backslashes, quotes, a mark in front."""
    names = [f"{label}/{name}" for label in random.names(2) for name in random.names(8)]
    names = [name for name in names if not name.endswith((*SUFFIXES, ".npy"))]
    parts = {name: random.one(["train", "validation", "test", ""]) for name in names} | {names[0]: "train"}
    called = {"train": ["train", "Training"], "validation": ["val", "valid", "validation"], "test": ["TEST", "testing"]}
    suffix, slash = random.one(["", ".avi", ".MP4"]), random.one(["/", "\\"])
    rows = [
        {"name": name.replace("/", slash) + suffix, "part": random.one(called[part]), "by": "me"}
        for name, part in parts.items()
        if part
    ]
    wrong = random.chance(0.3)
    if wrong:
        rows.append({"name": names[0], "part": random.one(["test", "holdout", ""]), "by": "me"})
    table = pd.DataFrame(rows)[random.shuffled(["name", "part", "by"])]
    encoding = random.one(["utf-8", "utf-8-sig"])
    table.to_csv(folder / "parts.csv", index=False, encoding=encoding, lineterminator=random.one(["\n", "\r\n"]))
    if wrong:
        _refused(lambda: parts_by_file(folder / "parts.csv", names), f"{folder / 'parts.csv'}:{len(rows) + 1}: ")
        return REFUSED
    assert parts_by_file(folder / "parts.csv", names) == [parts[name] for name in names]
    return READ


def folders_of_parts(random: Random, folder: Path, runs: Runs) -> None:
    """train/, val/ and test/ above the classes or below them are the parts, and no classes."""
    above = random.chance()
    called = {
        random.one(["train", "training", "Train"]): "train",
        random.one(["val", "validation", "valid", "Val"]): "validation",
        random.one(["test", "testing", "TEST"]): "test",
    }
    expected = {}
    for label in random.names(3):
        for part, meaning in called.items():
            for number in range(random.integers(1, 4)):
                name = f"{part}/{label}/{number}" if above else f"{label}/{part}/{number}"
                (folder / f"{name}.mp4").parent.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}.mp4").touch()
                expected[name] = (label, meaning)
    videos = find_videos(folder)
    assert {video.name: (video.label, video.official) for video in videos} == expected
    for part in ("train", "validation", "test"):
        assert {video.name for video in split_videos(videos, part)} == {
            name for name, (_, meaning) in expected.items() if meaning == part
        }


def samples_of_classes(random: Random, folder: Path, runs: Runs) -> None:
    """A few clips of videos that are in the order of their classes are of all classes."""
    labels = "abcde"[: random.integers(2, 6)]
    for label in labels:
        for number in range(random.integers(3, 6)):
            _film(folder / label / f"{number}.avi", frames=8, noise_of=int(random.integers(10**6)))
    config = DataConfig(dataset="video-folder", data_dir=str(folder), image_size=8)
    clips: Any = config.open("all", 4)
    fewest = min(Counter(clips.labels.tolist()).values())
    assert set(clips.sample(-(-len(clips) // fewest)).labels.tolist()) == set(range(len(labels)))


def early_stopping(random: Random, folder: Path, runs: Runs) -> None:
    """What the held-out windows show is never learnt from: when it is other noise, the training is the same."""
    window, stride, fraction = random.whole(3, 12), random.whole(1, 4), float(random.uniform(0.1, 0.3))
    series = random.normal(size=(random.whole(80, 150), 2))
    starts = np.arange(0, len(series) - window + 1, stride)
    starts = starts if starts[-1] + window == len(series) else np.append(starts, len(series) - window)
    first = starts[-int(np.ceil(fraction * len(starts)))]
    other = series.copy()
    other[first:] = random.normal(size=other[first:].shape)
    options = TINY | {"window": window, "stride": stride, "early_stopping": True, "validation_fraction": fraction}
    fits = [SequenceAutoencoder(**options).fit(each) for each in (series, other)]
    assert fits[0].loss_curve_ == fits[1].loss_curve_
    assert fits[0].validation_curve_ != fits[1].validation_curve_


# Frames are what is in the file


def progressive_films(random: Random, folder: Path, runs: Runs) -> None:
    """Usual codecs in usual containers, by either decoder and under any suffix."""
    codec, suffix = random.one(
        [
            ("mjpeg", ".avi"), ("mpeg4", ".avi"), ("mpeg4", ".mp4"), ("libx264", ".mp4"), ("libx264", ".mkv"),
            ("libx264", ".mov"), ("libx264", ".ts"), ("libx264", ".flv"), ("mpeg2video", ".mpg"), ("wmv2", ".wmv"),
            ("libx265", ".mp4"), ("libvpx-vp9", ".webm"), ("libx264", ".3gp"), ("huffyuv", ".avi"),
        ],
    )  # fmt: skip
    least = 40 if codec == "libx265" else 12  # smaller ones crash that encoder
    size = 2 * random.whole(least, 50), 2 * random.whole(least, 60)
    options = {"libx264": {"bf": str(random.integers(4))}, "libx265": {"x265-params": "log-level=0"}}.get(codec, {})
    frames = random.whole(20 if suffix == ".ts" else 1, 30)  # FFmpeg opens no shorter transport stream
    path = _film(folder / f"film{suffix}", codec, frames, size, **options)
    expected, _ = _truth(path)
    if suffix not in (".mpg", ".ts") and random.chance():
        path = path.rename(folder / f"renamed{random.one(SUFFIXES[:-1])}")
    with _decoder(random):
        _same_frames(read_video(path), expected)


def interlaced_films(random: Random, folder: Path, runs: Runs) -> str:
    """DVD, DV, AVCHD, broadcast: PyAV's frames, or a line with the way out; never what was in memory before."""
    codec, suffix, options = random.one(
        [
            ("libx264", ".mp4", {"x264-params": "tff=1"}), ("libx264", ".ts", {"x264-params": "bff=1"}),
            ("mpeg2video", ".mpg", {}), ("mpeg2video", ".ts", {}), ("mpeg4", ".avi", {}), ("mpeg4", ".mkv", {}),
        ],
    )  # fmt: skip
    size = 16 * random.whole(2, 5), 16 * random.whole(2, 6)
    frames = random.whole(20 if suffix == ".ts" else 3, 30)
    path = _film(folder / f"a{suffix}", codec, frames, size, flags="+ilme+ildct", **options)
    expected, interlaced = _truth(path)
    with _decoder(random):
        if interlaced and not decoders.has_av():
            line = _refused(lambda: read_video(path), path, "video-ae[decode]")
            assert "damaged" not in line, line
            return REFUSED
        _same_frames(read_video(path), expected)
    return READ


def cut_films(random: Random, folder: Path, runs: Runs) -> str:
    """Cuts without encoding anew begin with frames that no player shows; nothing is damaged."""
    codec, options = random.one(
        [
            ("libx264", {"x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:b-adapt=0:scenecut=0"}),
            ("libx265", {"x265-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:b-adapt=0:scenecut=0:log-level=0"}),
            ("mpeg2video", {"bf": "2", "g": "9", "sc_threshold": "1000000000"}),
        ]
    )
    suffix = random.one([".mkv", ".mp4", ".mov", ".ts"])
    whole = _film(
        folder / f"whole{'.ts' if suffix == '.ts' else '.mp4'}", codec, random.whole(30, 60), (48, 64), **options
    )
    with av.open(str(whole)) as file:
        packets = list(file.demux(video=0))
        keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
        path = folder / f"cut{suffix}"
        with av.open(str(path), "w") as out:
            stream = out.add_stream_from_template(file.streams.video[0])
            last = len(packets) - 20  # FFmpeg opens no shorter transport stream
            for packet in packets[random.one([key for key in keys[1:] if key < last]) :]:
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    expected, _ = _truth(path)
    with _decoder(random):
        if line := _refused_by_opencv(path, expected):
            (lost,) = re.findall(r"--max-lost-frames (\d+)", _a_line(line, path, "cut"))
            _same_frames(read_video(path, max_lost_frames=int(lost)), expected)
    return REFUSED if line else READ


def av1_films(random: Random, folder: Path, runs: Runs) -> str:
    """What phones and YouTube give: read, or refused as a codec, not as damaged."""
    codec = next(name for name in ("libsvtav1", "libaom-av1") if name in av.codecs_available)
    quiet = {"svtav1-params": "preset=12"} if codec == "libsvtav1" else {"cpu-used": "8"}
    size = 16 * random.whole(4, 7), 16 * random.whole(4, 7)
    path = _film(folder / f"a{random.one(['.mp4', '.mkv', '.webm'])}", codec, random.whole(2, 9), size, **quiet)
    if hasattr(os, "sched_setscheduler"):  # SVT-AV1 gives root's whole process real-time priority
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with _decoder(random):
        if line := _refused_by_opencv(path, _truth(path)[0]):
            assert re.search("(?i)codec av0?1", _a_line(line, path)), line
            assert "damaged" not in line, line
    return REFUSED if line else READ


def turned_films(random: Random, folder: Path, runs: Runs) -> None:
    """Of phones: upright, as players show them."""
    turned = int(random.one([90, 180, 270]))
    suffix = random.one([".mp4", ".mov"])
    path = _film(folder / f"a{suffix}", "libx264", random.whole(2, 12), (48, 64), turned=turned)
    with _decoder(random):
        _same_frames(read_video(path), [np.rot90(frame, turned // 90) for frame in _truth(path)[0]])


def folders_of_everything(random: Random, folder: Path, runs: Runs) -> str:
    """Videos of all suffixes at any depth are found; everything else is counted in a line."""
    expected, others, root = set(), 0, folder / "videos"
    for number in range(random.integers(3, 15)):
        depth = [random.name() for _ in range(random.integers(0, 3))]
        place = Path(random.one(["a", "b"]), *depth)
        suffix = random.one(SUFFIXES)
        hidden, other = random.chance(0.1), random.chance(0.3)
        name = f"{'.' * hidden}v{number}{'.txt' if other else random.one([suffix, suffix.upper()])}"
        (root / place).mkdir(parents=True, exist_ok=True)
        (root / place / name).touch()
        others += hidden or other
        if not (hidden or other):
            expected.add(f"{place.as_posix()}/v{number}")
    said = io.StringIO()
    with redirect_stderr(said):
        if not expected:
            _refused(lambda: find_videos(root), root, "no videos")
            return REFUSED
        videos = find_videos(root)
    assert {video.name for video in videos} == expected
    assert not others or f"{root}: {others} file" in said.getvalue(), f"{others} others, said {said.getvalue()!r}"
    return READ


def folders_of_images(random: Random, folder: Path, runs: Runs) -> str:
    """In the order of their numbers, with or without zeros in front, as Pillow wrote them; a bad one is named."""
    numbers = random.choice(2000, random.whole(2, 12), replace=False).tolist()
    prefix, width = random.one(["", "img_", "frame", "a1-"]), random.whole(1, 6)
    suffix = random.one([".png", ".PNG", ".tif", ".bmp"])
    height_width = tuple(random.integers(3, 20, 2).tolist())
    images = {number: random.integers(0, 256, (*height_width, 3), dtype=np.uint8) for number in numbers}
    for number, image in images.items():
        Image.fromarray(image).save(folder / f"{prefix}{number:0{width}d}{suffix}")
    (folder / "notes.txt").write_text("not a picture")
    if random.chance(0.3):
        bad = folder / f"{prefix}{random.one(numbers):0{width}d}{suffix}"
        bad.write_bytes(bad.read_bytes()[: random.whole(0, 40)])
        _refused(lambda: read_video(folder), bad)
        return REFUSED
    np.testing.assert_array_equal(read_video(folder), [images[number] for number in sorted(numbers)])
    return READ


def frames_per_second(random: Random, folder: Path, runs: Runs) -> None:
    """Videos of any rate, also one that varies: at every moment the frame that is on the screen then."""
    times = np.cumsum(random.integers(5, 90, random.whole(2, 25)))
    path, fps = _film(folder / "a.mkv", "libx264", size=(48, 64), times=times.tolist(), crf="1"), random.uniform(1, 60)
    seconds = (times / 1000).tolist()
    end = seconds[-1] + (seconds[-1] - seconds[0]) / (len(seconds) - 1)
    shown: list[int] = []
    while not shown or seconds[0] + len(shown) / fps < end - 0.001:
        shown.append(max(n for n, time in enumerate(seconds) if time <= seconds[0] + len(shown) / fps + 0.001))
    frames = _truth(path)[0]
    with _decoder(random):
        _same_frames(read_video(path, fps=fps), [frames[number] for number in shown])


def gifs(random: Random, folder: Path, runs: Runs) -> None:
    """Transparent layers over kept and cleared pictures, as Pillow puts them together."""
    height, width = random.integers(5, 40, 2).tolist()
    layers = []
    for _ in range(random.integers(1, 7)):
        layer = np.zeros((height, width, 4), np.uint8)
        top, left = int(random.integers(height)), int(random.integers(width))
        layer[top : top + 9, left : left + 9] = (*random.integers(0, 256, 3), 255)
        layers.append(Image.fromarray(layer))
    disposal = {"disposal": random.integers(1, 3, len(layers)).tolist()} if layers[1:] else {}
    layers[0].save(folder / "a.gif", save_all=True, append_images=layers[1:], duration=40, **disposal)
    expected = []
    with Image.open(folder / "a.gif") as picture:
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            canvas = Image.new("RGBA", picture.size, "white")
            canvas.alpha_composite(picture.convert("RGBA"))
            expected.append(np.asarray(canvas.convert("RGB")))
    np.testing.assert_array_equal(read_video(folder / "a.gif"), expected)


def layouts_of_arrays(random: Random, folder: Path, runs: Runs) -> str:
    """Any order of the axes: read as it is, or refused with the flag that reads it."""
    N, T, H, W = (int(size) for size in random.integers(4, 12, 4))
    C = int(random.one([1, 3]))
    videos = (
        random.integers(0, 200, (N, 1, H, W, C), dtype=np.uint8) + np.arange(T, dtype=np.uint8)[:, None, None, None]
    )
    axes = random.one(["NTHW", "NTHWC", "NTCHW", "THW", "THWC", "TNHW", "TNHWC", "HWTN", "CTHW", "NHWT"])
    videos = videos[: N if "N" in axes else 1, ..., : C if "C" in axes else 1]
    there = "".join(letter for letter in "NTHWC" if letter in axes)
    array = videos.reshape([size for letter, size in zip("NTHWC", videos.shape, strict=True) if letter in axes])
    array = array.transpose([there.index(letter) for letter in axes])
    path = folder / "videos.npy"
    np.save(path, array)
    refused = axes.startswith("TN")
    layout = "" if axes in ("NTHW", "NTHWC", "NTCHW", "THW", "THWC") else axes
    if refused:
        _refused(lambda: open_frames(path), path, f"--layout {axes}")
    arrays = open_frames(path, layout=layout)
    found = np.stack([arrays.array(index) for index in range(len(arrays.videos))])
    np.testing.assert_array_equal(found, videos)
    return REFUSED if refused else READ


def types_of_arrays(random: Random, folder: Path, runs: Runs) -> str:
    """Floats, other integers, truth values: refused with a call; what the call saves is read, and right."""
    shape = tuple(random.integers(2, 9, 4).tolist())
    unit = random.random(shape)
    unit.flat[0], unit.flat[-1] = 0, 1
    array, expected = random.one(
        [
            (unit, 255 * unit), (unit.astype("f4"), 255 * unit), (255 * unit, 255 * unit),
            (unit > 0.5, 255 * (unit > 0.5)), (2 * unit - 1, 255 * unit), ((65535 * unit).astype("u2"), 255 * unit),
            ((255 * unit).round().astype("i8"), 255 * unit), ((unit - 0.3) * 7, 255 * unit),
        ],
    )  # fmt: skip
    np.save(folder / "a.npy", array)
    line = _refused(lambda: open_frames(folder / "a.npy", layout="NTHW"), folder / "a.npy", "expected uint8")
    advice = re.search(r"save (.*) instead", line)
    assert advice, line
    code = f"import numpy as np; frames = np.load('a.npy'); np.save('b.npy', {advice[1]})"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)  # as the user would
    arrays = open_frames(folder / "b.npy", layout="NTHW")
    found = np.stack([arrays.array(index)[..., 0] for index in range(len(arrays.videos))])
    assert np.abs(found - expected).max() <= 1
    return REFUSED


# Numbers are what is in the table


def large_values(random: Random, folder: Path, runs: Runs) -> None:
    """Counters and pressures far from zero keep how they change, by float64."""
    scale = 10 ** random.uniform(-3, 3)
    level = random.one([-1, 1]) * scale * 10 ** random.uniform(0, 9)
    values = level + scale * random.normal(size=(random.whole(20, 80), 2)).cumsum(axis=0)
    np.save(folder / "a.npy", values)
    pd.DataFrame(values, columns=["a", "b"]).to_csv(folder / "a.csv", index=False)
    for path in (folder / "a.npy", folder / "a.csv"):
        arrays = open_sequences(path)
        kept = arrays.array(0)
        assert kept.dtype == np.float32
        offsets = np.array(arrays.facts["offsets"] or (0.0, 0.0))
        np.testing.assert_allclose(np.diff(kept.astype("f8"), axis=0), np.diff(values, axis=0), atol=0.01 * scale)
        np.testing.assert_allclose(kept + offsets, values, atol=0.01 * scale)


def any_ids(random: Random, folder: Path, runs: Runs) -> None:
    """Ids are data, through a table and `encode`: host@9, M@0, spaces, commas, quotes, NA, other alphabets."""
    ids = [*random.names(5), "host@9", "M@0", "NA", "1e3", "a, b", 'say "x"']
    parts = [pd.DataFrame({"id": name, "x": random.normal(size=random.integers(4, 9)), "y": 0.1}) for name in ids]
    table = pd.concat(parts).sample(frac=1, random_state=random.whole(0, 99))
    table.to_csv(folder / "a.csv", index=False)
    read = pd.read_csv(folder / "a.csv", dtype={"id": str}, keep_default_na=False)
    expected = {name: part[["x", "y"]].to_numpy() for name, part in read.groupby("id", sort=False)}
    arrays = open_sequences(folder / "a.csv")
    assert [record.name for record in arrays.videos] == list(expected)
    for index, steps in enumerate(expected.values()):
        np.testing.assert_allclose(arrays.array(index), steps, rtol=1e-6)
    assert list(_codes(runs.series, folder, folder / "a.csv")) == list(expected)


def times_of_rows(random: Random, folder: Path, runs: Runs) -> None:
    """Rows in any order, in any form of time; what is before and after a hole are segments, by pandas."""
    distance = pd.Timedelta(random.whole(1, 100), random.one(["ms", "s", "min", "h"]))
    frames = []
    for name in random.names(random.whole(1, 4)):
        steps = _with_holes(random, 60)
        times = pd.Timestamp("2024-01-01") + steps * distance
        frames.append(pd.DataFrame({"id": name, "when": times, "x": random.normal(size=60)}))
    table = pd.concat(frames).sample(frac=1, random_state=random.whole(0, 99))
    form = random.one(["iso", "zone", "seconds", "nanoseconds"])
    text: Any = {
        "iso": lambda times: times.map(lambda time: time.isoformat(random.one(" T"))),
        "zone": lambda times: times.dt.tz_localize("UTC").dt.tz_convert("Asia/Kolkata").map(str),
        "seconds": lambda times: times.map(lambda time: f"{time.as_unit('ns').value / 1e9:.3f}"),
        "nanoseconds": lambda times: times.map(lambda time: str(time.as_unit("ns").value)),
    }[form]
    column = random.one(["time", "timestamp", "Date", "datetime"])
    written = table.assign(**{column: text(table["when"])})[random.shuffled(["id", column, "x"])]
    written.to_csv(folder / "a.csv", index=False)
    arrays = open_sequences(folder / "a.csv")
    found = {}
    for index, record in enumerate(arrays.videos):
        found.setdefault(record.name, []).append((record.first, arrays.array(index)[:, 0].tolist()))
    for name, part in table.groupby("id"):
        part = part.sort_values("when").reset_index()
        segment = (part["when"].diff() > 1.5 * distance).cumsum()
        expected = [
            (int(rows.index[0]), rows["x"].astype("f4").tolist()) for _, rows in part.groupby(segment, sort=False)
        ]
        assert found.pop(name) == expected
    assert not found


def columns_of_tables(random: Random, folder: Path, runs: Runs) -> str:
    """Columns are matched by name; one too many is refused with the flag that leaves it out."""
    table = pd.DataFrame({"id": np.repeat(["p", "q"], 9), "x": random.normal(size=18), "y": random.normal(size=18)})
    table.to_csv(folder / "a.csv", index=False)
    expected = _codes(runs.series, folder, folder / "a.csv")
    more = random.chance()
    if more:
        table[random.name()] = random.normal(size=18)
    table[random.shuffled(table.columns)].to_csv(folder / "b.csv", index=False)
    words: list[str] = []
    if more:
        flags = (runs.series, "--tasks", "encode", "--data-dir", folder / "b.csv", "--out", folder / "c.npz")
        line = _command_refused(evaluate, flags, folder / "b.csv", "as in training", "--ignore-columns")
        advice = re.search(r"(--ignore-columns.*) leaves out the rest", line)
        assert advice, line
        words = shlex.split(advice[1])
    found = _codes(runs.series, folder, folder / "b.csv", *words)
    assert found.keys() == expected.keys()
    for name, code in expected.items():
        np.testing.assert_allclose(found[name], code, rtol=1e-5, atol=1e-6)
    return REFUSED if more else READ


def columns_of_ids(random: Random, folder: Path, runs: Runs) -> str:
    """Several machines in one table under another name than id: pointed out with the flag, which reads them."""
    name = random.one(["sensor_id", "machine", "unit", "deviceId", "Station"])
    machines, steps = random.whole(2, 6), random.whole(10, 30)
    times = np.tile(pd.date_range("2024", periods=steps, freq="h").astype(str), machines)
    table = pd.DataFrame({name: np.repeat(np.arange(machines), steps), "x": random.normal(size=machines * steps)})
    timed = random.chance()
    if timed:
        table.insert(1, "time", times)
    table.to_csv(folder / "a.csv", index=False)
    said = io.StringIO()
    with redirect_stderr(said):
        if timed:
            line = _refused(lambda: open_sequences(folder / "a.csv"), folder / "a.csv", f"--id-column {name}")
        else:
            open_sequences(folder / "a.csv")
            line = said.getvalue()
    advice = re.search(r"--id-column (\w+)", line)
    assert advice, f"said {line!r}"
    arrays = open_sequences(folder / "a.csv", id_column=advice[1])
    for index, (_, part) in enumerate(table.groupby(name)):
        np.testing.assert_array_equal(arrays.array(index)[:, 0], part["x"].astype("f4"))
    return REFUSED if timed else READ


def broken_tables(random: Random, folder: Path, runs: Runs) -> str:
    """A cell that is no number, or a row of other length, is named with file, line and column."""
    count, path = random.whole(5, 30), folder / f"{random.name()}.csv"
    rows = [["x", "y z"], *([f"{x:.3f}", f"{y:.3f}"] for x, y in random.normal(size=(count, 2)))]
    line, column = random.whole(2, count + 2), random.whole(0, 2)
    wrong = random.one(["", "NaN", "inf", "abc", "1,5", "1_000", "1e99", "12:30", "2024-01-31", "ja\nnein", None])
    rows[line - 1] = ["1"] if wrong is None else [wrong if place == column else "1" for place in range(2)]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=",").writerows(rows)
    where = f"line {line + (wrong == 'ja' + chr(10) + 'nein')}"
    _refused(lambda: open_sequences(path), path, where, *([] if wrong is None else [rows[0][column]]))
    return REFUSED


def columns_of_frames(random: Random, folder: Path, runs: Runs) -> None:
    """DataFrames in `fit`, in lists and at scoring are matched by the names of their columns."""
    names = random.names(random.whole(2, 5))
    frame = pd.DataFrame(random.normal(size=(60, len(names))) + 10 * np.arange(len(names)), columns=names)
    turned = frame[random.shuffled(names)]
    long = random.chance()
    halves = [frame[:35], turned[35:]]
    model = SequenceAutoencoder(window=5 if long else None, **TINY).fit(frame if long else halves)
    assert model.feature_names_in_.tolist() == names
    one, other = (model.score_samples(each if long else [each[:35], each[35:]]) for each in (frame, turned))
    np.testing.assert_array_equal(one, other)
    lacking = frame.drop(columns=names[0])
    _refused(lambda: model.score_samples(lacking if long else [lacking]), repr(names[0]))


def holes_in_frames(random: Random, folder: Path, runs: Runs) -> None:
    """No window crosses a hole in the times of a DataFrame, and rows that are out of order are refused."""
    window, freq = random.whole(2, 9), random.one(["s", "min", "h", "D"])
    steps = _with_holes(random, 150)
    index = pd.Timestamp("2020-01-01") + steps * pd.Timedelta(1, freq)
    frame = pd.DataFrame({"x": random.normal(size=150)}, index=index)
    parts = np.split(np.arange(150), np.flatnonzero(np.diff(steps) > 1) + 1)
    model = SequenceAutoencoder(window=window, **TINY).fit(frame)
    assert len(model.transform(frame)) == sum(max(0, len(part) - window + 1) for part in parts)
    scores, said = _warned(lambda: model.score_steps(frame))
    assert ("hole" in said) == (len(parts) > 1)
    expected = np.concatenate([np.full(len(part), len(part) < window) for part in parts])
    np.testing.assert_array_equal(np.isnan(scores), expected)
    alone = np.concatenate([model.score_steps(frame.iloc[part]) for part in parts if len(part) >= window])
    np.testing.assert_allclose(scores[~expected], alone, rtol=1e-4)
    _refused(lambda: model.score_steps(frame.sample(frac=1, random_state=1)), "sort_index")


def levels_of_frames(random: Random, folder: Path, runs: Runs) -> None:
    """The same series at any level, or in other units, has the same scores, and forecasts at that level."""
    series = random.normal(size=(random.whole(40, 90), 2)).cumsum(axis=0)
    level, unit = 10 ** random.uniform(3, 9), 10 ** random.uniform(-2, 2)
    options = TINY | {"objective": "composite", "window": 6, "future_steps": 2}
    plain, moved = SequenceAutoencoder(**options).fit(series), SequenceAutoencoder(**options).fit(unit * series + level)
    expected, found = plain.score_samples(series), moved.score_samples(unit * series + level)
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=1e-3)
    forecast = (np.asarray(moved.predict(unit * series + level), np.float64) - level) / unit
    np.testing.assert_allclose(forecast, plain.predict(series), atol=0.02 * series.std() + 1e-6 * level / unit)


def constant_sensors(random: Random, folder: Path, runs: Runs) -> None:
    """A sensor that never moved in training is named when it moves, and what it does is anomalous."""
    value, name = float(random.one([0, 1, -40, 1e9, 0.1])), random.name()
    frame = pd.DataFrame({"x": random.normal(size=80), name + "x": value})
    model = SequenceAutoencoder(window=5, **TINY).fit(frame)
    moved = frame.copy()
    moved.iloc[40:, 1] += 10 ** random.uniform(1, 3)
    normal, said = _warned(lambda: model.score_samples(frame))
    assert not said
    anomalous, said = _warned(lambda: model.score_samples(moved))
    assert repr(name + "x") in said, "not named"
    assert anomalous[-1] < normal.min()


def forgotten_windows(random: Random, folder: Path, runs: Runs) -> None:
    """A table of one long series given as rows is questioned, and rows that are sequences are not."""
    rows, columns = random.whole(40, 200), random.whole(4, 30)
    table = random.normal(size=(rows, columns)).cumsum(axis=0)
    one_series, X = random.one(
        [
            (True, pd.DataFrame(table, columns=[f"sensor_{random.name()}{n}q" for n in range(columns)])),
            (True, pd.DataFrame(table, index=pd.date_range("2024", periods=rows, freq="h"))),
            (True, table),
            (False, random.normal(size=(rows, columns)).cumsum(axis=1)),
            (False, pd.DataFrame(random.normal(size=(rows, columns)), columns=[f"t{n}" for n in range(columns)])),
        ]
    )
    _, said = _warned(lambda: SequenceAutoencoder(**TINY).fit(X))
    assert ("give window=" in said) == one_series


# Different lengths everywhere


def lists_of_series(random: Random, folder: Path, runs: Runs) -> None:
    """What comes back of a list or dictionary is in its form, and each as if it were alone."""
    long = random.chance()
    lengths = random.integers(7, 20, random.whole(2, 6))
    parts = {f"{name}": random.normal(size=(length, 2)) for name, length in zip(random.names(9), lengths, strict=False)}
    options = TINY | {"objective": "composite", "future_steps": 2, "window": 4 if long else None}
    model = SequenceAutoencoder(**options).fit(parts)
    for method in (model.transform, model.reconstruct, model.predict, model.score_samples, model.score_steps):
        of_dictionary, of_list = method(parts), method(list(parts.values()))
        by_name = long or method in (model.reconstruct, model.score_steps)
        rows = list(of_dictionary.values()) if by_name else of_dictionary
        assert not by_name or list(of_dictionary) == list(parts)
        assert isinstance(of_list, list) == by_name
        for row, other, part in zip(rows, of_list, parts.values(), strict=True):
            alone = method([part])[0]
            np.testing.assert_array_equal(row, other)
            np.testing.assert_allclose(row, alone, rtol=1e-4, atol=1e-5)


def rows_without_their_future(random: Random, folder: Path, runs: Runs) -> None:
    """A composite model of rows (N, T) reads rows with and without what it predicts."""
    steps, future = random.whole(5, 12), random.whole(1, 4)
    rows = random.normal(size=(random.whole(5, 20), steps))
    X = pd.DataFrame(rows).add_prefix("t") if random.chance() else rows
    model = SequenceAutoencoder("composite", future_steps=future, **TINY).fit(X)
    past = X.iloc[:, :-future] if isinstance(X, pd.DataFrame) else X[:, :-future]
    assert model.transform(past).shape == (len(rows), 2)
    assert model.reconstruct(past).shape == past.shape
    assert model.predict(past).shape == (len(rows), future)
    assert model.score_samples(X).shape == (len(rows),)


def lengths_in_tasks(random: Random, folder: Path, runs: Runs) -> str:
    """Sequences of any lengths through every task; those that leave nothing to read are named."""
    lengths = random.integers(FOLLOW + 1, 60, random.whole(1, 8)).tolist()
    short = random.chance(0.3)
    if short:
        lengths.insert(int(random.integers(len(lengths) + 1)), random.whole(1, FOLLOW + 1))
    table = pd.concat(
        pd.DataFrame({"id": f"n{n}", "x": random.normal(size=length), "y": 0.5}) for n, length in enumerate(lengths)
    )
    table.to_csv(folder / "a.csv", index=False)
    words = ("--data-dir", folder / "a.csv")
    if short:
        flags = (runs.series, "--tasks", "anomaly", "--output-dir", folder / "out", *words)
        _command_refused(evaluate, flags, f"n{int(np.argmin(lengths))}: ", "too short")
        return REFUSED
    found = _scored(runs.series, folder / "out", *words)
    assert found == {f"n{n}": list(range(length)) for n, length in enumerate(lengths)}
    _done(evaluate, runs.series, "--tasks", "predict", "--output-dir", folder / "p", *words)
    assert json.loads((folder / "p" / "predict.json").read_text())["clips"] == len(lengths)
    assert list(_codes(runs.series, folder, folder / "a.csv")) == list(found)
    return READ


def lengths_in_onnx(random: Random, folder: Path, runs: Runs) -> None:
    """The exported model of sequences of different lengths, by onnxruntime, is the model."""
    model = LSTMAutoencoder.from_pretrained(runs.series).eval()
    lengths = random.integers(1, 40, random.whole(1, 6))
    frames = torch.from_numpy(random.normal(size=(len(lengths), lengths.max(), 2)).astype("f4"))
    steps = random.whole(1, 9)
    found = run_onnx(runs.exported / "export-model.onnx", frames, torch.from_numpy(lengths), steps)
    names = list(found)
    with torch.no_grad():
        for row, length in enumerate(lengths.tolist()):
            alone = frames[row : row + 1, :length, :, None, None]
            torch.testing.assert_close(found[names[0]][row], model.encode(alone)[0], rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(
                found[names[1]][row, :length].flatten(), model.reconstruct(alone).flatten(), rtol=1e-3, atol=1e-4
            )
            torch.testing.assert_close(
                found[names[2]][row].flatten(), model.predict(alone, steps).flatten(), rtol=1e-3, atol=1e-4
            )


def thresholds_of_lists(random: Random, folder: Path, runs: Runs) -> None:
    """A threshold of lists is the quantile of all their numbers, per group too."""
    rows = [random.normal(size=int(length)) for length in random.integers(20, 40, random.whole(1, 6))]
    for row in rows:
        row[random.random(len(row)) < 0.1] = np.nan
    quantile, grouped = float(random.uniform(0.5, 0.9)), random.chance()
    names = [f"m{n % 2}" for n in range(len(rows))] if grouped else None
    thresholds = Thresholds.fit(rows, quantile, names)
    for place, (found, flags) in enumerate(
        zip(thresholds.of(len(rows), names), thresholds.flag(rows, names), strict=True)
    ):
        own = [row for other, row in enumerate(rows) if not grouped or names[other] == names[place]]
        expected = np.nanquantile(np.concatenate(own), quantile)
        assert found == expected
        np.testing.assert_array_equal(flags, rows[place] > expected)


# Calls without side effects


def side_effects(random: Random, folder: Path, runs: Runs) -> None:
    """Modes, gradients and random numbers are after a call what they were before."""
    config = ModelConfig(frame_shape=(1, 8, 8), hidden_size=4, input_frames=3, future_frames=2, code_size=3)
    model, classifier = LSTMAutoencoder(config), LSTMClassifier(ClassifierConfig(config, ("a", "b"), dropout=0.5))
    clips = torch.from_numpy(random.integers(0, 256, (4, 5, 1, 8, 8), dtype=np.uint8))
    for part in (*model.modules(), *classifier.modules()):
        part.training = random.chance()
    for parameter in (*model.parameters(), *classifier.parameters()):
        parameter.requires_grad_(random.chance())

    def state() -> dict[str, Any]:
        parts = (*model.modules(), *classifier.modules())
        weights = (*model.parameters(), *classifier.parameters())
        return {
            "modes": [part.training for part in parts],
            "gradients": [(weight.requires_grad, weight.grad is None) for weight in weights],
            "weights": [weight.detach().sum().item() for weight in weights],
            "torch": torch.get_rng_state().tolist(),
            "numpy": repr(np.random.get_state()),
            "python": python_random.getstate(),
        }

    series = [random.normal(size=(9, 2)) for _ in range(3)]
    calls: list[Callable[[], Any]] = [
        lambda: model.encode(clips[:, :3]),
        lambda: model.reconstruct(clips[:, :3]),
        lambda: model.predict(clips[:, :3], 4),
        lambda: classifier.scores(clips[:, :3]),
        lambda: predict_clips(model, clips, torch.device("cpu")),
        lambda: Scorer.fit(model, [clips])[0](clips),
        lambda: model.save_pretrained(folder / "saved"),
        lambda: SequenceAutoencoder(**TINY).fit(series).score_steps(series),
    ]
    for call in random.permutation(len(calls)).tolist():
        before = state()
        calls[call]()
        after = state()
        changed = [what for what in before if before[what] != after[what]]
        assert not changed, f"call {call} changed {changed}"


def gradients(random: Random, folder: Path, runs: Runs) -> None:
    """Codes, forecasts and what is rebuilt are differentiable: by differences in float64."""
    config = ModelConfig(frame_shape=(2, 1, 1), hidden_size=3, input_frames=4, future_frames=2, output="linear")
    with torch.random.fork_rng():
        torch.manual_seed(int(random.integers(2**31)))
        model = LSTMAutoencoder(config).double().eval()
    assert model.config.decoders == DECODERS
    frames = torch.from_numpy(random.normal(size=(2, 4, 2, 1, 1))).requires_grad_()
    way = torch.from_numpy(random.normal(size=frames.shape))
    for method in (model.encode, model.reconstruct, lambda given: model.predict(given, 2)):
        (gradient,) = torch.autograd.grad(method(frames).sum(), frames)
        with torch.no_grad():
            ahead, behind = (method(frames + sign * 1e-3 * way).sum() for sign in (1, -1))
        expected = float((ahead - behind) / 2e-3)
        found = float((gradient * way).sum())
        assert abs(found - expected) < 1e-3 * (1 + abs(expected)), f"{found} against {expected}"


KINDS: dict[str, Callable[[Random, Path, Runs], str | None]] = {  # to whether the input was read; None: it was
    function.__name__.replace("_", " "): function
    for function in (
        results_beside_own_files, folders_of_others, names_of_folders, printed_commands,
        videos_that_come_and_go, other_videos, arrays_that_change, tables_that_change, groups, split_files,
        folders_of_parts, samples_of_classes, early_stopping,
        progressive_films, interlaced_films, cut_films, av1_films, turned_films, folders_of_everything,
        folders_of_images, frames_per_second, gifs, layouts_of_arrays, types_of_arrays,
        large_values, any_ids, times_of_rows, columns_of_tables, columns_of_ids, broken_tables,
        columns_of_frames, holes_in_frames, levels_of_frames, constant_sensors, forgotten_windows,
        lists_of_series, rows_without_their_future, lengths_in_tasks, lengths_in_onnx, thresholds_of_lists,
        side_effects, gradients,
    )
}  # fmt: skip
