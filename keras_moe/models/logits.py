"""The calls of a network up to its logits."""

import typing

import keras
import numpy as np

from keras_moe.graph import Call, Graph
from keras_moe.settings import copy_state


def without_softmax(calls: tuple[Call, ...], classifier: keras.Model) -> tuple[tuple[Call, ...], bool]:
    """The calls up to the logits, and whether a softmax follows them.

    Raises:
        ValueError: no layer for the logits, or another activation at the end.
    """
    while _is_identity(calls[-1]) and len(calls) > 1:
        calls = calls[:-1]
    last = calls[-1]
    activation = _activation(last)
    if activation == "softmax" and not has_kernel(last):
        return calls[:-1], True
    if not any(has_kernel(call) for call in calls):
        raise ValueError(f"{classifier.name!r} has no dense or convolutional layer whose output could be logits.")
    if activation in (None, "linear", "log_softmax"):  # logarithms of probabilities are logits
        _check_logits(calls, classifier)
        return calls, False
    if activation != "softmax":
        raise ValueError(
            f"Expected a classifier that ends in logits or in a softmax over the classes. Received: activation "
            f"{activation if isinstance(activation, str) else 'of your own'!r} in {last.name!r} of {classifier.name!r}"
        )
    linear = type(last.layer).from_config(last.layer.get_config())
    linear.build(last.inputs[0].shape)
    copy_state(last.layer, linear)
    linear.activation = keras.activations.linear
    return (*calls[:-1], Call(last.name, linear, last.args, last.kwargs, last.outputs)), True


def _check_logits(calls: tuple[Call, ...], classifier: keras.Model) -> None:
    """What follows the last kernel is tried on random values: only probabilities lie in [0, 1] or have equal sums."""
    head = max(i for i, call in enumerate(calls) if has_kernel(call))
    last, tail = calls[head], calls[head + 1 :]
    made = {t for call in tail for t in call.results}
    inputs = tuple(dict.fromkeys(t for call in tail for t in call.inputs if t not in made)) or tuple(last.results)
    rng = np.random.default_rng(0)
    draws = [rng.normal(scale=10, size=[size or 4 for size in t.shape]) for t in inputs]
    values = [keras.ops.convert_to_tensor(draw, str(t.dtype)) for draw, t in zip(draws, inputs, strict=True)]
    if last.outputs in inputs and getattr(last.layer, "activation", None) is not None:
        at = inputs.index(last.outputs)
        values[at] = last.layer.activation(values[at])
    given = Graph(classifier.name, inputs, tail, calls[-1].outputs).run(values)[calls[-1].outputs]
    given = keras.ops.convert_to_numpy(keras.ops.cast(given, "float32"))
    sums = given.sum(axis=-1)
    if given.min() >= 0 and (given.max() <= 1 or np.allclose(sums, sums.flat[0], rtol=1e-2)):
        raise ValueError(
            "Expected a classifier that ends in logits or in a softmax over the classes. Received: "
            f"{classifier.name!r}, whose last call {calls[-1].name!r} is no softmax and gives probabilities, or a "
            "multiple of them. Give the model up to its logits: `keras.Model(model.input, tensor)`."
        )


def _is_identity(call: Call) -> bool:
    """Whether the call changes nothing but perhaps the dtype, as ``Activation("linear", dtype="float32")``."""
    if isinstance(call.layer, keras.layers.Activation):
        return bool(_activation(call) == "linear")
    return isinstance(call.layer, keras.layers.Identity) or type(call.layer).__name__ == "Cast"  # of `keras.ops`


def _activation(call: Call) -> typing.Any:
    """The activation that ends the call: that of the layer, or what ``layers.Softmax`` or an operation is."""
    if getattr(call.layer, "activation", None) is not None:
        return keras.activations.serialize(call.layer.activation)
    kind, axis = type(call.layer).__name__, getattr(call.layer, "axis", -1)
    if kind == "Softmax" and axis not in (-1, len(call.outputs.shape) - 1):
        return f"softmax over axis {axis}"
    return {"LogSoftmax": "log_softmax", "Sigmoid": "sigmoid", "Softmax": "softmax"}.get(kind)


def has_kernel(call: Call) -> bool:
    """Whether the layer has weights of two axes or more."""
    return any(len(w.shape) > 1 for w in getattr(call.layer, "weights", ()))
