"""A table to sequences: which column is what, a number in every cell, the rows of a sequence in order of time.

Tables are `.csv` files, `.csv.gz` ones, with commas or with semicolons and decimal commas, and `.parquet` files.

What is not what it should be is named with its line and column, and with the flag that helps.
"""

import math
import re
import shlex
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .notes import note
from .table_files import open_rows, rows_of, stem
from .times import Times, find_holes, in_words, is_date

_ID, _DATE, _TIME = "id", "date", "time"
_TIMES = (_TIME, "timestamp", _DATE, "datetime", "ds", "ts", "time_stamp", "date_time")
_LARGEST = float(np.finfo(np.float32).max)
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "|", " ": "spaces"}
_NO_NUMBERS = {
    "",
    "nan",
    "na",
    "n/a",
    "null",
    "none",
    "-",
    "?",
    "inf",
    "-inf",
    "+inf",
    "infinity",
}  # what programs write where there is none
_LIKE_AN_ID = re.compile(  # sensor_id, machineID, unit_nr, but not humid or grid
    r"(?i:(?:.*[^a-z])?(?:id|ids|uid|uuid|nr|no)|id[_ ].*|.*[_ ]number|name|tag|group|unit|machine|device|sensor|series"
    r"|engine|robot|station|site|plant|well|pump|meter|store|shop|host|asset|item|batch|lot|wafer|trial|subject|patient"
    r"|customer|user|vehicle|turbine|node|symbol|ticker)|.*[a-z](?:Id|ID)"
)
_LIKE_LABELS = re.compile(
    r"(?:.*[^a-z])?(?:labels?|target|class|gt|events?|alarms?|y)|is[_ ].*|y_true"
    r"|.*(?:anomal|outlier|attack|fault|failure|defect|ground.?truth|change.?point).*",
    re.IGNORECASE,
)
_SHARED = 0.25  # of all rows, that have a time that was there before, where several series are in one table
_MOST_LABELS = 10  # different ones
_MOST_NAMED = 5  # columns in a message
_ROW_NUMBERS = {"index", "level_0", "row", "no", "nr", "number", "#"}
_ROW_NUMBER_NAMES = ("", "Unnamed: 0")  # what pandas calls its index, and that of a file with one

Numbers = npt.NDArray[np.float64]


class Choice(NamedTuple):
    """What the user, or the training of a run, says about the columns."""

    sequence: str | None = None
    time: str | None = None
    ignored: tuple[str, ...] = ()
    features: tuple[str, ...] = ()  # those of the training and their order; nothing is guessed about them any more
    known_from: str = "in training"  # where the features are from


class Table(NamedTuple):
    """The sequences of a file: their values (T, F) in order of time and, of each, where a new segment begins.

    times: what the file says of every step, in UTF-8; empty without such a column. holes: about those, in words.
    """

    values: dict[str, Numbers]
    segments: dict[str, list[int]]
    times: dict[str, npt.NDArray[np.bytes_]]
    columns: tuple[str, ...]
    holes: str


class _Columns(NamedTuple):
    """Where in a row things are; `names` are the features', in the order of `features`."""

    sequence: int | None
    time: tuple[int, ...]  # two, of a date and of the time of day
    features: list[int]
    names: tuple[str, ...]
    header: list[str]
    counts_rows: bool  # whether the first column numbers the rows
    settled: bool
    marks: "_DecimalMarks"


class _DecimalMarks:
    """What parts the decimals of a file: a point or, where semicolons part the cells, perhaps a comma."""

    def __init__(self) -> None:
        self.first: dict[str, int] = {}  # the line in which each mark was found first

    def to_points(self, path: Path, line: int, cells: list[str]) -> list[str]:
        """Raises ValueError for a file with both: 1.234 is another number where commas are decimal."""
        for mark in ",.":
            if mark not in self.first and any(mark in cell for cell in cells):
                self.first[mark] = line
        if len(self.first) > 1:
            raise ValueError(
                f"{path}: found numbers with a comma (line {self.first[',']}) and with a point (line"
                f" {self.first['.']}), expected one kind: write them all alike, without separators of thousands"
            )
        return [cell.replace(",", ".") for cell in cells]


class _Rows:
    """The rows of one sequence as they come: eight bytes a value, and the line and time of each."""

    def __init__(self) -> None:
        self.values, self.times, self.lines = array("d"), Times(), array("q")


