"""The data sets that recipes learn from, as NumPy arrays.

``KERAS_MOE_DATA`` may name a folder of packed sets (``<set>_<split>.npz``: WebP images stacked in arrays ``webp_*``,
labels beside them); without it the set's official download is used, checked against its published hash.
"""

import io
import os
import pathlib

import numpy as np

from keras_moe.checks import integer


def cifar100(label_mode="fine"):
    """CIFAR-100 (Krizhevsky, 2009): 50,000 and 10,000 colour images of 32x32.

    Args:
        label_mode: ``"fine"`` (100 classes) or ``"coarse"`` (20).

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images uint8 ``(n, 32, 32, 3)``, labels int64 ``(n,)``.

    Raises:
        ValueError: another ``label_mode``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is set and lacks the set's files.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"`label_mode` must be 'fine' or 'coarse'. Received: label_mode={label_mode!r}")
    folder = os.environ.get("KERAS_MOE_DATA")
    if folder:
        train, test = (_packed(folder, f, label_mode) for f in (_CIFAR100_TRAIN, _CIFAR100_TEST))
        return train, test
    from keras.datasets import cifar100 as official

    return tuple((_channels_last(x), y.reshape(-1).astype("int64")) for x, y in official.load_data(label_mode))


def _channels_last(images):
    # Keras gives (n, 3, 32, 32) where `image_data_format` is "channels_first".
    return images if images.shape[-1] == 3 else images.transpose(0, 2, 3, 1)


_CIFAR100_TRAIN = ("cifar100_train_a.npz", "cifar100_train_b.npz")
_CIFAR100_TEST = ("cifar100_test.npz",)


def _packed(folder, names, label):
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


def _decode(blob):
    stacked = np.asarray(_opened(blob))
    return stacked.reshape(-1, stacked.shape[1], stacked.shape[1], 3)


def _opened(blob):
    from PIL import Image

    return Image.open(io.BytesIO(blob.tobytes()))


CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
CAMVID_DOMAINS = ("day", "dusk")


def camvid(split="train", size=(120, 160)):
    """CamVid driving scenes (Brostow, Fauqueur, Cipolla, 2008), in the split of 11 classes of SegNet.

    Args:
        split: ``"train"`` (367 images), ``"val"`` (101, all by day) or ``"test"`` (233).
        size: ``(height, width)``: images are resized with antialiasing from 360x480, masks take the nearest label.

    Returns:
        ``(images, masks, domains)``: uint8 ``(n, h, w, 3)``; uint8 ``(n, h, w)``, 0…10, or 255 where there is no label;
        int64 ``(n,)``, 0 by day, 1 for the sequence ``0001TP``, filmed at dusk.

    Raises:
        ValueError: another ``split``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is not set or lacks the file; there is no official download of this split.
    """
    from PIL import Image

    height, width = (integer("camvid", "size", side, 1) for side in size)
    if split not in ("train", "val", "test"):
        raise ValueError(f"`split` must be 'train', 'val' or 'test'. Received: split={split!r}")
    path = pathlib.Path(os.environ.get("KERAS_MOE_DATA", "."), f"camvid_{split}.npz")
    if not path.is_file():
        raise FileNotFoundError(f"No {path}. Set KERAS_MOE_DATA to the folder of the packed set.")
    with np.load(path, allow_pickle=False) as file:
        pairs = [(_opened(file[f"image_{i:04}"]), _opened(file[f"label_{i:04}"])) for i in range(len(file["names"]))]
        domains = np.char.startswith(file["names"], "0001TP").astype("int64")
    images = np.stack([np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) for image, _ in pairs])
    masks = np.stack([np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)) for _, mask in pairs])
    return images, np.where(masks == len(CAMVID_CLASSES), 255, masks).astype("uint8"), domains


KVASIR_CLASSES = ("background", "polyp")


def kvasir(split="train", seed=523):
    """Kvasir-SEG (Jha et al., 2020): endoscopies of polyps with masks, at 256x256.

    Args:
        split: ``"train"`` (798 images), ``"val"`` (100) or ``"test"`` (100).
        seed: int, of the shuffle that splits them: ``RandomState(seed)``, as in Patcher's experiments.

    Returns:
        ``(images, masks)``: uint8 ``(n, 256, 256, 3)``; uint8 ``(n, 256, 256)``, 1 on a polyp.

    Raises:
        ValueError: another ``split``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is not set or lacks the file.
    """
    seed = integer("kvasir", "seed", seed, 0)
    parts = {"train": slice(None, -200), "val": slice(-200, -100), "test": slice(-100, None)}
    if split not in parts:
        raise ValueError(f"`split` must be 'train', 'val' or 'test'. Received: split={split!r}")
    path = pathlib.Path(os.environ.get("KERAS_MOE_DATA", "."), "kvasir.npz")
    if not path.is_file():
        raise FileNotFoundError(f"No {path}. Set KERAS_MOE_DATA to the folder of the packed set.")
    with np.load(path, allow_pickle=False) as file:
        names = sorted(name.removeprefix("image_") for name in file.files if name.startswith("image_"))
        chosen = [names[i] for i in np.random.RandomState(seed).permutation(len(names))[parts[split]]]
        images = np.stack([np.asarray(_opened(file[f"image_{name}"])) for name in chosen])
        masks = np.stack([np.asarray(_opened(file[f"mask_{name}"])) for name in chosen])
    return images, (masks > 0).astype("uint8")


PHOTOS_DOMAINS = ("groceries", "clothing", "scenes", "objects", "waste")


def photos(split="train"):
    """Photographs of everyday things, 203 classes in five domains, squares of 168 pixels.

    Groceries (Grocery Store Dataset), clothing (clothing-dataset-small), scenes (Scene-Classification), objects
    (Caltech-101) and waste (TrashNet). Classes are unequal: 20 to 876 photographs to learn from.

    Args:
        split: ``"train"`` (14,975) or ``"test"`` (6,110).

    Returns:
        ``(images, labels)``: uint8 ``(n, 168, 168, 3)``, int64 ``(n,)``. ``photos_classes()`` has names and domains.

    Raises:
        ValueError: another ``split``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is not set or lacks the file; there is no official download.
    """
    with _photos(split) as file:
        ends, packed = file["ends"], file["avif"]
        starts = np.concatenate([[0], ends[:-1]])
        images = np.stack([np.asarray(_opened(packed[a:b])) for a, b in zip(starts, ends, strict=True)])
        return images, file["label"].astype("int64")


def photos_classes():
    """Names and domains of the classes of ``photos`` in label order: two tuples of 203 str."""
    with _photos("test") as file:
        return tuple(map(str, file["names"])), tuple(map(str, file["domains"]))


def _photos(split):
    if split not in ("train", "test"):
        raise ValueError(f"`split` must be 'train' or 'test'. Received: split={split!r}")
    path = pathlib.Path(os.environ.get("KERAS_MOE_DATA", "KERAS_MOE_DATA is not set"), f"photos_{split}.npz")
    if not path.is_file():
        raise FileNotFoundError(f"No {path}. Set KERAS_MOE_DATA to the folder that holds it.")
    return np.load(path, allow_pickle=False)


def digits():
    """scikit-learn's handwritten digits, the first 1,400 to train on and 397 to test on.

    Returns:
        ``(images, labels)`` of training and of test: float32 ``(n, 8, 8, 1)`` in [0, 255], int64 ``(n,)``.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images = (found.images[..., None] * (255 / 16)).astype("float32")
    return (images[:1400], found.target[:1400]), (images[1400:], found.target[1400:])


