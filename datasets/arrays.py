"""NumPy files: read with every header checked, and never unpickled."""

import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

# Of a compressed archive: a megabyte can unpack to a gigabyte. More is fine where the file itself is large.
MAX_BYTES_OF_ANY, MAX_BYTES_PER_BYTE = 2**28, 100
_MAX_HEADER = 10_000  # bytes; NumPy's own limit, which it applies after reading
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def open_npy(path: Path | str) -> npt.NDArray[np.generic]:
    """Memory-map a `.npy` file. Raises FileNotFoundError, or ValueError where it is no whole array of plain numbers."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .npy file")
    try:
        with path.open("rb") as file:
            _, dtype, size = _header(file)
            there = path.stat().st_size - file.tell()
        if dtype.hasobject or size > there:
            held = "objects" if dtype.hasobject else f"{there:,} bytes"
            raise ValueError(f"its header states {size:,} bytes of {dtype}, it holds {held}")
        array: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(
            f"{path}: not a whole .npy array of numbers ({_one_line(error)}); write it with numpy.save"
        ) from error
    return array


def read_npz(path: Path, limit: int, names: Collection[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a `.npz` file, or those of `names` that are there, in the file's order.

    Raises ValueError where it is no whole archive of plain arrays, and, from the headers, before anything is read,
    where they exceed `limit` bytes together, or what a file of this size may unpack to.
    """
    arrays = {}
    left = min(limit, max(MAX_BYTES_OF_ANY, MAX_BYTES_PER_BYTE * path.stat().st_size))
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name == member.filename or (names and name not in names):
                    continue
                with archive.open(member) as file:
                    _, _, size = _header(file)
                if size > min(left, member.file_size):
                    raise ValueError(f"{name} of {size:,} bytes, {member.file_size:,} are there, {left:,} are allowed")
                left -= size
                with archive.open(member) as file:
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    # What zipfile and numpy raise for damaged archives, RuntimeError for encrypted ones. NotImplementedError, a kind of
    # compression that this Python does not know, is a RuntimeError too.
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise ValueError(
            f"{path}: not a whole .npz file of plain arrays ({_one_line(error)}); fetch it again, or write it with"
            " numpy.savez"
        ) from error
    return arrays


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and bytes of the array whose header begins here. Raises ValueError where there is none."""
    version = np.lib.format.read_magic(file)
    start = file.read(2 if version == (1, 0) else 4)
    if version not in _READ_HEADER or int.from_bytes(start, "little") > _MAX_HEADER:
        raise ValueError(f"a header of version {version} and {int.from_bytes(start, 'little'):,} bytes")
    file.seek(-len(start), 1)
    shape, _, dtype = _READ_HEADER[version](file)
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape}")
    return shape, dtype, math.prod(shape) * dtype.itemsize


def _one_line(error: Exception) -> str:
    """The first sentence of a message; NumPy's next one may be that pickle would read the file."""
    return " ".join(str(error).split()).partition(". ")[0][:200]
