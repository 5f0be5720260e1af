"""The user's own list of what trains, validates and tests: a .csv file with the columns name and part."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from .groups import PART_NAMES
from .notes import note, some
from .videos import SUFFIXES

MAX_BYTES = 2**28


def parts_by_file(path: Path | str, names: Sequence[str]) -> list[str]:
    """The part of every video, `train`, `validation` or `test`, and "" of those that the file does not list.

    A name in the file is a video's, with or without the suffix of its file, or the last piece of that if no other video
    has it. Names without a video are noted on stderr.

    Raises FileNotFoundError, or ValueError with the line for other columns or parts, a name that fits several videos,
    and a video that is in two parts.
    """
    path = Path(path)
    by_name = {name: index for index, name in enumerate(names)}
    by_stem: defaultdict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        by_stem[PurePosixPath(name).name].append(index)
    parts = [""] * len(names)
    missing: list[str] = []
    for line, listed, part in _rows(path):
        name = listed.replace("\\", "/").removeprefix("./")
        bare = name if name in by_name or name in by_stem else _without_suffix(name)
        fitting = [by_name[bare]] if bare in by_name else by_stem.get(bare, [])
        if len(fitting) > 1:
            several = some([names[index] for index in fitting])
            raise ValueError(f"{path}:{line}: {listed!r} fits {several}; expected the whole name of one of them")
        if not fitting:
            missing.append(listed)
        elif parts[fitting[0]] not in ("", part):
            raise ValueError(f"{path}:{line}: {listed!r} is for {parts[fitting[0]]} in another line, expected one part")
        else:
            parts[fitting[0]] = part
    if not any(parts):
        such_as = f" such as {names[0]}" if names else ""
        raise ValueError(f"{path}: lists none of the {len(names)} videos{such_as}; expected their names and parts")
    if missing:
        note(f"{path}: {len(missing):,} of the listed videos are not there: {some(missing)}")
    return parts


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Line, name and part of every row."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .csv file with the columns name and part")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes, expected at most {MAX_BYTES:,} of a list of videos")
    rows = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if not {"name", "part"} <= set(reader.fieldnames or ()):
                raise ValueError(
                    f"{path}: found the columns {', '.join(reader.fieldnames or ()) or 'of nothing'}, expected name and"
                    " part in line 1, parted by a comma"
                )
            for row in reader:
                name, part = (row["name"] or "").strip(), (row["part"] or "").strip()
                if not name or part.lower() not in PART_NAMES:
                    raise ValueError(
                        f"{path}:{reader.line_num}: found {name!r} and {part!r}, expected the name of a video and"
                        " train, validation or test"
                    )
                rows.append((reader.line_num, name, PART_NAMES[part.lower()]))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a table with commas in UTF-8 ({error}); export it as CSV") from error
    return rows


def _without_suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in (*SUFFIXES, ".npy") else name
