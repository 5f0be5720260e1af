"""Anybody's own sequences of numbers, in one `.npy`, `.npz` or `.csv` file or in tables in a folder, of any lengths.

series.npy   (N, T, F): N sequences of T steps with F features; (T, F) or (T,): one long series
series.npz   an array per sequence, (T, F) or (T,); or one of all, `sequences` (N, T, F), and optionally `lengths`
             (N,), how many of the T steps each has, and `names` (N,)
series.csv   a row per step under a header, a number in every column: one long series, or, with a column `id`, as many
             sequences as it has values; a column `time`, `timestamp`, `date` or `datetime` orders the steps, or `date`
             and `time` together do. Packed (`.csv.gz`), with semicolons, decimal commas too, or as `.parquet`
folder/      tables of the same columns: a sequence each, named after its file, or `FILE/ID`
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .arrays import open_npy, read_npz
from .division import BOUNDS, TO_CUT_BY_ITEM, Cuts, Division
from .fields import DataFields
from .notes import note, some
from .offsets import Floats, centred, find_offsets, rounding
from .parts import Part
from .source import VIDEO_MODEL, StoredSource, register
from .table_files import SUFFIXES, is_table, stem
from .tables import Choice, Table, flag, read_table
from .times import Clock
from .video_arrays import Cut, VideoArrays, VideoRecord, cut_arrays
from .video_clips import VideoClips

MAX_BYTES = 2**34  # of float32 numbers in memory
_ROWS = 2**16  # that are looked at together for what is not finite
_OF_TABLES = {"id_column", "time_column", "ignore_columns", "columns"}  # fields that .csv files alone have
_PARTS = {8: "validation", 9: "test"}  # of ten whole sequences; the others train


def open_sequences(
    path: Path | str,
    *,
    id_column: str | None = None,
    time_column: str | None = None,
    ignore_columns: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    offsets: tuple[float, ...] | None = None,
) -> VideoArrays:
    """The sequences of a file as float32 arrays (T, F); see the top of this module for what may be in it.

    `.npy` files of float32 stay on disk, everything else is read into memory once. A sequence's name is its number in
    an array, the name of its array, its id, or, of a single series, the file's. Times are numbers or ISO dates. Where
    there is a hole in them, a sequence is several records of one name: its segments, `first` is the number of a
    segment's first row in the order of time.

    id_column, time_column: columns of a `.csv` file that are called otherwise. ignore_columns: those to leave out.
    columns: the features and their order, whatever their order in the file.
    offsets: what is subtracted from each feature before it becomes float32, nothing of `()`; None finds out.

    `facts`: `columns` and `offsets`, `times` (by name, of all rows, text in UTF-8) and, in words, `holes`. What the
    user should know is said on stderr.

    Raises FileNotFoundError, or ValueError that names the file and the place where it is something else: no number, not
    finite, a time that comes twice, a sequence without steps or of other features than the first, changes that float32
    cannot hold.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected sequences in a .npy, .npz or .csv file, or a folder")
    states = [file.stat() for file in (_tables_in(path) if path.is_dir() else [path])]
    choice = Choice(id_column, time_column, ignore_columns, columns)
    return _opened(path, choice, offsets, tuple((state.st_size, state.st_mtime_ns) for state in states))


