"""Train on digits that move, judge the model, draw what it predicts, and classify with few labels.

video-ae demo --pretrained          # what a model that comes with the package predicts, in seconds
video-ae demo                       # eight minutes on two cores, into runs/demo
video-ae demo --max-minutes 1       # a first look

The same command goes on with a demonstration that was interrupted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..shell import as_typed
from . import cli, evaluate, train

_MINUTES = 5.5
_SHIPPED = "moving-digits"
_DRAWN = 3
_CLASSIFY = "--tasks classify --labels direction --labels-per-class 5 50 --steps 25 --num-seeds 2 --clips 200"


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = cli.command_parser("python -m video_ae demo", __doc__)
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--max-minutes", type=float, default=_MINUTES, metavar="M", help=f"of training (default: {_MINUTES:g})"
    )
    either.add_argument("--pretrained", action="store_true", help="train nothing, draw what the model makes of clips")
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="FOLDER",
        help="(default: runs/demo, with --pretrained runs/demo-pretrained)",
    )
    arguments = parser.parse_args(words)
    if arguments.output_dir is None:
        arguments.output_dir = Path("runs/demo-pretrained" if arguments.pretrained else "runs/demo")
    return arguments


def command(words: list[str] | None = None) -> int:
    """Exit code of the first of its parts that fails, or 0."""
    arguments = parse_arguments(words)
    if arguments.pretrained:
        return cli.run(lambda: show_pretrained(arguments.output_dir), debug=False)
    run = str(arguments.output_dir)
    budget = ["--max-minutes", f"{arguments.max_minutes:g}"]
    return (
        train.command(["--composite", *budget, "--output-dir", run, "--resume"])
        or evaluate.command([run])
        or evaluate.command([run, *_CLASSIFY.split()])
    )


def show_pretrained(folder: Path) -> None:
    """Draw what the model `moving-digits` makes of a few test clips, as GIFs and a strip in `folder`."""
    import torch

    from ..datasets.config import DataConfig
    from ..evaluation import predict_clips
    from ..models import LSTMAutoencoder
    from ..results import replace_results
    from ..visualize import save_clip_gif, save_strip

    model = LSTMAutoencoder.from_pretrained(_SHIPPED)
    clips = DataConfig().open("test", model.config.frames)
    drawn = predict_clips(model, clips.__getitems__(range(_DRAWN)), torch.device("cpu"))
    with replace_results(folder, _SHIPPED) as place:
        for number, clip in enumerate(drawn):
            save_clip_gif(place / f"{_SHIPPED}-{number}.gif", clip)
        save_strip(place / f"{_SHIPPED}-strip.png", drawn)
    print(f"GIFs     {folder / _SHIPPED}-0.gif to {_DRAWN - 1}\nstrip    {folder / _SHIPPED}-strip.png")
    print(f'next     video_ae.LSTMAutoencoder.from_pretrained("{_SHIPPED}"), or {as_typed("python -m video_ae demo")}')
