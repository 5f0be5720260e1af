"""Anybody's own sequences of numbers, in one `.npy`, `.npz` or `.csv` file, of one length or of many.

series.npy   (N, T, F): N sequences of T steps with F features; (T, F) or (T,): one long series
series.npz   an array per sequence, (T, F) or (T,); or one of all, `sequences` (N, T, F), and optionally `lengths`
             (N,), how many of the T steps each has, and `names` (N,)
series.csv   a row per step under a header, a number in every column: one long series, or, with a column `id`, as many
             sequences as it has values; a column `time`, `timestamp` or `date` orders the steps
"""

import csv
import math
from array import array
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from .arrays import open_npy, read_npz
from .division import TO_CUT_BY_ITEM as VIDEOS_TO_SPLIT
from .video_arrays import VideoArrays, VideoClips, VideoRecord

MAX_BYTES = 2**34  # of float32 numbers in memory
_ID, _TIMES = "id", ("time", "timestamp", "date")
_LARGEST = float(np.finfo(np.float32).max)
_MAX_LINE = 2**20  # characters of a line of a .csv file
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "|", " ": "spaces"}
_ROWS = 2**16  # that are looked at together for what is not finite

Numbers = npt.NDArray[np.float32]


def open_sequences(
    path: Path | str, *, id_column: str | None = None, time_column: str | None = None, columns: tuple[str, ...] = ()
) -> VideoArrays:
    """The sequences of a file as float32 arrays (T, F); see the top of this module for what may be in it.

    `.npy` files of float32 stay on disk, everything else is read into memory once. A sequence's name is its number in
    an array, the name of its array, its id, or, of a single series, the file's. `id_column` and `time_column` name the
    columns of a `.csv` file that are called otherwise; times are numbers or ISO dates. Where `columns` are given, these
    are the features and their order, whatever their order in the file; `facts["columns"]` says which there are.

    Raises FileNotFoundError, or ValueError that names the file and the place where it is something else: no number, not
    finite, a time that comes twice, a sequence without steps or of other features than the first.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected sequences in a .npy, .npz or .csv file")
    state = path.stat()
    return _opened(path, id_column, time_column, columns, (state.st_size, state.st_mtime_ns))


def longest(sequences: VideoArrays, shortest: int) -> int:
    """Steps of the longest sequence. Raises ValueError where one has fewer than `shortest`."""
    _refuse_short(sequences.videos, shortest, "")
    return max(record.frames for record in sequences.videos)


def split_by_time(sequences: VideoArrays) -> bool:
    """Whether there are too few sequences to set whole ones aside."""
    return len(sequences.videos) < VIDEOS_TO_SPLIT


def split_sequences(sequences: VideoArrays, split: str) -> VideoArrays:
    """The sequences of `train`, `validation`, `test` or `all`, or the parts of them that are.

    Of ten sequences or more, whole ones are set aside: in the file's order, the ninth of every ten validates, the tenth
    tests. Sequences that are added at the end leave all others where they are. Fewer are split in time, each at 80 %
    and 90 % of its steps. Raises ValueError for another split.
    """
    if split not in SPLIT_BOUNDS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLIT_BOUNDS)}")
    if split == "all":
        return sequences
    records, arrays = [], []
    for index, record in enumerate(sequences.videos):
        whole = sequences.array(index)
        if split_by_time(sequences):
            first, stop = (round(bound * record.frames) for bound in SPLIT_BOUNDS[split])
            whole = whole[first:stop]
            records.append(record._replace(shape=whole.shape, first=first))
            arrays.append(whole)
        elif split == {8: "validation", 9: "test"}.get(index % 10, "train"):
            records.append(record)
            arrays.append(whole)
    return VideoArrays(records, arrays.__getitem__, sequences.facts)


def sequence_clips(sequences: VideoArrays, split: str, frames: int, *, shortest: int, whole: bool) -> VideoClips:
    """Clips of `frames` steps: windows, of training sequences overlapping ones, or, with `whole`, whole sequences.

    Of the split `all`, every step is in a window: the last one ends with its sequence and overlaps the one before.
    A sequence of fewer steps, but at least `shortest`, is one clip that ends in NaN; a part of a sequence that is split
    in time is not. Raises ValueError, naming it, for a shorter one, and for one that is longer than a clip that is to
    hold it whole.
    """
    part = sequences
    in_parts = split != "all" and any(record.first for record in sequences.videos)
    _refuse_short(part.videos, frames if in_parts else shortest, f"the {split} part of " if in_parts else "")
    if whole and (long := [record for record in part.videos if record.frames > frames]):
        raise ValueError(
            f"{long[0].name}: found {long[0].frames} steps, expected at most {frames}, the longest whole sequence that"
            " the model was made for; cut it, or train on windows (--input-frames)"
        )
    step = max(1, frames // 4) if split == "train" else frames
    return VideoClips(
        part, range(len(part.videos)), frames, step=step, cover=split == "all", pad=not in_parts, split=split
    )


def _refuse_short(records: list[VideoRecord], least: int, part_of: str) -> None:
    if short := [record for record in records if record.frames < least]:
        raise ValueError(
            f"{part_of}{short[0].name}: found {short[0].frames} steps, expected at least {least} (input + future); "
            f"{len(short)} of {len(records)} are too short: ask for fewer with --input-frames and --future-frames, or"
            " leave them out"
        )


@lru_cache(maxsize=2)  # every split opens the file; two, because a run may be evaluated on another one
def _opened(
    path: Path, id_column: str | None, time_column: str | None, columns: tuple[str, ...], state: tuple[int, int]
) -> VideoArrays:
    """See `open_sequences`; with `state`, a file that changed is read again."""
    names: tuple[str, ...] = ()
    if path.suffix == ".npy":
        found = _of_array(path, open_npy(path))
    elif path.suffix == ".npz":
        found = _of_archive(path)
    elif path.suffix == ".csv":
        found, names = _of_table(path, id_column, time_column, columns)
    else:
        raise ValueError(f"{path}: found a {path.suffix or 'nameless'} file, expected .npy, .npz or .csv")
    if not found:
        raise ValueError(f"{path}: holds no sequences, expected at least one")
    width = next(iter(found.values())).shape[1]
    for name, steps in found.items():
        if 0 in steps.shape or steps.shape[1] != width:
            raise ValueError(
                f"{path}: found {steps.shape[0]} steps of {steps.shape[1]} features in {name}, expected at least one of"
                f" {width} as in the first"
            )
        steps.setflags(write=False)  # every split shares them
    records = [VideoRecord(name, "", name, steps.shape, "float32") for name, steps in found.items()]
    return VideoArrays(records, list(found.values()).__getitem__, {"columns": list(names)})


def _of_array(path: Path, values: npt.NDArray[Any]) -> dict[str, Numbers]:
    if values.ndim not in (1, 2, 3):
        raise ValueError(f"{path}: found shape {values.shape}, expected (N, T, F), or (T, F) or (T,) of one series")
    _refuse_large(path, values)
    if values.ndim < 3:
        return {path.stem: _steps(path, path.stem, values)}
    return {str(index): _steps(path, str(index), steps) for index, steps in enumerate(values)}


def _of_archive(path: Path) -> dict[str, Numbers]:
    members = read_npz(path, MAX_BYTES)
    for values in members.values():
        _refuse_large(path, values)
    sequences = members.get("sequences")
    if sequences is None or sequences.ndim != 3:
        return {name: _steps(path, name, values) for name, values in members.items()}
    count, length = sequences.shape[:2]
    lengths = members.get("lengths", np.full(count, length))
    names = members.get("names", np.arange(count).astype(str))
    if other := members.keys() - {"sequences", "lengths", "names"}:
        raise ValueError(f"{path}: found {', '.join(sorted(other))} beside sequences, expected lengths and names")
    if lengths.shape != (count,) or lengths.dtype.kind not in "iu" or not ((lengths > 0) & (lengths <= length)).all():
        raise ValueError(f"{path}: found lengths {lengths.dtype} {lengths.shape}, expected {count} of 1 to {length}")
    if names.shape != (count,) or names.dtype.kind != "U" or len(set(names.tolist())) != count:
        raise ValueError(f"{path}: found names {names.dtype} {names.shape}, expected {count} different ones, of text")
    parts = zip(names.tolist(), sequences, lengths.tolist(), strict=True)
    return {name: _steps(path, name, steps[:own_length]) for name, steps, own_length in parts}


def _refuse_large(path: Path, values: npt.NDArray[Any]) -> None:
    if values.dtype != np.float32 and 4 * values.size > MAX_BYTES:
        raise ValueError(f"{path}: {values.size:,} numbers are too many to read; store them as float32 in a .npy file")


def _steps(path: Path, name: str, values: npt.NDArray[Any]) -> Numbers:
    """Values (T, F) or (T,) as float32 (T, F). Raises ValueError for other shapes and types, and for NaN and inf."""
    if values.dtype.kind not in "fiub" or values.ndim not in (1, 2):
        raise ValueError(f"{path}: found {values.dtype} {values.shape} in {name}, expected numbers (T, F) or (T,)")
    values = values[:, None] if values.ndim == 1 else values
    with np.errstate(over="ignore"):  # what becomes infinite is found below
        steps = values.astype(np.float32, copy=False)
    for first in range(0, len(steps), _ROWS):
        finite = np.isfinite(steps[first : first + _ROWS])
        if not finite.all():
            row, column = (int(place[0]) for place in np.nonzero(~finite))
            raise ValueError(
                f"{path}: found {values[first + row, column]} in {name}, step {first + row}, feature {column} (from 0),"
                " expected finite float32 numbers; for sequences of different lengths write a .npz file"
            )
    return steps


class _Columns(NamedTuple):
    """Where in a row things are; `names` are the features', in the order of `features`."""

    sequence: int | None
    time: int | None
    features: list[int]
    names: tuple[str, ...]
    header: list[str]

    @property
    def cells(self) -> int:
        return len(self.header)


