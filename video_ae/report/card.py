"""The model card of a run or a saved model, for the Hugging Face Hub: `card.md`, filled in with what is known."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..files import read_json
from ..models import LSTMAutoencoder
from ..pretrained import model_folder, sequences_seen
from ..run_folder import RunFolder
from ..shell import as_typed, shell_path
from .tables import metric_cells, text_table


def model_card(source: Path | str, repo_id: str) -> str:
    """The README.md of a run or of a saved model: front matter for the Hub, and what is known of the model.

    repo_id: where the card says that the model is. Paths of the machine that trained it are left out.

    Raises FileNotFoundError where there is no model, ValueError where it is damaged or no autoencoder, or where its
    evaluation is of other weights or data.
    """
    source = Path(source)
    model, seen, run = LSTMAutoencoder.from_pretrained(source), sequences_seen(source), RunFolder(source)
    config = model.config
    channels, height, width = config.frame_shape
    series = config.features and config.patch_size is None
    about: dict[str, Any] = {"config": config, "repo_id": repo_id, "seen": seen, "model": _model_facts(model)}
    about["frames"] = f"vectors of {channels} features" if config.features else f"frames of {channels}x{height}x{width}"
    about["kind"] = "float32 (B, T, D)" if series else "uint8 (B, T, C, H, W), or floats in 0 to 1"
    about |= {"training": None, "offsets": None}
    if run.exists() and model_folder(source) == run.model:
        results = _results(run, seen)
        about |= {"results": results, "training": _training_facts(run, seen, results)}
        about["offsets"] = run.data().get("offsets")
        if results is not None:
            rows = {name: results[name] for name in model.decoders} | results["baselines"]
            about["table"] = text_table(metric_cells(rows))
    about["given"] = "centred" if about["offsets"] else "sequences" if series else "clips"
    template = files(__package__).joinpath("card.md").read_text("utf-8")
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    return environment.from_string(template).render(about)


def _model_facts(model: LSTMAutoencoder) -> dict[str, str]:
    config = model.config
    units = "convolutional LSTM units at every patch" if config.convolutional else "LSTM units"
    return _known(
        {
            "layers": f"{' and '.join(map(str, config.hidden_sizes))} {units}{', peepholes' * config.peephole}",
            "patches": config.patch_size and f"{config.patch_size}x{config.patch_size} pixels",
            "bottleneck": config.code_size and f"{config.code_size} numbers{', variational' * config.variational}",
            "the code is read": config.repeat_code and "at every step",
            "conditional decoders": list(config.conditional),
            "outputs": config.output,
            "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        }
    )


def _known(facts: dict[str, Any]) -> dict[str, str]:
    """Those that there are, in words."""
    return {
        name.replace("_", " "): ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact)
        for name, fact in facts.items()
        if fact not in (None, False, "", [])
    }


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


def _training_facts(run: RunFolder, seen: int | None, results: dict[str, Any] | None) -> dict[str, str]:
    """What it was trained on and how. Which fields the data set reads is known from the evaluation alone."""
    config = run.config()
    data, training = config["data"], config["training"]
    read = ["dataset"] if results is None else [name for name in data if results.get(name) not in (None, "", False)]
    facts = {name: data[name] for name in read if not _is_path(name)}
    facts["sequences seen"] = None if seen is None else f"{seen:,}"
    facts |= {name: training.get(name) for name in ("steps", "max_minutes", "batch_size", "seed")}
    facts["learning rate"] = training.get("lr")
    environment = run.path / "env.json"
    if environment.is_file():
        machine = read_json(environment)[-1]
        facts |= {"machine": machine.get("gpu") or machine.get("processor"), "torch": machine.get("torch")}
    return _known(facts)


def _is_path(name: str) -> bool:
    """Whether a field of a data config says where files lie, which is private, or how they came there."""
    return name.endswith(("_dir", "_path", "_file")) or name == "download"
