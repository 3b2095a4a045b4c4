"""scikit-learn's two photographs, which need no download, for tests of super-resolution."""

import numpy as np

from keras_moe.datasets.dataset import Dataset, Shape, Split
from keras_moe.datasets.patches import cut_patches
from keras_moe.datasets.super_resolution import luma_psnr
from keras_moe.images import open_photographs
from keras_moe.zoo.model_card import Data

SCALE = 2


def halves_of_photographs(lower: bool) -> list[np.ndarray]:
    """The lower or the upper halves of the two photographs at half their size, uint8."""
    photographs = (photograph.resize((320, 214)) for photograph in open_photographs().values())
    return [np.asarray(photo)[107:] if lower else np.asarray(photo)[:107] for photo in photographs]


def _test(shape: Shape) -> Split:
    return Split(*cut_patches(halves_of_photographs(lower=True), SCALE, shape[0], 40))


def _calibration(shape: Shape) -> np.ndarray:
    return cut_patches(halves_of_photographs(lower=False), SCALE, shape[0], 40)[0]


TWO_PHOTOGRAPHS = Dataset(
    name="two_photographs",
    task="super-resolution",
    data=Data(
        "two photographs (scikit-learn)",
        "CC BY 2.0",
        "sklearn.datasets.load_sample_images at half their size: upper halves to learn from, lower ones to test",
        "https://scikit-learn.org/stable/datasets/loading_other_datasets.html",
    ),
    license="Apache-2.0",
    channels="RGB",
    classes=(),
    load_test=_test,
    load_calibration=_calibration,
    metric="psnr_y_halves_patches",
    score=luma_psnr,
    card_metrics=("psnr_y_halves",),
    unit="dB",
    tolerance=0.3,
    can_be_shipped=True,
)
