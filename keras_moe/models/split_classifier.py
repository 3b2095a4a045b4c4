"""A classifier cut at one layer into a trunk and a tail, the source of experts."""

import collections
import typing

import keras

from keras_moe import cost
from keras_moe.channels_last import check_network
from keras_moe.graph import Call, is_functional, open_graph, rebuild
from keras_moe.layer_state import held, inner_layers
from keras_moe.models.logits import has_kernel, without_softmax
from keras_moe.settings import copy_state, serialized
from keras_moe.types import DType

# The cost of an expert as a share of the classifier's, about that of the paper's CIFAR networks (BMVC 2022, poster).
TAIL_SHARE = 1 / 3


class ClassifierSplit:
    """A functional classifier and a cut through it.

    Args:
        classifier: a functional or ``Sequential`` classifier, ``(n, h, w, c)`` to ``(n, classes)``, that ends in logits
            or in a softmax over them. Its layers are copied, never changed.
        split_at: name of the layer before the cut; None: the cut whose tail is nearest to a third of the
            multiply-accumulates.

    Attributes:
        split_at: name of the layer before the cut.
        softmax: bool, whether the classifier ends in a softmax. The tail never does.

    Raises:
        ValueError: anything but a functional classifier with one input and one output, no dense or convolutional layer
            for the logits, an unknown layer, or a layer whose output alone is not enough for the rest (the message
            lists the possible ones).
    """

    def __init__(self, classifier: keras.Model, split_at: str | None = None) -> None:
        _check_classifier(classifier)
        graph = open_graph(classifier)
        check_network(classifier.name, graph.calls)
        self.input = graph.inputs[0]
        calls, self.softmax = without_softmax(graph.calls, classifier)
        if classifier.output_shape[-1] == 1:
            raise ValueError(
                f"Expected a classifier of two classes or more. Received: {classifier.name!r} with one output, which "
                "leaves nothing to be sure of; end it in two logits."
            )
        head = max(i for i, call in enumerate(calls) if has_kernel(call))
        cuts = [i for i in graph.cuts() if i < head and not _has_mask(calls[i])]
        if not cuts:
            raise ValueError(f"{classifier.name!r} cannot be cut: no layer's output alone is enough for the rest.")
        if split_at is None:
            at = _propose(calls, cuts, classifier.name)
        else:
            at = graph.index(split_at)
            if at not in cuts:
                names = [calls[i].name for i in cuts]
                raise ValueError(
                    f"{classifier.name!r} cannot be cut after {split_at!r}: what follows also needs other layers' "
                    f"outputs or a mask, or it is the end. One can cut after {names}."
                )
        self.split_at = calls[at].name
        self._trunk, self._tail, self._head = calls[: at + 1], calls[at + 1 : head], calls[head:]
        self.features = calls[at].outputs
        self.embedding = calls[head].inputs[0]
        self.logits = calls[-1].outputs

    def trunk(self, name: str) -> keras.Model:
        """Copy of the layers before the cut: images to features."""
        return rebuild(self._trunk, self.input, self.features, name)

    def tail(self, name: str, prefix: str) -> keras.Model:
        """Copy of the layers after the cut: features to logits. ``prefix`` starts the names of its layers."""
        return rebuild([*self._tail, *self._head], self.features, self.logits, name, prefix)

    def tail_and_embedding(self, name: str) -> keras.Model:
        """As ``tail``, with the input of the last layer: features to ``[logits, embedding]``."""
        return rebuild([*self._tail, *self._head], self.features, [self.logits, self.embedding], name)

    def network(self, name: str, prefix: str) -> keras.Model:
        """Copy of the whole classifier: images to logits."""
        return rebuild([*self._trunk, *self._tail, *self._head], self.input, self.logits, name, prefix)

    def network_and_embedding(self, name: str) -> keras.Model:
        """As ``network``, with the input of the last layer: images to ``[logits, embedding]``."""
        return rebuild([*self._trunk, *self._tail, *self._head], self.input, [self.logits, self.embedding], name)


def activation_of(split: ClassifierSplit, asked: str | None) -> str | None:
    """The activation at the end of a mixture: ``"softmax"``, None, or for ``"same"`` the classifier's."""
    if asked == "same":
        return "softmax" if split.softmax else None
    return asked


def in_dtype(network: keras.Model, dtype: DType) -> keras.Model:
    """A copy of ``network`` whose layers have the policy ``dtype``; for None ``network`` itself."""
    if dtype is None:
        return network
    policy = keras.dtype_policies.serialize(keras.dtype_policies.get(dtype))
    network = describable(network)
    copy = keras.saving.deserialize_keras_object(_with_policy(serialized(network), policy))
    copy_state(network, copy, but=("dtype",))
    return copy


def describable(network: keras.Model) -> keras.Model:
    """``network``, or where models inside it share a layer, a copy without them: its configuration would tell two."""
    holders = collections.Counter(
        id(inner) for layer in inner_layers(network) if is_functional(layer) for inner in held(layer)
    )
    if max(holders.values(), default=1) == 1:
        return network
    graph = open_graph(network)
    return rebuild(graph.calls, graph.inputs[0], graph.output, network.name)


def _with_policy(config: typing.Any, policy: dict[str, typing.Any]) -> typing.Any:
    """A serialized object in which ``policy`` replaces every policy of floats."""
    if isinstance(config, list):
        return [_with_policy(item, policy) for item in config]
    if not isinstance(config, dict) or config.get("class_name") in ("InputLayer", "__keras_tensor__"):
        return config
    changed = {key: _with_policy(value, policy) for key, value in config.items()}
    if changed.get("dtype") is not None and "float" in keras.dtype_policies.get(changed["dtype"]).compute_dtype:
        changed["dtype"] = policy
    return changed


def _check_classifier(classifier: typing.Any) -> None:
    if not isinstance(classifier, keras.Model):
        return  # `open_graph` raises for it
    inputs = getattr(classifier, "inputs", None) or []
    outputs = getattr(classifier, "outputs", None) or []
    if len(inputs) > 1 or len(outputs) > 1:
        raise ValueError(
            f"Expected a classifier with one input and one output. Received: {len(inputs)} inputs and {len(outputs)} "
            f"outputs of {classifier.name!r}"
        )
    if outputs and (len(outputs[0].shape) != 2 or outputs[0].shape[-1] is None):
        raise ValueError(
            f"Expected a classifier whose output is (n, classes). Received: output shape {outputs[0].shape} of "
            f"{classifier.name!r}"
        )


def _has_mask(call: Call) -> bool:
    """Whether Keras passes a mask along with what the call gives; an expert bank would not pass it on."""
    return getattr(call.outputs, "_keras_mask", None) is not None


def _propose(calls: tuple[Call, ...], cuts: list[int], name: str) -> int:
    """The position of the cut whose tail costs the share of an expert."""
    try:
        macs = [cost.macs(call.layer, *(t.shape for t in call.inputs)) for call in calls]
    except ValueError as error:
        raise ValueError(
            f"Where to cut {name!r} is proposed from its multiply-accumulates, which cannot be told ({error}). Say it: "
            f"`split_at`, one of {[calls[i].name for i in cuts]}; or make it with a known input size."
        ) from error
    after = [sum(macs[i + 1 :]) for i in range(len(calls))]
    distance = {i: abs(after[i] / max(sum(macs), 1) - TAIL_SHARE) for i in cuts}
    # The sum and the activation at the end of a block are cuts of equal tails: the last one completes the block.
    return min(cuts, key=lambda i: (distance[i], -i))
