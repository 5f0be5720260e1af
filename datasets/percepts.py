"""Percepts: what is seen in each frame of a video, as features that a model reads instead of the pixels."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .image_networks import NETWORKS, NetworkPercepts, standard_weights
from .motion_percepts import MotionPercepts
from .names import MOTION, PERCEPTS


class Percepts(Protocol):
    """A kind of percepts.

    features: D, how many there are.
    facts:    plain values that say what they depend on.
    """

    @property
    def features(self) -> int: ...
    @property
    def facts(self) -> dict[str, Any]: ...
    def rows(self, path: Path, **how: Any) -> Iterator[npt.NDArray[np.float16]]:
        """Features (D,), one after the other, of the frames that `video_frames(path, **how)` gives, which says what is
        raised: `how` is `stride`, `fps` and `max_lost_frames`. Several threads may ask for those of several videos."""


KINDS: dict[str, Callable[[], Percepts]] = {MOTION: MotionPercepts}  # that need no weights


def register(name: str, kind: Callable[[], Percepts]) -> None:
    """Let `--percepts` know another kind, in a module that is imported."""
    KINDS[name] = kind
    PERCEPTS.append(name)


@lru_cache  # their weights are read once
def percepts_named(name: str, *, download: bool = False) -> Percepts:
    """Percepts of `names.PERCEPTS`, with the standard weights of their network, see `standard_weights`.

    Raises ValueError for other names.
    """
    if name in KINDS:
        return KINDS[name]()
    if name not in NETWORKS:
        raise ValueError(f"percepts {name!r}: expected one of {', '.join(PERCEPTS)}")
    return NetworkPercepts(name, standard_weights(name, download=download))
