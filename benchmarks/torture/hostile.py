"""Hostile files: code in disguise, sizes that are lies, paths that lead out; opened in processes that may die."""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.outcome import count as outcome_of
from benchmarks.torture.videos import MEMORY, answers_apart
from video_ae.memory import resident_peak


def hostile(count: int, seed: int, folder: Path) -> Outcome:
    """The first `count` of `CASES`. They are fixed: `seed` changes nothing."""
    cases = list(CASES)[:count]
    words, canaries = [], []
    for number, name in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        kind, make = CASES[name]
        canaries.append(folder / f"{number}-executed")
        words.append(f"{kind}={make(place, canaries[-1])}")
    results, largest = [], 0
    for name, canary, answer in zip(
        cases, canaries, answers_apart("benchmarks.torture.hostile", [], words), strict=True
    ):
        error, memory = (answer, 0) if isinstance(answer, str) else answer
        results.append(judged(name, error, executed=canary.exists(), memory=memory))
        largest = max(largest, memory)
    return outcome_of(
        f"hostile files: {', '.join(cases)}",
        "nothing is executed, nothing outside the folder is opened, an error in a line, under 1 GB",
        results,
        f"at most {largest / 2**20:,.0f} MB",
    )


def judged(name: str, answer: str, *, executed: bool, memory: int = 0) -> str | None:
    """What is wrong with how a file was received. `answer` is the error, empty if none."""
    if executed:
        return f"{name}: its code was executed"
    if not answer.startswith(("ValueError: ", "FileNotFoundError: ")) or "\n" in answer:
        return f"{name}: expected an error in a line, found {answer[:200]!r}"
    return f"{name}: {memory:,} bytes of memory" if memory > MEMORY else None


def attempt(kind: str, path: Path) -> str:
    """Open a file as users do; returns the error, empty where there was none."""
    try:
        _OPENERS[kind](path)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _open_model(path: Path) -> None:
    from video_ae import LSTMAutoencoder

    LSTMAutoencoder.from_pretrained(path)


def _open_network(path: Path) -> None:
    from video_ae.datasets.image_networks import load_network

    load_network("resnet50", path)


def _open_digits(path: Path) -> None:
    from video_ae.datasets.digits import load_digits

    load_digits("mnist", "test", path)


def _open_list(path: Path) -> None:
    from video_ae.datasets.ucf101 import ucf101_videos

    ucf101_videos(path / "videos", path)


def _open_folder(path: Path) -> None:
    from video_ae.datasets.video_folder import find_videos

    find_videos(path)


def _open_video(path: Path) -> None:
    from video_ae.datasets.videos import read_video

    read_video(path)


def _open_sequences(path: Path) -> None:
    from video_ae.datasets.sequences import open_sequences

    open_sequences(path)


def _open_percepts(path: Path) -> None:
    from video_ae.datasets.percept_files import open_percepts

    open_percepts(path).array(0)


_OPENERS: dict[str, Callable[[Path], None]] = {
    "model": _open_model,
    "network": _open_network,
    "digits": _open_digits,
    "list": _open_list,
    "folder": _open_folder,
    "video": _open_video,
    "sequences": _open_sequences,
    "percepts": _open_percepts,
}


class _Canary:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


Maker = Callable[[Path, Path], Path]


def _pickle_as(name: str, *, folder: bool = False) -> Maker:
    """A pickle under the name of a file that we read; the folder is what is opened where a folder is expected."""

    def make(place: Path, canary: Path) -> Path:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(pickle.dumps(_Canary(canary), protocol=2))
        return place if folder else place / name

    return make


def _objects_in_npy(place: Path, canary: Path) -> Path:
    np.save(place / "a.npy", np.array([_Canary(canary)], object))  # NumPy writes them, and should not read them
    return place / "a.npy"


def _objects_in_npz(place: Path, canary: Path) -> Path:
    np.savez(place / "a.npz", a=np.array([_Canary(canary)], object))
    return place / "a.npz"


def _torch_pickle(place: Path, canary: Path) -> Path:
    """As `torch.save` writes it, with the canary for a state dict."""
    with zipfile.ZipFile(place / "weights.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Canary(canary), protocol=2))
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")
    return place / "weights.pth"


def _model(weights: Callable[[Path], bytes], config: str | None = None) -> Maker:
    def make(place: Path, canary: Path) -> Path:
        (place / "config.json").write_text(json.dumps({"hidden_size": 4}) if config is None else config)
        (place / "model.safetensors").write_bytes(weights(canary))
        return place

    return make


def _header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def _file(name: str, content: bytes) -> Maker:
    def make(place: Path, canary: Path) -> Path:
        (place / name).write_bytes(content)
        return place / name

    return make


def _archive(member: str, content: bytes, megabytes: int = 0) -> Maker:
    """An archive with one member: the content, and zeros behind it."""

    def make(place: Path, canary: Path) -> Path:
        with (
            zipfile.ZipFile(place / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(member, "w", force_zip64=True) as file,
        ):
            file.write(content)
            for _ in range(megabytes):
                file.write(_ZEROS)
        return place / "a.npz"

    return make


def _index(file: str, *, link: bool = False, shape: str = "[3, 2]") -> Maker:
    """Percepts of ours with an index that names `file`; there is a readable array outside of the folder."""

    def make(place: Path, canary: Path) -> Path:
        np.save(place / "outside.npy", np.ones((3, 2), np.float16))
        folder = place / "percepts"
        (folder / "arrays").mkdir(parents=True)
        (folder / "facts.json").write_text("{}")
        if link:
            (folder / "arrays" / "a.npy").symlink_to(place / "outside.npy")
        named = file.replace("PLACE", str(place))
        entry = f'{{"name": "a", "label": "b", "group": "c", "dtype": "float16", "file": "{named}", "shape": {shape}}}'
        text = f'{{"facts": {{}}, "videos": [{entry}], "unreadable": []}}'
        (folder / "index-000-of-001.json").write_text(text)
        return folder

    return make


def _listed(line: str) -> Maker:
    def make(place: Path, canary: Path) -> Path:
        (place / "videos" / "A").mkdir(parents=True)
        (place / "secret.avi").touch()
        (place / "videos" / "A" / "v_A_g01_c01.avi").touch()
        (place / "trainlist01.txt").write_text(f"A/v_A_g01_c01.avi 1\n{line}\n")
        return place

    return make


def _linked(name: str, *, percepts: bool = False) -> Maker:
    """A folder of data with a link to a file that lies outside."""

    def make(place: Path, canary: Path) -> Path:
        outside, inside = place / f"outside{Path(name).suffix}", place / "data" / name
        inside.parent.mkdir(parents=True)
        outside.write_bytes(b"\x93NUMPY")
        if percepts:
            content = io.BytesIO()
            np.save(content, np.ones((3, 2), np.float16))
            outside.write_bytes(content.getvalue())
        inside.symlink_to(outside)
        return place / "data"

    return make


def _digit_counts(place: Path, canary: Path) -> Path:
    raw = place / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 2**31, 28, 28) + bytes(784))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 2**31) + bytes(1))
    return place


