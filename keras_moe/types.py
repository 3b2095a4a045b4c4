"""Type aliases of public functions."""

import os
import typing

import keras
import numpy as np

Array: typing.TypeAlias = np.ndarray
DType: typing.TypeAlias = str | keras.DTypePolicy | None  # None: the global policy
LabelledImages: typing.TypeAlias = tuple[np.ndarray, np.ndarray]  # images and labels, masks or larger images, by row
Macs: typing.TypeAlias = dict[str, int | list[int]]  # part -> its own, or those of each expert
Path: typing.TypeAlias = str | os.PathLike[str]
Shape: typing.TypeAlias = tuple[int | typing.Any, ...]  # Any: None where a size is unknown
Tensor: typing.TypeAlias = typing.Any  # of a backend, or symbolic: Keras has no type for both
