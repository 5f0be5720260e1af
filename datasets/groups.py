"""Groups of videos, such as all of one person, by their names, and a train/validation/test split by group."""

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from random import Random

from .division import PARTS, cut_in_time, pieces_of
from .notes import some
from .video_arrays import Cut, VideoRecord
from .videos import Video

OFFICIAL_SPLITS = ("train", "validation", "development", "test")
SPLITS = (*OFFICIAL_SPLITS, "all")
PART_NAMES = dict.fromkeys(("train", "training"), "train") | dict.fromkeys(("test", "testing"), "test")
PART_NAMES |= dict.fromkeys(("validation", "valid", "val", "dev", "eval"), "validation")  # what people call the parts
_SHARES = {"test": 0.25, "validation": 0.2}  # of all groups, and of the groups that are not for testing
_MIN_STEPS = 10  # of a video that is split in time
_UCF_NAME = re.compile(r"v_.+_(g\d+)_c\d+")
# What cameras, phones and programs begin the names of files with.
_TOOLS = re.compile(
    r"c?img|mvimg|vid|mvi|mov|dsc[fn]?|dji|pxl|gopr|video|clip|movie|film|file|screen|recording|record|rec|inshot|"
    r"rpreplay|burst|scene|shot|seq|sequence|sample|segment|part|trim|cut|output|(cam|camera|view)\d*",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")
_MOVES = 1000  # of groups, without anything gained


def groups_of(names: Sequence[tuple[str, str]], group: str = "") -> list[str]:
    """The group of every video, given its class and its name, which is the path below the class without suffix.

    `group` is a regular expression that is searched in each name: its first group, or else the whole match, counts.
    Where empty, the group is `g01` for names such as v_PushUps_g01_c01; else the sub-folder, if no class has fewer than
    three groups then; else what comes before the first "_", if that is a person (see `_people`); else the name itself,
    so that every file is a group of its own.

    Raises ValueError where `group` is no expression or does not match.
    """
    if group:
        return [_matched(group, name) for _, name in names]
    folders = [name.rpartition("/")[0] or name for _, name in names]
    if _fewest((label, folder) for (label, _), folder in zip(names, folders, strict=True)) < 3:
        folders = [name for _, name in names]
    people = _people(names)

    def group_of(name: str, folder: str) -> str:
        if match := _UCF_NAME.fullmatch(name):
            return match[1]
        prefix = _prefix(name)
        return prefix if folder == name and prefix in people else folder

    return [group_of(name, folder) for (_, name), folder in zip(names, folders, strict=True)]


def doubtful_people(names: Sequence[tuple[str, str]]) -> list[str]:
    """Three or more beginnings of names that may be people, but that `groups_of` does not take for any; else none."""
    shared = sorted(prefix for prefix in _shared_prefixes(names) if _has_letters(prefix))
    return shared if len(shared) >= 3 and not _people(names) else []


def divide(records: Sequence[VideoRecord]) -> dict[str, list[Cut]]:
    """Which pieces of which videos are for `train`, `validation` and `test`; no group is in two of them.

    Where nothing is marked (`official`), the last quarter of the groups is for testing and the last fifth of the others
    for validation: the last of every class, and of every series of names that differ by numbers. Then groups are moved
    until every class has some in each part. Videos of the same content (`fingerprint`) count as one group.

    Where parts are marked, videos without a mark are in none, and a part that no video is marked for is held out of the
    training videos in the same way; a class that has too few groups for that is not in it. Where no class has more than
    two videos, each is split in time, at 80 % and 90 %. The result does not depend on the order of `records`.

    Raises ValueError where nothing is marked and a class has fewer than three groups, or shares them with others so
    that they cannot be divided, and where there are marks but none for training.
    """
    marks = {record.official for record in records} - {""}
    if not marks and split_in_time(records):
        return _in_time(records)
    pool = [index for index, record in enumerate(records) if not marks or record.official == "train"]
    if not pool:
        raise ValueError(
            f"none of the {len(records)} videos{_such_as(records)} is marked or listed for train; expected the list"
            " that they are of, or a folder train beside the others"
        )
    chosen = [records[index] for index in pool]
    groups = _united(chosen)
    pairs = [(record.label, group) for record, group in zip(chosen, groups, strict=True)]
    groups_in = Counter(label for label, _ in set(pairs))
    if few := [label for label in sorted(groups_in) if groups_in[label] < 3 and not marks]:
        others = f", as have {len(few) - 1} other classes" if len(few) > 1 else ""
        raise _undivided(chosen, pairs, few[0], f"{others}, expected at least 3 to train, validate and test")
    part_of, lacking = _assigned(pairs, [part for part in _SHARES if part not in marks])
    if lacking and not marks:
        raise _undivided(chosen, pairs, lacking, "that other classes share, so that no division gives it all parts")
    if empty := [part for part in _SHARES if part not in marks and part not in part_of.values()]:
        raise ValueError(
            f"the {len(pool)} videos for training are of {len(part_of)} groups ({some(sorted(part_of))}), expected"
            f" enough to hold some out for {' and '.join(empty)}; mark videos for that"
        )
    parts = [record.official for record in records]
    for index, group in zip(pool, groups, strict=True):
        parts[index] = part_of[group]
    return {name: [(index, 0, None) for index, part in enumerate(parts) if part == name] for name in PARTS}


def below_class(record: VideoRecord) -> str:
    """The name of a video as `groups_of` wants it."""
    return record.name.partition(f"{record.label}/")[2] or record.name


def split_in_time(records: Sequence[VideoRecord]) -> bool:
    """Whether there are too few videos to hold whole ones out: no class has more than two."""
    return max(Counter(record.label for record in records).values(), default=0) < 3


def division_notes(records: Sequence[VideoRecord], division: dict[str, list[Cut]]) -> list[str]:
    """What is to be said about a division of `records`, a line each."""
    notes = []
    marks = {record.official for record in records} - {""}
    if not marks and split_in_time(records):
        notes.append("fewer than three videos in every class: each is split in time, at 80 % and 90 % of its frames")
    if marks and "test" not in marks:
        notes.append("no video is marked for test: the last quarter of the groups marked for training is held out")
    if marks and (rest := [record.name for record in records if not record.official]):
        notes.append(f"{len(rest):,} videos are marked for no part and left out: {some(rest)}")
    labels = {part: {records[index].label for index, _, _ in pieces} for part, pieces in division.items()}
    notes += [
        f"no videos of {len(lost)} classes are in the {part} part: {some(lost)}"
        for part in ("validation", "test")
        if (lost := sorted(labels["train"] - labels[part]))
    ]
    parts_of: defaultdict[str, set[str]] = defaultdict(set)
    for part, pieces in division.items():
        for index, first, stop in pieces:
            if records[index].fingerprint and (first, stop) == (0, None):
                parts_of[records[index].fingerprint].add(part)
    if copies := sum(len(parts) > 1 for parts in parts_of.values()):
        notes.append(f"{copies} videos are marked for more than one part, under different names")
    return notes


def split_videos(videos: Sequence[Video], split: str) -> list[Video]:
    """The videos of one of `SPLITS`, in the order given; `development` is train and validation, `all` everything.

    See `divide`. Raises ValueError as that does, for an unknown split, and where videos can only be split in time.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if split == "all":
        return list(videos)
    records = [VideoRecord(video.name, video.label, video.group, (0,), "uint8", video.official) for video in videos]
    return [videos[index] for index, _, _ in pieces_of(divide(records), split)]


def split_development(videos: Sequence[Video], split: str) -> list[Video]:
    """The `train` or `validation` part of videos that are not for testing, or all of them, `development`.

    The last fifth of the groups is for validation, see `divide`; of classes with one group, nothing.

    Raises ValueError where there is only one group.
    """
    if split == "development":
        return list(videos)
    part_of, _ = _assigned([(video.label, video.group) for video in videos], ["validation"])
    if len(part_of) < 2:
        raise ValueError(f"videos of one group ({some(list(part_of))}), expected at least 2 to train and to validate")
    return [video for video in videos if part_of[video.group] == split]


def _matched(group: str, name: str) -> str:
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise ValueError(f"group {group!r}: not a regular expression ({error})") from error
    match = pattern.search(name)
    if not (found := match and match[min(pattern.groups, 1)]):
        raise ValueError(f"{name}: no group {group!r} in the name, expected it in every name")
    return found


def _people(names: Sequence[tuple[str, str]]) -> set[str]:
    """What comes before the first "_" of the names, where that is a person: daria_bend, daria_jump, ira_bend.

    Cameras and programs begin names in the same way (IMG_0001, clip_3). So people are three or more such beginnings
    that several classes share, none of which a camera is known to use or has more than half of the videos, and most of
    whose names go on with the class. Of five or more it is enough if they have letters (anna_01, ben_01, ...).
    """
    shared = _shared_prefixes(names)
    theirs = [(label, name) for label, name in names if _prefix(name) in shared]
    most = max(Counter(_prefix(name) for _, name in theirs).values(), default=0)
    if len(shared) < 3 or 2 * most > len(names):
        return set()
    named = sum(_words(label) in _words(name.partition("_")[2]) for label, name in theirs if _has_letters(label))
    lettered = sum(map(_has_letters, shared))
    return shared if 2 * named > len(theirs) or (len(shared) >= 5 and 2 * lettered > len(shared)) else set()


def _shared_prefixes(names: Sequence[tuple[str, str]]) -> set[str]:
    """What comes before the first "_" of names in several classes, but for what cameras are known to use."""
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for label, name in names:
        if "_" in name.rpartition("/")[2] and _prefix(name):
            classes[_prefix(name)].add(label)
    return {prefix for prefix, labels in classes.items() if len(labels) > 1 and not _TOOLS.fullmatch(prefix)}


def _prefix(name: str) -> str:
    return name.rpartition("/")[2].partition("_")[0]


def _words(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def _has_letters(text: str) -> bool:
    return any(map(str.isalpha, text))


def _fewest(pairs: Iterable[tuple[str, str]]) -> int:
    """How many groups the class of the fewest has, given (class, group) of every video."""
    return min(Counter(label for label, _ in set(pairs)).values(), default=0)


def _in_time(records: Sequence[VideoRecord]) -> dict[str, list[Cut]]:
    for record in records:
        steps = 0 if len(record.shape) == 5 else record.frames  # clips that were cut beforehand overlap in time
        if steps < _MIN_STEPS:
            raise ValueError(
                f"{len(records)} videos{_such_as(records)}, expected at least 3 of every class to train, validate and"
                f" test, or long ones to split in time; add videos, or cut them (ffmpeg -f segment)"
            )
    return cut_in_time(records)


def _united(records: Sequence[VideoRecord]) -> list[str]:
    """The group of every video, where groups that have a video of the same content are one, by the first name."""
    leader: dict[str, str] = {}

    def find(group: str) -> str:
        while (other := leader.setdefault(group, group)) != group:
            leader[group] = leader[other]
            group = leader[group]
        return group

    first: dict[str, str] = {}
    for record in records:
        if record.fingerprint:
            one, other = sorted((find(record.group), find(first.setdefault(record.fingerprint, record.group))))
            leader[other] = one
    return [find(record.group) for record in records]


def _assigned(pairs: Iterable[tuple[str, str]], held_out: Sequence[str]) -> tuple[dict[str, str], str]:
    """The part of every group, given (class, group) of every video: `train`, or one of `held_out`.

    Second, the first class that has enough groups but is not in all of these parts; empty where there is none. Of a
    class with fewer groups than parts, the first parts have one each.
    """
    groups_in: defaultdict[str, list[str]] = defaultdict(list)
    for label, group in sorted(set(pairs)):
        groups_in[label].append(group)
    part_of = {group: "train" for groups in groups_in.values() for group in groups}
    for part in held_out:
        order = _ordered({label: [g for g in groups if part_of[g] == "train"] for label, groups in groups_in.items()})
        for group in order[-max(1, round(_SHARES[part] * len(order))) :]:
            part_of[group] = part
    needed = {label: ("train", *held_out)[: len(groups)] for label, groups in groups_in.items()}
    return part_of, _mend(part_of, groups_in, needed)


def _ordered(groups_in: dict[str, list[str]]) -> list[str]:
    """All groups by how far down their first class they are, and in that by how far down their series, then by name.

    A series is what differs by its numbers alone, but for those in a first word: IMG_0001, IMG_0002, ... and MVI_0001,
    ... and cam2_0001, ... So what comes last is of every class, and of every series in it.
    """
    places: dict[str, float] = {}
    for label in sorted(groups_in):
        series: defaultdict[tuple[str, str], list[tuple[list[int], str]]] = defaultdict(list)
        for group in groups_in[label]:
            numbers = [int(digits) for digits in _DIGITS.findall(group)]
            series[_series(group)].append((numbers, group))
        in_series = [
            (index / len(members), group)
            for members in series.values()
            for index, (_, group) in enumerate(sorted(members))
        ]
        for index, (_, group) in enumerate(sorted(in_series)):
            places.setdefault(group, index / len(in_series))
    return sorted(places, key=lambda group: (places[group], group))


def _series(group: str) -> tuple[str, str]:
    word, sign, rest = group.partition("_")
    return (word, _DIGITS.sub("", rest)) if sign and _has_letters(word) else ("", _DIGITS.sub("", group))


def _mend(part_of: dict[str, str], groups_in: dict[str, list[str]], needed: dict[str, tuple[str, ...]]) -> str:
    """Move groups to other parts until every class has one in all parts that it needs; change `part_of` in place.

    Returns the first class that still lacks one where that does not succeed, else "". A group moves where least is lost
    by it, now and then anywhere (the search of WalkSAT: classes that share groups make this a problem of logic).
    """
    labels_of: defaultdict[str, list[str]] = defaultdict(list)
    for label, groups in groups_in.items():
        for group in groups:
            labels_of[group].append(label)
    count = Counter((label, part) for group, part in part_of.items() for label in labels_of[group])
    lacking = deque((label, part) for label in sorted(needed) for part in needed[label] if not count[label, part])
    random, vain = Random(0), 0
    while lacking:
        label, part = lacking.popleft()
        if count[label, part]:
            continue
        if vain > _MOVES:
            return label

        def loss(group: str, part: str = part) -> int:
            before, of_group = part_of[group], labels_of[group]
            lost = sum(count[label, before] == 1 and before in needed[label] for label in of_group)
            return lost - sum(not count[label, part] and part in needed[label] for label in of_group)

        groups = groups_in[label][::-1]  # the last ones are held out
        group = min(groups, key=loss)
        if loss(group) >= 0:
            vain += 1
            group = random.choice([group, *groups])
        before = part_of[group]
        part_of[group] = part
        for other in labels_of[group]:
            count[other, before] -= 1
            count[other, part] += 1
            if not count[other, before] and before in needed[other]:
                lacking.append((other, before))
    return ""


def _undivided(records: Sequence[VideoRecord], pairs: list[tuple[str, str]], label: str, why: str) -> ValueError:
    """The error for a class that cannot be in all parts, with what helps these very files."""
    groups = sorted({group for its_label, group in pairs if its_label == label})
    videos = sum(its_label == label for its_label, _ in pairs)
    own = [(record.label, below_class(record)) for record in records]
    helps = _fewest(own) >= 3 and not _assigned(own, list(_SHARES))[1]
    way = "--group '.+' makes every file a group of its own" if helps else "add videos or leave the class out"
    of_class = f"class {label}: {videos}" if label else str(videos)
    return ValueError(
        f"{of_class} videos of {len(groups)} groups ({some(groups)}){why}; {way}, or --split-file FILE.csv (columns"
        " name and part) says where each belongs"
    )


def _such_as(records: Sequence[VideoRecord]) -> str:
    return f" such as {min(record.name for record in records)}" if records else ""
