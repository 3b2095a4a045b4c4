"""scikit-learn's handwritten digits, which need no download, for tests."""

import numpy as np

from keras_moe.datasets.dataset import Dataset, Shape, Split, accuracy
from keras_moe.zoo.model_card import Data

Pair = tuple[np.ndarray, np.ndarray]

DIGITS_DATA = Data(
    "digits (scikit-learn)",
    "CC BY 4.0",
    "sklearn.datasets.load_digits, the test set of UCI's optical recognition of handwritten digits",
    "https://archive.ics.uci.edu/dataset/80",
)


def digits() -> tuple[Pair, Pair]:
    """scikit-learn's handwritten digits, the first 1,400 to train on and 397 to test on.

    Returns:
        ``(images, labels)`` of training and of test: float32 ``(n, 8, 8, 1)`` in [0, 255], int64 ``(n,)``.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = datasets.digits()
        >>> x_train.shape, x_test.shape, y_train[:5].tolist()
        ((1400, 8, 8, 1), (397, 8, 8, 1), [0, 1, 2, 3, 4])
    """
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = (loaded.images[..., None] * (255 / 16)).astype("float32")
    return (images[:1400], loaded.target[:1400]), (images[1400:], loaded.target[1400:])


def _test(shape: Shape) -> Split:
    return Split(*digits()[1])


def _calibration(shape: Shape) -> np.ndarray:
    return digits()[0][0][:1000]


DIGITS = Dataset(
    name="digits",
    task="classification",
    data=DIGITS_DATA,
    license="Apache-2.0",
    channels="grey, white on black",
    classes=tuple(str(digit) for digit in range(10)),
    load_test=_test,
    load_calibration=_calibration,
    metric="accuracy",
    score=accuracy,
    card_metrics=("accuracy",),
    can_be_shipped=True,
)