def read_table(path: Path, choice: Choice, limit: int) -> Table:
    """The sequences of a file, of at most `limit` bytes as float32.

    Raises ValueError with the place where the file is something else, see `datasets.sequences`.
    """
    sequences: dict[str, _Rows] = {}
    size = count = 0
    semicolons, rows = open_rows(path)
    columns = _find_columns(path, next(rows, (1, []))[1], choice)
    for count, (line, row) in enumerate(rows, 1):
        cells = _cells(path, line, row, columns, semicolons, first=count == 1)
        if columns.counts_rows and row[0].strip() != str(count - 1):
            name_it = "index_label='time'" if is_date(row[0]) else "index=False"
            raise ValueError(
                f"{path}: found {_shown(row[0])} in line {line} of the first column, which has no name, expected"
                f" {count - 1}, the number of the row; name it in the header, or leave it out (pandas:"
                f" to_csv(..., {name_it}), or {flag('--ignore-columns', columns.header[0])})"
            )
        name = stem(path) if columns.sequence is None else row[columns.sequence]
        if not name.strip():
            raise ValueError(f"{path}: found no id in line {line}, expected the name of a sequence")
        sequence = sequences.setdefault(name, _Rows())
        sequence.values.extend(_numbers(path, line, cells, columns, first=count == 1))
        sequence.lines.append(line)
        if columns.time:
            _add_time(path, line, row, columns, sequence)
        size += 4 * len(columns.features)
        if size > limit:
            raise ValueError(f"{path}: too many numbers to read, more than {limit:,} bytes; store them in a .npy file")
    if columns.counts_rows and count:
        note(f"{path}: the first column has no name and numbers the rows; it is left out")
    if columns.settled or not count:
        return _in_order(path, columns, sequences)
    _refuse_ids_of_rows(path, columns, sequences, count)
    table = _in_order(path, columns, sequences)
    _hint(path, columns, sequences)
    return table


def flag(name: str, *values: str) -> str:
    """A flag for a shell; values that begin with "-" stand behind a "=", or they would be taken for flags."""
    plain = [value for value in values if not value.startswith("-")]
    own = [f"{name}={shlex.quote(value)}" for value in values if value.startswith("-")]
    return " ".join([*([name, *map(shlex.quote, plain)] if plain else []), *own])


def _shown(text: str) -> str:
    """Somebody's text in a message of one line."""
    return repr(text[:50])


def _named(name: str) -> str:
    return name[:50] if name.isprintable() else _shown(name)


def _other_delimiter(columns: _Columns, cell: str) -> str:
    """What to add to an error where a table seems to have one column because other signs than commas part the cells."""
    if len(columns.header) > 1:
        return ""
    found = next((sign for sign in _DELIMITERS if sign in columns.header[0] and sign in cell), None)
    if found is None:
        return ""
    return (
        f"; its cells seem to be parted by {_DELIMITERS[found]}, expected commas, and points in numbers, as"
        f" pandas.read_csv(FILE, sep={found!r}{_decimal_comma(cell)}).to_csv(NEW_FILE, index=False) writes"
    )


def _decimal_comma(cell: str) -> str:
    return ', decimal=","' if re.search(r"\d,\d", cell) else ""


class Arrived(NamedTuple):
    """A row of a table: the sequence that it is of, "" where there is one alone, what it says of its time, and (F,)."""

    id: str
    time: str
    values: Numbers


def rows_as_they_arrive(path: Path, lines: Iterator[str], choice: Choice) -> Iterator[Arrived]:
    """The rows of a `.csv` table one by one, in the order in which they come, without waiting for its end.

    path: what messages call it. Raises ValueError with the place where a row is something else.
    """
    semicolons, rows = rows_of(path, lines)
    columns = _find_columns(path, next(rows, (1, []))[1], choice)
    for line, row in rows:
        cells = _cells(path, line, row, columns, semicolons)
        values = np.array(_numbers(path, line, cells, columns, first=False))
        name = "" if columns.sequence is None else row[columns.sequence]
        yield Arrived(name, " ".join(row[column].strip() for column in columns.time), values)


def _cells(
    path: Path, line: int, row: list[str], columns: _Columns, semicolons: bool, *, first: bool = False
) -> list[str]:
    """The features of a row as text, with points. Raises ValueError where it is not as long as the header."""
    if len(row) != len(columns.header):
        raise ValueError(
            f"{path}: found {len(row)} cells in line {line}, expected {len(columns.header)} as in the header"
            + (_other_delimiter(columns, ",".join(row)) or "; is line 1 the header?" * first)
        )
    cells = [row[column].strip() for column in columns.features]
    return columns.marks.to_points(path, line, cells) if semicolons else cells


# Which column is what.


