"""Percepts: what an image network sees in each frame, as the paper's action recognition reads it.

python -m video_ae percepts VIDEOS --out FOLDER --weights vgg16-397923af.pth
python -m video_ae percepts VIDEOS --out FOLDER --network resnet50 --download
torchrun --nproc-per-node 4 -m video_ae percepts VIDEOS --out FOLDER --stream flow --download

VIDEOS has a folder per class. FOLDER gets one float16 array (T, D) per video; the same command goes on with an
extraction that was interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .videos import Video

LAYERS = {"vgg16": "fc6 after ReLU, 4096", "resnet50": "average pool, 2048"}
STREAMS = {
    "rgb": "frames, ImageNet mean and deviation",
    "flow": "10 fields of DIS optical flow (medium), -20 to 20 pixels as 0 to 255; the first convolution has its"
    " filters averaged over colour and repeated (Wang et al. 2016)",
}
FLOW_FIELDS = 10
MAX_FLOW = 20.0  # pixels per frame; what moves faster is clipped

_FRAME_SIZE, _CROP = 256, 224  # pixels
_MEAN = {"rgb": (0.485, 0.456, 0.406), "flow": (128 / 255,)}  # of inputs from 0 to 1; 128 is standing still
_DEVIATION = {"rgb": (0.229, 0.224, 0.225), "flow": (0.226,)}
_SEED = 0  # of random weights


def read_inputs(path: Path, stream: str = "rgb", stride: int = 1) -> npt.NDArray[np.uint8]:
    """What the network reads of a video, one input every `stride` frames: (N, C, 224, 224) or (N, 10, 2, 224, 224).

    Frames are scaled to 256 pixels on the shorter side and cut to the central 224. The ten fields of flow, x then y,
    are those that begin at the input's frame. Raises ValueError where the video is too short for one input.
    """
    from .videos import read_video

    border = (_FRAME_SIZE - _CROP) // 2
    centre = slice(border, border + _CROP)
    if stream == "rgb":
        frames = read_video(path, image_size=_FRAME_SIZE, stride=stride)
        return frames[:, centre, centre].transpose(0, 3, 1, 2)
    grey = read_video(path, image_size=_FRAME_SIZE, grey=True, least=FLOW_FIELDS + 1)
    fields = optical_flow(grey[..., 0])[:, centre, centre]
    # A view: every field is in ten inputs, but in memory once.
    windows = np.lib.stride_tricks.sliding_window_view(fields, FLOW_FIELDS, axis=0)  # (N, H, W, 2, 10)
    return windows[::stride].transpose(0, 4, 3, 1, 2)


def optical_flow(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Flow from each frame of (T, H, W) to the next: (T - 1, H, W, 2) uint8, x then y.

    -20 to 20 pixels per frame, right and down positive, are 0 to 255; standing still is 128.
    """
    import cv2

    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    fields = np.empty((len(grey) - 1, *grey.shape[1:], 2), np.uint8)
    for field, before, after in zip(fields, grey[:-1], grey[1:], strict=True):
        still = np.zeros((*before.shape, 2), np.float32)  # where the search begins
        flow = np.asarray(method.calc(before, after, still)).clip(-MAX_FLOW, MAX_FLOW)
        field[:] = np.rint((flow + MAX_FLOW) * (255 / (2 * MAX_FLOW)))
    return fields


def load_network(name: str, weights: Path | None, stream: str = "rgb") -> nn.Module:
    """`vgg16` up to fc6 or `resnet50` up to its pooling: (B, C, 224, 224) -> (B, D), ready for features.

    `weights` is a file of torchvision's whole state dict, .pth or .safetensors; None draws seeded random ones. Raises
    ValueError for a file that is not that.
    """
    import torch
    import torchvision

    # With weights to come, `meta` spares the seconds of drawing random ones.
    with torch.random.fork_rng(devices=[]), torch.device("cpu" if weights is None else "meta"):
        torch.default_generator.manual_seed(_SEED)  # not `torch.manual_seed`: it would be all GPUs
        network: Any = torchvision.models.get_model(name, weights=None)
    if weights is not None:
        _load_weights(network, weights, name)
    if name == "vgg16":
        network.classifier = network.classifier[:2]
    else:
        network.fc = torch.nn.Identity()
    if stream == "flow":
        first = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
        averaged = first.weight.detach().mean(dim=1, keepdim=True)
        first.in_channels = 2 * FLOW_FIELDS
        first.weight = torch.nn.Parameter(averaged.repeat(1, first.in_channels, 1, 1))
    return network.float().eval().requires_grad_(False)


