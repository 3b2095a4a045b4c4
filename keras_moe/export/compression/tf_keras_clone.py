"""Clones: a Keras 3 model transcribed, layer by layer, into ``tf_keras``, which tools made for Keras 2 understand.

A clone computes what the model computes, in float32. Layers keep their names; initializers, regularizers and whatever
else ``tf_keras`` does not know are left out, since they do not act on the outputs.
"""

import collections.abc
import inspect
import typing

import keras
import numpy as np

from keras_moe.graph import Call, Graph, replaced, replay
from keras_moe.layer_state import set_weights
from keras_moe.layers import DepthwiseConv2D
from keras_moe.types import Array

if typing.TYPE_CHECKING:
    import tf_keras

LAYERS = (
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv1D", "Conv2D",
    "Conv2DTranspose", "Cropping2D", "Dense", "DepthwiseConv2D", "Dropout", "ELU", "Flatten", "GlobalAveragePooling2D",
    "GlobalMaxPooling2D", "LayerNormalization", "LeakyReLU", "Maximum", "MaxPooling2D", "Minimum", "Multiply",
    "Permute", "ReLU", "Rescaling", "Reshape", "SeparableConv2D", "Softmax", "SpatialDropout2D", "Subtract",
    "UpSampling2D", "ZeroPadding2D",
)  # fmt: skip

# Activations that mean the same in both; hard_sigmoid, for one, does not.
ACTIVATIONS = (
    "elu", "exponential", "gelu", "linear", "relu", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign",
    "tanh",
)  # fmt: skip

_Clone: typing.TypeAlias = typing.Any  # a layer of ``tf_keras``, or a function of its tensors
Weights: typing.TypeAlias = collections.abc.Callable[[str], list[Array]]  # name of a layer -> its arrays
_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
_ACTIVATION_OPERATIONS = {
    "Elu": "elu", "Relu": "relu", "Sigmoid": "sigmoid", "Silu": "swish", "Softmax": "softmax", "Softplus": "softplus",
    "Tanh": "tanh",
}  # fmt: skip


def transcribe(graph: Graph) -> "tf_keras.Model":
    """The ``tf_keras`` clone of a functional Keras 3 model, weights included. TensorFlow backend.

    Args:
        graph: of a model with one input.

    Returns:
        A functional ``tf_keras.Model`` whose layers have the names that they have in the graph.

    Raises:
        ValueError: a layer without a clone, named.
    """
    import tf_keras

    clones: dict[keras.Operation, _Clone] = {}

    def clone(call: Call) -> _Clone:
        if call.layer not in clones:
            clones[call.layer] = _layer(call) if isinstance(call.layer, keras.Layer) else _operation(call)
        return clones[call.layer]

    inputs = [tf_keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in graph.inputs]
    tensors = dict(zip(graph.inputs, inputs, strict=True))
    replay(graph.calls, tensors, clone)
    copied = tf_keras.Model(inputs, replaced(graph.output, tensors), name=graph.name)
    for call in _with_weights(graph):
        copied.get_layer(call.name).set_weights(call.layer.get_weights())
    return copied


def copy_back(graph: Graph, weights: Weights) -> None:
    """Gives the layers of a model the weights of its clone.

    Args:
        graph: of the Keras 3 model.
        weights: of the clone's layer of a name.
    """
    for call in _with_weights(graph):
        set_weights(call.layer, weights(call.name))


def _with_weights(graph: Graph) -> list[Call]:
    return [call for call in graph.calls if getattr(call.layer, "weights", None)]


