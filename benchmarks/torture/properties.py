"""What must hold for all inputs, tried on those that hypothesis makes up and then makes smaller."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.outcome import count as outcome_of
from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.datasets.config import DataConfig
from video_ae.datasets.containers import frames_in_container
from video_ae.datasets.sequences import open_sequences
from video_ae.patches import frames_to_vectors, vectors_to_frames
from video_ae.visualize import Clip, save_clip_gif

_few = st.integers(1, 4)


@hypothesis.given(B=_few, T=_few, C=st.sampled_from([1, 3]), rows=_few, columns=_few, patch=st.none() | _few)
def patches_round_trip(B: int, T: int, C: int, rows: int, columns: int, patch: int | None) -> None:  # noqa: N803
    """Frames to vectors and back are the same frames, bit for bit."""
    size = patch or 1
    frames = torch.rand(B, T, C, rows * size, columns * size)
    vectors = frames_to_vectors(frames, patch)
    assert torch.equal(vectors_to_frames(vectors, frames.shape[2:], patch), frames)


@st.composite
def configs(draw: Any) -> ModelConfig:
    """Small models of all kinds."""
    patch = draw(st.none() | st.sampled_from([1, 2]))
    cell = draw(st.sampled_from(["lstm", "conv"])) if patch else "lstm"
    decoders = draw(st.sampled_from([("reconstruction",), ("future",), ("reconstruction", "future")]))
    return ModelConfig(
        frame_shape=(draw(st.sampled_from([1, 3])), 2 * draw(_few), 2 * draw(_few)),
        patch_size=patch,
        cell=cell,
        hidden_size=draw(st.integers(1, 6)),
        layers=draw(st.integers(1, 2)),
        peephole=draw(st.booleans()) if cell == "lstm" else False,
        decoders=decoders,
        conditional=draw(st.sampled_from([(), decoders, decoders[:1]])),
        input_frames=draw(_few),
        future_frames=draw(_few),
    )


@hypothesis.given(config=configs(), batch=_few, steps=st.integers(1, 9), seed=st.integers(0, 2**31))
def shapes_and_lengths(config: ModelConfig, batch: int, steps: int, seed: int) -> None:
    """Any number of input frames and of predicted ones; all outputs are finite frames of the same size."""
    torch.manual_seed(seed)
    model = LSTMAutoencoder(config).eval()
    clips = torch.rand(batch, steps, *config.frame_shape)
    assert torch.isfinite(model.encode(clips)).all()
    if "reconstruction" in config.decoders:
        rebuilt = model.reconstruct(clips)
        assert rebuilt.shape == clips.shape
        assert torch.isfinite(rebuilt).all()
    if "future" in config.decoders:
        assert model.predict(clips, steps=10 - steps).shape == (batch, 10 - steps, *config.frame_shape)


@hypothesis.given(config=configs(), seed=st.integers(0, 2**31))
def saved_models_are_the_same(config: ModelConfig, seed: int) -> None:
    """A loaded model has the config, the weights and the codes of the saved one."""
    torch.manual_seed(seed)
    model = LSTMAutoencoder(config).eval()
    clips = torch.rand(2, config.input_frames, *config.frame_shape)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        loaded = LSTMAutoencoder.from_pretrained(folder).eval()
    assert loaded.config == model.config
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    assert torch.equal(loaded.encode(clips), model.encode(clips))


@hypothesis.given(
    values=st.lists(st.integers(0, 3), min_size=2, max_size=8),
    milliseconds=st.integers(2, 100).map(lambda hundredths: 10 * hundredths),
    side=st.integers(1, 9),
)
def gifs_last_as_long_as_their_frames(values: list[int], milliseconds: int, side: int) -> None:
    """Frames that look alike are merged, but the film must not become shorter; our own reader finds it whole."""
    frames = np.stack([np.full((1, side, side), value / 4, np.float32) for value in values])
    clip = Clip(inputs=frames, future=frames[:0], reconstruction=frames, prediction=None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.gif"
        save_clip_gif(path, clip, milliseconds=milliseconds)
        with Image.open(path) as film:
            durations = []
            for number in range(getattr(film, "n_frames", 1)):
                film.seek(number)
                durations.append(film.info["duration"])
        assert frames_in_container(path) == len(durations)
    assert sum(durations) == (len(values) + 3) * milliseconds  # the last frame stays for four


@hypothesis.given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    features=_few,
    seed=st.integers(0, 2**31),
)
def sequences_come_back_as_they_were_saved(lengths: list[int], features: int, seed: int) -> None:
    """An array for each in .npz, and a table in .csv with the digits that float32 needs."""
    random = np.random.default_rng(seed)
    saved = {f"s{number}": random.normal(size=(length, features)).astype("f4") for number, length in enumerate(lengths)}
    with tempfile.TemporaryDirectory() as folder:
        archive, table = Path(folder) / "a.npz", Path(folder) / "a.csv"
        np.savez(archive, **saved)
        lines = [["id", *(f"x{column}" for column in range(features))]]
        lines += [[name, *map(repr, map(float, row))] for name, steps in saved.items() for row in steps]
        table.write_text("\n".join(",".join(line) for line in lines))
        for path in (archive, table):
            found = open_sequences(path, offsets=())
            assert [record.name for record in found.videos] == list(saved)
            assert all(np.array_equal(found.array(index), steps) for index, steps in enumerate(saved.values()))


@hypothesis.given(count=st.integers(1, 25), length=st.integers(1, 40), frames=st.integers(1, 10))
def no_frame_is_in_two_splits(count: int, length: int, frames: int) -> None:
    """Whatever the shape of an array: its splits share no frame, or an error says that there are too few."""
    array = np.zeros((count, length, 1, 2), np.uint8)
    array[..., 0, 0], array[..., 0, 1] = np.arange(count)[:, None], np.arange(length)
    seen: set[tuple[int, int]] = set()
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "array.npy", array)
        data = DataConfig(dataset="array", data_dir=f"{folder}/array.npy", layout="NTHW")
        for split in ("train", "validation", "test"):
            try:
                clips = data.open(split, frames)
            except ValueError as error:
                if "expected at least" not in str(error):
                    raise
                continue
            pixels = clips.__getitems__(range(len(clips))).flatten(2).flatten(0, 1).tolist()
            mine = {(video, frame) for video, frame in pixels}
            assert not seen & mine
            seen |= mine


PROPERTIES: list[Callable[[], None]] = [
    patches_round_trip,
    shapes_and_lengths,
    saved_models_are_the_same,
    gifs_last_as_long_as_their_frames,
    sequences_come_back_as_they_were_saved,
    no_frame_is_in_two_splits,
]


def properties(count: int, seed: int, folder: Path) -> Outcome:
    """Every property on `count` examples."""
    results = [examined(held, count, seed) for held in PROPERTIES]
    names = ", ".join(held.__name__.replace("_", " ") for held in PROPERTIES)
    return outcome_of(f"{count} examples of each property: {names}", "all hold", results)


def examined(held: Callable[[], None], examples: int, seed: int) -> str | None:
    """The smallest example that hypothesis finds for which a property does not hold."""
    settings = hypothesis.settings(max_examples=examples, database=None, deadline=None, derandomize=False)
    try:
        hypothesis.seed(seed)(settings(held))()
    except Exception as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        where = traceback.extract_tb(error.__traceback__)[-1]
        return " ".join(f"{held.__name__}: {error!r} {notes} ({where.name}:{where.lineno})".split())[:600]
    return None
