"""Labels of classes, the text files that hold one per line, and masks of them."""

import collections.abc
import typing

import numpy as np

from keras_moe.checks import check, integer
from keras_moe.metrics import IGNORE

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


def check_masks(images: np.ndarray, masks: np.ndarray, classes: int, ignore: int | None = IGNORE) -> None:
    """Checks that ``masks`` can teach a segmenter of ``classes`` classes.

    Args:
        images: ``(n, h, w, c)``.
        masks: integer or bool ``(n, h, w)``, labels in 0…classes-1 or ``ignore``.
        classes: int.
        ignore: int, the label that no loss and no metric counts; None: there is none.

    Raises:
        ValueError: masks of another shape or dtype, without a label, or with labels out of range; it names the first
            such mask.

    Example:
        >>> masks = np.array([[[0, 1], [255, 1]]])
        >>> training.check_masks(np.zeros((1, 2, 2, 3)), masks, classes=2)
        >>> training.check_masks(np.zeros((1, 2, 2, 3)), masks, classes=1)
        Traceback (most recent call last):
        ValueError: Expected labels in 0…0, or 255 to ignore. Received: [1], the first in mask 0
    """
    classes = integer("check_masks", "classes", classes, 1)
    ignore = integer("check_masks", "ignore", ignore, or_none=True)
    images, masks = np.asarray(images), np.asarray(masks)
    if len(images) == 0 or masks.shape != images.shape[:3]:
        raise ValueError(f"Expected one mask {images.shape[1:3]} per image. Received: {images.shape}, {masks.shape}")
    if masks.dtype.kind not in "biu":
        raise ValueError(f"Expected masks of integers or bool. Received: dtype {masks.dtype}")
    labels = np.unique(masks)
    counted = labels[labels != ignore]
    if len(counted) == 0:
        raise ValueError(f"Every pixel has the ignore label {ignore}: there is nothing to learn from.")
    wrong = counted[(counted < 0) | (counted >= classes)]
    if len(wrong):
        first = int(np.argmax(np.isin(masks, wrong).any((1, 2))))
        raise ValueError(
            f"Expected labels in 0…{classes - 1}, or {ignore} to ignore. Received: {wrong.tolist()}, the first in mask "
            f"{first}"
        )
