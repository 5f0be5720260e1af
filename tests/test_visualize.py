"""Pictures: as many frames as the clip, for as long as they should, showing what they say."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from video_ae.visualize import (
    Clip,
    ScoredSeries,
    Series,
    save_clip_gif,
    save_scored_series,
    save_series,
    save_strip,
)


def clip(channels: int = 1, inputs: int = 4, future: int = 3, *, made: bool = True) -> Clip:
    random = np.random.default_rng(0)

    def frames(count: int) -> np.ndarray:
        return random.random((count, channels, 16, 20), dtype=np.float32)

    return Clip(
        frames(inputs), frames(future), frames(inputs) if made else None, frames(future) if made and future else None
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gif_shows_every_frame(channels, tmp_path):
    """Durations are summed, because writers merge frames that are equal."""
    save_clip_gif(tmp_path / "new" / "clip.gif", clip(channels), milliseconds=100)
    with Image.open(tmp_path / "new" / "clip.gif") as gif:
        total = 0
        for number in range(gif.n_frames):
            gif.seek(number)
            total += gif.info["duration"]
        assert gif.n_frames == 7
        assert gif.info["loop"] == 0
    assert total == 6 * 100 + 400


def test_a_gif_shows_the_truth_the_model_and_the_error(tmp_path):
    """White truth and black prediction: the three panels are white, black and white."""
    white, black = np.ones((2, 1, 16, 16), np.float32), np.zeros((2, 1, 16, 16), np.float32)
    save_clip_gif(tmp_path / "clip.gif", Clip(white, white, black, black))
    with Image.open(tmp_path / "clip.gif") as gif:
        panels = np.asarray(gif.convert("L"))
        third = gif.width // 3
        middles = [panels[gif.height // 2, third // 2 + third * column] for column in range(3)]
    assert middles == [255, 0, 255]


def test_a_gif_keeps_greys_and_the_colour_of_what_was_not_seen(tmp_path):
    """256 colours chosen from too few pixels would band the greys, or paint the orange frame of the future grey."""
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (1, 1, 64, 1))  # (T, C, H, W)
    save_clip_gif(tmp_path / "clip.gif", Clip(ramp, ramp, ramp, ramp))
    with Image.open(tmp_path / "clip.gif") as gif:
        gif.seek(1)
        pixels = np.asarray(gif.convert("RGB")).astype(int)
    row = pixels[pixels.shape[0] // 2]
    first = row[10:266:4]  # the first panel is 256 pixels wide, 4 to each of the frame's
    assert np.abs(first - np.rint(255 * ramp[0, 0, 0])[:, None]).max() <= 6  # of 255: nobody sees that
    assert np.abs(row[8] - (251, 146, 60)).max() <= 8


def test_models_without_a_decoder_and_clips_without_future(tmp_path):
    save_clip_gif(tmp_path / "nothing.gif", clip(made=False))
    save_clip_gif(tmp_path / "short.gif", clip(future=0))
    save_strip(tmp_path / "strip.png", [clip(made=False), clip(made=False)])
    with Image.open(tmp_path / "short.gif") as gif:
        assert gif.n_frames == 4


def test_a_strip_has_a_column_per_frame(tmp_path):
    save_strip(tmp_path / "short.png", [clip(), clip()])
    save_strip(tmp_path / "long.png", [clip(future=13), clip(future=13)])
    with Image.open(tmp_path / "short.png") as short, Image.open(tmp_path / "long.png") as long:
        assert long.width - short.width == 10 * (20 * 4 + 3)
        assert long.height == short.height


def coloured(path: Path, colour: tuple[int, int, int]) -> int:
    """How many pixels of a picture have a colour."""
    with Image.open(path) as picture:
        return int((np.abs(np.asarray(picture.convert("RGB"), int) - colour).max(axis=2) < 8).sum())


def test_series_show_the_truth_beside_what_was_made_of_it(tmp_path):
    """Catches a truth that the prediction hides, sequences of one step, and names that are no TeX."""
    steps = np.zeros((6, 5), np.float32)
    grey, blue, orange = (115, 115, 115), (31, 119, 180), (255, 127, 14)
    series = Series("$\\no", steps[:4], steps[4:], steps[:4] + 1, steps[4:] + 1)
    save_series(tmp_path / "all.png", [series, series._replace(inputs=steps[:1], reconstruction=steps[:1])], "abcde")
    save_series(tmp_path / "truth.png", [series._replace(reconstruction=None, prediction=None)])
    save_series(tmp_path / "half.png", [series._replace(future=steps[:0], prediction=None)])
    for name, lines in (("all", [True, True, True]), ("truth", [True, False, False]), ("half", [True, True, False])):
        assert [coloured(tmp_path / f"{name}.png", colour) > 500 for colour in (grey, blue, orange)] == lines


def test_a_threshold_is_seen_beside_a_huge_fault(tmp_path):
    """On a linear axis up to 900 a threshold of 3 is the line of zero: nothing below it could be told apart."""
    scores = np.ones(60)
    scores[30:35] = 900
    save_scored_series(tmp_path / "scores.png", [ScoredSeries("one", np.arange(60), scores, 3.0)])
    with Image.open(tmp_path / "scores.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    red = (pixels[..., 0] - pixels[..., 1] > 100).sum(axis=1) > 0.3 * pixels.shape[1]  # a dashed line across
    rows = np.flatnonzero(red)
    assert len(rows)
    axis = np.flatnonzero((pixels.max(axis=2) < 60).sum(axis=1) > 0.5 * pixels.shape[1])[-1]  # the lower spine
    assert axis - rows.max() > 0.1 * pixels.shape[0]
