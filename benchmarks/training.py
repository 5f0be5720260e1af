"""How fast is it, beside nn.LSTM, Keras, a plain loop of convolutions and the matrix products of this machine?

    python benchmarks/training.py                                    # all of it: both cells, and a shared machine
    python benchmarks/training.py --hidden-size 512 1024 2048 --batch-size 16 64 128                # dense models alone
    python benchmarks/training.py --alone --layers 1 2 --conditional --hidden-size 512 1024 2048 --batch-size 64 128
    python benchmarks/training.py --cell conv                        # the convolutional model alone
    python benchmarks/training.py --sharing                          # beside a busy process and under a quota alone
    python benchmarks/training.py --sweep                            # cost of a step against every size

Every contender is a process of its own, so that its peak memory is its own, and they take turns: load on the machine
meets all of them. The best and the median of the rounds are printed; ratios are the medians of the rounds' own. Keras
takes part on each backend that is installed. All are there in float32 and in bf16; `video-ae` without either is what
train.py does unless it is told otherwise, and it is held against the fastest of the others, whatever their precision.

Efficiency is what the best step makes of the rate at which this machine, in this run, does the recurrent matrix
products alone, in the same precision: FLOPs of the step / its seconds / that rate. It can exceed 1 where the input
products and readouts, which are larger, run at a better rate. Of a convolutional cell the products are the convolutions
over the grid.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from video_ae.config import (
    CELLS,
    CONVOLUTIONAL,
    DECODERS,
    DENSE,
    FUTURE,
    PRESETS,
    RECONSTRUCTION,
    ModelConfig,
    TrainConfig,
)  # no torch here: this process only waits

TASKS = ("training", "encoding", "prediction", "evaluation", "painting")
_PRECISIONS = ("float32", "bf16")
_PRODUCTS = tuple(f"products, {precision}" for precision in _PRECISIONS)  # timed beside the training steps
_DEFAULT_OURS = "video-ae"  # in the precision of its choice
_OURS = (_DEFAULT_OURS, *(f"video-ae, {precision}" for precision in _PRECISIONS))
_PLAIN = {DENSE: "nn.LSTM", CONVOLUTIONAL: "plain loop"}
_SIZES = {DENSE: ("dense", (16, 128)), CONVOLUTIONAL: ("conv", (16,))}  # preset and batches, unless others are named
_LONGER = 4  # times as long as the others' are turns on a shared machine, whose scheduler has a rhythm of its own
_BACKENDS = ("tensorflow", "jax")
_TAPS = 9  # of a 3 x 3 convolution
_SWEEP: dict[str, tuple[int, ...]] = {  # one at a time; the others as in the preset `dense`
    "hidden size": (128, 256, 512, 1024, 2048),
    "frames": (5, 10, 20, 40),  # each, to read and to predict
    "batch size": (1, 4, 16, 64, 256),
    "layers": (1, 2, 3),
    "image size": (32, 64, 96, 128),
}
_DEFAULT = {"hidden size": 512, "frames": 10, "batch size": 16, "layers": 1, "image size": 64}


def step_flops(config: ModelConfig, batch: int) -> int:
    """Floating-point operations of the matrix products in one training step."""
    return batch * positions(config) * sum(flops * times for flops, times in _products(config))


def forward_flops(config: ModelConfig, batch: int) -> int:
    """Those of the forward pass of a training step alone."""
    return batch * positions(config) * sum(flops for flops, _ in _products(config))


def _products(config: ModelConfig) -> Iterator[tuple[int, int]]:
    """FLOPs of the products that a sequence needs at one position, and how often: 1 plus the gradients to take.

    A product of (B, m) and (m, n) is 2 B m n. Backwards it costs as much again for the gradient of the weights, and for
    that of what was multiplied, which frames do not need. A convolution is such a product at every position and for
    every tap, those over the edge of the grid included.
    """
    from video_ae.matching import Matching

    D, top, taps = config.vector_size, config.hidden_sizes[-1], _TAPS if config.convolutional else 1
    steps = {"encoder": config.input_frames}
    steps |= {name: config.input_frames if name == RECONSTRUCTION else config.future_frames for name in config.decoders}
    for name, count in steps.items():
        reads_frames = name == "encoder" or name in config.conditional
        below = D if reads_frames else 0
        if name == "encoder" and config.matching:
            below += Matching(config).features
        for layer, size in enumerate(config.hidden_sizes):
            yield count * taps * 2 * size * 4 * size, 3
            yield count * taps * 2 * below * 4 * size, 3 if layer else 2
            below = size
        if name == "encoder":
            continue
        if config.convolutional:
            yield count * taps * 2 * top * 2 * top, 3
        width = 2 * top if config.convolutional else top
        yield count * 2 * width * D, 3
        if config.convolutional and name == FUTURE:
            yield from _motion_products(config, width, count)


def _motion_products(config: ModelConfig, features: int, count: int) -> Iterator[tuple[int, int]]:
    """The same of `Motion`, whose `features` choose the masks and shifts of a patch."""
    from video_ae.motion import MOVES, reach

    assert config.patch_size is not None
    P, channels = config.patch_size, config.frame_shape[0]
    Q, shifts = P + 2 * reach(P), 2 * reach(P) + 1
    yield count * 2 * features * ((1 + MOVES) * P * P + 2 * MOVES * shifts), 3
    yield count * 2 * 2 * MOVES * shifts * P * Q, 2  # the matrices of the shifts are constants
    rows, given = 2 * MOVES * P * Q * channels * Q, count if FUTURE in config.conditional else 1
    yield given * rows, 2  # of frames that are read
    yield (count - given) * rows, 3  # of frames that were predicted
    yield count * 2 * MOVES * P * channels * Q * P, 3


def positions(config: ModelConfig) -> int:
    """Patches of a frame."""
    _, height, width = config.frame_shape
    return 1 if config.patch_size is None else (height // config.patch_size) * (width // config.patch_size)


def product_flops(config: ModelConfig, batch: int) -> int:
    """Those of one recurrent product forwards and one backwards."""
    taps = _TAPS if config.convolutional else 1
    return 2 * 2 * batch * positions(config) * taps * config.hidden_sizes[0] * 4 * config.hidden_sizes[0]


_tasks: dict[str, Any] = {}  # of the contender that lives in this process


def _begin(name: str, config: ModelConfig, batch: int) -> None:
    from contenders import MAKERS

    _tasks.update(MAKERS[name](config, batch))


def _prepared(task: str) -> bool:
    """Whether the contender does this; what is compiled or allocated at the first calls is not timed."""
    for _ in range(2):
        if task in _tasks:
            _tasks[task]()
    return task in _tasks


def _seconds_per_call(task: str, least: float) -> float:
    """Of as many calls as fill `least` seconds."""
    call, calls, started = _tasks[task], 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < least or not calls:
        call()
        calls += 1
    return passed / calls


def _peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _machine() -> str:
    import torch

    return f"{_processor()}, threads: {torch.get_num_threads()}, torch {torch.__version__}"


def _processor() -> str:
    """Its name, as Linux or else Python knows it."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")