class _Rows:
    """The rows of one sequence as they come: four bytes a value, and the line and time of each."""

    def __init__(self) -> None:
        self.values, self.times, self.lines = array("f"), array("d"), array("q")


def _of_table(
    path: Path, id_column: str | None, time_column: str | None, names: tuple[str, ...]
) -> tuple[dict[str, Numbers], tuple[str, ...]]:
    sequences: defaultdict[str, _Rows] = defaultdict(_Rows)
    size = 0
    rows = _rows(path)
    columns = _find_columns(path, next(rows, (1, []))[1], id_column, time_column, names)
    for line, row in rows:
        if len(row) != columns.cells:
            raise ValueError(
                f"{path}: found {len(row)} cells in line {line}, expected {columns.cells} as in the header"
                + _other_delimiter(columns, ",".join(row))
            )
        name = path.stem if columns.sequence is None else row[columns.sequence]
        if not name:
            raise ValueError(f"{path}: found no id in line {line}, expected the name of a sequence")
        sequence = sequences[name]
        sequence.values.extend(_numbers(path, line, row, columns))
        if columns.time is not None:
            sequence.times.append(_time(path, line, row[columns.time]))
            sequence.lines.append(line)
        size += 4 * len(columns.features)
        if size > MAX_BYTES:
            raise ValueError(
                f"{path}: too many numbers to read, more than {MAX_BYTES:,} bytes; store them in a .npy file"
            )
    return {name: _in_order(path, name, sequence, columns) for name, sequence in sequences.items()}, columns.names


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a `.csv` file that are not blank, with the numbers of their lines."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(_lines(file), strict=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, [cell.strip() for cell in row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path}: not a table with commas in UTF-8 after line {reader.line_num} ({error}); export it as CSV"
            ) from error


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise csv.Error(f"a line of {_MAX_LINE:,} characters or more")
        yield line


