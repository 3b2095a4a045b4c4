"""Photographs for training and measuring super-resolution."""

import functools

import numpy as np

from keras_moe.datasets.dataset import Dataset, Shape, Split
from keras_moe.datasets.packed import decode, packed_file
from keras_moe.datasets.patches import cut_patches
from keras_moe.metrics import luma, psnr
from keras_moe.zoo.model_card import Data

PATCH, HELD_OUT = 32, 40
SUPER_RESOLUTION = ("t91", "bsd400", "set5", "set14", "bsd100", "kodak", "photos2k")


def super_resolution(name: str) -> list[np.ndarray]:
    """High-resolution photographs for super-resolution, from the folder ``KERAS_MOE_DATA``.

    Args:
        name: for training ``"t91"`` (91 photographs) or ``"bsd400"`` (400); for measuring ``"set5"``, ``"set14"``,
            ``"bsd100"`` (50, every second one), ``"kodak"`` (24) or ``"photos2k"`` (18, 2040 pixels on the long side).

    Returns:
        List of uint8 ``(h, w, 3)``, of varying size.

    Raises:
        ValueError: another ``name``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is not set or lacks the set; there is no official download.

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (48, 32)).save("photo.webp")
        >>> np.savez("sr_set5.npz", image_0=np.fromfile("photo.webp", "uint8"))  # in the folder KERAS_MOE_DATA
        >>> [photo.shape for photo in datasets.super_resolution("set5")]
        [(32, 48, 3)]
    """
    if name not in SUPER_RESOLUTION:
        raise ValueError(f"`name` must be one of {SUPER_RESOLUTION}. Received: name={name!r}")
    with np.load(packed_file(f"sr_{name}.npz"), allow_pickle=False) as file:
        return [np.asarray(decode(file[key])) for key in sorted(file.files) if key.startswith("image_")]


def photograph_patches(scale: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """``(low, high)`` patches for training, and held-out patches of 40 photographs of BSD400.

    About half of the training patches are cut densely from T91's small, sharp photographs: BSD400's were JPEGs.
    """
    photographs = super_resolution("bsd400")
    stride = PATCH // 2 if scale == 4 else PATCH
    learn = (
        cut_patches(photographs[:-HELD_OUT], scale, PATCH, stride, zooms=(1.0, 0.8, 0.6)),
        cut_patches(super_resolution("t91"), scale, PATCH, 16 // scale, zooms=(1.0, 0.9, 0.8, 0.7, 0.6)),
    )
    low, high = (np.concatenate(patches) for patches in zip(*learn, strict=True))
    return (low, high), cut_patches(photographs[-HELD_OUT:], scale, PATCH, PATCH)


def luma_psnr(predictions: np.ndarray, images: np.ndarray) -> float:
    """PSNR over all the luma of patches."""
    ours, theirs = (luma(np.clip(p, 0, 255)).reshape(-1, p.shape[2]) for p in (predictions, images))
    return psnr(ours, theirs)


def _test(scale: int, shape: Shape) -> Split:
    return Split(*cut_patches(super_resolution("set14"), scale, PATCH, PATCH))


def _calibration(scale: int, shape: Shape) -> np.ndarray:
    return photograph_patches(scale)[1][0]


def bsd400(scale: int) -> Dataset:
    """The ``Dataset`` of BSD400 and T91 for training and Set14's patches for tests, shrunk by ``scale``, an int.

    A model takes one patch.

    Example:
        >>> datasets.bsd400(scale=2).card_metrics
        ('psnr_y_set14', 'psnr_y_photos2k')
    """
    return Dataset(
        name="bsd400",
        task="super-resolution",
        data=Data(
            "BSD400 + T91",
            "BSD400: non-commercial research and education; T91: research use",
            "360 of the 400 photographs of BSDS500 train + test, as WebP of quality 92, and 91 photographs of Yang et "
            "al. 2010",
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/",
        ),
        license="CC BY-NC 4.0",
        channels="RGB",
        classes=(),
        load_test=functools.partial(_test, scale),
        load_calibration=functools.partial(_calibration, scale),
        metric="psnr_y_set14_patches",
        score=luma_psnr,
        card_metrics=("psnr_y_set14", "psnr_y_photos2k"),
        unit="dB",
        tolerance=0.3,
    )
