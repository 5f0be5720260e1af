"""Files of tables to rows of text: `.csv`, `.csv.gz` and `.parquet`; what the columns are, `tables.py` says."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

CSV, CSV_GZ, PARQUET = ".csv", ".csv.gz", ".parquet"
SUFFIXES = (CSV, CSV_GZ, PARQUET)
_MAX_LINE = 2**20  # characters of a line


def _suffix(path: Path) -> str:
    """That of a table, in small letters; "" of another file."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return bool(_suffix(path))


def stem(path: Path) -> str:
    """The name of a table without its suffix."""
    return path.name[: len(path.name) - len(_suffix(path) or path.suffix)]


Rows = Iterator[tuple[int, list[str]]]  # that are not blank, with the numbers of their lines


def open_rows(path: Path) -> tuple[bool, Rows]:
    """Whether semicolons part the cells of a file, and its rows."""
    return (False, _rows_of_parquet(path)) if _suffix(path) == PARQUET else rows_of(path, _lines_of(path))


def rows_of(path: Path, lines: Iterator[str]) -> tuple[bool, Rows]:
    """Whether semicolons part the cells, by the first line, and the rows of `lines`, whose messages name `path`."""
    blank: list[str] = []
    lines = _decoded(path, lines)
    for first in lines:
        if not blank:
            first = first.removeprefix("\ufeff")
        if first.strip():
            semicolons = ";" in first and "," not in first
            return semicolons, _rows(path, chain(blank, [first], lines), ";" if semicolons else ",")
        blank.append(first)
    return False, iter(())


def _decoded(path: Path, lines: Iterator[str]) -> Iterator[str]:
    """The lines. Raises ValueError that names the file where they are not in UTF-8."""
    line = 0
    try:
        for text in lines:
            line += 1
            yield text
    except (csv.Error, UnicodeDecodeError) as error:
        raise _no_table(path, line, error) from error


def _rows(path: Path, lines: Iterator[str], delimiter: str) -> Rows:
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise _no_table(path, reader.line_num, error) from error


def _no_table(path: Path, line: int, error: Exception) -> ValueError:
    return ValueError(f"{path}: not a table with commas in UTF-8 after line {line} ({error}); save it as CSV UTF-8")


def _lines_of(path: Path) -> Iterator[str]:
    """The lines of a `.csv` file, packed or not."""
    try:
        with (
            gzip.open(path, "rt", newline="", encoding="utf-8")
            if _suffix(path) == CSV_GZ
            else path.open(newline="", encoding="utf-8") as file
        ):
            yield from _lines(file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: not a whole gzip file ({error}); it is damaged, or was not copied to its end"
        ) from error


def _rows_of_parquet(path: Path) -> Rows:
    """The rows as text that reads back exactly, missing cells empty. Raises ImportError without pyarrow."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ImportError('pyarrow is not installed; pip install "video-ae[tables]"') from error
    try:
        with parquet.ParquetFile(path) as file:
            yield 1, list(file.schema_arrow.names)
            line = 1
            for batch in file.iter_batches():
                cells = [
                    ["" if value is None else str(value) for value in column.to_pylist()] for column in batch.columns
                ]
                for row in zip(*cells, strict=True):
                    line += 1
                    yield line, list(row)
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: not a whole parquet file ({error}); it is damaged or of another kind") from error


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise csv.Error(f"a line of {_MAX_LINE:,} characters or more")
        yield line
