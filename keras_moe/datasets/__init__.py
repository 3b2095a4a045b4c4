"""Data sets as NumPy arrays. The module of a set also has its ``Dataset``, for training, cards, LiteRT and insights.

``KERAS_MOE_DATA`` may name a folder of packed sets (``<set>_<split>.npz``: WebP or AVIF images, labels beside them).
Without it CIFAR-100 is downloaded from its official address and checked against its published hash. The digits come
with scikit-learn.
"""

from keras_moe.datasets.camvid import CAMVID as CAMVID
from keras_moe.datasets.camvid import CAMVID_CLASSES as CAMVID_CLASSES
from keras_moe.datasets.camvid import CAMVID_DOMAINS as CAMVID_DOMAINS
from keras_moe.datasets.camvid import camvid as camvid
from keras_moe.datasets.cifar100 import CIFAR100 as CIFAR100
from keras_moe.datasets.cifar100 import CIFAR100_COARSE as CIFAR100_COARSE
from keras_moe.datasets.cifar100 import cifar100 as cifar100
from keras_moe.datasets.dataset import Dataset as Dataset
from keras_moe.datasets.dataset import Split as Split
from keras_moe.datasets.digits import DIGIT_SCENES as DIGIT_SCENES
from keras_moe.datasets.digits import DIGITS as DIGITS
from keras_moe.datasets.digits import digit_scenes as digit_scenes
from keras_moe.datasets.digits import digits as digits
from keras_moe.datasets.files.image_files import ImageFiles as ImageFiles
from keras_moe.datasets.files.labelled_files import LabelledFiles as LabelledFiles
from keras_moe.datasets.files.labelled_files import read_labelled_files as read_labelled_files
from keras_moe.datasets.files.report import Remark as Remark
from keras_moe.datasets.kvasir import KVASIR as KVASIR
from keras_moe.datasets.kvasir import KVASIR_CLASSES as KVASIR_CLASSES
from keras_moe.datasets.kvasir import kvasir as kvasir
from keras_moe.datasets.patches import cut_patches as cut_patches
from keras_moe.datasets.photos import PHOTOS as PHOTOS
from keras_moe.datasets.photos import PHOTOS_DOMAINS as PHOTOS_DOMAINS
from keras_moe.datasets.photos import photos as photos
from keras_moe.datasets.photos import photos_classes as photos_classes
from keras_moe.datasets.super_resolution import SUPER_RESOLUTION as SUPER_RESOLUTION
from keras_moe.datasets.super_resolution import bsd400 as bsd400
from keras_moe.datasets.super_resolution import super_resolution as super_resolution
from keras_moe.datasets.two_photographs import TWO_PHOTOGRAPHS as TWO_PHOTOGRAPHS

LABELLED = (DIGITS, CIFAR100, CIFAR100_COARSE, PHOTOS, CAMVID, KVASIR, DIGIT_SCENES)
"""The sets with classes or masks, which insights and the command line take by name."""


def labelled(task: str) -> dict[str, Dataset]:
    """The sets of ``LABELLED`` for a task, by name.

    Args:
        task: ``"classification"`` or ``"segmentation"``.

    Returns:
        dict, name -> ``Dataset``; empty for another task.

    Example:
        >>> list(datasets.labelled("segmentation"))
        ['camvid', 'kvasir', 'digit_scenes']
    """
    return {dataset.name: dataset for dataset in LABELLED if dataset.task == task}
