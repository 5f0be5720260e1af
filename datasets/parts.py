"""What of a data set is in a part of a run: by the division that the run stored or, without a run, by a rule.

What is missing, new or left out is said on stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .division import Cuts, Division, Match, Piece, in_time, parts_of, pieces_of
from .notes import note, some
from .video_arrays import VideoArrays, VideoRecord, cut_arrays

Rule = Callable[[VideoArrays], Cuts]


class Part(NamedTuple):
    """The arrays of a part, what it is called, and whether these are stretches in time of whole videos or sequences."""

    arrays: VideoArrays
    split: str
    in_time: bool


def choose(arrays: VideoArrays, split: str, division: Division | None, rule: Rule, place: object) -> Part:
    """The part `split`, `train`, `validation` or `test`, of a run with this `division`; `all` is everything.

    Of other data than those that were divided, `test` is all of it but what the run was trained on, and called `all`.
    `place` is where the arrays are from, for messages.

    Raises ValueError where nothing is left of the part, and for `train` and `validation` of other data.
    """
    if split == "all":
        return Part(arrays, split, False)
    if division is None:
        cuts = rule(arrays)
        return Part(cut_arrays(arrays, cuts[split]), split, in_time(arrays, cuts))
    match = division.match(arrays)
    if match.same_data:
        _say_what_changed(match, split, place)
        return Part(cut_arrays(arrays, match.found[split]), split, division.in_time)
    if split != "test":
        raise ValueError(
            f"{place}: not the data that the run was trained on; put these back, or name their place with --data-dir"
        )
    files = {piece.fingerprint for part in parts_of("development") for piece in division.parts[part]}
    copies = [cut for cut in match.new if arrays.videos[cut[0]].fingerprint in files]  # under a second name
    trained_on = sorted(match.found["train"] + match.found["validation"] + copies)
    if trained_on:
        note(f"{place}: left out {_named(cut_arrays(arrays, trained_on).videos)}: the run was trained on them")
    untrained = sorted({*match.new, *match.found["test"]} - {*copies})
    if not untrained:
        raise ValueError(f"{place}: the run was trained on all of it; name other data to evaluate on")
    return Part(cut_arrays(arrays, untrained), "all", False)


def choose_labelled(
    arrays: VideoArrays, split: str, division: Division | None, rule: Rule, place: object
) -> VideoArrays:
    """What classifiers learn from, `development`, train and validation together, or are tested on, `test`.

    Other data than those that were divided are divided by their `rule`. Raises ValueError where nothing is left of the
    part, and where the run was trained on what would test.
    """
    match = None if division is None else division.match(arrays)
    if match is not None and match.same_data:
        cuts: Cuts = match.found
        _say_what_changed(match, split, place)
    else:
        cuts = rule(arrays)
        known = [] if match is None else match.found["train"] + match.found["validation"]
        both = {index for index, _, _ in known} & {index for index, _, _ in cuts["test"]}
        if both:
            raise ValueError(
                f"{place}: {_named([arrays.videos[index] for index in sorted(both)])} would test, and the run was"
                " trained on them; train a run that has them in its test part"
            )
    return cut_arrays(arrays, pieces_of(cuts, split))


def refuse_missing(arrays: VideoArrays, division: Division, place: object) -> None:
    """Raises ValueError where something that trains or validates is not there any more, or not what it was."""
    match = division.match(arrays)
    missing = match.missing["train"] + match.missing["validation"]
    if missing:
        raise ValueError(
            f"{place}: {_named(missing)} of this run's training and validation data {_are(missing)} missing or changed;"
            " put them back, name their new place with --data-dir, or begin a new run"
        )


def _say_what_changed(match: Match, split: str, place: object) -> None:
    """Raises ValueError where nothing is left of the part."""
    missing = [piece for part in parts_of(split) for piece in match.missing[part]]
    if not any(match.found[part] for part in parts_of(split)):
        if not missing:
            raise ValueError(f"{place}: too little for a {split} part, a tenth of it; train on more")
        raise ValueError(f"{place}: nothing is left of this run's {split} data ({_named(missing)}); put them back")
    if missing:
        note(f"{place}: {_named(missing)} of this run's {split} data {_are(missing)} missing or changed")
    if match.new:
        count = len({index for index, _, _ in match.new})
        note(
            f"{place}: {count} {'is' if count == 1 else 'are'} new, or longer than in training, and in no part of this"
            " run; to evaluate what is new, name a folder or file that has nothing else (--data-dir)"
        )


def _named(items: Sequence[Piece] | Sequence[VideoRecord]) -> str:
    """`5 (a, b, c and 2 more)`"""
    names = list(dict.fromkeys(item.name for item in items))
    return f"{len(names)} ({some(names)})"


def _are(items: Sequence[Piece]) -> str:
    return "is" if len({item.name for item in items}) == 1 else "are"