def _find_columns(path: Path, header: list[str], choice: Choice) -> _Columns:
    """Raises ValueError for a header that is none, and where a column is not there or there twice."""
    if not header:
        raise ValueError(f"{path}: holds nothing, expected a header, the names of the columns, and rows")
    header = [name.strip() for name in header]
    counts_rows = header[:1] != [] and header[0] in _ROW_NUMBER_NAMES and header[0] not in choice.ignored
    named = [name for name in header[counts_rows:] if name not in choice.ignored]
    if "" in named or len(set(named)) != len(named):
        end = "; do its lines end with a comma too many?" if named[-1:] == [""] else ""
        raise ValueError(f"{path}: found the header {header}, expected a different name for every column{end}")
    numbered = header == [str(column) for column in range(len(header))]
    if named and not any(math.isnan(_number(name)) for name in named):
        if not numbered:
            raise ValueError(f"{path}: found numbers in line 1, expected a header, the names of the columns")
        note(f"{path}: line 1 is taken for the names of the columns: {', '.join(header)}")
    settled = bool(choice.features)
    if not settled and (missing := [name for name in choice.ignored if name not in header]):
        raise _lacking(path, header, missing[0], "--ignore-columns")
    used = {name: column for column, name in enumerate(header) if name not in choice.ignored}
    if counts_rows:
        del used[header[0]]
    sequence = _find_id(path, header, used, choice.sequence)
    time = _find_time(path, header, used, choice.time)
    features = {name: column for name, column in used.items() if column not in (sequence, *time)}
    if settled and set(choice.features) != features.keys():
        raise ValueError(
            f"{path}: found the columns {', '.join(features)}, expected {', '.join(choice.features)}, as"
            f" {choice.known_from}" + _left_over(features, choice.features)
        )
    names = choice.features or tuple(features)
    if not names:
        raise ValueError(f"{path}: found only {', '.join(header)}, expected columns of numbers as well")
    return _Columns(
        sequence, time, [features[name] for name in names], names, header, counts_rows, settled, _DecimalMarks()
    )


def _lacking(path: Path, header: list[str], wanted: str, flag: str) -> ValueError:
    return ValueError(f"{path}: found the columns {', '.join(header)}, expected {wanted} among them ({flag})")


def _left_over(found: dict[str, int], wanted: tuple[str, ...]) -> str:
    """What to do about columns that training did not have, where no others lack."""
    more = [name for name in found if name not in wanted]
    return "" if set(wanted) - found.keys() else f"; {flag('--ignore-columns', *more)} leaves out the rest"


def _find_id(path: Path, header: list[str], used: dict[str, int], wanted: str | None) -> int | None:
    if wanted is None:
        return next((column for name, column in used.items() if name.casefold() == _ID), None)
    if wanted not in used:
        raise _lacking(path, header, wanted, "--id-column")
    return used[wanted]


def _find_time(path: Path, header: list[str], used: dict[str, int], wanted: str | None) -> tuple[int, ...]:
    """The column `wanted`, or the first with a usual name; `date` and `time` where it is one of those and both are."""
    if wanted is not None:
        if wanted not in used:
            raise _lacking(path, header, wanted, "--time-column")
        return (used[wanted],)
    usual = {name.casefold(): column for name, column in used.items() if name.casefold() in _TIMES}
    first = next(iter(usual), None)
    if first in (_DATE, _TIME) and {_DATE, _TIME} <= usual.keys():
        return usual[_DATE], usual[_TIME]
    return () if first is None else (usual[first],)


# What is in a row.


def _numbers(path: Path, line: int, cells: list[str], columns: _Columns, *, first: bool) -> list[float]:
    values = [_number(cell) for cell in cells]
    if math.isnan(sum(values)):
        wrong = [math.isnan(value) for value in values].index(True)
        name, cell = columns.names[wrong], cells[wrong]
        what = _shown(cell) if cell else "an empty cell"
        raise ValueError(
            f"{path}: found {what} in column {_named(name)}, line {line}, expected a number (a finite float32)"
            + (_other_delimiter(columns, cell) or _about(cell, name, columns, first=first))
        )
    return values


