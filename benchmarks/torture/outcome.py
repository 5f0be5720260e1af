"""What came of a campaign.

A campaign is a function `name(count, seed, folder) -> Outcome` in one of the modules beside this one: it does `count`
things to the package that a function of (seed, number) chooses, in the empty `folder`, and says how often the promise
held. `__main__.py` lists all campaigns with the counts of the full table; tests call them with small ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tqdm import tqdm


@dataclass(frozen=True)
class Outcome:
    """`promise` is what has to be so in every one of the `tried` cases; `failures` says where it was not."""

    campaign: str  # what was done, as the table names it
    promise: str
    tried: int
    failures: tuple[str, ...] = ()
    note: str = ""  # what was measured beside

    @property
    def held(self) -> int:
        return self.tried - len(self.failures)


def count(campaign: str, promise: str, tries: Iterable[str | None], note: str = "") -> Outcome:
    """The outcome of `tries`: of each None, or what went wrong in a line."""
    results = list(tqdm(tries, desc=campaign, unit=" tries", leave=False))
    return Outcome(campaign, promise, len(results), tuple(result for result in results if result is not None), note)
