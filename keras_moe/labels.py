"""Labels of classes, and the text files that hold one per line."""

import collections.abc

_JOINERS = str.maketrans("", "", "\u200c\u200d")  # inside words of Persian or Hindi, inside emoji


def is_label(text: object) -> bool:
    """Whether ``text`` is what a line of any reader gives back as it is: printable, no blank at its ends, not empty."""
    return isinstance(text, str) and text.strip() == text != "" and text.translate(_JOINERS).isprintable()


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