def digit_scenes():
    """scikit-learn's digits 0, 1 and 2 on larger canvases, every second one in a bright domain: black on white.

    Returns:
        ``(images, masks, domains)`` of training (419) and of test (118): float32 ``(n, 16, 16, 1)`` in [0, 255];
        uint8 ``(n, 16, 16)``, 0 for the ground and 1 + digit for its ink; int64 ``(n,)``, 0 dark, 1 bright.
    """
    return tuple(_scenes(images, labels, seed) for seed, (images, labels) in enumerate(digits()))


def _scenes(images, labels, seed):
    images, labels = images[labels < 3], labels[labels < 3]
    domains = np.arange(len(images)) % 2
    scenes, masks = np.zeros((len(images), 16, 16, 1), "float32"), np.zeros((len(images), 16, 16), "uint8")
    for i, (top, left) in enumerate(np.random.default_rng(seed).integers(0, 9, (len(images), 2))):
        scenes[i, top : top + 8, left : left + 8] = images[i]
        masks[i, top : top + 8, left : left + 8] = (images[i, ..., 0] > 80) * (1 + labels[i])
    scenes[domains == 1] = 255 - scenes[domains == 1]
    return scenes, masks, domains


SUPER_RESOLUTION = ("t91", "bsd400", "set5", "set14", "bsd100", "kodak", "photos2k")


def super_resolution(name):
    """High-resolution photographs for super-resolution, from the folder ``KERAS_MOE_DATA``.

    Args:
        name: ``"t91"`` (91) and ``"bsd400"`` (400) to learn from; ``"set5"``, ``"set14"``, ``"bsd100"`` (every second
            one: 50), ``"kodak"`` (24) and ``"photos2k"`` (18, 2040 pixels on the long side) to measure on.

    Returns:
        List of uint8 ``(h, w, 3)``, of varying size.

    Raises:
        ValueError: another ``name``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is not set or lacks the set; there is no official download.
    """
    if name not in SUPER_RESOLUTION:
        raise ValueError(f"`name` must be one of {SUPER_RESOLUTION}. Received: name={name!r}")
    path = pathlib.Path(os.environ.get("KERAS_MOE_DATA", "KERAS_MOE_DATA is not set"), f"sr_{name}.npz")
    if not path.is_file():
        raise FileNotFoundError(f"No {path}. Set KERAS_MOE_DATA to the folder that holds it.")
    with np.load(path, allow_pickle=False) as file:
        return [np.asarray(_opened(file[key])) for key in sorted(file.files) if key.startswith("image_")]
