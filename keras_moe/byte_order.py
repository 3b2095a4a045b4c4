"""Arrays of the other byte order, as FITS, HDF5 and some TIFF files have them."""

import typing

import numpy as np
from keras import tree

T = typing.TypeVar("T")


def native(structure: T) -> T:
    """A structure whose NumPy arrays have the byte order of the machine. JAX would read the others as nonsense.

    Example:
        >>> byte_order.native([np.array([1.0], ">f4")])[0].dtype.isnative
        True
    """
    return typing.cast(T, tree.map_structure(_native, structure))


def _native(value: typing.Any) -> typing.Any:
    is_foreign = isinstance(value, np.ndarray) and not value.dtype.isnative
    return value.astype(value.dtype.newbyteorder("=")) if is_foreign else value
