"""Runs the campaigns and writes what came of them to docs/reliability.json, and from that docs/reliability.md.

python -m benchmarks.torture                       # all of them, in full: hours
python -m benchmarks.torture --share 0.1           # a tenth of each
python -m benchmarks.torture --only bit_flips --seed 1

Each outcome replaces the last one of its campaign as soon as it is known. It is not measured again at the same commit
with the same count and seed, unless --only names it: a run of hours can be cut short and gone on with.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.torture import checkpoints, faults, foreign, hostile, kills, properties, soak, videos
from benchmarks.torture.outcome import Outcome

ROOT = Path(__file__).parent.parent.parent
Campaign = Callable[[int, int, Path], Outcome]

CAMPAIGNS: list[tuple[Campaign, int]] = [  # in the order of the table, with the counts of a full run
    (checkpoints.resume_at_every_step, 520),
    (checkpoints.resume_on_two_ranks, 520),
    (kills.every_system_call, 1000),
    (kills.random_sigkills, 500),
    (kills.random_sigterms, 50),
    (kills.random_sigints, 50),
    (faults.disk_full, 20),
    (faults.read_only_folder, 4),
    (faults.second_process, 5),
    (checkpoints.bit_flips, 1000),
    (checkpoints.truncations, 300),
    (checkpoints.zeroed_pages, 300),
    (checkpoints.missing_and_swapped_files, 100),
    (faults.not_finite, 10),
    (faults.worker_kills, 20),
    (faults.worker_hangs, 5),
    (hostile.hostile, 39),
    (videos.videos, 3000),
    (videos.bombs, 10),
    (properties.properties, 500),
    (foreign.foreign, 4200),
    (soak.soak, 120),  # minutes
]


def measure(campaign: Campaign, count: int, seed: int) -> dict[str, Any]:
    """One row of the table."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"torture-{campaign.__name__}-") as folder:
        outcome = campaign(count, seed, Path(folder))
    return dataclasses.asdict(outcome) | {
        "name": campaign.__name__,
        "count": count,
        "seed": seed,
        "seconds": round(time.monotonic() - started),
        "commit": _commit(),
        "machine": _machine(),
    }


def page(rows: list[dict[str, Any]]) -> str:
    """docs/reliability.md of the rows in docs/reliability.json: everything that was measured, and nothing else."""
    full = {campaign.__name__: count for campaign, count in CAMPAIGNS}
    lines = [
        "# Reliability",
        "",
        "Written by `make torture` (`python -m benchmarks.torture`); the tests contain a small sample of each.",
        "A row is repeated with `python -m benchmarks.torture --only NAME --count COUNT --seed SEED`.",
        "",
        "| campaign | tried | held | promise | measured | NAME, seed | minutes | commit, machine |",
        "|---|---:|---:|---|---|---|---:|---|",
    ]
    letters = dict(zip(sorted({row["machine"] for row in rows}), "ABCDEFGH", strict=False))
    for row in rows:
        tried, held = row["tried"], row["tried"] - len(row["failures"])
        part = "" if row["count"] >= full[row["name"]] else f" (of {full[row['name']]} in a full run: {row['count']})"
        minutes, where = f"{row['seconds'] / 60:.1f}", f"{row['commit']}, {letters[row['machine']]}"
        cells = [row["campaign"] + part, tried, held, row["promise"], row["note"], f"`{row['name']}`, {row['seed']}"]
        lines.append("| " + " | ".join(map(str, [*cells, minutes, where])) + " |")
    failures = [f"- `{row['name']}`: {failure}" for row in rows for failure in row["failures"]]
    if failures:
        lines += ["", "## What did not hold", "", *failures]
    lines += ["", *(f"- {letter}: {machine}" for machine, letter in letters.items()), ""]
    return "\n".join(lines)


def _commit() -> str:
    """Of the checkout, and whether anything but what this program writes was changed since."""
    commit = _git("describe", "--always").stdout.strip() or "unknown"
    return commit + ("-dirty" if _git("diff", "--quiet", "HEAD", "--", ".", ":!docs").returncode == 1 else "")


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)


def _machine() -> str:
    processor = torch.cpu.get_capabilities().get("cpu_name", platform.processor())
    python = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{os.cpu_count()} cores, {processor}, {platform.system()}, {python}."


def parse_arguments() -> argparse.Namespace:
    names = [campaign.__name__ for campaign, _ in CAMPAIGNS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts (default: 1)")
    parser.add_argument("--count", type=int, help="instead of the full counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--results", type=Path, default=ROOT / "docs" / "reliability.json", help="the outcomes; the page lies beside it"
    )
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    torch.set_num_threads(1)  # what is forked from a process with OpenMP threads waits for ever in a large product
    known = json.loads(arguments.results.read_text()) if arguments.results.is_file() else []
    rows = {row["name"]: row for row in known}
    failed = False
    for campaign, full in CAMPAIGNS:
        name = campaign.__name__
        if arguments.only is not None and name not in arguments.only:
            continue
        count = arguments.count or max(1, math.ceil(full * arguments.share))
        asked = {"count": count, "seed": arguments.seed, "commit": _commit()}
        if arguments.only is not None or not asked.items() <= rows.get(name, {}).items():
            rows[name] = measure(campaign, count, arguments.seed)
            write(arguments.results, rows)
        failures = rows[name]["failures"]
        print(f"{name}: {rows[name]['tried'] - len(failures)} of {rows[name]['tried']} held", flush=True)
        for failure in failures:
            print(f"  {failure}")
        failed |= bool(failures)
    return int(failed)


def write(results: Path, rows: dict[str, dict[str, Any]]) -> None:
    """The rows by name as JSON and, beside it, as the page; both in the order of the campaigns."""
    ordered = [rows[campaign.__name__] for campaign, _ in CAMPAIGNS if campaign.__name__ in rows]
    results.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")
    results.with_suffix(".md").write_text(page(ordered))


if __name__ == "__main__":
    sys.exit(main())
