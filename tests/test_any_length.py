"""Whole sequences of any mix of lengths, shorter and longer than in the training, through scores and every task."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import padded
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.anomaly import Scorer
from video_ae.commands import evaluate, train
from video_ae.config import DECODERS, FUTURE, RECONSTRUCTION
from video_ae.thresholds import Thresholds, detection

FOLLOW = 2  # steps that are predicted
TRAINED = [8 + n for n in range(20)]  # steps of the sequences of the training; the ninth of every ten validates


def write(path: Path, lengths: list[int]) -> Path:
    random = np.random.default_rng(len(lengths))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "x", "y"])
        for n, length in enumerate(lengths):
            writer.writerows([f"m@{n}", np.sin(t / 3 + n), random.normal()] for t in range(length))
    return path


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lengths")
    data = ["--dataset", "sequences", "--data-dir", str(write(folder / "trained.csv", TRAINED))]
    small = ["--hidden-size", "6", "-b", "4", "--steps", "3", "--device", "cpu"]
    for kind in ("reconstruct", "predict", "composite"):
        future = [] if kind == "reconstruct" else ["--future-frames", str(FOLLOW)]
        assert train.command([f"--{kind}", *data, *small, *future, "--output-dir", str(folder / kind)]) == 0
    return {kind: folder / kind for kind in ("reconstruct", "predict", "composite")}


@pytest.mark.parametrize("kind", ["reconstruct", "predict", "composite"])
@pytest.mark.parametrize(
    "lengths", [[3], [3, 90, 4], list(range(3, 33, 2)), None], ids=lambda lengths: str(lengths)[:12]
)
def test_every_task_takes_any_lengths(runs, kind, lengths, tmp_path):
    """Catches tasks that want all sequences as long as the longest of the training; None: the training's own."""
    run, tasks = runs[kind], ["predict", "anomaly", "encode", "export", "architecture"]
    tasks += [] if kind == "reconstruct" else ["rollout"]
    if kind == "reconstruct" and lengths:
        lengths = [1, *lengths]
    other = [] if lengths is None else ["--data-dir", str(write(tmp_path / "other.csv", lengths))]
    words = [str(run), "--tasks", *tasks, "--quantile", "0.5", "-b", "3", "--device", "cpu", *other]
    assert evaluate.command([*words, "--out", str(tmp_path / "codes.npz"), "--output-dir", str(tmp_path / "out")]) == 0
    judged = {f"m@{n}": length for n, length in enumerate(lengths or TRAINED)}
    with np.load(tmp_path / "codes.npz") as codes:
        assert (codes["ids"].tolist(), codes["starts"].tolist()) == (list(judged), [0] * len(judged))
    if lengths is None:
        judged = {name: judged[name] for name in ("m@9", "m@19")}
    with (tmp_path / "out" / "anomaly.csv").open(newline="") as file:
        steps = [(row["id"], int(row["step"])) for row in csv.DictReader(file)]
    first = {name: max(0, length - FOLLOW) if kind == "predict" else 0 for name, length in judged.items()}
    assert steps == [(name, step) for name, length in judged.items() for step in range(first[name], length)]
    assert json.loads((tmp_path / "out" / "predict.json").read_text())["clips"] == len(judged)


def test_sequences_too_short_to_predict_are_named(runs, tmp_path, capsys):
    other = write(tmp_path / "other.csv", [9, 2, 2])
    for task in ("predict", "anomaly", "export", "rollout"):
        words = [
            str(runs["composite"]),
            "--tasks",
            task,
            "--data-dir",
            str(other),
            "--output-dir",
            str(tmp_path / "out"),
        ]
        assert evaluate.command(words) == 1
        expected = "m@1: found 2 steps, expected at least 3 (input + future); 2 of 3 are too short: leave them out"
        assert expected in capsys.readouterr().err


LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(normal=LENGTHS, judged=LENGTHS, more=st.integers(0, 4), kind=st.sampled_from([(RECONSTRUCTION,), DECODERS]))
def test_scores_do_not_depend_on_what_is_in_the_batch(normal, judged, more, kind):
    """Normal data may all be shorter than the clips they come in, and than what is judged."""
    torch.manual_seed(0)
    follow = FOLLOW if FUTURE in kind else 0
    shape = {"frame_shape": (2, 1, 1), "hidden_size": 3, "input_frames": 5, "future_frames": FOLLOW, "output": "linear"}
    model = LSTMAutoencoder(ModelConfig(**shape, decoders=kind))
    usual, others = ([torch.randn(length + follow, 2, 1, 1) for length in part] for part in (normal, judged))
    clips = padded(usual, max(normal) + follow + more)
    scorer, scores = Scorer.fit(model, [clips[:2], *([clips[2:]] if len(clips) > 2 else [])], future_frames=follow)
    for row, sequence in zip(scores.steps, usual, strict=True):
        assert row.isfinite().tolist() == [t < len(sequence) for t in range(len(row))]
    found = scorer(padded(others, max(judged) + follow + more))
    for steps, score, sequence in zip(*found, others, strict=True):
        alone = scorer(sequence[None])
        torch.testing.assert_close(steps[: len(sequence)], alone.steps[0], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(score, alone.sequences[0], rtol=1e-3, atol=1e-5)
        assert steps[len(sequence) :].isnan().all()


@settings(max_examples=200, deadline=None)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6), seed=st.integers(0, 99), groups=st.booleans())
def test_thresholds_of_lists_are_those_of_padded_rows(lengths, seed, groups):
    random = np.random.default_rng(seed)
    rows = [random.random(20 + length) for length in lengths]
    rows[0][::3] = np.nan
    table = np.full((len(rows), 30), np.nan)
    for padding, row in zip(table, rows, strict=True):
        padding[: len(row)] = row
    names = [f"m{n % 2}" for n in range(len(rows))] if groups else None
    of_list, of_table = (Thresholds.fit(scores, 0.9, names) for scores in (rows, table))
    assert of_list == of_table
    flags, expected = of_list.flag(rows, names), of_table.flag(table, names)
    assert isinstance(flags, list)
    for flag, wanted, row in zip(flags, expected, rows, strict=True):
        np.testing.assert_array_equal(flag, wanted[: len(row)])
    by_name = {f"series {n}": row for n, row in enumerate(rows)}  # as `score_steps` gives it for a dictionary
    objects = np.empty(len(rows), object)
    objects[:] = rows
    for scores in (by_name, by_name.values(), iter(rows), objects):
        assert Thresholds.fit(scores, 0.9, names) == of_table
    named = of_list.flag(by_name, names)
    assert list(named) == list(by_name)
    for flag, wanted in zip(named.values(), flags, strict=True):
        np.testing.assert_array_equal(flag, wanted)
    labels = [np.arange(len(row)) % 2 for row in rows]
    wanted = detection(np.concatenate(labels), np.concatenate(rows))
    assert detection(labels, rows)["roc_auc"] == wanted["roc_auc"]
    of_names = dict(reversed(list(zip(by_name, labels, strict=True))))  # matched by name, not by order
    assert detection(of_names, by_name)["roc_auc"] == wanted["roc_auc"]
