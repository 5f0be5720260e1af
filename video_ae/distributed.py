"""Many processes, one run: who they are and what they tell each other. A process alone tells nobody anything.

`torchrun` starts the processes, one per GPU or, on CPUs, as many as are asked for.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed.nn  # before there is a group: its defaults would hold it for ever
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from .device import choose_device
from .errors import Interrupted
from .models import LSTMAutoencoder

T = TypeVar("T")
_OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
_CPU = torch.device("cpu")
_PATIENCE = timedelta(hours=2)  # while one process downloads or decodes what all of them are going to read


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run: number `rank` of `size`, computing on `device`.

    Every method but `share` must be called by all ranks, in the same order.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and speaks to the user."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This rank's part of `items`: all parts, rank after rank, are the whole; the first may be longer by one."""
        least, more = divmod(len(items), self.size)
        begin = self.rank * least + min(self.rank, more)
        return list(items[begin : begin + least + (self.rank < more)])

    def total(self, values: Tensor) -> Tensor:
        """The sum over the ranks of tensors of one shape on `device`."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def sums(self, *values: float) -> list[float]:
        """The sum of each of the values over the ranks."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def largest(self, *values: float) -> list[float]:
        """The largest of each of the values over the ranks."""
        return self._reduced(values, distributed.ReduceOp.MAX)

    def _reduced(self, values: Sequence[float], operation: distributed.ReduceOp.RedOpType) -> list[float]:
        if self.size == 1:
            return list(values)
        found = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(found, operation)
        return found.tolist()

    def gather(self, value: T) -> list[T]:
        """Every rank's value, of a kind that JSON can hold, in order."""
        if self.size == 1:
            return [value]
        own = self._to_bytes(value)
        (longest,) = self.largest(len(own))
        padded = torch.zeros(int(longest), dtype=torch.uint8, device=self.device)
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(found, padded)
        return [_from_bytes(each) for each in found]

    def on_first(self, action: Callable[[], T]) -> T:
        """What `action` returns on the first rank, of a kind that JSON can hold, while the others wait.

        What it raises there, the first rank raises; the others end in silence instead of waiting for ever.
        """
        if self.size == 1:
            return action()
        told = torch.zeros(0, dtype=torch.uint8, device=self.device)  # so it stays where `action` raises
        try:
            if self.is_main:
                result = action()
                told = self._to_bytes(result)
        finally:
            (length,) = self.largest(len(told))
            if length:
                told = told if self.is_main else torch.empty(int(length), dtype=torch.uint8, device=self.device)
                distributed.broadcast(told, 0)
        if not length:
            raise SystemExit(1)
        return result if self.is_main else _from_bytes(told)

    def _to_bytes(self, value: Any) -> Tensor:
        return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)

    def parallel(self, model: LSTMAutoencoder) -> LSTMAutoencoder | DistributedDataParallel:
        """The same weights, whose gradients are averaged over the ranks while they are computed.

        DistributedDataParallel sends the decoders' gradients while the encoder's are on their way, and in one order on
        every rank, whatever the lengths of its sequences. One all-reduce after the backward pass would be no shorter to
        write and would wait for all of it. It begins with the first rank's weights.
        """
        if self.size == 1:
            return model
        return DistributedDataParallel(model, gradient_as_bucket_view=True)


def _from_bytes(told: Tensor) -> Any:
    return json.loads(told.cpu().numpy().tobytes().rstrip(b"\0"))


ALONE = Ranks()


def launched() -> bool:
    """Whether torchrun started this process, with others."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


@contextmanager
def join(device_name: str) -> Iterator[Ranks]:
    """Within it, this process is one of those that torchrun started, or alone. `device_name`: auto, cpu, cuda, ...

    Ranks that end for a reason that all have in common leave it to the first to say so. Raises ValueError for a device
    that the machine lacks or that the processes cannot have each for itself, and ConnectionError where another rank is
    gone.
    """
    if not launched():
        yield Ranks(device=choose_device(device_name))
        return
    device = _own_device(device_name)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE, device_id=device if backend == "nccl" else None)
    ranks = Ranks(distributed.get_rank(), distributed.get_world_size(), device)
    if ranks.is_main and _may_miss_each_other():
        print(f"warning: a restart by torchrun may hang: start it with {_OWN_STORE}=1", file=sys.stderr)
    try:
        yield ranks
    except (Interrupted, FloatingPointError) as end:
        error: BaseException | None = end
        while error is not None:  # its frames hold the model whose gradients are shared, and that holds the group
            traceback.clear_frames(error.__traceback__)
            error = error.__cause__ or error.__context__
        _take_leave()
        if ranks.is_main:
            raise
        raise SystemExit(128 + end.signal_number if isinstance(end, Interrupted) else 1) from end
    except RuntimeError as lost:
        if "gloo" in str(lost) or isinstance(lost, distributed.DistBackendError):
            raise ConnectionError(f"rank {ranks.rank} lost the others; see why the first of them ended") from lost
        raise
    _take_leave()  # not after an error: the others may be gone, and it would wait for them


def _take_leave() -> None:
    """Give up the group and end its threads, which happens once nobody holds it.

    One that still put tensors away while Python ends would abort the process (seen on busy machines, with torch 2.14).
    """
    gc.collect()
    distributed.destroy_process_group()


def _may_miss_each_other() -> bool:
    """Whether restarted processes could read the addresses of those that have ended, and wait for them: seen with torch
    2.15, whose agent keeps one store of addresses for all attempts, unless it is told not to."""
    return os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0" and os.environ.get(_OWN_STORE) != "1"


def _own_device(name: str) -> torch.device:
    """The GPU of this process, by its number on its machine; the CPU is everybody's."""
    device = choose_device(name)
    if device.type == "cpu":
        return device
    processes, found = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if str(device) != "cuda" or processes > found:
        raise ValueError(
            f"--device {name} for {processes} processes on a machine with {found} GPUs: expected cuda, with a GPU for"
            f" each, or cpu; choose --nproc-per-node {found}"
        )
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own
