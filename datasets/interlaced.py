"""Whether OpenCV alone can be trusted with a video: whether all frames are certainly progressive and of one size.

OpenCV 4.13 and 5.0 return what was in memory before where a frame is interlaced, 4.12 where it is of another size, and
call it decoded. None of their properties shows it. So the packets are examined as they are in the file, before they
are decoded: every header of every frame that can say "interlaced", of the codecs for which we know them. Where one says
so, or the codec is another, another decoder is needed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

import cv2

from .capture import open_capture

EXTRA = 'pip install "video-ae[decode]"'

_ALWAYS_PROGRESSIVE = {
    b"vp80", b"vp90", b"vp09", b"theo", b"flv1", b"h263", b"s263", b"wmv1", b"wmv2", b"div3", b"mp42", b"mp43",
    b"cvid", b"rle ", b"hfyu", b"ffvh", b"gif ", b"gif\0",
}  # fmt: skip

_Finding = Hashable  # `_FIELDS`, or the size of frames
_Examine = Callable[[bytes], Iterator[_Finding]]  # of a packet
_FIELDS = "fields"


def doubts(path: Path) -> str | None:
    """Why the frames of a video may come out wrong with OpenCV alone, and what to do; None where they do not.

    A file that OpenCV cannot open is beyond doubt: it will have no frames.
    """
    capture = open_capture(path, [cv2.CAP_PROP_FORMAT, -1])
    try:
        if not capture.isOpened():
            return None
        codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(8, "little", signed=True)[:4]
        if codec.lower() in _ALWAYS_PROGRESSIVE:
            return None
        examine = _examiners(int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))).get(codec.lower())
        sizes: set[_Finding] = set()
        if examine is not None:
            for packet in _packets(capture):
                sizes.update(examine(packet))
                if _FIELDS in sizes:
                    break
    finally:
        capture.release()
    if not sizes:
        name = codec.decode("ascii", "backslashreplace").strip("\0 ")
        found = f"codec {name or 'without a name'}, which OpenCV alone may not decode rightly"
    elif _FIELDS in sizes:
        found = "interlaced, or able to be by its headers, which OpenCV alone decodes to garbage"
    elif len(sizes) > 1:
        found = "frames that change their size, which OpenCV alone does not notice"
    else:
        return None
    return f"{found}; {EXTRA}, or convert it: ffmpeg -i {shlex.quote(str(path))} -vf yadif=deint=interlaced OUT.mp4"


def _packets(capture: cv2.VideoCapture) -> Iterator[bytes]:
    """The head of the stream, then every packet of it, undecoded."""
    _, head = capture.retrieve(flag=int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX)))
    if head is not None:
        yield head.tobytes()
    while capture.grab():
        _, packet = capture.retrieve()
        if packet is not None:
            yield packet.tobytes()


def _examiners(height: int) -> dict[bytes, _Examine]:
    """What examines packets, by codec as OpenCV names it in lower case."""
    by_codec: dict[_Examine, tuple[bytes, ...]] = {
        _H264(): (b"h264", b"avc1", b"avc3", b"x264"),
        _hevc: (b"hevc", b"hvc1", b"hev1", b"h265"),
        _mpeg2: (b"mpg1", b"mpg2", b"pim1", b"m2v1", b"mp2v"),
        _mpeg4: (b"fmp4", b"mp4v", b"xvid", b"divx", b"dx50", b"m4s2"),
        lambda packet: _mjpeg(packet, height): (b"mjpg", b"jpeg"),
    }
    return {codec: examine for examine, codecs in by_codec.items() for codec in codecs}


class _Bits:
    """A header, bit by bit. Bits behind its end are 0."""

    def __init__(self, content: bytes) -> None:
        self._value, self._left = int.from_bytes(content + bytes(8), "big"), 8 * len(content) + 64

    def __call__(self, count: int) -> int:
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1) if self._left >= 0 else 0

    def golomb(self, count: int = 1) -> int:
        """The last of `count` unsigned numbers in exponential Golomb code."""
        number = 0
        for _ in range(count):
            zeros = 0
            while not self(1) and zeros < 32:
                zeros += 1
            number = (1 << zeros) - 1 + self(zeros)
        return number

    def skip_optional(self, count: int) -> None:
        """A flag and, where it is set, `count` bits more."""
        self(count * self(1))

    def signed_golomb(self) -> int:
        number = self.golomb()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def _units(packet: bytes, starts: re.Pattern[bytes]) -> Iterator[bytes]:
    """The units of a packet that begin with one of `starts`, without what keeps start codes out of them."""
    for start in starts.finditer(packet):
        end = packet.find(b"\0\0\1", start.end())
        yield packet[start.start() + 3 : end if end >= 0 else len(packet)].replace(b"\0\0\3", b"\0\0")


# H.264 (ITU-T H.264, 7.3.2.1 and D.1): a stream of frames only may still say that it was recorded in fields.

_H264_UNITS = re.compile(rb"\x00\x00\x01[\x06\x07\x27\x47\x67]")
_H264_HIGH = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}  # profiles with more in their header
_H264_FRAMES, _PICTURE_TIMING = (0, 7, 8), 1


class _H264:
    def __init__(self) -> None:
        self._delays: set[int] = set()  # bits before the shape of a picture in its timing, by header so far

    def __call__(self, packet: bytes) -> Iterator[_Finding]:
        if packet[:1] == b"\1":  # the head as MP4 and Matroska have it: a unit follows its length
            packet = b"\0\0\1" + packet[8:]
        for unit in _units(packet, _H264_UNITS):
            if unit[0] & 31 == 7:
                yield self._size(_Bits(unit[1:]))
            elif any(kind == _PICTURE_TIMING and self._in_fields_by(timing) for kind, timing in _messages(unit[1:])):
                yield _FIELDS

    def _in_fields_by(self, timing: bytes) -> bool:
        for delays in self._delays:
            bits = _Bits(timing)
            bits(delays)
            if bits(4) not in _H264_FRAMES or (bits(1) and bits(2) == 1):
                return True
        return False

    def _size(self, bits: _Bits) -> _Finding:
        """What a sequence header says. Notes where its pictures' timing tells of fields."""
        profile = bits(8)
        bits(16)
        bits.golomb()
        if profile in _H264_HIGH:
            chroma = bits.golomb()
            bits(chroma == 3)
            bits.golomb(2)
            bits(1)
            if bits(1):
                for number in range(12 if chroma == 3 else 8):
                    if bits(1):
                        _skip_scaling(bits, 16 if number < 6 else 64)
        bits.golomb()
        if (order := bits.golomb()) == 0:
            bits.golomb()
        elif order == 1:
            bits(1)
            bits.golomb(2)
            bits.golomb(min(bits.golomb(), 255))
        bits.golomb()
        bits(1)
        size = bits.golomb(), bits.golomb()
        if not bits(1):
            return _FIELDS
        bits(1)
        crop = tuple(bits.golomb() for _ in range(4 * bits(1)))
        if bits(1):
            self._note_timing(bits)
        return size, crop

    def _note_timing(self, bits: _Bits) -> None:
        """Annex E: what is said about how a video is shown."""
        if bits(1) and bits(8) == 255:
            bits(32)
        bits.skip_optional(1)
        if bits(1):
            bits(4)
            bits.skip_optional(24)
        bits.golomb(2 * bits(1))
        bits.skip_optional(65)
        delays = 0
        for _ in range(2):
            if bits(1):
                delays = _buffer_delays(bits)
        if delays:
            bits(1)
        if bits(1):
            self._delays.add(delays)


