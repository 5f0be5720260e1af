"""Folders for the Hugging Face Hub: weights, config and a model card that is written from the run.

python -m video_ae hub runs/demo --out exported       # write the folder, send nothing
python -m video_ae hub exported --push USER/NAME      # upload its three files

Needs the extra `hub` and a token (`hf auth login`, or HF_TOKEN) for --push only.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..extras import import_extra
from ..shell import as_typed, shell_path
from . import cli

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..models import LSTMAutoencoder

CARD = "README.md"
_FRONT_MATTER = """---
library_name: video-ae
license: mit
pipeline_tag: feature-extraction
tags:
- {kind}
- lstm
- autoencoder
- self-supervised-learning
---
"""
_NAME = "USER/NAME"
_PAPER = "[Srivastava, Mansimov and Salakhutdinov, ICML 2015](https://arxiv.org/abs/1502.04681)"


def write_folder(source: Path | str, out: Path | str, repo_id: str = _NAME) -> None:
    """Write `config.json`, `model.safetensors` and a model card into the new folder `out`; all of them or none.

    source:  a run of train.py or what `LSTMAutoencoder.save_pretrained` wrote.
    repo_id: where the card says that the model is.

    Raises FileExistsError where `out` holds anything, FileNotFoundError where there is no model, ValueError where it is
    damaged or no autoencoder, or where its evaluation is of other weights or data.
    """
    from ..pretrained import CONFIG, WEIGHTS, model_folder

    source, out = Path(source), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out}: not an empty folder; choose another --out")
    card = model_card(source, repo_id)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        partial = Path(place) / "folder"
        partial.mkdir()
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(model_folder(source) / name, partial / name)
        (partial / CARD).write_text(card, encoding="utf-8")
        partial.replace(out)


def push_to_hub(
    folder: Path | str, repo_id: str, *, private: bool = False, token: str | None = None, api: Any = None
) -> str:
    """Upload a model and its card, three files and nothing else, to the repository `repo_id`; returns its address.

    folder:  a run, a saved model, or what `write_folder` wrote, whose card is uploaded as it is now.
    private: who creates the repository decides; one that exists must be private already.
    api:     what stands for `huggingface_hub.HfApi`.

    Raises ImportError without the extra `hub`, ValueError where a private repository was asked for and a public one is
    there, and what `write_folder` raises.
    """
    from ..models import LSTMAutoencoder
    from ..pretrained import CONFIG, WEIGHTS

    if api is None:
        api = import_extra("huggingface_hub", "hub").HfApi(token=token)
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as place:
        if not all((folder / name).is_file() for name in (CONFIG, WEIGHTS, CARD)):
            write_folder(folder, Path(place) / "model", repo_id)
            folder = Path(place) / "model"
        LSTMAutoencoder.from_pretrained(folder)  # what is damaged stays at home
        address = api.create_repo(repo_id, private=private or None, exist_ok=True)  # None: as its owner has set it
        if private and not api.model_info(repo_id).private:
            raise ValueError(f"{repo_id}: exists and is public; make it private on the Hub, or choose another name")
        api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=[CONFIG, WEIGHTS, CARD],
            commit_message="Upload model and card",
        )
    return str(address)


def model_card(source: Path | str, repo_id: str = _NAME) -> str:
    """The README.md of a run or of a saved model: front matter for the Hub, and what is known of the model.

    Paths of the machine that trained it are left out. Raises as `write_folder` does.
    """
    from ..models import LSTMAutoencoder
    from ..pretrained import model_folder, sequences_seen
    from ..run_folder import RunFolder

    source = Path(source)
    model, seen = LSTMAutoencoder.from_pretrained(source), sequences_seen(source)
    front_matter = _FRONT_MATTER.format(kind="time-series" if model.config.features else "video")
    run = RunFolder(source)
    of_run = run.exists() and model_folder(source) == run.model
    data = run.data() if of_run else {}
    parts = [front_matter, _what_it_is(model), _how_to_load(model.config, repo_id, data.get("offsets"))]
    if of_run:
        results = _results(run, seen)
        parts += [_training(run, seen, results), _results_table(model, results)]
    elif seen is not None:
        parts.append(f"## Training\n\n{seen:,} sequences; more was not written down.\n")
    parts.append(_limits(model.config))
    return "\n".join(part for part in parts if part)


def _what_it_is(model: LSTMAutoencoder) -> str:
    config = model.config
    channels, height, width = config.frame_shape
    frames = f"vectors of {channels} features" if config.features else f"frames of {channels}x{height}x{width}"
    tasks = {"reconstruction": "rebuilds them", "future": f"predicts the {config.future_frames} that follow"}
    does = " and ".join(tasks[name] for name in config.decoders)
    facts = {
        "layers": " and ".join(map(str, config.hidden_sizes))
        + (" convolutional LSTM units at every patch" if config.convolutional else " LSTM units")
        + (", peepholes" if config.peephole else ""),
        "patches": None if config.patch_size is None else f"{config.patch_size}x{config.patch_size} pixels",
        "bottleneck": config.code_size and f"{config.code_size} numbers{', variational' if config.variational else ''}",
        "the code is read": "at every step" if config.repeat_code else None,
        "conditional decoders": ", ".join(config.conditional) or None,
        "outputs": config.output,
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
    }
    rows = "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact)
    return (
        "# LSTM autoencoder\n\n"
        f"An LSTM autoencoder after\n{_PAPER}.\n"
        f"It reads {frames}, {config.input_frames} in training. From its state after the last one, the code of the\n"
        f"{'sequence' if config.features else 'clip'}, it {does}.\n\n{rows}\n"
    )


def _how_to_load(config: ModelConfig, repo_id: str, offsets: list[float] | None) -> str:
    """`offsets` are what was subtracted from the features in training, before they became float32."""
    features = config.features and config.patch_size is None
    kind = "float32 (B, T, D)" if features else "uint8 (B, T, C, H, W), or floats in 0 to 1"
    name = "sequences" if features else "clips"
    lines = ["import torch"] if offsets else []
    lines += [
        "from video_ae import LSTMAutoencoder",
        "",
        f'model = LSTMAutoencoder.from_pretrained("{repo_id}", download=True)  # or a folder',
    ]
    add = ""
    if offsets:
        lines += [
            f"offsets = torch.tensor({offsets}, dtype=torch.float64)",
            f"centred = ({name} - offsets).float()  # {name}: float64 (B, T, D), from which float32 takes too much",
            "codes = model.encode(centred)",
        ]
        name, add = "centred", " + offsets"
    else:
        lines.append(f"codes = model.encode({name})  # {name}: {kind}")
    calls = {
        "reconstruction": f"rebuilt = model.reconstruct({name}){add}",
        "future": f"future = model.predict({name}, steps=10){add}",
    }
    lines += [calls[name] for name in config.decoders]
    code = "\n".join(lines)
    return f'## Use\n\n`pip install "video-ae[hub]"`, then:\n\n```python\n{code}\n```\n'


def _results(run: Any, seen: int | None) -> dict[str, Any] | None:
    """The standard evaluation, None before there is one. Raises ValueError where it is not of this model and data."""
    from ..files import read_json

    path = run.evaluation / "predict.json"
    if not path.is_file():
        return None
    results: dict[str, Any] = read_json(path)
    data = run.data()
    differing = [name for name in data if not _is_path(name) and results.get(name) not in (None, data[name])]
    if results.get("sequences_seen") != seen or differing:
        of = f"other {', '.join(differing)}" if differing else f"{results.get('sequences_seen')} sequences, not {seen}"
        raise ValueError(f"{path}: an evaluation of {of}; say {as_typed('evaluate.py')} {shell_path(run.path)} again")
    return results


def _training(run: Any, seen: int | None, results: dict[str, Any] | None) -> str:
    """What it was trained on and how. Which fields the data set reads is known from the evaluation alone."""
    from ..files import read_json

    config = run.config()
    data, training = config["data"], config["training"]
    read = ["dataset"] if results is None else [name for name in data if results.get(name) not in (None, "", False)]
    facts = {name: data[name] for name in read if not _is_path(name)}
    facts |= {"sequences seen": None if seen is None else f"{seen:,}"}
    facts |= {name: training.get(name) for name in ("steps", "max_minutes", "batch_size", "lr", "seed")}
    environment = run.path / "env.json"
    if environment.is_file():
        machine = read_json(environment)[-1]
        facts |= {"machine": machine.get("gpu") or machine.get("processor"), "torch": machine.get("torch")}
    rows = "\n".join(
        f"- {name.replace('_', ' ')}: {', '.join(map(str, fact)) if isinstance(fact, list) else fact}"
        for name, fact in facts.items()
        if fact not in (None, [])
    )
    return f"## Training\n\n{rows}\n\nThe weights are those of the lowest validation loss.\n"


def _is_path(name: str) -> bool:
    """Whether a field of a data config says where files lie, which is nobody's business, or how they came there."""
    return name.endswith(("_dir", "_path", "_file")) or name == "download"


