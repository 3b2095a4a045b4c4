"""Labels of classes, and the text files that hold one per line."""

import collections.abc
import typing

from keras_moe.checks import check

_JOINERS = str.maketrans("", "", "\u200c\u200d")  # inside words of Persian or Hindi, inside emoji


def is_label(text: object) -> bool:
    """Whether ``text`` is what a line of any reader gives back as it is: printable, no blank at its ends, not empty."""
    return isinstance(text, str) and text.strip() == text != "" and text.translate(_JOINERS).isprintable()


def checked(owner: str, labels: typing.Any) -> list[str]:
    """``labels`` as a list of names in the order of the classes.

    Raises:
        ValueError: a collection without an order, such as a set, or what is no printable line; it names ``owner``.
    """
    unordered = isinstance(labels, (str, bytes, dict, set, frozenset)) or not isinstance(
        labels, collections.abc.Iterable
    )
    check(owner, "labels", labels, not unordered, "a list of str, in the order of the classes")
    names: list[str] = list(labels)
    odd = [label for label in names if not is_label(label)]
    check(owner, "labels", odd, not odd, "printable lines of text, not empty, without blanks at their ends")
    return names


def to_lines(labels: collections.abc.Iterable[str]) -> bytes:
    """The bytes of ``labels``, one per line."""
    return "\n".join(labels).encode()


def from_lines(data: bytes) -> tuple[str, ...]:
    """The labels, a tuple, in the bytes of a file. Lines end as on Linux or Windows, and at no other character.

    Raises:
        UnicodeDecodeError: not UTF-8.
    """
    text = data.decode().removesuffix("\n")
    return tuple(line.removesuffix("\r") for line in text.split("\n")) if text else ()
