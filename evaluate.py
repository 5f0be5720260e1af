"""Judge a trained model on test clips: metrics beside what costs nothing, GIFs, a strip and curves.

python evaluate.py runs/demo
python evaluate.py runs/demo --num-digits 3
python evaluate.py runs/mnist --dataset moving-mnist-file --data-dir mnist_test_seq.npy
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.config import DataConfig, add_data_flags
from video_ae import cli
from video_ae.config import FUTURE, from_json

if TYPE_CHECKING:
    import torch

_GENERATED_CLIPS = 1000  # of a data set that has no end
_DRAWN_CLIPS = 8
_COLUMNS = {"nats": "nats", "mse": "MSE", "mae": "MAE", "psnr": "PSNR", "ssim": "SSIM", "ssim_range2": "SSIM (range 2)"}


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that train.py wrote")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["predict"], help="(default: predict)")
    parser.add_argument(
        "--clips",
        type=cli.positive,
        metavar="N",
        help=f"(default: {_GENERATED_CLIPS} generated ones, or the whole file)",
    )
    parser.add_argument(
        "--future-frames", type=cli.positive, metavar="N", help="how far to predict (default: as far as in training)"
    )
    parser.add_argument("--seed", type=cli.natural, default=0, help="of generated test clips (default: 0)")
    parser.add_argument("-b", "--batch-size", type=cli.positive, default=50, metavar="N", help="(default: 50)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="FOLDER",
        help="(default: RUN/evaluation, or a folder in it that is named after what the flags change)",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    add_data_flags(parser)
    return parser.parse_args(words)


def predict(arguments: argparse.Namespace) -> None:
    """Reconstruct and predict test clips; write `predict.json` and pictures, print a table and their paths."""
    from tqdm import tqdm

    from datasets.batches import consecutive_indices, load_batches
    from video_ae.checkpoint import sequences_seen, write_json
    from video_ae.evaluation import evaluate, evaluate_baselines, mean_frame, predict_clips
    from video_ae.models import LSTMAutoencoder
    from video_ae.run_folder import RunFolder
    from video_ae.visualize import save_clip_gif, save_error_curves, save_strip

    run = RunFolder(arguments.run)
    trained_on = from_json(DataConfig, run.config()["data"], str(run.path / "config.json"))
    data, split = evaluation_data(trained_on, vars(arguments))
    device = cli.choose_device(arguments.device)
    model = LSTMAutoencoder.from_pretrained(run.path).to(device)
    folder = arguments.output_dir or run.evaluation / difference(vars(arguments))
    if arguments.future_frames and FUTURE not in model.decoders:
        raise ValueError("--future-frames changes nothing for a model without future decoder; leave it out")
    future_frames = arguments.future_frames or model.config.future_frames
    frames = model.config.input_frames + (future_frames if FUTURE in model.decoders else 0)
    dataset = data.open(split, frames, seed=arguments.seed)
    count = arguments.clips or (_GENERATED_CLIPS if dataset.endless else len(dataset))
    if not dataset.endless and count > len(dataset):
        raise ValueError(f"--clips {count}: found {len(dataset)} {split} clips; ask for at most as many")

    def batches(what: str) -> Iterator[torch.Tensor]:
        loaded = load_batches(dataset, consecutive_indices(count, arguments.batch_size))
        return iter(tqdm(loaded, total=-(-count // arguments.batch_size), desc=what, leave=False, disable=None))

    results = evaluate(model, batches("model"), device)
    if results["clips"] != count:
        raise ValueError(f"evaluated {results['clips']} clips, expected {count}: the data set is not what it says")
    judged = FUTURE if FUTURE in model.decoders else "reconstruction"
    mean = mean_frame(batches("mean frame"))
    baselines = evaluate_baselines(batches("baselines"), mean, model.config.input_frames, judged)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("predict*"):
        old.unlink()
    write_json(
        folder / "predict.json",
        results
        | {"baselines": baselines, "sequences_seen": sequences_seen(run.path), "split": split, "frames": frames}
        | {"clips_available": None if dataset.endless else len(dataset), "seed": arguments.seed}
        | data.facts(),
    )
    drawn = dataset.__getitems__(range(min(count, _DRAWN_CLIPS)))
    clips = predict_clips(model, drawn, device)
    for number, clip in enumerate(clips):
        save_clip_gif(folder / f"predict-{number:02d}.gif", clip)
    save_strip(folder / "predict-strip.png", clips[:4])
    save_error_curves(folder / "predict-steps.png", results, baselines, model.config.input_frames, "mse")

    models = {name: results[name] for name in model.decoders}
    print(table(models | {name.replace("_", " "): values for name, values in baselines.items()}))
    of_all = "" if dataset.endless or count == len(dataset) else f" of {len(dataset)}"
    clips_of = "clip" if count == 1 else "clips"
    print(f"\n{count}{of_all} {clips_of} of {data.dataset} ({split}); the baselines are judged on the {judged} frames")
    print(f"GIFs     {folder / 'predict-00.gif'} to {len(clips) - 1:02d}\nstrip    {folder / 'predict-strip.png'}")
    print(f"by step  {folder / 'predict-steps.png'}\nmetrics  {folder / 'predict.json'}")


TASKS = {"predict": predict}


def evaluation_data(trained_on: DataConfig, given: dict[str, Any]) -> tuple[DataConfig, str]:
    """What to evaluate on and which part of it: never a clip that the model was trained on."""
    data = trained_on.changed_by(given)
    if data.dataset == "moving-mnist-file":
        return data, "all"
    if data.dataset == "array" and (data.dataset, data.data_dir) != (trained_on.dataset, trained_on.data_dir):
        return data, "all"
    return data, "test"


def difference(given: dict[str, Any]) -> str:
    """A folder name for what the flags change about the standard evaluation, empty where they change nothing."""
    names = [field.name for field in dataclasses.fields(DataConfig) if field.name in given and field.name != "download"]
    changes = [f"{name}-{given[name]}" for name in (*names, "future_frames", "clips") if given[name] is not None]
    changes += [f"seed-{given['seed']}"] if given["seed"] else []
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(changes)).strip("-.")


def table(rows: dict[str, dict[str, Any]]) -> str:
    """One line per model and baseline; a dash where a metric does not exist or is infinite."""
    lines = [f"{'per frame':<16}" + "".join(f"{title:>16}" for title in _COLUMNS.values())]
    for name, values in rows.items():
        cells = (values.get(metric) for metric in _COLUMNS)
        digits = (1, 1, 1, 1, 3, 3)
        lines.append(
            f"{name:<16}"
            + "".join(
                f"{'-' if cell is None else f'{cell:.{places}f}':>16}"
                for cell, places in zip(cells, digits, strict=True)
            )
        )
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> None:
    for task in arguments.tasks:
        TASKS[task](arguments)


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)


if __name__ == "__main__":
    sys.exit(command())
