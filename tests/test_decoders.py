"""Decoders: every frame is what PyAV decodes, with PyAV and without, or the file is refused for the right reason.

Needs no PyTorch, so that `make opencv-floor` runs it with the oldest OpenCV and PyAV that pyproject.toml allows.
"""

import os
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from video_ae.datasets import decoders
from video_ae.datasets.containers import frames_in_container
from video_ae.datasets.videos import SUFFIXES, at_rate, count_frames, frame_rate, read_video, video_frames

av = pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")
hypothesis = pytest.importorskip("hypothesis")
strategies = hypothesis.strategies

MOVES = 3  # pixels per frame


@pytest.fixture(params=["PyAV", "OpenCV"])
def decoder(request, monkeypatch) -> str:
    if request.param == "OpenCV":
        monkeypatch.setattr(decoders, "has_av", lambda: False)
    return request.param


@pytest.fixture
def opencv_alone(monkeypatch) -> None:
    monkeypatch.setattr(decoders, "has_av", lambda: False)


def scene(number: int, height: int, width: int) -> np.ndarray:
    """A smooth background with a square that moves, (H, W, 3)."""
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(20, 200, width, dtype=np.uint8)
    image[..., 1] = np.linspace(180, 40, height, dtype=np.uint8)[:, None]
    image[..., 2] = 90
    left = 2 + MOVES * number % (width - 20)
    image[height // 4 : height // 2, left : left + 16] = (230, 30, 60)
    return image


def noise(number: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def film(
    path: Path,
    codec: str = "mpeg4",
    frames: int = 12,
    size: tuple[int, int] = (48, 64),
    pix_fmt: str = "yuv420p",
    rate: int | Fraction = 25,
    times: list[int] | None = None,
    turned: int = 0,
    container: str | None = None,
    picture: Callable[[int, int, int], np.ndarray] = scene,
    **options: str,
) -> Path:
    """A video of `frames` scenes; of `times`, in milliseconds, where its rate varies."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1  # libvpx once spun for ever, waiting for its threads on a busy machine
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        if turned:
            stream.set_display_rotation(turned)
        for number in range(frames if times is None else len(times)):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24").reformat(format=pix_fmt)
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    if hasattr(os, "sched_setscheduler"):  # SVT-AV1 gives root's whole process real-time priority, and its children too
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return path


def truth(path: Path) -> tuple[list[np.ndarray], int]:
    """All frames by PyAV's own `to_ndarray`, as a player shows them, and how many of them are interlaced."""
    frames = []
    with av.open(str(path)) as file:
        for packet in file.demux(file.streams.best("video")):
            with suppress(av.error.InvalidDataError):
                frames += packet.decode()
        return [frame.to_ndarray(format="rgb24") for frame in frames], sum(frame.interlaced_frame for frame in frames)


def assert_same(found: Any, expected: list[np.ndarray], tolerance: float = 1) -> None:
    """Ten-bit pictures are rounded in another way by OpenCV; garbage differs by 100."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert np.abs(one.astype(int) - other).mean() < tolerance


PROGRESSIVE: list[tuple[str, dict[str, Any]]] = [
    ("a.avi", {}),
    ("a.mp4", {"codec": "libx264", "bf": "3"}),
    ("a.mov", {"codec": "libx264", "pix_fmt": "yuv444p", "size": (47, 63)}),
    ("a.m4v", {"container": "mp4"}),
    ("a.mkv", {"codec": "libx264", "x264-params": "pic-struct=1:nal-hrd=vbr:vbv-maxrate=900:vbv-bufsize=900"}),
    ("a.webm", {"codec": "libvpx-vp9"}),
    ("a.3gp", {"codec": "libx264"}),
    ("a.ts", {"codec": "libx264"}),
    ("a.m2ts", {"codec": "libx264", "container": "mpegts", "mpegts_m2ts_mode": "1"}),
    ("b.ts", {"codec": "mpeg2video"}),
    ("a.mpg", {"codec": "mpeg2video", "bf": "2"}),
    ("b.mpg", {"codec": "mpeg1video"}),
    ("a.vob", {"codec": "mpeg2video", "container": "vob"}),
    ("a.m2v", {"codec": "mpeg2video"}),
    ("a.wmv", {"codec": "wmv2"}),
    ("a.flv", {"codec": "libx264"}),
    ("b.flv", {"codec": "flv"}),
    ("a.h264", {"codec": "libx264"}),
    ("b.mp4", {"codec": "libx264", "pix_fmt": "gray"}),
    ("c.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "x265-params": "log-level=0"}),
    ("d.mp4", {"codec": "libx264", "frames": 1}),
    ("e.mp4", {"codec": "libx264", "movflags": "frag_keyframe+empty_moov", "g": "4"}),
    ("f.mp4", {"size": (18, 34)}),
    ("b.avi", {"codec": "mjpeg", "pix_fmt": "yuvj444p", "size": (37, 53)}),
    ("c.avi", {"codec": "libx264", "bf": "3"}),
    ("d.avi", {"codec": "huffyuv", "pix_fmt": "yuv422p"}),
]


@pytest.mark.parametrize(("name", "options"), PROGRESSIVE, ids=[name for name, _ in PROGRESSIVE])
def test_progressive_videos_are_read_by_either(tmp_path, decoder, name, options):
    """A whole file of a common codec is refused by neither, and both give the same pixels."""
    path = film(tmp_path / name, **options)
    expected, interlaced = truth(path)
    assert interlaced == 0
    assert_same(read_video(path), expected, tolerance=4 if "10le" in options.get("pix_fmt", "") else 1)
    assert count_frames(path) == len(expected)
    assert path.suffix in (*SUFFIXES, ".h264")


NTSC = Fraction(30000, 1001)
FIELDS = {"flags": "+ilme+ildct"}
INTERLACED: list[tuple[str, dict[str, Any]]] = [
    ("a.mp4", {"codec": "libx264", **FIELDS, "x264-params": "tff=1"}),
    ("a.mkv", {"codec": "libx264", **FIELDS, "x264-params": "bff=1:pic-struct=1"}),
    ("a.ts", {"codec": "libx264", **FIELDS, "x264-params": "tff=1:bframes=3:keyint=5"}),
    ("a.mpg", {"codec": "mpeg2video", **FIELDS}),
    ("a.vob", {"codec": "mpeg2video", **FIELDS, "container": "vob"}),
    ("a.avi", {**FIELDS}),
    ("a.mov", {**FIELDS}),
    ("b.mkv", {"codec": "libx265", "x265-params": "interlace=tff:log-level=0"}),
    (
        "b.avi",
        {"codec": "dvvideo", "pix_fmt": "yuv411p", "size": (480, 720), "rate": Fraction(30000, 1001), "frames": 3},
    ),
    ("b.dv", {"codec": "dvvideo", "pix_fmt": "yuv411p", "size": (480, 720), "rate": NTSC, "frames": 3}),
    ("c.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le", **FIELDS}),
    ("d.mov", {"codec": "png", "pix_fmt": "rgb24", **FIELDS}),
]


@pytest.mark.parametrize(("name", "options"), INTERLACED, ids=[name for name, _ in INTERLACED])
def test_interlaced_frames_are_right_or_refused(tmp_path, decoder, name, options):
    """OpenCV 4.13 and 5.0 return what was in memory, for every frame and without an error."""
    path = film(tmp_path / name, **options)
    expected, interlaced = truth(path)
    assert interlaced == len(expected)
    if decoder == "PyAV":
        assert_same(read_video(path), expected)
        return
    for read in (read_video, count_frames):
        with pytest.raises(
            ValueError, match=rf'^{path}: (interlaced|codec).*pip install "video-ae\[decode\]".* ffmpeg'
        ):
            read(path)


def test_some_interlaced_frames_among_others(tmp_path, decoder):
    """The header of the stream says nothing of its later frames, and the last right picture would be repeated."""
    first = film(tmp_path / "first.m2v", "mpeg2video").read_bytes()
    last = film(tmp_path / "last.m2v", "mpeg2video", **FIELDS).read_bytes()
    path = tmp_path / "both.m2v"
    path.write_bytes(first + last)
    expected, interlaced = truth(path)
    assert 0 < interlaced < len(expected)
    if decoder == "PyAV":
        assert_same(read_video(path), expected)
    else:
        with pytest.raises(ValueError, match=r"both\.m2v: interlaced"):
            read_video(path)


@pytest.mark.parametrize(("suffix", "codec"), [(".m2v", "mpeg2video"), (".h264", "libx264"), (".m4v", "mpeg4")])
def test_frames_that_change_their_size(tmp_path, decoder, suffix, codec):
    """OpenCV 4.12 returns garbage of the first size, later ones scale to it, and none says so."""
    raw = {"container": "m4v"} if suffix == ".m4v" else {}
    parts = [film(tmp_path / f"{size[0]}{suffix}", codec, size=size, **raw) for size in ((48, 64), (64, 96))]
    path = tmp_path / f"both{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(
        ValueError, match=rf"both\{suffix}: frame.* (is 96x64, expected 64x48|change their size, which)"
    ):
        read_video(path)


def test_motion_jpeg_of_two_fields(tmp_path, decoder):
    """Two pictures of half the height in one packet; the header of the file has the full height."""
    path = tmp_path / "fields.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 64, "yuvj420p"
        for number in range(4):
            picture = scene(number, 96, 64)[..., ::-1]
            fields = b"".join(cv2.imencode(".jpg", picture[field::2])[1].tobytes() for field in (0, 1))
            packet = av.Packet(fields)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            packet.is_keyframe = True
            out.mux(packet)
    if decoder == "PyAV":
        assert_same(read_video(path), truth(path)[0])
    else:
        with pytest.raises(ValueError, match=r"fields\.avi: interlaced"):
            read_video(path)


def test_a_codec_that_opencv_cannot_decode_is_no_damage(tmp_path, decoder):
    """Of AV1 OpenCV decodes no frame, which used to be called damage; and FFV1 may be interlaced unseen."""
    for name, codec in (("a.mp4", "libsvtav1"), ("b.mkv", "ffv1")):
        path = film(tmp_path / name, codec, size=(64, 64))
        if decoder == "PyAV":
            assert_same(read_video(path), truth(path)[0])
            continue
        with pytest.raises(ValueError, match=rf"{name}: codec (AV01|av01|ffv1), which OpenCV .*decode\]") as raised:
            read_video(path)
        assert "damaged" not in str(raised.value)


# Cuts, lost frames, what else is in a file


def remuxed(source: Path, path: Path, keep: Callable[[int, Any], bool]) -> Path:
    """The packets of a video that are kept, by number, as they are, in another container."""
    with av.open(str(source)) as file, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        for number, packet in enumerate(file.demux(video=0)):
            if packet.size and keep(number, packet):
                packet.stream = stream
                out.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:b-adapt=0:scenecut=0"}),
        ("libx265", {"x265-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:b-adapt=0:scenecut=0:log-level=0"}),
        ("mpeg2video", {"bf": "2", "g": "9", "sc_threshold": "1000000000"}),
    ],
)
def test_cuts_without_encoding_anew_are_whole(tmp_path, decoder, suffix, codec, options):
    """A cut begins with frames that need others from before it. No player shows them, and nothing is damaged."""
    whole = film(
        tmp_path / ("whole.ts" if suffix == ".ts" else "whole.mp4"),
        codec,
        40,
        picture=lambda *where: scene(*where) ^ np.uint8(5),
        **options,
    )
    with av.open(str(whole)) as file:
        keys = [number for number, packet in enumerate(file.demux(video=0)) if packet.is_keyframe]
    path = remuxed(whole, tmp_path / f"cut{suffix}", lambda number, packet: number >= keys[1])
    expected, _ = truth(path)
    in_file = 40 - keys[1]
    assert 20 < len(expected) <= in_file
    if decoder == "PyAV" or frames_in_container(path) in (None, len(expected)):
        assert_same(read_video(path), expected)
        assert count_frames(path) == len(expected)
        return
    lost = in_file - len(expected)
    with pytest.raises(ValueError, match=rf"{len(expected)} of its {in_file} .*cut.* \(--max-lost-frames {lost}\)"):
        read_video(path)
    assert_same(read_video(path, max_lost_frames=lost), expected)


def test_lost_frames_are_an_error_that_can_be_allowed(tmp_path, decoder):
    """The frame is there and its packet is whole, but nothing decodes: a video that is silently shorter by one."""
    path = film(tmp_path / "film.avi", "mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    fifth = -1
    for _ in range(5):
        fifth = content.find(b"00dc", fifth + 1)
    size = int.from_bytes(content[fifth + 4 : fifth + 8], "little")
    content[fifth + 8 : fifth + 8 + size] = bytes(size)
    path.write_bytes(content)
    if decoder == "OpenCV":  # gives up there
        with pytest.raises(ValueError, match=r"film\.avi: . of its 12 frames .*\(--max-lost-frames .\)"):
            read_video(path)
        return
    with pytest.raises(ValueError, match=r"film\.avi: 11 of its 12 frames .*\(--max-lost-frames 1\)"):
        read_video(path)
    with pytest.raises(ValueError, match="11 of its 12"):
        list(video_frames(path))
    assert len(read_video(path, max_lost_frames=1)) == count_frames(path, max_lost_frames=1) == 11
    with pytest.raises(ValueError, match="lost frames -1: expected at least 0"):
        read_video(path, max_lost_frames=-1)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mjpeg"), ("a.mp4", "libx264"), ("a.mkv", "libx264")])
def test_frames_lost_right_behind_the_first_are_no_head_of_a_cut(tmp_path, decoder, name, codec):
    """Frames that need others from before the cut are shown before its key frame; these come after it: a shorter video
    without an error."""
    options = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {"bf": "0"}
    path = film(tmp_path / name, codec, **options)
    with av.open(str(path)) as file:
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    content = path.read_bytes()
    for packet in packets[1:3]:
        assert content.count(packet) == 1
        content = content.replace(packet, bytes(len(packet)))
    path.write_bytes(content)
    assert len(truth(path)[0]) < 12
    with pytest.raises(ValueError, match=r"of its 12 frames decode, expected all"):
        read_video(path)


def test_what_lies_behind_a_whole_video_is_passed_over(tmp_path, decoder):
    for name, junk in (("a.mp4", b"\0"), ("a.mkv", b"\0"), ("a.avi", b"\0"), ("b.mp4", b"\xa5"), ("b.mkv", b"\xa5")):
        path = film(tmp_path / name, "libx264")
        expected, _ = truth(path)
        path.write_bytes(path.read_bytes() + 999 * junk)
        assert_same(read_video(path), expected)


def test_the_picture_on_the_cover_is_not_the_video(tmp_path, decoder):
    path = tmp_path / "album.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        cover = out.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 96, 96, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for number in range(12):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(scene(number, 48, 64), "rgb24")))
        out.mux(stream.encode(None))
        out.mux(cover.encode(av.VideoFrame.from_ndarray(scene(0, 96, 96), "rgb24")))
        out.mux(cover.encode(None))
    expected, _ = truth(path)
    assert expected[0].shape == (48, 64, 3)
    assert_same(read_video(path), expected)


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_videos_of_turned_phones_come_out_upright(tmp_path, decoder, turned):
    """A player turns them: FFmpeg's display matrix is counter-clockwise, as `np.rot90` is."""
    path = film(tmp_path / "phone.mp4", "libx264", turned=turned)
    upright = [np.rot90(frame, turned // 90) for frame in truth(path)[0]]
    assert_same(read_video(path), upright)
    small = read_video(path, image_size=(20, 12))
    assert (
        np.abs(small[3].astype(int) - cv2.resize(upright[3].copy(), (12, 20), interpolation=cv2.INTER_AREA)).max() < 2
    )


def test_what_is_in_no_container_is_refused(tmp_path, decoder):
    for name, content in (("a.mkv", b"GZIPS" * 300), ("a.ts", b"#EXTM3U\n" * 90), ("b.wmv", b"ffconcat version 1.0\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: not a video that can be read"):
            read_video(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.ts", "libx264"), ("a.wmv", "wmv2"), ("a.flv", "libx264"), ("a.mxf", "mpeg2video"), ("a.dv", "dvvideo")],
)
def test_newer_containers_that_are_cut_off_or_have_holes(tmp_path, name, codec):
    """FFmpeg returns the frames until there, and no error."""
    size, frames = ((576, 720), 4) if codec == "dvvideo" else ((64, 64), 40)
    path = film(tmp_path / name, codec, frames, size, picture=noise)
    content = path.read_bytes()
    assert len(read_video(path)) == frames
    assert frames_in_container(path) in (None, frames)
    for share in (0.2, 0.5, 0.9):
        cut = int(share * len(content)) | 1
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=rf"^{path}: "):
            read_video(path)
        if name not in ("a.wmv", "a.dv"):
            path.write_bytes(content[:cut] + content[cut + 188 :])
            with pytest.raises(ValueError, match=rf"^{path}: "):
                read_video(path)


def test_recordings_one_after_the_other_are_no_hole(tmp_path, decoder):
    """`cat a.ts b.ts`: the numbers of the packets begin anew."""
    one = film(tmp_path / "one.ts", "libx264").read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(one + one)
    assert len(read_video(path)) == len(truth(path)[0]) == 24


# GIFs


def test_gifs_are_put_together_as_pillow_does(tmp_path):
    """Transparent pixels over a kept, a cleared and a restored picture; nothing there at all is white."""
    path = tmp_path / "layers.gif"
    layers = []
    for number in range(4):
        layer = np.zeros((40, 50, 4), np.uint8)
        layer[5 * number : 5 * number + 12, 8 * number : 8 * number + 20] = (60 * number, 200 - 50 * number, 90, 255)
        layers.append(Image.fromarray(layer))
    layers[0].save(path, save_all=True, append_images=layers[1:], disposal=[1, 2, 3, 1], duration=[40, 80, 0, 40])
    with Image.open(path) as picture:
        expected = []
        for number in range(picture.n_frames):
            picture.seek(number)
            canvas = Image.new("RGBA", picture.size, "white")
            canvas.alpha_composite(picture.convert("RGBA"))
            expected.append(np.asarray(canvas.convert("RGB")))
    assert np.array_equal(read_video(path), expected)
    assert (read_video(path)[0, -1, -1] == 255).all()


def test_a_damaged_gif_is_refused(tmp_path):
    """Pillow counts the pixels of every picture; the blocks are so much alike that the structure may look whole."""
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(0, 255, (40, 50), dtype=np.uint8)) for _ in range(8)]
    path = tmp_path / "noise.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    content = path.read_bytes()
    for start in range(1000, len(content) - 1000, 1111):
        for middle in (b"", bytes(700)):
            path.write_bytes(content[:start] + middle + content[start + 700 :])
            with pytest.raises(ValueError, match=rf"^{path}: "):
                read_video(path)


def test_pictures_without_a_delay_are_no_frames(tmp_path):
    """FFmpeg joins them to the picture before. Catches a healthy GIF that is called damaged because it has too few."""
    pictures = [Image.fromarray(np.full((40, 50), 20 * k, np.uint8)) for k in range(8)]
    path = tmp_path / "slides.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], optimize=False)
    with pytest.raises(ValueError, match=r"slides\.gif: picture 1 has no delay of its own, .* give it one"):
        read_video(path)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], optimize=False, duration=40)
    assert len(read_video(path)) == 8