def _kernel(config: ModelConfig, batch: int) -> str:
    from contenders import kernel

    return kernel(config, batch)


def measure(
    contenders: Sequence[str], tasks: Sequence[str], config: ModelConfig, batch: int, *, rounds: int, least: float
) -> dict[str, Any]:
    """`seconds` per call, task by task and contender by contender, one per round; peak `megabytes` of training.

    `kernel` is the precision that this package chose to train in.
    """
    seconds: dict[str, dict[str, list[float]]] = {task: {} for task in tasks}
    megabytes = {}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin, initargs=(name, config, batch))
            )
            for name in contenders
        }
        for task in tasks:
            ready = {name: worker for name, worker in workers.items() if worker.submit(_prepared, task).result()}
            for _ in range(rounds):
                for name, worker in ready.items():
                    took = worker.submit(_seconds_per_call, task, least).result()
                    seconds[task].setdefault(name, []).append(took)
            if task == "training":  # the first: a peak never falls
                megabytes = {name: worker.submit(_peak_megabytes).result() for name, worker in ready.items()}
        kernel = workers[_DEFAULT_OURS].submit(_kernel, config, batch).result()
    return {"kernel": kernel, "seconds": seconds, "megabytes": megabytes}


def precision(name: str, kernel: str) -> str:
    """That in which a contender trains; `kernel` is this package's choice."""
    return name.partition(", ")[2] or kernel


def efficiency(name: str, config: ModelConfig, batch: int, training: dict[str, list[float]], kernel: str) -> float:
    """Of a contender's best step, see the top of this file."""
    alone = min(training[f"products, {precision(name, kernel)}"])
    return step_flops(config, batch) / min(training[name]) * alone / product_flops(config, batch)


def speedup(seconds: list[float], reference: list[float]) -> float:
    """How many times as fast, the median of the rounds."""
    return statistics.median(theirs / own for own, theirs in zip(seconds, reference, strict=True))


def at_best(contenders: dict[str, list[float]]) -> list[str]:
    """Every contender at its faster precision, the fastest first."""
    ranked = sorted(contenders.keys() - _PRODUCTS, key=lambda name: statistics.median(contenders[name]))
    best: dict[str, str] = {}
    for name in ranked:
        best.setdefault(name.partition(", ")[0], name)
    return list(best.values())