_ZEROS = bytes(10**6)
CASES: dict[str, tuple[str, Maker]] = {
    "pickle as .npy": ("sequences", _pickle_as("a.npy")),
    "pickle as .npz": ("sequences", _pickle_as("a.npz")),
    "pickle as .csv": ("sequences", _pickle_as("a.csv")),
    "pickle as percepts": ("percepts", _pickle_as("A/a.npy", folder=True)),
    "pickle as an index": ("percepts", _pickle_as("facts.json", folder=True)),
    "pickle as a video": ("video", _pickle_as("a.avi")),
    "pickle as a split list": ("list", _pickle_as("trainlist01.txt", folder=True)),
    "pickle as digits": ("digits", _pickle_as("MNIST/raw/t10k-images-idx3-ubyte.gz", folder=True)),
    "pickle as network weights": ("network", _pickle_as("a.pth")),
    "pickle in a torch file": ("network", _torch_pickle),
    "pickle as .safetensors": ("network", _pickle_as("a.safetensors")),
    "pickle as a model": ("model", _model(lambda canary: pickle.dumps(_Canary(canary)))),
    "pickle as a config": ("model", _pickle_as("config.json", folder=True)),
    "objects in .npy": ("sequences", _objects_in_npy),
    "objects in .npz": ("sequences", _objects_in_npz),
    "huge shape in .npy": ("sequences", _file("a.npy", _header("(1000000000, 1000000000)") + bytes(100))),
    "huge header in .npy": ("sequences", _file("a.npy", b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{" * 99)),
    "huge shape in .npz": ("sequences", _archive("a.npy", _header("(1000000000, 1000000000)"))),
    "zip bomb": ("sequences", _archive("a.npy", _header("(125000000,)"), 1000)),
    "huge .safetensors header": ("model", _model(lambda _: struct.pack("<Q", 2**40) + b"{}")),
    "huge tensor in .safetensors": (
        "model",
        _model(lambda _: _safetensors('{"a": {"dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4]}}')),
    ),
    "nested JSON as a config": ("model", _model(lambda _: b"", "[" * 100_000)),
    "long number in a config": ("model", _model(lambda _: b"", '{"hidden_size": ' + "9" * 100_000 + "}")),
    "huge model in a config": ("model", _model(lambda _: _safetensors("{}"), '{"hidden_size": 1000000}')),
    "endless line in .csv": ("sequences", _file("a.csv", b"x\n" + b"1" * 50_000_000)),
    "endless row in .csv": ("sequences", _file("a.csv", b"x\n" + b"," * 50_000_000)),
    "zeros in .csv": ("sequences", _file("a.csv", b"x\n1\n" + bytes(1000))),
    "../ in an index": ("percepts", _index("../outside.npy")),
    "../ behind a folder in an index": ("percepts", _index("arrays/../../outside.npy")),
    "absolute path in an index": ("percepts", _index("PLACE/outside.npy")),
    "link in an index": ("percepts", _index("arrays/a.npy", link=True)),
    "huge shape in an index": ("percepts", _index("arrays/a.npy", shape="[1000000000000, 4096]")),
    "../ in a split list": ("list", _listed("../secret.avi 1")),
    "absolute path in a split list": ("list", _listed("/etc/secret.avi 1")),
    "link to a video": ("folder", _linked("A/a.avi")),
    "link to percepts": ("percepts", _linked("A/a.npy", percepts=True)),
    "huge counts of digits": ("digits", _digit_counts),
    "playlist as a video": ("video", _file("a.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://192.0.2.1/a.ts\n#EXT-X-ENDLIST\n")),
    "script as a video": ("video", _file("a.avi", b"ffconcat version 1.0\nfile /etc/hostname\n")),
}


def _safetensors(header: str) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + bytes(4)


if __name__ == "__main__":
    for word in sys.argv[1:]:
        kind, _, path = word.partition("=")
        answer = attempt(kind, Path(path))
        print(json.dumps([answer, resident_peak()]), flush=True)
