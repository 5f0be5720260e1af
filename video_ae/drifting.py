"""A threshold that follows scores as they arrive, for machines whose normal level drifts.

threshold = DriftingThreshold(quantile=0.9999)
for reading in plant:
    limit, anomalous = threshold.push(float(stream.push(reading).score))
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from .files import read_json, write_json
from .thresholds import PEAKS_ABOVE, check_quantile, tail_quantile

_DEPTH = 100  # scores whose mean is the present level
_CALIBRATION = 1000  # scores that tell what is rare among differences to it, as in the paper
_MOST_PEAKS = 1000  # so that a stream of months neither grows nor slows down


class Judged(NamedTuple):
    """threshold: above which this score is anomalous; NaN during calibration. anomalous: whether it is above."""

    threshold: float
    anomalous: bool


@dataclass
class DriftingThreshold:
    """Peaks over threshold of a stream with drift (DSPOT; Siffer et al., KDD 2017, algorithm 3).

    What is judged is how far a score is above the mean of the last `depth` normal ones. The first `calibration` such
    differences give the level above which one is a peak, their .98 quantile; the peaks so far are fitted by a
    generalised Pareto distribution, whose `quantile` is the threshold. Anomalous scores do not change the mean.

    Beyond the paper, only the last 1,000 peaks are kept, and an alarm, of one or many scores, counts as one peak of
    which it is known that it is above the threshold, not how far: leaving alarms out cuts off the tail that is to be
    fitted, and the threshold stays too low for ever.

    Nothing is flagged during the first `depth` + `calibration` scores, which have to be normal. Where no difference is
    above their .98 quantile, as of scores that are all equal, the threshold is that. A level that changes
    at once, by more than the threshold, stays anomalous: begin anew after a change that is meant.
    """

    quantile: float = 0.9999
    depth: int = _DEPTH
    calibration: int = _CALIBRATION
    level: float = math.nan  # of peaks; NaN during calibration
    margin: float = math.nan  # by how much a score may exceed the mean
    seen: int = 0  # normal differences since calibration began
    forgotten: int = 0  # `seen` at the last peak that is no longer kept
    recent: deque[float] = field(default_factory=deque)
    differences: list[float] = field(default_factory=list)  # of the calibration
    peaks: deque[tuple[int, float, bool]] = field(default_factory=deque)  # `seen`, excess over `level`, whether more
    alarm: bool = False  # whether the last score was anomalous

    def __post_init__(self) -> None:
        check_quantile(self.quantile)
        if self.quantile <= PEAKS_ABOVE or self.depth < 1 or self.calibration < 500:
            raise ValueError(
                f"quantile {self.quantile:g}, depth {self.depth}, calibration {self.calibration}: expected a quantile"
                f" above {PEAKS_ABOVE}, at least one score to tell the level, and 500 for ten peaks"
            )

    def push(self, score: float) -> Judged:
        """Judge one more score. NaN, which is no score, is not anomalous and changes nothing.

        Raises ValueError for an infinite one that is not above the threshold: nothing can be learned from it.
        """
        if math.isnan(score):
            return Judged(math.nan, False)
        if math.isinf(score) and (score < 0 or math.isnan(self.margin)):
            raise ValueError(f"score {score}: expected finite ones of normal data; see why the model gives it")
        if len(self.recent) < self.depth:
            self.recent.append(score)
            return Judged(math.nan, False)
        mean = math.fsum(self.recent) / self.depth
        threshold = mean + self.margin
        alarm_before, self.alarm = self.alarm, bool(score - mean > self.margin)
        if self.alarm:
            if not alarm_before:
                self.seen += 1
                self._add_peak(self.margin - self.level, more=True)
            return Judged(threshold, True)
        self._learn(score - mean)
        self.recent.popleft()
        self.recent.append(score)
        return Judged(threshold, False)

    def _learn(self, difference: float) -> None:
        """Take account of a normal difference to the mean."""
        self.seen += 1
        if math.isnan(self.level):
            self.differences.append(difference)
            if self.seen < self.calibration:
                return
            self.level = float(np.quantile(self.differences, PEAKS_ABOVE))
            above = [(at, value - self.level, False) for at, value in enumerate(self.differences, 1)]
            self.peaks.extend(peak for peak in above if peak[1] > 0)
            self.differences.clear()
            self._fit()
        elif difference > self.level:
            self._add_peak(difference - self.level)

    def _add_peak(self, excess: float, *, more: bool = False) -> None:
        self.peaks.append((self.seen, excess, more))
        while len(self.peaks) > _MOST_PEAKS:
            self.forgotten = self.peaks.popleft()[0]
        self._fit()

    def _fit(self) -> None:
        if all(alarm for _, _, alarm in self.peaks):  # two of a hundred have the largest value: no more is known
            self.margin = self.level
            return
        _, excesses, censored = map(np.array, zip(*self.peaks, strict=True))
        self.margin = self.level + tail_quantile(excesses, self.seen - self.forgotten, self.quantile, censored)

    def save(self, path: Path | str) -> None:
        """Write all that another one needs to go on from here: JSON."""
        write_json(Path(path), asdict(self) | {name: list(getattr(self, name)) for name in ("recent", "peaks")})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Go on from where `save` was called. Raises ValueError for a file that it did not write."""
        state = read_json(Path(path))
        try:
            return cls(**state | {"recent": deque(state["recent"]), "peaks": deque(map(tuple, state["peaks"]))})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: expected what DriftingThreshold.save writes") from error