def _layer(call: Call) -> _Clone:
    import tf_keras

    layer, kind = call.layer, type(call.layer).__name__
    if isinstance(layer, keras.layers.Identity):
        return lambda x, **_: x
    if kind not in LAYERS or type(layer) not in (getattr(keras.layers, kind), DepthwiseConv2D):
        raise ValueError(_complaint(call, f"Layers with a clone: {', '.join(LAYERS)}."))
    if layer.compute_dtype != "float32":
        raise ValueError(
            _complaint(call, f"It computes in {layer.compute_dtype}; make the model with dtype='float32'.")
        )
    if layer.quantization_mode or getattr(layer, "lora_enabled", False):
        raise ValueError(_complaint(call, "It is quantized or has LoRA."))
    config = layer.get_config()
    activation = config.get("activation", "linear")
    if activation == "relu6" and kind == "Activation":
        return tf_keras.layers.ReLU(6.0, name=call.name)
    if activation not in ACTIVATIONS:
        raise ValueError(_complaint(call, f"Its activation {activation!r} is not one of {', '.join(ACTIVATIONS)}."))
    if activation == "softmax" and layer.weights:
        # Apart, so that what trains or quantizes the clone can tell logits from probabilities.
        linear = _layer_from_config(kind, {**config, "activation": "linear"}, call.name)
        softmax = tf_keras.layers.Activation("softmax", name=f"{call.name}_softmax")
        return lambda *args, **kwargs: softmax(linear(*args, **kwargs))
    return _layer_from_config(kind, config, call.name)


def _layer_from_config(kind: str, config: dict[str, typing.Any], name: str) -> _Clone:
    import tf_keras

    layer_class = getattr(tf_keras.layers, kind)
    renamed = {_RENAMED.get(kind, {}).get(key, key): value for key, value in config.items()}
    return layer_class(
        **{key: value for key, value in renamed.items() if key in _accepted(layer_class)} | {"name": name}
    )


def _accepted(layer_class: type) -> set[str]:
    """Names of the arguments of a ``tf_keras`` layer that act on its outputs."""
    initializers = [vars(c)["__init__"] for c in layer_class.__mro__ if "__init__" in vars(c)]
    names = {name for init in initializers for name in inspect.signature(init).parameters}
    dropped = ("_initializer", "_regularizer", "_constraint")
    return {n for n in names if not n.endswith(dropped)} - {"dtype", "dynamic", "trainable"}


def _operation(call: Call) -> _Clone:
    """The clone of an operation such as ``x + 3.0`` or ``keras.ops.relu``: a function of tensors."""
    import tf_keras

    kind, name = type(call.layer).__name__, call.name
    if kind in _ACTIVATION_OPERATIONS:
        return tf_keras.layers.Activation(_ACTIVATION_OPERATIONS[kind], name=name)
    if kind == "Relu6":
        return tf_keras.layers.ReLU(6.0, name=name)
    if kind == "Concatenate":
        return tf_keras.layers.Concatenate(call.layer.axis, name=name)
    if kind in ("Add", "Subtract", "Multiply", "Maximum", "Minimum") and len(call.inputs) == 2:
        merge = getattr(tf_keras.layers, kind)(name=name)
        return lambda a, b: merge([a, b])
    affine = _affine(kind, *call.args) if len(call.args) == 2 and len(call.inputs) == 1 else None
    if affine is None:
        raise ValueError(_complaint(call, "Write it as a layer, or as +, -, * or / with a number."))
    scaling = tf_keras.layers.Rescaling(*affine, name=name)
    return lambda *args: scaling(next(a for a, old in zip(args, call.args, strict=True) if old is call.inputs[0]))


def _affine(kind: str, a: typing.Any, b: typing.Any) -> tuple[float, float] | None:
    """``(scale, offset)`` of an operation on a tensor and a number, None if it is no such thing."""
    first = isinstance(a, keras.KerasTensor)
    number = b if first else a
    if np.ndim(number) != 0:
        return None
    c = float(number)
    rules = {"Add": (1.0, c), "Multiply": (c, 0.0), "Subtract": (1.0, -c) if first else (-1.0, c)}
    if first and c:
        rules |= dict.fromkeys(("Divide", "TrueDivide"), (1 / c, 0.0))
    return rules.get(kind)


def _complaint(call: Call, remedy: str) -> str:
    kind = type(call.layer).__name__
    return (
        f"No clone in tf_keras for {kind} {call.name!r}. {remedy} Or keep it out of what is compressed: choose `parts` "
        "without it."
    )
