"""What every data set is to whoever trains or evaluates on it: clips by number, in batches."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

from torch import Tensor
from torch.utils.data import Dataset


class Clips(Dataset[Tensor]):
    """Clips of a part of a data set; `__getitems__` gives frames (B, T, C, H, W), or features with H = W = 1.

    split:     the part that they are.
    available: how many there are, of which `sample` keeps some; None where there is no end.
    endless:   whether every index is a new clip, so that training never sees one twice.
    augmented: whether items go on after the last clip, the same clips changed anew every time.
    """

    split: str
    available: int | None
    augmented = False

    @property
    def endless(self) -> bool:
        return False

    @abstractmethod
    def sample(self, clips: int) -> Self:
        """At most so many of these clips."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, indices: Sequence[int]) -> Tensor: ...

    def __getitem__(self, index: int) -> Tensor:
        if index < 0 or not (self.endless or self.augmented or index < len(self)):
            raise IndexError(f"clip {index}: expected 0 to {len(self) - 1}")
        return self.__getitems__([index])[0]

    def name(self, index: int) -> str:
        """Which clip this is, for people to read: its number in the split."""
        return str(index)

    def place(self, index: int) -> tuple[str, int]:
        """The name of the sequence that a clip is of, and the number of its first frame there."""
        return self.name(index), 0

    def label(self, index: int) -> str:
        """The class of a clip; "" where it has none."""
        return ""

    def stretch(self, index: int) -> int:
        """The first frame of the part of the sequence, between two holes in its times, that a clip is of."""
        return 0
