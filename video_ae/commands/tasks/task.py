"""What a task says of itself: its name, its flags, what it does, what a report shows of it; and flags that some share.

A task is a module here or anybody's own, once it is imported: a class below `Task` with `@register` above it. Those
here import nothing heavy at the top, because the `--help` of evaluate.py asks all of them.
"""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from markupsafe import Markup

from ...charts import error_chart
from ...config import FUTURE, RECONSTRUCTION
from ...datasets.flags import flag
from ...report.charts import line_chart
from ...report.markup import element, join
from ...report.page import data_table
from ...report.sections import Section, where
from ...report.tables import loss_name, metric_cells
from .. import cli

if TYPE_CHECKING:
    from .opened import Opened


class Task(Section, ABC):
    """Something that evaluate.py can do with a run; what its report shows of it, see `Section`.

    flags:      dataclasses whose fields are flags, see `datasets/flags.py`, absent or None where they are not given;
                several tasks may have one in common. A value that a field calls `standard` changes nothing.
    opens_data: whether it reads any, so that their flags, `--clips` and `--seed` change what it finds.
    out:        such a file as it writes for `--out`; "" where it writes none.
    needs_out:  whether it does nothing without; another writes that file and nothing else.
    shared:     whether the processes of torchrun share it.
    """

    flags: ClassVar[tuple[type, ...]] = ()
    opens_data: ClassVar[bool] = True
    out: ClassVar[str] = ""
    needs_out: ClassVar[bool] = True
    shared: ClassVar[bool] = False

    @abstractmethod
    def run(self, opened: Opened, arguments: argparse.Namespace) -> Any:
        """Write results into `opened.folder`, by `replace_results`, and print what came of it."""


@dataclass(frozen=True)
class Horizon:
    future_frames: int | None = flag(None, "how far to predict (default: as far as in training)", type=cli.positive)


def show_predictions(results: dict[str, Any]) -> Markup:
    """Metrics beside floor and baselines, and the loss by step, as `predict.json` and `rollout.json` have them."""
    made = {name: results[name] for name in (RECONSTRUCTION, FUTURE) if name in results}
    judged = FUTURE if FUTURE in made else RECONSTRUCTION
    about = (
        f"{results['clips']:,} clips of {where(results)}. Per frame; the baselines are judged on the {judged} frames."
    )
    cells = metric_cells(made | results["baselines"])
    chart = line_chart(error_chart(results, loss_name(made)))
    return join([element("p", about), data_table(cells, first=len(made)), chart])


Kind = TypeVar("Kind", bound=type[Task])
TASKS: dict[str, Task] = {}


def register(kind: Kind) -> Kind:
    """Let `--tasks` and reports know a task: `@register` above its class, in a module that is imported."""
    TASKS[kind.name] = kind()
    return kind