def _other_delimiter(columns: "_Columns", cell: str) -> str:
    """What to add to an error where a table seems to have one column because other signs than commas part the cells."""
    if columns.cells > 1:
        return ""
    found = next((words for sign, words in _DELIMITERS.items() if sign in columns.header[0] and sign in cell), None)
    return "" if found is None else f"; its cells seem to be parted by {found}, expected commas: export it with commas"


def _find_columns(
    path: Path, header: list[str], id_column: str | None, time_column: str | None, names: tuple[str, ...]
) -> _Columns:
    """Raises ValueError for a header that is none, and where a column is not there or there twice."""
    if "" in header or len(set(header)) != len(header) or not header:
        raise ValueError(f"{path}: found the header {header}, expected a different name for every column")
    numbered = header == [str(column) for column in range(len(header))]
    if not numbered and not any(math.isnan(_number(cell)) for cell in header):
        raise ValueError(f"{path}: found numbers in line 1, expected a header, the names of the columns")
    sequence = _find(path, header, id_column, (_ID,), "--id-column")
    time = _find(path, header, time_column, _TIMES, "--time-column")
    positions = {name: column for column, name in enumerate(header) if column not in (sequence, time)}
    if names and set(names) != positions.keys():
        raise ValueError(
            f"{path}: found the columns {', '.join(positions)}, expected {', '.join(names)}, as in training"
        )
    names = names or tuple(positions)
    if not names:
        raise ValueError(f"{path}: found only {', '.join(header)}, expected columns of numbers as well")
    return _Columns(sequence, time, [positions[name] for name in names], names, header)


