"""Video files to frames: PyAV decodes where it is installed, OpenCV where it is not.

Both are FFmpeg and give the same pixels. But OpenCV 4.13 and 5.0 leave interlaced frames unconverted without saying so,
hence OpenCV alone is given nothing that `interlaced.py` cannot tell to be progressive.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from .capture import open_capture
from .interlaced import doubts

if TYPE_CHECKING:
    import av
THREADS = 4  # of a decoder; each holds frames
_FORMATS = (  # of FFmpeg, by its names; none of them leads to other files
    "avi", "mov", "matroska", "mpeg", "mpegts", "mpegvideo", "h264", "hevc", "m4v", "asf", "flv", "ogg", "dv", "mxf",
    "gif",
)  # fmt: skip
_HEAD = 64  # packets in which leading frames are looked for; codecs reorder at most 16

Picture = npt.NDArray[np.uint8]


class Place(NamedTuple):
    """Where a frame is in its file: its own stamp there, and that of the frame from which to decode to get it."""

    stamp: int
    start: int


class Frame(NamedTuple):
    """A decoded frame. `image` gives it in RGB, (H, W, 3), or None where that fails."""

    seconds: float  # when it is shown; the first of a video may have any time, the others later ones
    image: Callable[[], Picture | None]
    place: Place | None = None  # None where the decoder or the file does not say, or says the same of two frames


class Decoder(Protocol):
    """An open video. What the header states: `height` and `width`, before rotation, `stated` frames, `rate` per second.

    While frames are read, `broken` counts what is in the file and does not decode, `leading` the frames at its head
    that need others from before it: those of a video that was cut without encoding it anew, which no player shows.
    """

    height: int
    width: int
    stated: int
    rate: float
    broken: int
    leading: int

    def frames(self, *, lasting: bool, start: int | None = None) -> Iterator[Frame]:
        """The frames in the order of time. An `image` may be asked for until the next frame is, longer if `lasting`.

        From `start` on, the `Place.start` of a frame, those come that need nothing from before it, and perhaps others
        before them. Raises ValueError where the file has no way there.
        """

    def close(self) -> None: ...


def open_decoder(path: Path, max_pixels: int, threads: int = THREADS) -> Decoder:
    """The decoder for a file that has the structure of a video.

    Raises ValueError, without the file's name, where it cannot be decoded, or not rightly by what is installed. Frames
    of more than `max_pixels` pixels do not decode where the decoder can tell in time.
    """
    return _PyAV(path, max_pixels, threads) if has_av() else _OpenCV(path)


def has_av() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def _same(picture: Picture | None) -> Picture | None:
    return picture


class _Rising:
    """Times that always rise: a stamp that is missing or does not rise is the one before and the usual step."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate
        self._last: float | None = None

    def __call__(self, stamp: float | None) -> float:
        if self._last is None:
            self._last = stamp or 0.0
        else:
            self._last = stamp if stamp is not None and stamp > self._last else self._last + self._step
        return self._last


class _Packet(NamedTuple):
    """Which packet of a file this is, and where the frame in it is."""

    number: int
    place: Place | None


def _place(stamp: int | None, keys: tuple[int | None, int | None]) -> Place | None:
    """Of the frame with this stamp, behind two key frames: if it is shown before the last, it needs the other."""
    last, before = keys
    if stamp is None or last is None:
        return None
    return Place(stamp, last if stamp >= last or before is None else before)


def _any_metadata(version: str) -> dict[str, Any]:
    """What `av.open` is told so that titles that are not UTF-8 are no errors: from PyAV 19 on they never are."""
    return {} if int(version.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}