def extract(
    network: nn.Module, inputs: npt.NDArray[np.uint8], stream: str, batch_size: int, device: torch.device
) -> npt.NDArray[np.float16]:
    """Features (N, D) of what `read_inputs` gave. Raises ValueError where they are not finite in float16."""
    import torch

    mean, deviation = (torch.tensor(values[stream], device=device)[:, None, None] for values in (_MEAN, _DEVIATION))
    features = []
    for first in range(0, len(inputs), batch_size):
        batch = torch.from_numpy(np.ascontiguousarray(inputs[first : first + batch_size])).to(device)
        batch = batch.reshape(len(batch), -1, *batch.shape[-2:])  # flow: x, y, x, y, ... as channels
        with torch.inference_mode():
            features.append(network((batch.float() / 255 - mean) / deviation).half().cpu().numpy())
    percepts = np.concatenate(features)
    if not np.isfinite(percepts).all():
        raise ValueError("features are NaN or exceed float16 (65,504), expected finite ones; check the weights")
    return percepts


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m video_ae percepts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, metavar="VIDEOS", help="folder with a folder of videos per class")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the features go")
    parser.add_argument("--network", choices=LAYERS, default="vgg16", help="(default: vgg16, as in the paper)")
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--weights", type=Path, metavar="FILE", help="torchvision's state dict, .pth or .safetensors")
    weights.add_argument("--download", action="store_true", help="fetch torchvision's ImageNet weights (100 to 550 MB)")
    weights.add_argument(
        "--random-weights", action="store_true", help="an untrained network, to compare with or to try"
    )
    parser.add_argument("--stream", choices=STREAMS, default="rgb", help="(default: rgb)")
    parser.add_argument(
        "--stride", type=_positive, default=1, metavar="N", help="features of every Nth frame (default: 1)"
    )
    parser.add_argument("--group", default="", metavar="REGEX", help="what in a file's name says who was filmed")
    parser.add_argument("--follow-links", action="store_true", help="follow links out of VIDEOS, too")
    parser.add_argument("-b", "--batch-size", type=_positive, default=32, metavar="N", help="frames (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    parser.add_argument("--skip-unreadable", action="store_true", help="list broken videos instead of stopping")
    return parser.parse_args(words)


def extract_folder(arguments: argparse.Namespace) -> None:
    """Write the features of a folder of videos; under torchrun, this process's share of them."""
    import cv2
    import torch
    import torchvision

    from .video_arrays import fingerprint, write_arrays
    from .video_folder import find_videos

    rank, world_size = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    device = _choose_device(arguments.device)
    videos = find_videos(arguments.videos, group=arguments.group, follow_links=arguments.follow_links)
    weights = _download_weights(arguments.network) if arguments.download else arguments.weights
    network = load_network(arguments.network, weights, arguments.stream).to(device)
    facts: dict[str, Any] = {
        "network": arguments.network,
        "layer": LAYERS[arguments.network],
        "random": arguments.random_weights,
        "weights": weights.name if weights else f"seed {_SEED}",
        "weights_sha256": _sha256(weights) if weights else None,
        "stream": f"{arguments.stream}: {STREAMS[arguments.stream]}",
        "stride": arguments.stride,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "opencv": cv2.__version__},
        "videos_sha256": fingerprint({}, videos),
    }
    if rank == 0:
        random = "RANDOM weights, an untrained network" if arguments.random_weights else facts["weights"]
        print(f"{arguments.network}, {facts['layer']} values, {random}, on {device}\ninput    {facts['stream']}")

    def percepts(video: Video) -> npt.NDArray[np.float16]:
        inputs = read_inputs(video.path, arguments.stream, arguments.stride)
        return extract(network, inputs, arguments.stream, arguments.batch_size, device)

    unreadable = write_arrays(
        arguments.out,
        videos,
        percepts,
        facts,
        rank=rank,
        world_size=world_size,
        skip_unreadable=arguments.skip_unreadable,
        describe="extracting",
    )
    for name, error in unreadable:
        print(f"left out {name}: {error}", file=sys.stderr)
    share = len(videos[rank::world_size])
    print(f"percepts {arguments.out}: {share - len(unreadable)} of {share} videos (process {rank} of {world_size})")


def main(words: list[str] | None = None) -> int:
    """The command: 0, 1 after an error, 130 after Ctrl-C; 2, as SystemExit, for usage."""
    arguments = parse_arguments(words)
    try:
        extract_folder(arguments)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (OSError, ValueError, RuntimeError) as error:  # a RuntimeError of torch, such as no memory on the GPU
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)


def _choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one; without a number, under torchrun, that of this process."""
    import torch

    gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    if name == "cuda" and gpus:
        name = f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % gpus}"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used on this machine; try --device cpu or auto") from error
    return torch.device(name)


def _download_weights(network: str) -> Path:
    """Torchvision's file of ImageNet weights in torch's cache, its hash checked."""
    import torch
    import torchvision

    weights = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"]
    try:
        weights.get_state_dict(check_hash=True)
    except (OSError, RuntimeError) as error:
        raise OSError(f"{weights.url} cannot be downloaded ({error}); fetch it elsewhere, give --weights") from error
    return Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(weights.url).name


def _load_weights(network: nn.Module, path: Path, name: str) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected torchvision's weights of {name}")
    try:
        safe = path.suffix == ".safetensors"
        state = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state, assign=True)
    except (RuntimeError, TypeError, AttributeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not torchvision's weights of {name}, whole and nothing else ({why})") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
