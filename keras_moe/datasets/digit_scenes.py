"""Handwritten digits in dark and bright scenes, with masks, for tests."""

import numpy as np

from keras_moe.datasets.dataset import Dataset, Shape, Split, mean_iou_of
from keras_moe.datasets.digits import DIGITS_DATA, digits

Scenes = tuple[np.ndarray, np.ndarray, np.ndarray]


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


def _test(shape: Shape) -> Split:
    return Split(*digit_scenes()[1])


def _calibration(shape: Shape) -> np.ndarray:
    return digit_scenes()[0][0]


DIGIT_SCENES = Dataset(
    name="digit_scenes",
    task="segmentation",
    data=DIGITS_DATA,
    license="Apache-2.0",
    channels="grey, white on black or black on white",
    classes=("ground", "0", "1", "2"),
    load_test=_test,
    load_calibration=_calibration,
    metric="miou",
    score=mean_iou_of,
    card_metrics=("miou", "ece"),
    domains=("dark", "bright"),
    can_be_shipped=True,
)