def print_cell(config: ModelConfig, batch: int, found: dict[str, Any]) -> None:
    """Every contender at every task, beside torch's plain model in float32."""
    size, training, kernel = config.hidden_sizes[0], found["seconds"]["training"], found["kernel"]
    kind = f"{', conditional' if config.conditional else ''}{f', {config.cell}' if config.convolutional else ''}"
    print(f"\nhidden size {size}, layers {config.layers}{kind}, batches of {batch}: ", end="")
    rates = (product_flops(config, batch) / min(training[name]) / 1e9 for name in _PRODUCTS)
    print(f"{step_flops(config, batch) / 1e9:.1f} GFLOP per step; video-ae chooses to train in {kernel}")
    rows = batch * positions(config)
    print(f"({rows}, {size}) x ({size}, {4 * size}){', convolved' * config.convolutional} alone: ", end="")
    print(", ".join(f"{rate:.0f} GFLOP/s in {kind}" for rate, kind in zip(rates, _PRECISIONS, strict=True)))
    plain = _PLAIN[config.cell]
    print(f"{'sequences/s':<40}{'best':>8}{'median':>8}{f'x {plain}':>14}{'efficiency':>12}{'peak MB':>9}")
    for task, contenders in found["seconds"].items():
        for name, seconds in contenders.items():
            if name in _PRODUCTS:
                continue
            cells = f"{batch / min(seconds):>8.1f}{batch / statistics.median(seconds):>8.1f}"
            reference = contenders.get(f"{plain}, float32")
            cells += f"{speedup(seconds, reference):>14.2f}" if reference else f"{'-':>14}"
            if task == "training":
                cells += f"{efficiency(name, config, batch, training, kernel):>12.2f}{found['megabytes'][name]:>9.0f}"
            print(f"{task:<12}{name:<28}{cells}")
    print("\nat the best precision of each, median sequences/s")
    for task, contenders in found["seconds"].items():
        if len(contenders) > 1:  # nobody else evaluates, or paints
            print_best(task, contenders, batch, kernel if task == "training" else "float32")  # elsewhere no choice


def print_best(task: str, contenders: dict[str, list[float]], batch: int, kernel: str) -> None:
    """One task's line, and how the choice of this package does against the fastest alternative."""
    in_words = {name: f"{name.partition(', ')[0]} ({precision(name, kernel)})" for name in contenders}
    best = at_best(contenders)
    print(f"{task:<12}", end="")
    print(", ".join(f"{in_words[name]} {batch / statistics.median(contenders[name]):.1f}" for name in best))
    others = [name for name in best if name not in _OURS]
    if others:
        ratio = speedup(contenders[_DEFAULT_OURS], contenders[others[0]])
        print(f"{'':<12}{in_words[_DEFAULT_OURS]} as it chooses is {ratio:.2f} x {in_words[others[0]]}")


def sweep_cells() -> Iterator[tuple[str, ModelConfig, int]]:
    """What is varied and its value, the model, the batch size."""
    for what, values in _SWEEP.items():
        for value in values:
            sizes = _DEFAULT | {what: value}
            config = ModelConfig(
                frame_shape=(1, sizes["image size"], sizes["image size"]),
                input_frames=sizes["frames"],
                future_frames=sizes["frames"],
                hidden_size=sizes["hidden size"],
                layers=sizes["layers"],
            )
            yield f"{what} {value}", config, sizes["batch size"]


Run = Callable[[Sequence[str], Sequence[str], ModelConfig, int], dict[str, Any]]  # `measure`, and keeps what it found


def sweep(run: Run) -> None:
    """A line for every size that is varied."""
    print(f"{'training':<20}{'s per step, best':>18}{'median':>10}{'GFLOP':>10}{'efficiency':>12}{'kernel':>9}")
    for name, config, batch in sweep_cells():
        found = run([*_PRODUCTS, _DEFAULT_OURS], TASKS[:1], config, batch)
        training, kernel = found["seconds"]["training"], found["kernel"]
        seconds, flops = training[_DEFAULT_OURS], step_flops(config, batch) / 1e9
        cost = f"{min(seconds):>18.4f}{statistics.median(seconds):>10.4f}{flops:>10.1f}"
        share = efficiency(_DEFAULT_OURS, config, batch, training, kernel)
        print(f"{name:<20}{cost}{share:>12.2f}{kernel:>9}", flush=True)