def _find(path: Path, header: list[str], wanted: str | None, usual: tuple[str, ...], flag: str) -> int | None:
    """Where the column `wanted` is, or the first with one of the usual names, or None."""
    if wanted is None:
        return next((column for column, name in enumerate(header) if name.casefold() in usual), None)
    if wanted not in header:
        raise ValueError(f"{path}: found the columns {', '.join(header)}, expected {wanted} among them ({flag})")
    return header.index(wanted)


def _numbers(path: Path, line: int, row: list[str], columns: _Columns) -> list[float]:
    values = [_number(row[column]) for column in columns.features]
    if math.isnan(sum(values)):
        wrong = [math.isnan(value) for value in values].index(True)
        column, name = columns.features[wrong], columns.names[wrong]
        raise ValueError(
            f"{path}: found {row[column][:50]!r} in column {name[:50]}, line {line}, expected a number"
            " (a finite float32)" + _other_delimiter(columns, row[column])
        )
    return values


def _number(text: str) -> float:
    """NaN for what is no finite float32."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if abs(value) <= _LARGEST and "_" not in text else math.nan  # Python reads 20_24 as a number


def _time(path: Path, line: int, text: str) -> float:
    """A number, or the seconds since 1970 of an ISO date; without a time zone it is taken as UTC."""
    try:
        value = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            value = math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"{path}: found {text!r} as time in line {line}, expected a number or a date such as 2024-01-31T12:00"
        )
    return value


def _in_order(path: Path, name: str, rows: _Rows, columns: _Columns) -> Numbers:
    """The steps (T, F) of a sequence by their times. Raises ValueError where one comes twice."""
    steps = np.frombuffer(rows.values, np.float32).reshape(-1, len(columns.features))
    if columns.time is None:
        return steps
    times = np.frombuffer(rows.times)
    order = np.argsort(times, kind="stable")
    if len(same := np.flatnonzero(np.diff(times[order]) == 0)):
        lines = [rows.lines[order[same[0] + after]] for after in (0, 1)]
        raise ValueError(
            f"{path}: found one time in lines {lines[0]} and {lines[1]} of {name}, expected a time for every step;"
            " leave the column out if the rows are in order"
        )
    return steps[order]


def divide(records):
    from .division import TO_CUT_BY_ITEM, cut_in_time

    if len(records) < TO_CUT_BY_ITEM:
        return cut_in_time(records)
    cuts = {"train": [], "validation": [], "test": []}
    for index in range(len(records)):
        cuts[{8: "validation", 9: "test"}.get(index % 10, "train")].append((index, 0, None))
    return cuts