def _tables_in(folder: Path) -> list[Path]:
    """Raises ValueError where there is none, or two have one name."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and is_table(path))
    if not files:
        raise ValueError(f"{folder}: found no tables, expected files {', '.join(SUFFIXES)} of the same columns")
    names = [stem(path) for path in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{folder}: found two tables of the name {twice}, expected one; move one of them away")
    return files


def _read_folder(folder: Path, choice: Choice, limit: int) -> Table:
    """The sequences of all tables, as those of one."""
    found: list[Table] = []
    files = _tables_in(folder)
    for file in files:
        table = read_table(file, choice, limit)
        if not found and not choice.features:
            choice = choice._replace(features=table.columns, known_from=f"in {file.name}")
        name = stem(file)
        named = {own: name if own == name and len(table.values) == 1 else f"{name}/{own}" for own in table.values}
        limit -= sum(4 * values.size for values in table.values.values())
        found.append(
            Table(
                {named[own]: values for own, values in table.values.items()},
                {named[own]: starts for own, starts in table.segments.items()},
                {named[own]: times for own, times in table.times.items()},
                table.columns,
                f"{file.name}: {table.holes}" if table.holes else "",
            )
        )
    if len({bool(table.times) for table in found}) > 1:
        without = next(file.name for file, table in zip(files, found, strict=True) if not table.times)
        raise ValueError(
            f"{folder}: found no times in {without}, others have some: expected a time column in all or none"
        )
    parts = [(table.values, table.segments, table.times) for table in found]
    values, segments, times = (
        {key: of for part in kind for key, of in part.items()} for kind in zip(*parts, strict=True)
    )
    return Table(values, segments, times, found[0].columns, "; ".join(table.holes for table in found if table.holes))


def constant_features(sequences: VideoArrays) -> list[int]:
    """The features that have one value in all steps of all sequences."""
    arrays = [sequences.array(index) for index in range(len(sequences.videos)) if sequences.videos[index].frames]
    if not arrays:
        return []
    first = arrays[0][0]
    return np.flatnonzero(np.logical_and.reduce([(array == first).all(axis=0) for array in arrays])).tolist()


def sequence_lengths(records: Iterable[VideoRecord]) -> dict[str, int]:
    """Steps of every sequence by its name, those of all its segments together."""
    lengths: dict[str, int] = {}
    for record in records:
        lengths[record.name] = lengths.get(record.name, 0) + record.frames
    return lengths


def longest(sequences: VideoArrays, shortest: int) -> int:
    """Steps of the longest sequence or segment. Raises ValueError where a whole sequence has fewer than `shortest`."""
    _long_enough(sequences, shortest)
    return max(record.frames for record in sequences.videos)


def split_by_time(sequences: VideoArrays) -> bool:
    """Whether there are too few sequences to set whole ones aside."""
    return len(sequence_lengths(sequences.videos)) < TO_CUT_BY_ITEM


def divide(records: Sequence[VideoRecord]) -> dict[str, list[Cut]]:
    """What is in the parts `train`, `validation` and `test`: indices into `records`, each with the first of its steps
    that are in the part and the one after the last; None: to its end.

    Of ten sequences or more, whole ones are set aside: in the file's order, the ninth of every ten validates, the tenth
    tests. Sequences that are added at the end leave all others where they are. Fewer are split in time, each at 80 %
    and 90 % of its steps. Segments of a sequence, records of one name, are in the part in which their steps are.
    """
    lengths = sequence_lengths(records)
    numbers = {name: number for number, name in enumerate(lengths)}
    parts: dict[str, list[Cut]] = {"train": [], "validation": [], "test": []}
    before = dict.fromkeys(lengths, 0)
    for index, record in enumerate(records):
        if len(lengths) >= TO_CUT_BY_ITEM:
            parts[_PARTS.get(numbers[record.name] % 10, "train")].append((index, 0, None))
            continue
        steps, start = lengths[record.name], before[record.name]
        before[record.name] += record.frames
        for part, slices in parts.items():
            bounds = (round(bound * steps) - start for bound in BOUNDS[part])
            first, stop = (min(max(0, bound), record.frames) for bound in bounds)
            if first < stop or record.frames == steps:
                slices.append((index, first, stop))
    return parts


def sequence_clips(
    part: VideoArrays, split: str, frames: int, *, shortest: int, whole: bool, in_time: bool = False
) -> VideoClips:
    """Clips of `frames` steps of the sequences of a part, `split`: windows, of training sequences overlapping ones, or,
    with `whole`, whole sequences.

    Of the split `all`, every step is in a window: the last one ends with its sequence and overlaps the one before.
    A sequence of fewer steps, but at least `shortest`, is one clip that ends in NaN, if they are not split `in_time`.
    Where there are holes in the time, each segment is what a sequence is elsewhere, and those that are too short are
    left out, which is said on stderr. Raises ValueError, naming it, for a sequence that is too short, and for one that
    is longer than a clip that is to hold it whole.
    """
    least = frames if in_time else shortest
    chosen = _long_enough(part, least, f"the {split} part of " if in_time else "")
    if holes := part.facts.get("holes"):
        segments = sum(record.name in part.facts["segmented"] for record in part.videos)
        short = len(part.videos) - len(chosen)
        note(f"{holes}; no window crosses one")
        if short:
            note(f"{short} of {segments} segments between them, of fewer than {least} steps, are left out")
    if whole and (long := [record for record in part.videos if record.frames > frames]):
        raise ValueError(f"{long[0].name}: found {long[0].frames} steps, expected at most {frames} in one clip")
    step = max(1, frames // 4) if split == "train" else frames
    return VideoClips(part, chosen, frames, step=step, cover=split == "all", pad=not in_time, split=split)


def _long_enough(part: VideoArrays, least: int, part_of: str = "") -> list[int]:
    """Which records of a part have `least` steps. Raises ValueError where none has, or a whole sequence has not."""
    records, segmented = part.videos, part.facts.get("segmented", ())
    flags = "--input-frames and --future-frames" if part_of else "--future-frames"
    if short := [record for record in records if record.frames < least and record.name not in segmented]:
        raise ValueError(
            f"{part_of}{short[0].name}: found {short[0].frames} steps, expected at least {least} (input + future); "
            f"{len(short)} of {len(records)} are too short: leave them out, or train with fewer {flags}"
        )
    chosen = [index for index, record in enumerate(records) if record.frames >= least]
    if not chosen:
        raise ValueError(
            f"{part_of}{records[0].name}: found {max(record.frames for record in records)} steps at most between holes"
            f" in the time, expected at least {least} (input + future): fill holes in, or train with fewer {flags}"
        )
    return chosen


@lru_cache(maxsize=2)  # every split opens the file; two, because a run may be evaluated on another one
def _opened(
    path: Path, choice: Choice, offsets: tuple[float, ...] | None, state: tuple[tuple[int, int], ...]
) -> VideoArrays:
    """See `open_sequences`; with `state`, a file that changed is read again."""
    segments: dict[str, list[int]] = {}  # by name, where each begins, of sequences with holes
    facts: dict[str, Any] = {"columns": [], "times": {}, "holes": ""}
    if path.suffix.lower() == ".npy":
        found = _of_array(path, open_npy(path))
    elif path.suffix.lower() == ".npz":
        found = _of_archive(path)
    elif path.is_dir() or is_table(path):
        table = _read_folder(path, choice, MAX_BYTES) if path.is_dir() else read_table(path, choice, MAX_BYTES)
        found, segments = table.values, table.segments
        holes = f"{path}: {table.holes}" if table.holes else ""
        facts = {"columns": list(table.columns), "times": table.times, "holes": holes}
    else:
        raise ValueError(
            f"{path}: found a {path.suffix or 'nameless'} file, expected .npy, .npz, {', '.join(SUFFIXES)} or a folder"
        )
    if not found:
        raise ValueError(f"{path}: holds no sequences, expected at least one")
    width = next(iter(found.values())).shape[1]
    for name, steps in found.items():
        if 0 in steps.shape or steps.shape[1] != width:
            raise ValueError(
                f"{path}: found {steps.shape[0]} steps of {steps.shape[1]} features in {name}, expected at least one of"
                f" {width} as in the first"
            )
    subtracted = _settle_offsets(path, found, facts["columns"], offsets)
    facts["segmented"] = {name for name, starts in segments.items() if len(starts) > 1}
    facts["offsets"] = tuple(subtracted.tolist()) if subtracted.any() else ()
    records, arrays = [], []
    for name in list(found):
        steps = centred(found.pop(name), subtracted)
        steps.setflags(write=False)  # every split shares them
        starts = segments.get(name, [0])
        for first, stop in zip(starts, [*starts[1:], len(steps)], strict=True):
            records.append(VideoRecord(name, "", name, (stop - first, width), "float32", first=first))
            arrays.append(steps[first:stop])
    return VideoArrays(records, arrays.__getitem__, facts)


def _settle_offsets(
    path: Path, found: dict[str, npt.NDArray[Any]], columns: list[str], offsets: tuple[float, ...] | None
) -> Floats:
    """The offsets (F,), found out where they are None.

    Raises ValueError where there are others than features and, where they were found out, for a feature whose changes
    float32 cannot hold even so; of given ones that is only said, as such values are far from those of the training.
    """
    arrays = found.values()
    width = next(iter(arrays)).shape[1]
    if offsets and len(offsets) != width:
        raise ValueError(f"{path}: found {width} features, expected {len(offsets)}, as in training")
    settled = find_offsets(arrays) if offsets is None else np.array(offsets or [0.0] * width)
    if all(array.dtype == np.float32 for array in arrays):
        return settled
    lost, change, too_much = rounding(arrays, settled)
    for feature in np.flatnonzero(too_much).tolist():
        name = f"column {columns[feature]}" if columns else f"feature {feature} (from 0)"
        lowest = min(array[:, feature].min() for array in arrays)
        highest = max(array[:, feature].max() for array in arrays)
        found_words = (
            f"{path}: found changes of about {change[feature]:.2g} from step to step in {name}, among values from"
            f" {lowest:.10g} to {highest:.10g}"
        )
        if offsets is None:
            raise ValueError(
                f"{found_words}: float32 cannot hold both and would lose about {lost[feature]:.2g}; write its"
                " differences from step to step instead, or leave it out"
                + (f" ({flag('--ignore-columns', columns[feature])})" if columns else "")
            )
        note(f"{found_words}: so far from those of the training, float32 loses about {lost[feature]:.2g}")
    return settled


def _of_array(path: Path, values: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    if values.ndim not in (1, 2, 3):
        raise ValueError(f"{path}: found shape {values.shape}, expected (N, T, F), or (T, F) or (T,) of one series")
    _refuse_large(path, values)
    if values.ndim < 3:
        return {path.stem: _steps(path, path.stem, values)}
    return {str(index): _steps(path, str(index), steps) for index, steps in enumerate(values)}


def _of_archive(path: Path) -> dict[str, npt.NDArray[Any]]:
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


def _steps(path: Path, name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values (T, F) or (T,) as (T, F). Raises ValueError for other shapes and types, and for no finite float32."""
    if values.dtype.kind not in "fiub" or values.ndim not in (1, 2):
        raise ValueError(f"{path}: found {values.dtype} {values.shape} in {name}, expected numbers (T, F) or (T,)")
    values = values[:, None] if values.ndim == 1 else values
    for first in range(0, len(values), _ROWS):
        with np.errstate(over="ignore"):  # what becomes infinite is found below
            finite = np.isfinite(values[first : first + _ROWS].astype(np.float32, copy=False))
        if not finite.all():
            row, column = (int(place[0]) for place in np.nonzero(~finite))
            raise ValueError(
                f"{path}: found {values[first + row, column]} in {name}, step {first + row}, feature {column} (from 0),"
                " expected finite float32 numbers; for sequences of different lengths write a .npz file"
            )
    return values