def _number(text: str) -> float:
    """NaN for what is no finite float32."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if abs(value) <= _LARGEST and "_" not in text else math.nan  # Python reads 20_24 as a number


def _about(cell: str, name: str, columns: _Columns, *, first: bool) -> str:
    """What to do about a cell that is no number; its whole column is no feature where the first row has such a cell."""
    if cell.casefold() in _NO_NUMBERS:
        leave_out = f"; {flag('--ignore-columns', name)} leaves the column out" if first and not columns.settled else ""
        return f"; fill such cells in, or drop their rows (pandas: interpolate() or dropna()){leave_out}"
    if re.fullmatch(r"[+-]?\d{1,3}(?:(?:,\d{3})+\.\d*|(?:,\d{3}){2,})", cell):
        return '; write numbers without commas (pandas.read_csv(FILE, thousands=",").to_csv(NEW_FILE, index=False))'
    if re.fullmatch(r"[+-]?[\d.]*,\d+", cell):
        return '; write numbers with a point (pandas.read_csv(FILE, decimal=",").to_csv(NEW_FILE, index=False))'
    if not first or columns.settled:
        return "; mend the cell or drop the row"
    leave_out = f"{flag('--ignore-columns', name)} leaves it out"
    if re.fullmatch(r"[+-]?\d[\d.]*e\+?\d+|[+-]?\d{39,}[\d.]*", cell, re.IGNORECASE):
        return f"; write the column in a larger unit, or {leave_out}"
    if cell.casefold() in ("true", "false"):
        return f"; write 1 and 0, or {leave_out}"
    if is_date(cell) or _like_a_date(cell):
        orders = "" if columns.time else f"if it orders the rows, {flag('--time-column', name)}; "
        return f"; {orders}{leave_out}"
    if cell == name:
        return "; line 1 seems to be no header: write the names of the columns there"
    others = [other for other in columns.names if other != name]
    says = [] if columns.sequence is not None else [f"if it says which series a row is of, {flag('--id-column', name)}"]
    if _LIKE_LABELS.fullmatch(name):
        says = []
    elif len(others) == 1 and columns.time:  # a row per value, and what it is of
        index = [columns.header[place] for place in (columns.sequence, *columns.time) if place is not None]
        pivot = (
            f"pivot(index={index}, columns={name!r}, values={others[0]!r}).reset_index().to_csv(NEW_FILE, index=False)"
        )
        says.append(f"if these are features of one series, pandas' {pivot}")
    return "; " + "; ".join([*says, leave_out])


def _like_a_date(cell: str) -> bool:
    return re.match(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b|\d{1,2}:\d{2}", cell) is not None


def _add_time(path: Path, line: int, row: list[str], columns: _Columns, sequence: _Rows) -> None:
    text = " ".join(row[column].strip() for column in columns.time)
    try:
        sequence.times.add(text)
    except ValueError as error:
        raise ValueError(
            f"{path}: found {_shown(text)} as time in line {line}, expected a number or a date such as"
            f" 2024-01-31T12:00{_about_time(text, columns)}"
        ) from error


def _about_time(text: str, columns: _Columns) -> str:
    if len(columns.time) == 2:
        date, time = (columns.header[column] for column in columns.time)
        flags = f"{flag('--time-column', time)} {flag('--ignore-columns', date)}"
        return f"; where one column alone orders the rows: {flags}"
    leave_out = flag("--ignore-columns", columns.header[columns.time[0]])
    if not text:
        return "; fill such cells in, or drop their rows"
    if re.match(r"\d{1,2}:\d{2}", text):
        return f"; put the day before it or in a column date; {leave_out} takes the rows as they come"
    if re.match(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b", text):
        return "; write the year first (pandas.to_datetime with dayfirst=True or False)"
    return f"; pandas.to_datetime reads most others; if the rows are in order, {leave_out}"


# What is in all rows.


def _refuse_ids_of_rows(path: Path, columns: _Columns, sequences: dict[str, _Rows], count: int) -> None:
    """Raises ValueError where every row has an id of its own, which is the number of a row and not that of a series."""
    if columns.sequence is not None and len(sequences) == count >= _MOST_LABELS:
        name = columns.header[columns.sequence]
        raise ValueError(
            f"{path}: found another id in each of {count} rows (column {_named(name)}), expected one for all rows of a"
            f" series; {flag('--ignore-columns', name)} reads one series"
        )


def _hint(path: Path, columns: _Columns, sequences: dict[str, _Rows]) -> None:
    """Say which features are likely to be something else."""
    for position, name in enumerate(columns.names):
        like_an_id = columns.sequence is None and _LIKE_AN_ID.fullmatch(name) is not None
        like_labels = _LIKE_LABELS.fullmatch(name) is not None
        like_row_numbers = like_an_id or name.casefold() in _ROW_NUMBERS
        if not (like_row_numbers or like_labels):
            continue
        values = _feature(columns, sequences, position)
        leave_out = flag("--ignore-columns", name)
        if like_row_numbers and len(values) > 1 and (np.diff(values) == 1).all():
            note(f"{path}: column {_named(name)} numbers the rows and is read as a feature: {leave_out}")
        different = len(np.unique(values)) if not (values % 1).any() else len(values)
        if like_an_id and 2 * different <= len(values):
            note(
                f"{path}: column {_named(name)} is read as a feature; if it says which series a row is of:"
                f" {flag('--id-column', name)}, else {leave_out} leaves it out"
            )
        elif like_labels and different <= min(_MOST_LABELS, len(values) / 2):
            note(
                f"{path}: column {_named(name)} is read as a feature; if these are labels, which are not to be learnt:"
                f" {leave_out}"
            )


def _feature(columns: _Columns, sequences: dict[str, _Rows], position: int) -> Numbers:
    """One feature of all rows."""
    width = len(columns.names)
    return np.concatenate([np.frombuffer(rows.values)[position::width] for rows in sequences.values()])


def _in_order(path: Path, columns: _Columns, sequences: dict[str, _Rows]) -> Table:
    """The rows of every sequence by their times. Raises ValueError where one comes twice."""
    values: dict[str, Numbers] = {}
    segments, times = {}, {}
    moved, holed, largest = 0, [], (0.0, "")
    for name in list(sequences):
        rows = sequences[name]
        steps = np.frombuffer(rows.values).reshape(-1, len(columns.features))
        segments[name] = [0]
        if columns.time:
            order = rows.times.order()
            distances = rows.times.distances(order)
            if len(same := np.flatnonzero(distances == 0)):
                raise _one_time(path, name, columns, sequences, order[same[0] : same[0] + 2].tolist())
            if (np.diff(order) < 0).any():
                steps, moved = steps[order], moved + 1
            times[name] = rows.times.texts(order)
            holes = find_holes(distances)
            segments[name] += (holes + 1).tolist()
            holed += [name] * len(holes)
            if len(holes) and distances[holes].max() > largest[0]:
                widest = int(holes[distances[holes].argmax()])
                after, then = (time.decode() for time in times[name][widest : widest + 2])
                words = f"{in_words(distances[widest])} in {_named(name)} after {after}"
                if not is_date(after):
                    words = f"from {after} to {then} in {_named(name)}"
                largest = float(distances[widest]), words
        values[name] = steps
    if moved:
        note(f"{path}: the rows of {moved} of {len(values)} series were not in order of time; they are sorted")
    holes_in_words = f"{_count(len(holed), 'hole')} in the time of {len(set(holed))} series (largest {largest[1]})"
    return Table(values, segments, times, columns.names, holes_in_words if holed else "")


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _one_time(path: Path, name: str, columns: _Columns, sequences: dict[str, _Rows], rows: list[int]) -> ValueError:
    """That two rows of a sequence have one time, and what may be the reason."""
    sequence = sequences[name]
    lines = sorted(sequence.lines[row] for row in rows)
    text = sequence.times.texts(np.array(rows))[0].decode()
    leave_out = flag("--ignore-columns", *(columns.header[column] for column in columns.time))
    advice = f"drop one of them, or, if the rows are in order as they are, {leave_out}"
    if columns.sequence is None and not columns.settled and (ids := _ids(columns, sequence)):
        others = f" (or {', '.join(map(_named, ids[1:_MOST_NAMED]))})" if ids[1:] else ""
        advice = f"if {_named(ids[0])} says which series a row is of{others}: {flag('--id-column', ids[0])}"
    elif is_date(text) and not _has_zone(text):
        advice += "; if this is the hour that comes twice when summer time ends, write times in UTC or as 12:00+01:00"
    return ValueError(
        f"{path}: found one time in lines {lines[0]} and {lines[1]} of {_named(name)}, expected a time for every step;"
        f" {advice}"
    )


def _has_zone(text: str) -> bool:
    return re.search(r"(?:Z|[+-]\d{2}(?::?\d{2})?)$", text[10:]) is not None


def _ids(columns: _Columns, rows: _Rows) -> list[str]:
    """The features of whole numbers that tell rows of one time apart, first those that are called like ids.

    Where few rows share their time, only those: anything tells a few apart.
    """
    order = rows.times.order()
    moments = np.cumsum(np.append(0, rows.times.distances(order) != 0))
    steps = np.frombuffer(rows.values).reshape(-1, len(columns.features))[order]
    usual = len(moments) - len(np.unique(moments)) >= _SHARED * len(moments)
    found = []
    for name, values in zip(columns.names, steps.T, strict=True):
        like_an_id = _LIKE_AN_ID.fullmatch(name) is not None
        whole, repeated = not (values % 1).any(), 2 * len(np.unique(values)) <= len(values)
        if (usual or like_an_id) and whole and repeated:
            pairs = np.unique(np.stack([moments, values]), axis=1)
            if pairs.shape[1] == len(values):
                found.append((not like_an_id, name))
    return [name for _, name in sorted(found)]