def _skip_scaling(bits: _Bits, count: int) -> None:
    last = following = 8
    for _ in range(count):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last


def _buffer_delays(bits: _Bits) -> int:
    """How many bits the two delays take that stand before the structure of each picture."""
    count = bits.golomb()
    bits(8)
    for _ in range(min(count, 31) + 1):
        bits.golomb(2)
        bits(1)
    bits(5)
    delays = bits(5) + 1 + bits(5) + 1
    bits(5)
    return delays


def _messages(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and payload of supplemental messages, of H.264 and HEVC alike."""
    at = 0
    while at + 2 < len(content):
        numbers = []  # 255 for every byte that is 255, and the byte that follows
        for _ in range(2):
            end = at
            while content[end : end + 1] == b"\xff":
                end += 1
            numbers.append(255 * (end - at) + int.from_bytes(content[end : end + 1], "big"))
            at = end + 1
        yield numbers[0], content[at : at + numbers[1]]
        at += numbers[1]


# HEVC (ITU-T H.265, D.2.3): fields are said picture by picture. Without that, the same bits begin a delay.

_HEVC_UNITS = re.compile(rb"\x00\x00\x01\x4e")
_HEVC_FIELDS = (1, 2, 9, 10, 11, 12)


def _hevc(packet: bytes) -> Iterator[_Finding]:
    for unit in _units(packet, _HEVC_UNITS):
        if any(kind == _PICTURE_TIMING and _Bits(timing)(4) in _HEVC_FIELDS for kind, timing in _messages(unit[2:])):
            yield _FIELDS
    yield "frames"  # of a size that is too deep in the header


# MPEG-2 (ITU-T H.262, 6.2.3.1) says it of every picture; MPEG-1 has no such header, and no fields.

_MPEG2_PICTURES = re.compile(rb"\x00\x00\x01\xb5[\x80-\x8f]...(.)", re.DOTALL)
_MPEG2_SIZES = re.compile(rb"\x00\x00\x01\xb3(...)", re.DOTALL)


def _mpeg2(packet: bytes) -> Iterator[_Finding]:
    if any(not flags[0] & 0x80 for flags in _MPEG2_PICTURES.findall(packet)):
        yield _FIELDS
    yield from _MPEG2_SIZES.findall(packet)


# MPEG-4 Visual (ISO/IEC 14496-2, 6.2.3): said once, in the header of the layer.

_MPEG4_LAYERS = re.compile(rb"\x00\x00\x01[\x20-\x2f]")


def _mpeg4(packet: bytes) -> Iterator[_Finding]:
    for layer in _units(packet, _MPEG4_LAYERS):
        bits = _Bits(layer[1:])
        bits(9)
        version = bits(7) >> 3 if bits(1) else 1
        if bits(4) == 15:
            bits(16)
        if bits(1):
            bits(3)
            bits.skip_optional(79)
        shape = bits(2)
        if shape == 3 and version != 1:
            bits(4)
        bits(1)
        steps = bits(16)
        bits(1)
        bits.skip_optional(max(1, (steps - 1).bit_length()))
        size = bits(29) if shape == 0 else 0
        yield _FIELDS if bits(1) else size


# Motion JPEG: two pictures of half the height each, or a mark of the first AVI writers.

_JPEG_SIZE = re.compile(rb"\xff[\xc0-\xc3]..\x08(....)", re.DOTALL)
_JPEG_FIELD = re.compile(rb"\xff\xe0..AVI1[^\0]", re.DOTALL)


def _mjpeg(packet: bytes, height: int) -> Iterator[_Finding]:
    if size := _JPEG_SIZE.search(packet):
        is_field = int.from_bytes(size[1][:2], "big") < height or _JPEG_FIELD.search(packet)
        yield _FIELDS if is_field else size[1]