# Time


def shown(times: list[float], last: float, fps: float) -> list[int]:
    """By brute force: which frame is on the screen at every moment."""
    moments = []
    while not moments or times[0] + len(moments) / fps < last - 0.001:
        moment = times[0] + len(moments) / fps
        moments.append(max(number for number, time in enumerate(times) if time <= moment + 0.001))
    return moments


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_videos_of_two_rates_become_the_same(tmp_path, decoder, suffix):
    """25 and 50 frames per second of one movement: the same number of frames, and the same positions."""
    where = {}
    for rate in (25, 50):
        path = film(
            tmp_path / f"{rate}{suffix}", "libx264", rate, rate=rate, crf="1",
            picture=lambda number, height, width, rate=rate: scene(100 * number // rate // 6, height, width),
        )  # fmt: skip
        assert frame_rate(path) == rate
        frames = read_video(path, fps=12.5)
        assert count_frames(path, fps=12.5) == len(frames)
        where[rate] = frames
    assert len(where[25]) == len(where[50]) == 13
    assert np.abs(where[25].astype(int) - where[50]).mean() < 2


def test_frames_are_taken_by_their_times(tmp_path, decoder):
    """A rate that varies, up and down: against the frame that is on the screen at every moment."""
    random = np.random.default_rng(0)
    for fps in (4, 10, 30, 100):
        times = np.cumsum(random.integers(5, 90, 20)).tolist()
        path = film(tmp_path / f"{fps}.mkv", "libx264", times=times, crf="1")
        frames, seconds = truth(path)[0], [time / 1000 for time in times]
        end = seconds[-1] + (seconds[-1] - seconds[0]) / 19
        chosen = shown(seconds, end, fps)
        found = read_video(path, fps=fps)
        assert_same(found, [frames[number] for number in chosen])
        assert_same(read_video(path, fps=fps, first=2, frames=3), [frames[number] for number in chosen[2:5]])


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    steps=strategies.lists(strategies.integers(1, 200), min_size=1, max_size=30),
    fps=strategies.floats(0.5, 120),
)
def test_any_times_and_rates(steps, fps):
    """The frame on the screen at every moment, for times that no encoder would write as well."""
    seconds = (np.cumsum(steps) / 1000).tolist()
    end = seconds[-1] + (seconds[-1] - seconds[0]) / max(1, len(seconds) - 1)
    frames = [decoders.Frame(time, lambda: None) for time in seconds]
    found = [frame.seconds for frame in at_rate(iter(frames), fps)]
    assert found == [seconds[number] for number in shown(seconds, end, fps)]


