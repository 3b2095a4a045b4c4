"""CIFAR-100: small photographs of 100 classes."""

import dataclasses
import os
import pathlib

import numpy as np

from keras_moe.datasets.dataset import Dataset, Shape, Split, accuracy
from keras_moe.datasets.packed import decode
from keras_moe.zoo.model_card import Data

Pair = tuple[np.ndarray, np.ndarray]

CIFAR100_CLASSES = (
    "apple", "aquarium fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple tree", "motorcycle", "mountain", "mouse", "mushroom", "oak tree", "orange", "orchid",
    "otter", "palm tree", "pear", "pickup truck", "pine tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow tree", "wolf",
    "woman", "worm",
)  # fmt: skip

CIFAR100_COARSE_CLASSES = (
    "aquatic mammals", "fish", "flowers", "food containers", "fruit and vegetables", "household electrical devices",
    "household furniture", "insects", "large carnivores", "large man-made outdoor things",
    "large natural outdoor scenes", "large omnivores and herbivores", "medium-sized mammals",
    "non-insect invertebrates", "people", "reptiles", "small mammals", "trees", "vehicles 1", "vehicles 2",
)  # fmt: skip

_TRAIN = ("cifar100_train_a.npz", "cifar100_train_b.npz")
_TEST = ("cifar100_test.npz",)


def cifar100(label_mode: str = "fine") -> tuple[Pair, Pair]:
    """CIFAR-100 (Krizhevsky, 2009): 50,000 and 10,000 colour images of 32x32.

    Args:
        label_mode: ``"fine"`` (100 classes) or ``"coarse"`` (20).

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images uint8 ``(n, 32, 32, 3)``, labels int64 ``(n,)``.

    Raises:
        ValueError: another ``label_mode``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is set and lacks the set's files.

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (32, 64)).save("two.webp")  # two images, one above the other
        >>> for part in ("train_a", "train_b", "test"):  # a tiny set, in the folder KERAS_MOE_DATA
        ...     np.savez(f"cifar100_{part}.npz", webp_0=np.fromfile("two.webp", "uint8"), fine=[0, 99])
        >>> (x_train, y_train), (x_test, y_test) = datasets.cifar100()
        >>> x_train.shape, y_train.tolist()
        ((4, 32, 32, 3), [0, 99, 0, 99])
        >>> [datasets.CIFAR100.classes[label] for label in y_test]
        ['apple', 'worm']
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"`label_mode` must be 'fine' or 'coarse'. Received: label_mode={label_mode!r}")
    folder = os.environ.get("KERAS_MOE_DATA")
    if folder:
        train, test = (_packed(folder, names, label_mode) for names in (_TRAIN, _TEST))
        return train, test
    from keras.datasets import cifar100 as official

    train, test = official.load_data(label_mode)
    return _flat(*train), _flat(*test)


def _flat(images: np.ndarray, labels: np.ndarray) -> Pair:
    # Keras gives (n, 3, 32, 32) where `image_data_format` is "channels_first".
    channels_last = images if images.shape[-1] == 3 else images.transpose(0, 2, 3, 1)
    return channels_last, labels.reshape(-1).astype("int64")


def _packed(folder: str, names: tuple[str, ...], label: str) -> Pair:
    paths = [pathlib.Path(folder, name) for name in names]
    missing = [str(p) for p in paths if not p.is_file()]
    if missing:
        raise FileNotFoundError(f"KERAS_MOE_DATA={folder} lacks {missing}. Unset it to download the official set.")
    images, labels = [], []
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            images += [_decode(file[key]) for key in sorted(file.files) if key.startswith("webp_")]
            labels.append(file[label])
    return np.concatenate(images), np.concatenate(labels).astype("int64")


def _decode(blob: np.ndarray) -> np.ndarray:
    stacked = np.asarray(decode(blob))
    return stacked.reshape(-1, stacked.shape[1], stacked.shape[1], 3)


def _test(shape: Shape) -> Split:
    return Split(*cifar100()[1])


def _test_coarse(shape: Shape) -> Split:
    return Split(*cifar100("coarse")[1])


def _calibration(shape: Shape) -> np.ndarray:
    return cifar100()[0][0][:1000]


CIFAR100 = Dataset(
    name="cifar100",
    task="classification",
    data=Data(
        "CIFAR-100",
        "none stated; customary research use",
        "the official images, uncompressed",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    license="Apache-2.0",
    channels="RGB",
    classes=CIFAR100_CLASSES,
    load_test=_test,
    load_calibration=_calibration,
    metric="accuracy",
    score=accuracy,
    card_metrics=("accuracy",),
)
CIFAR100_COARSE = dataclasses.replace(
    CIFAR100,
    name="cifar100_coarse",
    classes=CIFAR100_COARSE_CLASSES,
    load_test=_test_coarse,
    data=dataclasses.replace(CIFAR100.data, name="CIFAR-100, 20 coarse classes"),
)
"""The same photographs in 20 classes of five each."""
