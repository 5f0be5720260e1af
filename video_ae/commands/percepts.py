"""`video-ae percepts`: features of every frame of a folder of videos, as files.

python -m video_ae percepts VIDEOS --out FOLDER --network motion
python -m video_ae percepts VIDEOS --out FOLDER --network efficientnet-lite0
python -m video_ae percepts VIDEOS --out FOLDER --weights vgg16-397923af.pth
python -m video_ae percepts VIDEOS --out FOLDER --network resnet50 --download
torchrun --nproc-per-node 4 -m video_ae percepts VIDEOS --out FOLDER --stream flow --download

VIDEOS has a folder per class. FOLDER gets one float16 array (T, D) per video; the same command goes on with an
extraction that was interrupted. Started several times at once, on one machine or on several that see FOLDER, with or
without torchrun, it shares the videos: what a process that dies leaves undone, the others do.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.names import DOWNLOADED, EFFICIENTNET, NO_PERCEPTS, PERCEPTS, STREAMS, VGG16
from ..errors import Interrupted
from . import cli

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..datasets.percepts import Percepts
    from ..datasets.videos import Video


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = cli.command_parser("python -m video_ae percepts", __doc__)
    parser.add_argument("videos", type=Path, metavar="VIDEOS", help="folder with a folder of videos per class")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the features go")
    kinds = [name for name in PERCEPTS if name != NO_PERCEPTS]
    parser.add_argument("--network", choices=kinds, default=VGG16, help="(default: vgg16, as in the paper)")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--weights", type=Path, metavar="FILE", help="torchvision's state dict, .pth or .safetensors")
    weights.add_argument("--download", action="store_true", help="fetch torchvision's ImageNet weights (100 to 550 MB)")
    weights.add_argument(
        "--random-weights", action="store_true", help="an untrained network, to compare with or to try"
    )
    parser.add_argument("--stream", choices=STREAMS, default="rgb", help="of vgg16 and resnet50 (default: rgb)")
    parser.add_argument(
        "--stride", type=cli.positive, default=1, metavar="N", help="features of every Nth frame (default: 1)"
    )
    parser.add_argument("--group", default="", metavar="REGEX", help="what in a file's name says who was filmed")
    parser.add_argument("--follow-links", action="store_true", help="follow links out of VIDEOS, too")
    parser.add_argument("-b", "--batch-size", type=cli.positive, default=32, metavar="N", help="frames (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    parser.add_argument("--skip-unreadable", action="store_true", help="list broken videos instead of stopping")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    arguments = parser.parse_args(words)
    named = arguments.weights or arguments.download or arguments.random_weights
    if arguments.network in DOWNLOADED and not named:
        parser.error("one of the arguments --weights --download --random-weights is required")
    if arguments.network not in DOWNLOADED and (named or arguments.stream != "rgb"):
        flags = "--weights, --download, --random-weights and --stream flow"
        parser.error(f"{flags} are of {' and '.join(DOWNLOADED)}: leave them out with --network {arguments.network}")
    return arguments


def extract_folder(arguments: argparse.Namespace) -> None:
    """Write the features of a folder of videos, or share that with other processes, see `write_arrays`."""
    import cv2
    import torch
    import torchvision

    from ..datasets.video_arrays import fingerprint, write_arrays
    from ..datasets.video_folder import find_videos

    speaks = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun, the first one
    videos = find_videos(arguments.videos, group=arguments.group, follow_links=arguments.follow_links)
    percepts = _asked_for(arguments)
    facts: dict[str, Any] = percepts.facts | {
        "stride": arguments.stride,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "opencv": cv2.__version__},
        "videos_sha256": fingerprint({}, videos),
    }
    if speaks:
        random = ", RANDOM weights, an untrained network" if arguments.random_weights else ""
        print(f"{arguments.network}, {facts.get('layer', percepts.features)} values{random}")
        if "stream" in facts:
            print(f"input    {facts['stream']}")

    def extract(video: Video) -> npt.NDArray[np.float16]:
        import numpy as np

        return np.stack(list(percepts.rows(video.path, stride=arguments.stride)))

    unreadable = write_arrays(
        arguments.out,
        videos,
        extract,
        facts,
        skip_unreadable=arguments.skip_unreadable,
        describe="extracting",
        quiet=not speaks,
    )
    if speaks:
        for name, error in unreadable:
            print(f"left out {name}: {error}", file=sys.stderr)
        print(f"percepts {arguments.out}: {len(videos) - len(unreadable)} of {len(videos)} videos")


def main(arguments: argparse.Namespace) -> None:
    """`extract_folder`. Raises `Interrupted` after Ctrl-C: what is written stays."""
    try:
        extract_folder(arguments)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(signal.SIGINT, "the same command goes on from here") from interrupt


def _asked_for(arguments: argparse.Namespace) -> Percepts:
    from ..datasets.image_networks import NETWORKS, NetworkPercepts, choose_device, standard_weights
    from ..datasets.percepts import percepts_named

    if arguments.network not in NETWORKS:
        return percepts_named(arguments.network)
    weights = arguments.weights
    if arguments.download or arguments.network == EFFICIENTNET:
        weights = standard_weights(arguments.network, download=arguments.download)
    device = choose_device(arguments.device)
    return NetworkPercepts(arguments.network, weights, arguments.stream, arguments.batch_size, device)


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)