def test_rates_that_make_no_sense(tmp_path):
    path = film(tmp_path / "film.mp4")
    for fps in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="frames per second: expected more than 0"):
            read_video(path, fps=fps)
    with pytest.raises(ValueError, match="stride 2 and 5 frames per second: expected one of them"):
        video_frames(path, stride=2, fps=5)
    assert len(read_video(film(tmp_path / "one.mp4", frames=1), fps=7)) == 1


# Shape and memory


def test_a_rectangle_shows_the_whole_frame(tmp_path, decoder):
    """One number keeps the centre square, and what happens at the sides of a street is never seen."""
    path = film(tmp_path / "street.mp4", "libx264", size=(48, 96))
    wide = read_video(path, image_size=(24, 32), grey=True)
    for found, frame in zip(wide, truth(path)[0], strict=True):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        assert np.abs(found[..., 0].astype(int) - cv2.resize(grey, (32, 24), interpolation=cv2.INTER_AREA)).max() <= 2
    with pytest.raises(ValueError, match="image size 0: expected at least 1"):
        read_video(path, image_size=(24, 0))


def test_frame_by_frame_holds_only_a_few(tmp_path, decoder):
    """Hours of video: read_video needs room for all frames, video_frames does not."""
    path = film(tmp_path / "long.mp4", "libx264", 60, (192, 256))
    whole = read_video(path)
    tracemalloc.start()
    for index, frame in enumerate(video_frames(path)):
        assert np.array_equal(frame, whole[index])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert index == 59
    assert peak < whole.nbytes / 4
    frames = video_frames(path, first=3)
    assert np.array_equal(next(frames), whole[3])
    frames.close()  # no error for frames that nobody asked for


