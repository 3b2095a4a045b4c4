"""The ``tf_keras`` network in which parts of a Keras 3 model are fine-tuned while the rest stays frozen.

Imported in the TensorFlow process only, where layers of Keras 3 take the tensors of ``tf_keras``.
"""

import collections
import typing

import keras
import numpy as np
import tf_keras

from keras_moe.export.compression.methods import Method
from keras_moe.export.compression.tf_keras_clone import copy_back, transcribe
from keras_moe.graph import Call, open_graph, outer_graph, replay
from keras_moe.layers import ExpertBank
from keras_moe.layers.dispatch import dispatch
from keras_moe.models.logits import without_softmax
from keras_moe.types import Array, Tensor

_Networks: typing.TypeAlias = dict[str, tf_keras.Model]


class Network:
    """A model whose chosen networks are replaced by their clones, each wrapped by a method.

    Args:
        model: the Keras 3 model.
        names: of its top-level layers to compress; None: all of it, as one network.
        method: how the chosen networks are trained.
        batches: list of arrays of images. On the first of them clones and model must agree.

    Attributes:
        trained: the ``tf_keras`` model from images to predictions; only what is compressed has weights to train.

    Raises:
        ValueError: a layer without a clone, or clones that do not predict as the model does.
    """

    def __init__(self, model: keras.Model, names: list[str] | None, method: Method, batches: list[Array]) -> None:
        self.method, self._model, self._graph = method, model, open_graph(model)
        chosen = [model] if names is None else [n for name in names for n in _networks(model.get_layer(name))]
        self._chosen = {n.name: self._graph if n is model else open_graph(n) for n in chosen}
        if len(self._chosen) < len(chosen):
            raise ValueError(f"compress: networks of equal names: {[n.name for n in chosen]}. Give them distinct ones.")
        self._clones = {name: transcribe(graph) for name, graph in self._chosen.items()}
        _check_agreement(model, _whole(model, names, self._clones), batches[0])
        read = _inputs(model, names, batches)
        self._wrapped = {name: method.wrap(clone, read[name]) for name, clone in self._clones.items()}
        self.trained = _whole(model, names, self._wrapped)

    @property
    def ends_in_softmax(self) -> bool:
        return without_softmax(self._graph.calls, self._model)[1]

    def finish(self) -> dict[str, bytes]:
        """Gives the model its new weights; returns name -> bytes of ``.tflite`` files, where the method makes any."""
        files = {}
        for name, graph in self._chosen.items():
            finished = self.method.finish(self._wrapped[name])
            copy_back(graph, self._weights_of(finished, self._clones[name]))
            files[name] = self.method.file(finished)
        return {name: content for name, content in files.items() if content is not None}

    def _weights_of(
        self, finished: tf_keras.Model, clone: tf_keras.Model
    ) -> collections.abc.Callable[[str], list[Array]]:
        return lambda name: self.method.weights(finished, clone.get_layer(name))


def _networks(layer: keras.Layer) -> list[keras.Model]:
    return list(layer.experts) if isinstance(layer, ExpertBank) else [layer]


def _inputs(model: keras.Model, names: list[str] | None, batches: list[Array]) -> dict[str, list[Array]]:
    """The inputs of each network for batches of images: dict, name of the network -> list of arrays."""
    if names is None:
        return {model.name: batches}
    arrays: dict[str, list[Array]] = collections.defaultdict(list)
    for name in names:
        layer = model.get_layer(name)
        reader = keras.Model(model.inputs, layer.input)
        for batch in batches:
            if not isinstance(layer, ExpertBank):
                arrays[name].append(reader(batch))
                continue
            features, route = reader(batch)
            for expert, weight in zip(layer.experts, np.transpose(route), strict=True):
                arrays[expert.name] += [features[weight != 0]] if np.any(weight != 0) else []
    return arrays


def _whole(model: keras.Model, names: list[str] | None, networks: _Networks) -> tf_keras.Model:
    """The model in ``tf_keras``: ``networks`` in the place of those they stand for, all else as it is, frozen."""
    if names is None:
        return networks[model.name]
    graph = outer_graph(model)

    def clone(call: Call) -> typing.Any:
        if call.name not in names:
            hosted = _Hosted(call)
            return lambda *args, **_: hosted(*args)
        if isinstance(call.layer, ExpertBank):
            return _Bank([networks[expert.name] for expert in call.layer.experts], name=call.name)
        return networks[call.name]

    inputs = [tf_keras.Input(batch_shape=t.shape, dtype=t.dtype) for t in graph.inputs]
    tensors = dict(zip(graph.inputs, inputs, strict=True))
    replay(graph.calls, tensors, clone)
    return tf_keras.Model(inputs, tensors[graph.output])


class _Hosted(tf_keras.layers.Layer):
    """A call of a frozen Keras 3 layer, in inference mode."""

    def __init__(self, call: Call) -> None:
        super().__init__(name=call.name)
        # In a function, where tf_keras does not look for weights to train.
        self._compute: typing.Callable[..., Tensor] = lambda *tensors: call.layer(*tensors, **call.kwargs)

    def call(self, first: Tensor, *others: Tensor) -> Tensor:
        return self._compute(first, *others)


class _Bank(tf_keras.layers.Layer):
    """An ``ExpertBank`` of ``tf_keras`` experts: each sees the rows that are routed to it."""

    def __init__(self, experts: list[tf_keras.Model], **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.experts = experts

    def call(self, features: Tensor, weights: Tensor, training: bool | None = None) -> Tensor:
        return dispatch([_Member(expert) for expert in self.experts], features, weights, training=bool(training))


class _Member:
    """The interface of an expert that ``dispatch`` uses."""

    def __init__(self, expert: tf_keras.Model) -> None:
        self.expert = expert

    def __call__(self, x: Tensor, training: bool) -> Tensor:
        return self.expert(x, training=training)

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor(self.expert.output_shape, x.dtype)


def _check_agreement(model: keras.Model, clone: tf_keras.Model, images: Array) -> None:
    expected, outputs = keras.ops.convert_to_numpy(model(images)), clone(images, training=False).numpy()
    error = np.max(np.abs(outputs - expected)) / max(1.0, np.max(np.abs(expected)))
    if not error <= 1e-4:
        raise ValueError(
            f"compress: the tf_keras clone of {model.name!r} does not predict as the model does; its outputs differ by "
            f"{error:.2g}. A layer's setting has no counterpart there."
        )
