"""`.npy` and `.npz` files: every header is checked, and every wrong file is named."""

import io
import struct
import zipfile

import numpy as np
import pytest

from video_ae.datasets.arrays import open_npy, read_npz

RANDOM = np.random.default_rng(0)


def videos(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def test_files_that_are_no_arrays(tmp_path):
    """Objects would need pickle, which runs code; it is never allowed."""
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("frames")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "short.npy", videos(4, 20, 8, 8))
    content = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(content[:-5])
    for name in ("objects", "text", "empty", "short"):
        with pytest.raises(ValueError, match=rf"{name}\.npy: not a whole \.npy array"):
            open_npy(tmp_path / f"{name}.npy")
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_npy(tmp_path / "missing.npy")


def header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        header("(1000000000, 1000000000)"),
        header("(4294967296, 4294967296, 2)"),
        header("(-1, 5)"),
        header("(" * 3000 + ")" * 3000),
        header("(3,)", "|O"),
        b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{" * 1000,
        b"\x93NUMPY\x09\0" + struct.pack("<I", 100) + b"{" * 1000,
    ],
    ids=["huge", "overflow", "negative", "deep", "objects", "header", "version"],
)
def test_headers_are_checked_before_anything_is_allocated(tmp_path, content):
    """A number in a header decides about memory: it must be one that the file can hold."""
    path = tmp_path / "hostile.npy"
    path.write_bytes(content + bytes(100))
    with pytest.raises(ValueError, match=rf"^{path}: not a whole \.npy array") as caught:
        open_npy(path)
    assert "\n" not in str(caught.value)
    with zipfile.ZipFile(tmp_path / "hostile.npz", "w") as archive:
        archive.writestr("a.npy", content + bytes(100))
    with pytest.raises(ValueError, match=r"hostile\.npz: not a whole \.npz file") as caught:
        read_npz(tmp_path / "hostile.npz", 2**34)
    assert "\n" not in str(caught.value)


def test_a_small_archive_cannot_fill_the_memory(tmp_path):
    """Zeros deflate a thousandfold: here 400 MB in 400 KB, made of pieces so that the test does not hold them."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(header("(50000000,)"))
        for _ in range(400):
            member.write(bytes(10**6))
    with pytest.raises(ValueError, match=r"bomb\.npz: .*a of 400,000,000 bytes, .* 268,435,456 are allowed"):
        read_npz(path, 2**34)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(10**6))  # two thousand times smaller, and still welcome
    path.write_bytes(buffer.getvalue())
    assert read_npz(path, 2**34)["a"].shape == (10**6,)