# Anything


def test_opencv_alone_is_right_or_refuses(tmp_path, opencv_alone):
    """Whatever codec, container, shape and options: PyAV's frames, or one line with the way out; 200 videos."""
    codecs = ("libx264", "mpeg4", "mpeg2video", "mjpeg", "libvpx", "huffyuv", "ffv1")

    @hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
    @hypothesis.given(
        codec=strategies.sampled_from(codecs),
        suffix=strategies.sampled_from((".mkv", ".avi", ".mov", ".mp4")),
        height=strategies.integers(8, 20),
        width=strategies.integers(8, 20),
        frames=strategies.integers(1, 5),
        fields=strategies.sampled_from(({}, {"flags": "+ilme+ildct"}, {"x264-params": "tff=1"})),
        b_frames=strategies.integers(0, 2),
    )
    def check(codec, suffix, height, width, frames, fields, b_frames):
        path = tmp_path / f"film{suffix}"
        size = (2 * height, 2 * width + 16)
        pix_fmt = {"mjpeg": "yuvj420p", "huffyuv": "yuv422p"}.get(codec, "yuv420p")
        reorder = {"bf": str(b_frames)} if codec in ("libx264", "mpeg4", "mpeg2video") else {}
        try:
            film(path, codec, frames, size, pix_fmt, **fields, **reorder)
            expected, interlaced = truth(path)
        except (av.error.FFmpegError, ValueError):
            hypothesis.reject()  # no such codec in this container
        hypothesis.assume(len(expected) == frames)
        try:
            found = read_video(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            assert "video-ae[decode]" in str(error)  # noqa: PT017
            assert interlaced or codec == "ffv1" or fields
        else:
            assert interlaced == 0
            assert_same(found, expected)

    check()
