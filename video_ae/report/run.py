"""Everything that a run folder has to show: `report.html`, one file that asks for no other.

Reads what train.py and evaluate.py wrote, knows no models, and shows what it finds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from safetensors import safe_open

from ..charts import short, training_chart
from ..config import from_json
from ..datasets.config import DataConfig
from ..files import read_json
from ..pretrained import WEIGHTS
from ..results import replace_results
from ..run_folder import RunFolder
from ..shell import as_typed, shell_path
from .charts import line_chart
from .markup import element
from .page import embed_animation, fact_list, guarded, section, write_page
from .sections import Section, section_of, task_of, where
from .tables import loss_name

REPORT = "report.html"
_FROM_PYTHON = {"dataset": "clips that were given in Python"}


def try_to_write(write: Callable[[], Path]) -> None:
    """Write a report and print where. What goes wrong is said in a line, no more: the results themselves are there."""
    try:
        print(f"report   {write()}")
    except Exception as error:
        print(f"no report: {type(error).__name__}: {error}", file=sys.stderr)


def write_run(run: RunFolder, tasks: Mapping[str, Section], results: Path | None = None) -> Path:
    """The report of a run and all its evaluations, in its folder, those of `tasks` first and in this order.

    Results that lie elsewhere have a report beside them, of them alone: the folder of the run may be somebody else's.
    Raises FileNotFoundError or ValueError where this is no run.
    """
    elsewhere = results is not None and not results.resolve().is_relative_to(run.path.resolve())
    evaluation, place = (results, results) if results and elsewhere else (run.evaluation, run.path)
    config, name = run.config(), run.path.resolve().name
    left = [(task, folder) for folder in (evaluation, *_subfolders(evaluation)) for task in _tasks_in(folder)]
    order = {name: place for place, name in enumerate(tasks)}
    left.sort(
        key=lambda pair: (order.get(pair[0], len(order)), pair[0])
    )  # whatever flags gave a task a folder of its own
    found = [(tasks.get(task) or Section(task), folder) for task, folder in left]
    sections = [
        guarded(section_of, folder, task, "" if folder == evaluation else folder.name) for task, folder in found
    ]
    if not found:
        sections.append(guarded(_samples, run))
    sections += [guarded(_training, run), guarded(_repeat, run, config)]
    head = [element("h1", name), guarded(_summary, run, config), guarded(_key_numbers, found)]
    return replace_report(place, name, head, sections)


def replace_report(folder: Path, title: str, head: Sequence[Markup], sections: Sequence[Markup]) -> Path:
    """The page in `folder`, in place of the last one. Raises FileExistsError where another file has its name."""
    with replace_results(folder, "report") as place:
        write_page(place / REPORT, title, head, sections)
    return folder / REPORT


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _tasks_in(folder: Path) -> list[str]:
    """The tasks that left JSON or pictures in a folder. A folder of a model holds no results."""
    if not folder.is_dir() or (folder / WEIGHTS).exists():
        return []
    return sorted({task_of(path) for path in folder.iterdir() if path.suffix in (".json", ".png", ".gif")})


def _summary(run: RunFolder, config: dict[str, Any]) -> Markup:
    """What was trained, in a sentence."""
    model, rows, data = config["model"], run.metrics(), _FROM_PYTHON
    if config["data"]:
        data = from_json(DataConfig, config["data"], str(run.path / "config.json")).facts()
    kind = "composite" if len(model["decoders"]) > 1 else model["decoders"][0]
    about = f"A {kind} LSTM autoencoder"
    if (run.model / WEIGHTS).is_file():
        about += f" with {short(weights_size(run.model / WEIGHTS))} parameters"
    about += ", trained"
    if rows:
        about += f" for {duration(rows[-1]['seconds'])} on {rows[-1]['sequences_seen']:,} sequences"
    return element("p", f"{about} of {where(data)}.", class_="lede")


def weights_size(weights: Path) -> int:
    """How many numbers there are in a file of weights; those that are not parameters are two for each channel."""
    with safe_open(weights, "np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no dictionary


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _key_numbers(found: Sequence[tuple[Section, Path]]) -> Markup:
    """A few numbers of every task, from the first folder that it left some in."""
    tiles: dict[str, dict[str, tuple[str, str]]] = {}
    for task, folder in found:
        if task.name not in tiles and (path := folder / f"{task.name}.json").is_file():
            tiles[task.name] = task.tiles(read_json(path))
    return element(
        "ul",
        *(
            element("li", element("span", name), element("strong", number), element("small", beside))
            for some in tiles.values()
            for name, (number, beside) in some.items()
        ),
        class_="tiles",
    )


def _samples(run: RunFolder) -> Markup:
    """The last GIF of the training, where nothing was evaluated yet."""
    samples = sorted(run.samples.glob("*.gif"))
    advice = element("p", f"Not evaluated yet: {as_typed('python evaluate.py')} {shell_path(run.path)}", class_="note")
    alt = "A validation clip: truth, model, error"
    return section("A validation clip", advice, *(embed_animation(path, alt) for path in samples[-1:]))


def _training(run: RunFolder) -> Markup:
    rows = run.metrics()
    judged = [row for row in rows if "validation" in row]
    if not judged:
        return section("Training", element("p", "No validation yet.", class_="note"))
    loss = loss_name({name: judged[-1]["validation"][name] for name in judged[-1]["validation"] if name != "clips"})
    last = judged[-1]
    facts = {"steps": last["step"], "sequences seen": last["sequences_seen"], "time": duration(last["seconds"])}
    facts["sequences per second"] = last["sequences_per_second"]
    memory = last.get("peak_memory_bytes")
    facts |= {"peak memory": f"{memory / 1e9:.2f} GB"} if memory else {}
    return section("Training", line_chart(training_chart(rows, loss)), fact_list(facts))


def _repeat(run: RunFolder, config: dict[str, Any]) -> Markup:
    """The commands, the machine and the config."""
    path = run.path / "env.json"
    starts = read_json(path) if path.is_file() else []
    parts = []
    for number, start in enumerate(starts):
        parts.append(element("h3", f"{'Resumed' if number else 'Started'} {start.get('started', '')}"))
        parts.append(element("pre", element("code", f"python {start.get('command', '')}")))
        parts.append(fact_list({name: value for name, value in start.items() if name not in ("command", "started")}))
    for name, values in config.items():
        parts.append(element("details", element("summary", f"Config: {name}"), fact_list(values)))
    return section("How to repeat it", *parts)
