"""Folders of numbered images: in the order of their numbers, with the bounds of videos, bad images named."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video_ae.datasets.frame_folders import image_series, is_frame_folder
from video_ae.datasets.videos import count_frames, read_video, video_frames


def write(folder, names, height=6, width=9, dtype=np.uint8):
    """Grey images whose value is their place in `names`, times ten."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        value = 10 * index * (257 if dtype == np.uint16 else 1)
        cv2.imwrite(str(folder / name), np.full((height, width), value, dtype))
    return folder


@settings(max_examples=200, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 10**9), min_size=2, max_size=20, unique=True),
    prefix=st.sampled_from(["", "img_", "frame", "a1-"]),
    width=st.integers(1, 10),
    suffix=st.sampled_from([".jpg", ".PNG", ".tif"]),
)
def test_a_series_is_in_the_order_of_its_numbers(numbers, prefix, width, suffix):
    """Padded or not: img_2 comes before img_10; other files are no part of it."""
    names = {number: f"{prefix}{number:0{width}d}{suffix}" for number in numbers}
    assert image_series([*names.values(), "notes.txt", "cover.jpg"]) == [names[number] for number in sorted(numbers)]


def test_what_is_no_series(tmp_path):
    assert image_series(["1.jpg"]) == image_series(["a.jpg", "b.jpg"]) == image_series(["x1.jpg", "y1.jpg"]) == []
    assert image_series(["left_1.jpg", "left_2.jpg", "right_1.jpg", "right_2.jpg"]) == []  # which one?
    assert image_series(["flow_x_1.jpg", "flow_x_2.jpg", "img_1.jpg", "img_2.jpg"]) == ["img_1.jpg", "img_2.jpg"]
    assert not is_frame_folder(tmp_path)
    assert is_frame_folder(write(tmp_path / "a", ["1.png", "2.png"]))
    for read in (read_video, count_frames):
        with pytest.raises(FileNotFoundError, match=r"a folder; expected a video file, or a folder of numbered images"):
            read(tmp_path)


def test_images_are_read_as_frames(tmp_path):
    folder = write(tmp_path / "walk", [f"img_{number}.png" for number in range(8, 14)])
    frames = read_video(folder, grey=True)
    assert frames.shape == (6, 6, 9, 1)
    assert frames[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    some = read_video(folder, first=1, stride=2, frames=2, image_size=(4, 4))
    assert some.shape == (2, 4, 4, 3)
    assert some[:, 0, 0].tolist() == [[10] * 3, [30] * 3]
    assert count_frames(folder) == 6
    assert len(list(video_frames(folder, stride=4))) == 2
    with pytest.raises(ValueError, match=r"6 frames decode .*expected at least 7"):
        read_video(folder, least=7)
    with pytest.raises(ValueError, match="images have no times; leave --fps out"):
        read_video(folder, fps=5)


def test_colours_and_16_bits(tmp_path):
    """Red is red, and the upper byte of deep images counts."""
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 2] = 200  # red, for OpenCV
    for number in (1, 2):
        cv2.imwrite(str(write(tmp_path / "red", []) / f"{number}.png"), image)
    assert read_video(tmp_path / "red")[1, 0, 0].tolist() == [200, 0, 0]
    deep = write(tmp_path / "deep", ["1.tif", "2.tif"], dtype=np.uint16)
    assert read_video(deep, grey=True)[:, 0, 0, 0].tolist() == [0, 10]


def test_missing_numbers_are_said(tmp_path, capsys):
    read_video(write(tmp_path / "regular", ["0.png", "5.png", "10.png"]))
    assert capsys.readouterr().err == ""
    gaps = write(tmp_path / "gaps", [f"{number}.png" for number in (1, 2, 3, 5, 6, 9)])
    assert len(read_video(gaps)) == 6
    said = "2 gaps in the numbers of its images, the first between 3.png and 5.png"
    assert capsys.readouterr().err == f"{gaps}: {said}\n"


def test_bad_images_are_named(tmp_path):
    folder = write(tmp_path / "walk", ["1.png", "2.png", "3.png"])
    write(folder, ["2.png"], height=7)
    with pytest.raises(ValueError, match=r"walk/2\.png: found 9x7 pixels, expected 9x6 as 1\.png"):
        read_video(folder)
    assert len(read_video(folder, stride=2)) == 2  # what is not asked for is not opened
    whole = (folder / "3.png").read_bytes()
    for content in (b"", b"\0" * 100, whole[:20], whole[:-30]):
        (folder / "2.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"walk/2\.png: not an? (whole )?image that can be read"):
            read_video(folder)


def test_a_bomb_is_refused_by_its_header(tmp_path):
    """60,000 x 60,000 pixels in 100 bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">2I5B", 60_000, 60_000, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(bomb)
    with pytest.raises(ValueError, match=r"(states 2 frames of 60000x60000|1\.png: not an image that can be read)"):
        read_video(tmp_path)