@register
class Sequences(StoredSource):
    name = "sequences"
    fields = (*sorted(_OF_TABLES), "offsets", "whole")
    file = "FILE.npy, .npz, .csv, .csv.gz, .parquet or a folder of tables"
    labelled = False
    model = VIDEO_MODEL
    start: ClassVar[Mapping[str, Any]] = {"least_std": 0.0}  # features may be of scales far from each other

    def fields_read(self, config: DataFields) -> set[str]:
        arrays = str(config.data_dir).lower().endswith((".npy", ".npz"))
        return super().fields_read(config) - (_OF_TABLES if arrays else set())

    def unless(self, config: DataFields, field: str) -> str:
        return " but for tables" if field in _OF_TABLES else ""

    def settled(self, config: DataFields, *, windows: bool) -> dict[str, Any]:
        """The order of the columns, the offsets of features that float32 cannot hold as they are, and, unless
        `windows` are asked for, whether clips are whole sequences: where there are enough of them to set whole ones
        aside."""
        sequences = self._open(config, offsets=None)
        columns, offsets = tuple(sequences.facts["columns"]), sequences.facts["offsets"]
        whole = not windows and not split_by_time(sequences)
        steps = sorted(sequence_lengths(sequences.videos).values())
        each = "each stretch without a hole" if sequences.facts["segmented"] else "each"
        cut = f"{each} is a clip; --input-frames N cuts windows" if whole else "clips are windows"
        length = " to ".join(f"{count:,}" for count in dict.fromkeys([steps[0], steps[-1]]))
        note(f"{config.data_dir}: {len(steps):,} sequence{'s' * (len(steps) > 1)} of {length} steps; {cut}")
        if constant := constant_features(cut_arrays(sequences, divide(sequences.videos)["train"])):
            names = [columns[feature] if columns else f"feature {feature}" for feature in constant]
            note(
                f"{config.data_dir}: constant in training: {some(names, 9)}; what they do later cannot be judged by a"
                " model that never saw them move, --tasks anomaly names those that do"
            )
        return {"columns": columns, "offsets": offsets, "whole": whole}

    def times(self, config: DataFields) -> Mapping[str, Clock]:
        times: Mapping[str, Clock] = self._open(config, config.offsets).facts["times"]
        return times

    def arrays(self, config: DataFields, frames: int, division: Division | None = None) -> VideoArrays:
        return self._open(config, config.offsets)

    def cuts(self, config: DataFields, arrays: VideoArrays) -> Cuts:
        return divide(arrays.videos)

    def clips(
        self, config: DataFields, part: Part, split: str, frames: int, *, shortest: int | None, seed: int
    ) -> VideoClips:
        least = shortest or frames
        return sequence_clips(part.arrays, part.split, frames, shortest=least, whole=config.whole, in_time=part.in_time)

    def _open(self, config: DataFields, offsets: tuple[float, ...] | None) -> VideoArrays:
        return open_sequences(
            self.place(config),
            id_column=config.id_column,
            time_column=config.time_column,
            ignore_columns=config.ignore_columns,
            columns=config.columns,
            offsets=offsets,
        )
