"""The times of rows: from text to numbers that are exact to the nanosecond, and where there are holes between them."""

import math
import re
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEYOND_MICROSECONDS = re.compile(r"[.,]\d{6}(\d+)")  # which `datetime` reads and forgets
_DATE = 10  # characters of 2024-01-31
_EXACT = 15  # digits that a float always holds
_REGULAR = 1.1  # times the median that nine of ten distances are below, where sampling is regular
_HOLE = 1.5  # times the median, of regular sampling
_IRREGULAR_HOLE = 5  # times what nine of ten distances are below, of any other
_UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))

Floats = npt.NDArray[np.float64]


class Clock(Protocol):
    """By its number, the time of each step of a sequence, as the file or the user writes it, in UTF-8."""

    def __getitem__(self, step: int, /) -> bytes: ...


class Times:
    """The times of the rows of one sequence as they come.

    Each is the sum of two floats, because one cannot tell 1704067200000000000 from 1704067200000000100; its text is
    kept as it was.
    """

    def __init__(self) -> None:
        self._high, self._low, self._texts = array("d"), array("d"), bytearray()

    def add(self, text: str) -> None:
        """Raises ValueError for text that is neither a number nor an ISO date, perhaps with slashes."""
        high, low = parse_time(text)
        self._high.append(high)
        self._low.append(low)
        self._texts += text.encode() + b"\n"

    def order(self) -> npt.NDArray[np.int64]:
        """The rows from the first time to the last."""
        return np.lexsort((np.frombuffer(self._low), np.frombuffer(self._high)))

    def distances(self, order: npt.NDArray[np.int64]) -> Floats:
        """From each row of `order` to the next, (rows - 1,).

        Of dates in seconds, in days or months where they are written as 20240131 or 202401; of other numbers in theirs.
        """
        low = np.frombuffer(self._low)[order]
        return np.diff(_counted(np.frombuffer(self._high)[order])) + np.diff(low)

    def texts(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.bytes_]:
        """The texts, (rows,), in UTF-8."""
        return np.array(bytes(self._texts).split(b"\n")[:-1], np.bytes_)[order]


def parse_time(text: str) -> tuple[float, float]:
    """A number, or the seconds since 1970 of an ISO date, which is in UTC where it names no zone, as the sum of two.

    Raises ValueError for anything else.
    """
    try:
        high = float(text)
    except ValueError:
        return _of_date(text)
    if not math.isfinite(high) or "_" in text:
        raise ValueError(text)
    return high, 0.0 if len(text) <= _EXACT else float(Decimal(text) - Decimal(high))


def is_date(text: str) -> bool:
    """Whether this is an ISO date, and no number."""
    try:
        float(text)
    except ValueError:
        try:
            _of_date(text)
        except ValueError:
            return False
        return True
    return False


def find_holes(distances: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """After which rows nothing comes for longer than is usual: of (rows - 1,) distances those that are too large.

    Where sampling is regular, one and a half of its distances; where it is not, as of business days or of arrivals by
    chance, five times what nine of ten are below.
    """
    if len(distances) < 2:
        return np.zeros(0, np.int64)
    usual, wide = np.quantile(distances, (0.5, 0.9), method="lower")  # a single hole never counts as usual
    return np.flatnonzero(distances > (_HOLE * usual if wide <= _REGULAR * usual else _IRREGULAR_HOLE * wide))


def continue_times(texts: Sequence[str], count: int) -> list[str]:
    """How `count` more rows would be timed, where all rows but those after holes are at one distance; else none, [].

    texts: numbers or ISO dates, in order. Dates without a zone stay without one.
    """
    if len(texts) < 2:
        return []
    moments = [_moment(text) for text in texts]
    kinds = {type(moment) for moment in moments}
    numbers = np.array([sum(parse_time(text)) for text in texts])
    if len(kinds) > 1 or (kinds == {Decimal} and not np.array_equal(_counted(numbers), numbers)):
        return []  # mixed, or dates written as 20240131, whose next day is no number more
    pairs: list[tuple[Any, Any]] = list(pairwise(moments))
    distances = [after - before for before, after in pairs]
    inside = np.delete(np.arange(len(distances)), find_holes(np.diff(numbers)))
    if len({distances[place] for place in inside.tolist()}) != 1:
        return []
    distance = distances[int(inside[0])]
    coming = [moments[-1] + number * distance for number in range(1, count + 1)]
    if kinds == {Decimal}:
        return [str(moment) for moment in coming]
    separator = "T" if "T" in texts[-1] else " "
    dates_alone = len(texts[-1]) == _DATE and not distance % timedelta(days=1)
    seconds = (
        "auto"
        if any(moment.second or moment.microsecond for moment in coming) or texts[-1].count(":") > 1
        else "minutes"
    )
    return [str(moment.date()) if dates_alone else moment.isoformat(separator, seconds) for moment in coming]


def _moment(text: str) -> Decimal | datetime:
    try:
        return Decimal(text)
    except InvalidOperation:
        return datetime.fromisoformat(text.replace("/", "-", 2) if text[4:5] == "/" else text)


def in_words(seconds: float) -> str:
    """Such as `121 days`."""
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= 2 * size), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"


def _of_date(text: str) -> tuple[float, float]:
    moment = datetime.fromisoformat(text.replace("/", "-", 2) if text[4:5] == "/" else text)
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    seconds = float(86400 * since.days + since.seconds)
    beyond = _BEYOND_MICROSECONDS.search(text)
    fraction = since.microseconds / 1e6 + (float(f"0.000000{beyond[1]}") if beyond else 0.0)
    high = seconds + fraction
    return high, fraction - (high - seconds)


def _counted(times: Floats) -> Floats:
    """Whole numbers such as 20240131 or 202401, where all of them are dates, as days or months; others as they are."""
    for day_digits in (100, 1):
        rest, days = np.divmod(times, day_digits)
        years, months = np.divmod(rest, 100)
        dates = (years >= 1800) & (years < 2200) & (months >= 1) & (months <= 12) & (days <= 31)
        if dates.all() and not (times % 1).any() and (day_digits == 1 or (days >= 1).all()):
            counted = 12 * (years - 1970) + months - 1
            if day_digits == 1:
                return counted
            first_days = counted.astype(np.int64).astype("M8[M]").astype("M8[D]")
            return first_days.astype(np.int64).astype(np.float64) + days
    return times