class _PyAV:
    def __init__(self, path: Path, max_pixels: int, threads: int) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self.broken = self.leading = 0
        self._reformatter = VideoReformatter()
        options = {"format_whitelist": ",".join(_FORMATS), "protocol_whitelist": "file"}
        try:
            self._container = av.open(f"file:{path.absolute()}", options=options, **_any_metadata(av.__version__))
        except (av.error.FFmpegError, ValueError) as error:
            raise ValueError(f"not a video that can be read: {getattr(error, 'strerror', error)}") from error
        try:
            stream = self._container.streams.best("video")
            if not isinstance(stream, av.VideoStream):
                raise ValueError("found no pictures in it, expected a video")
            if stream.codec_context is None:
                raise ValueError("its codec is unknown to PyAV, expected a common one; convert it")
        except ValueError:
            self._container.close()
            raise
        self._stream = stream
        context = stream.codec_context
        context.thread_type, context.thread_count = "AUTO", threads
        context.copy_opaque = True
        context.options = {"max_pixels": str(max_pixels)}
        self.height, self.width, self.stated = context.height, context.width, stream.frames
        self.rate = float(stream.guessed_rate or stream.average_rate or 25)

    def frames(self, *, lasting: bool, start: int | None = None) -> Iterator[Frame]:
        import av

        if start is not None:
            try:
                self._container.seek(start, stream=self._stream)
            except av.error.FFmpegError as error:
                raise ValueError(f"found no way to {start}: {error.strerror}") from error
        rising, seen = _Rising(self.rate), set[int]()
        # AVI files have no times of showing, only an order of decoding.
        by_order = self._container.format.name == "avi"
        for frame in self._decoded():
            stamp = frame.dts if by_order else frame.pts
            seconds = rising(None if stamp is None else stamp * float(self._stream.time_base or 1))
            place = frame.opaque.place if isinstance(frame.opaque, _Packet) else None
            if place is not None and place.stamp in seen:
                place = None
            elif place is not None:
                seen.add(place.stamp)
            yield Frame(seconds, functools.partial(self._image, frame), place)

    def _image(self, frame: av.VideoFrame) -> Picture:
        # One thread: it is the fastest, as the frames are small beside what starting others costs.
        image = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray().astype(np.uint8, copy=False)
        quarters = round(frame.rotation / 90) % 4  # counter-clockwise; others than OpenCV turns are left alone
        return np.ascontiguousarray(np.rot90(image, quarters)) if frame.rotation % 90 == 0 else image

    def _decoded(self) -> Iterator[av.VideoFrame]:
        import av

        first_key, key_time, number = None, None, -1
        keys: tuple[int | None, int | None] = None, None  # the stamps of the last key frame and of the one before
        missing: dict[object, int | None] = {}  # of the first packets those that gave no frame yet, and their times
        packets = self._container.demux(self._stream)
        shown = False
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.FFmpegError:
                self.broken += 1  # the demuxer found no way on
                break
            if packet.size:
                number += 1
                stamp = packet.dts if packet.pts is None else packet.pts
                if packet.is_keyframe or number == 0:
                    keys = stamp, keys[0]
                packet.opaque = _Packet(number, _place(stamp, keys))
                if packet.is_keyframe and first_key is None:
                    first_key, key_time = number, packet.pts
                if number < _HEAD:
                    missing[number] = packet.pts
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self.broken += shown
                frames = []
            for frame in frames:
                shown = True
                missing.pop(frame.opaque.number if isinstance(frame.opaque, _Packet) else None, None)
                yield frame
        if first_key is not None and first_key not in missing:
            for number in range(first_key + 1, _HEAD):
                time = missing.get(number)
                if number in missing and time is not None and key_time is not None and time > key_time:
                    del missing[number]  # shown after the key frame, so nothing from before it is needed: it is damaged
            behind = next(number for number in range(first_key + 1, _HEAD + 1) if number not in missing)
            self.leading = sum(number in missing for number in range(behind))

    def close(self) -> None:
        self._container.close()


class _OpenCV:
    broken = leading = 0  # it passes over both

    def __init__(self, path: Path) -> None:
        if (doubt := doubts(path)) is not None:
            raise ValueError(doubt)
        self._capture = open_capture(path, [cv2.CAP_PROP_N_THREADS, THREADS])
        if not self._capture.isOpened():
            self.close()
            raise ValueError("not a video that OpenCV can read; expected one such as .avi or .mp4")
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        stated = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)  # below zero where the header states none
        self.stated = max(0, int(stated))
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 25.0

    def frames(self, *, lasting: bool, start: int | None = None) -> Iterator[Frame]:
        return captured(self._capture, self.rate, lasting=lasting)

    def close(self) -> None:
        self._capture.release()


def captured(capture: cv2.VideoCapture, rate: float, *, lasting: bool) -> Iterator[Frame]:
    """The frames that OpenCV still has to give, see `Decoder.frames`; `rate` tells their times where it does not."""
    rising = _Rising(rate)
    image = functools.partial(_retrieved, capture)
    while capture.grab():
        seconds = rising(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        yield Frame(seconds, functools.partial(_same, image()) if lasting else image)


def _retrieved(capture: cv2.VideoCapture) -> Picture | None:
    decoded, frame = capture.retrieve()
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False) if decoded else None
