"""Out of domain: moving digits as the model never saw them (Srivastava et al., 2015, section 4.1)."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from markupsafe import Markup

from ...charts import METRICS
from ...config import FUTURE, LOSS_NAMES, RECONSTRUCTION, ModelConfig
from ...datasets.config import DataConfig
from ...files import write_json
from ...report.markup import element, join
from ...report.page import data_table, player, read_sheet
from ...report.tables import Cells, loss_name, metric_text, text_table
from ...results import replace_results
from .opened import FEW_CLIPS, Opened, batches
from .task import Task, register

if TYPE_CHECKING:
    from torch import Tensor

    from ...datasets.clips import Clips

_DRAWN = 2  # clips in a strip
_PLAYED = 4  # in a sheet
_AS_TRAINED = "as trained"
_OPTICAL = "optical"  # the bundled digits, which need no files


@register
class Ood(Task):
    name = "ood"
    title = "On other data"
    alt: ClassVar = {"ood-*": "frames of some clips, the truth above what the model made of it"}
    drawn = ("ood-*-sheet",)

    def run(self, opened: Opened, arguments: argparse.Namespace) -> dict[str, Any]:
        """Write `ood.json` and, for every setting, a strip, a GIF and a sheet; print a table and the paths.

        The settings are the training's own, one digit fewer and one more, half and twice the speed, other digit images,
        larger frames where the model is convolutional, and what the flags ask for. Every setting has its own baselines.
        Raises ValueError where the model was trained, or is to be judged, on anything but moving digits.
        """
        from ...evaluation import predict_clips
        from ...visualize import save_clip_gif, save_sheet, save_strip

        model, folder, count = opened.model, opened.folder, arguments.clips or FEW_CLIPS
        for data in (opened.trained_on, opened.data):
            if not data.generated:
                raise ValueError(f"ood changes how digits move; found --dataset {data.dataset}, expected moving-mnist")
        judged = FUTURE if FUTURE in model.decoders else RECONSTRUCTION
        chosen = settings(opened.trained_on, opened.data, model.config)
        clips = {name: data.open("test", model.config.frames, seed=arguments.seed) for name, data in chosen.items()}
        with replace_results(folder, "ood") as place:
            rows: dict[str, dict[str, Any]] = {}
            for name in chosen:
                judgement = _judge(opened, clips[name], count, arguments.batch_size, judged, name)
                rows[name] = judgement | {"data": chosen[name].facts()}
                drawn = predict_clips(model, clips[name].__getitems__(range(min(count, _PLAYED))), opened.device)
                save_strip(place / f"{file_name(name)}.png", drawn[:_DRAWN])
                save_clip_gif(place / f"{file_name(name)}.gif", drawn[0])
                save_sheet(place / f"{file_name(name)}-sheet.png", drawn)
            results = {"settings": rows, "judged": judged, "split": "test"} | opened.facts(arguments)
            write_json(place / "ood.json", results)

        print(text_table(ood_cells(results, dict.fromkeys([LOSS_NAMES[model.config.output], "mse"]))))
        print(f"\n{count} test clips of each setting, the {judged} frames of each")
        if {opened.trained_on.facts()["digits"], opened.data.facts()["digits"]} == {_OPTICAL}:
            print("other digits are left out: --digits mnist --data-dir FOLDER, the one of MNIST/raw, adds them")
        width = max(map(len, chosen)) + 1
        print("\n".join(f"{name:<{width}}{folder / file_name(name)}.png and .gif" for name in chosen))
        print(f"{'metrics':<{width}}{folder / 'ood.json'}")
        return results

    def show(self, folder: Path, results: Any) -> Markup:
        """One row per setting: the loss of the model and of the trivial baselines there."""
        judged, found = results["judged"], results["settings"]
        some = next(iter(found.values()))
        loss = loss_name({judged: some[judged]})
        about = f"{some['clips']:,} test clips of each setting; {METRICS[loss]} per frame of the {judged}."
        paths = {name: folder / f"{file_name(name)}-sheet.png" for name in found}
        sheets = [sheet for name, path in paths.items() if path.is_file() and (sheet := read_sheet(path, name))]
        played = [player(sheets)] if sheets else []  # older results have none
        return join([*played, element("p", about), data_table(ood_cells(results, [loss]), first=1)])


def file_name(setting: str) -> str:
    """What the files of a setting begin with."""
    return f"ood-{setting.replace(' ', '-')}"


def _judge(opened: Opened, clips: Clips, count: int, batch_size: int, judged: str, name: str) -> dict[str, Any]:
    """What `evaluate` gives for the first `count` clips, and under `baselines` what needs no training there."""
    from ...evaluation import evaluate_baselines, evaluate_batches, mean_frame

    def loaded(what: str) -> Iterator[Tensor]:
        return batches(clips, range(count), batch_size, f"{name}, {what}")

    results = evaluate_batches(opened.model, loaded("model"), opened.device)
    mean = mean_frame(loaded("mean frame"))
    return results | {"baselines": evaluate_baselines(opened.model, loaded("baselines"), mean, judged, opened.device)}


def settings(trained_on: DataConfig, asked_for: DataConfig, config: ModelConfig) -> dict[str, DataConfig]:
    """DataConfig by what is different about them from `trained_on`, which is the first."""
    facts = trained_on.facts()
    digits, (lowest, highest), size = facts["num_digits"], facts["speed"], facts["image_size"]
    changes: list[dict[str, Any]] = [{"num_digits": number} for number in (digits - 1, digits + 1) if number]
    changes += [{"speed": (factor * lowest, factor * highest)} for factor in (0.5, 2)]
    if facts["digits"] != _OPTICAL:
        changes.append({"digits": _OPTICAL})
    if config.convolutional and config.patch_size is not None:
        changes.append({"image_size": 3 * size // 2 // config.patch_size * config.patch_size})
    found = {_AS_TRAINED: trained_on}
    for data in (*(trained_on.changed_by(change) for change in changes), asked_for):
        found.setdefault(_name(data.facts(), facts), data)
    return found


def _name(facts: dict[str, Any], trained: dict[str, Any]) -> str:
    """What is different, in words that can name a file."""
    texts = {
        "num_digits": "{} digits" if facts["num_digits"] > 1 else "{} digit",
        "digits": "{} digits",
        "image_size": "{0}x{0} pixels",
    }
    words = [text.format(facts[key]) for key, text in texts.items() if facts[key] != trained[key]]
    if facts["speed"] != trained["speed"]:
        words.append(f"{' to '.join(f'{speed:g}' for speed in sorted(set(facts['speed'])))} pixels per frame")
    return " ".join(words) or _AS_TRAINED


def ood_cells(results: Mapping[str, Any], metrics: Iterable[str]) -> Cells:
    """A row per setting: the error of the judged decoder and of every baseline, for every metric."""

    def errors(row: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": row[results["judged"]], **row["baselines"]}

    first = errors(next(iter(results["settings"].values())))
    columns = [(metric, name) for metric in metrics for name, values in first.items() if values.get(metric) is not None]
    cells: Cells = [("", *(f"{METRICS[metric]}, {name.replace('_', ' ')}" for metric, name in columns))]
    for setting, row in results["settings"].items():
        cells.append((setting, *(metric_text(metric, errors(row)[name][metric]) for metric, name in columns)))
    return cells