def _results_table(model: LSTMAutoencoder, results: dict[str, Any] | None) -> str:
    from ..report.tables import metric_cells, text_table

    if results is None:
        return "## Results\n\nNot evaluated.\n"
    rows = {name: results[name] for name in model.decoders} | results["baselines"]
    lines = textwrap.indent(text_table(metric_cells(rows)), "    ")
    kind = "sequences" if model.config.features else "clips"
    return f"## Results\n\n{results['clips']:,} {results['split']} {kind}, free running.\n\n{lines}\n"


def _limits(config: ModelConfig) -> str:
    channels, height, width = config.frame_shape
    size = f"vectors of {channels} features" if config.features else f"{channels}x{height}x{width} frames"
    others = "and no others" if not config.convolutional else f"and others whose sides {config.patch_size} divides"
    lines = [
        f"- It reads {size} {others}; expect little on data unlike those it was trained on.",
        "- Predictions blur, and drift, the farther they go beyond what was trained.",
        "- The code is a summary that was learned without labels: whether it holds what you need is for you to test.",
    ]
    if config.variational:
        lines.append("- `encode` gives the mean of the code's distribution, not a sample.")
    return "## Limits\n\n" + "\n".join(lines) + "\n"


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=as_typed("python -m video_ae hub"),
        description=as_typed(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help=as_typed("folder that train.py wrote, or a saved model"))
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write a new folder")
    parser.add_argument("--push", metavar="USER/NAME", help="upload it to this repository")
    parser.add_argument("--private", action="store_true", help="the repository must not be public")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    arguments = parser.parse_args(words)
    if not arguments.out and not arguments.push:
        parser.error("nothing to do: say --out FOLDER, --push USER/NAME or both")
    if arguments.private and not arguments.push:
        parser.error("--private changes nothing without --push; leave it out")
    return arguments


def main(arguments: argparse.Namespace) -> None:
    if arguments.out:
        write_folder(arguments.run, arguments.out, arguments.push or _NAME)
        print(f"written  {arguments.out}: config.json, model.safetensors and {CARD}, which you may edit before --push")
    if arguments.push:
        address = push_to_hub(arguments.out or arguments.run, arguments.push, private=arguments.private)
        print(f"pushed   {address}")


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)
