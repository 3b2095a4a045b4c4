"""Kvasir-SEG: endoscopies of polyps, with masks."""

import numpy as np

from keras_moe.checks import integer
from keras_moe.datasets.dataset import Dataset, Shape, Split
from keras_moe.datasets.packed import check_split, decode, packed_file
from keras_moe.metrics import dice
from keras_moe.zoo.model_card import Data

KVASIR_CLASSES = ("background", "polyp")


def kvasir(split: str = "train", seed: int = 523) -> tuple[np.ndarray, np.ndarray]:
    """Kvasir-SEG (Jha et al., 2020): endoscopies of polyps with masks, at 256x256.

    Args:
        split: ``"train"`` (798 images), ``"val"`` (100) or ``"test"`` (100).
        seed: int, of the shuffle before the split: ``RandomState(seed)``, as in Patcher's experiments.

    Returns:
        ``(images, masks)``: uint8 ``(n, 256, 256, 3)``; uint8 ``(n, 256, 256)``, 1 on a polyp.

    Raises:
        ValueError: another ``split``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is not set or lacks the file.

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (256, 256)).save("image.webp")
        >>> Image.new("L", (256, 256), 255).save("mask.png")
        >>> packed = {"image_a": np.fromfile("image.webp", "uint8"), "mask_a": np.fromfile("mask.png", "uint8")}
        >>> np.savez("kvasir.npz", **packed)  # a set of one image, in the folder KERAS_MOE_DATA
        >>> images, masks = datasets.kvasir("test")
        >>> images.shape, datasets.KVASIR_CLASSES[masks[0, 0, 0]]
        ((1, 256, 256, 3), 'polyp')
    """
    seed = integer("kvasir", "seed", seed, 0)
    parts = {"train": slice(None, -200), "val": slice(-200, -100), "test": slice(-100, None)}
    check_split(split, tuple(parts))
    with np.load(packed_file("kvasir.npz"), allow_pickle=False) as file:
        names = sorted(name.removeprefix("image_") for name in file.files if name.startswith("image_"))
        chosen = [names[i] for i in np.random.RandomState(seed).permutation(len(names))[parts[split]]]
        images = np.stack([np.asarray(decode(file[f"image_{name}"])) for name in chosen])
        masks = np.stack([np.asarray(decode(file[f"mask_{name}"])) for name in chosen])
    return images, (masks > 0).astype("uint8")


def _test(shape: Shape) -> Split:
    return Split(*kvasir("test"))


def _calibration(shape: Shape) -> np.ndarray:
    return kvasir("train")[0][:300]


def _dice(predictions: np.ndarray, masks: np.ndarray) -> float:
    return dice(masks, predictions.argmax(-1))


KVASIR = Dataset(
    name="kvasir",
    task="segmentation",
    data=Data(
        "Kvasir-SEG",
        "research and education",
        "998 images resized to 256x256, WebP of quality 90; 798 / 100 / 100 by RandomState(523)",
        "https://datasets.simula.no/kvasir-seg",
    ),
    license="CC BY-NC 4.0",
    channels="RGB",
    classes=KVASIR_CLASSES,
    load_test=_test,
    load_calibration=_calibration,
    metric="dice",
    score=_dice,
    card_metrics=("dice", "iou_polyp"),
)
