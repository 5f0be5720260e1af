"""Real videos: what is read is what OpenCV decodes, bad files are named, and no group is in two parts."""

import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from video_ae.datasets import decoders
from video_ae.datasets import videos as videos_module
from video_ae.datasets.containers import DamagedError, frames_in_container
from video_ae.datasets.videos import count_frames, read_video


def write(path: Path, frames: int = 12, height: int = 48, width: int = 70, codec: str = "MJPG") -> Path:
    """A video of blurred noise, other noise in every frame and for every path."""
    random = np.random.default_rng(list(str(path.name).encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (width, height))
    assert writer.isOpened()
    for _ in range(frames):
        writer.write(cv2.GaussianBlur(random.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 2))
    writer.release()
    return path


@pytest.fixture(params=["PyAV", "OpenCV"])
def either_decoder(request, monkeypatch):
    """The bounds hold for both; see `test_decoders.py` for the frames."""
    if request.param == "OpenCV":
        monkeypatch.setattr(decoders, "has_av", lambda: False)


FORMATS = [
    ("a.avi", "MJPG"),
    ("b.avi", "XVID"),
    ("c.mp4", "mp4v"),
    ("d.mov", "mp4v"),
    ("e.webm", "VP80"),
    ("f.mkv", "mp4v"),
]


def decode(path: Path) -> np.ndarray:
    """All frames as OpenCV gives them: (T, H, W, 3), blue first."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (result := capture.read())[0]:
        frames.append(result[1])
    return np.stack(frames)


# Reading


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(("size", "by"), [(None, None), (20, cv2.INTER_AREA), (90, cv2.INTER_LINEAR)])
@pytest.mark.parametrize(("height", "width", "crop"), [(48, 70, np.s_[:, 11:59]), (70, 48, np.s_[11:59, :])])
def test_frames_are_those_of_opencv(tmp_path, grey, size, by, height, width, crop):
    """Catches swapped colours, the wrong interpolation, and crops that are not in the middle."""
    path = write(tmp_path / "film.avi", height=height, width=width)
    expected = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY if grey else cv2.COLOR_BGR2RGB) for frame in decode(path)]
    if size:
        expected = [cv2.resize(frame[crop], (size, size), interpolation=by) for frame in expected]
    expected = np.reshape(expected, (12, size or height, size or width, 1 if grey else 3))
    found = read_video(path, image_size=size, grey=grey)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    some = read_video(path, image_size=size, grey=grey, stride=3, first=2, frames=3)
    assert np.array_equal(some, expected[[2, 5, 8]])
    assert np.array_equal(read_video(path, image_size=size, grey=grey, stride=5), expected[[0, 5, 10]])


def test_an_upright_film_stays_upright_and_keeps_its_proportions(tmp_path):
    """Against known positions instead of OpenCV: a ramp over x, of which the middle half must remain, 2:1."""
    writer = cv2.VideoWriter(str(tmp_path / "ramp.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (96, 48))
    writer.write(np.repeat(np.tile(2 * np.arange(96, dtype=np.uint8), (48, 1))[..., None], 3, axis=2))
    writer.release()
    found = read_video(tmp_path / "ramp.avi", image_size=24, grey=True)[0, :, :, 0]
    assert np.abs(found - (48 + 4 * np.arange(24) + 1.0)).max() <= 2


@pytest.mark.parametrize(
    ("name", "stated", "decodable"),
    [("JugglingBalls/v_JugglingBalls_g18_c01.avi", 254, 251), ("JumpingJack/v_JumpingJack_g20_c01.avi", 120, 116)],
)
@pytest.mark.usefixtures("either_decoder")
def test_headers_that_state_too_many_frames(real_data, name, stated, decodable):
    """Two files of UCF-101 lie; catches frames that were allocated by the header and never filled."""
    path = real_data / "ucf101/videos" / name
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == stated
    assert np.array_equal(read_video(path, least=decodable)[..., ::-1], decode(path))
    assert count_frames(path) == decodable
    with pytest.raises(ValueError, match=rf"c01\.avi: {decodable} frames decode .*expected at least {stated}"):
        read_video(path, least=stated)


def heads_or_errors(path: Path, tmp_path: Path) -> int:
    """Cut a video at 16 lengths: each is an error that names it, or whole frames of its head. How many errors."""
    content, frames, errors = path.read_bytes(), decode(path), []
    cut = tmp_path / f"cut{path.suffix}"
    for length in np.linspace(0, len(content) - 1, 16).astype(int):
        cut.write_bytes(content[:length])
        try:
            found = read_video(cut)[..., ::-1]
        except ValueError as error:
            errors.append(str(error))
        else:
            assert np.array_equal(found, frames[: len(found)])
    assert all(re.fullmatch(f"{re.escape(str(cut))}: .+", error) for error in errors)
    return len(errors)


@pytest.mark.usefixtures("either_decoder")
def test_a_cut_off_avi_is_an_error(tmp_path):
    """FFmpeg fills the lost half of a last frame with grey, without a word."""
    assert heads_or_errors(write(tmp_path / "film.avi"), tmp_path) == 16


@pytest.mark.parametrize(
    "name",
    ["ucf101/videos/PushUps/v_PushUps_g01_c01.avi", "misc_natural/newtonscradle.gif", "misc_natural/realshort.mp4"],
)
@pytest.mark.usefixtures("either_decoder")
def test_real_files_that_are_cut_off(real_data, tmp_path, name):
    """The same for other codecs and containers; the GIF is also read whole."""
    path = real_data / name
    assert np.array_equal(read_video(path)[..., ::-1], decode(path))
    assert heads_or_errors(path, tmp_path) >= 15


@pytest.mark.usefixtures("either_decoder")
def test_a_hole_is_an_error_not_a_shorter_film(tmp_path):
    """FFmpeg passes over holes: in all of these formats it returns a spliced film, or one without its end."""
    for name, codec in FORMATS:
        path = write(tmp_path / name, frames=30, codec=codec)
        content = path.read_bytes()
        assert frames_in_container(path) == len(read_video(path)) == count_frames(path) == 30
        spliced = path.with_stem("spliced")
        for first in (0.3, 0.5, 0.7):
            start = int(first * len(content))
            for hole in (b"", bytes(3000)):
                spliced.write_bytes(content[:start] + hole + content[start + 3000 :])
                for read in (read_video, count_frames):
                    with pytest.raises(ValueError, match=rf"^{spliced}: "):
                        read(spliced)


def boxes(content: bytes) -> dict[bytes, bytes]:
    """The outer boxes of an MP4 file, headers included."""
    found = {}
    while content:
        size = int.from_bytes(content[:4], "big")
        found[content[4:8]], content = content[:size], content[size:]
    return found


@pytest.mark.usefixtures("either_decoder")
def test_an_mp4_with_its_index_first_that_is_cut_off(tmp_path):
    """All other cut-off MP4 files lack the index at their end; this one used to pass as a shorter film."""
    whole = boxes(write(tmp_path / "film.mp4", frames=30, codec="mp4v").read_bytes())
    first = b"".join(whole[name] for name in (b"ftyp", b"moov", b"free", b"mdat"))
    offsets = first.find(b"stco")
    count = int.from_bytes(first[offsets + 8 : offsets + 12], "big")
    place = slice(offsets + 12, offsets + 12 + 4 * count)
    moved = np.frombuffer(first[place], ">u4") + len(whole[b"moov"])
    first = first[: place.start] + moved.astype(">u4").tobytes() + first[place.stop :]
    path = tmp_path / "first.mp4"
    path.write_bytes(first)
    assert np.array_equal(read_video(path), read_video(tmp_path / "film.mp4"))
    path.write_bytes(first[:-2000])
    assert len(decode(path)) in range(15, 30)  # OpenCV alone finds nothing wrong
    with pytest.raises(ValueError, match=r"first\.mp4: cut off .*; fetch or convert it again"):
        read_video(path)


@pytest.mark.usefixtures("either_decoder")
def test_an_mp4_that_was_cut_without_removing_anything(tmp_path):
    """Edit lists hide frames that are still in the file; those must not be missed."""
    content = write(tmp_path / "film.mp4", frames=30, codec="mp4v").read_bytes()
    edit = content.find(b"elst") + 12
    trimmed = tmp_path / "trimmed.mp4"
    trimmed.write_bytes(content[:edit] + struct.pack(">I", 400) + content[edit + 4 :])  # of 1,200 milliseconds
    assert frames_in_container(trimmed) == len(read_video(trimmed)) == len(decode(trimmed)) == 10


def test_real_files_are_whole(real_data):
    """Packed frames, placeholders for skipped ones and pictures of 11 bytes are no holes."""
    names = ["misc_natural/[cn]*", "weizmann/bend/*", "ucf101/videos/BabyCrawling/*g0[12]*", "ucf101/videos/J*/*g20*"]
    paths = [path for name in names for path in sorted(real_data.glob(name))]
    assert len(paths) > 10
    for path in paths:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        assert frames_in_container(path) == sum(1 for _ in iter(capture.grab, False)), path


@pytest.mark.usefixtures("either_decoder")
def test_tables_that_state_the_impossible(tmp_path):
    """Sizes of tables decide about memory: a number in a header must not."""
    content = write(tmp_path / "film.mp4", frames=30, codec="mp4v").read_bytes()
    avi = write(tmp_path / "film.avi").read_bytes()
    damages = {
        "durations.mp4": (content, b"stts", 12, struct.pack(">I", 2**31 - 1)),
        "sizes.mp4": (content, b"stsz", 8, struct.pack(">II", 5, 2**32 - 1)),
        "entries.mp4": (content, b"stts", 8, struct.pack(">I", 2**32 - 1)),
        "box.mp4": (content, b"stbl", -4, struct.pack(">I", 2**32 - 1)),
        "endless.mp4": (content, b"stbl", -4, struct.pack(">I", 2)),
        "chunk.avi": (avi, b"00dc", 4, struct.pack("<I", 2**32 - 1)),
        "stream.avi": (avi, b"00dc", 0, b"17dc"),
    }
    for name, (whole, mark, offset, new) in damages.items():
        at = whole.find(mark, whole.find(b"movi") + 1) + offset
        (tmp_path / name).write_bytes(whole[:at] + new + whole[at + len(new) :])
        with pytest.raises(ValueError, match=f"^{tmp_path / name}: "):
            count_frames(tmp_path / name)


def test_lists_in_lists_and_films_of_nothing_end(tmp_path):
    """A recursion, or a walk through millions of empty pieces, would take as long as its author wished."""
    deep = tmp_path / "deep.avi"
    lists = b"".join(struct.pack("<4sI4s", b"LIST", 12 * (1000 - depth) - 8, b"movi") for depth in range(1000))
    deep.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(lists), b"AVI ") + lists)
    with pytest.raises(DamagedError, match="deep"):
        frames_in_container(deep)
    empty = tmp_path / "empty.avi"
    empty.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + 8 * 1000, b"AVI ") + struct.pack("<4sI", b"JUNK", 0) * 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("video_ae.datasets.containers.MAX_PIECES", 500)
        with pytest.raises(DamagedError, match="more than 500 pieces"):
            frames_in_container(empty)


@pytest.mark.usefixtures("either_decoder")
def test_time_and_frames_are_limited(tmp_path, monkeypatch):
    path = write(tmp_path / "film.avi")
    monkeypatch.setattr(videos_module, "MAX_PIXELS", 5 * 48 * 70)
    with pytest.raises(ValueError, match=r"film\.avi: states 12 frames"):
        count_frames(path)
    monkeypatch.setattr(videos_module, "MAX_PIXELS", 2**42)
    monkeypatch.setattr(videos_module, "MAX_SECONDS", -1)
    with pytest.raises(ValueError, match=r"film\.avi: found no end after 1 frames"):
        read_video(path)


@pytest.mark.usefixtures("either_decoder")
def test_files_that_are_no_videos(tmp_path, capfd):
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.avi").touch()
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    (tmp_path / "folder.avi").mkdir()
    for name in ("noise.avi", "empty.avi", "text.mp4"):
        for read in (read_video, count_frames):
            with pytest.raises(ValueError, match=rf"{name}: not a video that can be read: .* expected AVI"):
                read(tmp_path / name)
    for name, found in (("folder.avi", "a folder"), ("missing.avi", "no such file")):
        with pytest.raises(FileNotFoundError, match=f"{name}: {found}; expected a video file"):
            read_video(tmp_path / name)
    assert "WARN" not in capfd.readouterr().err  # the error says it, once


@pytest.mark.usefixtures("either_decoder")
def test_playlists_are_not_followed(tmp_path):
    """FFmpeg knows scripts by their content, not their name, and would open the files and addresses in them."""
    film = write(tmp_path / "film.avi")
    for name, text in (
        ("concat.avi", f"ffconcat version 1.0\nfile {film}\n"),
        ("hls.mp4", f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{film}\n#EXT-X-ENDLIST\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"{name}: not a video that can be read"):
            read_video(tmp_path / name)


def test_absurd_sizes_are_refused_by_the_header(tmp_path):
    """The few bytes behind these headers cannot hold such frames: decoding first would end in another error."""
    large = write(tmp_path / "large.avi", codec="I420")
    content = bytearray(large.read_bytes())
    size = content.find(b"strf") + 12
    content[size : size + 8] = struct.pack("<ii", 10000, 10000)
    large.write_bytes(content)
    with pytest.raises(ValueError, match=r"large\.avi: states 12 frames of 10000x10000, expected at most 16,777,216"):
        read_video(large)
    long = write(tmp_path / "long.avi")
    content = bytearray(long.read_bytes())
    count = content.find(b"strh") + 40
    content[count : count + 4] = struct.pack("<I", 2**31 - 1)
    long.write_bytes(content)
    with pytest.raises(ValueError, match=r"long\.avi: states 2147483647 frames of 70x48"):
        count_frames(long)


@pytest.mark.usefixtures("either_decoder")
def test_memory_is_bounded_by_what_is_kept(tmp_path, monkeypatch):
    """A small file can decode to more than a machine holds; small or few frames of it are still welcome."""
    path = write(tmp_path / "film.avi")
    monkeypatch.setattr(videos_module, "MAX_BYTES", 3 * 48 * 70 * 3)
    with pytest.raises(
        ValueError, match=r"film\.avi: 12 or more frames of 70x48x3, expected at most 3 .*image size, stride"
    ):
        read_video(path)
    assert len(read_video(path, stride=4)) == len(read_video(path, frames=3)) == 3
    assert len(read_video(path, image_size=16)) == 12


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"image_size": 0}, {"first": -1}, {"frames": 0}])
def test_numbers_that_make_no_sense(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected at least"):
        read_video(tmp_path, **wrong)
