"""scikit-learn's handwritten digits, and scenes of them with masks, which need no download, for tests."""

import numpy as np

from keras_moe.datasets.dataset import Dataset, Shape, Split, accuracy, mean_iou_of
from keras_moe.zoo.model_card import Data

Pair = tuple[np.ndarray, np.ndarray]
Scenes = tuple[np.ndarray, np.ndarray, np.ndarray]

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


def digit_scenes() -> tuple[Scenes, Scenes]:
    """scikit-learn's digits 0, 1 and 2 on larger canvases; every second scene is bright, black on white.

    Returns:
        ``(images, masks, domains)`` of training (419) and of test (118): float32 ``(n, 16, 16, 1)`` in [0, 255];
        uint8 ``(n, 16, 16)``, 0 for the ground and 1 + digit for its ink; int64 ``(n,)``, 0 dark, 1 bright.

    Example:
        >>> (images, masks, domains), test = datasets.digit_scenes()
        >>> images.shape, masks.shape, domains[:4].tolist()
        ((419, 16, 16, 1), (419, 16, 16), [0, 1, 0, 1])
        >>> images[0, 0, 0, 0], images[1, 0, 0, 0]  # a corner of a dark scene and of a bright one
        (np.float32(0.0), np.float32(255.0))
    """
    train, test = digits()
    return _scenes(*train, seed=0), _scenes(*test, seed=1)


def _scenes(images: np.ndarray, labels: np.ndarray, seed: int) -> Scenes:
    images, labels = images[labels < 3], labels[labels < 3]
    domains = np.arange(len(images)) % 2
    scenes, masks = np.zeros((len(images), 16, 16, 1), "float32"), np.zeros((len(images), 16, 16), "uint8")
    for i, (top, left) in enumerate(np.random.default_rng(seed).integers(0, 9, (len(images), 2))):
        scenes[i, top : top + 8, left : left + 8] = images[i]
        masks[i, top : top + 8, left : left + 8] = (images[i, ..., 0] > 80) * (1 + labels[i])
    scenes[domains == 1] = 255 - scenes[domains == 1]
    return scenes, masks, domains


def _test_scenes(shape: Shape) -> Split:
    return Split(*digit_scenes()[1])


def _calibration_scenes(shape: Shape) -> np.ndarray:
    return digit_scenes()[0][0]


DIGIT_SCENES = Dataset(
    name="digit_scenes",
    task="segmentation",
    data=DIGITS_DATA,
    license="Apache-2.0",
    channels="grey, white on black or black on white",
    classes=("ground", "0", "1", "2"),
    load_test=_test_scenes,
    load_calibration=_calibration_scenes,
    metric="miou",
    score=mean_iou_of,
    card_metrics=("miou", "ece"),
    domains=("dark", "bright"),
    can_be_shipped=True,
)
