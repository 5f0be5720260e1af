"""Tensors in safetensors files, written and read so that damage shows.

The library's own writer is not used: `save_file` leaves `.tmp` files behind when it is killed and makes files that only
their owner may read; `save` needs memory for two more copies of everything and writes metadata in random order, so that
equal models would have different checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

SEAL = "sha256"  # in the header: the checksum of the whole file, with zeros in place of the checksum itself
_ZEROS = "0" * 64
_DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, and wait until it is on the disk. With `SEAL` in `metadata` it is sealed."""
    metadata = dict(metadata or {})
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # so that all are aligned

    def parts() -> Iterator[bytes | memoryview]:
        yield _header(names, tensors, metadata)
        for name in names:
            yield tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data

    if SEAL in metadata:
        metadata[SEAL] = _ZEROS
        metadata[SEAL] = _checksum(parts())
    with path.open("wb") as file:
        file.writelines(parts())
        file.flush()
        os.fsync(file.fileno())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, sealed or not. Raises ValueError where it is damaged."""
    check_seal(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error}); it is damaged or of another kind") from error


def read_metadata(path: Path) -> dict[str, str]:
    """The header's words about the file. Raises ValueError where it is no safetensors file."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error}); it is damaged or of another kind") from error


def check_seal(path: Path) -> None:
    """Raises ValueError where a sealed file is not what was sealed; says nothing of files without a seal."""
    seal = read_metadata(path).get(SEAL)
    if seal is None:
        return
    with path.open("rb") as file:
        header = file.read(8)
        header += file.read(int.from_bytes(header, "little"))
        blank = header.replace(seal.encode(), _ZEROS.encode(), 1)
        found = _checksum(chain([blank], iter(lambda: file.read(1 << 20), b"")))
    if found != seal:
        raise ValueError(f"{path}: damaged, its SHA-256 is not the one in its header")


def _header(names: list[str], tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """The layout: eight bytes of length, then JSON, filled up with spaces so that the data is aligned."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _checksum(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
