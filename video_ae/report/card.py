"""The model card of a run or a saved model, for the Hugging Face Hub: Markdown that says what is known of the model."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from ..config import FUTURE, RECONSTRUCTION, ModelConfig
from ..files import read_json
from ..models import LSTMAutoencoder
from ..pretrained import model_folder, sequences_seen
from ..run_folder import RunFolder
from ..shell import as_typed, shell_path
from .tables import metric_cells, text_table

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
_PAPER = "[Srivastava, Mansimov and Salakhutdinov, ICML 2015](https://arxiv.org/abs/1502.04681)"


def model_card(source: Path | str, repo_id: str) -> str:
    """The README.md of a run or of a saved model: front matter for the Hub, and what is known of the model.

    repo_id: where the card says that the model is. Paths of the machine that trained it are left out.

    Raises FileNotFoundError where there is no model, ValueError where it is damaged or no autoencoder, or where its
    evaluation is of other weights or data.
    """
    source = Path(source)
    model, seen, run = LSTMAutoencoder.from_pretrained(source), sequences_seen(source), RunFolder(source)
    of_run = run.exists() and model_folder(source) == run.model
    offsets = run.data().get("offsets") if of_run else None
    parts = [
        _FRONT_MATTER.format(kind="time-series" if model.config.features else "video"),
        _description(model),
        _usage(model.config, repo_id, offsets),
    ]
    if of_run:
        results = _results(run, seen)
        parts += [_training(run, seen, results), _results_table(model, results)]
    elif seen is not None:
        parts.append(f"## Training\n\n{seen:,} sequences; more was not written down.\n")
    return "\n".join([*parts, _limits(model.config)])


def _description(model: LSTMAutoencoder) -> str:
    config = model.config
    tasks = {RECONSTRUCTION: "rebuilds them", FUTURE: f"predicts the {config.future_frames} that follow"}
    units = "convolutional LSTM units at every patch" if config.convolutional else "LSTM units"
    facts = {
        "layers": f"{' and '.join(map(str, config.hidden_sizes))} {units}{', peepholes' if config.peephole else ''}",
        "patches": config.patch_size and f"{config.patch_size}x{config.patch_size} pixels",
        "bottleneck": config.code_size and f"{config.code_size} numbers{', variational' if config.variational else ''}",
        "the code is read": config.repeat_code and "at every step",
        "conditional decoders": ", ".join(config.conditional),
        "outputs": config.output,
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
    }
    clip, does = "sequence" if config.features else "clip", " and ".join(tasks[name] for name in config.decoders)
    return (
        f"# LSTM autoencoder\n\nAn LSTM autoencoder after\n{_PAPER}.\n"
        f"It reads {_frames(config)}, {config.input_frames} in training. From its state after the last one, the code of"
        f" the\n{clip}, it {does}.\n\n{_list(facts)}\n"
    )


def _frames(config: ModelConfig) -> str:
    channels, height, width = config.frame_shape
    return f"vectors of {channels} features" if config.features else f"frames of {channels}x{height}x{width}"


def _list(facts: dict[str, Any]) -> str:
    """Those that there are, a line each."""
    return "\n".join(
        f"- {name.replace('_', ' ')}: {', '.join(map(str, fact)) if isinstance(fact, list) else fact}"
        for name, fact in facts.items()
        if fact not in (None, False, "", [])
    )


def _usage(config: ModelConfig, repo_id: str, offsets: list[float] | None) -> str:
    """`offsets` are what was subtracted from the features in training, before they became float32."""
    features = config.features and config.patch_size is None
    kind = "float32 (B, T, D)" if features else "uint8 (B, T, C, H, W), or floats in 0 to 1"
    name, add = "sequences" if features else "clips", " + offsets" if offsets else ""
    lines = [
        *(["import torch"] if offsets else []),
        "from video_ae import LSTMAutoencoder",
        "",
        f'model = LSTMAutoencoder.from_pretrained("{repo_id}", download=True)  # or a folder',
    ]
    if offsets:
        lines += [
            f"offsets = torch.tensor({offsets}, dtype=torch.float64)",
            f"centred = ({name} - offsets).float()  # {name}: float64 (B, T, D), from which float32 takes too much",
            "codes = model.encode(centred)",
        ]
        name = "centred"
    else:
        lines.append(f"codes = model.encode({name})  # {name}: {kind}")
    calls = {
        RECONSTRUCTION: f"rebuilt = model.reconstruct({name}){add}",
        FUTURE: f"future = model.predict({name}, steps=10){add}",
    }
    code = "\n".join([*lines, *(calls[decoder] for decoder in config.decoders)])
    return f'## Use\n\n`pip install "video-ae[hub]"`, then:\n\n```python\n{code}\n```\n'


def _results(run: RunFolder, seen: int | None) -> dict[str, Any] | None:
    """The standard evaluation, None before there is one. Raises ValueError where it is not of this model and data."""
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


def _training(run: RunFolder, seen: int | None, results: dict[str, Any] | None) -> str:
    """What it was trained on and how. Which fields the data set reads is known from the evaluation alone."""
    config = run.config()
    data, training = config["data"], config["training"]
    read = ["dataset"] if results is None else [name for name in data if results.get(name) not in (None, "", False)]
    facts = {name: data[name] for name in read if not _is_path(name)}
    facts["sequences seen"] = None if seen is None else f"{seen:,}"
    facts |= {name: training.get(name) for name in ("steps", "max_minutes", "batch_size", "lr", "seed")}
    environment = run.path / "env.json"
    if environment.is_file():
        machine = read_json(environment)[-1]
        facts |= {"machine": machine.get("gpu") or machine.get("processor"), "torch": machine.get("torch")}
    return f"## Training\n\n{_list(facts)}\n\nThe weights are those of the lowest validation loss.\n"


def _is_path(name: str) -> bool:
    """Whether a field of a data config says where files lie, which is private, or how they came there."""
    return name.endswith(("_dir", "_path", "_file")) or name == "download"


def _results_table(model: LSTMAutoencoder, results: dict[str, Any] | None) -> str:
    if results is None:
        return "## Results\n\nNot evaluated.\n"
    rows = {name: results[name] for name in model.decoders} | results["baselines"]
    lines = textwrap.indent(text_table(metric_cells(rows)), "    ")
    kind = "sequences" if model.config.features else "clips"
    return f"## Results\n\n{results['clips']:,} {results['split']} {kind}, free running.\n\n{lines}\n"


def _limits(config: ModelConfig) -> str:
    others = "and no others" if not config.convolutional else f"and others whose sides {config.patch_size} divides"
    lines = [
        "## Limits\n",
        f"- It reads {_frames(config)} {others}; expect little on data unlike those it was trained on.",
        "- Predictions blur, and drift, the farther they go beyond what was trained.",
        "- The code is a summary that was learned without labels: whether it holds what you need is for you to test.",
    ]
    if config.variational:
        lines.append("- `encode` gives the mean of the code's distribution, not a sample.")
    return "\n".join(lines) + "\n"
