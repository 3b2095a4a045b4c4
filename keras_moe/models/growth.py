"""What networks of one backbone give to each other: a dense network to every branch, branches their mean."""

import collections
import re
from collections.abc import Sequence

import keras
import numpy as np

from keras_moe.types import Array
from keras_moe.weights import assign


def dense_name(path: str) -> str | None:
    """The name of the same variable in a ``Classifier``.

    For ``branch_2_stage5_block0_expand/kernel`` it is the part after ``branch_2_``. It is None for a variable outside
    backbone and head.
    """
    match = re.search(r"(?:stem_conv|stage\d+_block\d+_|top_conv|(?<!gate_)(?<!conv_)predictions).*$", path)
    return match and match[0]


def in_backbone(path: str) -> bool:
    """Whether the variable of this path belongs to a stage or a convolution of a backbone, not to a head."""
    name = dense_name(path)
    return name is not None and not name.startswith("predictions")


def assign_dense(model: keras.Model, tensors: dict[str, Array], source: str) -> None:
    """Gives every copy of a stage in ``model`` the values of that stage in a dense network.

    The predictions of a mixture are then those of the dense network. Blocks of the network that the model lacks are
    ignored. A head for another number of classes keeps its values.

    Args:
        model: a built model of ``keras_moe.models``.
        tensors: dict, ``dense_name`` -> array.
        source: str, the name of the tensors' origin in errors.

    Raises:
        ValueError: variables that are missing or of another shape; the model is unchanged.
    """
    named = {v.path: name for v in model.weights if (name := dense_name(v.path))}
    variables = {v.path: v for v in model.weights if v.path in named and not _another_head(v, named[v.path], tensors)}
    assign(variables, {path: tensors[named[path]] for path in variables if named[path] in tensors}, source)


def dense_values(layers: Sequence[keras.Layer]) -> dict[str, Array]:
    """``dense_name`` -> what ``layers``, of a backbone and its head, have there; of copies of a stage the mean."""
    copies: dict[str, list[Array]] = collections.defaultdict(list)
    for variable in (v for layer in layers for v in layer.weights):
        if name := dense_name(variable.path):
            copies[name].append(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32")))
    return {name: np.mean(arrays, axis=0) for name, arrays in copies.items()}


def grow_from(model: keras.Model, source: keras.Model) -> None:
    """Gives every copy of a stage in ``model`` what ``source``, of that backbone, has there; of copies their mean."""
    assign_dense(model, dense_values(source.layers), source.name)


def _another_head(variable: keras.Variable, name: str, tensors: dict[str, Array]) -> bool:
    return name.startswith("predictions") and name in tensors and tuple(variable.shape) != tensors[name].shape
