"""Remarks on files that are left out, and on odd files that are used."""

import collections
import dataclasses


@dataclasses.dataclass(frozen=True)
class Remark:
    """A remark on a file or folder.

    Args:
        path: str, of the file or folder.
        word: str, what is odd about it.
        used: bool, whether it is used all the same.

    Example:
        >>> str(datasets.Remark("cats/7.jpg", "is damaged or cut off", used=False))
        'left out: cats/7.jpg: is damaged or cut off'
    """

    path: str
    word: str
    used: bool

    def __str__(self) -> str:
        return f"{'used' if self.used else 'left out'}: {self.path}: {self.word}"


def summary(remarks: tuple[Remark, ...], most: int = 3) -> list[str]:
    """A line for each kind of remark: how many files it concerns, and the first ``most`` of them.

    What follows a colon in a word differs from file to file and does not count.
    """
    kinds: dict[tuple[bool, str], list[str]] = collections.defaultdict(list)
    for remark in remarks:
        kinds[remark.used, remark.word.split(":")[0]].append(remark.path)
    return [
        f"{'used' if used else 'left out'}, {len(paths):,}: {word} ({', '.join(paths[:most])}"
        f"{', …' if len(paths) > most else ''})"
        for (used, word), paths in sorted(kinds.items())
    ]