def compare(cell: str, arguments: argparse.Namespace, run: Run) -> None:
    """A table for every combination of sizes that is asked for, or for the cell's own ones."""
    preset, batches = _SIZES[cell]
    others = [_PLAIN[cell]]
    if cell == DENSE:
        others += [f"Keras on {backend}" for backend in _BACKENDS if find_spec("keras") and find_spec(backend)]
    alternatives = [f"{other}, {precision}" for other in others for precision in _PRECISIONS]
    contenders, tasks = [*_PRODUCTS, *_OURS, *alternatives], TASKS
    if arguments.alone:
        contenders, tasks = [*_PRODUCTS, *_OURS], TASKS[:1]
    conditional = DECODERS if arguments.conditional else ()
    hidden_sizes = arguments.hidden_size or [PRESETS[preset]["hidden_size"]]
    sizes = itertools.product(hidden_sizes, arguments.batch_size or batches, arguments.layers or [1])
    for size, batch, layers in sizes:
        shape = {"hidden_size": size, "layers": layers, "conditional": conditional}
        config = ModelConfig(**PRESETS[preset] | shape)
        print_cell(config, batch, run(contenders, tasks, config, batch))


def print_sharing(*, rounds: int, least: float) -> dict[str, Any]:
    """What the default run keeps of its rate on a shared machine; the seconds of all steps come back."""
    from sharing import Shared, beside_busy, under_quota

    config, batch = ModelConfig(**PRESETS["conv"]), TrainConfig().batch_size
    cases: dict[str, tuple[Callable[..., Shared], str, int]] = {
        "beside a busy process": (beside_busy, "the idle rate", 60),
        "under a quota of one core": (under_quota, "the rate of one thread without it", 90),
    }
    print(f"\nthe default model on two cores, batches of {batch}")
    seconds = {}
    for case, (measured, reference, goal) in cases.items():
        try:
            shared = measured(config, batch, rounds=rounds, least=least)
        except OSError as error:
            print(f"{case}: not measured: {error}")
            continue
        rate, threads = batch / statistics.median(shared.alone), f"thread{'s' * (shared.threads > 1)}"
        print(f"{case}, {shared.threads} {threads}: {shared.kept:.0%} of {reference}", end="")
        print(f", which is {rate:.1f} sequences/s (goal: at least {goal} %)", flush=True)
        seconds[case] = shared._asdict()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden-size", type=int, nargs="+", metavar="N", help="(default: 512, conv: 64)")
    parser.add_argument("--batch-size", type=int, nargs="+", metavar="N", help="(default: 16 128, conv: 16)")
    parser.add_argument("--layers", type=int, nargs="+", metavar="N", help="(default: 1)")
    parser.add_argument("--cell", choices=CELLS, help="conv: on 8x8 patches (default: lstm; if no size is given, both)")
    parser.add_argument("--conditional", action="store_true", help="decoders read their last frame")
    parser.add_argument("--alone", action="store_true", help="training steps of video-ae, beside the products alone")
    parser.add_argument("--sharing", action="store_true", help="the default model on a shared machine, nothing else")
    parser.add_argument("--sweep", action="store_true", help="video-ae alone, one size varied at a time")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of every contender (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S", help="least time of a turn (default: 0.5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    if arguments.cell == CONVOLUTIONAL and arguments.conditional and not arguments.alone:
        parser.error("the plain loop has no conditional decoders: --cell conv --conditional needs --alone")
    named = (arguments.cell, arguments.hidden_size, arguments.batch_size, arguments.layers)
    everything = not any((*named, arguments.conditional, arguments.alone, arguments.sharing, arguments.sweep))
    with ProcessPoolExecutor(1, get_context("spawn")) as worker:
        machine = worker.submit(_machine).result()
    print(machine)
    cells: list[dict[str, Any]] = []

    def run(contenders: Sequence[str], tasks: Sequence[str], config: ModelConfig, batch: int) -> dict[str, Any]:
        found = measure(contenders, tasks, config, batch, rounds=arguments.rounds, least=arguments.seconds)
        cell = {"model": asdict(config), "batch_size": batch, "step_flops": step_flops(config, batch)}
        cells.append({"machine": machine, **cell, **found})
        return found

    if arguments.sweep:
        sweep(run)
    elif not arguments.sharing:
        for cell in CELLS if everything else [arguments.cell or DENSE]:
            compare(cell, arguments, run)
    if everything or arguments.sharing:
        seconds = print_sharing(rounds=arguments.rounds, least=_LONGER * arguments.seconds)
        cells.append({"machine": machine, "sharing": seconds})
    if arguments.json:
        arguments.json.write_text(json.dumps(cells, indent=2) + "\n")


if __name__ == "__main__":
    main()
